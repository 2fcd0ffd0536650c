DROP VIEW IF EXISTS ota.denied;
CREATE VIEW ota.denied AS
SELECT e.at, e.broker, e.detail ->> 'client' AS client, e.detail ->> 'topic' AS topic, e.detail ->> 'reason' AS reason,
       e.device_id, e.detail, e.event_id
  FROM ota.event e
 WHERE e.kind = 'denied';
COMMENT ON VIEW ota.denied IS 'What the brokers refused; ask for a time, ORDER BY at';
