-- Operators: let a fleet be told of updates at any time.

CREATE OR REPLACE FUNCTION ota.clear_windows(fleet text)
RETURNS integer
LANGUAGE plpgsql SET search_path = ota, pg_temp AS $$
-- Remove all update windows of a fleet; it keeps its time zone.  Returns how many there were.
-- Errors: 22023 the argument is not acceptable; P0002 no such fleet.
#variable_conflict use_column
DECLARE
    removed  integer;
BEGIN
    PERFORM ota.check_name('fleet', clear_windows.fleet);
    PERFORM 1 FROM ota.fleet f WHERE f.fleet = clear_windows.fleet FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'P0002', MESSAGE = format('there is no fleet "%s"', clear_windows.fleet),
            HINT = 'The fleets are in the table ota.fleet.';
    END IF;
    DELETE FROM ota.fleet_window w WHERE w.fleet = clear_windows.fleet;
    GET DIAGNOSTICS removed = ROW_COUNT;
    PERFORM ota.audit('windows_cleared', NULL, NULL,
        jsonb_build_object('fleet', clear_windows.fleet, 'windows', removed, 'reason', 'by operator'));
    PERFORM pg_notify('ota', '');
    RETURN removed;
END
$$;
COMMENT ON FUNCTION ota.clear_windows(text) IS 'Remove all update windows of a fleet';
