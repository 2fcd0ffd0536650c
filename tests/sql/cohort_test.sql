-- ota.cohort_rank: constants, because a change would draw other devices into the cohorts of running rollouts.
\ir lib/helpers.sql
SELECT no_plan();

SELECT is(ota.cohort_rank(17, 'dev-1'), 4097873543220968048, 'SHA-256 of "17:dev-1"');
SELECT is(ota.cohort_rank(17, 'a\b'), -697638224476067451, 'backslashes are bytes like others');
SELECT is(ota.cohort_rank(1, 'Pumpe-Ä'), ('x' || encode(substr(sha256(convert_to('1:Pumpe-Ä', 'UTF8')), 1, 8), 'hex'))::bit(64)::bigint, 'UTF-8');
SELECT is(ota.cohort_rank(NULL, 'a'), NULL, 'no rank without a rollout');
SELECT isnt(ota.cohort_rank(1, 'dev-1'), ota.cohort_rank(2, 'dev-1'), 'each rollout draws anew');
-- Of 100,000 devices the lowest 1 % of all possible ranks are about 1 %.
SELECT cmp_ok(abs(count(*) - 1000), '<', 150::bigint, 'evenly spread')
  FROM generate_series(1, 100000) AS i WHERE ota.cohort_rank(5, 'device-' || i) < -9223372036854775808 + 184467440737095516;

-- The transitions that the rules know are those of the table.
\set cases `cat :root/tests/unit/cases/rollout_state.cases`
SELECT results_eq(
    'SELECT from_state, event, to_state FROM ota.rollout_transition ORDER BY 1, 2',
    format('SELECT m[1], m[2], m[3] FROM string_to_table(%L, E''\n'') AS line, regexp_match(line, ''^(\w+)\s+(\w+)\s+(\w+)'') AS m
             WHERE m IS NOT NULL AND line !~ ''^#'' ORDER BY 1, 2', :'cases'),
    'ota.rollout_transition and the rules have the same steps');

SELECT * FROM finish();
