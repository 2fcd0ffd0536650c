-- Operators: hold one device at a version.

CREATE OR REPLACE FUNCTION ota.pin_leave_rollouts(i_device_id text, i_version text)
RETURNS void
LANGUAGE sql SET search_path = ota, pg_temp AS $$
    -- A pinned device leaves the rollouts of other versions: it waits no longer, is recalled when it was told and has not begun to
    -- apply.  What it applies runs to its end.  The caller holds the locks of its open updates.
    UPDATE ota.device_update u
       SET state = 'cancelled', error = 'PINNED', finished_at = now(), ready = false, granted_at = NULL, retell_at = NULL,
           recall = u.state = 'notified'
      FROM ota.rollout r JOIN ota.release l ON l.release_id = r.release_id
     WHERE r.rollout_id = u.rollout_id AND u.device_id = i_device_id
       -- Waiting for the very version is no use either: the pin's own rollout brings it now.
       AND (u.state = 'pending' OR u.state = 'notified' AND l.version <> i_version);
    UPDATE ota.device_update u
       SET recall = true
      FROM ota.rollout r JOIN ota.release l ON l.release_id = r.release_id
     WHERE r.rollout_id = u.rollout_id AND u.device_id = i_device_id AND l.version <> i_version
       AND u.state IN ('downloading', 'verifying');
$$;
COMMENT ON FUNCTION ota.pin_leave_rollouts(text, text) IS 'Internal: take a pinned device out of the rollouts of other versions';

CREATE OR REPLACE FUNCTION ota.pin_release(i_version text)
RETURNS ota.release
LANGUAGE plpgsql STABLE SET search_path = ota, pg_temp AS $$
-- The release of a version that somebody is to be brought to.  Errors: P0002 no such release; 55000 not verified.
DECLARE
    r  ota.release;
BEGIN
    SELECT * INTO r FROM ota.release WHERE version = i_version ORDER BY state = 'rejected', release_id DESC LIMIT 1;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'P0002', MESSAGE = format('there is no release %s', i_version),
            HINT = 'Accepted is a verified release, or the version that runs already; ota.add_release submits one.';
    ELSIF r.state <> 'verified' THEN
        RAISE EXCEPTION USING ERRCODE = '55000',
            MESSAGE = format('release %s is %s, not verified', i_version, r.state) || coalesce(': ' || r.reason, ''),
            HINT = 'Accepted is a verified release, or the version that runs already.';
    END IF;
    RETURN r;
END
$$;
COMMENT ON FUNCTION ota.pin_release(text) IS 'Internal: the verified release of a version, or an error';

CREATE OR REPLACE FUNCTION ota.pin_rollout(i_device ota.device, i_release ota.release, i_reason text)
RETURNS bigint
LANGUAGE plpgsql SET search_path = ota, pg_temp AS $$
-- Begin the rollout that brings a pinned device to its version: one stage of one device, open at once, at any time of the day.
-- The time-outs and retries are those of the plan "standard".  The caller holds the fleet and the device.
DECLARE
    id  bigint;
BEGIN
    INSERT INTO ota.rollout (fleet, release_id, plan, reason, success_threshold, health_timeout, download_timeout, retries, options,
            any_time, device_id)
    SELECT i_device.fleet, i_release.release_id, 'pin', i_reason, 1, coalesce(p.health_timeout, interval '60 seconds'),
           coalesce(p.download_timeout, interval '1 hour'), coalesce(p.retries, 0),
           jsonb_build_object('reboot', coalesce((p.options ->> 'reboot')::boolean, true)), true, i_device.device_id
      FROM (SELECT) AS always LEFT JOIN ota.plan p ON p.plan = 'standard'
    RETURNING rollout_id INTO id;
    INSERT INTO ota.rollout_stage (rollout_id, stage, label, percent, wait, min_devices, hold)
    VALUES (id, 1, 'pin', 100, interval '0', 1, false);
    PERFORM ota.audit('rollout', NULL, id, jsonb_build_object('from', NULL, 'to', 'scheduled', 'event', 'create', 'reason', i_reason,
        'fleet', i_device.fleet, 'version', i_release.version, 'plan', 'pin', 'device', i_device.device_id));
    PERFORM ota.rollout_step(id, 'start', i_reason, NULL);
    INSERT INTO ota.device_update (rollout_id, device_id, stage, rank, ready, from_version, site)
    VALUES (id, i_device.device_id, 1, ota.cohort_rank(id, i_device.device_id), i_device.listening, i_device.version,
            i_device.attributes ->> 'site');
    UPDATE ota.rollout_stage
       SET state = 'open', opened_at = now(), wait_until = now(), eligible = 1, cohort = 1, added = 1
     WHERE rollout_id = id;
    UPDATE ota.rollout
       SET current_stage = 1, next_action = 'tell the device as soon as it can be reached', next_at = NULL
     WHERE rollout_id = id;
    RETURN id;
END
$$;
COMMENT ON FUNCTION ota.pin_rollout(ota.device, ota.release, text) IS 'Internal: begin the rollout of a pinned device';

CREATE OR REPLACE FUNCTION ota.pin_device(device_id text, version text, reason text)
RETURNS bigint
LANGUAGE plpgsql SET search_path = ota, pg_temp AS $$
-- Hold a device at a version, whatever rollouts say: it leaves those of other versions, and is told of this one at once, in a
-- rollout of its own, outside the update windows too.
-- device_id: must exist; version: of a verified release, or what the device runs now; reason: why, required.
-- Returns the number of the rollout that brings it there; null when it is there.
-- Errors: 22023 an argument is not acceptable; P0002 no such device or release; 55000 the device cannot be given the release.
#variable_conflict use_column
DECLARE
    d      ota.device;
    r      ota.release;
    said   record;
    id     bigint;
    other  bigint;
    why    text := ota.check_reason(pin_device.reason, true);
    problem  text;
BEGIN
    PERFORM ota.check_name('device', pin_device.device_id);
    PERFORM ota.check_version('version', pin_device.version);
    SELECT o.* INTO d FROM ota.device o WHERE o.device_id = pin_device.device_id;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'P0002', MESSAGE = format('there is no device "%s"', pin_device.device_id),
            HINT = 'The devices are in the table ota.device; ota.assign_device makes one.';
    END IF;
    -- Fleet, rollouts, updates, device: the order in which everybody locks them.
    PERFORM 1 FROM ota.fleet f WHERE f.fleet = d.fleet FOR NO KEY UPDATE;
    PERFORM 1 FROM ota.rollout o
      WHERE o.device_id = pin_device.device_id AND o.state IN ('scheduled', 'running', 'paused', 'halted')
      ORDER BY o.rollout_id FOR UPDATE;
    PERFORM 1 FROM ota.device_update u
      WHERE u.device_id = pin_device.device_id
        AND u.state IN ('pending', 'notified', 'downloading', 'verifying', 'applying', 'rebooting')
      ORDER BY u.rollout_id FOR UPDATE;
    -- Is it on its way there?
    SELECT o.rollout_id INTO id
      FROM ota.rollout o
      JOIN ota.release l ON l.release_id = o.release_id AND l.version = pin_device.version
      JOIN ota.device_update u ON u.rollout_id = o.rollout_id AND u.device_id = pin_device.device_id
     WHERE o.state IN ('running', 'completed') AND (u.state IN ('notified', 'downloading', 'verifying', 'applying', 'rebooting')
        OR u.state = 'pending' AND o.device_id = u.device_id AND d.pinned_version = l.version)
     ORDER BY o.rollout_id DESC LIMIT 1;
    FOR other IN SELECT o.rollout_id FROM ota.rollout o
                  WHERE o.device_id = pin_device.device_id AND o.state IN ('scheduled', 'running', 'paused', 'halted')
                    AND o.rollout_id IS DISTINCT FROM id
                  ORDER BY o.rollout_id
    LOOP
        PERFORM ota.rollout_step(other, 'supersede', format('the device is pinned to %s: %s', pin_device.version, why), NULL);
    END LOOP;
    IF id IS NULL OR NOT EXISTS (SELECT FROM ota.rollout o WHERE o.rollout_id = id AND o.device_id IS NOT NULL) THEN
        PERFORM ota.pin_leave_rollouts(pin_device.device_id, pin_device.version);
    END IF;
    PERFORM pg_advisory_xact_lock_shared(hashtext('ota.listening'));
    UPDATE ota.device o SET pinned_version = pin_device.version WHERE o.device_id = pin_device.device_id;
    SELECT o.* INTO d FROM ota.device o WHERE o.device_id = pin_device.device_id;
    IF id IS NULL AND d.version IS DISTINCT FROM pin_device.version THEN
        r := ota.pin_release(pin_device.version);
        SELECT e.reason, e.code INTO said FROM ota.eligible_devices(d.fleet, r.release_id, ARRAY[d.device_id::text]) e;
        IF said.reason IS NOT NULL THEN
            RAISE EXCEPTION USING ERRCODE = '55000',
                MESSAGE = format('device "%s" cannot be given %s: %s', d.device_id, r.version, said.reason),
                HINT = CASE said.code WHEN 'old_sequence'
                    THEN format('Going back to older firmware needs a manifest with a sequence above %s: sign the old binary as a new release and pin the device to that.', d.sequence)
                    WHEN 'quarantined' THEN 'Let it take part again with ota.unquarantine_device first.'
                    ELSE 'Accepted is a release whose manifest allows this device.' END;
        END IF;
        problem := ota.fleet_url_problem(d.fleet, r.url);
        IF problem IS NOT NULL THEN
            RAISE EXCEPTION USING ERRCODE = '55000', MESSAGE = format('no URL of release %s can be made for device "%s": %s', r.version, d.device_id, problem),
                HINT = format('Fleet "%s" has a URL of its own: sign the release with a URL that is a plain path behind the host, or use ota.clear_fleet_url.', d.fleet);
        END IF;
        id := ota.pin_rollout(d, r, why);
    END IF;
    PERFORM ota.audit('device_pinned', d.device_id, id, jsonb_build_object('version', pin_device.version, 'runs', d.version, 'reason', why));
    PERFORM pg_notify('ota', '');
    RETURN id;
END
$$;
COMMENT ON FUNCTION ota.pin_device(text, text, text) IS 'Hold a device at a version, and bring it there at once';
