#!/usr/bin/env bash
# Shows that the attack tests notice when a check is gone: takes each check of docs/threats.md out of a copy of the tree, builds that, and
# runs the test that is named there, which has to fail.
#
# tests/mutations.sh [CHECK]...     a CHECK is a number of the table in docs/threats.md: 1, 5a, ...; none: all of them
#
# Prints a line a check and "N noticed, M not noticed"; the exit status is 0 only when all were.  Not part of tests/run.sh: every
# check costs up to two builds and two tests, about 20 s.  OTA_BROKERS and OTA_TIME_FACTOR are as for the integration tests.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/../scripts/lib.sh"

# check|file|sed expression that takes it out|test|what fails
# The test is a file of tests/integration, and what fails pytest's -k; or one of tests/sql, and words of the line "not ok"; or a
# program of the unit tests, and one of its functions.
readonly MUTATIONS='
1|plugin/gate/policy.c|s/^\tif \(topic->subject == POLICY_NOTIFY\) \{/\tif (topic->subject == POLICY_NOTIFY) {\n\t\treturn POLICY_ALLOW;/|test_attack_topics.py|test_copy_of_the_genuine_notice or (test_forged_notice and 5-qos-1)
2|plugin/gate/policy.c|s/^\tif \(topic->subject == POLICY_NOTIFY\) \{/\tif (topic->subject == POLICY_NOTIFY) {\n\t\treturn POLICY_ALLOW;/|test_attack_topics.py|test_forged_will
3|plugin/gate/report.c|s/identity, false, &reason\) != POLICY_ALLOW\)/identity, false, \&reason) == POLICY_OTHERS)/|test_attack_sessions.py|test_own_bridge_that_fetches_forgeries
4|plugin/gate/policy.c|s/^\tif \(!policy_own\(topic, identity\)\) \{/\tif (identity == NULL) {/|test_attack_topics.py|test_report_for_somebody_else
5|plugin/gate/deliver.c|s/^(\t\t\|\|) !notice_digest_equal\(&digest, &notice->digest\) \|\|/\1/|test_attack_sessions.py|test_retained_forgery_with_the_numbers_of_the_outstanding_notice or test_queued_forgery_with_the_numbers
5a|plugin/gate/access.c|s/^\treturn check->access == MOSQ_ACL_SUBSCRIBE$/\treturn false/|test_attack_topics.py|test_another_devices_topic_by_name
6|plugin/gate/deliver.c|s/ \|\| !deliver_is_live\(gate, notice->rollout\)//|test_attack_sessions.py|test_stale_copy_in_a_kept_session
6|plugin/gate/deliver.c|s/now_ms >= notice->deadline_ms \+ DELIVER_LATE_MS/now_ms < 0/|gate_deliver_read_test|test_read_check_in_time
6|plugin/gate/deliver.c|s/now_ms < release->release->manifest->terms.expires_ms/now_ms > 0/|gate_deliver_read_test|test_read_check_expired
7|plugin/wire/dsse.c|s/&& keyring_verify\($/\&\& (keyring_verify(/;s/(keyring, k, )pae, pae_length(, signature->bytes, signature->length\))(\) \{)/\1pae, pae_length\2 || keyring_verify(\1envelope->payload, envelope->payload_length\2)\3/|test_attack_rows.py|test_bad_envelope and bare
8|plugin/wire/dsse.c|s/^\tif \(strcmp\(envelope->payload_type, DSSE_MANIFEST_TYPE\) != 0\) \{/\tif (envelope->payload_type == NULL) {/|test_attack_rows.py|test_another_document_of_a_trusted_key
9|plugin/wire/dsse.c|s/^\t\t\tif \(!signers\[k\]$/\t\t\tif (true/|test_attack_rows.py|test_one_key_counts_once
10|plugin/wire/json.c|/^static enum ota_err check_duplicates\(/,/^\}/s/^\treturn err;/\treturn OTA_OK;/|test_attack_reports.py|test_payload_made_to_break and twice
11|plugin/wire/release.c|s/^\terr = check_columns\(row, release->manifest, why\);/\terr = ((void)check_columns, OTA_OK);/|test_attack_rows.py|test_tampered_release and (url or sha256 or size)
12|plugin/store/feed_releases.c|s/^\t\tif \(strcmp\(known->row_version, row_version\) == 0$/\t\tif (strcmp(pg_text(rows, n, L_STATE), "verified") == 0 || strcmp(known->row_version, row_version) == 0/|test_attack_rows.py|test_verified_by_hand or test_rejected_turned_verified
12a|plugin/store/feed_releases.c|s/^\t\tif \(strcmp\(known->row_version, row_version\) == 0$/\t\tif (known->row_version[0] != 0/|test_attack_rows.py|test_tampered_release_of_a_running_rollout
13|plugin/gate/deliver.c|s/^\tif \(eligibility != ELIGIBLE\) \{/\tif (eligibility != ELIGIBLE \&\& gate == NULL) {/|test_attack_rows.py|test_terms_hold
14|sql/functions/internal_stage_asks.sql|s/SELECT i_fleet = r\.fleet AND/SELECT true OR i_fleet = r.fleet AND/|test_attack_rows.py|test_device_update_by_hand
14|sql/functions/internal_stage_asks.sql|s/SELECT i_fleet = r\.fleet AND/SELECT true OR i_fleet = r.fleet AND/|test_hand_out.py|test_a_row_that_no_stage_asked_for
14|sql/functions/internal_stage_asks.sql|s/i_rank = ota\.cohort_rank\(s\.rollout_id, i_device_id\)/true/|hand_out_test.sql|but not one whose rank is another
15|plugin/store/feed.c|/^static void reload_keys\(/,/^\}/s/^\{/{\n\tif (feed) {\n\t\treturn;\n\t}/|test_attack_rows.py|test_the_only_key_removed_and_reload
16|plugin/gate/emit.c|s/^\tif \(!limit_take\(&refusals->limit/\tif (false \&\& !limit_take(\&refusals->limit/|test_attack_topics.py|test_flood_of_refusals
17|plugin/gate/blocks.c|s/^\tif \(strcmp\(asking->request.sha256, .*\) != 0\) \{/\tif (release == NULL) {/|test_blocks.py|test_wrong_questions
18|plugin/gate/blocks.c|s/^\t\t\&\& !may_answer_on\(/\t\t\&\& gate == NULL \&\& !may_answer_on(/|test_attack_blocks.py|test_response_topic_and_correlation_data
19|plugin/gate/grant.c|s/^\tif \(change->live \&\& \(own \|\| /\tif (change->live \&\& (true || own || /|test_blocks.py|test_a_gateway_asks_for_its_devices
20|plugin/gate/policy.c|s/^\tif \(topic->subject == POLICY_BLOCK\) \{/\tif (topic->subject == POLICY_BLOCK) {\n\t\treturn POLICY_ALLOW;/|test_attack_blocks.py|test_forged_and_overheard_blocks
20|plugin/gate/blocks.c|/^bool blocks_may_read\(/,/^\}/s/^\tif \(check->retain /\tif (check != NULL) {\n\t\treturn true;\n\t}\n\tif (check->retain /|gate_blocks_test|refusals
21|sql/functions/broker_hand_out.sql|s/(ORDER BY r\.rollout_id) FOR SHARE\) x\)/\1) x)/|hand_out_test.sql|until that has committed there is no halt
21|sql/functions/broker_hand_out.sql|s/(h\.rollout_id) FOR SHARE;/\1;/|hand_out_test.sql|which holds the rollout
21a|sql/functions/internal_rollout_step.sql|/ -- Who has not been told is not recalled/,/recall\(/s/^( *PERFORM ota\.)hand_back\(.*/\1rollout_lock_rows(ARRAY[r.rollout_id], false);/|hand_out_test.sql|they are recalled, nobody else is
21b|sql/functions/broker_hand_out.sql|s/ OR h\.until < now\(\)//|hand_out_test.sql|a page that is late is none
21c|sql/functions/broker_hand_out.sql|s/^       AND NOT EXISTS \(SELECT FROM ota\.hand_out h WHERE .*;$/;/|hand_out_test.sql|nor are they kept as told
22|plugin/gate/deliver.c|/^static bool may_be_told\(/,/^\}/s/^\tif \(!deliver_is_live\(gate, offer->rollout\)\) \{/\tif (gate == NULL) {/|gate_deliver_test|test_halt_overtakes
22|plugin/gate/deliver.c|s/ && offer->by_ms > 0 / \&\& offer->by_ms < 0 /|gate_deliver_test|test_refused_offers
'

ota_begin
noticed=0 missed=0

# Runs a named test on the copy: passes copy test names
passes() {
	case $2 in
	*.py)
		env -C "$1/tests/integration" PYTHONDONTWRITEBYTECODE=1 "OTA_BUILD_DIR=$1/build" "TMPDIR=$OTA_TMP" \
			/usr/bin/python3 -m pytest -q -x -p no:cacheprovider --basetemp "$OTA_TMP/pytest" "$2" -k "$3"
		;;
	*.sql) env "TMPDIR=$OTA_TMP" "$1/tests/sql/run.sh" "$1/tests/sql/$2" ;;
	*) "$1/build/tests/$2" ;;
	esac >"$OTA_TMP/test.log" 2>&1
}

# The line in which the named test says that it failed, if that is what it did: failure test names
failure() {
	local what
	case $1 in
	*.py) what='^FAILED ' ;;
	*.sql) what="^not ok [0-9]+ - .*$2" ;;
	*) what="^\[  FAILED  \] $2" ;;
	esac
	grep -m 1 -E "$what" "$OTA_TMP/test.log"
}

# What a test needs of the copy: build label copy test
build() {
	local targets="mosquitto_ota mosquitto_ota_fleet"
	case $3 in
	*.sql) return ;;
	*.py) ;;
	*) targets=$3 ;;
	esac
	ota_run "$1" "$OTA_TMP/build.log" bash -c "cmake -S '$2' -B '$2/build' >/dev/null && cmake --build '$2/build' -j$(nproc) --target $targets"
}

tell() { printf '  %-4s %-28s %s\n' "$1" "$2" "$3"; }

# One mutation: without it the test passes, with it the test fails.
mutate() {
	local copy=$1 check=$2 file=$3 expression=$4 test=$5 names=$6 line
	sed -E -i.whole "$expression" "$copy/$file"
	if cmp -s "$copy/$file" "$copy/$file.whole"; then
		tell "$check" "$file" "NOT NOTICED: the check is not where this script looks for it"
		missed=$((missed + 1))
	elif ! build "check $check" "$copy" "$test"; then
		tail -n 5 "$OTA_TMP/build.log"
		tell "$check" "$file" "NOT NOTICED: it does not compile without the check"
		missed=$((missed + 1))
	elif passes "$copy" "$test" "$names"; then
		tell "$check" "$file" "NOT NOTICED by $test: '$names'"
		missed=$((missed + 1))
	elif ! line=$(failure "$test" "$names"); then
		tell "$check" "$file" "NOT NOTICED: without the check the test does not get as far: $(tail -n 1 "$OTA_TMP/test.log")"
		missed=$((missed + 1))
	else
		tell "$check" "$file" "noticed: ${line:0:110}"
		noticed=$((noticed + 1))
	fi
	mv "$copy/$file.whole" "$copy/$file"
	touch "$copy/$file"
}

main() {
	local copy=$OTA_TMP/tree check file rest expression test names
	mkdir "$copy"
	git -C "$OTA_ROOT" ls-files -z | tar -C "$OTA_ROOT" --null -T - -cf - | tar -xf - -C "$copy"
	while IFS='|' read -r check file rest; do
		[ -n "$check" ] || continue
		[ $# = 0 ] || [[ " $* " == *" $check "* ]] || continue
		# The expression may hold "||"; what stands behind it does not.
		names=${rest##*|} rest=${rest%|*} test=${rest##*|} expression=${rest%|*}
		# Whole, not what the check before this one left behind.
		build "whole" "$copy" "$test" || ota_die "the tree does not build: $(tail -n 3 "$OTA_TMP/build.log")"
		if passes "$copy" "$test" "$names" </dev/null; then
			mutate "$copy" "$check" "$file" "$expression" "$test" "$names" </dev/null
		else
			tell "$check" "$file" "NOT NOTICED: $test: '$names' fails with the check, too"
			missed=$((missed + 1))
		fi
	done <<<"$MUTATIONS"
	printf '\n%s noticed, %s not noticed\n' "$noticed" "$missed"
	[ "$missed" = 0 ] && [ "$noticed" != 0 ]
}

main "$@"; exit
