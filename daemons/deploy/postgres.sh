# shellcheck shell=bash
# What backup.sh and restore.sh share: sourced by them.

# Has libpq use a url: the password in a file of the user's alone, the rest in the environment.
use_url() {
    local settings
    settings=$(URL=$1 PASSWORDS=$2 python3 - <<'PYTHON'
import os, shlex
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

url = urlsplit(os.environ["URL"])
if url.scheme not in {"postgresql", "postgres"} or not url.path.strip("/"):
    raise SystemExit("the url names no database: postgresql://user:password@host:5432/name")
escape = lambda text: text.replace("\\", "\\\\").replace(":", "\\:")
passwords = Path(os.environ["PASSWORDS"])
passwords.touch(mode=0o600)
if url.password is not None:
    passwords.write_text(f"*:*:*:*:{escape(unquote(url.password))}\n")
told = {
    "PGHOST": url.hostname or "127.0.0.1",
    "PGPORT": str(url.port or 5432),
    "PGDATABASE": unquote(url.path.strip("/")),
    "PGPASSFILE": str(passwords),
}
if url.username:
    told["PGUSER"] = unquote(url.username)
names = {"sslmode": "PGSSLMODE", "sslrootcert": "PGSSLROOTCERT", "options": "PGOPTIONS"}
told |= {names[key]: value for key, value in parse_qsl(url.query) if key in names}
for name, value in told.items():
    print(f"export {name}={shlex.quote(value)}")
PYTHON
    ) || return 1
    eval "$settings"
}

# Prints `table count` of every table that is no part of another, seen from a transaction begun so.
count_rows() {
    psql --no-psqlrc --quiet --tuples-only --no-align --set=ON_ERROR_STOP=1 <<SQL
BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
$1
SELECT format('SELECT %L || '' '' || count(*) FROM %I.%I;', n.nspname || '.' || c.relname, n.nspname, c.relname)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition
    AND n.nspname !~ '^(pg_|_?timescaledb)' AND n.nspname <> 'information_schema'
ORDER BY n.nspname, c.relname \gexec
COMMIT;
SQL
}
