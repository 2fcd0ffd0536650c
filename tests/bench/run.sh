#!/usr/bin/env bash
# Measures the whole: broker, plugin, PostgreSQL and clients on this machine.
#
# tests/bench/run.sh [--quick] [NAME...]
#   --quick   small sizes and one round, to see that everything still works; the figures say little
#   NAME      reports, outage, stage, traffic, harm, command, registered, instructions, connect, rival or audit; all when none is named
#
# Prints a table: median, least and most of the rounds, and the ratio to what the same run measured as baseline, the two taken in turn.
# No figure makes it fail; a wrong result does.  OTA_BUILD_DIR names a build; else build-bench is made.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/../../scripts/lib.sh"

for argument in "$@"; do
	case $argument in
	--help | -h)
		sed -n '2,/^set/{s/^# \{0,1\}//;/^set/d;p}' "$0"
		exit 0
		;;
	esac
done

if [ -z "${OTA_BUILD_DIR:-}" ]; then
	OTA_BUILD_DIR=$OTA_ROOT/build-bench
	cmake -S "$OTA_ROOT" -B "$OTA_BUILD_DIR" -DCMAKE_BUILD_TYPE=RelWithDebInfo >/dev/null
	cmake --build "$OTA_BUILD_DIR" -j "$(nproc)" --target mosquitto_ota mosquitto_ota_fleet load ping steady >/dev/null
fi
export OTA_BUILD_DIR
ulimit -n "$(ulimit -Hn)"
exec /usr/bin/python3 "$OTA_ROOT/tests/bench/bench.py" "$@"
