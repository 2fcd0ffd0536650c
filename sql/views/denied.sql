DROP VIEW IF EXISTS ota.denied;
CREATE VIEW ota.denied AS
SELECT e.at, e.broker, e.detail ->> 'client' AS client, e.detail ->> 'topic' AS topic, e.detail ->> 'reason' AS reason,
       e.device_id, e.detail, e.event_id
  FROM ota.event e
 WHERE e.kind = 'denied';
COMMENT ON VIEW ota.denied IS 'What the brokers refused; ask for a time, ORDER BY at';
COMMENT ON COLUMN ota.denied.at IS 'When';
COMMENT ON COLUMN ota.denied.broker IS 'The broker that refused';
COMMENT ON COLUMN ota.denied.client IS 'MQTT client id of who tried';
COMMENT ON COLUMN ota.denied.topic IS 'The topic it tried';
COMMENT ON COLUMN ota.denied.reason IS 'Why it was refused';
COMMENT ON COLUMN ota.denied.device_id IS 'The device it spoke of, null: none';
COMMENT ON COLUMN ota.denied.detail IS 'Everything that is known of it';
COMMENT ON COLUMN ota.denied.event_id IS 'The row of ota.event';
