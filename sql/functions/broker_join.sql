-- Devices that appear while a rollout is already open to the whole fleet.

CREATE OR REPLACE FUNCTION ota.broker_join(i_devices text[])
RETURNS integer
LANGUAGE plpgsql SET search_path = ota, pg_temp AS $$
-- Let these devices into the rollouts of their fleet that are open to every device: those whose present stage is 100 %,
-- and the completed one that is still the fleet's newest.  Returns how many joined.
DECLARE
    open   record;
    joined bigint;
    total  integer := 0;
BEGIN
    -- Called for all that report: most of the time there is nothing to join.
    IF cardinality(i_devices) = 0 OR NOT EXISTS (
        SELECT FROM ota.rollout r JOIN ota.rollout_stage s ON s.rollout_id = r.rollout_id AND s.stage = r.current_stage AND s.percent = 100
         WHERE r.state IN ('running', 'completed') AND r.device_id IS NULL) THEN
        RETURN 0;
    END IF;
    FOR open IN
        SELECT r.rollout_id, r.fleet::text AS fleet, r.release_id, r.current_stage, r.only_from, f.ids,
               CASE WHEN ota.site_cap(r) IS NOT NULL THEN '' END AS no_site
          FROM (SELECT d.fleet, array_agg(d.device_id::text) AS ids
                  FROM ota.device d WHERE d.device_id = ANY (i_devices) GROUP BY d.fleet) f
          JOIN ota.rollout r ON r.fleet = f.fleet AND r.state IN ('running', 'completed') AND r.device_id IS NULL
          JOIN ota.rollout_stage s ON s.rollout_id = r.rollout_id AND s.stage = r.current_stage AND s.percent = 100
    LOOP
        INSERT INTO ota.device_update (rollout_id, device_id, stage, rank, ready, from_version, site)
        SELECT open.rollout_id, d.device_id, open.current_stage, ota.cohort_rank(open.rollout_id, d.device_id),
               d.listening, d.version, coalesce(d.attributes ->> 'site', open.no_site)
          FROM ota.eligible_devices(open.fleet, open.release_id, open.ids) e
          JOIN ota.device d ON d.device_id = e.device_id
         WHERE e.code IS NULL AND (open.only_from IS NULL OR e.version = open.only_from)
        ON CONFLICT DO NOTHING;
        GET DIAGNOSTICS joined = ROW_COUNT;
        IF joined > 0 THEN
            UPDATE ota.rollout_stage
               SET cohort = cohort + joined, added = added + joined, eligible = eligible + joined
             WHERE rollout_id = open.rollout_id AND stage = open.current_stage;
            total := total + joined::integer;
        END IF;
    END LOOP;
    RETURN total;
END
$$;
COMMENT ON FUNCTION ota.broker_join(text[]) IS 'Plugin: newcomers join the rollouts that are open to the whole fleet';
