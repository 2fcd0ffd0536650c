-- A device that goes from one broker to another while it has a slot, a notice or a recall.
\ir lib/helpers.sql
SELECT no_plan();

-- As the plugin stores it when a device listens at a broker.
CREATE FUNCTION pg_temp.listens(device text, at text, session bigint) RETURNS void LANGUAGE sql AS $$
    SELECT ota.broker_write(i_broker => at, i_seq => NULL, d_id => ARRAY[device], d_new => '{f}', d_fleet => '{NULL}',
        d_fleet_from => '{NULL}', d_hardware => '{NULL}', d_version => '{NULL}', d_connected => '{t}', d_listening => '{t}',
        d_session => ARRAY[session], d_topic => '{NULL}', d_seen_ms => '{1}', d_boot_id => '{NULL}', u_rollout => '{}', u_device => '{}',
        u_state => '{}', u_attempt => '{}', u_retries => '{}', u_failed => '{}', u_told => '{}', u_boots => '{}', u_boots_since_ms => '{}',
        u_not_before_ms => '{}', u_deadline_ms => '{}', u_error => '{}', u_retell_ms => '{}', u_at_ms => '{}', e_at_ms => '{}',
        e_device => '{}', e_rollout => '{}', e_kind => '{}', e_detail => '{}');
$$;
CREATE FUNCTION pg_temp.row_of(id bigint, device text) RETURNS text LANGUAGE sql AS $$
    SELECT concat_ws(' ', u.state, u.broker, CASE WHEN u.ready THEN 'ready' END, CASE WHEN u.granted_at IS NOT NULL THEN 'slot' END,
        CASE WHEN u.recall THEN 'recall' END) FROM ota.device_update u WHERE u.rollout_id = id AND u.device_id = device;
$$;

SELECT ota.broker_hello(b, '1', true) FROM unnest(ARRAY['broker', 'other']) AS b \g /dev/null
SELECT pg_temp.devices('f', 'dev', 3, '1.0.0');
SELECT pg_temp.release('1.5.0', 15) \g /dev/null
SELECT ota.define_plan('p', '[{"label": "a", "percent": 50}, {"label": "b", "percent": 100}]', options => '{"pacing": "none"}');
SELECT ota.start_rollout('f', '1.5.0', 'p') AS r \gset
SELECT ota.rollout_step(:r, 'start', NULL, 'controller') \g /dev/null
SELECT pg_temp.open_stage(:r, 1) \g /dev/null
SELECT pg_temp.open_stage(:r, 2) \g /dev/null
SELECT is(pg_temp.row_of(:r, 'dev-1'), 'pending broker ready slot', 'has a slot at its broker');

-- The slot
SELECT pg_temp.listens('dev-1', 'other', 2);
SELECT is(pg_temp.row_of(:r, 'dev-1'), 'pending broker ready', 'whoever listens elsewhere gives the slot back: the old broker may never come back for it');
SELECT pg_temp.listens('dev-2', 'broker', 2);
SELECT is(pg_temp.row_of(:r, 'dev-2'), 'pending broker ready slot', 'whoever listens again at the same broker keeps it');
SELECT is(ota.controller_grant(:r, 10), 1::bigint, 'the one without is next again');
SELECT is(pg_temp.row_of(:r, 'dev-1'), 'pending other ready slot', 'at its new broker');
SELECT results_eq('SELECT device_id FROM ota.broker_claim(''other'', 10)', ARRAY['dev-1'], 'which claims it');
SELECT results_eq('SELECT device_id FROM ota.broker_claim(''broker'', 10) ORDER BY 1', ARRAY['dev-2', 'dev-3'], 'the others are claimed where they are');

-- A claim whose answer was lost
SELECT ota.broker_hello('broker', '1', false) \g /dev/null
SELECT results_eq(format('SELECT device_id, retell_at IS NOT NULL FROM ota.device_update WHERE rollout_id = %s ORDER BY 1', :r),
    $$ VALUES ('dev-1', false), ('dev-2', true), ('dev-3', true) $$, 'a broker that lost its connection is given its last claims once more');
UPDATE ota.device_update SET retell_at = now() WHERE retell_at IS NOT NULL;
SELECT is_empty('SELECT * FROM ota.broker_claim(''broker'', 10, false)', 'not before what the broker has heard is in the tables');
SELECT results_eq('SELECT device_id, attempt, again FROM ota.broker_claim(''broker'', 10) ORDER BY 1', $$ VALUES ('dev-2', 1, true), ('dev-3', 1, true) $$, 'as the same attempt');
UPDATE ota.device_update SET notified_at = now() - interval '1 hour' WHERE device_id = 'dev-2';
SELECT ota.broker_hello('broker', '1', false) \g /dev/null
SELECT results_eq(format('SELECT device_id, retell_at IS NOT NULL FROM ota.device_update WHERE rollout_id = %s ORDER BY 1', :r),
    $$ VALUES ('dev-1', false), ('dev-2', false), ('dev-3', true) $$, 'older ones have had their answer');

-- The recall
SELECT pg_temp.listens('dev-2', 'other', 3);
UPDATE ota.device SET connected = false, listening = false WHERE device_id = 'dev-3';
SELECT ota.halt_rollout(:r, 'test') \g /dev/null
SELECT is(pg_temp.row_of(:r, 'dev-2'), 'cancelled broker slot recall', 'told by one broker');
SELECT is_empty('SELECT * FROM ota.broker_recalls(''broker'', 10)', 'that one has nobody to recall');
SELECT results_eq('SELECT device_id FROM ota.broker_recalls(''other'', 10) ORDER BY 1', ARRAY['dev-1', 'dev-2'], 'recalled by the one that serves it');
SELECT is(pg_temp.row_of(:r, 'dev-3'), 'cancelled broker slot recall', 'the recall of a device that is away waits');
SELECT pg_temp.listens('dev-3', 'other', 4);
SELECT results_eq('SELECT device_id FROM ota.broker_recalls(''other'', 10)', ARRAY['dev-3'], 'until it is back, wherever that is');

-- Facts that were read before another broker wrote
SELECT lives_ok('SELECT pg_temp.listens(''dev-3'', ''other'', 4)', 'the same session once more');
SELECT throws_ok('SELECT pg_temp.listens(''dev-3'', ''broker'', 3)', '40001',
    'a device of broker "broker" has been heard of at another one, in a later session', 'an earlier session is to be read again');
SELECT is(broker || ' ' || session, 'other 4', 'and changes nothing') FROM ota.device WHERE device_id = 'dev-3';
SELECT lives_ok('SELECT pg_temp.listens(''nobody'', ''broker'', 3)', 'a device that is gone is no later session');

SELECT * FROM finish();
