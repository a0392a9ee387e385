#!/usr/bin/env bash
# Saves a store, beside processes that write it: a PostgreSQL database or a SQLite file.
#   backup.sh FOLDER           the database of SCREENER_STORE__URL
#   backup.sh FOLDER FILE.db   the SQLite file
# NATS needs no backup: what is on it for longer than a moment is in the store as well, or comes
# from the exchange again.
set -euo pipefail
umask 077

folder=${1:?"usage: backup.sh FOLDER [FILE.db]"}
file=${2:-}
name=$folder/screener-$(date -u +%Y%m%dT%H%M%SZ)
mkdir -p "$folder"
exec 9>"$folder/.lock"
flock --nonblock 9 || { echo "backup.sh: another backup into $folder runs" >&2; exit 1; }
work=$(mktemp -d "$folder/.backup.XXXXXX")
snapshot=
cleanup() {
    rm -rf "$work"
    [[ -z $snapshot ]] || kill "$snapshot" 2>/dev/null || true
}
trap cleanup EXIT

if [[ -n $file ]]; then
    [[ -f $file ]] || { echo "backup.sh: $file is no file" >&2; exit 1; }
    sqlite3 -readonly -cmd ".timeout 60000" "$file" ".backup '$work/store.db'"
    sound=$(sqlite3 "$work/store.db" "PRAGMA integrity_check")
    [[ $sound == ok ]] || { echo "backup.sh: the copy is damaged: $sound" >&2; exit 1; }
    mv "$work/store.db" "$name.db"
    echo "$name.db"
    exit 0
fi

# No password in the list of processes: libpq reads the url from a service file.
url=${SCREENER_STORE__URL:?"set SCREENER_STORE__URL, or name a SQLite file"}
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=postgres.sh
source "$here/postgres.sh"
use_url "$url" "$work/passwords"

# The dump and the counts see the same moment.
coproc HOLDER { psql --no-psqlrc --quiet --tuples-only --no-align --set=ON_ERROR_STOP=1; }
snapshot=$HOLDER_PID
echo "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SELECT pg_export_snapshot();" >&"${HOLDER[1]}"
read -r -t 60 moment <&"${HOLDER[0]}" || { echo "backup.sh: the database gives no snapshot" >&2; exit 1; }
pg_dump --format=custom --no-owner --no-privileges --snapshot="$moment" --file="$work/store.dump"
count_rows "SET TRANSACTION SNAPSHOT '$moment';" > "$work/rows"
[[ -s $work/rows ]] || { echo "backup.sh: the database has no tables" >&2; exit 1; }
mv "$work/rows" "$name.rows"
mv "$work/store.dump" "$name.dump"
echo "$name.dump"
