-- Operators: send a release to a fleet.

CREATE OR REPLACE FUNCTION ota.start_rollout(fleet text, version text, plan text DEFAULT 'standard',
    start_at timestamptz DEFAULT NULL, reason text DEFAULT NULL)
RETURNS bigint
LANGUAGE plpgsql SET search_path = ota, pg_temp AS $$
-- Create a rollout: scheduled, until the controller (one of the brokers) starts it, which it does at once unless start_at is ahead.
-- fleet, version, plan: which release goes to whom and how; the plan is copied.  start_at: when, null or past: now.  reason: why.
-- Other rollouts of the fleet are superseded when this one starts; a scheduled one that waits for a later time with a newer release stays.
-- A reason that begins with "emergency:" and goes on makes it one stage of the whole fleet, whatever the plan's stages and the
-- fleet's update windows; slow start and early halt still hold.
-- Returns the rollout's number.  Errors: 22023 an argument is not acceptable; P0002 no such fleet, release or plan;
-- 55000 the release is not verified, has expired by the start or is for other fleets, its URL has no place in the fleet's (ota.set_fleet_url), the fleet is pinned elsewhere or in a rollout of
-- a release that is as new.
#variable_conflict use_column
DECLARE
    r          ota.release;
    why        text := ota.check_reason(start_rollout.reason, false);
    emergency  boolean := lower(why) LIKE 'emergency:%';
BEGIN
    IF start_rollout.start_at IN ('infinity', '-infinity') THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = format('start_at is %s', start_rollout.start_at),
            HINT = 'Accepted is a time; null for now.';
    ELSIF emergency AND btrim(substr(why, 11)) = '' THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = 'the emergency has no reason',
            HINT = 'Say what the emergency is: "emergency: ..."; it is kept in the audit log.';
    END IF;
    r := ota.rollout_prepare(start_rollout.fleet, start_rollout.version, start_rollout.plan, false);
    RETURN ota.rollout_create(start_rollout.fleet, r, start_rollout.plan, start_rollout.start_at, why, emergency);
END
$$;
COMMENT ON FUNCTION ota.start_rollout(text, text, text, timestamptz, text) IS 'Start a rollout of a release to a fleet by a plan; returns its number';
