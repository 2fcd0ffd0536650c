-- Operators: hold a fleet at a version.

CREATE OR REPLACE FUNCTION ota.pin_fleet(fleet text, version text, reason text, plan text)
RETURNS bigint
LANGUAGE plpgsql SET search_path = ota, pg_temp AS $$
-- Hold a fleet at a version: its rollouts of other versions end, new ones are refused, and devices that run something older are
-- brought there by an ordinary rollout with that plan, unless one of that release is there already.  Devices that have run something newer stay as they are.  A device's own pin goes before.
-- fleet: must exist; version: of a verified release, or what devices of the fleet run; reason: why, required;
-- plan: how they are brought there.
-- Returns the number of the rollout that brings the fleet there; null: none is needed.
-- Errors: 22023 an argument is not acceptable; P0002 no such fleet, release or plan; 55000 no device can be given the release.
#variable_conflict use_column
DECLARE
    f       ota.fleet;
    r       ota.release;
    n       record;
    others  bigint[];
    other   bigint;
    id      bigint;
    why     text := ota.check_reason(pin_fleet.reason, true);
BEGIN
    PERFORM ota.check_name('fleet', pin_fleet.fleet);
    PERFORM ota.check_version('version', pin_fleet.version);
    SELECT o.* INTO f FROM ota.fleet o WHERE o.fleet = pin_fleet.fleet FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'P0002', MESSAGE = format('there is no fleet "%s"', pin_fleet.fleet),
            HINT = 'The fleets are in the table ota.fleet; ota.assign_device makes one.';
    ELSIF NOT EXISTS (SELECT FROM ota.plan p WHERE p.plan = pin_fleet.plan) THEN
        RAISE EXCEPTION USING ERRCODE = 'P0002', MESSAGE = coalesce('there is no plan "' || left(pin_fleet.plan, 80) || '"', 'the plan is missing'),
            HINT = format('The plans are %s. ota.define_plan makes one.',
                (SELECT string_agg(n.plan, ', ') FROM (SELECT p.plan FROM ota.plan p ORDER BY p.plan LIMIT 20) n));
    END IF;
    UPDATE ota.fleet o SET pinned_version = pin_fleet.version WHERE o.fleet = f.fleet;
    SELECT o.* INTO r FROM ota.release o WHERE o.version = pin_fleet.version AND o.state = 'verified';
    IF FOUND THEN
        SELECT count(*) FILTER (WHERE e.code IS NULL) AS eligible, count(*) FILTER (WHERE e.code = 'current') AS there,
               count(*) FILTER (WHERE e.code = 'old_sequence') AS newer,
               min(e.reason) FILTER (WHERE e.code NOT IN ('current', 'pinned')) AS reason
          INTO n FROM ota.eligible_devices(f.fleet, r.release_id) e;
        IF n.eligible = 0 AND n.there = 0 AND n.reason IS NOT NULL THEN
            RAISE EXCEPTION USING ERRCODE = '55000',
                MESSAGE = format('no device of fleet "%s" can be given %s: the first one %s', f.fleet, r.version, n.reason),
                HINT = CASE WHEN n.newer > 0
                    THEN 'Going back to older firmware needs a manifest with a higher sequence: sign the old binary as a new release and pin the fleet to that.'
                    ELSE 'Accepted is a release whose manifest allows devices of this fleet.' END;
        END IF;
    ELSE
        SELECT 0::bigint AS eligible, count(*) AS there, 0::bigint AS newer, NULL::text AS reason INTO n
          FROM ota.device d WHERE d.fleet = f.fleet AND d.version = pin_fleet.version;
        IF n.there = 0 THEN
            PERFORM ota.pin_release(pin_fleet.version);
        END IF;
    END IF;

    PERFORM 1 FROM ota.rollout o
      WHERE o.fleet = f.fleet AND o.device_id IS NULL AND o.state IN ('scheduled', 'running', 'paused', 'halted', 'completed')
      ORDER BY o.rollout_id FOR UPDATE;
    others := ARRAY(
        SELECT o.rollout_id FROM ota.rollout o JOIN ota.release l ON l.release_id = o.release_id
         WHERE o.fleet = f.fleet AND o.device_id IS NULL AND o.state IN ('scheduled', 'running', 'paused', 'halted', 'completed')
           AND l.version <> pin_fleet.version
         ORDER BY o.rollout_id);
    IF cardinality(others) > 1 THEN
        PERFORM ota.rollout_lock_rows(others, true);
    END IF;
    FOREACH other IN ARRAY others LOOP
        PERFORM ota.rollout_step(other, 'supersede', format('the fleet is pinned to %s: %s', pin_fleet.version, why), NULL);
    END LOOP;
    SELECT max(o.rollout_id) INTO id FROM ota.rollout o
     WHERE o.fleet = f.fleet AND o.device_id IS NULL AND o.release_id = r.release_id
       AND o.state IN ('scheduled', 'running', 'paused', 'completed');
    IF id IS NULL AND n.eligible > 0 THEN
        id := ota.start_rollout(f.fleet, r.version, pin_fleet.plan, NULL, why);
    END IF;
    PERFORM ota.audit('fleet_pinned', NULL, id, jsonb_build_object('fleet', f.fleet, 'from', f.pinned_version,
        'version', pin_fleet.version, 'there', n.there, 'to_update', n.eligible, 'newer', n.newer, 'reason', why));
    PERFORM pg_notify('ota', '');
    RETURN id;
END
$$;
COMMENT ON FUNCTION ota.pin_fleet(text, text, text, text) IS 'Hold a fleet at a version, and bring it there in the stages of a plan';

CREATE OR REPLACE FUNCTION ota.pin_fleet(fleet text, version text, reason text)
RETURNS bigint
LANGUAGE sql SET search_path = ota, pg_temp AS $$
    -- The same with the plan "standard".
    SELECT ota.pin_fleet(fleet, version, reason, 'standard');
$$;
COMMENT ON FUNCTION ota.pin_fleet(text, text, text) IS 'Hold a fleet at a version, and bring it there in the stages of plan "standard"';
