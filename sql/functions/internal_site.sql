-- Sites: the places where devices stand, attributes ->> 'site'.

CREATE OR REPLACE FUNCTION ota.site_load(i_site text)
RETURNS bigint
LANGUAGE sql STABLE SET search_path = ota, pg_temp AS $$
    -- How many devices of this site are being updated or have a slot, over all rollouts and fleets: a site is a place.
    SELECT count(*)
      FROM ota.device_update u
     WHERE u.site = i_site
       AND (u.state IN ('notified', 'downloading', 'verifying', 'applying', 'rebooting')
         OR u.state = 'pending' AND u.granted_at IS NOT NULL);
$$;
COMMENT ON FUNCTION ota.site_load(text) IS 'Internal: devices of a site that are being updated';

CREATE OR REPLACE FUNCTION ota.site_cap(r ota.rollout)
RETURNS integer
LANGUAGE sql STABLE SET search_path = ota, pg_temp AS $$
    -- How many devices of one site this rollout may have updated at once: the plan's number or the fleet's, whichever is smaller;
    -- null: no cap.
    SELECT least((r.options ->> 'max_per_site')::integer, f.max_per_site) FROM ota.fleet f WHERE f.fleet = r.fleet;
$$;
COMMENT ON FUNCTION ota.site_cap(ota.rollout) IS 'Internal: the cap of a rollout for each site';

CREATE OR REPLACE FUNCTION ota.device_moves()
RETURNS trigger
LANGUAGE plpgsql SET search_path = ota, pg_temp AS $$
-- A device that is moved counts at its new site from now on, whoever wrote its row.
BEGIN
    UPDATE ota.device_update u SET site = coalesce(NEW.attributes ->> 'site', '')
     WHERE u.device_id = NEW.device_id
       AND u.state IN ('pending', 'notified', 'downloading', 'verifying', 'applying', 'rebooting');
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION ota.device_moves() IS 'Trigger: the site of a device''s updates is the device''s';

CREATE OR REPLACE TRIGGER device_moves AFTER UPDATE OF attributes ON ota.device
    FOR EACH ROW WHEN (OLD.attributes ->> 'site' IS DISTINCT FROM NEW.attributes ->> 'site')
    EXECUTE FUNCTION ota.device_moves();
