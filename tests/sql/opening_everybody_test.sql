-- The stage of everybody: who could join is counted up to a bound only, and all of them join nevertheless.
\ir lib/helpers.sql
SELECT no_plan();

SELECT pg_temp.release('2.0.0', 20) AS r20 \gset
SELECT pg_temp.devices('f', 'dev', 50020, '1.0.0', false);
SELECT pg_temp.devices('f', 'there', 3, '2.0.0', false);
SELECT ota.define_plan('two', '[{"label": "a", "percent": 0.01}, {"label": "b", "percent": 100}]');
SELECT ota.start_rollout('f', '2.0.0', 'two') AS id \gset
SELECT ota.rollout_step(:id, 'start', NULL, 'controller') \g /dev/null

SELECT results_eq(format('SELECT eligible, chosen FROM ota.controller_eligible(%s)', :id), 'VALUES (50020::bigint, 0::bigint)', 'a percentage is of all');
SELECT is(ota.controller_open_stage(:id, 1, 50020, 6), 6::bigint, 'its stage');
SELECT results_eq(format('SELECT eligible, chosen FROM ota.controller_eligible(%s)', :id), 'VALUES (50006::bigint, 6::bigint)', 'for everybody nobody counts to the end');
-- Newcomers after the count join, too.
SELECT pg_temp.devices('f', 'new', 2, '1.0.0');
SELECT is(ota.controller_open_stage(:id, 2, 50006, 50006, 20000), 50016::bigint, 'all join');
SELECT results_eq(format('SELECT eligible, cohort, added, in_flight FROM ota.rollout_stage WHERE rollout_id = %s AND stage = 2', :id),
    'VALUES (50022::bigint, 50022::bigint, 50016::bigint, 0::bigint)', 'and are counted then; no slots for so many');
SELECT is(count(*), 0::bigint, 'each with its rank') FROM ota.device_update u WHERE u.rollout_id = :id AND u.rank <> ota.cohort_rank(:id, u.device_id);

SELECT * FROM finish();
