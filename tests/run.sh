#!/usr/bin/env bash
# Installs what is missing, builds, and runs every test.
#
# tests/run.sh [--quick] [--only PART]...
#   --quick      one compiler, the installed broker alone, no memory checkers, no fuzzing
#   --only PART  unit, lint, model, sql, integration, bench, package, fuzz, sanitize or valgrind; may be given several times
#
# The last line is "N passed, M failed"; the exit status is 0 only when nothing failed.
# OTA_TEST_BUILD names another folder for the builds than build-test.  OTA_PG_LOCALE makes the PostgreSQL clusters of the SQL and
# integration tests like operators' ones: icu:LANGUAGE, such as icu:de-DE, or a locale of the C library, such as en_US.UTF-8 (else
# C); OTA_PG_SETTINGS is a list of NAME=VALUE for them.
# shellcheck disable=SC2317 # the parts are called by name
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/../scripts/lib.sh"

readonly PARTS="unit lint model sql integration bench package fuzz sanitize valgrind"
readonly FUZZ_SECONDS=10

usage() {
	sed -n '2,/^# shellcheck/{/^# shellcheck/d;s/^# \{0,1\}//;p}' "$0"
}

quick='' only=''
while [ $# -gt 0 ]; do
	case $1 in
	--quick) quick=1 ;;
	--only)
		[ $# -ge 2 ] || ota_die "--only needs one of: $PARTS"
		case " $PARTS " in
		*" $2 "*) only+=" $2" ;;
		*) ota_die "--only $2: accepted are: $PARTS" ;;
		esac
		shift
		;;
	--help | -h)
		usage
		exit 0
		;;
	*) ota_die "unknown argument $1: accepted are --quick, --only and --help" ;;
	esac
	shift
done
case "$only" in
'') if [ -n "$quick" ]; then only="unit lint sql integration"; else only=$PARTS; fi ;;
esac

wanted() { [[ " $only " == *" $1 "* ]]; }

ota_begin
builds=${OTA_TEST_BUILD:-$OTA_ROOT/build-test}
mkdir -p "$builds"
logs=$(mktemp -d "$builds/logs.XXXXXX")
results=$OTA_TMP/results
: >"$results"
begun=$(date +%s.%N)

# Notes a result: result name passed failed seconds
result() { printf '%s|%s|%s|%s\n' "$1" "$2" "$3" "$4" >>"$results"; }

# Shows the end of a log after a failure.
show() {
	[ ! -s "$1" ] || tail -n "${2:-40}" "$1" | sed 's/^/        /'
}

# --- builds ---------------------------------------------------------------------------------------

# Builds a tree once: build name cmake-option...  A failed build is a failed test.
build() {
	local name=$1 from
	shift
	[ ! -e "$OTA_TMP/built.$name" ] || return "$(cat "$OTA_TMP/built.$name")"
	from=$(date +%s.%N)
	if ota_run "build $name" "$logs/build-$name.log" ota_build "$builds/$name" "$@"; then
		echo 0 >"$OTA_TMP/built.$name"
		result "build $name" 1 0 "$(ota_since "$from")"
		return 0
	fi
	echo 1 >"$OTA_TMP/built.$name"
	grep -E 'error:|Error at|undefined reference|multiple definition' -A1 "$logs/build-$name.log" | head -n 20 | sed 's/^/        /'
	result "build $name" 0 1 "$(ota_since "$from")"
	return 1
}

build_gcc() { build gcc -DCMAKE_C_COMPILER=gcc -DOTA_WERROR=ON; }
# Warnings are no errors here: what a sanitizer adds makes gcc warn of paths that do not exist.
build_asan() { build asan -DCMAKE_C_COMPILER=gcc "-DOTA_SANITIZE=address;undefined"; }

# --- unit tests -----------------------------------------------------------------------------------

# Counts the test cases in the log of `ctest -V`: cmocka's own, and one for a program without cmocka.
count_ctest() {
	awk '
		/^[0-9]+: \[  PASSED  \] [0-9]+ test/ { n = $1; sub(/:/, "", n); passed[n] += $5 }
		/^[0-9]+: \[  FAILED  \] [0-9]+ test/ { n = $1; sub(/:/, "", n); failed[n] += $5 }
		/^ *[0-9]+\/[0-9]+ Test +#[0-9]+:/ {
			n = $0; sub(/^[^#]*#/, "", n); sub(/:.*/, "", n)
			if ($0 ~ / Passed +[0-9.]+ sec/) ok += passed[n] ? passed[n] : 1
			else { ok += passed[n]; bad += failed[n] ? failed[n] : 1 }
		}
		END { printf "%d %d\n", ok, bad }' "$1"
}

# Runs the unit tests of a build: unit_tests name build [command in front]
unit_tests() {
	local name=$1 tree=$2 from passed failed status=0
	shift 2
	from=$(date +%s.%N)
	ota_run "$name" "$logs/${name// /-}.log" "$@" ctest --test-dir "$builds/$tree" -V -j"$(nproc)" --no-tests=error || status=1
	read -r passed failed < <(count_ctest "$logs/${name// /-}.log")
	[ "$status" = 0 ] || [ "$failed" != 0 ] || failed=1
	[ "$status" = 0 ] || {
		grep -E '\[  FAILED  \]|\*\*\*|[Ee]rror: |runtime error|SUMMARY' "$logs/${name// /-}.log" | head -n 30 | sed 's/^/        /'
	}
	result "$name" "$passed" "$failed" "$(ota_since "$from")"
}

part_unit() {
	build_gcc || return 0
	unit_tests "unit tests" gcc
}

# --- lint -----------------------------------------------------------------------------------------

part_lint() {
	local check from passed=0 failed=0 name
	from=$(date +%s.%N)
	build_gcc || true # exports.sh looks at the plugin
	for check in "$OTA_ROOT"/tests/lint/*.sh; do
		name=$(basename "$check" .sh)
		[ "$name" != common ] || continue
		if OTA_BUILD_DIR=$builds/gcc ota_run "lint: $name" "$logs/lint-$name.log" "$check"; then
			passed=$((passed + 1))
		else
			failed=$((failed + 1))
			show "$logs/lint-$name.log" 30
		fi
	done
	result lint "$passed" "$failed" "$(ota_since "$from")"
	[ -n "$quick" ] || build clang -DCMAKE_C_COMPILER=clang -DOTA_WERROR=ON || true
}

# --- model ----------------------------------------------------------------------------------------

part_model() {
	local from passed failed log=$logs/model.log
	from=$(date +%s.%N)
	ota_run "model: spin" "$log" "$OTA_ROOT/tests/model/run.sh" || grep 'FAIL' "$log" | head -n 30 | sed 's/^/        /'
	passed=$(grep -cE '^ *ok ' "$log" || true)
	failed=$(grep -cE '^ *FAIL ' "$log" || true)
	[ "$passed" != 0 ] || [ "$failed" != 0 ] || failed=1
	result "model" "$passed" "$failed" "$(ota_since "$from")"
}

# --- SQL ------------------------------------------------------------------------------------------

# The schema as operators install it by hand, for looking at its functions.
make_database() {
	createdb "$1" && ota_sql "$1" -f "$OTA_ROOT/sql/install.sql"
}

# PL/pgSQL is only parsed when it runs; plpgsql_check looks at every statement and branch.
check_functions() {
	local found
	ota_sql "$1" -c 'CREATE EXTENSION plpgsql_check' || return
	found=$(ota_sql "$1" -At -F ' ' -c "
		SELECT DISTINCT p.oid::regprocedure, c.lineno, c.level, c.message
		FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang LEFT JOIN pg_trigger t ON t.tgfoid = p.oid
		CROSS JOIN LATERAL plpgsql_check_function_tb(p.oid, coalesce(t.tgrelid, 0), fatal_errors => false,
			other_warnings => false, extra_warnings => false, performance_warnings => false, oldtable => t.tgoldtable, newtable => t.tgnewtable) c
		WHERE l.lanname = 'plpgsql' AND p.pronamespace = 'ota'::regnamespace AND c.level = 'error'
			AND (p.prorettype <> 'trigger'::regtype OR t.tgfoid IS NOT NULL)") || return
	[ -z "$found" ] || {
		printf '%s\n' "$found"
		return 1
	}
}

# Runs pgTAP files on a cluster of a locale: pgtap name locale [file...]
pgtap() {
	local name=$1 locale=$2 from passed failed log=$logs/${1//[ ,]/-}.log
	shift 2
	from=$(date +%s.%N)
	ota_run "$name" "$log" env "OTA_PG_LOCALE=$locale" "$OTA_ROOT/tests/sql/run.sh" "$@" ||
		grep -E '^ *not ok|^# +|ERROR|Result: FAIL' "$log" | head -n 60 | sed 's/^/        /'
	passed=$(grep -cE '^ *ok [0-9]+' "$log" || true)
	failed=$(grep -cE '^ *not ok [0-9]+' "$log" || true)
	if [ "$failed" = 0 ] && { [ "$passed" = 0 ] || grep -q '^Result: FAIL\|ERROR:' "$log"; }; then
		failed=1
	fi
	result "$name" "$passed" "$failed" "$(ota_since "$from")"
}

part_sql() {
	local from
	from=$(date +%s.%N)
	ota_postgres_start
	if ota_run "SQL: install" "$logs/sql-install.log" make_database ota_sql; then
		result "SQL install" 1 0 "$(ota_since "$from")"
	else
		show "$logs/sql-install.log"
		result "SQL install" 0 1 "$(ota_since "$from")"
		return 0
	fi
	from=$(date +%s.%N)
	if ota_run "SQL: plpgsql_check" "$logs/sql-check.log" check_functions ota_sql; then
		result "SQL functions checked" 1 0 "$(ota_since "$from")"
	else
		show "$logs/sql-check.log"
		result "SQL functions checked" 0 1 "$(ota_since "$from")"
	fi
	pgtap "SQL tests" "${OTA_PG_LOCALE:-C}"
	# Another order of texts, and other small letters for the large ones, than everything else is tested with.
	pgtap "SQL tests, Turkish" icu:tr-TR "$OTA_ROOT"/tests/sql/{window,rollout,locks,site,eligibility}_test.sql
}

# --- integration ----------------------------------------------------------------------------------

# The simulated fleet that the quickstart and the integration tests need is built with gcc, for all runs of pytest.
# Runs pytest: integration name build [environment...] -- pytest-argument...
integration() {
	local name=$1 tree=$2 from log junit environment=() passed failed status=0
	shift 2
	while [ "$1" != -- ]; do
		environment+=("$1")
		shift
	done
	shift
	log=$logs/${name// /-}.log junit=$logs/${name// /-}.xml
	from=$(date +%s.%N)
	ota_run "$name" "$log" env -C "$OTA_ROOT/tests/integration" PYTHONDONTWRITEBYTECODE=1 "OTA_BUILD_DIR=$builds/$tree" \
		"TMPDIR=$OTA_TMP" "${environment[@]}" /usr/bin/python3 -m pytest -q --junit-xml "$junit" \
		-o junit_logging=no --basetemp "$OTA_TMP/pytest-${name// /-}" "$@" || status=1
	read -r passed failed < <(/usr/bin/python3 - "$junit" <<'PYTHON'
import sys, xml.etree.ElementTree as tree
try:
    suites = list(tree.parse(sys.argv[1]).getroot().iter("testsuite"))
    tests, bad, skipped = (sum(int(s.get(k, 0)) for s in suites) for k in ("tests", "failures", "skipped"))
    bad += sum(int(s.get("errors", 0)) for s in suites)
    print(max(tests - bad - skipped, 0), bad)
except (OSError, tree.ParseError):
    print(0, 1)
PYTHON
	)
	[ "$status" = 0 ] || [ "$failed" != 0 ] || failed=1
	[ "$status" = 0 ] || {
		grep -E '^(FAILED|ERROR) ' "$log" | cut -c -200 | head -n 60 | sed 's/^/        /'
	}
	result "$name" "$passed" "$failed" "$(ota_since "$from")"
}

get_brokers() {
	[ -z "${brokers:-}" ] || return 0
	if [ -n "$quick" ]; then
		brokers=$("$OTA_ROOT/tests/brokers.sh" --plain --offline 2>/dev/null | head -n 1)
	else
		ota_run "brokers" "$OTA_TMP/brokers.log" bash -c "'$OTA_ROOT/tests/brokers.sh' --plain >'$OTA_TMP/brokers'" ||
			{ show "$OTA_TMP/brokers.log" && result brokers 0 1 0; }
		brokers=$(cat "$OTA_TMP/brokers")
		[ ! -s "$OTA_TMP/brokers.log" ] || ota_warn "$(cat "$OTA_TMP/brokers.log")"
	fi
	ota_note "brokers: $(cut -f 1 <<<"$brokers" | xargs)"
}

part_integration() {
	get_brokers
	build_gcc || return 0
	integration "integration" gcc "OTA_BROKERS=$brokers" -- -n "$((3 * $(nproc)))"
	# A few of them where texts are compared as most operators' databases do.
	integration "integration en_US" gcc "OTA_BROKERS=$(head -n 1 <<<"$brokers")" OTA_PG_LOCALE=en_US.UTF-8 -- -n "$(nproc)" \
		test_upgrade.py test_rollout.py::test_preview_is_what_then_happens test_control.py::test_every_verb
}

# --- benchmarks -----------------------------------------------------------------------------------

# Small, for what they find out, not for how long it takes: no figure can fail.
part_bench() {
	local from passed failed log=$logs/bench.log
	build_gcc || return 0
	from=$(date +%s.%N)
	ota_run "benchmarks, small" "$log" env "OTA_BUILD_DIR=$builds/gcc" "$OTA_ROOT/tests/bench/run.sh" --quick || true
	passed=$(grep -cE '^  [a-z]+: done in ' "$log" || true)
	failed=$(grep -cE '^  [a-z]+: FAILED in ' "$log" || true)
	if [ "$failed" != 0 ] || ! grep -q '^[0-9]* benchmarks, failed: none$' "$log"; then
		[ "$failed" != 0 ] || failed=1
		grep -E -B12 '^  [a-z]+: FAILED in ' "$log" | cut -c -200 | sed 's/^/        /' || show "$log"
	fi
	! grep -q 'left out: ' "$log" || ota_warn "$(grep -m 1 'left out: ' "$log" | xargs)"
	result "benchmarks" "$passed" "$failed" "$(ota_since "$from")"
}

# --- the Debian package ---------------------------------------------------------------------------

part_package() {
	local from passed failed log=$logs/package.log
	build package -DBUILD_TESTING=OFF -DOTA_BUILD_DEVICES=OFF -DCMAKE_INSTALL_PREFIX=/usr || return 0
	# shellcheck disable=SC2086 # a list of names
	ota_install $OTA_PACKAGES_PACKAGE
	from=$(date +%s.%N)
	ota_run "package in a clean root" "$log" "$OTA_ROOT/tests/package/run.sh" "$builds/package" || true
	passed=$(grep -c '^ok - ' "$log" || true)
	failed=$(grep -c '^not ok - ' "$log" || true)
	if [ "$failed" = 0 ] && ! grep -q '^# all claims were looked at' "$log"; then
		failed=1
		show "$log" 30
	fi
	grep -A12 '^not ok - ' "$log" | head -n 60 | sed 's/^/        /' || true
	result "package" "$passed" "$failed" "$(ota_since "$from")"
}

# --- memory and races -----------------------------------------------------------------------------

part_sanitize() {
	if build_asan; then
		ASAN_OPTIONS=detect_leaks=1 UBSAN_OPTIONS=print_stacktrace=1 unit_tests "unit tests ASan UBSan" asan
		get_brokers
		gcc -shared -fPIC -O1 -o "$OTA_TMP/no_gettext.so" "$OTA_ROOT/tests/integration/harness/no_gettext.c"
		integration "integration ASan UBSan" asan "OTA_BROKERS=$(head -n 1 <<<"$brokers")" OTA_TIME_FACTOR=2 \
			"OTA_PRELOAD=$(gcc -print-file-name=libasan.so) $OTA_TMP/no_gettext.so" \
			-- -n "$((2 * $(nproc)))" -m memory
	fi
	# Not the simulated devices: they use libmosquitto, whose locks are not ours.
	if build tsan -DCMAKE_C_COMPILER=gcc -DOTA_SANITIZE=thread -DOTA_BUILD_DEVICES=OFF; then
		# Without address randomisation: this ThreadSanitizer does not know newer kernels' layouts.
		TSAN_OPTIONS=halt_on_error=1 unit_tests "unit tests TSan" tsan setarch "$(uname -m)" -R
	fi
}

part_valgrind() {
	build_gcc || return 0
	get_brokers
	integration "integration valgrind" gcc "OTA_BROKERS=$(head -n 1 <<<"$brokers")" OTA_VALGRIND=1 OTA_TIME_FACTOR=5 \
		-- -n "$(nproc)" -m memory
}

# --- fuzzing --------------------------------------------------------------------------------------

# Fuzzes one target for a while, starting from its seeds; finds are kept with the logs.
fuzz_one() {
	local target=$1 name corpus dictionary work
	name=$(basename "$target")
	corpus=$OTA_ROOT/tests/fuzz/corpus/${name#fuzz_}
	work=$OTA_TMP/corpus-$name
	mkdir -p "$work"
	[ -d "$corpus" ] || corpus=
	dictionary=$OTA_ROOT/tests/fuzz/${name#fuzz_}.dict
	[ -f "$dictionary" ] || dictionary=
	"$target" -max_total_time="$FUZZ_SECONDS" -timeout=10 -rss_limit_mb=2048 -max_len=8192 -print_final_stats=1 \
		${dictionary:+"-dict=$dictionary"} -artifact_prefix="$logs/$name-" "$work" ${corpus:+"$corpus"} \
		>"$logs/$name.log" 2>&1 && echo passed >"$work.result"
}

# All of them, as many at a time as there are cores.
fuzz_all() {
	local target running=0
	for target in "$@"; do
		if ((running >= $(nproc))); then
			wait -n || true
			running=$((running - 1))
		fi
		printf 'fuzzing %s\n' "$(basename "$target")"
		fuzz_one "$target" &
		running=$((running + 1))
	done
	wait
}

part_fuzz() {
	local target targets=() from passed=0 failed=0 name
	build fuzz -DCMAKE_C_COMPILER=clang "-DOTA_SANITIZE=address;undefined" -DOTA_BUILD_FUZZERS=ON \
		-DOTA_BUILD_DEVICES=OFF || return 0
	from=$(date +%s.%N)
	for target in "$builds"/fuzz/tests/fuzz/fuzz_*; do
		if [ -x "$target" ] && [ -f "$target" ]; then targets+=("$target"); fi
	done
	ota_run "${#targets[@]} fuzz targets, $FUZZ_SECONDS s each" "$logs/fuzz.log" fuzz_all "${targets[@]}" || true
	for target in "${targets[@]}"; do
		name=$(basename "$target")
		if [ -e "$OTA_TMP/corpus-$name.result" ]; then
			passed=$((passed + 1))
		else
			failed=$((failed + 1))
			ota_bad "$name"
			grep -E 'SUMMARY|ERROR|runtime error|broken:' "$logs/$name.log" | head -n 5 | sed 's/^/        /'
		fi
	done
	result "fuzzing" "$passed" "$failed" "$(ota_since "$from")"
}

# --- all ------------------------------------------------------------------------------------------

# One function, read to its end before it runs: the file may change meanwhile.
main() {
	local part passed failed
	ota_title "packages"
	# shellcheck disable=SC2086 # lists of names
	ota_install $OTA_PACKAGES_RUN $OTA_PACKAGES_TEST
	for part in $PARTS; do
		wanted "$part" || continue
		ota_title "$part"
		"part_$part"
	done

	ota_title "results"
	awk -F '|' '{ printf "  %-26s %6d passed %5d failed %8.1f s\n", $1, $2, $3, $4 }' "$results"
	read -r passed failed < <(awk -F '|' '{ p += $2; f += $3 } END { print p + 0, f + 0 }' "$results")
	printf '  %-26s %s s in all\n' "" "$(ota_since "$begun")"
	if [ "$failed" != 0 ] || [ "$passed" = 0 ]; then
		printf '  logs are in %s\n' "$logs"
	else
		rm -rf "$logs"
	fi
	printf '\n%s passed, %s failed\n' "$passed" "$failed"
	[ "$failed" = 0 ] && [ "$passed" != 0 ]
}

main; exit
