-- Viewers: how did a release do, compared with another?

CREATE OR REPLACE FUNCTION ota.release_outcomes(i_version text, i_fleet text)
RETURNS TABLE (dimension text, value text, told bigint, succeeded bigint, failed bigint, rejected bigint, success_rate numeric,
    median interval, p95 interval)
LANGUAGE sql STABLE SET search_path = ota, pg_temp SET jit = off AS $$
    -- What became of all devices that were told of this version, over all its rollouts: as a whole, for each hardware, for each site.
    -- The times are from the notice to the success.  A device without the attribute counts under the value null.
    WITH outcome AS (
        SELECT u.state, d.hardware, coalesce(nullif(u.site, ''), d.attributes ->> 'site') AS site,
               CASE WHEN u.state = 'succeeded' THEN extract(epoch FROM u.finished_at - u.notified_at) END AS seconds
          FROM ota.release l
          JOIN ota.rollout r ON r.release_id = l.release_id
          JOIN ota.device_update u ON u.rollout_id = r.rollout_id AND u.notified_at IS NOT NULL
          LEFT JOIN ota.device d ON d.device_id = u.device_id
         WHERE l.version = i_version AND (i_fleet IS NULL OR r.fleet = i_fleet)
    )
    SELECT CASE WHEN grouping(o.hardware) = 0 THEN 'hardware' WHEN grouping(o.site) = 0 THEN 'site' ELSE 'all' END,
           CASE WHEN grouping(o.hardware) = 0 THEN o.hardware WHEN grouping(o.site) = 0 THEN o.site END,
           count(*), count(*) FILTER (WHERE o.state = 'succeeded'),
           count(*) FILTER (WHERE o.state IN ('failed', 'rolled_back', 'timed_out')), count(*) FILTER (WHERE o.state = 'rejected'),
           round(count(*) FILTER (WHERE o.state = 'succeeded')::numeric
                 / nullif(count(*) FILTER (WHERE o.state IN ('succeeded', 'failed', 'rolled_back', 'timed_out')), 0), 4),
           make_interval(secs => percentile_cont(0.5) WITHIN GROUP (ORDER BY o.seconds::double precision)),
           make_interval(secs => percentile_cont(0.95) WITHIN GROUP (ORDER BY o.seconds::double precision))
      FROM outcome o
     GROUP BY GROUPING SETS ((), (o.hardware), (o.site));
$$;
COMMENT ON FUNCTION ota.release_outcomes(text, text) IS 'How a release did: as a whole, for each hardware, for each site';

CREATE OR REPLACE FUNCTION ota.compare_releases(version text, with_version text DEFAULT NULL, fleet text DEFAULT NULL)
RETURNS TABLE (dimension text, value text, release text, told bigint, succeeded bigint, failed bigint, success_rate numeric,
    median interval, p95 interval, other text, other_told bigint, other_success_rate numeric, other_median interval,
    other_p95 interval)
LANGUAGE plpgsql STABLE SET search_path = ota, pg_temp AS $$
-- How a release did, next to an earlier one: a row for the whole ("all"), for each hardware and for each site.
-- version: of a release; with_version: of another, null: the one with the next lower sequence that any device was told of; fleet:
-- only rollouts to this fleet, null: all.  succeeded, failed: devices, of those told; failed ones with those that rolled back or timed
-- out; median, p95: time from the notice to the success.
-- Errors: 22023 an argument is not acceptable; P0002 no such release or fleet.
#variable_conflict use_column
DECLARE
    l       ota.release;
    before  text := compare_releases.with_version;
BEGIN
    PERFORM ota.check_version('version', compare_releases.version);
    SELECT o.* INTO l FROM ota.release o WHERE o.version = compare_releases.version ORDER BY o.state = 'rejected', o.release_id DESC LIMIT 1;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'P0002', MESSAGE = format('there is no release %s', compare_releases.version),
            HINT = 'The releases are in the table ota.release.';
    END IF;
    IF compare_releases.fleet IS NOT NULL AND NOT EXISTS (SELECT FROM ota.fleet f WHERE f.fleet = compare_releases.fleet) THEN
        RAISE EXCEPTION USING ERRCODE = 'P0002', MESSAGE = format('there is no fleet "%s"', left(compare_releases.fleet, 140)),
            HINT = 'The fleets are in the table ota.fleet; null is for all of them.';
    END IF;
    IF before IS NULL THEN
        SELECT o.version INTO before FROM ota.release o
         WHERE o.sequence < l.sequence
           AND EXISTS (SELECT FROM ota.rollout r JOIN ota.device_update u ON u.rollout_id = r.rollout_id AND u.notified_at IS NOT NULL
                        WHERE r.release_id = o.release_id AND (compare_releases.fleet IS NULL OR r.fleet = compare_releases.fleet))
         ORDER BY o.sequence DESC LIMIT 1;
    ELSE
        PERFORM ota.check_version('other version', before);
        IF NOT EXISTS (SELECT FROM ota.release o WHERE o.version = before) THEN
            RAISE EXCEPTION USING ERRCODE = 'P0002', MESSAGE = format('there is no release %s', before),
                HINT = 'The releases are in the table ota.release; null is for the one before.';
        END IF;
    END IF;
    RETURN QUERY
    SELECT coalesce(a.dimension, b.dimension), coalesce(a.value, b.value), l.version, coalesce(a.told, 0), coalesce(a.succeeded, 0),
           coalesce(a.failed, 0), a.success_rate, a.median, a.p95, before, CASE WHEN before IS NOT NULL THEN coalesce(b.told, 0) END,
           b.success_rate, b.median, b.p95
      FROM (SELECT o.*, o.dimension || ' ' || coalesce('=' || o.value, '') AS k FROM ota.release_outcomes(l.version, compare_releases.fleet) o) a
      FULL JOIN (SELECT o.*, o.dimension || ' ' || coalesce('=' || o.value, '') AS k FROM ota.release_outcomes(before, compare_releases.fleet) o) b
        ON b.k = a.k
     ORDER BY array_position(ARRAY['all', 'hardware', 'site'], coalesce(a.dimension, b.dimension)), 2 NULLS LAST;
END
$$;
COMMENT ON FUNCTION ota.compare_releases(text, text, text) IS 'How a release did, next to an earlier one: success and time, by hardware and site';
