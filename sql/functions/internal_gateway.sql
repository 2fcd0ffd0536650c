-- Gateways: clients that speak for other devices.

CREATE OR REPLACE FUNCTION ota.gateway_load(i_gateway text)
RETURNS bigint
LANGUAGE sql STABLE SET search_path = ota, pg_temp AS $$
    -- How many devices behind this gateway are being updated or have a slot.
    SELECT count(*)
      FROM ota.device d
      JOIN ota.device_update u ON u.device_id = d.device_id
       AND (u.state IN ('notified', 'downloading', 'verifying', 'applying', 'rebooting')
         OR u.state = 'pending' AND u.granted_at IS NOT NULL)
     WHERE d.gateway = i_gateway;
$$;
COMMENT ON FUNCTION ota.gateway_load(text) IS 'Internal: devices behind a gateway that are being updated';
