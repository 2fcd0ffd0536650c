DROP VIEW IF EXISTS ota.quarantine;
CREATE VIEW ota.quarantine AS
SELECT d.device_id::text AS device_id, d.fleet::text AS fleet, d.quarantined_at, d.failures, d.hardware, d.version,
       u.rollout_id, l.version AS failed_version, u.state, u.error
  FROM ota.device d
  LEFT JOIN LATERAL (SELECT * FROM ota.device_update o
                      WHERE o.device_id = d.device_id AND o.state IN ('failed', 'rolled_back', 'timed_out')
                      ORDER BY o.rollout_id DESC LIMIT 1) u ON true
  LEFT JOIN ota.rollout r ON r.rollout_id = u.rollout_id
  LEFT JOIN ota.release l ON l.release_id = r.release_id
 WHERE d.quarantined_at IS NOT NULL;
COMMENT ON VIEW ota.quarantine IS 'Devices that no rollout takes in, because they failed too often in a row, each with its last failure';
COMMENT ON COLUMN ota.quarantine.device_id IS 'The device';
COMMENT ON COLUMN ota.quarantine.fleet IS 'Its fleet';
COMMENT ON COLUMN ota.quarantine.quarantined_at IS 'Since when';
COMMENT ON COLUMN ota.quarantine.failures IS 'Updates that failed since its last success';
COMMENT ON COLUMN ota.quarantine.hardware IS 'Its hardware model';
COMMENT ON COLUMN ota.quarantine.version IS 'What it runs';
COMMENT ON COLUMN ota.quarantine.rollout_id IS 'The rollout in which it failed last';
COMMENT ON COLUMN ota.quarantine.failed_version IS 'The release of that rollout';
COMMENT ON COLUMN ota.quarantine.state IS 'How that ended: failed, rolled_back or timed_out';
COMMENT ON COLUMN ota.quarantine.error IS 'With which error';
