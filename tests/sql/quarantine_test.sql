-- Devices that fail again and again.
\ir lib/helpers.sql
SELECT no_plan();

SELECT pg_temp.devices('f', 'dev', 4, '1.0.0');
SELECT pg_temp.release('1.' || n || '.0', 10 + n) FROM generate_series(1, 6) AS n;
SELECT ota.define_plan('p', '[{"label": "a", "percent": 50}, {"label": "b", "percent": 100}]', options => '{"pacing": "none"}');

-- One rollout to everybody in which the device's update ends in that state, written as a broker writes it.
CREATE FUNCTION pg_temp.ends(version text, device text, state text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    id  bigint := ota.start_rollout('f', version, 'p');
BEGIN
    PERFORM ota.rollout_step(id, 'start', NULL, 'controller');
    PERFORM pg_temp.open_stage(id, 1);
    PERFORM pg_temp.open_stage(id, 2);
    PERFORM ota.broker_claim('broker', 100);
    PERFORM pg_temp.write(id, device, state);
    RETURN id;
END
$$;
CREATE FUNCTION pg_temp.write(id bigint, device text, state text) RETURNS void LANGUAGE sql AS $$
    SELECT ota.broker_write('broker', NULL, '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}',
        ARRAY[id], ARRAY[device], ARRAY[state], ARRAY[1], ARRAY[0], ARRAY[1], ARRAY[1::bigint], ARRAY[0], ARRAY[NULL::bigint], ARRAY[NULL::bigint],
        ARRAY[NULL::bigint], ARRAY['NO_GPS'], ARRAY[NULL::bigint], ARRAY[(extract(epoch FROM now()) * 1000)::bigint], '{}', '{}', '{}', '{}', '{}')
$$;
CREATE FUNCTION pg_temp.count_of(d text) RETURNS text LANGUAGE sql AS $$
    SELECT failures || CASE WHEN quarantined_at IS NULL THEN '' ELSE ' quarantined' END FROM ota.device WHERE device_id = d
$$;

-- The count ------------------------------------------------------------------------------------------------------------
SELECT is(quarantine_after, 3, 'three by default') FROM ota.fleet WHERE fleet = 'f';
SELECT pg_temp.ends('1.1.0', 'dev-1', 'failed') AS r1 \gset
SELECT is(pg_temp.count_of('dev-1'), '1', 'a failure');
SELECT pg_temp.write(:r1, 'dev-2', 'downloading'), pg_temp.write(:r1, 'dev-3', 'pending'), pg_temp.write(:r1, 'dev-4', 'rejected') \g /dev/null
SELECT is(pg_temp.count_of(d), '0', d || ': no failure') FROM unnest(ARRAY['dev-2', 'dev-3', 'dev-4']) AS d;
SELECT pg_temp.ends('1.2.0', 'dev-1', 'succeeded') AS r2 \gset
SELECT is(pg_temp.count_of('dev-1'), '0', 'a success starts it anew');
SELECT pg_temp.ends('1.3.0', 'dev-1', 'rolled_back') AS r3 \gset
SELECT pg_temp.ends('1.4.0', 'dev-1', 'timed_out') AS r4 \gset
SELECT is(pg_temp.count_of('dev-1'), '2', 'over rollouts');
SELECT pg_temp.ends('1.5.0', 'dev-1', 'failed') AS r5 \gset
SELECT is(pg_temp.count_of('dev-1'), '3 quarantined', 'three in a row');
SELECT results_eq('SELECT rollout_id, detail ->> ''reason'' FROM ota.event WHERE kind = ''device_quarantined''', format($$ VALUES (%s::bigint, '3 failed updates in a row') $$, :r5), 'written down');
SELECT results_eq('SELECT device_id, fleet, failures, version, rollout_id, failed_version, state, error FROM ota.quarantine',
    format($$ VALUES ('dev-1', 'f', 3, '1.0.0', %s::bigint, '1.5.0', 'failed', 'NO_GPS') $$, :r5), 'the view');

-- Left out --------------------------------------------------------------------------------------------------------------
SELECT results_eq($$ SELECT device_id, reason ~ '^in quarantine since .*: 3 failed updates in a row$' FROM ota.preview_rollout('f', '1.6.0', 'p') WHERE NOT included $$,
    $$ VALUES ('dev-1', true) $$, 'preview leaves it out, and says why');
SELECT is(count(*), 3::bigint, 'and nobody else') FROM ota.preview_rollout('f', '1.6.0', 'p') WHERE included;
CREATE FUNCTION pg_temp.why(rollout bigint) RETURNS SETOF text LANGUAGE sql AS $$
    SELECT regexp_replace(reason, 'since [^ ]+ [^ :]+:[^ :]+:[^ :]+', 'since then') FROM ota.stuck_devices WHERE device_id = 'dev-1' AND rollout_id = rollout
$$;
SELECT results_eq(format('SELECT pg_temp.why(%s)', :r5), ARRAY['it failed: NO_GPS; it is in quarantine since then: ota.unquarantine_device'], 'who asks for stuck devices is told');
SELECT throws_matching(format('SELECT ota.retry_device(%s, ''dev-1'', ''x'')', :r5), 'device "dev-1" is in quarantine since', 'no retry');
SELECT throws_matching('SELECT ota.pin_device(''dev-1'', ''1.6.0'', ''x'')', 'cannot be given 1.6.0: in quarantine since', 'no pin to what it would have to be given');
SELECT lives_ok('SELECT ota.pin_device(''dev-1'', ''1.0.0'', ''x'')', 'what it runs is no update');
SELECT ota.unpin_device('dev-1');

-- Out of it ----------------------------------------------------------------------------------------------------------------
SELECT throws_ok(format('SELECT ota.unquarantine_device(%s)', given), code, message, message) FROM (VALUES
    ('NULL, ''x''', '22023', 'the device is missing'), ('''dev-1'', '' ''', '22023', 'the reason is missing'),
    ('''nobody'', ''x''', 'P0002', 'there is no device "nobody"'), ('''dev-2'', ''x''', '55000', 'device "dev-2" is not in quarantine')) AS c (given, code, message);
SELECT ota.start_rollout('f', '1.6.0', 'p') AS r6 \gset
SELECT ota.rollout_step(:r6, 'start', NULL, 'controller'), pg_temp.open_stage(:r6, 1), pg_temp.open_stage(:r6, 2) \g /dev/null
SELECT is_empty(format('SELECT 1 FROM ota.device_update WHERE rollout_id = %s AND device_id = ''dev-1''', :r6), 'a rollout goes on without it');
SELECT results_eq(format('SELECT pg_temp.why(%s)', :r6),
    ARRAY['it is in quarantine since then: 3 failed updates in a row; ota.unquarantine_device lets it take part again'], 'and it is said to be stuck for that');
UPDATE ota.device SET pinned_version = '1.0.0' WHERE device_id = 'dev-1';
SELECT is_empty(format('SELECT pg_temp.why(%s)', :r6), 'who is pinned to another version is not stuck');
UPDATE ota.device SET pinned_version = NULL WHERE device_id = 'dev-1';
SELECT ota.unquarantine_device('dev-1', 'a new battery');
SELECT is(pg_temp.count_of('dev-1'), '0', 'the count begins anew');
SELECT results_eq(format('SELECT pg_temp.why(%s)', :r6), ARRAY['it waits for its turn'], 'it is in quarantine no longer');
SELECT is(state, 'pending', 'it joins what is open to everybody') FROM ota.device_update WHERE rollout_id = :r6 AND device_id = 'dev-1';
SELECT is(detail ->> 'reason', 'a new battery', 'written down') FROM ota.event WHERE kind = 'device_unquarantined' AND detail ->> 'by' = session_user;

-- The fleet's number ----------------------------------------------------------------------------------------------------------
SELECT throws_ok(format('SELECT ota.set_quarantine(%s)', given), code, message, message) FROM (VALUES
    ('NULL, 3, ''x''', '22023', 'the fleet is missing'), ('''nowhere'', 3, ''x''', 'P0002', 'there is no fleet "nowhere"'),
    ('''f'', 0, ''x''', '22023', 'failures is 0'), ('''f'', 1001, ''x''', '22023', 'failures is 1001'), ('''f'', 3, NULL', '22023', 'the reason is missing')) AS c (given, code, message);
SELECT ota.set_quarantine('f', NULL, 'a test bench');
UPDATE ota.device SET failures = 98 WHERE device_id = 'dev-3';
SELECT ota.broker_claim('broker', 100) \g /dev/null
SELECT pg_temp.write(:r6, 'dev-3', 'failed');
SELECT is(pg_temp.count_of('dev-3'), '99', 'null: never');
SELECT ota.set_quarantine('f', 1, 'a strict one');
SELECT pg_temp.write(:r6, 'dev-2', 'failed');
SELECT is(pg_temp.count_of('dev-2'), '1 quarantined', 'the first one is enough');
SELECT results_eq('SELECT detail ->> ''from'', detail ->> ''to'' FROM ota.event WHERE kind = ''quarantine_set'' ORDER BY event_id', $$ VALUES ('3', NULL), (NULL, '1') $$, 'written down');

SELECT * FROM finish();
