-- ota.assign_gateway, and how many devices behind a gateway are updated at once.
\ir lib/helpers.sql
SELECT no_plan();

SELECT throws_ok(format('SELECT ota.assign_gateway(%s)', given), code, message, message) FROM (VALUES
    ('NULL, ''hub''', '22023', 'the device is missing'),
    ('''a/b'', ''hub''', '22023', '"a/b" cannot name a device'),
    ('''d'', ''''', '22023', 'the gateway is missing'),
    ('''d'', ''h+b''', '22023', '"h+b" cannot name a gateway'),
    ('''d'', ''d''', '22023', 'device "d" cannot be its own gateway')) AS c (given, code, message);
SELECT is_empty('SELECT 1 FROM ota.device', 'nothing was made');
SELECT is(ota.broker_gateways(), NULL, 'no gateways');

SELECT pg_temp.devices('f', 'dev', 6, '1.0.0');
SELECT ota.assign_gateway('dev-' || i, CASE WHEN i <= 3 THEN 'hub-a' ELSE 'hub-b' END) FROM generate_series(1, 5) AS i;
SELECT ota.assign_gateway('new', 'hub-c');
SELECT is(fleet::text, 'default', 'a device that did not exist is made') FROM ota.device WHERE device_id = 'new';
SELECT is(ota.broker_gateways(), E'hub-a\nhub-b\nhub-c', 'the gateways, each once');
SELECT results_eq('SELECT count(*) FROM ota.device WHERE fleet = ''f'' AND NOT listening AND NOT connected', ARRAY[5::bigint], 'away until their gateway speaks for them');
SELECT is(count(*), 6::bigint, 'written down') FROM ota.event WHERE kind = 'gateway_assigned' AND detail ->> 'by' = session_user;

-- As if the gateways had spoken for them.
UPDATE ota.device SET connected = true, listening = true WHERE fleet = 'f';
SELECT pg_temp.release('1.5.0', 15) \g /dev/null
SELECT ota.define_plan('p', '[{"label": "a", "percent": 50}, {"label": "b", "percent": 100}]', options => '{"pacing": "none"}');
SELECT ota.start_rollout('f', '1.5.0', 'p') AS a \gset
SELECT ota.rollout_step(:a, 'start', NULL, 'controller') \g /dev/null
SELECT ota.controller_open_stage(:a, 1, 6, 3) \g /dev/null
SELECT ota.controller_open_stage(:a, 2, 6, 6) \g /dev/null
SELECT is(ota.controller_grant(:a, 100), 3::bigint, 'one behind each gateway, and the one that speaks for itself');
SELECT results_eq(format('SELECT d.gateway, count(*) FROM ota.device_update u JOIN ota.device d USING (device_id) WHERE u.rollout_id = %s AND u.granted_at IS NOT NULL GROUP BY 1 ORDER BY 1', :a),
    $$ VALUES ('hub-a', 1::bigint), ('hub-b', 1), (NULL, 1) $$, 'each of them one');
SELECT is(ota.controller_grant(:a, 100), 0::bigint, 'the others wait');
SELECT results_eq('SELECT DISTINCT via FROM ota.broker_claim(''broker'', 10) ORDER BY 1', $$ VALUES ('hub-a'), ('hub-b'), (NULL) $$, 'the broker learns through whom');
UPDATE ota.device_update u SET state = 'succeeded', finished_at = now() FROM ota.device d WHERE d.device_id = u.device_id AND d.gateway = 'hub-a' AND u.state = 'notified';
SELECT is(ota.controller_grant(:a, 100), 1::bigint, 'the next one when one has finished');
UPDATE ota.fleet SET max_per_gateway = 2 WHERE fleet = 'f';
SELECT is(ota.controller_grant(:a, 100), 2::bigint, 'two at once where the fleet allows it');
SELECT throws_ok('UPDATE ota.fleet SET max_per_gateway = 0', '23514', NULL, 'never none');

-- To another gateway, and back
SELECT device_id AS moved FROM ota.device_update WHERE rollout_id = :a AND state = 'pending' AND granted_at IS NOT NULL ORDER BY 1 LIMIT 1 \gset
SELECT ota.assign_gateway(:'moved', 'hub-z');
SELECT results_eq(format('SELECT ready, granted_at FROM ota.device_update WHERE rollout_id = %s AND device_id = %L', :a, :'moved'),
    'VALUES (false, NULL::timestamptz)', 'its slot goes back: the new gateway has not spoken for it');
SELECT ota.assign_gateway(:'moved', NULL);
SELECT is(gateway, NULL, 'it speaks for itself again') FROM ota.device WHERE device_id = :'moved';

SELECT * FROM finish();
