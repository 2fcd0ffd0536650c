DROP VIEW IF EXISTS ota.denied;
CREATE VIEW ota.denied AS
SELECT e.at, e.broker, e.detail ->> 'client' AS client, e.detail ->> 'topic' AS topic, e.detail ->> 'reason' AS reason,
       e.device_id, e.detail, e.event_id
  FROM ota.event e
 WHERE e.kind = 'denied'
 ORDER BY e.at, e.event_id;
COMMENT ON VIEW ota.denied IS 'What the brokers refused, in the order of time';
