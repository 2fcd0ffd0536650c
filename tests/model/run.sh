#!/usr/bin/env bash
# Checks the model of the rollout's coordination with spin: all properties at small sizes, and that every wrong protocol violates
# the property it should.
#
# tests/model/run.sh [--keep FOLDER]
#   OTA_LONG=1     larger sizes too: three devices, three brokers, more disturbances at once (10 to 25 minutes, two searches at a time of up to 1 GB)
#   --keep FOLDER  work there and leave the trails: spin -t -p -g in one of its folders shows a violation step by step
#
# Prints a line a check and at the end "N passed, M failed"; the exit status is 0 only when nothing failed.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/../../scripts/lib.sh"

readonly MODEL=$OTA_ROOT/tests/model/rollout.pml
passed=0 failed=0

# Builds and runs one search: search folder compiler-options pan-options spin-options...; its output is in folder/out.
search() {
	local dir=$work/$1 compile=$2 check=$3
	shift 3
	mkdir -p "$dir"
	cp "$MODEL" "$dir/rollout.pml"
	# shellcheck disable=SC2086 # lists of options
	(cd "$dir" && spin -a "$@" rollout.pml && gcc $compile -w -DVECTORSZ=2048 -o pan pan.c &&
		./pan -m200000 $check) >"$dir/out" 2>&1 || true
}

# Sizes in words, as -D options: sizes brokers devices crashes cuts moves halts
sizes() {
	printf -- '-DBROKERS=%s -DDEVICES=%s -DCRASHES=%s -DCUTS=%s -DMOVES=%s -DHALTS=%s' "$@"
}

figures() { awk '/states, stored/ && !n { n = $1 } /actual memory usage$/ { m = $1 } END { printf "%d states, %d MB", n, m }' "$1"; }

# One size at which nothing may be violated: holds kind sizes...
holds() {
	local kind=$1 name from compile="-O2 -DSAFETY" check='' extra=''
	shift
	[ "$kind" = safety ] || {
		compile="-O2 -DNFAIR=6" check="-a -f" extra=-DLIVENESS
	}
	[ -z "${OTA_LONG:-}" ] || compile+=" -DCOLLAPSE -DMEMLIM=4000"
	name="$kind-$(IFS=-; printf '%s' "$*")"
	from=$(date +%s.%N)
	# shellcheck disable=SC2046
	search "$name" "$compile" "$check" $(sizes "$@") ${extra:+"$extra"}
	printf '%s|%s|%s|%s\n' "$kind" "$*" "$(figures "$work/$name/out")" "$(ota_since "$from")" >"$work/$name.line"
	if grep -q 'errors: 0' "$work/$name/out" && ! grep -q 'Search not completed\|truncated\|out of memory' "$work/$name/out"; then
		echo ok >"$work/$name.result"
	else
		grep -m 1 -E 'assertion violated|acceptance cycle|rror|not completed' "$work/$name/out" >"$work/$name.why" || true
	fi
}

# A wrong protocol must be found out by the property of this name: breaks mutant property sizes...
breaks() {
	local mutant=$1 property=$2 name="mutant-$1" from
	shift 2
	from=$(date +%s.%N)
	# shellcheck disable=SC2046
	search "$name" "-O0 -DSAFETY" "" $(sizes "$@") "-DMUTANT=$mutant"
	printf '%s|%s|%s|%s\n' "$mutant must violate $property" "$*" "$(figures "$work/$name/out")" "$(ota_since "$from")" >"$work/$name.line"
	if grep -q "assertion violated $property" "$work/$name/out"; then
		echo ok >"$work/$name.result"
	else
		grep -m 1 -E 'assertion violated|errors:|rror' "$work/$name/out" >"$work/$name.why" || true
	fi
}

# As many at a time as there are cores.
running=0
start() {
	if ((running >= $(nproc))); then
		wait -n || true
		running=$((running - 1))
	fi
	"$@" &
	running=$((running + 1))
}

main() {
	local line kind size what seconds
	# kind, then brokers devices crashes cuts moves halts
	start holds safety 2 2 0 1 1 0
	start holds safety 2 2 0 1 0 1
	start holds safety 2 2 1 0 0 0
	start holds progress 2 2 0 1 0 0
	start holds progress 2 2 0 0 0 1
	if [ -n "${OTA_LONG:-}" ]; then
		start holds safety 2 2 0 0 1 1
		start holds safety 2 2 1 0 0 1
		start holds safety 2 2 1 0 1 0
		start holds safety 2 3 0 1 0 0
		start holds safety 3 2 1 0 0 0
		start holds progress 2 2 1 0 0 0
		start holds progress 2 2 0 0 1 0
	fi
	start breaks NO_HOLD no_claim_after_halt 2 2 0 0 0 1
	start breaks TELL_EARLY told_is_committed 2 2 0 0 0 0
	start breaks NO_SEQUENCE no_report_is_counted_twice 2 2 0 1 0 0
	start breaks NO_TAKE_OVER no_rollout_is_stuck 2 2 1 0 0 0
	start breaks ACK_EARLY no_report_is_lost 2 2 1 0 0 0
	start breaks NO_LOCK pace_is_not_exceeded 2 3 0 0 0 0
	start breaks NO_STAGE stage_is_not_exceeded 2 2 0 0 0 0
	start breaks TELL_TWICE one_notice_per_attempt 2 2 0 1 0 0
	start breaks DEAF_GATE nothing_told_after_halt_is_heard 2 2 0 0 0 1
	start breaks LATE_UNTOLD no_rollout_is_stuck 2 2 0 0 1 0
	start breaks LOST_SLOT no_rollout_is_stuck 2 2 1 0 0 0
	start breaks LOST_RECALL no_recall_is_left 2 2 1 0 0 1
	start breaks LOST_ANSWER no_rollout_is_stuck 2 2 0 1 0 0
	start breaks STRICT_HALT nothing_told_after_halt 2 2 0 0 0 1
	start breaks NO_END nothing_told_long_after_halt 2 2 0 0 0 1
	start breaks KEEP_UNTOLD only_told_is_recalled 2 2 0 0 0 1
	wait
	for line in "$work"/*.line; do
		IFS='|' read -r kind size what seconds <"$line"
		if [ -e "${line%.line}.result" ]; then
			passed=$((passed + 1))
			ota_ok "$kind ($size): $what, $seconds s"
		else
			failed=$((failed + 1))
			ota_bad "$kind ($size): $what: $(cat "${line%.line}.why" 2>/dev/null)"
		fi
	done
	printf '%s passed, %s failed\n' "$passed" "$failed"
	[ "$failed" = 0 ]
}

ota_begin
work=$OTA_TMP/model
case ${1:-} in
'') ;;
--keep) work=${2:?--keep needs a folder} ;;
*) ota_die "unknown argument $1: accepted is --keep FOLDER" ;;
esac
mkdir -p "$work"
main
