-- Operators: how often may a device fail?

CREATE OR REPLACE FUNCTION ota.set_quarantine(fleet text, failures integer, reason text)
RETURNS void
LANGUAGE plpgsql SET search_path = ota, pg_temp AS $$
-- Set after how many failed updates in a row, over all rollouts, a device of the fleet goes into quarantine.  Devices that are in it
-- stay there; who has failed as often already goes in with the next failure.
-- fleet: must exist; failures: 1 to 1000, null: never; reason: why, required.
-- Errors: 22023 an argument is not acceptable; P0002 no such fleet.
#variable_conflict use_column
DECLARE
    f    ota.fleet;
    why  text := ota.check_reason(set_quarantine.reason, true);
BEGIN
    PERFORM ota.check_name('fleet', set_quarantine.fleet);
    IF set_quarantine.failures NOT BETWEEN 1 AND 1000 THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = format('failures is %s', set_quarantine.failures),
            HINT = 'Accepted are 1 to 1000 failed updates in a row; null for never.';
    END IF;
    SELECT o.* INTO f FROM ota.fleet o WHERE o.fleet = set_quarantine.fleet FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'P0002', MESSAGE = format('there is no fleet "%s"', set_quarantine.fleet),
            HINT = 'The fleets are in the table ota.fleet; ota.assign_device makes one.';
    END IF;
    UPDATE ota.fleet o SET quarantine_after = set_quarantine.failures WHERE o.fleet = f.fleet;
    PERFORM ota.audit('quarantine_set', NULL, NULL, jsonb_build_object('fleet', f.fleet, 'from', f.quarantine_after,
        'to', set_quarantine.failures, 'reason', why));
END
$$;
COMMENT ON FUNCTION ota.set_quarantine(text, integer, text) IS 'Set after how many failures in a row a device goes into quarantine';
