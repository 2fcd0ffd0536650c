-- Operators: go on after a pause or a halt.

CREATE OR REPLACE FUNCTION ota.resume_rollout(id bigint, reason text DEFAULT NULL)
RETURNS text
LANGUAGE plpgsql SET search_path = ota, pg_temp AS $$
-- Resume a paused or halted rollout.  After a halt the stage opens again: earlier outcomes no longer count for its verdict, the
-- pace starts slowly, recalled devices are told once more.  The time in between is not counted as the stage's wait.
-- id: the rollout; reason: why (null: "by operator").  Returns the new state.
-- Errors: P0002 no such rollout; 55000 it is neither paused nor halted, or its release is no longer verified.
DECLARE
    r     record;
    step  text := ota.rollout_step(id, 'resume', ota.check_reason(reason, false), NULL);
BEGIN
    -- After the step, which holds the rollout's lock: a revocation is either seen here or waits for us and halts it again.
    SELECT l.version, l.state, l.reason INTO r
      FROM ota.rollout o JOIN ota.release l ON l.release_id = o.release_id WHERE o.rollout_id = id;
    IF r.state <> 'verified' THEN
        RAISE EXCEPTION USING ERRCODE = '55000',
            MESSAGE = format('rollout %s cannot resume: release %s is %s', id, r.version, r.state) || coalesce(': ' || r.reason, ''),
            HINT = 'Cancel the rollout and start one of another release.';
    END IF;
    RETURN step;
END
$$;
COMMENT ON FUNCTION ota.resume_rollout(bigint, text) IS 'Resume a paused or halted rollout';
