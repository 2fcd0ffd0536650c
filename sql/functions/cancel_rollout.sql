-- Operators: end a rollout for good.

CREATE OR REPLACE FUNCTION ota.cancel_rollout(id bigint, reason text)
RETURNS text
LANGUAGE plpgsql SET search_path = ota, pg_temp AS $$
-- Cancel a rollout: as a halt, and devices that wait for their turn are out.  There is no way back.
-- id: the rollout; reason: why, required.  Returns the new state.
-- Errors: 22023 no reason; P0002 no such rollout; 55000 it has ended already.
BEGIN
    RETURN ota.rollout_step(id, 'cancel', ota.check_reason(reason, true), NULL);
END
$$;
COMMENT ON FUNCTION ota.cancel_rollout(bigint, text) IS 'Cancel a rollout for good';
