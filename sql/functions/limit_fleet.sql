-- Operators: how many devices of one place may be updated at once.

CREATE OR REPLACE FUNCTION ota.limit_fleet(fleet text, max_per_gateway integer DEFAULT NULL, max_per_site integer DEFAULT NULL,
    reason text DEFAULT NULL)
RETURNS void
LANGUAGE plpgsql SET search_path = ota, pg_temp AS $$
-- Set how many devices of a fleet are updated at once behind one gateway, and at one site (attribute "site" of ota.device).
-- Devices that are being updated go on; from then on nobody gets a slot beyond the number.
-- fleet: must exist; max_per_gateway: 1 to 10000, null: as it is; max_per_site: the same, and 0 for no cap; reason: why, required.
-- Errors: 22023 an argument is not acceptable; P0002 no such fleet.
#variable_conflict use_column
DECLARE
    f    ota.fleet;
    why  text := ota.check_reason(limit_fleet.reason, true);
BEGIN
    PERFORM ota.check_name('fleet', limit_fleet.fleet);
    IF limit_fleet.max_per_gateway IS NULL AND limit_fleet.max_per_site IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = 'neither max_per_gateway nor max_per_site is given',
            HINT = 'Give how many devices behind one gateway, or of one site, are updated at once.';
    ELSIF limit_fleet.max_per_gateway NOT BETWEEN 1 AND 10000 THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = format('max_per_gateway is %s', limit_fleet.max_per_gateway),
            HINT = 'Accepted are 1 to 10000.';
    ELSIF limit_fleet.max_per_site NOT BETWEEN 0 AND 10000 THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = format('max_per_site is %s', limit_fleet.max_per_site),
            HINT = 'Accepted are 1 to 10000, and 0 for no cap.';
    END IF;
    SELECT o.* INTO f FROM ota.fleet o WHERE o.fleet = limit_fleet.fleet FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'P0002', MESSAGE = format('there is no fleet "%s"', limit_fleet.fleet),
            HINT = format('The fleets are %s. ota.assign_device makes one.',
                (SELECT string_agg(n.fleet, ', ') FROM (SELECT o.fleet FROM ota.fleet o ORDER BY o.fleet LIMIT 20) n));
    END IF;
    UPDATE ota.fleet o
       SET max_per_gateway = coalesce(limit_fleet.max_per_gateway, o.max_per_gateway),
           max_per_site = CASE WHEN limit_fleet.max_per_site IS NULL THEN o.max_per_site ELSE nullif(limit_fleet.max_per_site, 0) END
     WHERE o.fleet = f.fleet;
    IF f.max_per_site IS NULL AND limit_fleet.max_per_site > 0 THEN
        -- Who has joined without a cap and has no site is looked up like one of a site from now on, or it would wait behind sites that are
        -- full, see ota.controller_site_candidates().  With the rollouts held no stage opens meanwhile.
        PERFORM 1 FROM ota.rollout o
          WHERE o.fleet = f.fleet AND o.state IN ('scheduled', 'running', 'paused', 'halted', 'completed')
          ORDER BY o.rollout_id FOR NO KEY UPDATE;
        PERFORM 1 FROM ota.device_update u JOIN ota.rollout o ON o.rollout_id = u.rollout_id
          WHERE o.fleet = f.fleet AND o.state IN ('running', 'paused', 'halted', 'completed') AND u.state <> 'succeeded' AND u.site IS NULL
          ORDER BY u.device_id, u.rollout_id FOR UPDATE OF u;
        UPDATE ota.device_update u SET site = ''
          FROM ota.rollout o
         WHERE o.rollout_id = u.rollout_id AND o.fleet = f.fleet AND o.state IN ('running', 'paused', 'halted', 'completed')
           AND u.state <> 'succeeded' AND u.site IS NULL;
    END IF;
    PERFORM ota.audit('fleet_limited', NULL, NULL, jsonb_build_object('fleet', f.fleet,
        'max_per_gateway', coalesce(limit_fleet.max_per_gateway, f.max_per_gateway), 'former_max_per_gateway', f.max_per_gateway,
        'max_per_site', CASE WHEN limit_fleet.max_per_site IS NULL THEN f.max_per_site ELSE nullif(limit_fleet.max_per_site, 0) END,
        'former_max_per_site', f.max_per_site, 'reason', why));
    PERFORM pg_notify('ota', '');
END
$$;
COMMENT ON FUNCTION ota.limit_fleet(text, integer, integer, text) IS 'Set how many devices of a fleet are updated at once behind one gateway and at one site';
