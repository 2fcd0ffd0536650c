-- Operators: let a fleet go on.

CREATE OR REPLACE FUNCTION ota.unpin_fleet(fleet text)
RETURNS void
LANGUAGE plpgsql SET search_path = ota, pg_temp AS $$
-- Take a fleet's pin away: other releases can be rolled out again.  A rollout that the pin had started goes on; pins of single
-- devices stay.
-- Errors: 22023 the argument is not acceptable; P0002 no such fleet; 55000 it is not pinned.
#variable_conflict use_column
DECLARE
    f  ota.fleet;
BEGIN
    PERFORM ota.check_name('fleet', unpin_fleet.fleet);
    SELECT o.* INTO f FROM ota.fleet o WHERE o.fleet = unpin_fleet.fleet FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'P0002', MESSAGE = format('there is no fleet "%s"', unpin_fleet.fleet),
            HINT = 'The fleets are in the table ota.fleet.';
    ELSIF f.pinned_version IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = '55000', MESSAGE = format('fleet "%s" is not pinned', f.fleet),
            HINT = 'The pins are in the columns pinned_version of ota.device and ota.fleet.';
    END IF;
    UPDATE ota.fleet o SET pinned_version = NULL WHERE o.fleet = f.fleet;
    PERFORM ota.audit('fleet_unpinned', NULL, NULL, jsonb_build_object('fleet', f.fleet, 'version', f.pinned_version, 'reason', 'by operator'));
    PERFORM pg_notify('ota', '');
END
$$;
COMMENT ON FUNCTION ota.unpin_fleet(text) IS 'Let a fleet follow other releases again';
