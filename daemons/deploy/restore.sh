#!/usr/bin/env bash
# Restores what backup.sh saved, and checks it; while no role runs on the store.
#   restore.sh FILE.dump           into the database of SCREENER_STORE__URL, which has to be empty
#   restore.sh FILE.db TARGET.db   into a SQLite file, which must not be there yet
set -euo pipefail
umask 077

saved=${1:?"usage: restore.sh FILE.dump | restore.sh FILE.db TARGET.db"}
target=${2:-}
[[ -f $saved ]] || { echo "restore.sh: $saved is no file" >&2; exit 1; }

if [[ $saved == *.db ]]; then
    [[ -n $target ]] || { echo "restore.sh: say into which file" >&2; exit 1; }
    for there in "$target" "$target-wal" "$target-shm" "$target.engine"; do
        [[ ! -e $there ]] || { echo "restore.sh: $there is there: move it away first" >&2; exit 1; }
    done
    trap 'rm -f "$target.part"' EXIT
    cp "$saved" "$target.part"
    sound=$(sqlite3 "$target.part" "PRAGMA integrity_check")
    [[ $sound == ok ]] || { echo "restore.sh: $saved is damaged: $sound" >&2; exit 1; }
    mv --no-clobber "$target.part" "$target"
    echo "restored $target"
    exit 0
fi

counts=${saved%.dump}.rows
[[ -f $counts ]] || { echo "restore.sh: $counts is not beside the dump" >&2; exit 1; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
url=${SCREENER_STORE__URL:?"set SCREENER_STORE__URL to an empty database"}
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=postgres.sh
source "$here/postgres.sh"
use_url "$url" "$work/passwords"

[[ -z $(count_rows "") ]] || { echo "restore.sh: the database has tables: make an empty one" >&2; exit 1; }
sql() { psql --no-psqlrc --quiet --tuples-only --no-align --set=ON_ERROR_STOP=1 --command="$1"; }
timescale=$(pg_restore --list "$saved" | grep -c 'EXTENSION - timescaledb' || true)
if ((timescale)); then
    sql "CREATE EXTENSION IF NOT EXISTS timescaledb" && sql "SELECT timescaledb_pre_restore()" > /dev/null
    pg_restore --exit-on-error --no-owner --no-privileges --dbname="$PGDATABASE" "$saved"
    sql "SELECT timescaledb_post_restore()" > /dev/null
else
    pg_restore --exit-on-error --single-transaction --no-owner --no-privileges --dbname="$PGDATABASE" "$saved"
fi
count_rows "" > "$work/rows"
if ! diff "$counts" "$work/rows" >&2; then
    echo "restore.sh: the rows differ from those that were saved (<)" >&2
    exit 1
fi
echo "restored $(awk '{n += $2} END {print n + 0}' "$work/rows") rows of $(wc -l < "$work/rows") tables"
