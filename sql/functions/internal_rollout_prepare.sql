-- What has to be true before a rollout can begin.

CREATE OR REPLACE FUNCTION ota.rollout_prepare(i_fleet text, i_version text, i_plan text, i_dry_run boolean)
RETURNS ota.release
LANGUAGE plpgsql SET search_path = ota, pg_temp AS $$
-- Check that this release can go to this fleet by this plan, and return the release.  Unless it is a dry run the release has to be
-- verified, and fleet and release are locked (the fleet first) until the transaction ends.
-- Errors: 22023 an argument is not acceptable; P0002 no such fleet, release or plan; 55000 not possible now, or no URL can be made.
DECLARE
    f        ota.fleet;
    r        ota.release;
    present  record;
    back     text;
    problem  text;
BEGIN
    PERFORM ota.check_name('fleet', i_fleet);
    PERFORM ota.check_version('version', i_version);
    IF i_dry_run THEN
        SELECT * INTO f FROM ota.fleet WHERE fleet = i_fleet;
    ELSE
        SELECT * INTO f FROM ota.fleet WHERE fleet = i_fleet FOR NO KEY UPDATE;
    END IF;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'P0002', MESSAGE = format('there is no fleet "%s"', i_fleet),
            HINT = format('The fleets are %s. ota.assign_device makes one.',
                (SELECT string_agg(n.fleet, ', ') FROM (SELECT fleet FROM ota.fleet ORDER BY fleet LIMIT 20) n));
    END IF;
    SELECT * INTO r FROM ota.release WHERE version = i_version ORDER BY state = 'rejected', release_id DESC LIMIT 1;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'P0002', MESSAGE = format('there is no release %s', i_version),
            HINT = 'ota.add_release submits one; the releases are in the table ota.release.';
    END IF;
    IF NOT i_dry_run THEN
        SELECT * INTO r FROM ota.release WHERE release_id = r.release_id FOR SHARE;
    END IF;
    IF r.state <> 'verified' AND NOT (i_dry_run AND r.state = 'submitted') THEN
        RAISE EXCEPTION USING ERRCODE = '55000',
            MESSAGE = format('release %s is %s, not verified', i_version, r.state) || coalesce(': ' || r.reason, ''),
            HINT = CASE r.state
                WHEN 'submitted' THEN 'A broker verifies it within seconds of its submission; is one with the plugin running and connected to this database?'
                WHEN 'rejected' THEN 'Sign it with a key that the brokers trust and submit it again with ota.add_release.'
                ELSE 'A revoked release never goes out again; submit a new version.' END;
    ELSIF NOT EXISTS (SELECT FROM ota.plan WHERE plan = i_plan) THEN
        RAISE EXCEPTION USING ERRCODE = 'P0002', MESSAGE = coalesce('there is no plan "' || left(i_plan, 80) || '"', 'the plan is missing'),
            HINT = format('The plans are %s. ota.define_plan makes one.',
                (SELECT string_agg(n.plan, ', ') FROM (SELECT plan FROM ota.plan ORDER BY plan LIMIT 20) n));
    ELSIF f.pinned_version <> i_version THEN
        RAISE EXCEPTION USING ERRCODE = '55000', MESSAGE = format('fleet "%s" is pinned to %s', i_fleet, f.pinned_version),
            HINT = 'Unpin the fleet first, or roll out the version it is pinned to.';
    END IF;
    SELECT o.rollout_id, o.state, l.version, l.sequence INTO present
      FROM ota.rollout o JOIN ota.release l ON l.release_id = o.release_id
     WHERE o.fleet = i_fleet AND o.device_id IS NULL AND o.state IN ('running', 'paused') AND l.sequence >= r.sequence;
    IF FOUND THEN
        RAISE EXCEPTION USING ERRCODE = '55000',
            MESSAGE = format('fleet "%s" is in rollout %s of %s with sequence %s, %s has %s', i_fleet, present.rollout_id,
                present.version, present.sequence, i_version, r.sequence),
            HINT = format('Rollout %s is %s. Cancel it first, or make a release with a higher sequence: a device never goes to a lower one.',
                present.rollout_id, present.state);
    END IF;
    problem := ota.fleet_url_problem(i_fleet, r.url);
    IF problem IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = '55000', MESSAGE = format('no URL of release %s can be made for fleet "%s": %s', i_version, i_fleet, problem),
            HINT = format('Its devices download from %s: sign the release with a URL that is a plain path behind the host, or use ota.clear_fleet_url.', f.url_template);
    END IF;
    -- A way back that does not lead anywhere is worse than none: whoever starts the rollout counts on it.
    SELECT p.options ->> 'fallback' INTO back FROM ota.plan p WHERE p.plan = i_plan;
    problem := ota.fallback_problem(i_fleet, r, back);
    IF back IS NOT NULL AND problem IS NOT NULL AND NOT i_dry_run THEN
        RAISE EXCEPTION USING ERRCODE = '55000', MESSAGE = format('plan "%s" falls back to %s: %s', i_plan, back, problem),
            HINT = 'Accepted is a verified release for this fleet with a higher sequence: sign the earlier binary as a new release, or define the plan without "fallback".';
    END IF;
    RETURN r;
END
$$;
COMMENT ON FUNCTION ota.rollout_prepare(text, text, text, boolean) IS 'Internal: check what has to be true before a rollout can begin';
