-- ota.add_blackout, ota.remove_blackout, and what a blackout holds back.
\ir lib/helpers.sql
SELECT no_plan();

INSERT INTO ota.fleet (fleet) VALUES ('f'), ('g'), ('w'), ('all-week');

-- Bad input -----------------------------------------------------------------------------------------------------------
SELECT throws_ok(format('SELECT ota.add_blackout(%s)', given), code, message, message) FROM (VALUES
    ('''a/b'', now(), now() + interval ''1 h'', ''x''', '22023', '"a/b" cannot name a fleet'),
    ('''nowhere'', now(), now() + interval ''1 h'', ''x''', 'P0002', 'there is no fleet "nowhere"'),
    ('''f'', NULL, now() + interval ''1 h'', ''x''', '22023', 'the blackout''s beginning is missing'),
    ('''f'', now(), NULL, ''x''', '22023', 'the blackout''s end is missing'),
    ('''f'', now(), now() + interval ''1 h'', '' ''', '22023', 'the reason is missing'),
    ('''f'', ''-infinity'', now() + interval ''1 h'', ''x''', '22023', 'the blackout begins at -infinity'),
    ('''f'', now(), ''infinity'', ''x''', '22023', 'the blackout ends at infinity'),
    ('''f'', ''2099-01-02Z'', ''2099-01-01Z'', ''x''', '22023', 'the blackout ends at 2099-01-01 00:00:00+00, and begins at 2099-01-02 00:00:00+00'),
    ('''f'', ''2020-01-01Z'', ''2020-01-02Z'', ''x''', '22023', 'the blackout ends at 2020-01-02 00:00:00+00, which is over'),
    ('NULL, now(), ''2999-01-01Z'', ''x''', '22023', 'the blackout ends at 2999-01-01 00:00:00+00')) AS c (given, code, message);
SELECT throws_ok(format('SELECT ota.remove_blackout(%s)', given), code, message, message) FROM (VALUES
    ('NULL, ''x''', '22023', 'the blackout''s number is missing'), ('1, NULL', '22023', 'the reason is missing'),
    ('4711, ''x''', 'P0002', 'there is no blackout 4711')) AS c (given, code, message);
SELECT is_empty('SELECT * FROM ota.blackout', 'nothing was kept');

-- Add and remove ------------------------------------------------------------------------------------------------------
SELECT ota.add_blackout('f', '2027-01-01Z', '2098-01-02Z', 'inventory') AS b \gset
SELECT is(ota.add_blackout('f', '2027-01-01Z', '2098-01-02Z', 'again'), :b::bigint, 'the same span again is the same one');
SELECT results_eq('SELECT fleet::text, reason, added_by = session_user FROM ota.blackout', $$ VALUES ('f', 'inventory', true) $$, 'it is kept');
SELECT is(detail ->> 'reason', 'inventory', 'written down') FROM ota.event WHERE kind = 'blackout_added' AND detail ->> 'by' = session_user;
SELECT ota.remove_blackout(:b, 'called off');
SELECT is_empty('SELECT * FROM ota.blackout', 'and removed');
SELECT is(detail ->> 'reason', 'called off', 'written down') FROM ota.event WHERE kind = 'blackout_removed';
SELECT ota.add_blackout('g', now(), now() + interval '1 hour' + n * interval '1 minute', 'x') FROM generate_series(1, 50) n \g /dev/null
SELECT throws_ok($$ SELECT ota.add_blackout('g', now(), now() + interval '5 minutes', 'x') $$, '54000', 'fleet "g" has 50 blackouts ahead', 'not without end');
DELETE FROM ota.blackout;

-- The state at a moment -----------------------------------------------------------------------------------------------
-- Of fleet w, open on Saturdays from 22 to 2 o'clock; of fleet f, which has no windows; of a fleet whose windows cover the week.
SELECT ota.set_window('w', 'UTC', '{sat}', '22:00', '02:00');
SELECT ota.set_window('all-week', 'UTC', '{mon,tue,wed,thu,fri,sat,sun}', '00:00', '24:00');
INSERT INTO ota.blackout (fleet, from_at, until_at, reason) VALUES
    ('f', '2027-01-10Z', '2027-01-11Z', 'a'), ('f', '2027-01-11Z', '2027-01-12Z', 'b'), ('f', '2027-01-20Z', '2027-01-21Z', 'c'),
    ('w', '2027-01-02 23:00Z', '2027-01-09 23:30Z', 'a week'), ('w', '2027-02-01Z', '2027-04-20Z', 'months'),
    (NULL, '2027-06-01Z', '2027-06-02Z', 'everybody');
SELECT results_eq(format('SELECT * FROM ota.window_state(%L, %L)', fleet, at), format('VALUES (%L::boolean, %L::timestamptz)', open, change), why) FROM (VALUES
    ('f', '2027-01-09Z', true, '2027-01-10Z', 'open until the blackout begins'),
    ('f', '2027-01-10Z', false, '2027-01-12Z', 'its first moment is inside; two that touch are one'),
    ('f', '2027-01-12Z', true, '2027-01-20Z', 'its end is outside'),
    ('f', '2027-06-01 12:00Z', false, '2027-06-02Z', 'one of every fleet'),
    ('f', '2027-07-01Z', true, NULL, 'nothing is ahead'),
    ('w', '2027-01-02 22:30Z', true, '2027-01-02 23:00Z', 'a window is cut short'),
    ('w', '2027-01-03 00:00Z', false, '2027-01-09 23:30Z', 'a window begins late'),
    ('w', '2027-02-10Z', false, '2027-04-24 22:00Z', 'the next window after months'),
    ('all-week', '2027-04-01Z', true, '2027-06-01Z', 'the next blackout, though it is far ahead'),
    ('all-week', '2027-06-01 01:00Z', false, '2027-06-02Z', 'and its end')) AS c (fleet, at, open, change, why);
SELECT results_eq(format('SELECT * FROM ota.blackout_state(%L, %L)', fleet, at), format('VALUES (%L::timestamptz, %L)', until, reason), why) FROM (VALUES
    ('f', '2027-01-09Z', NULL, NULL, 'none is on'),
    ('f', '2027-01-10 12:00Z', '2027-01-12Z', 'a', 'until the end of the last that follows without a gap'),
    ('f', '2027-01-11 12:00Z', '2027-01-12Z', 'b', 'the reason of the one that is on'),
    ('w', '2027-02-10Z', '2027-04-20Z', 'months', 'the blackout ends before the window opens'),
    ('all-week', '2027-06-01Z', '2027-06-02Z', 'everybody', 'one of every fleet'),
    ('g', '2027-01-10Z', NULL, NULL, 'another fleet''s')) AS c (fleet, at, until, reason, why);
DELETE FROM ota.blackout;

-- They do not pile up
INSERT INTO ota.blackout (fleet, from_at, until_at, reason)
SELECT fleet, now() - ago - interval '1 hour', now() - ago, 'past' FROM (VALUES ('f', interval '366 days'), ('f', interval '364 days'), ('g', interval '366 days'), (NULL, interval '366 days')) AS b (fleet, ago);
SELECT ota.add_blackout('f', now(), now() + interval '1 hour', 'peak') \g /dev/null
SELECT results_eq('SELECT fleet::text, count(*) FROM ota.blackout GROUP BY 1 ORDER BY 1', $$ VALUES ('f', 2::bigint), ('g', 1), (NULL, 1) $$, 'those of the fleet that are over for a year are gone');
DELETE FROM ota.blackout;

-- What it holds back --------------------------------------------------------------------------------------------------
SELECT pg_temp.devices('f', 'dev', 4, '1.0.0');
SELECT pg_temp.release('1.5.0', 15), pg_temp.release('1.6.0', 16) \g /dev/null
SELECT ota.define_plan('p', '[{"label": "a", "percent": 50, "wait": "1 hour"}, {"label": "b", "percent": 100}]');
SELECT ota.add_blackout(NULL, now() - interval '1 hour', now() + interval '1 hour', 'peak') AS b \gset
SELECT ota.start_rollout('f', '1.5.0', 'p') AS a \gset
SELECT ota.rollout_step(:a, 'start', NULL, 'controller') \g /dev/null
SELECT ota.controller_open_stage(:a, 1, 4, 2) \g /dev/null
SELECT is(ota.controller_grant(:a, 10), 0::bigint, 'nobody gets a slot in a blackout');
SELECT results_eq('SELECT window_open, blackout_until_ms = window_change_ms, clock_stopped FROM ota.controller_read()',
    'VALUES (false, true, true)', 'the controller knows until when, and the stage''s wait has not begun');
SELECT results_eq(format('SELECT live FROM ota.broker_rollouts() WHERE rollout_id = %s', :a), ARRAY[false], 'queued copies are not delivered');
SELECT ota.remove_blackout(:b, 'over') \g /dev/null
SELECT is(clock_due AND window_open AND blackout_until_ms IS NULL, true, 'it ends') FROM ota.controller_read();
SELECT ota.controller_clock(:a) \g /dev/null
SELECT is(ota.controller_grant(:a, 1), 1::bigint, 'slots again');
SELECT ota.add_blackout('f', now(), now() + interval '1 hour', 'peak') AS b \gset
SELECT is_empty('SELECT * FROM ota.broker_claim(''broker'', 10)', 'a slot granted before is not used in a blackout');
SELECT ota.cancel_rollout(:a, 'x') \g /dev/null
SELECT ota.start_rollout('f', '1.6.0', 'p', reason => 'emergency: it burns') AS e \gset
SELECT ota.rollout_step(:e, 'start', NULL, 'controller') \g /dev/null
SELECT ota.controller_open_stage(:e, 1, 4, 4) \g /dev/null
SELECT is(ota.controller_grant(:e, 10), 4::bigint, 'an emergency does not wait');
SELECT ota.cancel_rollout(:e, 'x') \g /dev/null
SELECT ota.pin_device('dev-1', '1.6.0', 'lab') AS pin \gset
SELECT is(ota.controller_grant(:pin, 10), 1::bigint, 'nor does a device''s pin');

SELECT * FROM finish();
