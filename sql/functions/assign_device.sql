-- Operators: say which fleet a device belongs to.

CREATE OR REPLACE FUNCTION ota.assign_device(device_id text, fleet text)
RETURNS void
LANGUAGE plpgsql SET search_path = ota, pg_temp AS $$
-- Put a device into a fleet; from then on only an operator moves it.  Device and fleet are made when they do not exist.
-- In rollouts of its former fleet it waits no longer, and is recalled when it was told and has not begun.  A pin goes with it.
-- Errors: 22023 an argument is not acceptable.
#variable_conflict use_column
DECLARE
    former  text;
BEGIN
    PERFORM ota.check_name('device', assign_device.device_id);
    PERFORM ota.check_name('fleet', assign_device.fleet);
    INSERT INTO ota.fleet (fleet) VALUES (assign_device.fleet) ON CONFLICT DO NOTHING;
    IF FOUND THEN
        PERFORM ota.audit('fleet_added', NULL, NULL,
            jsonb_build_object('fleet', assign_device.fleet, 'reason', 'a device was assigned to it'));
    END IF;
    UPDATE ota.rollout SET fleet = assign_device.fleet
     WHERE device_id = assign_device.device_id AND fleet <> assign_device.fleet
       AND state IN ('scheduled', 'running', 'paused', 'halted');
    -- The updates before the device: the order in which brokers lock them.
    PERFORM 1 FROM ota.device_update u
      WHERE u.device_id = assign_device.device_id
        AND u.state IN ('pending', 'notified', 'downloading', 'verifying', 'applying', 'rebooting')
      ORDER BY u.rollout_id FOR UPDATE;
    SELECT d.fleet INTO former FROM ota.device d WHERE d.device_id = assign_device.device_id FOR UPDATE;
    INSERT INTO ota.device (device_id, fleet, fleet_from) VALUES (assign_device.device_id, assign_device.fleet, 'operator')
    ON CONFLICT ON CONSTRAINT device_pkey DO UPDATE SET fleet = excluded.fleet, fleet_from = 'operator';

    UPDATE ota.device_update u
       SET state = 'cancelled', error = 'REASSIGNED', finished_at = now(), ready = false, retell_at = NULL,
           recall = u.state = 'notified'
      FROM ota.rollout r
     WHERE r.rollout_id = u.rollout_id AND r.fleet <> assign_device.fleet AND r.device_id IS NULL
       AND u.device_id = assign_device.device_id AND u.state IN ('pending', 'notified');
    UPDATE ota.device_update u
       SET recall = true
      FROM ota.rollout r
     WHERE r.rollout_id = u.rollout_id AND r.fleet <> assign_device.fleet AND r.device_id IS NULL
       AND u.device_id = assign_device.device_id AND u.state IN ('downloading', 'verifying');
    PERFORM ota.broker_join(ARRAY[assign_device.device_id]);
    PERFORM ota.audit('device_assigned', assign_device.device_id, NULL,
        jsonb_build_object('from', former, 'to', assign_device.fleet, 'reason', 'by operator'));
    PERFORM pg_notify('ota', '');
END
$$;
COMMENT ON FUNCTION ota.assign_device(text, text) IS 'Put a device into a fleet';
