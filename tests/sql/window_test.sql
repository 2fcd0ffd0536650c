-- ota.set_window, ota.clear_windows, ota.window_state, and what a closed window holds back.
\ir lib/helpers.sql
SELECT no_plan();

INSERT INTO ota.fleet (fleet) VALUES ('f'), ('free'), ('night'), ('spring'), ('gap'), ('always'), ('two'), ('ny');

-- Bad input -----------------------------------------------------------------------------------------------------------
CREATE TEMP TABLE refusal (given text, code text, message text);
INSERT INTO refusal VALUES
    ('NULL, ''UTC'', ''{mon}'', ''01:00'', ''02:00''', '22023', 'the fleet is missing'),
    ('''a/b'', ''UTC'', ''{mon}'', ''01:00'', ''02:00''', '22023', '"a/b" cannot name a fleet'),
    ('''nowhere'', ''UTC'', ''{mon}'', ''01:00'', ''02:00''', 'P0002', 'there is no fleet "nowhere"'),
    ('''f'', NULL, ''{mon}'', ''01:00'', ''02:00''', '22023', 'the time zone is missing'),
    ('''f'', ''Mars/Olympus'', ''{mon}'', ''01:00'', ''02:00''', '22023', '"Mars/Olympus" is not a time zone with a place'),
    ('''f'', ''CET'', ''{mon}'', ''01:00'', ''02:00''', '22023', '"CET" is not a time zone with a place'),
    ('''f'', ''XYZ-3'', ''{mon}'', ''01:00'', ''02:00''', '22023', '"XYZ-3" is not a time zone with a place'),
    ('''f'', ''UTC'', NULL, ''01:00'', ''02:00''', '22023', 'the days are missing'),
    ('''f'', ''UTC'', ''{}'', ''01:00'', ''02:00''', '22023', 'the days are missing'),
    ('''f'', ''UTC'', ''{mon,someday}'', ''01:00'', ''02:00''', '22023', '"someday" is not a day'),
    ('''f'', ''UTC'', ''{mon,NULL}'', ''01:00'', ''02:00''', '22023', 'a day is null'),
    ('''f'', ''UTC'', ''{mon}'', NULL, ''02:00''', '22023', 'the time at which the window opens is missing'),
    ('''f'', ''UTC'', ''{mon}'', ''01:00'', NULL', '22023', 'the time at which the window closes is missing'),
    ('''f'', ''UTC'', ''{mon}'', ''01:00'', ''01:00''', '22023', 'the window opens and closes at 01:00:00'),
    ('''f'', ''UTC'', ''{mon}'', ''24:00'', ''01:00''', '22023', 'the window opens at 24:00');
SELECT throws_ok(format('SELECT ota.set_window(%s)', given), code, message, message) FROM refusal;
-- Whatever the database's language makes of a large I.
SELECT is(ota.window_days('{FRI,Friday,SATURDAY,mon}'), '{1,5,6}', 'days in any letters');
SELECT is(ota.check_timezone('AMERICA/ARGENTINA/RIO_GALLEGOS'), 'America/Argentina/Rio_Gallegos', 'a time zone in any letters');
SELECT throws_ok(format('SELECT ota.clear_windows(%s)', given), code, message, 'clear: ' || message) FROM (VALUES
    ('NULL', '22023', 'the fleet is missing'), ('''#''', '22023', '"#" cannot name a fleet'),
    ('''nowhere''', 'P0002', 'there is no fleet "nowhere"')) AS c (given, code, message);
SELECT is_empty('SELECT * FROM ota.fleet_window', 'nothing was kept');
SELECT throws_ok($$ UPDATE ota.fleet SET timezone = 'Mars/Olympus' $$, '22023', NULL, 'the table refuses a zone that nobody knows');

-- Set and clear -------------------------------------------------------------------------------------------------------
SELECT ota.set_window('f', 'europe/berlin', '{Sun, MONDAY, sun}', '02:00', '04:00');
SELECT ota.set_window('f', 'Europe/Berlin', '{mon,sun}', '02:00', '04:00');
SELECT results_eq($$ SELECT days, opens, closes FROM ota.fleet_window WHERE fleet = 'f' $$,
    $$ VALUES ('{1,7}'::integer[], '02:00'::time, '04:00'::time) $$, 'days by number, the same again changes nothing');
SELECT is(timezone, 'Europe/Berlin', 'the zone by its own name') FROM ota.fleet WHERE fleet = 'f';
SELECT is(count(*), 2::bigint, 'written down') FROM ota.event WHERE kind = 'window_set' AND detail ->> 'by' = session_user;
SELECT is(ota.clear_windows('f'), 1, 'one is removed');
SELECT is(ota.clear_windows('f'), 0, 'none is left');
SELECT is(count(*), 2::bigint, 'written down') FROM ota.event WHERE kind = 'windows_cleared';

-- The state at a moment ---------------------------------------------------------------------------------------------------
SELECT ota.set_window('night', 'UTC', '{sat}', '22:00', '02:00');
SELECT ota.set_window('spring', 'Europe/Berlin', '{sun}', '01:00', '04:00');
SELECT ota.set_window('gap', 'Europe/Berlin', '{sun}', '02:30', '03:15');
SELECT ota.set_window('always', 'UTC', '{mon,tue,wed,thu,fri,sat,sun}', '00:00', '24:00');
SELECT ota.set_window('two', 'UTC', '{mon}', '01:00', '02:00'), ota.set_window('two', 'UTC', '{mon}', '02:00', '03:00'),
       ota.set_window('two', 'UTC', '{mon}', '10:00', '11:00');
SELECT ota.set_window('ny', 'America/New_York', '{fri}', '20:00', '23:00');
SELECT results_eq(format('SELECT * FROM ota.window_state(%L, %L)', fleet, at), format('VALUES (%L::boolean, %L::timestamptz)', open, change), why) FROM (VALUES
    ('free', '2026-03-29 00:00Z', true, NULL, 'no windows: always open'),
    ('always', '2026-03-29 00:00Z', true, NULL, 'every day from 0 to 24 is always open'),
    ('night', '2026-01-03 21:59:59Z', false, '2026-01-03 22:00Z', 'a second before it opens'),
    ('night', '2026-01-03 22:00Z', true, '2026-01-04 02:00Z', 'the opening is inside, the closing is after midnight'),
    ('night', '2026-01-04 01:59:59Z', true, '2026-01-04 02:00Z', 'on the next day'),
    ('night', '2026-01-04 02:00Z', false, '2026-01-10 22:00Z', 'the closing is outside; opens in a week'),
    ('spring', '2026-03-22 00:30Z', true, '2026-03-22 03:00Z', 'an ordinary Sunday has three hours'),
    ('spring', '2026-03-29 00:30Z', true, '2026-03-29 02:00Z', 'the night that summer time begins has two'),
    ('spring', '2026-10-24 23:30Z', true, '2026-10-25 03:00Z', 'the night that it ends has four'),
    ('gap', '2026-03-29 00:00Z', false, '2026-04-05 00:30Z', 'a window that the left-out hour swallows is left out'),
    ('gap', '2026-04-05 00:30Z', true, '2026-04-05 01:15Z', 'a week later it is there'),
    ('two', '2026-01-05 01:30Z', true, '2026-01-05 03:00Z', 'two windows that touch are one'),
    ('two', '2026-01-05 03:00Z', false, '2026-01-05 10:00Z', 'the third comes later that day'),
    ('ny', '2026-07-04 00:30Z', true, '2026-07-04 03:00Z', 'a day is a day of the fleet''s zone')) AS c (fleet, at, open, change, why);
SELECT is_empty($$ SELECT * FROM ota.window_state('nowhere', now()) WHERE open IS NOT NULL $$, 'no such fleet: unknown');

-- What a closed window holds back ------------------------------------------------------------------------------------------
-- A window of one minute, half a day from now and on that day only.
CREATE FUNCTION pg_temp.close_window(f text) RETURNS void LANGUAGE sql AS $$
    SELECT ota.clear_windows(f);
    SELECT ota.set_window(f, 'UTC', ARRAY[to_char((now() + interval '12 hours') AT TIME ZONE 'UTC', 'dy')],
        date_trunc('minute', (now() + interval '12 hours') AT TIME ZONE 'UTC')::time,
        (date_trunc('minute', (now() + interval '12 hours') AT TIME ZONE 'UTC') + interval '1 minute')::time);
$$;
SELECT pg_temp.devices('f', 'dev', 4, '1.0.0');
SELECT pg_temp.release('1.5.0', 15), pg_temp.release('1.6.0', 16), pg_temp.release('1.7.0', 17) \g /dev/null
SELECT ota.define_plan('p', '[{"label": "a", "percent": 50, "wait": "1 hour"}, {"label": "b", "percent": 100}]');
SELECT ota.define_plan('q', '[{"label": "a", "percent": 50, "wait": "1 hour"}, {"label": "b", "percent": 100}]', options => '{"count_closed_hours": false}');
SELECT pg_temp.close_window('f') \g /dev/null
SELECT ota.start_rollout('f', '1.5.0', 'p') AS a \gset
SELECT ota.rollout_step(:a, 'start', NULL, 'controller') \g /dev/null
SELECT ota.controller_open_stage(:a, 1, 4, 2) \g /dev/null
SELECT is(ota.controller_grant(:a, 10), 0::bigint, 'no slots while the window is closed');
SELECT results_eq('SELECT window_open, window_change_ms > extract(epoch FROM now()) * 1000, clock_stopped, clock_due, remaining_ms FROM ota.controller_read()',
    'VALUES (false, true, true, false, 3600000::bigint)', 'the controller knows, and the stage''s wait has not begun');
-- Time passes: an hour ago it opened.
UPDATE ota.rollout_stage SET stopped_at = stopped_at - interval '1 hour', wait_until = wait_until - interval '1 hour' WHERE rollout_id = :a AND stage = 1;
SELECT is(round(remaining_ms / 1000.0), 3600::numeric, 'its clock stands still') FROM ota.controller_read();
SELECT is(ota.controller_clock(:a), false, 'and goes on standing');
SELECT ota.clear_windows('f') \g /dev/null
SELECT is(clock_due, true, 'the window opens') FROM ota.controller_read();
SELECT is(ota.controller_clock(:a), true, 'the clock starts');
SELECT results_eq('SELECT round(remaining_ms / 1000.0), clock_stopped, clock_due FROM ota.controller_read()', 'VALUES (3600::numeric, false, false)', 'with the whole wait');
SELECT is(ota.controller_grant(:a, 1), 1::bigint, 'slots while it is open');
SELECT pg_temp.close_window('f') \g /dev/null
SELECT is_empty('SELECT * FROM ota.broker_claim(''broker'', 10)', 'a slot granted before is not used after the closing');
SELECT results_eq('SELECT clock_stopped, clock_due FROM ota.controller_read()', 'VALUES (false, false)', 'count_closed_hours: the wait runs on');
SELECT results_eq(format('SELECT live FROM ota.broker_rollouts() WHERE rollout_id = %s', :a), ARRAY[false], 'queued copies are not delivered');
SELECT ota.clear_windows('f') \g /dev/null
SELECT is(count(*), 1::bigint, 'it is used at the next opening') FROM ota.broker_claim('broker', 10);
SELECT results_eq(format('SELECT live FROM ota.broker_rollouts() WHERE rollout_id = %s', :a), ARRAY[true], 'and delivered');
SELECT results_eq(format('SELECT until_ms FROM ota.broker_rollouts() WHERE rollout_id = %s', :a), ARRAY[NULL::bigint], 'without an end');
SELECT results_eq('SELECT device_id, rollout_id, attempt, label FROM ota.broker_claims(''broker'')',
    'SELECT u.device_id, u.rollout_id, u.attempt, ''a'' FROM ota.device_update u WHERE u.state = ''notified''', 'a broker keeps whom it has told');
SELECT is_empty('SELECT * FROM ota.broker_claims(''other'')', 'and nobody else');
SELECT ota.set_window('f', 'UTC', ARRAY['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun'],
    date_trunc('minute', (now() - interval '1 hour') AT TIME ZONE 'UTC')::time, date_trunc('minute', (now() + interval '1 hour') AT TIME ZONE 'UTC')::time) \g /dev/null
SELECT ok(until_ms BETWEEN extract(epoch FROM now() + interval '58 minutes') * 1000 AND extract(epoch FROM now() + interval '60 minutes') * 1000,
    'until the window closes') FROM ota.broker_rollouts() WHERE rollout_id = :a;
SELECT ota.clear_windows('f') \g /dev/null
-- Told, came back without having started, and the window closed.
UPDATE ota.device_update SET notified_at = now() - interval '1 day', retell_at = now() - interval '23 hours 59 minutes', deadline = now() - interval '1 second' WHERE rollout_id = :a AND state = 'notified';
SELECT pg_temp.close_window('f') \g /dev/null
SELECT is_empty('SELECT * FROM ota.broker_claim(''broker'', 10)', 'nobody is told again while it is closed');
SELECT is_empty('SELECT * FROM ota.controller_expired(10)', 'nor timed out for waiting');
SELECT ota.clear_windows('f') \g /dev/null
INSERT INTO ota.broker (broker, started_at, alive_at, plugin) VALUES ('broker', now(), now(), 'x');
SELECT is_empty('SELECT * FROM ota.controller_expired(10)', 'nor at its opening: it is told next');
UPDATE ota.broker SET alive_at = now() - interval '1 hour';
SELECT isnt_empty('SELECT * FROM ota.controller_expired(10)', 'unless its broker is gone: silence is silence');
SELECT isnt_empty('SELECT * FROM ota.controller_expired(10, 500)', 'also with the tables half a second behind');
SELECT is_empty('SELECT * FROM ota.controller_expired(10, 5000)', 'nobody whose deadline they have not reached');
SELECT alive_at AS was FROM ota.broker WHERE broker = 'broker' \gset
SELECT ota.broker_alive('broker', 7200000) \g /dev/null
SELECT is(alive_at, :'was'::timestamptz, 'what was here is not taken back') FROM ota.broker WHERE broker = 'broker';
SELECT is(count(*), 1::bigint, 'told again') FROM ota.broker_claim('broker', 10) c WHERE c.again;
SELECT ok(deadline > now() + interval '59 minutes', 'with the whole time') FROM ota.device_update WHERE rollout_id = :a AND state = 'notified';
SELECT ota.cancel_rollout(:a, 'x') \g /dev/null

-- count_closed_hours false, with a pause and a halt in between
SELECT ota.start_rollout('f', '1.6.0', 'q') AS b \gset
SELECT ota.rollout_step(:b, 'start', NULL, 'controller') \g /dev/null
SELECT ota.controller_open_stage(:b, 1, 4, 2) \g /dev/null
SELECT results_eq('SELECT clock_stopped, clock_due FROM ota.controller_read()', 'VALUES (false, false)', 'opened in an open window: it runs');
SELECT pg_temp.close_window('f') \g /dev/null
SELECT is(clock_due, true, 'the window closes') FROM ota.controller_read();
SELECT is(ota.controller_clock(:b), true, 'the clock stops');
UPDATE ota.rollout_stage SET stopped_at = stopped_at - interval '40 minutes', wait_until = wait_until - interval '50 minutes' WHERE rollout_id = :b AND stage = 1;
SELECT is(round(remaining_ms / 10000.0), 300::numeric, '10 of 60 minutes had gone by') FROM ota.controller_read();
SELECT ota.pause_rollout(:b) \g /dev/null
UPDATE ota.rollout SET paused_at = paused_at - interval '20 minutes' WHERE rollout_id = :b;
SELECT is(ota.controller_clock(:b), false, 'a paused rollout''s clock is left alone');
SELECT ota.resume_rollout(:b) \g /dev/null
SELECT ota.halt_rollout(:b, 'x') \g /dev/null
UPDATE ota.rollout_stage SET closed_at = closed_at - interval '5 minutes' WHERE rollout_id = :b AND stage = 1;
SELECT ota.resume_rollout(:b) \g /dev/null
SELECT is(round(remaining_ms / 10000.0), 300::numeric, 'time is not given back twice') FROM ota.controller_read();
SELECT ota.clear_windows('f') \g /dev/null
SELECT is(ota.controller_clock(:b), true, 'the clock goes on');
SELECT is(round(remaining_ms / 10000.0), 300::numeric, 'where it stood') FROM ota.controller_read();

-- Emergencies do not wait
SELECT pg_temp.close_window('f') \g /dev/null
SELECT ota.start_rollout('f', '1.7.0', 'q', NULL, 'emergency: now') AS e \gset
SELECT ota.rollout_step(:e, 'start', NULL, 'controller') \g /dev/null
SELECT ota.controller_open_stage(:e, 1, 4, 4) \g /dev/null
SELECT results_eq('SELECT window_open, clock_stopped FROM ota.controller_read()', 'VALUES (true, false)', 'an emergency knows no window');
SELECT is(ota.controller_grant(:e, 10), 4::bigint, 'everybody has a slot');
SELECT is(count(*), 4::bigint, 'and is told') FROM ota.broker_claim('broker', 10);

SELECT * FROM finish();
