-- The questions that people ask: who is stuck and why, what happens next, what was refused, how a release did.
\ir lib/helpers.sql
SELECT no_plan();

SELECT pg_temp.release('1.4.0', 14), pg_temp.release('1.5.0', 15), pg_temp.release('1.6.0', 16) \g /dev/null
SELECT ota.define_plan('p', '[{"label": "a", "percent": 50, "wait": "1 hour"}, {"label": "b", "percent": 100}]', options => '{"pacing": "none"}');

-- How did a release do? ----------------------------------------------------------------------------------------------
-- 1.4.0: 10 devices, all succeed in 60 s.  1.5.0: of 4 rev-a at site east 3 succeed, in 10, 20 and 90 s, and one fails; of 4 rev-b at site
-- west one succeeds in 100 s, one times out, one declines, and one was never told; 2 devices without either succeed in 30 s.
INSERT INTO ota.fleet (fleet) VALUES ('f'), ('g');
INSERT INTO ota.device (device_id, fleet, version, hardware, connected, listening, broker, attributes)
SELECT 'd' || n, 'f', '1.0.0', CASE WHEN n <= 4 THEN 'rev-a' WHEN n <= 8 THEN 'rev-b' END, true, true, 'broker',
       CASE WHEN n <= 4 THEN '{"site": "east"}' WHEN n <= 8 THEN '{"site": "west"}' ELSE '{}' END::jsonb
  FROM generate_series(1, 10) n;
CREATE FUNCTION pg_temp.begin(version text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    id  bigint := ota.start_rollout('f', version, 'p');
BEGIN
    PERFORM ota.rollout_step(id, 'start', NULL, 'controller');
    PERFORM ota.controller_open_stage(id, 1, 10, 5);
    PERFORM ota.controller_open_stage(id, 2, 10, 10);
    RETURN id;
END
$$;
CREATE FUNCTION pg_temp.finish(id bigint, device text, ends text, seconds numeric) RETURNS void LANGUAGE sql AS $$
    UPDATE ota.device_update SET served_stage = 2, state = ends, notified_at = now() - interval '1 hour', broker = 'broker',
           finished_at = now() - interval '1 hour' + make_interval(secs => seconds), ready = false WHERE rollout_id = id AND device_id = device;
$$;
SELECT pg_temp.begin('1.4.0') AS four \gset
SELECT pg_temp.finish(:four, 'd' || n, 'succeeded', 60) FROM generate_series(1, 10) n \g /dev/null
SELECT pg_temp.begin('1.5.0') AS five \gset
SELECT pg_temp.finish(:five, d, e, s) FROM (VALUES ('d1', 'succeeded', 10), ('d2', 'succeeded', 20), ('d3', 'succeeded', 90), ('d4', 'failed', 5),
    ('d5', 'succeeded', 100), ('d6', 'timed_out', 600), ('d7', 'rejected', 1), ('d9', 'succeeded', 30), ('d10', 'succeeded', 30)) AS v (d, e, s) \g /dev/null
SELECT results_eq('SELECT dimension, value, release, told, succeeded, failed, success_rate, median, p95, other, other_told, other_success_rate, other_median, other_p95
                     FROM ota.compare_releases(''1.5.0'')', $$ VALUES
    ('all', NULL, '1.5.0', 9::bigint, 6::bigint, 2::bigint, 0.7500, interval '30 s', interval '97.5 s', '1.4.0', 10::bigint, 1.0000, interval '60 s', interval '60 s'),
    ('hardware', 'rev-a', '1.5.0', 4, 3, 1, 0.7500, '20 s', '83 s', '1.4.0', 4, 1.0000, '60 s', '60 s'),
    ('hardware', 'rev-b', '1.5.0', 3, 1, 1, 0.5000, '100 s', '100 s', '1.4.0', 4, 1.0000, '60 s', '60 s'),
    ('hardware', NULL, '1.5.0', 2, 2, 0, 1.0000, '30 s', '30 s', '1.4.0', 2, 1.0000, '60 s', '60 s'),
    ('site', 'east', '1.5.0', 4, 3, 1, 0.7500, '20 s', '83 s', '1.4.0', 4, 1.0000, '60 s', '60 s'),
    ('site', 'west', '1.5.0', 3, 1, 1, 0.5000, '100 s', '100 s', '1.4.0', 4, 1.0000, '60 s', '60 s'),
    ('site', NULL, '1.5.0', 2, 2, 0, 1.0000, '30 s', '30 s', '1.4.0', 2, 1.0000, '60 s', '60 s') $$, 'next to the one before, by hardware and site');
SELECT results_eq('SELECT value, told, other, other_told FROM ota.compare_releases(''1.4.0'') WHERE dimension = ''all''', $$ VALUES (NULL::text, 10::bigint, NULL::text, NULL::bigint) $$, 'there is none before the first');
SELECT results_eq('SELECT other, other_told FROM ota.compare_releases(''1.4.0'', ''1.5.0'', ''f'') WHERE dimension = ''all''', $$ VALUES ('1.5.0', 9::bigint) $$, 'with one by name');
SELECT results_eq('SELECT told, success_rate, median FROM ota.compare_releases(''1.6.0'', fleet => ''g'')', $$ VALUES (0::bigint, NULL::numeric, NULL::interval) $$, 'nobody was told');
SELECT throws_ok(format('SELECT ota.compare_releases(%s)', given), code, message, message) FROM (VALUES
    ('NULL', '22023', 'the version is missing'), ('''x''', '22023', 'version "x" is not a Semantic Version'), ('''9.9.9''', 'P0002', 'there is no release 9.9.9'),
    ('''1.5.0'', ''9.9.8''', 'P0002', 'there is no release 9.9.8'), ('''1.5.0'', fleet => ''nowhere''', 'P0002', 'there is no fleet "nowhere"')) AS c (given, code, message);

-- Who is stuck, and why? ---------------------------------------------------------------------------------------------
SELECT ota.cancel_rollout(:five, 'next') \g /dev/null
SELECT pg_temp.begin('1.6.0') AS six \gset
CREATE FUNCTION pg_temp.why(device text) RETURNS text LANGUAGE sql AS $$ SELECT reason FROM ota.stuck_devices s WHERE s.device_id = device AND s.wanted = '1.6.0' $$;
SELECT is(count(*), 10::bigint, 'all wait') FROM ota.stuck_devices WHERE rollout_id = :six AND reason = 'it waits for its turn';
UPDATE ota.device SET connected = false, listening = false, last_seen = '2026-01-02 03:04:05.6Z' WHERE device_id = 'd1';
UPDATE ota.device SET connected = false, listening = false, last_seen = NULL WHERE device_id = 'd2';
UPDATE ota.device SET listening = false WHERE device_id = 'd3';
UPDATE ota.device_update SET not_before = '2099-01-01Z' WHERE rollout_id = :six AND device_id = 'd4';
UPDATE ota.device_update SET granted_at = now(), served_stage = 2, broker = 'broker' WHERE rollout_id = :six AND device_id = 'd5';
UPDATE ota.device_update SET state = 'notified', served_stage = 2, notified_at = now(), deadline = '2099-01-01Z' WHERE rollout_id = :six AND device_id = 'd6';
UPDATE ota.device_update SET state = 'failed', error = 'HASH_MISMATCH', finished_at = now(), served_stage = 2 WHERE rollout_id = :six AND device_id = 'd7';
UPDATE ota.device SET version = '1.6.0' WHERE device_id = 'd10';
SELECT is(pg_temp.why(device), reason, device || ': ' || coalesce(reason, 'is not stuck')) FROM (VALUES
    ('d1', 'it is away since 2026-01-02 03:04:05+00'), ('d2', 'it is away, and was never here'),
    ('d3', 'it is connected and has not subscribed to a notify topic'), ('d4', 'it asked to wait until 2099-01-01 00:00:00+00'),
    ('d5', 'it is told next, by broker broker'), ('d6', 'it was told and has not begun; its deadline is 2099-01-01 00:00:00+00'),
    ('d7', 'it failed: HASH_MISMATCH'), ('d9', 'it waits for its turn'), ('d10', NULL)) AS c (device, reason);
SELECT ota.limit_fleet('f', NULL, 1, 'x'), ota.set_attributes('d9', '{"site": "west"}') \g /dev/null
SELECT is(pg_temp.why('d8'), 'site west has 2 devices being updated, 1 at most', 'its site is full');
SELECT ota.limit_fleet('f', NULL, 0, 'x') \g /dev/null
UPDATE ota.device SET gateway = 'hub' WHERE device_id IN ('d6', 'd8');
SELECT is(pg_temp.why('d8'), 'its gateway hub has 1 devices being updated, 1 at most', 'its gateway is busy');
UPDATE ota.device SET gateway = NULL;
INSERT INTO ota.device_update (rollout_id, device_id, stage, rank) VALUES (:four + 1000, 'd8', 1, 0);
UPDATE ota.device_update SET state = 'applying' WHERE rollout_id = :four + 1000;
SELECT is(pg_temp.why('d8'), 'rollout ' || :four + 1000 || ' is updating it', 'one update at a time');
DELETE FROM ota.device_update WHERE rollout_id = :four + 1000;
SELECT ota.add_blackout('f', now(), '2098-01-01Z', 'peak') AS b \gset
SELECT is(pg_temp.why('d8'), 'a blackout lasts until 2098-01-01 00:00:00+00', 'a blackout');

-- What happens next, and when? ---------------------------------------------------------------------------------------
SELECT ota.set_window('g', 'UTC', '{mon,tue,wed,thu,fri,sat,sun}', '00:00', '12:00'), ota.add_blackout(NULL, '2097-01-01Z', '2097-01-02Z', 'fair') \g /dev/null
UPDATE ota.rollout SET next_action = 'wait for the end of the blackout', next_at = '2098-01-01Z' WHERE rollout_id = :six;
SELECT ota.start_rollout('g', '1.6.0', 'p', '2096-05-05Z') AS later \gset
SELECT results_eq('SELECT at, what, fleet, rollout_id, version, state FROM ota.agenda WHERE what !~ ''window'' ORDER BY at, what', format($$ VALUES
    ('2096-05-05Z'::timestamptz, 'rollout starts', 'g', %s::bigint, '1.6.0', 'scheduled'),
    ('2097-01-01Z', 'blackout begins: fair', NULL, NULL, NULL, 'scheduled'), ('2097-01-02Z', 'blackout ends: fair', NULL, NULL, NULL, 'scheduled'),
    ('2098-01-01Z', 'blackout ends: peak', 'f', NULL, NULL, 'open'),
    ('2098-01-01Z', 'wait for the end of the blackout', 'f', %s, '1.6.0', 'running') $$, :later, :six), 'in the order of time');
SELECT ok(count(*) = 1 AND bool_and(what IN ('update window opens', 'update window closes') AND at > now() AND at <= now() + interval '12 hours'), 'and the fleet''s window')
  FROM ota.agenda WHERE fleet = 'g' AND what ~ 'window';
SELECT ota.remove_blackout(:b, 'x'), ota.pause_rollout(:six, 'lunch') \g /dev/null
SELECT is(pg_temp.why('d8'), 'the rollout is paused: lunch', 'a paused rollout');
SELECT results_eq(format('SELECT what, at FROM ota.agenda WHERE rollout_id = %s', :six), $$ VALUES ('waits for ota.resume_rollout', NULL::timestamptz) $$, 'which waits for somebody');

-- What was refused today? --------------------------------------------------------------------------------------------
INSERT INTO ota.event (at, broker, kind, detail)
SELECT now() - n * interval '5 hours', 'b' || n % 2, 'denied', '{"client": "mallory", "topic": "fleet/f/ota/available", "reason": "no"}' FROM generate_series(0, 6) n;
INSERT INTO ota.event (broker, kind, detail) VALUES ('b0', 'denied', '{"client": "eve", "topic": "t", "reason": "no"}');
SELECT results_eq('SELECT client, times, brokers, last_at - first_at FROM ota.denied_today ORDER BY times DESC', $$ VALUES
    ('mallory', 5::bigint, 'b0, b1', interval '20 hours'), ('eve', 1, 'b0', interval '0') $$, 'of the last 24 hours, the same things together');

-- Why is a device left out of a rollout?  Each reason, in the preview.
CREATE FUNCTION pg_temp.left_out(device text, version text) RETURNS text LANGUAGE sql AS $$
    SELECT reason FROM ota.preview_rollout('h', version, 'p') p WHERE p.device_id = device AND NOT included $$;
SELECT pg_temp.devices('h', 'h', 10, '1.0.0');
SELECT pg_temp.release('2.0.0', 20, '{"hardware": ["rev-z"], "minVersion": "1.0.0", "maxVersion": "1.9.0"}'), pg_temp.release('2.1.0', 21, '{"fleets": ["other"]}'),
       pg_temp.release('2.2.0', 22, '{"notBefore": "2099-01-01T00:00:00Z"}'), pg_temp.release('2.3.0', 23, '{"expires": "2020-01-01T00:00:00Z"}') \g /dev/null
UPDATE ota.device SET hardware = 'rev-z' WHERE fleet = 'h' AND device_id NOT IN ('h-1', 'h-2');
UPDATE ota.device SET hardware = 'rev-a' WHERE device_id = 'h-2';
UPDATE ota.device SET version = '2.0.0' WHERE device_id = 'h-3';
UPDATE ota.device SET pinned_version = '1.0.0' WHERE device_id = 'h-4';
UPDATE ota.device SET sequence = 99 WHERE device_id = 'h-5';
-- The earlier releases would be stepping stones, had it not run something newer already.
UPDATE ota.device SET version = '0.9.0', sequence = 18 WHERE device_id = 'h-6';
UPDATE ota.device SET version = '1.9.1' WHERE device_id = 'h-7';
UPDATE ota.device SET version = NULL WHERE device_id = 'h-8';
UPDATE ota.device SET version = 'factory' WHERE device_id = 'h-9';
SELECT is(pg_temp.left_out(device, version), reason, coalesce(reason, 'it can')) FROM (VALUES
    ('h-1', '2.0.0', 'its hardware is unknown, and the release names some'), ('h-2', '2.0.0', 'the release is not for hardware rev-a'),
    ('h-3', '2.0.0', 'already runs it'), ('h-4', '2.0.0', 'pinned to 1.0.0'),
    ('h-5', '2.0.0', 'has run sequence 99, the release has 20: it would be a rollback'), ('h-6', '2.0.0', 'runs 0.9.0, below minVersion 1.0.0: needs a stepping stone, and no release is one'),
    ('h-7', '2.0.0', 'runs 1.9.1, above maxVersion 1.9.0'), ('h-8', '2.0.0', 'its version is unknown, and the release has bounds'),
    ('h-9', '2.0.0', 'runs factory, which is not a Semantic Version, and the release has bounds'), ('h-10', '2.0.0', NULL),
    ('h-10', '2.1.0', 'the release is not for this fleet'), ('h-10', '2.2.0', 'not valid before 2099-01-01 00:00:00+00'),
    ('h-10', '2.3.0', 'expired at 2020-01-01 00:00:00+00')) AS c (device, version, reason);

SELECT * FROM finish();
