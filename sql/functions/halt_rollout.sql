-- Operators: stop a rollout that does harm.

CREATE OR REPLACE FUNCTION ota.halt_rollout(id bigint, reason text)
RETURNS text
LANGUAGE plpgsql SET search_path = ota, pg_temp AS $$
-- Halt a rollout: nobody else is told, devices that were told and have not begun to apply are recalled.  A completed one no
-- longer serves its latecomers.  It can be resumed or cancelled afterwards.
-- id: the rollout; reason: why, required.  Returns the new state.
-- Errors: 22023 no reason; P0002 no such rollout; 55000 it is halted, cancelled or superseded already.
BEGIN
    RETURN ota.rollout_step(id, 'halt', ota.check_reason(reason, true), NULL);
END
$$;
COMMENT ON FUNCTION ota.halt_rollout(bigint, text) IS 'Halt a rollout: nobody else is told, told devices are recalled';
