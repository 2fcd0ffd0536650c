-- The views of the contract.
\ir lib/helpers.sql
SELECT no_plan();

SELECT is((SELECT string_agg(column_name, ' ' ORDER BY ordinal_position) FROM information_schema.columns
            WHERE table_schema = 'ota' AND table_name = v AND ordinal_position <= cardinality(string_to_array(want, ' '))), want, v || ' begins with the contract''s columns')
  FROM (VALUES ('fleet_versions', 'fleet version devices connected'),
               ('rollout_progress', 'rollout_id fleet version state stage label targeted cohort notified in_progress succeeded failed success_rate next_action next_at'),
               ('device_history', 'device_id at kind version rollout_id detail'),
               ('denied', 'at broker client topic reason')) AS c (v, want);

SELECT pg_temp.devices('f', 'dev', 200, '1.0.0');
SELECT pg_temp.devices('f', 'away', 5, '1.0.0', false);
SELECT pg_temp.devices('g', 'other', 1, NULL);
SELECT results_eq('SELECT * FROM ota.fleet_versions ORDER BY fleet', $$ VALUES ('f', '1.0.0', 205::bigint, 200::bigint), ('g', NULL, 1, 1) $$, 'fleet_versions');

SELECT pg_temp.release('1.5.0', 15) \g /dev/null
SELECT ota.start_rollout('f', '1.5.0') AS r \gset
SELECT results_eq('SELECT rollout_id, fleet, version, state, stage, label, targeted, cohort, notified, in_progress, succeeded, failed, success_rate, next_action FROM ota.rollout_progress',
    format($$ VALUES (%s::bigint, 'f', '1.5.0', 'scheduled', 0, NULL, NULL::bigint, NULL::bigint, 0::bigint, 0::bigint, 0::bigint, 0::bigint, NULL::numeric, 'starts') $$, :r),
    'a rollout that has not begun');
SELECT ota.rollout_step(:r, 'start', NULL, 'controller'), pg_temp.open_stage(:r, 1) \g /dev/null
UPDATE ota.device_update SET state = 'succeeded', notified_at = now() WHERE rollout_id = :r AND state = 'pending' AND ready;
SELECT pg_temp.open_stage(:r, 2) \g /dev/null
UPDATE ota.device_update u SET state = (ARRAY['succeeded', 'failed', 'timed_out', 'rejected', 'notified'])[n], notified_at = now()
  FROM (SELECT device_id, row_number() OVER (ORDER BY rank) AS n FROM ota.device_update WHERE state = 'pending' AND ready) x
 WHERE u.rollout_id = :r AND u.device_id = x.device_id AND x.n <= 5;
SELECT results_eq(format('SELECT state, stage, label, targeted, cohort, notified - ok, in_progress - waiting, succeeded - ok, failed, rejected, success_rate = round((ok + 1) / (ok + 3.0), 4)
      FROM ota.rollout_progress p, (SELECT count(*) AS ok FROM ota.device_update WHERE stage = 1 AND state = ''succeeded'') s,
           (SELECT count(*) AS waiting FROM ota.device_update WHERE state = ''pending'' AND granted_at IS NOT NULL) w'),
    $$ VALUES ('running', 2, 'early', 205::bigint, 21::bigint, 5::bigint, 1::bigint, 1::bigint, 2::bigint, 1::bigint, true) $$, 'two stages, summed up');
DO $$
DECLARE
    line  text;
    plan  text := '';
BEGIN
    FOR line IN EXPLAIN SELECT * FROM ota.rollout_progress LOOP
        plan := plan || line;
    END LOOP;
    PERFORM set_config('test.plan', plan, false);
END
$$;
SELECT ok(current_setting('test.plan') ~ 'rollout_stage' AND current_setting('test.plan') !~ 'device', 'progress reads the counters only');

INSERT INTO ota.event (at, broker, device_id, rollout_id, kind, detail) VALUES
    ('2026-01-01 00:00:02+00', 'b', 'h', 7, 'status', '{"version": "1.5.0", "status": "SUCCESS"}'),
    ('2026-01-01 00:00:01+00', 'b', 'h', 7, 'notified', '{}'),
    ('2026-01-01 00:00:01+00', 'b', NULL, NULL, 'denied', '{"client": "c", "topic": "fleet/f/ota/available", "reason": "only the broker may"}');
SELECT results_eq('SELECT at, kind, version, rollout_id FROM ota.device_history WHERE device_id = ''h'' ORDER BY at', $$ VALUES
    ('2026-01-01 00:00:01+00'::timestamptz, 'notified', NULL, 7::bigint), ('2026-01-01 00:00:02+00', 'status', '1.5.0', 7) $$, 'device_history, in the order of time');
SELECT results_eq('SELECT at, broker, client, topic, reason FROM ota.denied', $$ VALUES
    ('2026-01-01 00:00:01+00'::timestamptz, 'b', 'c', 'fleet/f/ota/available', 'only the broker may') $$, 'denied');

SELECT * FROM finish();
