-- The way back after a halt: a rollout of a named release to the devices that run the halted one.

CREATE OR REPLACE FUNCTION ota.fallback_problem(i_fleet text, i_release ota.release, i_version text)
RETURNS text
LANGUAGE plpgsql STABLE SET search_path = ota, pg_temp AS $$
-- Why devices of a fleet that run i_release cannot be returned to i_version, in words; null: they can.
DECLARE
    f        ota.release;
    running  text := ota.version_key(i_release.version);
BEGIN
    IF i_version = i_release.version THEN
        RETURN 'it is the release itself';
    END IF;
    SELECT * INTO f FROM ota.release WHERE version = i_version ORDER BY state = 'rejected', release_id DESC LIMIT 1;
    RETURN CASE
        WHEN f.release_id IS NULL THEN format('there is no release %s', i_version)
        WHEN f.state <> 'verified' THEN format('release %s is %s, not verified', i_version, f.state) || coalesce(': ' || f.reason, '')
        WHEN f.sequence <= i_release.sequence
        THEN format('release %s has sequence %s, %s has %s: going back needs a manifest with a higher one',
            i_version, f.sequence, i_release.version, i_release.sequence)
        WHEN coalesce(cardinality(f.fleets), 0) > 0 AND NOT i_fleet = ANY (f.fleets)
        THEN format('release %s is not for fleet "%s"', i_version, i_fleet)
        WHEN coalesce(cardinality(f.hardware), 0) > 0 AND coalesce(cardinality(i_release.hardware), 0) > 0
             AND NOT f.hardware && i_release.hardware
        THEN format('release %s is for none of the hardware that %s is for', i_version, i_release.version)
        WHEN ota.version_key(f.min_version) > running
        THEN format('release %s has minVersion %s, above %s', i_version, f.min_version, i_release.version)
        WHEN ota.version_key(f.max_version) < running
        THEN format('release %s has maxVersion %s, below %s', i_version, f.max_version, i_release.version)
        WHEN now() >= f.expires THEN format('release %s has expired at %s', i_version, f.expires)
        ELSE format('no URL of release %s can be made for fleet "%s": ', i_version, i_fleet) || ota.fleet_url_problem(i_fleet, f.url)
    END;
END
$$;
COMMENT ON FUNCTION ota.fallback_problem(text, ota.release, text) IS 'Internal: why a version is no way back from a release; null: it is one';

CREATE OR REPLACE FUNCTION ota.fallback_refused(i_rollout ota.rollout, i_version text)
RETURNS text
LANGUAGE sql STABLE SET search_path = ota, pg_temp AS $$
    -- The same for the devices of a halted rollout, now: the fleet's pin counts as well.
    SELECT coalesce(
        (SELECT format('fleet "%s" is pinned to %s', f.fleet, f.pinned_version) FROM ota.fleet f
          WHERE f.fleet = i_rollout.fleet AND f.pinned_version <> i_version),
        (SELECT ota.fallback_problem(i_rollout.fleet, l, i_version) FROM ota.release l WHERE l.release_id = i_rollout.release_id));
$$;
COMMENT ON FUNCTION ota.fallback_refused(ota.rollout, text) IS 'Internal: why a halted rollout has no way back to a version now; null: it has';

CREATE OR REPLACE FUNCTION ota.fallback_begin(i_rollout ota.rollout, i_version text, i_why text, i_who text)
RETURNS bigint
LANGUAGE plpgsql SET search_path = ota, pg_temp AS $$
-- Begin the rollout that returns the devices of a halted one: the same stages and numbers, only devices that run the halted
-- release, no fallback of its own.  After an emergency, which had one stage of everybody, the plan's stages are taken, and the
-- update windows hold.  It counts as started by whoever had started the halted one: an approval stays another's to give.
-- The caller has checked it, and holds the fleet and its rollouts.  i_who: in whose name (null: ota.actor()).
DECLARE
    halted  text := (SELECT l.version FROM ota.release l WHERE l.release_id = i_rollout.release_id);
    id      bigint;
BEGIN
    INSERT INTO ota.rollout (fleet, release_id, plan, reason, created_by, success_threshold, health_timeout, download_timeout,
            max_in_flight, per_minute, retries, options, fallback_of, only_from)
    SELECT i_rollout.fleet, f.release_id, i_rollout.plan, i_why, i_rollout.created_by, i_rollout.success_threshold,
           i_rollout.health_timeout, i_rollout.download_timeout, i_rollout.max_in_flight, i_rollout.per_minute, i_rollout.retries,
           i_rollout.options - 'fallback', i_rollout.rollout_id, halted
      FROM ota.release f WHERE f.version = i_version AND f.state = 'verified'
    RETURNING rollout_id INTO id;
    INSERT INTO ota.rollout_stage (rollout_id, stage, label, percent, wait, min_devices, hold)
    SELECT id, s.stage, s.label, s.percent, s.wait, s.min_devices, s.hold
      FROM ota.rollout_stage s WHERE s.rollout_id = i_rollout.rollout_id AND NOT i_rollout.any_time;
    IF NOT FOUND THEN
        INSERT INTO ota.rollout_stage (rollout_id, stage, label, percent, wait, min_devices, hold)
        SELECT id, s.stage, s.label, s.percent, s.wait, s.min_devices, s.hold
          FROM ota.plan_stage s WHERE s.plan = i_rollout.plan;
    END IF;
    PERFORM ota.audit('rollout', NULL, id, jsonb_build_object('from', NULL, 'to', 'scheduled', 'event', 'create', 'reason', i_why,
        'fleet', i_rollout.fleet, 'version', i_version, 'plan', i_rollout.plan, 'fallback_of', i_rollout.rollout_id, 'only_from', halted,
        'by', coalesce(i_who, ota.actor())));
    PERFORM ota.rollout_step(id, 'start', NULL, i_who);
    UPDATE ota.rollout
       SET fallback_due = false, next_at = NULL,
           next_action = format('rollout %s returns devices that run %s to %s', id, halted, i_version)
     WHERE rollout_id = i_rollout.rollout_id;
    PERFORM ota.audit('fallback', NULL, i_rollout.rollout_id, jsonb_build_object('rollout', id, 'version', i_version,
        'reason', i_why, 'by', coalesce(i_who, ota.actor())));
    RETURN id;
END
$$;
COMMENT ON FUNCTION ota.fallback_begin(ota.rollout, text, text, text) IS 'Internal: begin the way back from a halted rollout';

CREATE OR REPLACE FUNCTION ota.fallback_lock(i_rollout_id bigint, i_version text)
RETURNS ota.rollout
LANGUAGE plpgsql SET search_path = ota, pg_temp AS $$
-- Hold a rollout's fleet, the release to return to (null: the plan's fallback), and then the fleet's rollouts, in the order in which
-- everybody takes them: a revocation holds the release before its rollouts.  Returns the rollout as it is then; nothing but nulls
-- when there is none.
DECLARE
    r  ota.rollout;
BEGIN
    SELECT * INTO r FROM ota.rollout o WHERE o.rollout_id = i_rollout_id;
    PERFORM 1 FROM ota.fleet f WHERE f.fleet = r.fleet FOR NO KEY UPDATE;
    PERFORM 1 FROM ota.release l WHERE l.version = coalesce(i_version, r.options ->> 'fallback') ORDER BY l.release_id FOR SHARE;
    PERFORM 1 FROM ota.rollout o
      WHERE o.fleet = r.fleet AND o.device_id IS NULL AND o.state IN ('scheduled', 'running', 'paused', 'halted', 'completed')
      ORDER BY o.rollout_id FOR UPDATE;
    SELECT * INTO r FROM ota.rollout o WHERE o.rollout_id = i_rollout_id;
    RETURN r;
END
$$;
COMMENT ON FUNCTION ota.fallback_lock(bigint, text) IS 'Internal: hold what the way back from a rollout changes';

CREATE OR REPLACE FUNCTION ota.controller_fallback(i_rollout_id bigint)
RETURNS bigint
LANGUAGE plpgsql SET search_path = ota, pg_temp AS $$
-- Begin the way back from a halted rollout whose plan names one, now that a device runs its release.  Returns the number of the
-- new rollout; 0 when it is no longer wanted, or not possible any more (which is written down).
DECLARE
    r        ota.rollout := ota.fallback_lock(i_rollout_id, NULL);
    back     text := r.options ->> 'fallback';
    problem  text;
BEGIN
    IF r.state IS DISTINCT FROM 'halted' OR NOT r.fallback_due THEN
        RETURN 0;
    END IF;
    problem := ota.fallback_refused(r, back);
    IF problem IS NOT NULL THEN
        PERFORM ota.fallback_give_up(r.rollout_id, back, problem);
        RETURN 0;
    END IF;
    RETURN ota.fallback_begin(r, back, left(format('fallback of rollout %s: %s', r.rollout_id, r.reason), 1024), 'controller');
END
$$;
COMMENT ON FUNCTION ota.controller_fallback(bigint) IS 'Plugin: begin the way back from a halted rollout';

CREATE OR REPLACE FUNCTION ota.fallback_give_up(i_rollout_id bigint, i_version text, i_problem text)
RETURNS void
LANGUAGE sql SET search_path = ota, pg_temp AS $$
    -- Say that a halted rollout has no way back, and why.  The caller holds the rollout.
    UPDATE ota.rollout
       SET fallback_due = false, next_at = NULL,
           next_action = format('no return to %s: %s; waits for ota.resume_rollout, ota.start_fallback or ota.cancel_rollout', i_version, i_problem)
     WHERE rollout_id = i_rollout_id;
    SELECT ota.audit('fallback_refused', NULL, i_rollout_id, jsonb_build_object('version', i_version, 'reason', i_problem, 'by', 'controller'));
$$;
COMMENT ON FUNCTION ota.fallback_give_up(bigint, text, text) IS 'Internal: a halted rollout has no way back; say why';

CREATE OR REPLACE FUNCTION ota.fallback_after_halt(i_rollout ota.rollout)
RETURNS void
LANGUAGE plpgsql SET search_path = ota, pg_temp AS $$
-- What a halt means for the way back.  i_rollout: as it was before the step, whose caller holds it.  The rollout itself is begun by
-- the controller, which takes the fleet's lock first; here it is only noted, so that a restart forgets nothing.  Whatever goes
-- wrong here is said, and the halt stands.
DECLARE
    back     text := i_rollout.options ->> 'fallback';
    problem  text;
BEGIN
    -- Of one that has never begun nobody comes back; a fallback does not fall back again.
    IF back IS NULL OR i_rollout.started_at IS NULL OR i_rollout.fallback_of IS NOT NULL OR i_rollout.device_id IS NOT NULL THEN
        RETURN;
    END IF;
    problem := ota.fallback_refused(i_rollout, back);
    IF problem IS NOT NULL THEN
        PERFORM ota.fallback_give_up(i_rollout.rollout_id, back, problem);
        RETURN;
    END IF;
    UPDATE ota.rollout r
       SET fallback_due = true,
           next_action = format('returns devices to %s when one runs %s; ota.resume_rollout or ota.cancel_rollout prevent that',
               back, l.version)
      FROM ota.release l
     WHERE r.rollout_id = i_rollout.rollout_id AND l.release_id = r.release_id;
EXCEPTION WHEN OTHERS THEN
    PERFORM ota.fallback_give_up(i_rollout.rollout_id, back, SQLERRM);
END
$$;
COMMENT ON FUNCTION ota.fallback_after_halt(ota.rollout) IS 'Internal: note that the way back is wanted, or why there is none';

CREATE OR REPLACE FUNCTION ota.fallback_end(i_rollout_id bigint)
RETURNS void
LANGUAGE plpgsql SET search_path = ota, pg_temp AS $$
-- A halted rollout goes on after all: what returned its devices and is over returns no latecomers any more.  (One that is
-- still on its way prevents the resume.)  The caller holds the rollout, whose number is below theirs.
DECLARE
    ids  bigint[];
    id   bigint;
BEGIN
    PERFORM 1 FROM ota.rollout o
      WHERE o.fallback_of = i_rollout_id AND o.state IN ('halted', 'completed')
      ORDER BY o.rollout_id FOR UPDATE;
    ids := ARRAY(SELECT o.rollout_id FROM ota.rollout o
                  WHERE o.fallback_of = i_rollout_id AND o.state IN ('halted', 'completed')
                  ORDER BY o.rollout_id);
    IF cardinality(ids) > 0 THEN
        PERFORM ota.rollout_lock_rows(ids || i_rollout_id, true);
    END IF;
    FOREACH id IN ARRAY ids LOOP
        PERFORM ota.rollout_step(id, 'supersede', format('rollout %s goes on', i_rollout_id), NULL);
    END LOOP;
END
$$;
COMMENT ON FUNCTION ota.fallback_end(bigint) IS 'Internal: end the ways back from a rollout that goes on';
