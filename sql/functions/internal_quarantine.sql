-- Devices that fail again and again are left out until somebody has looked at them.

CREATE OR REPLACE FUNCTION ota.quarantine_count(i_devices text[], i_rollouts bigint[], i_states text[])
RETURNS void
LANGUAGE plpgsql SET search_path = ota, pg_temp AS $$
-- Count how device updates ended: i_states are what they have become.  A success starts the count anew; with as many failures
-- in a row as its fleet allows a device goes into quarantine.  The caller holds the updates.
DECLARE
    d  record;
BEGIN
    UPDATE ota.device o SET failures = 0, quarantined_at = NULL
      FROM unnest(i_devices, i_states) AS x (device, state)
     WHERE x.state = 'succeeded' AND o.device_id = x.device AND (o.failures > 0 OR o.quarantined_at IS NOT NULL);
    FOR d IN
        UPDATE ota.device o
           SET failures = o.failures + 1,
               quarantined_at = CASE WHEN o.quarantined_at IS NULL AND o.failures + 1 >= f.quarantine_after THEN now()
                                     ELSE o.quarantined_at END
          FROM unnest(i_devices, i_rollouts, i_states) AS x (device, rollout, state), ota.fleet f
         WHERE x.state IN ('failed', 'rolled_back', 'timed_out') AND o.device_id = x.device AND f.fleet = o.fleet
        RETURNING o.device_id, x.rollout, o.failures, o.quarantined_at = now() AS fresh
    LOOP
        IF d.fresh THEN
            PERFORM ota.audit('device_quarantined', d.device_id, d.rollout, jsonb_build_object('failures', d.failures,
                'reason', format('%s failed updates in a row', d.failures), 'by', 'controller'));
        END IF;
    END LOOP;
END
$$;
COMMENT ON FUNCTION ota.quarantine_count(text[], bigint[], text[]) IS 'Internal: count failures in a row, and put devices into quarantine';
