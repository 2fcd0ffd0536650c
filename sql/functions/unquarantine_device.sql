-- Operators: let a device take part in rollouts again.

CREATE OR REPLACE FUNCTION ota.unquarantine_device(device_id text, reason text)
RETURNS void
LANGUAGE plpgsql SET search_path = ota, pg_temp AS $$
-- Take a device out of quarantine, with its count of failures at 0; it joins the rollouts that are open to the whole fleet and that it has
-- not been in.  For another try in one where it has failed call ota.retry_device after this.
-- device_id: which; reason: why, required.
-- Errors: 22023 an argument is not acceptable; P0002 no such device; 55000 it is not in quarantine.
#variable_conflict use_column
DECLARE
    d    ota.device;
    why  text := ota.check_reason(unquarantine_device.reason, true);
BEGIN
    PERFORM ota.check_name('device', unquarantine_device.device_id);
    PERFORM pg_advisory_xact_lock_shared(hashtext('ota.listening'));
    SELECT o.* INTO d FROM ota.device o WHERE o.device_id = unquarantine_device.device_id FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'P0002', MESSAGE = format('there is no device "%s"', unquarantine_device.device_id),
            HINT = 'The devices are in the table ota.device.';
    ELSIF d.quarantined_at IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = '55000', MESSAGE = format('device "%s" is not in quarantine', d.device_id),
            HINT = 'Those in quarantine are in the view ota.quarantine.';
    END IF;
    UPDATE ota.device o SET failures = 0, quarantined_at = NULL WHERE o.device_id = d.device_id;
    PERFORM ota.broker_join(ARRAY[d.device_id::text]);
    PERFORM ota.audit('device_unquarantined', d.device_id, NULL,
        jsonb_build_object('since', d.quarantined_at, 'failures', d.failures, 'reason', why));
    PERFORM pg_notify('ota', '');
END
$$;
COMMENT ON FUNCTION ota.unquarantine_device(text, text) IS 'Take a device out of quarantine';
