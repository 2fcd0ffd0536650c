-- Operators: name a span of time in which nobody is told of updates.

CREATE OR REPLACE FUNCTION ota.add_blackout(fleet text DEFAULT NULL, from_at timestamptz DEFAULT NULL, until_at timestamptz DEFAULT NULL,
    reason text DEFAULT NULL)
RETURNS bigint
LANGUAGE plpgsql SET search_path = ota, pg_temp AS $$
-- Tell no device of the fleet of updates from from_at (included) to until_at (excluded), whatever its windows say.  What has begun
-- goes on; emergencies and pins of single devices are told all the same.
-- fleet: must exist; null: every fleet, those to come too.  from_at may be past, until_at not.  reason: why, required.
-- Returns its number; the same span again has the same one, and changes nothing.  Those of the same fleet that are over for more
-- than a year are removed: the audit log keeps them.
-- Errors: 22023 an argument is not acceptable; P0002 no such fleet; 54000 too many blackouts.
#variable_conflict use_column
DECLARE
    why      text := ota.check_reason(add_blackout.reason, true);
    problem  text;
    id       bigint;
BEGIN
    IF add_blackout.fleet IS NOT NULL THEN
        PERFORM ota.check_name('fleet', add_blackout.fleet);
    END IF;
    problem := CASE
        WHEN add_blackout.from_at IS NULL THEN 'the blackout''s beginning is missing'
        WHEN add_blackout.until_at IS NULL THEN 'the blackout''s end is missing'
        WHEN NOT isfinite(add_blackout.from_at) THEN format('the blackout begins at %s', add_blackout.from_at)
        WHEN NOT isfinite(add_blackout.until_at) THEN format('the blackout ends at %s', add_blackout.until_at)
        WHEN add_blackout.until_at <= add_blackout.from_at
        THEN format('the blackout ends at %s, and begins at %s', add_blackout.until_at, add_blackout.from_at)
        WHEN add_blackout.until_at <= now() THEN format('the blackout ends at %s, which is over', add_blackout.until_at)
        WHEN add_blackout.until_at > now() + interval '100 years' THEN format('the blackout ends at %s', add_blackout.until_at) END;
    IF problem IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = problem,
            HINT = 'Accepted are two times with their zone, such as 2026-12-20 00:00+01 and 2027-01-07 00:00+01; the end is ahead, within a hundred years, and after the beginning.';
    END IF;
    IF add_blackout.fleet IS NULL THEN
        PERFORM pg_advisory_xact_lock(hashtext('ota.blackout'));
    ELSE
        PERFORM 1 FROM ota.fleet f WHERE f.fleet = add_blackout.fleet FOR NO KEY UPDATE;
        IF NOT FOUND THEN
            RAISE EXCEPTION USING ERRCODE = 'P0002', MESSAGE = format('there is no fleet "%s"', add_blackout.fleet),
                HINT = format('The fleets are %s; null is for all of them.',
                    (SELECT string_agg(n.fleet, ', ') FROM (SELECT o.fleet FROM ota.fleet o ORDER BY o.fleet LIMIT 20) n));
        END IF;
    END IF;
    SELECT b.blackout_id INTO id FROM ota.blackout b
     WHERE b.fleet IS NOT DISTINCT FROM add_blackout.fleet AND b.from_at = add_blackout.from_at AND b.until_at = add_blackout.until_at;
    IF FOUND THEN
        RETURN id;
    ELSIF (SELECT count(*) FROM ota.blackout b WHERE b.fleet IS NOT DISTINCT FROM add_blackout.fleet AND b.until_at > now()) >= 50 THEN
        RAISE EXCEPTION USING ERRCODE = '54000',
            MESSAGE = coalesce(format('fleet "%s" has 50 blackouts ahead', add_blackout.fleet), '50 blackouts of all fleets are ahead'),
            HINT = 'There are at most 50 that are not over; ota.remove_blackout removes one.';
    END IF;
    DELETE FROM ota.blackout b WHERE b.fleet IS NOT DISTINCT FROM add_blackout.fleet AND b.until_at < now() - interval '1 year';
    INSERT INTO ota.blackout (fleet, from_at, until_at, reason, added_by)
    VALUES (add_blackout.fleet, add_blackout.from_at, add_blackout.until_at, why, ota.actor())
    RETURNING blackout_id INTO id;
    PERFORM ota.audit('blackout_added', NULL, NULL, jsonb_build_object('blackout', id, 'fleet', add_blackout.fleet,
        'from_at', add_blackout.from_at, 'until_at', add_blackout.until_at, 'reason', why));
    PERFORM pg_notify('ota', '');
    RETURN id;
END
$$;
COMMENT ON FUNCTION ota.add_blackout(text, timestamptz, timestamptz, text) IS 'Tell nobody of a fleet (null: of any) in a span of time; returns its number';
