-- The rows of a new rollout.

CREATE OR REPLACE FUNCTION ota.rollout_create(i_fleet text, i_release ota.release, i_plan text, i_start_at timestamptz,
    i_reason text, i_emergency boolean)
RETURNS bigint
LANGUAGE plpgsql SET search_path = ota, pg_temp AS $$
-- Insert a scheduled rollout and its stages, a copy of the plan, after ota.rollout_prepare() has found that it can begin.
-- i_start_at: null or past: now; one of a release that is still to be verified waits for that too, and leaves the fleet's other
-- rollouts alone until it starts.  i_emergency: one stage of the whole fleet, at any time.  Returns its number.
-- Errors: 55000 no device could ever be told: the manifest is for other fleets, or expires before the start.
DECLARE
    starts  timestamptz := greatest(i_start_at, now());
    id      bigint;
BEGIN
    -- It would take the place of a rollout that does reach devices.
    IF starts >= i_release.expires THEN
        RAISE EXCEPTION USING ERRCODE = '55000', MESSAGE = format('release %s ', i_release.version)
                || CASE WHEN now() >= i_release.expires THEN format('has expired at %s', i_release.expires)
                        ELSE format('expires at %s, the rollout starts at %s', i_release.expires, starts) END,
            HINT = 'No device is told of it after that. Sign the binary again, as a new version with a higher sequence and a later time in "expires".';
    ELSIF NOT i_fleet = ANY (i_release.fleets) THEN
        RAISE EXCEPTION USING ERRCODE = '55000', MESSAGE = format('release %s is not for fleet "%s"', i_release.version, i_fleet),
            HINT = format('Its signed manifest is for %s. Start it for one of them, or sign it for this fleet as a new version with a higher sequence.',
                array_to_string(i_release.fleets, ', '));
    END IF;
    INSERT INTO ota.rollout (fleet, release_id, plan, reason, start_at, next_action, next_at, success_threshold, health_timeout,
            download_timeout, max_in_flight, per_minute, retries, options, any_time)
    SELECT i_fleet, i_release.release_id, p.plan, i_reason, coalesce(i_start_at, now()),
           CASE i_release.state WHEN 'submitted' THEN 'starts when a broker has verified the release' ELSE 'starts' END,
           starts, p.success_threshold, p.health_timeout, p.download_timeout, p.max_in_flight,
           p.per_minute, p.retries, p.options, i_emergency
      FROM ota.plan p WHERE p.plan = i_plan
    RETURNING rollout_id INTO id;
    IF i_emergency THEN
        INSERT INTO ota.rollout_stage (rollout_id, stage, label, percent, wait, min_devices, hold)
        VALUES (id, 1, 'emergency', 100, interval '0', 1, false);
    ELSE
        INSERT INTO ota.rollout_stage (rollout_id, stage, label, percent, wait, min_devices, hold)
        SELECT id, s.stage, s.label, s.percent, s.wait, s.min_devices, s.hold
          FROM ota.plan_stage s WHERE s.plan = i_plan;
    END IF;
    PERFORM ota.audit('rollout', NULL, id, jsonb_build_object('from', NULL, 'to', 'scheduled', 'event', 'create', 'reason', i_reason,
        'fleet', i_fleet, 'version', i_release.version, 'plan', i_plan, 'emergency', i_emergency,
        'start_at', coalesce(i_start_at, now())));
    IF i_release.state <> 'submitted' AND coalesce(i_start_at <= now(), true) THEN
        PERFORM ota.rollout_supersede_others(id);
    END IF;
    RETURN id;
END
$$;
COMMENT ON FUNCTION ota.rollout_create(text, ota.release, text, timestamptz, text, boolean) IS 'Internal: insert a rollout with its stages';
