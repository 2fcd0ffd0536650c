#!/usr/bin/env bash
# Shows that the attack tests notice when a check is gone: takes each check of docs/threats.md out of a copy of the tree, builds that, and
# runs the test that is named there, which has to fail.
#
# tests/mutations.sh [CHECK]...     a CHECK is a number of the table in docs/threats.md: 1, 5a, ...; none: all of them
#
# Prints a line a check and "N noticed, M not noticed"; the exit status is 0 only when all were.  Not part of tests/run.sh: every
# check costs two builds and two tests, about 20 s.  OTA_BROKERS and OTA_TIME_FACTOR are as for the integration tests.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/../scripts/lib.sh"

# check|file|sed expression that takes it out|test file|pytest -k
readonly MUTATIONS='
1|plugin/gate/policy.c|s/^\tif \(topic->subject == POLICY_NOTIFY\) \{/\tif (topic->subject == POLICY_NOTIFY) {\n\t\treturn POLICY_ALLOW;/|test_attack_topics.py|test_copy_of_the_genuine_notice or (test_forged_notice and 5-qos-1)
2|plugin/gate/policy.c|s/^\tif \(topic->subject == POLICY_NOTIFY\) \{/\tif (topic->subject == POLICY_NOTIFY) {\n\t\treturn POLICY_ALLOW;/|test_attack_topics.py|test_forged_will
3|plugin/gate/report.c|s/identity, false, &reason\) != POLICY_ALLOW\)/identity, false, \&reason) == POLICY_OTHERS)/|test_attack_sessions.py|test_own_bridge_that_fetches_forgeries
4|plugin/gate/policy.c|s/^\tif \(!policy_own\(topic, identity\)\) \{/\tif (identity == NULL) {/|test_attack_topics.py|test_report_for_somebody_else
5|plugin/gate/deliver.c|s/^(\t\t\|\|) !notice_digest_equal\(&digest, &notice->digest\) \|\|/\1/|test_attack_sessions.py|test_retained_forgery_with_the_numbers_of_the_outstanding_notice or test_queued_forgery_with_the_numbers
5a|plugin/gate/access.c|s/^\treturn check->access == MOSQ_ACL_SUBSCRIBE$/\treturn false/|test_attack_topics.py|test_another_devices_topic_by_name
6|plugin/gate/deliver.c|s/ \|\| !deliver_is_live\(gate, notice->rollout\)//|test_attack_sessions.py|test_stale_copy_in_a_kept_session
7|plugin/wire/dsse.c|s/&& keyring_verify\($/\&\& (keyring_verify(/;s/(keyring, k, )pae, pae_length(, signature->bytes, signature->length\))(\) \{)/\1pae, pae_length\2 || keyring_verify(\1envelope->payload, envelope->payload_length\2)\3/|test_attack_rows.py|test_bad_envelope and bare
8|plugin/wire/dsse.c|s/^\tif \(strcmp\(envelope->payload_type, DSSE_MANIFEST_TYPE\) != 0\) \{/\tif (envelope->payload_type == NULL) {/|test_attack_rows.py|test_another_document_of_a_trusted_key
9|plugin/wire/dsse.c|s/^\t\t\tif \(!signers\[k\]$/\t\t\tif (true/|test_attack_rows.py|test_one_key_counts_once
10|plugin/wire/json.c|/^static enum ota_err check_duplicates\(/,/^\}/s/^\treturn err;/\treturn OTA_OK;/|test_attack_reports.py|test_payload_made_to_break and twice
11|plugin/wire/release.c|s/^\terr = check_columns\(row, release->manifest, why\);/\terr = ((void)check_columns, OTA_OK);/|test_attack_rows.py|test_tampered_release and (url or sha256 or size)
12|plugin/store/feed_releases.c|s/^\t\tif \(strcmp\(known->row_version, row_version\) == 0$/\t\tif (strcmp(pg_text(rows, n, L_STATE), "verified") == 0 || strcmp(known->row_version, row_version) == 0/|test_attack_rows.py|test_verified_by_hand or test_rejected_turned_verified
12a|plugin/store/feed_releases.c|s/^\t\tif \(strcmp\(known->row_version, row_version\) == 0$/\t\tif (known->row_version[0] != 0/|test_attack_rows.py|test_tampered_release_of_a_running_rollout
13|plugin/gate/deliver.c|s/^\tif \(eligibility != ELIGIBLE\) \{/\tif (eligibility != ELIGIBLE \&\& gate == NULL) {/|test_attack_rows.py|test_terms_hold
14|sql/functions/broker_hand_out.sql|s/coalesce\(d\.fleet = r\.fleet AND f\.stage/coalesce(true OR d.fleet = r.fleet AND f.stage/|test_attack_rows.py|test_device_update_by_hand
14|sql/functions/broker_hand_out.sql|s/coalesce\(d\.fleet = r\.fleet AND p\.stage/coalesce(true OR d.fleet = r.fleet AND p.stage/|test_hand_out.py|test_a_row_that_no_stage_asked_for
15|plugin/store/feed.c|/^static void reload_keys\(/,/^\}/s/^\{/{\n\tif (feed) {\n\t\treturn;\n\t}/|test_attack_rows.py|test_the_only_key_removed_and_reload
16|plugin/gate/emit.c|s/^\tif \(!limit_take\(&refusals->limit/\tif (false \&\& !limit_take(\&refusals->limit/|test_attack_topics.py|test_flood_of_refusals
17|plugin/gate/blocks.c|s/^\tif \(strcmp\(asking->request.sha256, .*\) != 0\) \{/\tif (release == NULL) {/|test_blocks.py|test_wrong_questions
18|plugin/gate/blocks.c|s/^\t\t\&\& !may_answer_on\(/\t\t\&\& gate == NULL \&\& !may_answer_on(/|test_attack_blocks.py|test_response_topic_and_correlation_data
19|plugin/gate/grant.c|s/^\tif \(change->live \&\& \(own \|\| /\tif (change->live \&\& (true || own || /|test_blocks.py|test_a_gateway_asks_for_its_devices
20|plugin/gate/policy.c|s/^\tif \(topic->subject == POLICY_BLOCK\) \{/\tif (topic->subject == POLICY_BLOCK) {\n\t\treturn POLICY_ALLOW;/|test_attack_blocks.py|test_forged_and_overheard_blocks
'

ota_begin
noticed=0 missed=0

# Runs a named test on the copy: passes copy test-file expression
passes() {
	env -C "$1/tests/integration" PYTHONDONTWRITEBYTECODE=1 "OTA_BUILD_DIR=$1/build" "TMPDIR=$OTA_TMP" \
		/usr/bin/python3 -m pytest -q -x -p no:cacheprovider --basetemp "$OTA_TMP/pytest" "$2" -k "$3" >"$OTA_TMP/test.log" 2>&1
}

build() { ota_run "$1" "$OTA_TMP/build.log" bash -c "cmake -S '$2' -B '$2/build' >/dev/null && cmake --build '$2/build' -j$(nproc) --target mosquitto_ota"; }

tell() { printf '  %-4s %-28s %s\n' "$1" "$2" "$3"; }

# One mutation: without it the test passes, with it the test fails.
mutate() {
	local copy=$1 check=$2 file=$3 expression=$4 tests=$5 names=$6
	sed -E -i.whole "$expression" "$copy/$file"
	if cmp -s "$copy/$file" "$copy/$file.whole"; then
		tell "$check" "$file" "NOT NOTICED: the check is not where this script looks for it"
		missed=$((missed + 1))
	elif ! build "check $check" "$copy"; then
		tail -n 5 "$OTA_TMP/build.log"
		tell "$check" "$file" "NOT NOTICED: it does not compile without the check"
		missed=$((missed + 1))
	elif passes "$copy" "$tests" "$names"; then
		tell "$check" "$file" "NOT NOTICED by $tests -k '$names'"
		missed=$((missed + 1))
	elif ! grep -q '^FAILED ' "$OTA_TMP/test.log"; then
		tell "$check" "$file" "NOT NOTICED: without the check the test does not get as far: $(tail -n 1 "$OTA_TMP/test.log")"
		missed=$((missed + 1))
	else
		tell "$check" "$file" "noticed: $(grep '^FAILED ' "$OTA_TMP/test.log" | head -n 1 | cut -c -110)"
		noticed=$((noticed + 1))
	fi
	mv "$copy/$file.whole" "$copy/$file"
	touch "$copy/$file"
	# The next check's test has to pass on the whole tree, not on what this one left behind.
	build "whole again" "$copy" || ota_die "the tree does not build: $(tail -n 3 "$OTA_TMP/build.log")"
}

main() {
	local copy=$OTA_TMP/tree check file rest expression tests names
	mkdir "$copy"
	git -C "$OTA_ROOT" ls-files -z | tar -C "$OTA_ROOT" --null -T - -cf - | tar -xf - -C "$copy"
	build "build" "$copy" || ota_die "the tree does not build: $(tail -n 3 "$OTA_TMP/build.log")"
	while IFS='|' read -r check file rest; do
		[ -n "$check" ] || continue
		[ $# = 0 ] || [[ " $* " == *" $check "* ]] || continue
		# The expression may hold "||"; what stands behind it does not.
		names=${rest##*|} rest=${rest%|*} tests=${rest##*|} expression=${rest%|*}
		if passes "$copy" "$tests" "$names"; then
			mutate "$copy" "$check" "$file" "$expression" "$tests" "$names" </dev/null
		else
			tell "$check" "$file" "NOT NOTICED: $tests -k '$names' fails with the check, too"
			missed=$((missed + 1))
		fi
	done <<<"$MUTATIONS"
	printf '\n%s noticed, %s not noticed\n' "$noticed" "$missed"
	[ "$missed" = 0 ] && [ "$noticed" != 0 ]
}

main "$@"; exit
