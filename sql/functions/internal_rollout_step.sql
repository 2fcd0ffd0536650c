-- The only way in which a rollout changes its state.

DROP FUNCTION IF EXISTS ota.rollout_lock_rows(bigint, boolean);

CREATE OR REPLACE FUNCTION ota.rollout_lock_rows(i_rollout_ids bigint[], i_waiting boolean, i_step_release bigint DEFAULT NULL)
RETURNS void
LANGUAGE plpgsql SET search_path = ota, pg_temp AS $$
-- Lock the rows that steps of these rollouts may change in the order in which brokers lock them (by device, then rollout), so that
-- a halt and a batch of reports wait for each other instead of one of them failing.  Several rollouts that end in one transaction
-- are locked together, before the first of them takes its step; then with those that are applied, too, whose reports move the same
-- counters.  i_waiting: all pending rows too, not only those with a slot; i_step_release: also the rows, of whatever rollout, of
-- devices that were told of this release as a stepping stone.
DECLARE
    moved  text[] := ARRAY['notified', 'downloading', 'verifying']
                     || CASE WHEN cardinality(i_rollout_ids) > 1 THEN ARRAY['applying', 'rebooting'] ELSE '{}' END;
BEGIN
    -- Before the rows, as whoever hands a stage out, or back.
    PERFORM 1 FROM ota.hand_out h WHERE h.rollout_id = ANY (i_rollout_ids) ORDER BY h.rollout_id FOR UPDATE;
    IF i_waiting THEN
        PERFORM 1 FROM ota.device_update u
          WHERE u.rollout_id = ANY (i_rollout_ids) AND u.state = ANY (ARRAY['pending'] || moved)
          ORDER BY u.device_id, u.rollout_id FOR UPDATE;
    ELSE
        -- Small partial indexes instead of all the rollouts' rows.
        PERFORM 1 FROM ota.device_update u
          WHERE (u.rollout_id, u.device_id) IN (
                SELECT t.rollout_id, t.device_id FROM ota.device_update t
                 WHERE t.rollout_id = ANY (i_rollout_ids) AND t.state IN ('notified', 'downloading', 'verifying', 'applying', 'rebooting')
                   AND t.state = ANY (moved)
                UNION ALL
                SELECT g.rollout_id, g.device_id FROM ota.device_update g
                 WHERE g.rollout_id = ANY (i_rollout_ids) AND g.state = 'pending' AND g.granted_at IS NOT NULL
                UNION ALL
                SELECT s.rollout_id, s.device_id FROM ota.device_update s
                 WHERE s.step_release_id = i_step_release AND s.state IN ('notified', 'downloading', 'verifying'))
          ORDER BY u.device_id, u.rollout_id FOR UPDATE;
    END IF;
END
$$;
COMMENT ON FUNCTION ota.rollout_lock_rows(bigint[], boolean, bigint) IS 'Internal: lock the device updates that steps may change, in the common order';

CREATE OR REPLACE FUNCTION ota.rollout_recall(i_rollout_id bigint)
RETURNS void
LANGUAGE plpgsql SET search_path = ota, pg_temp AS $$
-- Take the release back from the devices of a rollout that have been told and have not begun to apply it.  Whoever is
-- applying or rebooting runs on: interrupting that is more dangerous than finishing it.
-- One statement for each kind of row, so that each finds its rows through a partial index.
BEGIN
    UPDATE ota.device_update
       SET state = 'cancelled', error = 'RECALLED', finished_at = now(), recall = true, retell_at = NULL
     WHERE rollout_id = i_rollout_id AND state = 'notified';
    UPDATE ota.device_update
       SET recall = true
     WHERE rollout_id = i_rollout_id AND state IN ('downloading', 'verifying');
    UPDATE ota.device_update
       SET granted_at = NULL
     WHERE rollout_id = i_rollout_id AND state = 'pending' AND granted_at IS NOT NULL;
END
$$;
COMMENT ON FUNCTION ota.rollout_recall(bigint) IS 'Internal: recall what has been told and not been applied, take back slots';

CREATE OR REPLACE FUNCTION ota.rollout_reopen(i_rollout_id bigint, i_stage integer)
RETURNS void
LANGUAGE plpgsql SET search_path = ota, pg_temp AS $$
-- After a halt: the halted stage opens again with a clean slate, and recalled devices may be told once more.
BEGIN
    -- Recalls that no broker has sent yet are not sent any more.
    PERFORM ota.rollout_lock_rows(ARRAY[i_rollout_id], false);
    UPDATE ota.device_update SET recall = false WHERE rollout_id = i_rollout_id AND recall;
    -- Whoever starts or stops listening from here on finds the rows pending, see broker_write().
    PERFORM pg_advisory_xact_lock(hashtext('ota.listening'));
    UPDATE ota.device_update u
       SET state = 'pending', attempt = u.attempt + 1, error = NULL, finished_at = NULL, notified_at = NULL, granted_at = NULL,
           deadline = NULL, ready = d.listening, step_release_id = NULL
      FROM ota.rollout r, ota.device d
     WHERE u.rollout_id = i_rollout_id AND u.state = 'cancelled' AND u.error = 'RECALLED'
       AND r.rollout_id = u.rollout_id AND d.device_id = u.device_id AND d.fleet = r.fleet;
    -- After the rows, whose trigger moves the counters.  The time of the halt is not counted as the stage's wait.
    UPDATE ota.rollout_stage
       SET state = 'open', closed_at = NULL, verdict = NULL,
           -- A clock that stands still for the update window is put forward when that opens.
           wait_until = wait_until + CASE WHEN stopped_at IS NULL THEN now() - closed_at ELSE interval '0' END,
           forgiven_ok = succeeded, forgiven_failed = failed,
           pacing_window = 0, pacing_ok = succeeded, pacing_bad = attempts_failed
     WHERE rollout_id = i_rollout_id AND stage = i_stage AND state = 'halted';
END
$$;
COMMENT ON FUNCTION ota.rollout_reopen(bigint, integer) IS 'Internal: open a halted stage again';

CREATE OR REPLACE FUNCTION ota.rollout_step(rollout_id bigint, event text, reason text, who text)
RETURNS text
LANGUAGE plpgsql SET search_path = ota, pg_temp AS $$
-- Take a rollout one step along ota.rollout_transition, with everything that belongs to the step, and write it down.
-- event: start, pause, resume, halt, complete, cancel, supersede; reason: why (null: for start and complete the reason
-- stays, else "by operator"); who: in whose name (null: ota.actor()).  Returns the new state.
-- Errors: P0002 no such rollout; 55000 the step is impossible now.
#variable_conflict use_column
DECLARE
    r       ota.rollout;
    target  text;
    other   bigint;
    why     text := nullif(btrim(rollout_step.reason), '');
BEGIN
    -- A rollout that begins takes its fleet over.  Before the lock: supersede_others locks the fleet first, then rollouts.
    IF rollout_step.event = 'start' OR rollout_step.event = 'resume' AND EXISTS (SELECT 1 FROM ota.rollout o
            WHERE o.rollout_id = rollout_step.rollout_id AND o.state IN ('paused', 'halted') AND o.started_at IS NULL) THEN
        PERFORM ota.rollout_supersede_others(rollout_step.rollout_id);
    END IF;

    SELECT * INTO r FROM ota.rollout o WHERE o.rollout_id = rollout_step.rollout_id FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'P0002', MESSAGE = format('there is no rollout %s', coalesce(rollout_step.rollout_id::text, '(null)')),
            HINT = 'The rollouts are in the view ota.rollout_progress.';
    END IF;
    SELECT t.to_state INTO target FROM ota.rollout_transition t WHERE t.from_state = r.state AND t.event = rollout_step.event;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = '55000',
            MESSAGE = format('rollout %s is %s: %s is not possible', r.rollout_id, r.state, coalesce(rollout_step.event, '(null)')),
            HINT = coalesce('Possible now: ' || (SELECT string_agg(t.event, ', ' ORDER BY t.event)
                                                   FROM ota.rollout_transition t WHERE t.from_state = r.state
                                                    AND t.event IN ('pause', 'resume', 'halt', 'cancel')) || '.',
                            format('A %s rollout is final; start a new one.', r.state));
    END IF;
    IF target IN ('running', 'paused') AND r.state NOT IN ('running', 'paused') THEN
        SELECT o.rollout_id INTO other FROM ota.rollout o
         WHERE o.fleet = r.fleet AND o.state IN ('running', 'paused') AND o.rollout_id <> r.rollout_id
           AND o.device_id IS NOT DISTINCT FROM r.device_id;
        IF FOUND THEN
            RAISE EXCEPTION USING ERRCODE = '55000',
                MESSAGE = format('rollout %s cannot %s: rollout %s of fleet "%s" is active', r.rollout_id, rollout_step.event, other, r.fleet),
                HINT = CASE WHEN EXISTS (SELECT FROM ota.rollout o WHERE o.rollout_id = other AND o.fallback_of = r.rollout_id)
                    THEN format('Rollout %s returns devices from this one: cancel it first.', other)
                    ELSE 'A fleet has one active rollout at a time; cancel one of them.' END;
        END IF;
    END IF;
    IF rollout_step.event = 'resume' AND r.state = 'halted' THEN
        PERFORM ota.fallback_end(r.rollout_id);
    END IF;

    UPDATE ota.rollout
       SET state = target,
           reason = coalesce(why, CASE WHEN rollout_step.event IN ('start', 'complete') THEN r.reason ELSE 'by operator' END),
           started_at = CASE WHEN target = 'running' THEN coalesce(r.started_at, now()) ELSE r.started_at END,
           finished_at = CASE WHEN target IN ('running', 'paused') THEN NULL ELSE coalesce(r.finished_at, now()) END,
           paused_at = CASE WHEN target = 'paused' THEN now() END,
           advance_requested = r.advance_requested AND target IN ('running', 'paused'),
           fallback_due = false,
           next_action = CASE target WHEN 'running' THEN 'the controller looks at it next'
                                     WHEN 'paused' THEN 'waits for ota.resume_rollout'
                                     WHEN 'halted' THEN CASE WHEN (SELECT l.state FROM ota.release l WHERE l.release_id = r.release_id)
                                                                  IN ('rejected', 'revoked')
                                         -- It cannot resume.
                                         THEN 'waits for ota.cancel_rollout, or a rollout of another release'
                                         ELSE 'waits for ota.resume_rollout or ota.cancel_rollout' END END,
           next_at = CASE WHEN target = 'running' THEN now() END
     WHERE rollout_id = r.rollout_id
    RETURNING reason INTO why;

    -- Rows first, their stage after them: the order in which reports lock them.
    CASE target
        WHEN 'paused' THEN
            PERFORM ota.rollout_lock_rows(ARRAY[r.rollout_id], false);
            PERFORM ota.hand_back(r.rollout_id, false);
            UPDATE ota.device_update SET granted_at = NULL
             WHERE rollout_id = r.rollout_id AND state = 'pending' AND granted_at IS NOT NULL;
        WHEN 'running' THEN
            IF r.state = 'halted' THEN
                PERFORM ota.rollout_reopen(r.rollout_id, r.current_stage);
            END IF;
        WHEN 'halted', 'cancelled', 'superseded' THEN
            PERFORM ota.rollout_lock_rows(ARRAY[r.rollout_id], target <> 'halted');
            -- Who has not been told is not recalled, and does not count as told.
            PERFORM ota.hand_back(r.rollout_id, false);
            PERFORM ota.rollout_recall(r.rollout_id);
            IF target <> 'halted' THEN
                UPDATE ota.device_update
                   SET state = 'cancelled', error = upper(target), finished_at = now(), ready = false
                 WHERE rollout_id = r.rollout_id AND state = 'pending';
            END IF;
        ELSE
            NULL;
    END CASE;
    IF target = 'halted' THEN
        PERFORM ota.fallback_after_halt(r);
    END IF;
    -- The time of a pause is not counted as the open stage's wait, whatever ends the pause.
    IF r.state = 'paused' AND r.paused_at IS NOT NULL THEN
        UPDATE ota.rollout_stage SET wait_until = wait_until + (now() - r.paused_at)
         WHERE rollout_id = r.rollout_id AND state = 'open' AND stopped_at IS NULL;
    END IF;
    IF target IN ('halted', 'cancelled', 'superseded') THEN
        -- A halt of a completed rollout closes its last stage over again, so that resuming can open it.
        UPDATE ota.rollout_stage SET state = 'halted', closed_at = now(), verdict = why
         WHERE rollout_id = r.rollout_id AND stage = r.current_stage
           AND (state IN ('open', 'held') OR target = 'halted');
    END IF;

    PERFORM ota.audit('rollout', NULL, r.rollout_id, jsonb_build_object('from', r.state, 'to', target,
        'event', rollout_step.event, 'reason', why, 'by', coalesce(rollout_step.who, ota.actor())));
    RETURN target;
END
$$;
COMMENT ON FUNCTION ota.rollout_step(bigint, text, text, text) IS 'The only writer of a rollout''s state: checks the step, does what belongs to it, writes it down';

CREATE OR REPLACE FUNCTION ota.rollout_supersede_others(rollout_id bigint)
RETURNS integer
LANGUAGE plpgsql SET search_path = ota, pg_temp AS $$
-- End every other rollout of the fleet, because this one takes over: running, paused, halted and completed ones (their
-- latecomers are no longer served), and scheduled ones unless they wait for a later time with a newer release.
-- Fleets' rollouts and those of pinned devices leave each other alone; a pinned device's supersedes its earlier ones.  A fallback
-- leaves the halted rollout alone that it takes devices back from: it stays halted.
-- Returns how many were ended.  Locks the fleet, then the rollouts by number: everybody takes them in this order.
-- Errors: P0002 no such rollout.
#variable_conflict use_column
DECLARE
    r       record;
    others  bigint[];
    other   bigint;
BEGIN
    SELECT o.rollout_id, o.fleet, o.device_id, o.fallback_of, l.version, l.sequence INTO r
      FROM ota.rollout o JOIN ota.release l ON l.release_id = o.release_id
     WHERE o.rollout_id = rollout_supersede_others.rollout_id;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'P0002',
            MESSAGE = format('there is no rollout %s', coalesce(rollout_supersede_others.rollout_id::text, '(null)')),
            HINT = 'The rollouts are in the view ota.rollout_progress.';
    END IF;
    PERFORM 1 FROM ota.fleet f WHERE f.fleet = r.fleet FOR NO KEY UPDATE;
    PERFORM 1 FROM ota.rollout o
      WHERE o.fleet = r.fleet AND o.rollout_id <> r.rollout_id AND o.device_id IS NOT DISTINCT FROM r.device_id
        AND o.state IN ('scheduled', 'running', 'paused', 'halted', 'completed')
      ORDER BY o.rollout_id FOR UPDATE;
    others := ARRAY(
        SELECT o.rollout_id FROM ota.rollout o JOIN ota.release l ON l.release_id = o.release_id
         WHERE o.fleet = r.fleet AND o.rollout_id <> r.rollout_id AND o.device_id IS NOT DISTINCT FROM r.device_id
           AND o.rollout_id IS DISTINCT FROM r.fallback_of
           AND (o.state IN ('running', 'paused', 'halted', 'completed')
             OR o.state = 'scheduled' AND (o.start_at <= now() OR l.sequence <= r.sequence))
         ORDER BY o.rollout_id);
    IF cardinality(others) > 1 THEN
        PERFORM ota.rollout_lock_rows(others, true);
    END IF;
    FOREACH other IN ARRAY others LOOP
        PERFORM ota.rollout_step(other, 'supersede', format('superseded by rollout %s of %s', r.rollout_id, r.version), NULL);
    END LOOP;
    RETURN cardinality(others);
END
$$;
COMMENT ON FUNCTION ota.rollout_supersede_others(bigint) IS 'End the other rollouts of the fleet of one that begins';
