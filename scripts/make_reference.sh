#!/usr/bin/env bash
# Makes what the documentation says about names from the code and the database that it installs: docs/reference/*.md, the table of
# docs/options.md, and the lists in the man pages.
#
# scripts/make_reference.sh [--check]
#   --check  change nothing; exit status 1 with the differences when a page is not what the code gives
#
# OTA_BUILD_DIR names a build whose ota_reference is up to date; without it one is made in build-reference.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

check=''
case ${1:-} in
'') ;;
--check) check=--check ;;
-h | --help)
	sed -n '2,/^set/{s/^# \{0,1\}//;/^set/d;p}' "$0"
	exit 0
	;;
*) ota_die "unknown argument $1: accepted are --check and --help" ;;
esac
ota_begin
if [ -z "${OTA_BUILD_DIR:-}" ]; then
	OTA_BUILD_DIR=$OTA_ROOT/build-reference
	{ cmake -S "$OTA_ROOT" -B "$OTA_BUILD_DIR" && cmake --build "$OTA_BUILD_DIR" --target ota_reference -j"$(nproc)"; } \
		>"$OTA_TMP/build.log" 2>&1 || {
		tail -n 40 "$OTA_TMP/build.log" >&2
		ota_die "ota_reference cannot be built"
	}
fi
"$OTA_BUILD_DIR/tests/ota_reference" >"$OTA_TMP/code.json"
ota_postgres_start
createdb reference
PGOPTIONS='-c client_min_messages=warning' ota_sql reference -f "$OTA_ROOT/sql/install.sql" >/dev/null
ota_sql reference -At -f "$OTA_ROOT/tests/reference/catalogue.sql" >"$OTA_TMP/catalogue.json"
exec_status=0
/usr/bin/python3 "$OTA_ROOT/tests/reference/pages.py" "$OTA_TMP/code.json" "$OTA_TMP/catalogue.json" $check || exec_status=$?
exit "$exec_status"
