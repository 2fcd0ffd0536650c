-- ota.pin_device, ota.unpin_device, ota.pin_fleet, ota.unpin_fleet.
\ir lib/helpers.sql
SELECT no_plan();

SELECT pg_temp.devices('f', 'dev', 6, '1.0.0'), pg_temp.devices('g', 'new', 3, '2.0.0'), pg_temp.devices('old', 'x', 2, '1.0.0');
SELECT pg_temp.release('1.4.0', 14) AS r14, pg_temp.release('1.5.0', 15) AS r15, pg_temp.release('2.0.0', 20) AS r20,
       pg_temp.release('2.1.0', 21, '{"hardware": ["hw-9"]}') AS r21, pg_temp.release('3.0.0', 30) AS r30 \gset
SELECT ota.add_release(pg_temp.envelope(pg_temp.manifest('4.0.0', 40)::text)) AS unverified \gset
UPDATE ota.release SET hardware = '{hw-9}' WHERE release_id = :r21;
UPDATE ota.device SET sequence = 20 WHERE fleet = 'g';
INSERT INTO ota.fleet (fleet) VALUES ('empty');
SELECT ota.define_plan('p', '[{"label": "a", "percent": 50}, {"label": "b", "percent": 100}]', options => '{"pacing": "none"}');

CREATE FUNCTION pg_temp.update_of(id bigint, device text) RETURNS text LANGUAGE sql AS $$
    SELECT u.state || coalesce(' ' || u.error, '') || CASE WHEN u.recall THEN ' recall' ELSE '' END FROM ota.device_update u WHERE u.rollout_id = id AND u.device_id = device
$$;

-- Bad input -----------------------------------------------------------------------------------------------------------
SELECT throws_ok(format('SELECT ota.pin_device(%s)', given), code, message, message) FROM (VALUES
    ('NULL, ''1.5.0'', ''x''', '22023', 'the device is missing'),
    ('''a/b'', ''1.5.0'', ''x''', '22023', '"a/b" cannot name a device'),
    ('''dev-1'', ''latest'', ''x''', '22023', 'version "latest" is not a Semantic Version'),
    ('''dev-1'', ''1.5.0'', '' ''', '22023', 'the reason is missing'),
    ('''nobody'', ''1.5.0'', ''x''', 'P0002', 'there is no device "nobody"'),
    ('''dev-1'', ''9.9.9'', ''x''', 'P0002', 'there is no release 9.9.9'),
    ('''dev-1'', ''4.0.0'', ''x''', '55000', 'release 4.0.0 is submitted, not verified'),
    ('''dev-1'', ''2.1.0'', ''x''', '55000', 'device "dev-1" cannot be given 2.1.0: its hardware is unknown, and the release names some'),
    ('''new-1'', ''1.5.0'', ''x''', '55000', 'device "new-1" cannot be given 1.5.0: has run sequence 20, the release has 15: it would be a rollback')) AS c (given, code, message);
SELECT throws_ok(format('SELECT ota.unpin_device(%s)', given), code, message, 'unpin: ' || message) FROM (VALUES
    ('NULL', '22023', 'the device is missing'), ('''nobody''', 'P0002', 'there is no device "nobody"'),
    ('''dev-1''', '55000', 'device "dev-1" is not pinned')) AS c (given, code, message);
SELECT throws_ok(format('SELECT ota.pin_fleet(%s)', given), code, message, 'fleet: ' || message) FROM (VALUES
    ('NULL, ''1.5.0'', ''x''', '22023', 'the fleet is missing'), ('''f'', NULL, ''x''', '22023', 'the version is missing'),
    ('''f'', ''1.5.0'', NULL', '22023', 'the reason is missing'), ('''nowhere'', ''1.5.0'', ''x''', 'P0002', 'there is no fleet "nowhere"'),
    ('''f'', ''9.9.9'', ''x''', 'P0002', 'there is no release 9.9.9'), ('''f'', ''4.0.0'', ''x''', '55000', 'release 4.0.0 is submitted, not verified'),
    ('''f'', ''2.1.0'', ''x''', '55000', 'no device of fleet "f" can be given 2.1.0: the first one its hardware is unknown, and the release names some'),
    ('''g'', ''1.5.0'', ''x''', '55000', 'no device of fleet "g" can be given 1.5.0: the first one has run sequence 20, the release has 15: it would be a rollback')) AS c (given, code, message);
SELECT throws_ok(format('SELECT ota.unpin_fleet(%s)', given), code, message, 'unpin fleet: ' || message) FROM (VALUES
    ('NULL', '22023', 'the fleet is missing'), ('''nowhere''', 'P0002', 'there is no fleet "nowhere"'),
    ('''f''', '55000', 'fleet "f" is not pinned')) AS c (given, code, message);
SELECT is_empty('SELECT 1 FROM ota.device WHERE pinned_version IS NOT NULL UNION ALL SELECT 1 FROM ota.fleet WHERE pinned_version IS NOT NULL
    UNION ALL SELECT 1 FROM ota.rollout', 'nothing was changed');
CREATE FUNCTION pg_temp.hint(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    said text;
BEGIN
    PERFORM ota.pin_device('new-1', '1.5.0', 'x');
    RETURN NULL;
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS said = PG_EXCEPTION_HINT;
    RETURN said;
END
$$;
SELECT matches(pg_temp.hint(''), 'needs a manifest with a sequence above 20', 'the way back is named');

-- A device's pin goes out at once -------------------------------------------------------------------------------------------
SELECT ota.start_rollout('f', '1.4.0', 'p') AS a \gset
SELECT ota.rollout_step(:a, 'start', NULL, 'controller') \g /dev/null
SELECT ota.controller_open_stage(:a, 1, 6, 3) \g /dev/null
SELECT ota.controller_open_stage(:a, 2, 6, 6) \g /dev/null
SELECT ota.controller_grant(:a, 2) \g /dev/null
SELECT device_id AS told FROM ota.broker_claim('broker', 1) \gset
SELECT device_id AS waits FROM ota.device_update WHERE rollout_id = :a AND state = 'pending' AND granted_at IS NULL LIMIT 1 \gset
SELECT ota.set_window('f', 'UTC', ARRAY[to_char((now() + interval '12 hours') AT TIME ZONE 'UTC', 'dy')],
    ((now() + interval '12 hours') AT TIME ZONE 'UTC')::time(0), ((now() + interval '13 hours') AT TIME ZONE 'UTC')::time(0));
SELECT ota.pin_device(:'told', '1.5.0', 'a test device') AS t, ota.pin_device(:'waits', '1.5.0', 'another') AS w \gset
SELECT is(pg_temp.update_of(:a, :'told'), 'cancelled PINNED recall', 'who was told of another version is recalled');
SELECT is(pg_temp.update_of(:a, :'waits'), 'cancelled PINNED', 'who waited for another version waits no longer');
SELECT is(pg_temp.state_of(:a), 'running', 'the fleet''s rollout goes on');
SELECT results_eq(format('SELECT fleet::text, device_id, plan, state, current_stage, release_id FROM ota.rollout WHERE rollout_id = %s', :w),
    format($$ VALUES ('f', %L, 'pin', 'running', 1, %s::bigint) $$, :'waits', :r15), 'a rollout of its own beside the fleet''s');
SELECT is(count(*), 2::bigint, 'written down with the reason') FROM ota.event WHERE kind = 'device_pinned' AND detail ->> 'reason' <> '' AND detail ->> 'by' = session_user;
SELECT is(ota.controller_grant(:w, 10), 1::bigint, 'a slot at once, whatever the window says');
SELECT results_eq('SELECT device_id, label FROM ota.broker_claim(''broker'', 10)', format('VALUES (%L, ''pin'')', :'waits'), 'told at once; the others wait');
SELECT is(ota.pin_device(:'waits', '1.5.0', 'again'), :w::bigint, 'on its way: nothing new');
SELECT is(ota.pin_device(:'told', '1.5.0', 'again'), :t::bigint, 'waiting to be told: nothing new');
SELECT ota.start_rollout('f', '3.0.0', 'p') AS b \gset
SELECT is(pg_temp.state_of(:w), 'running', 'a rollout of the fleet does not supersede it');
SELECT is(reason, 'pinned to 1.5.0', 'and leaves the device out') FROM ota.eligible_devices('f', :r30) WHERE device_id = :'waits';
SELECT throws_ok(format('SELECT ota.resume_rollout(%s)', :w), '55000', NULL, 'its states are those of any rollout');
-- What ends it
UPDATE ota.device_update SET state = 'succeeded', finished_at = now() WHERE rollout_id = :w;
SELECT results_eq(format('SELECT rollout_id, pin_end FROM ota.controller_read() WHERE rollout_id IN (%s, %s)', :w, :t),
    format('VALUES (%s::bigint, NULL::text), (%s, NULL)', least(:w, :t), greatest(:w, :t)), 'finished, or ready to be told: the controller looks at it');
UPDATE ota.device_update SET ready = false WHERE rollout_id = :t;
SELECT is_empty(format('SELECT 1 FROM ota.controller_read() WHERE rollout_id = %s', :t), 'its device is away: nothing to decide');
UPDATE ota.device_update SET state = 'rejected', error = 'NO_THANKS' WHERE rollout_id = :t;
SELECT is(pin_end, 'the device''s update is rejected: NO_THANKS', 'its device declined') FROM ota.controller_read() WHERE rollout_id = :t;
SELECT ota.rollout_step(:w, 'complete', NULL, 'controller') \g /dev/null
SELECT throws_ok(format('SELECT ota.retry_device(%s, %L, ''x'')', :w, :'waits'), '55000', NULL, 'a completed pin is over');
-- Another version in its place
SELECT ota.pin_device(:'told', '2.0.0', 'newer') AS t2 \gset
SELECT is(pg_temp.state_of(:t), 'superseded', 'a new pin supersedes the device''s earlier one');
SELECT is(pg_temp.state_of(:w), 'completed', 'and no other device''s');
SELECT ota.assign_device(:'told', 'g');
SELECT results_eq(format('SELECT fleet::text, pg_temp.update_of(%s, %L) FROM ota.rollout WHERE rollout_id = %1$s', :t2, :'told'), $$ VALUES ('g', 'pending') $$, 'a pin goes with its device');

-- Hold where it is ---------------------------------------------------------------------------------------------------------
SELECT is(ota.pin_device('x-1', '1.0.0', 'museum'), NULL, 'the version that runs needs no release');
SELECT is(pinned_version, '1.0.0', 'it is held') FROM ota.device WHERE device_id = 'x-1';

-- Unpin ------------------------------------------------------------------------------------------------------------------------
SELECT ota.clear_windows('f') \g /dev/null
SELECT ota.clear_windows('g') \g /dev/null
SELECT ota.cancel_rollout(:b, 'x') \g /dev/null
SELECT ota.start_rollout('old', '1.5.0', 'p') AS o \gset
SELECT ota.rollout_step(:o, 'start', NULL, 'controller') \g /dev/null
SELECT ota.controller_open_stage(:o, 1, 1, 1) \g /dev/null
SELECT ota.controller_open_stage(:o, 2, 1, 1) \g /dev/null
SELECT ota.pin_device('x-2', '2.0.0', 'try') AS p \gset
SELECT is(pg_temp.update_of(:o, 'x-2'), 'cancelled PINNED', 'x-2 leaves the rollout');
SELECT ota.unpin_device('x-2');
SELECT is(pg_temp.state_of(:p), 'cancelled', 'a pin''s rollout ends with it');
SELECT results_eq(format('SELECT state, attempt, ready, error FROM ota.device_update WHERE rollout_id = %s AND device_id = ''x-2''', :o),
    'VALUES (''pending'', 2, true, NULL::text)', 'it waits again in the rollout that it had left');
SELECT ota.unpin_device('x-1');
SELECT is(pg_temp.update_of(:o, 'x-1'), 'pending', 'one that was left out joins what is open to everybody');
SELECT is(count(*), 2::bigint, 'written down') FROM ota.event WHERE kind = 'device_unpinned' AND detail ->> 'version' IN ('1.0.0', '2.0.0');

-- A fleet ------------------------------------------------------------------------------------------------------------------------
SELECT is(ota.pin_fleet('empty', '1.5.0', 'x'), NULL, 'a fleet without devices is held');
SELECT is(ota.pin_fleet('g', '2.0.0', 'trade fair') IS NULL, false, 'one device runs something older: a rollout');
SELECT throws_ok('SELECT ota.start_rollout(''g'', ''3.0.0'')', '55000', 'fleet "g" is pinned to 2.0.0', 'no other version');
SELECT is(ota.pin_fleet('old', '1.0.0', 'trade fair'), NULL, 'the version that runs needs no release');
SELECT is(pg_temp.state_of(:o), 'superseded', 'rollouts of other versions end');
SELECT ota.pin_fleet('old', '2.0.0', 'the last good one') AS n \gset
SELECT results_eq(format('SELECT plan, state, device_id FROM ota.rollout WHERE rollout_id = %s', :n), $$ VALUES ('standard', 'scheduled', NULL::text) $$, 'an ordinary rollout, in stages');
SELECT is(ota.pin_fleet('old', '2.0.0', 'again'), :n::bigint, 'which is kept');
SELECT throws_ok('SELECT ota.pin_fleet(''old'', ''2.0.0'', ''again'', ''nope'')', 'P0002', 'there is no plan "nope"', 'a plan that is not there');
SELECT ota.cancel_rollout(:n, 'x') \g /dev/null
SELECT ota.pin_fleet('old', '2.0.0', 'again', 'p') AS n \gset
SELECT is(plan, 'p', 'by another plan') FROM ota.rollout WHERE rollout_id = :n;
SELECT is(reason, 'pinned to 2.0.0', 'the fleet''s pin holds its devices') FROM ota.eligible_devices('old', :r30) WHERE device_id = 'x-1';
SELECT ota.pin_device('x-1', '3.0.0', 'a device''s pin goes before') AS x \gset
SELECT is(pg_temp.state_of(:x), 'running', 'also when the fleet is pinned elsewhere');
SELECT ota.unpin_fleet('old');
SELECT is(pg_temp.state_of(:n), 'scheduled', 'the rollout goes on without the pin');
SELECT is(count(*), 1::bigint, 'written down') FROM ota.event WHERE kind = 'fleet_unpinned' AND detail ->> 'version' = '2.0.0';
SELECT lives_ok('SELECT ota.start_rollout(''old'', ''3.0.0'')', 'other versions may go out again');

SELECT * FROM finish();
