-- Slots where each site may have only so many devices updated at once.

CREATE OR REPLACE FUNCTION ota.controller_site_candidates(i_rollout_id bigint, i_cap integer, i_count bigint, i_wide boolean)
RETURNS text[]
LANGUAGE sql STABLE SET search_path = ota, pg_temp SET jit = off AS $$
    -- Devices that could have a slot as far as their site goes, about i_count of them.
    -- First (i_wide false) those among the next few by rank whose site has room: nearly always enough, whatever the fleet's size.
    -- Else (true) the next by rank of each site that has room, from site to site through the index: what is behind a million
    -- devices of sites that are full is found without a look at these.
    WITH RECURSIVE next_few AS MATERIALIZED (
        SELECT u.device_id, u.site, u.rank FROM ota.device_update u
         WHERE NOT i_wide AND u.rollout_id = i_rollout_id AND u.state = 'pending' AND u.ready AND u.granted_at IS NULL
           AND (u.not_before IS NULL OR u.not_before <= now())
         ORDER BY u.rank LIMIT least(2 * i_count, 1000)
    ), near AS (
        SELECT n.device_id
          FROM next_few n
          LEFT JOIN (SELECT s.site, ota.site_load(s.site) AS load
                       FROM (SELECT DISTINCT x.site FROM next_few x WHERE x.site <> '') s) l ON l.site = n.site
         WHERE coalesce(l.load, 0) < i_cap
    ), sites AS (
        (SELECT u.site FROM ota.device_update u
          WHERE i_wide AND u.rollout_id = i_rollout_id AND u.state = 'pending' AND u.ready AND u.granted_at IS NULL AND u.site IS NOT NULL
          ORDER BY u.site LIMIT 1)
        UNION ALL
        SELECT (SELECT u.site FROM ota.device_update u
                 WHERE u.rollout_id = i_rollout_id AND u.state = 'pending' AND u.ready AND u.granted_at IS NULL AND u.site > s.site
                 ORDER BY u.site LIMIT 1)
          FROM sites s WHERE s.site IS NOT NULL
    ), room AS (
        SELECT s.site, CASE WHEN s.site = '' THEN i_count ELSE i_cap - ota.site_load(s.site) END AS free
          FROM sites s WHERE s.site IS NOT NULL
    ), far AS (
        SELECT x.device_id, x.rank
          FROM room m
         CROSS JOIN LATERAL (
               SELECT u.device_id, u.rank FROM ota.device_update u
                WHERE u.rollout_id = i_rollout_id AND u.site = m.site AND u.state = 'pending' AND u.ready AND u.granted_at IS NULL
                  AND (u.not_before IS NULL OR u.not_before <= now())
                ORDER BY u.rank LIMIT greatest(m.free, 0)) x
         ORDER BY x.rank LIMIT i_count
    )
    SELECT ARRAY(SELECT device_id FROM near UNION ALL SELECT device_id FROM far);
$$;
COMMENT ON FUNCTION ota.controller_site_candidates(bigint, integer, bigint, boolean) IS 'Plugin: devices whose site has room';

CREATE OR REPLACE FUNCTION ota.controller_grant_sites(i_rollout_id bigint, i_stage integer, i_cap integer, i_count bigint)
RETURNS bigint
LANGUAGE plpgsql SET search_path = ota, pg_temp SET jit = off AS $$
-- What ota.controller_grant() does where no more than i_cap devices of one site are updated at once.  Slots are given by one caller
-- after the other, each counting what the one before has given: what is counted can only become less.  A device without a
-- site is held back by nothing.
DECLARE
    candidates  text[];
    granted     bigint := 0;
    more        bigint;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('ota.sites'));
    FOR wide IN 0 .. 1 LOOP
        EXIT WHEN granted >= i_count;
        candidates := ota.controller_site_candidates(i_rollout_id, i_cap, i_count - granted, wide = 1);
        WITH picked AS (
            SELECT u.device_id, d.broker, d.gateway, nullif(u.site, '') AS site, u.rank, f.max_per_gateway
              FROM ota.device_update u
              JOIN ota.device d ON d.device_id = u.device_id
              JOIN ota.fleet f ON f.fleet = d.fleet
             WHERE u.rollout_id = i_rollout_id AND u.device_id = ANY (candidates)
               AND u.state = 'pending' AND u.ready AND u.granted_at IS NULL
               AND (d.gateway IS NULL OR ota.gateway_load(d.gateway) < f.max_per_gateway)
               -- One update at a time: an earlier rollout's runs to its end first.
               AND NOT EXISTS (SELECT 1 FROM ota.device_update o
                    WHERE o.device_id = u.device_id AND o.rollout_id <> u.rollout_id
                      AND o.state IN ('notified', 'downloading', 'verifying', 'applying', 'rebooting'))
             ORDER BY u.rank FOR UPDATE OF u SKIP LOCKED
        ), loads AS (
            SELECT s.site, ota.site_load(s.site) AS load FROM (SELECT DISTINCT p.site FROM picked p WHERE p.site IS NOT NULL) s
        ), counted AS (
            SELECT p.*, row_number() OVER (PARTITION BY p.gateway ORDER BY p.rank)
                        + CASE WHEN p.gateway IS NULL THEN 0 ELSE ota.gateway_load(p.gateway) END AS place_gateway,
                   row_number() OVER (PARTITION BY p.site ORDER BY p.rank) + coalesce(l.load, 0) AS place_site
              FROM picked p LEFT JOIN loads l ON l.site = p.site
        ), chosen AS (
            SELECT c.* FROM counted c
             WHERE (c.gateway IS NULL OR c.place_gateway <= c.max_per_gateway) AND (c.site IS NULL OR c.place_site <= i_cap)
             ORDER BY c.rank LIMIT i_count - granted
        )
        UPDATE ota.device_update u
           SET granted_at = now(), served_stage = i_stage, broker = c.broker
          FROM chosen c
         WHERE u.rollout_id = i_rollout_id AND u.device_id = c.device_id;
        GET DIAGNOSTICS more = ROW_COUNT;
        granted := granted + more;
    END LOOP;
    RETURN granted;
END
$$;
COMMENT ON FUNCTION ota.controller_grant_sites(bigint, integer, integer, bigint) IS 'Plugin: give devices their turn where sites have a cap';
