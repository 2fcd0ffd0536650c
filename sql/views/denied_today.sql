-- What was refused within a day, the same things together: who has to be looked at first.
DROP VIEW IF EXISTS ota.denied_today;
CREATE VIEW ota.denied_today AS
SELECT e.detail ->> 'client' AS client, e.detail ->> 'topic' AS topic, e.detail ->> 'reason' AS reason, count(*) AS times,
       min(e.at) AS first_at, max(e.at) AS last_at, string_agg(DISTINCT e.broker, ', ' ORDER BY e.broker) AS brokers
  FROM ota.event e
 WHERE e.kind = 'denied' AND e.at > now() - interval '1 day'
 GROUP BY 1, 2, 3;
COMMENT ON VIEW ota.denied_today IS 'What the brokers refused in the last 24 hours: how often, to whom, why';
COMMENT ON COLUMN ota.denied_today.client IS 'MQTT client id of who tried';
COMMENT ON COLUMN ota.denied_today.topic IS 'The topic it tried';
COMMENT ON COLUMN ota.denied_today.reason IS 'Why it was refused';
COMMENT ON COLUMN ota.denied_today.times IS 'How many rows of ota.denied these are';
COMMENT ON COLUMN ota.denied_today.first_at IS 'The first of them';
COMMENT ON COLUMN ota.denied_today.last_at IS 'The last of them';
COMMENT ON COLUMN ota.denied_today.brokers IS 'The brokers that refused';
