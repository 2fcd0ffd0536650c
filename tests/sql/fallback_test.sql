-- The way back after a halt: options.fallback, ota.start_fallback, ota.preview_fallback.
\ir lib/helpers.sql
SELECT no_plan();

SELECT pg_temp.devices('f', 'dev', 10, '1.4.0'), pg_temp.devices('g', 'g', 2, '1.4.0');
SELECT pg_temp.release('1.4.0', 14) AS r14, pg_temp.release('1.5.0', 15) AS r15, pg_temp.release('1.4.1', 16) AS r141,
       pg_temp.release('1.6.0', 17) AS r16, pg_temp.release('0.9.0', 9) AS r09, pg_temp.release('1.4.2', 18) AS r142 \gset
SELECT ota.add_release(pg_temp.envelope(pg_temp.manifest('3.0.0', 30)::text)) AS unverified \gset
SELECT ota.revoke_release('0.9.0', 'burns');
\set stages '''[{"label": "a", "percent": 50}, {"label": "b", "percent": 100}]'''
SELECT ota.define_plan('p', :stages, 0.8, '2 minutes', '30 minutes', 7, 99, 1, '{"fallback": "1.4.1", "pacing": "none"}');
SELECT ota.define_plan('none', :stages, options => '{"pacing": "none"}');

CREATE FUNCTION pg_temp.next(id bigint) RETURNS text LANGUAGE sql AS $$ SELECT next_action FROM ota.rollout WHERE rollout_id = id $$;
CREATE FUNCTION pg_temp.begin(plan text, version text DEFAULT '1.5.0') RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    id  bigint := ota.start_rollout('f', version, plan, reason => 'the winter release');
BEGIN
    PERFORM ota.rollout_step(id, 'start', NULL, 'controller');
    PERFORM pg_temp.open_stage(id, 1);
    RETURN id;
END
$$;
CREATE FUNCTION pg_temp.runs(version text, VARIADIC devices text[]) RETURNS void LANGUAGE sql AS $$
    UPDATE ota.device d SET version = runs.version, sequence = greatest(d.sequence, l.sequence)
      FROM ota.release l WHERE d.device_id = ANY (devices) AND l.version = runs.version;
$$;

-- Named too early, too late, or not at all ------------------------------------------------------------------------------
SELECT throws_ok(format('SELECT ota.define_plan(''x'', %L, options => %L)', :stages, given), code, message, message) FROM (VALUES
    ('{"fallback": "old"}', '22023', 'option "fallback" is "old"'),
    ('{"fallback": 14}', '22023', 'option "fallback" is 14'),
    ('{"fallback": "0.9.0"}', '55000', 'option "fallback" names release 0.9.0, which is revoked: burns')) AS c (given, code, message);
SELECT lives_ok(format('SELECT ota.define_plan(''later'', %L, options => ''{"fallback": "7.0.0"}'')', :stages), 'a release that comes later may be named');
CREATE TEMP TABLE bad (n integer, version text, problem text);
INSERT INTO bad VALUES (1, '7.0.0', 'there is no release 7.0.0'), (2, '1.5.0', 'it is the release itself'),
    (3, '3.0.0', 'release 3.0.0 is submitted, not verified'),
    (4, '1.4.0', 'release 1.4.0 has sequence 14, 1.5.0 has 15: going back needs a manifest with a higher one'),
    (5, '1.4.2', 'release 1.4.2 is not for fleet "f"');
UPDATE ota.release SET fleets = '{elsewhere}' WHERE release_id = :r142;
SELECT ota.define_plan('bad-' || n, :stages, options => jsonb_build_object('fallback', version)) FROM bad;
SELECT throws_ok(format('SELECT ota.start_rollout(''f'', ''1.5.0'', ''bad-%s'')', n), '55000', format('plan "bad-%s" falls back to %s: %s', n, version, problem), 'start: ' || problem) FROM bad;
SELECT results_eq(format('SELECT fallback, problem FROM ota.preview_fallback(''f'', ''1.5.0'', ''bad-%s'')', n), format('VALUES (%L, %L)', version, problem), 'preview: ' || problem) FROM bad;
SET client_min_messages = error;
SELECT isnt_empty('SELECT * FROM ota.preview_rollout(''f'', ''1.5.0'', ''bad-1'')', 'a dry run warns, and goes on');
SET client_min_messages = warning;
UPDATE ota.release SET fleets = NULL, hardware = '{hw-2}' WHERE release_id = :r142;
UPDATE ota.release SET hardware = '{hw-1}' WHERE release_id = :r15;
SELECT is(problem, 'release 1.4.2 is for none of the hardware that 1.5.0 is for', 'other hardware') FROM ota.preview_fallback('f', '1.5.0', 'bad-5');
UPDATE ota.release SET hardware = NULL, min_version = '1.6.0' WHERE release_id = :r142;
UPDATE ota.release SET hardware = NULL WHERE release_id = :r15;
SELECT is(problem, 'release 1.4.2 has minVersion 1.6.0, above 1.5.0', 'minVersion') FROM ota.preview_fallback('f', '1.5.0', 'bad-5');
UPDATE ota.release SET min_version = NULL, max_version = '1.4.99' WHERE release_id = :r142;
SELECT is(problem, 'release 1.4.2 has maxVersion 1.4.99, below 1.5.0', 'maxVersion') FROM ota.preview_fallback('f', '1.5.0', 'bad-5');
UPDATE ota.release SET max_version = NULL, expires = '2026-01-01Z' WHERE release_id = :r142;
SELECT matches(problem, 'release 1.4.2 has expired at 2026', 'expired') FROM ota.preview_fallback('f', '1.5.0', 'bad-5');
UPDATE ota.release SET expires = NULL WHERE release_id = :r142;
SELECT results_eq('SELECT * FROM ota.preview_fallback(''f'', ''1.5.0'', ''p'')', $$ VALUES ('1.4.1', NULL::text) $$, 'preview: a way back');
SELECT is_empty('SELECT * FROM ota.preview_fallback(''f'', ''1.5.0'', ''none'')', 'preview: a plan without');
SELECT throws_ok('SELECT * FROM ota.preview_fallback(''f'', ''8.8.8'', ''p'')', 'P0002', 'there is no release 8.8.8', 'preview: no such release');
SELECT throws_ok('SELECT * FROM ota.preview_fallback(''f'', ''1.5.0'', ''x'')', 'P0002', 'there is no plan "x"', 'preview: no such plan');
SELECT is_empty('SELECT 1 FROM ota.rollout', 'nothing was begun');

-- A halt ------------------------------------------------------------------------------------------------------------------
SELECT pg_temp.begin('p') AS h \gset
SELECT ota.halt_rollout(:h, 'crashes in the cold') \g /dev/null
SELECT is(pg_temp.next(:h), 'returns devices to 1.4.1 when one runs 1.5.0; ota.resume_rollout or ota.cancel_rollout prevent that', 'noted at the halt');
SELECT is_empty(format('SELECT 1 FROM ota.controller_read() WHERE rollout_id = %s', :h), 'nobody runs it: nothing to return');
UPDATE ota.device SET pinned_version = '1.5.0' WHERE device_id = 'dev-9';
SELECT pg_temp.runs('1.5.0', 'dev-9');
SELECT is_empty(format('SELECT 1 FROM ota.controller_read() WHERE rollout_id = %s', :h), 'a device that is pinned to it stays');
SELECT pg_temp.runs('1.5.0', 'dev-1', 'dev-2', 'dev-3', 'dev-4');
SELECT results_eq(format('SELECT rollout_id, state FROM ota.controller_read() WHERE rollout_id = %s', :h), format('VALUES (%s::bigint, ''halted'')', :h), 'the controller sees the first device that runs it');
SELECT ota.start_rollout('f', '1.6.0', 'none', now() + interval '7 days') AS next_week \gset
SELECT ota.controller_fallback(:h) AS b \gset
SELECT results_eq(format('SELECT fleet::text, release_id, plan, state, reason, fallback_of, only_from, options, success_threshold, health_timeout, max_in_flight, per_minute, retries, created_by
      FROM ota.rollout WHERE rollout_id = %s', :b),
    format($$ SELECT 'f', %s::bigint, 'p', 'running', 'fallback of rollout %s: crashes in the cold', %2$s::bigint, '1.5.0', '{"pacing": "none"}'::jsonb, 0.8, interval '2 minutes', 7, 99, 1, %L $$, :r141, :h, current_user),
    'the fallback: the same numbers, no fallback of its own');
SELECT results_eq(format('SELECT label, percent FROM ota.rollout_stage WHERE rollout_id = %s ORDER BY stage', :b), $$ VALUES ('a', 50::numeric), ('b', 100) $$, 'and the same stages');
SELECT results_eq(format('SELECT state, next_action, fallback_due FROM ota.rollout WHERE rollout_id = %s', :h),
    format($$ VALUES ('halted', 'rollout %s returns devices that run 1.5.0 to 1.4.1', false) $$, :b), 'the halted one stays halted and says so');
SELECT results_eq('SELECT rollout_id, fallback, fallback_of FROM ota.rollout_progress WHERE state IN (''halted'', ''running'') ORDER BY 1',
    format('VALUES (%s::bigint, %s::bigint, NULL::bigint), (%2$s, NULL, %1$s)', :h, :b), 'each names the other');
SELECT results_eq(format('SELECT kind, rollout_id, detail ->> ''by'', detail ->> ''reason'' FROM ota.event WHERE kind = ''fallback'' OR rollout_id = %s AND detail ->> ''event'' = ''create'' ORDER BY event_id', :b),
    format($$ VALUES ('rollout', %s::bigint, 'controller', 'fallback of rollout %s: crashes in the cold'), ('fallback', %2$s, 'controller', 'fallback of rollout %2$s: crashes in the cold') $$, :b, :h), 'who and why');
SELECT is(pg_temp.state_of(:next_week), 'scheduled', 'next week''s plan still is');
SELECT is(ota.controller_fallback(:h), 0::bigint, 'once');

-- Only devices that run the halted release
SELECT results_eq(format('SELECT eligible, chosen FROM ota.controller_eligible(%s)', :b), 'VALUES (4::bigint, 0::bigint)', 'the percentages are of those that run it');
SELECT pg_temp.open_stage(:b, 1);
SELECT results_eq(format('SELECT count(*), count(*) FILTER (WHERE from_version = ''1.5.0'') FROM ota.device_update WHERE rollout_id = %s', :b), 'VALUES (2::bigint, 2::bigint)', 'half of four');
SELECT pg_temp.runs('1.5.0', 'dev-5');
SELECT is(ota.broker_join(ARRAY['dev-5', 'dev-6']), 0, 'one that ends up on it waits for the stage of everybody');
SELECT pg_temp.open_stage(:b, 2);
SELECT is(count(*), 5::bigint, 'and is in it') FROM ota.device_update WHERE rollout_id = :b;
SELECT pg_temp.runs('1.5.0', 'dev-6');
SELECT is(ota.broker_join(ARRAY['dev-6', 'dev-7']), 1, 'the next one at once, and nobody else');

-- Overlap
SELECT throws_ok(format('SELECT ota.resume_rollout(%s)', :h), '55000', format('rollout %s cannot resume: rollout %s of fleet "f" is active', :h, :b), 'no resume while devices are being returned');
SELECT throws_ok(format('SELECT ota.start_fallback(%s, ''x'')', :h), '55000', format('rollout %s of fleet "f" is running', :b), 'nor a second fallback');
SELECT throws_ok('SELECT ota.start_rollout(''f'', ''1.5.0'', ''none'')', '55000', NULL, 'nor what is older than the fallback');
SELECT ota.halt_rollout(:b, 'that one too') \g /dev/null
SELECT is(pg_temp.next(:b), 'waits for ota.resume_rollout or ota.cancel_rollout', 'a halted fallback does not fall back');
SELECT is(ota.resume_rollout(:b, 'it was the weather'), 'running', 'it may go on');
SELECT ota.rollout_step(:b, 'complete', NULL, 'controller') \g /dev/null
SELECT is(ota.resume_rollout(:h, '1.5.0 was fine'), 'running', 'a completed fallback is no obstacle');
SELECT is(pg_temp.state_of(:b), 'superseded', 'and returns nobody any more');
SELECT is(reason, format('rollout %s goes on', :h), 'for that reason') FROM ota.rollout WHERE rollout_id = :b;
-- Another halt, another fallback, cancelled by the operator
SELECT ota.halt_rollout(:h, 'not fine') \g /dev/null
SELECT ota.controller_fallback(:h) AS c \gset
SELECT is(:c > :b, true, 'another halt, another fallback');
SELECT ota.cancel_rollout(:c, 'by hand then') \g /dev/null
SELECT is_empty(format('SELECT 1 FROM ota.controller_read() WHERE rollout_id = %s', :h), 'a cancelled fallback does not begin anew');
SELECT ota.cancel_rollout(:h, 'enough') \g /dev/null

-- What prevents it is said ----------------------------------------------------------------------------------------------------
SELECT pg_temp.runs('1.4.0', 'dev-' || n) FROM generate_series(1, 10) AS n;
UPDATE ota.device SET version = '1.4.0', sequence = 14, pinned_version = NULL WHERE fleet = 'f';
SELECT pg_temp.begin('p') AS v \gset
UPDATE ota.device SET version = '1.5.0', sequence = 15 WHERE device_id IN ('dev-1', 'dev-2');
SELECT ota.revoke_release('1.4.1', 'lost its key');
SELECT ota.halt_rollout(:v, 'crashes') \g /dev/null
SELECT is(pg_temp.next(:v), 'no return to 1.4.1: release 1.4.1 is revoked, not verified: lost its key; waits for ota.resume_rollout, ota.start_fallback or ota.cancel_rollout', 'no way back, and why');
SELECT is(detail ->> 'reason', 'release 1.4.1 is revoked, not verified: lost its key', 'written down') FROM ota.event WHERE kind = 'fallback_refused' AND rollout_id = :v;
SELECT is_empty(format('SELECT 1 FROM ota.controller_read() WHERE rollout_id = %s', :v), 'nothing for the controller');
SELECT throws_ok(format('SELECT ota.start_fallback(%s)', given), code, message, message) FROM (VALUES
    (format('%s, NULL', :v), '22023', 'the reason is missing'), ('999, ''x''', 'P0002', 'there is no rollout 999'), ('NULL, ''x''', 'P0002', 'there is no rollout (null)'),
    (format('%s, ''x'', ''old''', :v), '22023', 'version "old" is not a Semantic Version'),
    (format('%s, ''x''', :v), '55000', format('rollout %s has no way back to 1.4.1: release 1.4.1 is revoked, not verified: lost its key', :v)),
    (format('%s, ''x'', ''1.4.0''', :v), '55000', format('rollout %s has no way back to 1.4.0: release 1.4.0 has sequence 14, 1.5.0 has 15: going back needs a manifest with a higher one', :v)),
    (format('%s, ''x'', ''1.4.2''', :c), '55000', format('rollout %s is cancelled, not halted', :c))) AS c (given, code, message);
SELECT ota.start_fallback(:v, 'to what was built last night', '1.4.2') AS m \gset
SELECT results_eq(format('SELECT release_id, fallback_of, state, reason FROM ota.rollout WHERE rollout_id = %s', :m),
    format($$ VALUES (%s::bigint, %s::bigint, 'running', 'fallback of rollout %2$s: to what was built last night') $$, :r142, :v), 'an operator names another version');
SELECT is(detail ->> 'by', session_user::text, 'in his name') FROM ota.event WHERE kind = 'fallback' AND rollout_id = :v;
SELECT ota.cancel_rollout(:m, 'x') \g /dev/null
-- Revoked between the halt and the first device
SELECT ota.define_plan('q', :stages, options => '{"fallback": "1.4.2", "pacing": "none"}');
UPDATE ota.device SET version = '1.4.0', sequence = 14 WHERE fleet = 'f';
SELECT pg_temp.begin('q') AS w \gset
SELECT ota.halt_rollout(:w, 'x') \g /dev/null
UPDATE ota.fleet SET pinned_version = '1.4.0' WHERE fleet = 'f';
UPDATE ota.device SET version = '1.5.0', sequence = 15 WHERE device_id = 'dev-1';
SELECT is(ota.controller_fallback(:w), 0::bigint, 'the fleet was pinned meanwhile');
SELECT matches(pg_temp.next(:w), '^no return to 1.4.2: fleet "f" is pinned to 1.4.0', 'which is said');
UPDATE ota.fleet SET pinned_version = NULL WHERE fleet = 'f';
-- Without a fallback in the plan, and before it has begun
SELECT pg_temp.begin('none') AS n \gset
SELECT ota.halt_rollout(:n, 'x') \g /dev/null
SELECT is(pg_temp.next(:n), 'waits for ota.resume_rollout or ota.cancel_rollout', 'a plan without a fallback');
SELECT throws_ok(format('SELECT ota.start_fallback(%s, ''x'')', :n), '22023', 'the version is missing', 'somebody has to name one');
SELECT ota.start_rollout('g', '1.5.0', 'q', now() + interval '1 day') AS s \gset
SELECT ota.halt_rollout(:s, 'x') \g /dev/null
SELECT is(pg_temp.next(:s), 'waits for ota.resume_rollout or ota.cancel_rollout', 'one that has never begun');
-- A revoked release halts, and the way back begins
SELECT ota.cancel_rollout(:n, 'x') \g /dev/null
UPDATE ota.device SET version = '1.4.0', sequence = 14 WHERE fleet = 'f';
SELECT ota.start_rollout('f', '1.5.0', 'q', reason => 'emergency: exploited') AS e \gset
SELECT ota.rollout_step(:e, 'start', NULL, 'controller'), pg_temp.open_stage(:e, 1) \g /dev/null
SELECT ota.revoke_release('1.5.0', 'bricks') \g /dev/null
UPDATE ota.device SET version = '1.5.0', sequence = 15 WHERE device_id = 'dev-1';
SELECT ota.controller_fallback(:e) AS z \gset
SELECT results_eq(format('SELECT s.label, r.any_time FROM ota.rollout r JOIN ota.rollout_stage s USING (rollout_id) WHERE r.rollout_id = %s ORDER BY s.stage', :z),
    $$ VALUES ('a', false), ('b', false) $$, 'after an emergency the way back is staged');

-- Whatever goes wrong with the way back, a halt is a halt
SELECT ota.cancel_rollout(:z, 'x'), ota.cancel_rollout(:e, 'x'), pg_temp.release('1.7.0', 19), pg_temp.release('1.4.3', 20) \g /dev/null
SELECT ota.define_plan('r', :stages, options => '{"fallback": "1.4.3"}');
SELECT pg_temp.begin('r', '1.7.0') AS y \gset
BEGIN;
CREATE OR REPLACE FUNCTION ota.fallback_refused(i_rollout ota.rollout, i_version text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RAISE division_by_zero; END $$;
SELECT is(ota.halt_rollout(:y, 'smoke'), 'halted', 'an error in the way back does not prevent the halt');
SELECT matches(pg_temp.next(:y), '^no return to 1.4.3: division_by_zero; waits for', 'and is said');
SELECT is(count(*), 1::bigint, 'and written down') FROM ota.event WHERE kind = 'fallback_refused' AND rollout_id = :y AND detail ->> 'reason' = 'division_by_zero';
ROLLBACK;

-- Approval stays another's to give
SELECT throws_ok(format('SELECT ota.advance_rollout(%s)', :m), '55000', NULL, 'as any rollout');

SELECT * FROM finish();
