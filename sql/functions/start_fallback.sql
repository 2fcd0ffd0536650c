-- Operators: bring devices back from a halted release.

CREATE OR REPLACE FUNCTION ota.start_fallback(id bigint, reason text, version text DEFAULT NULL)
RETURNS bigint
LANGUAGE plpgsql SET search_path = ota, pg_temp AS $$
-- Begin the way back from a halted rollout: a rollout of another release, in the same stages, to the devices of the fleet that run the
-- halted one, those that end up on it later included.  A plan with the option "fallback" does this by itself; this is for the
-- others, and for when it was not possible at the halt.
-- id: the halted rollout; reason: why, required; version: of the release to return to (null: the plan's fallback), with a sequence
-- above the halted one's.
-- Returns the number of the new rollout.  Errors: 22023 an argument is not acceptable; P0002 no such rollout; 55000 it is not
-- halted, or there is no way back to that version.
#variable_conflict use_column
DECLARE
    r        ota.rollout;
    target   text;
    other    record;
    problem  text;
    why      text := ota.check_reason(start_fallback.reason, true);
BEGIN
    IF start_fallback.version IS NOT NULL THEN
        PERFORM ota.check_version('version', start_fallback.version);
    END IF;
    r := ota.fallback_lock(start_fallback.id, start_fallback.version);
    IF r.rollout_id IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'P0002', MESSAGE = format('there is no rollout %s', coalesce(start_fallback.id::text, '(null)')),
            HINT = 'The rollouts are in the view ota.rollout_progress.';
    ELSIF r.state <> 'halted' OR r.device_id IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = '55000',
            MESSAGE = CASE WHEN r.device_id IS NOT NULL THEN format('rollout %s is of the pinned device "%s"', r.rollout_id, r.device_id)
                           ELSE format('rollout %s is %s, not halted', r.rollout_id, r.state) END,
            HINT = CASE WHEN r.device_id IS NOT NULL THEN 'Pin the device to another version with ota.pin_device.'
                        ELSE 'Accepted is a halted rollout; ota.halt_rollout halts one.' END;
    END IF;
    target := coalesce(start_fallback.version, r.options ->> 'fallback');
    IF target IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = 'the version is missing',
            HINT = format('The plan of rollout %s names no fallback: give the version of a verified release with a higher sequence.', r.rollout_id);
    END IF;
    SELECT o.rollout_id, o.state INTO other FROM ota.rollout o
     WHERE o.fleet = r.fleet AND o.device_id IS NULL AND o.state IN ('running', 'paused') LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION USING ERRCODE = '55000', MESSAGE = format('rollout %s of fleet "%s" is %s', other.rollout_id, r.fleet, other.state),
            HINT = 'A fleet has one active rollout at a time; cancel it first.';
    END IF;
    problem := ota.fallback_refused(r, target);
    IF problem IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = '55000', MESSAGE = format('rollout %s has no way back to %s: %s', r.rollout_id, target, problem),
            HINT = 'Accepted is a verified release for this fleet whose sequence is above the halted one''s: sign the earlier binary as a new release.';
    END IF;
    RETURN ota.fallback_begin(r, target, left(format('fallback of rollout %s: %s', r.rollout_id, why), 1024), NULL);
END
$$;
COMMENT ON FUNCTION ota.start_fallback(bigint, text, text) IS 'Begin the way back from a halted rollout; returns the new rollout''s number';
