-- ota.broker_updating: which update of a device is going on, for a broker that is asked for blocks; and which rollouts still serve.
\ir lib/helpers.sql
SELECT no_plan();

SELECT pg_temp.devices('f', 'dev', 4, '1.0.0');
SELECT pg_temp.release('1.5.0', 15) AS r \gset
SELECT ota.define_plan('p', '[{"label": "a", "percent": 50}, {"label": "b", "percent": 100}]', options => '{"pacing": "none"}');
SELECT ota.start_rollout('f', '1.5.0', 'p') AS a \gset
SELECT results_eq('SELECT * FROM ota.broker_updating(ARRAY[''dev-1'', ''nobody''], ARRAY[7, 8])',
    $$ VALUES ('dev-1', 7::bigint, NULL::bigint, NULL::integer, NULL::bigint, NULL::bigint, NULL), ('nobody', 8, NULL, NULL, NULL, NULL, NULL) $$,
    'a row for each question');
SELECT is_empty('SELECT * FROM ota.broker_updating(''{}'', ''{}'')', 'none for none');
SELECT results_eq(format('SELECT live, serves FROM ota.broker_rollouts() WHERE rollout_id = %s', :a), $$ VALUES (false, false) $$, 'scheduled');

SELECT ota.rollout_step(:a, 'start', NULL, 'controller') \g /dev/null
SELECT ota.controller_open_stage(:a, 1, 4, 2) \g /dev/null
SELECT ota.controller_open_stage(:a, 2, 4, 4) \g /dev/null
SELECT is(count(*), 0::bigint, 'who was not told has none') FROM ota.broker_updating(ARRAY['dev-1', 'dev-2', 'dev-3', 'dev-4'], ARRAY[1, 2, 3, 4]) WHERE rollout_id IS NOT NULL;
SELECT ota.controller_grant(:a, 100) \g /dev/null
SELECT count(*) AS told FROM ota.broker_claim('broker', 10) \gset
SELECT is(:told, 4, 'all are told');
SELECT is(count(*), 4::bigint, 'and so have one, with its release and deadline') FROM ota.broker_updating(ARRAY['dev-1', 'dev-2', 'dev-3', 'dev-4'], ARRAY[1, 2, 3, 4])
    WHERE rollout_id = :a AND release_id = :r AND attempt = 1 AND deadline_ms > extract(epoch FROM now()) * 1000;

UPDATE ota.device_update SET state = 'downloading' WHERE device_id = 'dev-1';
UPDATE ota.device_update SET state = 'failed', finished_at = now() WHERE device_id = 'dev-2';
UPDATE ota.device_update SET recall = true WHERE device_id = 'dev-3';
SELECT ota.assign_gateway('dev-4', 'hub') \g /dev/null
SELECT results_eq('SELECT device_id, rollout_id, via FROM ota.broker_updating(ARRAY[''dev-1'', ''dev-2'', ''dev-3'', ''dev-4''], ARRAY[1, 2, 3, 4]) ORDER BY 1',
    format($$ VALUES ('dev-1', %1$s::bigint, NULL), ('dev-2', NULL, NULL), ('dev-3', NULL, NULL), ('dev-4', %1$s, 'hub') $$, :a),
    'on its way, failed, recalled, behind a gateway');

SELECT ota.pause_rollout(:a, 'test') \g /dev/null
SELECT results_eq(format('SELECT live, serves FROM ota.broker_rollouts() WHERE rollout_id = %s', :a), $$ VALUES (false, true) $$, 'paused: nobody is told, who was told goes on');
SELECT is(count(*), 2::bigint, 'the same here') FROM ota.broker_updating(ARRAY['dev-1', 'dev-4'], ARRAY[1, 4]) WHERE rollout_id = :a;
SELECT ota.cancel_rollout(:a, 'test') \g /dev/null
SELECT results_eq(format('SELECT live, serves FROM ota.broker_rollouts() WHERE rollout_id = %s', :a), $$ VALUES (false, false) $$, 'cancelled: nothing more');
SELECT is(count(*), 0::bigint, 'the same here') FROM ota.broker_updating(ARRAY['dev-1', 'dev-4'], ARRAY[1, 4]) WHERE rollout_id IS NOT NULL;

SELECT * FROM finish();
