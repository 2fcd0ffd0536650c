DROP VIEW IF EXISTS ota.device_history;
CREATE VIEW ota.device_history AS
SELECT e.device_id, e.at, e.kind, e.detail ->> 'version' AS version, e.rollout_id, e.detail, e.broker, e.event_id
  FROM ota.event e
 WHERE e.device_id IS NOT NULL;
COMMENT ON VIEW ota.device_history IS 'What happened to each device; ask for one device_id, ORDER BY at';
COMMENT ON COLUMN ota.device_history.version IS 'The version that the event was about, if any';
COMMENT ON COLUMN ota.device_history.device_id IS 'The device';
COMMENT ON COLUMN ota.device_history.at IS 'When';
COMMENT ON COLUMN ota.device_history.kind IS 'What happened, as in ota.event';
COMMENT ON COLUMN ota.device_history.rollout_id IS 'In which rollout, null: in none';
COMMENT ON COLUMN ota.device_history.detail IS 'Particulars';
COMMENT ON COLUMN ota.device_history.broker IS 'The broker that saw it';
COMMENT ON COLUMN ota.device_history.event_id IS 'The row of ota.event';
