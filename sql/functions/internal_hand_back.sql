-- Devices whose rows a stage has opened as notified, and that nobody has told.

CREATE OR REPLACE FUNCTION ota.is_untold(u ota.device_update, h ota.hand_out)
RETURNS boolean
LANGUAGE sql IMMUTABLE
    -- Is this a row that h has not handed out yet?  By index: u.deadline, with the condition of device_update_deadline.  A device that has
    -- said something since, or was cancelled, is in another state; one that was told again has another notified_at.
    RETURN u.deadline >= h.done_deadline AND u.deadline <= h.last_deadline AND (u.deadline, u.device_id) > (h.done_deadline, h.done_device)
       AND u.state IN ('notified', 'downloading', 'verifying', 'applying', 'rebooting') AND (u.state = 'notified') IS TRUE
       AND u.rollout_id = h.rollout_id AND u.broker = h.broker AND u.notified_at = h.opened_at;
COMMENT ON FUNCTION ota.is_untold(ota.device_update, ota.hand_out) IS 'Internal: is this a device that is to be told next, and has not been?';

CREATE OR REPLACE FUNCTION ota.hand_back(i_rollout_id bigint, i_slots boolean)
RETURNS bigint
LANGUAGE plpgsql SET search_path = ota, pg_temp SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
-- End the handing out of a rollout's stage: who has not been handed out is pending again, as if it had joined with a slot (i_slots) or
-- without.  Who has been is left alone.  Returns how many; null: nothing is being handed out.
-- Waits for the page that is being handed out.  Locks the row of ota.hand_out, then those of the devices, then who is listening; a
-- caller that needs more rows of devices locks all of them before, see ota.rollout_lock_rows().
DECLARE
    h         ota.hand_out;
    returned  bigint;
BEGIN
    DELETE FROM ota.hand_out o WHERE o.rollout_id = i_rollout_id RETURNING * INTO h;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    PERFORM 1 FROM ota.device_update u WHERE ota.is_untold(u, h) ORDER BY u.device_id FOR UPDATE;
    -- Whoever starts or stops listening from here on finds the rows pending, see broker_write().
    PERFORM pg_advisory_xact_lock(hashtext('ota.listening'));
    UPDATE ota.device_update u
       SET state = 'pending', notified_at = NULL, deadline = NULL, told_session = 0, boots = 0, boots_since = NULL, retell_at = NULL,
           ready = d.listening, granted_at = CASE WHEN i_slots AND d.listening AND d.broker = u.broker AND d.gateway IS NULL THEN now() END
      FROM ota.device d
     WHERE ota.is_untold(u, h) AND d.device_id = u.device_id;
    GET DIAGNOSTICS returned = ROW_COUNT;
    PERFORM pg_notify('ota', 'grant');
    RETURN returned;
END
$$;
COMMENT ON FUNCTION ota.hand_back(bigint, boolean) IS 'Internal: devices of a stage that were to be told next, and were not, are pending again';
