-- Operators: let a fleet download where the manifest says.

CREATE OR REPLACE FUNCTION ota.clear_fleet_url(fleet text, reason text DEFAULT NULL)
RETURNS void
LANGUAGE plpgsql SET search_path = ota, pg_temp AS $$
-- Take away what ota.set_fleet_url has set: notices have the manifest's URL again.
-- fleet: must exist; reason: why, required.
-- Errors: 22023 an argument is not acceptable; P0002 no such fleet.
#variable_conflict use_column
DECLARE
    f    ota.fleet;
    why  text := ota.check_reason(clear_fleet_url.reason, true);
BEGIN
    PERFORM ota.check_name('fleet', clear_fleet_url.fleet);
    SELECT o.* INTO f FROM ota.fleet o WHERE o.fleet = clear_fleet_url.fleet FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'P0002', MESSAGE = format('there is no fleet "%s"', clear_fleet_url.fleet),
            HINT = 'The fleets are in the table ota.fleet.';
    END IF;
    UPDATE ota.fleet o SET url_template = NULL, url_credential = NULL WHERE o.fleet = f.fleet;
    PERFORM ota.audit('fleet_url_cleared', NULL, NULL, jsonb_build_object('fleet', f.fleet,
        'former_template', f.url_template, 'former_credential', f.url_credential, 'reason', why));
    PERFORM pg_notify('ota', '');
END
$$;
COMMENT ON FUNCTION ota.clear_fleet_url(text, text) IS 'Let a fleet''s devices download where the manifest says';
