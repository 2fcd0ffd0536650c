-- ota.start_rollout and ota.preview_rollout.
\ir lib/helpers.sql
SELECT no_plan();

INSERT INTO ota.fleet (fleet) VALUES ('empty');
SELECT pg_temp.devices('f', 'dev', 200, '1.0.0');
SELECT pg_temp.devices('one', 'only', 1, '1.0.0');
SELECT pg_temp.devices('two', 'pair', 2, '1.0.0');
SELECT pg_temp.release('1.5.0', 15) AS r15, pg_temp.release('1.6.0', 16) AS r16, pg_temp.release('1.7.0', 17) AS r17,
       pg_temp.release('1.8.0', 18) AS r18 \gset
SELECT ota.add_release(pg_temp.envelope(pg_temp.manifest('2.0.0', 20)::text)) AS unverified \gset
SELECT pg_temp.release('3.0.0', 30, '{"expires": "2020-01-01T00:00:00Z"}'), pg_temp.release('3.1.0', 31, '{"expires": "2999-01-01T00:00:00Z"}'),
       pg_temp.release('3.2.0', 32, '{"fleets": ["one", "two"]}');
SELECT ota.define_plan('quick', '[{"label": "a", "percent": 5, "wait": "1 hour", "min_devices": 15}, {"label": "b", "percent": 50, "hold": true},
    {"label": "c", "percent": 100}]', 0.9, '2 minutes', '30 minutes', 50, 600, 2, '{"pacing": "none"}');

-- Dry run --------------------------------------------------------------------------------------------------------------
INSERT INTO ota.device (device_id, fleet, version, hardware, connected) VALUES ('x-there', 'f', '1.5.0', 'hw', true);
CREATE TEMP TABLE preview AS SELECT * FROM ota.preview_rollout('f', '1.5.0', 'quick');
SELECT results_eq('SELECT stage, label, included, count(*) FROM preview GROUP BY 1, 2, 3 ORDER BY 1', $$ VALUES
    (1, 'a', true, 15::bigint), (2, 'b', true, 85), (3, 'c', true, 100), (NULL, NULL, false, 1) $$, 'sizes: min_devices, then percentages of 200');
SELECT results_eq('SELECT device_id, reason, current_version, hardware, connected FROM preview WHERE NOT included',
    $$ VALUES ('x-there', 'already runs it', '1.5.0', 'hw', true) $$, 'who is left out, and why');
SELECT results_eq('SELECT stage, count(*) FROM ota.preview_rollout(''f'', ''1.5.0'') GROUP BY 1 ORDER BY 1', $$ VALUES
    (1, 2::bigint), (2, 18), (3, 80), (4, 100), (NULL, 1) $$, 'by the plan standard');
SELECT results_eq('SELECT device_id, stage FROM ota.preview_rollout(''one'', ''1.5.0'')', $$ VALUES ('only-1', 1) $$, 'a fleet of one');
SELECT results_eq('SELECT stage, count(*) FROM ota.preview_rollout(''two'', ''1.5.0'', ''quick'') GROUP BY 1 ORDER BY 1', $$ VALUES (1, 1::bigint), (3, 1) $$,
    'the first stage is never the whole fleet, whatever min_devices says');
SELECT is_empty('SELECT * FROM ota.preview_rollout(''empty'', ''1.5.0'')', 'a fleet without devices');
SELECT isnt_empty('SELECT * FROM ota.preview_rollout(''f'', ''2.0.0'')', 'a submitted release can be previewed');
SELECT is(count(*), 0::bigint, 'a dry run leaves nothing') FROM ota.rollout;

-- Errors, the same for both --------------------------------------------------------------------------------------------
UPDATE ota.fleet SET pinned_version = '1.0.0' WHERE fleet = 'empty';
SELECT pg_temp.release('0.1.0', 1) AS rejected, pg_temp.release('0.2.0', 2) AS revoked \gset
UPDATE ota.release SET state = 'rejected', reason = 'no trusted key' WHERE release_id = :rejected;
SELECT ota.revoke_release('0.2.0', 'bad');
CREATE TEMP TABLE refusal (given text, code text, message text);
INSERT INTO refusal VALUES
    ('NULL, ''1.5.0''', '22023', 'the fleet is missing'),
    ('''a/b'', ''1.5.0''', '22023', '"a/b" cannot name a fleet'),
    ('''nowhere'', ''1.5.0''', 'P0002', 'there is no fleet "nowhere"'),
    ('''f'', NULL', '22023', 'the version is missing'),
    ('''f'', ''latest''', '22023', 'version "latest" is not a Semantic Version'),
    ('''f'', ''9.9.9''', 'P0002', 'there is no release 9.9.9'),
    ('''f'', ''0.1.0''', '55000', 'release 0.1.0 is rejected, not verified: no trusted key'),
    ('''f'', ''0.2.0''', '55000', 'release 0.2.0 is revoked, not verified: bad'),
    ('''f'', ''1.5.0'', ''slow''', 'P0002', 'there is no plan "slow"'),
    ('''f'', ''1.5.0'', NULL', 'P0002', 'the plan is missing'),
    ('''empty'', ''1.5.0''', '55000', 'fleet "empty" is pinned to 1.0.0');
SELECT throws_ok(format('SELECT ota.start_rollout(%s)', given), code, message, 'start: ' || message) FROM refusal;
SELECT throws_ok(format('SELECT ota.preview_rollout(%s)', given), code, message, 'preview: ' || message) FROM refusal;
SELECT throws_ok(format('SELECT ota.start_rollout(%s)', given), code, message, message) FROM (VALUES
    ('''f'', ''2.0.0''', '55000', 'release 2.0.0 is submitted, not verified'),
    ('''f'', ''1.5.0'', start_at => ''infinity''', '22023', 'start_at is infinity'),
    ('''f'', ''3.0.0''', '55000', 'release 3.0.0 has expired at 2020-01-01 00:00:00+00'),
    ('''f'', ''3.1.0'', start_at => ''2999-02-01 00:00+00''', '55000',
     'release 3.1.0 expires at 2999-01-01 00:00:00+00, the rollout starts at 2999-02-01 00:00:00+00'),
    ('''f'', ''3.2.0''', '55000', 'release 3.2.0 is not for fleet "f"'),
    ('''f'', ''1.5.0'', reason => ''Emergency: ''', '22023', 'the emergency has no reason'),
    ('''f'', ''1.5.0'', reason => repeat(''x'', 1025)', '22023', 'the reason has 1025 bytes')) AS c (given, code, message);
SELECT is(count(*), 0::bigint, 'nothing was started') FROM ota.rollout;

-- Start ----------------------------------------------------------------------------------------------------------------
CREATE TEMP TABLE foretold AS SELECT * FROM ota.preview_rollout('f', '1.5.0', 'quick');
SELECT ota.start_rollout('f', '1.5.0', 'quick', reason => 'the winter release') AS a \gset
SELECT results_eq(format('SELECT fleet::text, release_id, plan, state, reason, start_at <= now(), created_by, current_stage, success_threshold, health_timeout,
        download_timeout, max_in_flight, per_minute, retries, options FROM ota.rollout WHERE rollout_id = %s', :a),
    format($$ VALUES ('f', %s::bigint, 'quick', 'scheduled', 'the winter release', true, %L, 0, 0.9, interval '2 minutes', interval '30 minutes', 50, 600, 2,
        '{"pacing": "none"}'::jsonb) $$, :r15, session_user), 'a rollout with a copy of its plan');
SELECT results_eq(format('SELECT stage, label, percent, wait, min_devices, hold, state FROM ota.rollout_stage WHERE rollout_id = %s ORDER BY stage', :a), $$ VALUES
    (1, 'a', 5::numeric, interval '1 hour', 15, false, 'waiting'), (2, 'b', 50, '0', 1, true, 'waiting'), (3, 'c', 100, '0', 1, false, 'waiting') $$, 'and its stages');
SELECT results_eq(format('SELECT kind, detail ->> ''to'', detail ->> ''reason'', detail ->> ''by'' FROM ota.event WHERE rollout_id = %s', :a),
    format($$ VALUES ('rollout', 'scheduled', 'the winter release', %L) $$, session_user), 'who started it, and why');
SELECT lives_ok($$ SELECT ota.define_plan('quick', '[{"label": "z", "percent": 1}, {"label": "c", "percent": 100}]') $$, 'the plan changes');
SELECT is(count(*), 3::bigint, 'the rollout does not') FROM ota.rollout_stage WHERE rollout_id = :a;
SELECT is(ota.rollout_step(:a, 'start', NULL, 'controller'), 'running', 'the controller starts it');
SELECT ota.controller_open_stage(:a, 1, 200, 15) \g /dev/null
SELECT set_eq(format('SELECT device_id FROM ota.device_update WHERE rollout_id = %s', :a), 'SELECT device_id FROM foretold WHERE stage = 1',
    'the dry run right before the start had foretold the cohort');

-- One rollout a fleet --------------------------------------------------------------------------------------------------
SELECT throws_ok($$ SELECT ota.start_rollout('f', '1.5.0') $$, '55000',
    format('fleet "f" is in rollout %s of 1.5.0 with sequence 15, 1.5.0 has 15', :a), 'not the same release while it is running');
SELECT ota.start_rollout('f', '1.7.0', start_at => now() + interval '1 day') AS tomorrow \gset
SELECT is(pg_temp.state_of(:a), 'running', 'one that starts later leaves the running one alone');
SELECT ota.start_rollout('f', '1.6.0', start_at => now() - interval '1 day') AS b \gset
SELECT is(pg_temp.state_of(:a), 'superseded', 'one that starts now supersedes the running one');
SELECT is(reason, format('superseded by rollout %s of 1.6.0', :b), 'and says so') FROM ota.rollout WHERE rollout_id = :a;
SELECT is(pg_temp.state_of(:tomorrow), 'scheduled', 'a newer release for later stays');
SELECT is(count(*), 0::bigint, 'nobody waits in the superseded one') FROM ota.device_update WHERE rollout_id = :a AND state = 'pending';
SELECT is(ota.rollout_step(:b, 'start', NULL, 'controller'), 'running', 'it runs');
SELECT is(ota.rollout_step(:tomorrow, 'start', 'its time has come', 'controller'), 'running', 'the next day');
SELECT is(pg_temp.state_of(:b), 'superseded', 'the later one supersedes when it starts');
SELECT ota.rollout_step(:tomorrow, 'complete', NULL, 'controller') \g /dev/null
SELECT ota.start_rollout('f', '1.8.0') AS c \gset
SELECT is(pg_temp.state_of(:tomorrow), 'superseded', 'a completed one serves no latecomers any more');
SELECT ota.start_rollout('f', '1.8.0') AS d \gset
SELECT is(pg_temp.state_of(:c), 'superseded', 'and one that had not started yet is replaced');
SELECT ota.halt_rollout(:d, 'x') \g /dev/null
SELECT is(ota.rollout_supersede_others(ota.start_rollout('f', '1.8.0')), 0, 'start_rollout has done it already');
SELECT is(pg_temp.state_of(:d), 'superseded', 'a halted one is superseded too');
SELECT is(pg_temp.state_of(ota.start_rollout('one', '1.8.0')), 'scheduled', 'other fleets are other fleets');
SELECT throws_ok('SELECT ota.rollout_supersede_others(99999)', 'P0002', 'there is no rollout 99999', 'no such rollout');

-- Brokers hear of it --------------------------------------------------------------------------------------------------
\set heard `psql -X -d :DBNAME -c 'LISTEN ota' -c "SELECT ota.pause_rollout(max(rollout_id)) FROM ota.rollout" -c "SELECT ota.retry_device(1, 'x', 'y')" -c "UPDATE ota.release SET state = state" -c "UPDATE ota.rollout SET next_action = 'x'" 2>/dev/null | grep -c 'notification "ota"'`
SELECT is(:heard, 2, 'a change of a rollout''s or a release''s state wakes the brokers; a refusal or another column does not');

-- Emergency ------------------------------------------------------------------------------------------------------------
SELECT ota.start_rollout('two', '1.8.0', 'standard', NULL, 'emergency: exploited in the field') AS e \gset
SELECT results_eq(format('SELECT stage, label, percent, wait FROM ota.rollout_stage WHERE rollout_id = %s', :e),
    $$ VALUES (1, 'emergency', 100::numeric, interval '0') $$, 'an emergency is one stage of everybody');
SELECT is((detail ->> 'emergency')::boolean, true, 'and is written down as one') FROM ota.event WHERE rollout_id = :e;

SELECT * FROM finish();
