-- Operators: go on after a pause or a halt.

CREATE OR REPLACE FUNCTION ota.resume_rollout(id bigint, reason text DEFAULT NULL)
RETURNS text
LANGUAGE plpgsql SET search_path = ota, pg_temp AS $$
-- Resume a paused or halted rollout.  After a halt the stage opens again: earlier outcomes no longer count for its verdict, the
-- pace starts slowly, recalled devices are told once more.  The time in between is not counted as the stage's wait.
-- id: the rollout; reason: why (null: "by operator").  Returns the new state.
-- Errors: P0002 no such rollout; 55000 it is neither paused nor halted, its release is no longer verified, or its URL has no place in the
-- fleet's (ota.set_fleet_url), which may have come since the halt.
DECLARE
    r        record;
    step     text;
    problem  text;
    why      text := ota.check_reason(reason, false);
BEGIN
    -- Before the rollout: a template that is being set is either seen here or finds the rollout running.
    PERFORM 1 FROM ota.fleet f JOIN ota.rollout o ON o.fleet = f.fleet WHERE o.rollout_id = id FOR NO KEY UPDATE OF f;
    step := ota.rollout_step(id, 'resume', why, NULL);
    -- After the step, which holds the rollout's lock: a revocation is either seen here or waits for us and halts it again.
    SELECT l.version, l.state, l.reason, l.url, o.fleet, o.device_id INTO r
      FROM ota.rollout o JOIN ota.release l ON l.release_id = o.release_id WHERE o.rollout_id = id;
    IF r.state <> 'verified' THEN
        RAISE EXCEPTION USING ERRCODE = '55000',
            MESSAGE = format('rollout %s cannot resume: release %s is %s', id, r.version, r.state) || coalesce(': ' || r.reason, ''),
            HINT = 'Cancel the rollout and start one of another release.';
    END IF;
    problem := ota.fleet_url_problem(r.fleet, r.url);
    IF problem IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = '55000',
            MESSAGE = format('rollout %s cannot resume: no URL of release %s can be made for %s: %s', id, r.version,
                CASE WHEN r.device_id IS NULL THEN format('fleet "%s"', r.fleet) ELSE format('device "%s"', r.device_id) END, problem),
            HINT = format('Fleet "%s" has a URL of its own: use ota.clear_fleet_url, or cancel the rollout and sign the release anew with a URL that is a plain path behind the host.', r.fleet);
    END IF;
    RETURN step;
END
$$;
COMMENT ON FUNCTION ota.resume_rollout(bigint, text) IS 'Resume a paused or halted rollout';
