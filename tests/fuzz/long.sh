#!/usr/bin/env bash
# The long run of the fuzz targets: each until it has had 10 million inputs or 10 minutes, one after the other.
#
# tests/fuzz/long.sh [--seconds N] [--runs N] [TARGET]...
#   --seconds N  at most so long a target (600)
#   --runs N     at most so many inputs (10000000)
#   TARGET       dsse, status, ...: tests/fuzz/<TARGET>_fuzz.c; none: all of them
#
# Prints a line a target and "N passed, M failed" at the end; the exit status is 0 only when nothing was found.  What was found
# is kept in build-fuzz/finds, and what each target learned in build-fuzz/corpus, so that the next run begins there.
# OTA_TEST_BUILD names another folder than build-fuzz.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/../../scripts/lib.sh"

seconds=600 runs=10000000 targets=()
while [ $# -gt 0 ]; do
	case $1 in
	--seconds | --runs)
		[[ "${2:-}" =~ ^[1-9][0-9]*$ ]] || ota_die "$1 needs a number from 1 on"
		if [ "$1" = --runs ]; then runs=$2; else seconds=$2; fi
		shift
		;;
	--help | -h)
		sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0"
		exit 0
		;;
	-*) ota_die "unknown argument $1: accepted are --seconds, --runs, --help and names of targets" ;;
	*)
		[ -f "$OTA_ROOT/tests/fuzz/$1_fuzz.c" ] || ota_die "there is no tests/fuzz/$1_fuzz.c"
		targets+=("$1")
		;;
	esac
	shift
done
if [ ${#targets[@]} = 0 ]; then
	for source in "$OTA_ROOT"/tests/fuzz/*_fuzz.c; do
		targets+=("$(basename "$source" _fuzz.c)")
	done
fi

ota_begin
build=${OTA_TEST_BUILD:-$OTA_ROOT/build-fuzz}
mkdir -p "$build/finds" "$build/corpus"

# The last number that libFuzzer printed under a name: stat name log
stat() { sed -n "s/^stat::$1: *//p" "$2" | tail -n 1; }

# Fuzzes one target; a line with its figures.
fuzz() {
	local name=$1 log=$build/finds/$1.log corpus=$build/corpus/$1 dictionary=$OTA_ROOT/tests/fuzz/$1.dict from verdict=passed
	mkdir -p "$corpus"
	[ -f "$dictionary" ] || dictionary=
	from=$(date +%s.%N)
	ota_spawn "$log" "$build/tests/fuzz/fuzz_$name" -runs="$runs" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -max_len=8192 \
		-print_final_stats=1 -artifact_prefix="$build/finds/$name-" ${dictionary:+-dict="$dictionary"} \
		"$corpus" "$OTA_ROOT/tests/fuzz/corpus/$name"
	wait "$OTA_PID" || verdict="FAILED, see $log"
	printf '  %-10s %10s inputs %7.0f s %7s a second %6s MiB  %s\n' "$name" "$(stat number_of_executed_units "$log")" \
		"$(ota_since "$from")" "$(stat average_exec_per_sec "$log")" "$(stat peak_rss_mb "$log")" "$verdict"
	[ "$verdict" = passed ]
}

main() {
	local passed=0 failed=0 name
	ota_run "build" "$build/finds/build.log" ota_build "$build" -DCMAKE_C_COMPILER=clang "-DOTA_SANITIZE=address;undefined" \
		-DOTA_BUILD_FUZZERS=ON -DOTA_BUILD_DEVICES=OFF
	for name in "${targets[@]}"; do
		if fuzz "$name"; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
	done
	printf '\n%s passed, %s failed\n' "$passed" "$failed"
	[ "$failed" = 0 ]
}

main; exit
