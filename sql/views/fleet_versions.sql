DROP VIEW IF EXISTS ota.fleet_versions;
CREATE VIEW ota.fleet_versions AS
SELECT d.fleet::text AS fleet, d.version, count(*) AS devices, count(*) FILTER (WHERE d.connected) AS connected
  FROM ota.device d
 GROUP BY d.fleet, d.version;
COMMENT ON VIEW ota.fleet_versions IS 'How many devices of each fleet run which version (null: unknown), and how many of them are online';
COMMENT ON COLUMN ota.fleet_versions.fleet IS 'The fleet';
COMMENT ON COLUMN ota.fleet_versions.version IS 'What they run, null: unknown';
COMMENT ON COLUMN ota.fleet_versions.devices IS 'How many devices run it';
COMMENT ON COLUMN ota.fleet_versions.connected IS 'How many of them are online';
