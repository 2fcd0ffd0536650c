-- Operators: let a device follow rollouts again.

CREATE OR REPLACE FUNCTION ota.unpin_device(device_id text)
RETURNS void
LANGUAGE plpgsql SET search_path = ota, pg_temp AS $$
-- Take a device's pin away.  Its pin's rollout is cancelled when it has not begun to apply; the device waits again in the
-- rollouts that it had left, and joins those that are open to the whole fleet.
-- Errors: 22023 the argument is not acceptable; P0002 no such device; 55000 it is not pinned.
#variable_conflict use_column
DECLARE
    d       ota.device;
    former  text;
    other   bigint;
BEGIN
    PERFORM ota.check_name('device', unpin_device.device_id);
    SELECT o.* INTO d FROM ota.device o WHERE o.device_id = unpin_device.device_id;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'P0002', MESSAGE = format('there is no device "%s"', unpin_device.device_id),
            HINT = 'The devices are in the table ota.device.';
    END IF;
    -- The same order of locks as in ota.pin_device; other pins of the device wait for the fleet.
    PERFORM 1 FROM ota.fleet f WHERE f.fleet = d.fleet FOR NO KEY UPDATE;
    SELECT o.* INTO d FROM ota.device o WHERE o.device_id = unpin_device.device_id;
    IF d.pinned_version IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = '55000', MESSAGE = format('device "%s" is not pinned', d.device_id),
            HINT = 'The pins are in the columns pinned_version of ota.device and ota.fleet.';
    END IF;
    former := d.pinned_version;
    PERFORM 1 FROM ota.rollout o
      WHERE (o.device_id = d.device_id AND o.state IN ('scheduled', 'running', 'paused', 'halted'))
         OR (o.fleet = d.fleet AND o.device_id IS NULL AND o.state IN ('running', 'paused', 'completed'))
      ORDER BY o.rollout_id FOR UPDATE;
    PERFORM 1 FROM ota.device_update u
      WHERE u.device_id = d.device_id AND u.rollout_id IN (
            SELECT o.rollout_id FROM ota.rollout o
             WHERE o.device_id = d.device_id OR o.fleet = d.fleet AND o.device_id IS NULL)
      ORDER BY u.rollout_id FOR UPDATE;
    FOR other IN SELECT o.rollout_id FROM ota.rollout o
                  WHERE o.device_id = d.device_id AND o.state IN ('scheduled', 'running', 'paused', 'halted')
                  ORDER BY o.rollout_id
    LOOP
        PERFORM ota.rollout_step(other, 'cancel', 'the device is no longer pinned', NULL);
    END LOOP;
    PERFORM pg_advisory_xact_lock_shared(hashtext('ota.listening'));
    UPDATE ota.device o SET pinned_version = NULL WHERE o.device_id = d.device_id;
    SELECT o.* INTO d FROM ota.device o WHERE o.device_id = unpin_device.device_id;
    UPDATE ota.device_update u
       SET state = 'pending', attempt = u.attempt + 1, error = NULL, finished_at = NULL, notified_at = NULL, granted_at = NULL,
           deadline = NULL, recall = false, ready = d.listening
      FROM ota.rollout r JOIN ota.release l ON l.release_id = r.release_id
     WHERE u.device_id = d.device_id AND u.state = 'cancelled' AND u.error = 'PINNED' AND r.rollout_id = u.rollout_id
       AND r.fleet = d.fleet AND r.device_id IS NULL AND r.state IN ('running', 'paused', 'completed')
       -- Not what would be a step back, nor what it runs.
       AND l.sequence >= d.sequence AND l.version IS DISTINCT FROM d.version AND d.quarantined_at IS NULL;
    PERFORM ota.broker_join(ARRAY[d.device_id::text]);
    PERFORM ota.audit('device_unpinned', d.device_id, NULL, jsonb_build_object('version', former, 'runs', d.version, 'reason', 'by operator'));
    PERFORM pg_notify('ota', '');
END
$$;
COMMENT ON FUNCTION ota.unpin_device(text) IS 'Let a device follow rollouts again';
