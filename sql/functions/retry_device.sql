-- Operators: give a device another try.

CREATE OR REPLACE FUNCTION ota.retry_device(rollout_id bigint, device_id text, reason text)
RETURNS void
LANGUAGE plpgsql SET search_path = ota, pg_temp AS $$
-- Put a device that failed, rejected, timed out or was cancelled back in the queue of its rollout, with all its retries.
-- rollout_id, device_id: which; reason: why, required.
-- Errors: 22023 an argument is not acceptable; P0002 no such rollout, or the device is not in it; 55000 not possible now.
#variable_conflict use_column
DECLARE
    r    ota.rollout;
    u    ota.device_update;
    d    ota.device;
    why  text := ota.check_reason(retry_device.reason, true);
BEGIN
    PERFORM ota.check_name('device', retry_device.device_id);
    SELECT o.* INTO r FROM ota.rollout o WHERE o.rollout_id = retry_device.rollout_id FOR SHARE;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'P0002', MESSAGE = format('there is no rollout %s', coalesce(retry_device.rollout_id::text, '(null)')),
            HINT = 'The rollouts are in the view ota.rollout_progress.';
    ELSIF r.state NOT IN ('running', 'paused', 'completed') THEN
        RAISE EXCEPTION USING ERRCODE = '55000', MESSAGE = format('rollout %s is %s: a device cannot be retried', r.rollout_id, r.state),
            HINT = 'Accepted is a running, paused or completed rollout.';
    ELSIF r.device_id IS NOT NULL AND r.state = 'completed' THEN
        RAISE EXCEPTION USING ERRCODE = '55000', MESSAGE = format('rollout %s of the pinned device "%s" is over', r.rollout_id, r.device_id),
            HINT = 'Pin the device again with ota.pin_device.';
    END IF;
    -- The update before the device: the order in which brokers lock them.
    SELECT o.* INTO u FROM ota.device_update o
     WHERE o.rollout_id = r.rollout_id AND o.device_id = retry_device.device_id FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'P0002', MESSAGE = format('device "%s" is not in rollout %s', retry_device.device_id, r.rollout_id),
            HINT = 'The devices of a rollout are in the table ota.device_update.';
    ELSIF u.state NOT IN ('failed', 'rolled_back', 'timed_out', 'rejected', 'cancelled') THEN
        RAISE EXCEPTION USING ERRCODE = '55000', MESSAGE = format('device "%s" is %s in rollout %s', u.device_id, u.state, r.rollout_id),
            HINT = 'A device that failed, rolled back, timed out, rejected or was cancelled can be retried.';
    END IF;
    -- Locked, so that whoever starts or stops listening now finds the row pending.
    SELECT o.* INTO d FROM ota.device o WHERE o.device_id = u.device_id FOR SHARE;
    IF d.fleet IS DISTINCT FROM r.fleet THEN
        RAISE EXCEPTION USING ERRCODE = '55000',
            MESSAGE = format('device "%s" is in fleet "%s", rollout %s is of "%s"', u.device_id, coalesce(d.fleet, '(none)'), r.rollout_id, r.fleet),
            HINT = 'Assign the device to the rollout''s fleet first.';
    END IF;
    IF d.quarantined_at IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = '55000',
            MESSAGE = format('device "%s" is in quarantine since %s: %s failed updates in a row', u.device_id, date_trunc('second', d.quarantined_at), d.failures),
            HINT = 'Let it take part again with ota.unquarantine_device first.';
    END IF;
    UPDATE ota.device_update
       SET state = 'pending', attempt = u.attempt + 1, retries_used = 0, attempts_failed = 0, error = NULL, not_before = NULL,
           granted_at = NULL, retell_at = NULL, recall = false, notified_at = NULL, deadline = NULL, finished_at = NULL,
           ready = d.listening, step_release_id = NULL
     WHERE rollout_id = u.rollout_id AND device_id = u.device_id;
    -- What an operator's resume had forgiven, or the pacing had seen, may have been this failure.
    UPDATE ota.rollout_stage
       SET forgiven_failed = least(forgiven_failed, failed), pacing_bad = least(pacing_bad, attempts_failed)
     WHERE rollout_id = u.rollout_id AND stage = u.served_stage
       AND (forgiven_failed > failed OR pacing_bad > attempts_failed);
    PERFORM ota.audit('device_retry', u.device_id, u.rollout_id,
        jsonb_build_object('from', u.state, 'error', u.error, 'attempt', u.attempt + 1, 'reason', why));
    PERFORM pg_notify('ota', '');
END
$$;
COMMENT ON FUNCTION ota.retry_device(bigint, text, text) IS 'Put a device back in the queue of its rollout';
