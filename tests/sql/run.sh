#!/usr/bin/env bash
# Runs the pgTAP tests of sql/: tests/sql/run.sh [file.sql...]
#
# A private PostgreSQL in a temporary folder, sql/install.sql twice in a template database, each file on a fresh copy of
# it.  Prints TAP; exit status 0 only when everything passed.  Leaves nothing behind.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=../../scripts/lib.sh
. "$here/../../scripts/lib.sh"

command -v pg_prove >/dev/null || ota_die "pg_prove is missing: apt-get install libtap-parser-sourcehandler-pgtap-perl"
ota_begin
ota_postgres_start
psql_quiet=(psql -X -q -v ON_ERROR_STOP=1)

"${psql_quiet[@]}" -d postgres -c 'CREATE DATABASE ota_template'
PGOPTIONS='-c client_min_messages=warning' "${psql_quiet[@]}" -d ota_template -c 'CREATE EXTENSION pgtap' \
	-f "$OTA_ROOT/sql/install.sql" -f "$OTA_ROOT/sql/install.sql" >/dev/null

files=("$@")
[ "$#" != 0 ] || files=("$here"/*.sql)
status=0
number=0
for file in "${files[@]}"; do
	number=$((number + 1))
	"${psql_quiet[@]}" -d postgres -c "CREATE DATABASE t$number TEMPLATE ota_template"
	printf '# %s\n' "${file#"$OTA_ROOT/"}"
	pg_prove --norc --verbose --dbname "t$number" --set "root=$OTA_ROOT" "$file" || status=1
done
exit "$status"
