-- Operators: stop telling devices for a while.

CREATE OR REPLACE FUNCTION ota.pause_rollout(id bigint, reason text DEFAULT NULL)
RETURNS text
LANGUAGE plpgsql SET search_path = ota, pg_temp AS $$
-- Pause a rollout: nobody else is told, devices that have been told go on, the stage's wait stands still.
-- id: the rollout; reason: why (null: "by operator").  Returns the new state.
-- Errors: P0002 no such rollout; 55000 it is neither running nor scheduled.
BEGIN
    RETURN ota.rollout_step(id, 'pause', ota.check_reason(reason, false), NULL);
END
$$;
COMMENT ON FUNCTION ota.pause_rollout(bigint, text) IS 'Pause a rollout: nobody else is told';
