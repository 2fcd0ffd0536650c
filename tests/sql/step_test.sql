-- ota.rollout_step, the guard of the states, and the five functions over it.
\ir lib/helpers.sql
SELECT no_plan();

SELECT pg_temp.release('1.0.0', 1), pg_temp.release('1.5.0', 15) \g /dev/null
CREATE TEMP TABLE states AS SELECT DISTINCT to_state AS state FROM ota.rollout_transition UNION SELECT 'scheduled';
SELECT is(count(*), 7::bigint, 'seven states') FROM states;

-- A rollout in a state, reached by legal steps, in a fleet of its own.
CREATE FUNCTION pg_temp.rollout_in(want text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    f   text := 'fleet-' || gen_random_uuid();
    id  bigint;
BEGIN
    INSERT INTO ota.fleet (fleet) VALUES (f);
    id := ota.start_rollout(f, '1.5.0');
    IF want IN ('running', 'paused', 'completed') THEN
        PERFORM ota.rollout_step(id, 'start', NULL, 'test');
    END IF;
    IF want NOT IN ('running', 'scheduled') THEN
        PERFORM ota.rollout_step(id, CASE want WHEN 'paused' THEN 'pause' WHEN 'completed' THEN 'complete' WHEN 'halted' THEN 'halt'
            WHEN 'cancelled' THEN 'cancel' WHEN 'superseded' THEN 'supersede' END, 'because', 'test');
    END IF;
    RETURN id;
END
$$;

-- Every state against every event: as the table says, else refused.
CREATE FUNCTION pg_temp.try(from_s text, ev text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    id  bigint := pg_temp.rollout_in(from_s);
BEGIN
    IF pg_temp.state_of(id) <> from_s THEN
        RAISE 'the test is wrong';
    END IF;
    RETURN ota.rollout_step(id, ev, 'because', 'test') || '/' || pg_temp.state_of(id);
EXCEPTION WHEN object_not_in_prerequisite_state THEN
    RETURN replace(SQLERRM, id::text, 'N');
END
$$;
SELECT is(pg_temp.try(s.state, e.event), coalesce(t.to_state || '/' || t.to_state, format('rollout N is %s: %s is not possible', s.state, e.event)),
        format('%s, %s: %s', s.state, e.event, coalesce(t.to_state, 'refused')))
  FROM states s CROSS JOIN (SELECT DISTINCT event FROM ota.rollout_transition) e
  LEFT JOIN ota.rollout_transition t ON t.from_state = s.state AND t.event = e.event
 ORDER BY s.state, e.event;
-- Every state against every state, past the functions: the guard says the same.
SELECT CASE WHEN EXISTS (SELECT FROM ota.rollout_transition t WHERE t.from_state = a.state AND t.to_state = b.state) OR a.state = b.state
            THEN lives_ok(format('UPDATE ota.rollout SET state = %L WHERE rollout_id = %s', b.state, id), format('guard: %s to %s', a.state, b.state))
            ELSE throws_ok(format('UPDATE ota.rollout SET state = %L WHERE rollout_id = %s', b.state, id), '55000',
                 format('rollout %s cannot go from %s to %s', id, a.state, b.state), format('guard: not %s to %s', a.state, b.state)) END
  FROM states a CROSS JOIN states b CROSS JOIN LATERAL (SELECT pg_temp.rollout_in(a.state || left(b.state, 0)) AS id) r;
SELECT throws_ok($$ INSERT INTO ota.rollout (fleet, release_id, plan, state, success_threshold, health_timeout, download_timeout, retries, options)
    VALUES ('default', 1, 'p', 'running', 1, '1 s', '1 s', 0, '{}') $$, '55000', 'a new rollout cannot be running', 'guard: a rollout begins scheduled');

-- Arguments ------------------------------------------------------------------------------------------------------------
SELECT pg_temp.rollout_in('running') AS r \gset
SELECT throws_ok('SELECT ota.rollout_step(99999, ''pause'', ''x'', NULL)', 'P0002', 'there is no rollout 99999', 'no such rollout');
SELECT throws_ok('SELECT ota.rollout_step(NULL, ''pause'', ''x'', NULL)', 'P0002', 'there is no rollout (null)', 'null is none');
SELECT throws_ok(format('SELECT ota.rollout_step(%s, ''dance'', ''x'', NULL)', :r), '55000', format('rollout %s is running: dance is not possible', :r), 'no such event');
SELECT throws_ok(format('SELECT ota.%s_rollout(99999, ''x'')', f), 'P0002', 'there is no rollout 99999', f || ': no such rollout')
  FROM unnest(ARRAY['pause', 'resume', 'halt', 'cancel', 'advance']) AS f;
SELECT throws_ok(format('SELECT ota.%s_rollout(NULL, ''x'')', f), 'P0002', 'there is no rollout (null)', f || ': null')
  FROM unnest(ARRAY['pause', 'resume', 'halt', 'cancel', 'advance']) AS f;
SELECT throws_ok(format('SELECT ota.%s_rollout(%s, ''x'')', f, pg_temp.rollout_in('cancelled')), '55000', NULL, f || ': of a cancelled one')
  FROM unnest(ARRAY['pause', 'resume', 'halt', 'cancel', 'advance']) AS f;
SELECT throws_ok(format('SELECT ota.%s_rollout(%s, repeat(''x'', 2000))', f, :r), '22023', 'the reason has 2000 bytes', f || ': an endless reason')
  FROM unnest(ARRAY['pause', 'resume', 'halt', 'cancel', 'advance']) AS f;
SELECT throws_ok(format('SELECT ota.%s_rollout(%s, %s)', f, :r, reason), '22023', 'the reason is missing', f || ': reason ' || reason)
  FROM unnest(ARRAY['halt', 'cancel']) AS f, unnest(ARRAY['NULL', '''''', ''' ''']) AS reason;
SELECT is(pg_temp.state_of(:r), 'running', 'errors change nothing');

-- What belongs to the steps ----------------------------------------------------------------------------------------------
-- Ten devices: 1 pending and online, 2 pending and away, then one in each further state.
SELECT pg_temp.devices('f', 'dev', 10, '1.0.0');
SELECT ota.define_plan('all', '[{"label": "most", "percent": 90, "wait": "1 hour"}, {"label": "all", "percent": 100, "wait": "1 hour"}]');
CREATE FUNCTION pg_temp.busy() RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    new  bigint := ota.start_rollout('f', '1.5.0', 'all');
BEGIN
    -- A device is in one update at a time: what runs on of an earlier test ends.
    UPDATE ota.device_update SET state = 'failed' WHERE state IN ('downloading', 'verifying', 'applying', 'rebooting');
    PERFORM ota.rollout_step(new, 'start', 'its time', 'controller');
    PERFORM ota.controller_open_stage(new, 1, 10, 9);
    PERFORM ota.controller_open_stage(new, 2, 10, 10);
    UPDATE ota.rollout_stage SET state = 'passed', closed_at = now() WHERE rollout_id = new AND stage = 1;
    PERFORM ota.controller_grant(new, 10);
    UPDATE ota.device_update u
       SET state = (ARRAY['pending', 'pending', 'notified', 'downloading', 'verifying', 'applying', 'rebooting', 'succeeded', 'failed', 'timed_out'])[i],
           granted_at = CASE WHEN i = 2 THEN NULL ELSE granted_at END, ready = i = 1,
           notified_at = CASE WHEN i > 2 THEN now() END, attempts_failed = (i > 8)::integer, retell_at = CASE WHEN i = 3 THEN now() END,
           finished_at = CASE WHEN i > 7 THEN now() END
      FROM (SELECT 'dev-' || i AS id, i FROM generate_series(1, 10) AS i) x WHERE u.device_id = x.id AND u.rollout_id = new;
    RETURN new;
END
$$;
CREATE FUNCTION pg_temp.rows(id bigint) RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(concat_ws(':', right(device_id, -4), state, error, CASE WHEN recall THEN 'recall' END, CASE WHEN granted_at IS NOT NULL THEN 'slot' END,
               CASE WHEN ready THEN 'ready' END, CASE WHEN retell_at IS NOT NULL THEN 'retell' END, CASE WHEN attempt > 1 THEN 'attempt ' || attempt END),
               ' ' ORDER BY right(device_id, -4)::integer)
      FROM ota.device_update WHERE rollout_id = id AND state NOT IN ('succeeded', 'failed', 'timed_out');
$$;
CREATE FUNCTION pg_temp.counters(id bigint) RETURNS text LANGUAGE sql AS $$
    SELECT format('notified %s, in flight %s, ok %s, failed %s, attempts failed %s', notified, in_flight, succeeded, failed, attempts_failed)
      FROM ota.rollout_stage WHERE rollout_id = id AND stage = 2;
$$;

-- Pause
SELECT pg_temp.busy() AS p \gset
SELECT is(pg_temp.rows(:p), '1:pending:slot:ready 2:pending 3:notified:slot:retell 4:downloading:slot 5:verifying:slot 6:applying:slot 7:rebooting:slot', 'before');
SELECT is(pg_temp.counters(:p), 'notified 8, in flight 6, ok 1, failed 2, attempts failed 2', 'the counters before');
SELECT wait_until AS before FROM ota.rollout_stage WHERE rollout_id = :p AND stage = 2 \gset
SELECT is(ota.pause_rollout(:p), 'paused', 'pause');
SELECT is(pg_temp.rows(:p), '1:pending:ready 2:pending 3:notified:slot:retell 4:downloading:slot 5:verifying:slot 6:applying:slot 7:rebooting:slot',
    'a pause takes the slots back of those not told yet');
SELECT results_eq(format('SELECT reason, paused_at IS NOT NULL, finished_at IS NULL, next_action FROM ota.rollout WHERE rollout_id = %s', :p),
    $$ VALUES ('by operator', true, true, 'waits for ota.resume_rollout') $$, 'its row');
UPDATE ota.rollout SET paused_at = paused_at - interval '20 minutes' WHERE rollout_id = :p;
SELECT is(ota.resume_rollout(:p, 'lunch is over'), 'running', 'resume');
SELECT is(round(extract(epoch FROM wait_until - :'before')::numeric / 60), 20::numeric, 'the pause is not counted as the stage''s wait')
  FROM ota.rollout_stage WHERE rollout_id = :p AND stage = 2;
SELECT results_eq(format('SELECT state, reason, paused_at FROM ota.rollout WHERE rollout_id = %s', :p), $$ VALUES ('running', 'lunch is over', NULL::timestamptz) $$, 'running again');
SELECT results_eq(format('SELECT detail FROM ota.event WHERE rollout_id = %s AND kind = ''rollout'' ORDER BY event_id DESC LIMIT 1', :p),
    format($$ SELECT jsonb_build_object('from', 'paused', 'to', 'running', 'event', 'resume', 'reason', 'lunch is over', 'by', %L::text) $$, session_user),
    'written down with who and why');

-- Halt and resume
UPDATE ota.rollout SET advance_requested = true WHERE rollout_id = :p;
SELECT is(ota.halt_rollout(:p, 'smoke'), 'halted', 'halt');
SELECT is(pg_temp.rows(:p), '1:pending:ready 2:pending 3:cancelled:RECALLED:recall:slot 4:downloading:recall:slot 5:verifying:recall:slot 6:applying:slot 7:rebooting:slot',
    'told ones are recalled, those that apply run on, the others keep waiting');
SELECT results_eq(format('SELECT state, verdict, closed_at IS NOT NULL FROM ota.rollout_stage WHERE rollout_id = %s AND stage = 2', :p),
    $$ VALUES ('halted', 'smoke', true) $$, 'the stage is halted');
SELECT is(state, 'passed', 'earlier ones are not') FROM ota.rollout_stage WHERE rollout_id = :p AND stage = 1;
SELECT results_eq(format('SELECT reason, advance_requested, finished_at IS NOT NULL, next_action FROM ota.rollout WHERE rollout_id = %s', :p),
    $$ VALUES ('smoke', false, true, 'waits for ota.resume_rollout or ota.cancel_rollout') $$, 'its row');
UPDATE ota.rollout_stage SET closed_at = closed_at - interval '5 minutes', pacing_window = 7 WHERE rollout_id = :p AND stage = 2;
UPDATE ota.device SET listening = false WHERE device_id = 'dev-3';
SELECT is(ota.resume_rollout(:p), 'running', 'resume after a halt');
SELECT is(pg_temp.rows(:p), '1:pending:ready 2:pending 3:pending:attempt 2 4:downloading:slot 5:verifying:slot 6:applying:slot 7:rebooting:slot',
    'recalled ones wait again, as another attempt; recalls not sent are not sent');
SELECT results_eq(format('SELECT state, closed_at, verdict, forgiven_ok, forgiven_failed, pacing_window, pacing_ok, pacing_bad FROM ota.rollout_stage WHERE rollout_id = %s AND stage = 2', :p),
    $$ VALUES ('open', NULL::timestamptz, NULL::text, 1::bigint, 2::bigint, 0, 1::bigint, 2::bigint) $$, 'the stage is open with a clean slate');
SELECT is(round(extract(epoch FROM wait_until - :'before')::numeric / 60), 25::numeric, 'the halt is not counted as its wait') FROM ota.rollout_stage WHERE rollout_id = :p AND stage = 2;
SELECT is(finished_at, NULL, 'and the rollout has not finished') FROM ota.rollout WHERE rollout_id = :p;

-- A pause that ends in a halt
SELECT ota.pause_rollout(:p) \g /dev/null
UPDATE ota.rollout SET paused_at = paused_at - interval '10 minutes' WHERE rollout_id = :p;
SELECT ota.halt_rollout(:p, 'again'), ota.resume_rollout(:p) \g /dev/null
SELECT is(round(extract(epoch FROM wait_until - :'before')::numeric / 60), 35::numeric, 'a pause that ends in a halt is counted once') FROM ota.rollout_stage WHERE rollout_id = :p AND stage = 2;

-- Cancel
UPDATE ota.device SET listening = true WHERE device_id = 'dev-3';
SELECT is(ota.cancel_rollout(:p, 'enough'), 'cancelled', 'cancel');
SELECT is(pg_temp.rows(:p), '1:cancelled:CANCELLED 2:cancelled:CANCELLED 3:cancelled:CANCELLED:attempt 2 4:downloading:recall:slot 5:verifying:recall:slot 6:applying:slot 7:rebooting:slot',
    'nobody waits any more');
SELECT is(pg_temp.counters(:p), 'notified 7, in flight 4, ok 1, failed 2, attempts failed 2', 'the counters after');
SELECT results_eq(format('SELECT reason, finished_at IS NOT NULL, next_action FROM ota.rollout WHERE rollout_id = %s', :p), $$ VALUES ('enough', true, NULL::text) $$, 'its row');

-- Supersede
SELECT pg_temp.busy() AS s \gset
SELECT is(ota.rollout_step(:s, 'supersede', 'superseded by rollout 99', NULL), 'superseded', 'supersede');
SELECT is(pg_temp.rows(:s), '1:cancelled:SUPERSEDED 2:cancelled:SUPERSEDED 3:cancelled:RECALLED:recall:slot 4:downloading:recall:slot 5:verifying:recall:slot 6:applying:slot 7:rebooting:slot',
    'as a cancel, with its own word');

-- A completed one is halted, and resumes into its last stage
SELECT pg_temp.busy() AS c \gset
UPDATE ota.rollout_stage SET state = 'passed', verdict = 'fine', closed_at = now() WHERE rollout_id = :c AND stage = 2;
SELECT is(ota.rollout_step(:c, 'complete', 'the last stage passed', 'controller'), 'completed', 'complete');
SELECT is(finished_at IS NOT NULL, true, 'has finished') FROM ota.rollout WHERE rollout_id = :c;
SELECT is(ota.halt_rollout(:c, 'latecomers fail'), 'halted', 'halt after completion');
SELECT is(state, 'halted', 'the last stage is halted') FROM ota.rollout_stage WHERE rollout_id = :c AND stage = 2;
SELECT is(ota.resume_rollout(:c), 'running', 'resume');
SELECT is(state, 'open', 'the last stage is open') FROM ota.rollout_stage WHERE rollout_id = :c AND stage = 2;

-- A device that has left the fleet is not told again
UPDATE ota.device_update SET state = 'notified', ready = false, notified_at = now() WHERE rollout_id = :c AND device_id = 'dev-3';
SELECT ota.halt_rollout(:c, 'x') \g /dev/null
INSERT INTO ota.fleet (fleet) VALUES ('elsewhere');
UPDATE ota.device SET fleet = 'elsewhere' WHERE device_id = 'dev-3';
SELECT ota.resume_rollout(:c) \g /dev/null
SELECT is(state, 'cancelled', 'a recalled device that has left the fleet stays out') FROM ota.device_update WHERE rollout_id = :c AND device_id = 'dev-3';

-- One active rollout a fleet
SELECT pg_temp.release('1.6.0', 16) \g /dev/null
SELECT ota.start_rollout('f', '1.6.0', start_at => now() + interval '1 day') AS later \gset
SELECT throws_ok(format('SELECT ota.pause_rollout(%s)', :later), '55000', format('rollout %s cannot pause: rollout %s of fleet "f" is active', :later, :c),
    'a scheduled one is not paused into the way of the running one');
SELECT is(pg_temp.state_of(:c), 'running', 'still running');

-- Advance --------------------------------------------------------------------------------------------------------------
SELECT throws_ok(format('SELECT ota.advance_rollout(%s)', pg_temp.rollout_in('scheduled')), '55000', NULL, 'advance: not before it runs');
SELECT pg_temp.rollout_in('running') AS fresh \gset
SELECT throws_ok(format('SELECT ota.advance_rollout(%s)', :fresh), '55000', format('rollout %s has not opened its first stage yet', :fresh), 'advance: no stage yet');
SELECT lives_ok(format('SELECT ota.advance_rollout(%s, ''looks good'')', :c), 'advance an open stage');
SELECT is(advance_requested, true, 'the controller will see it') FROM ota.rollout WHERE rollout_id = :c;
SELECT results_eq(format('SELECT detail ->> ''reason'', detail ->> ''label'' FROM ota.event WHERE rollout_id = %s AND kind = ''advance_requested''', :c),
    $$ VALUES ('looks good', 'all') $$, 'written down');
UPDATE ota.rollout_stage SET state = 'held' WHERE rollout_id = :c AND stage = 2;
SELECT lives_ok(format('SELECT ota.advance_rollout(%s)', :c), 'advance a held stage');
UPDATE ota.rollout_stage SET state = 'passed' WHERE rollout_id = :c AND stage = 2;
SELECT throws_ok(format('SELECT ota.advance_rollout(%s)', :c), '55000', format('stage 2 (all) of rollout %s is passed', :c), 'advance: not a stage that is closed');
SELECT ota.pause_rollout(:c) \g /dev/null
SELECT throws_ok(format('SELECT ota.advance_rollout(%s)', :c), '55000', format('rollout %s is paused: advance is not possible', :c), 'advance: not while paused');

-- Approval is somebody else's
SELECT ota.define_plan('two-eyes', '[{"label": "a", "percent": 50}, {"label": "b", "percent": 100}]', options => '{"approval": true}');
INSERT INTO ota.fleet (fleet) VALUES ('approved');
SELECT ota.start_rollout('approved', '1.5.0', 'two-eyes') AS ap \gset
SELECT ota.rollout_step(:ap, 'start', NULL, 'controller'), ota.controller_open_stage(:ap, 1, 0, 0) \g /dev/null
SELECT throws_ok(format('SELECT ota.advance_rollout(%s)', :ap), '42501', format('rollout %s was started by "%s", who cannot approve it', :ap, session_user), 'advance: not by who started it');
CREATE ROLE other SUPERUSER;
SET SESSION AUTHORIZATION other;
SELECT ota.advance_rollout(:ap) \g /dev/null
RESET SESSION AUTHORIZATION;
SELECT is(detail ->> 'by', 'other', 'advance: by somebody else') FROM ota.event WHERE rollout_id = :ap AND kind = 'advance_requested';

SELECT * FROM finish();
