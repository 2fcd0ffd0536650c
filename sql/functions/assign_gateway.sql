-- Operators: say which client speaks for a device.

CREATE OR REPLACE FUNCTION ota.assign_gateway(device_id text, gateway text DEFAULT NULL)
RETURNS void
LANGUAGE plpgsql SET search_path = ota, pg_temp AS $$
-- Let a gateway report for a device and carry its notices.  The device is made, in fleet "default", when it does not exist.
-- It counts as away until its new gateway speaks for it.
-- gateway: the identity of an MQTT client, not the device itself; null: the device speaks for itself again.
-- Errors: 22023 an argument is not acceptable.
#variable_conflict use_column
DECLARE
    former  text;
BEGIN
    PERFORM ota.check_name('device', assign_gateway.device_id);
    IF assign_gateway.gateway IS NOT NULL THEN
        PERFORM ota.check_name('gateway', assign_gateway.gateway);
        IF assign_gateway.gateway = assign_gateway.device_id THEN
            RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = format('device "%s" cannot be its own gateway', assign_gateway.device_id),
                HINT = 'Accepted is another client; null for a device that speaks for itself.';
        END IF;
    END IF;
    INSERT INTO ota.device (device_id) VALUES (assign_gateway.device_id) ON CONFLICT DO NOTHING;
    -- The updates before the device: the order in which brokers lock them.
    PERFORM 1 FROM ota.device_update u
      WHERE u.device_id = assign_gateway.device_id
        AND u.state IN ('pending', 'notified', 'downloading', 'verifying', 'applying', 'rebooting')
      ORDER BY u.rollout_id FOR UPDATE;
    PERFORM pg_advisory_xact_lock_shared(hashtext('ota.listening'));
    SELECT d.gateway INTO former FROM ota.device d WHERE d.device_id = assign_gateway.device_id FOR UPDATE;
    IF former IS DISTINCT FROM assign_gateway.gateway THEN
        UPDATE ota.device_update u SET ready = false, granted_at = NULL
         WHERE u.device_id = assign_gateway.device_id AND u.state = 'pending' AND (u.ready OR u.granted_at IS NOT NULL);
        UPDATE ota.device d SET gateway = assign_gateway.gateway, connected = false, listening = false
         WHERE d.device_id = assign_gateway.device_id;
        PERFORM ota.broker_join(ARRAY[assign_gateway.device_id]);
    END IF;
    PERFORM ota.audit('gateway_assigned', assign_gateway.device_id, NULL,
        jsonb_build_object('from', former, 'to', assign_gateway.gateway, 'reason', 'by operator'));
    PERFORM pg_notify('ota', '');
END
$$;
COMMENT ON FUNCTION ota.assign_gateway(text, text) IS 'Let a gateway speak for a device';
