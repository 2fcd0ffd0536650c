#!/usr/bin/env bash
# Measures the whole: broker, plugin, PostgreSQL and clients on this machine.
#
# tests/bench/run.sh [--quick | --full] [--write] [NAME...]
# tests/bench/run.sh --draw
#   --quick   small sizes and one round, to see that everything still works; the figures say little
#   --full    longer where that says more: an outage of five minutes, stages of 15,000, an audit log of two million rows
#   --write   also writes results.json, RESULTS.md and plots/ beside this script: the named benchmarks' part of them.
#             When none is named all is measured, and all is written without being asked
#   --draw    measures nothing; makes RESULTS.md and plots/ again from results.json
#   NAME      instructions, traffic, connect, memory, reports, rival, stage, command, registered, harm, outage, audit or block
#
# Each figure is the median of the rounds, and a ratio to what the same run measured as baseline, the two taken in turn.  No figure
# makes it fail; a wrong result does, after the other benchmarks have run.  OTA_BUILD_DIR names a build; else build-bench is made.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/../../scripts/lib.sh"

draw='' quick=''
for argument in "$@"; do
	case $argument in
	--help | -h) ota_help ;;
	--draw) draw=1 ;;
	--quick) quick=1 ;;
	esac
done

ota_begin
packages="$OTA_PACKAGES_RUN $OTA_PACKAGES_BENCH"
# Drawing and the back end that is compared with are left out of a quick run where their packages are missing.
if [ -z "$quick" ]; then
	packages+=" $OTA_PACKAGES_DRAW"
	# Node.js may be there from elsewhere, and Debian's npm does not go with other people's packages of it.
	{ command -v node && command -v npm; } >/dev/null || packages+=" $OTA_PACKAGES_RIVAL"
fi
[ -z "$draw" ] || packages=$OTA_PACKAGES_DRAW
# shellcheck disable=SC2086 # a list of names
ota_install $packages

# shellcheck disable=SC2317 # called by name
build() {
	cmake -S "$OTA_ROOT" -B "$OTA_BUILD_DIR" -DCMAKE_BUILD_TYPE=RelWithDebInfo &&
		cmake --build "$OTA_BUILD_DIR" -j "$(nproc)" --target mosquitto_ota mosquitto_ota_fleet load ping steady fetch harm_model empty_acl heap policy_bench notice_bench offers
}

if [ -z "${OTA_BUILD_DIR:-}" ] && [ -z "$draw" ]; then
	OTA_BUILD_DIR=$OTA_ROOT/build-bench
	ota_run "build" "$OTA_TMP/build.log" build || {
		tail -n 40 "$OTA_TMP/build.log" >&2
		exit 1
	}
fi
export OTA_BUILD_DIR
ulimit -n "$(ulimit -Hn)"
# In the background, so that a signal reaches it through the cleanup.
PYTHONDONTWRITEBYTECODE=1 TMPDIR=$OTA_TMP setpriv --pdeathsig TERM -- /usr/bin/python3 "$OTA_ROOT/tests/bench/bench.py" "$@" &
ota_at_exit "ota_stop $!"
status=0
wait $! || status=$?
exit "$status"
