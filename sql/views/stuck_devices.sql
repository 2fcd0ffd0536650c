-- Which devices have not got what they should, and why.
DROP VIEW IF EXISTS ota.stuck_devices;
CREATE VIEW ota.stuck_devices AS
WITH hours AS MATERIALIZED (
    SELECT r.rollout_id, w.open, w.next_change, b.until_at AS blackout_until
      FROM ota.rollout r
     CROSS JOIN LATERAL ota.window_state(r.fleet, now()) w
     CROSS JOIN LATERAL ota.blackout_state(r.fleet, now()) b
     WHERE NOT r.any_time AND r.state IN ('running', 'completed')
)
SELECT u.device_id, d.fleet::text AS fleet, d.hardware, d.attributes ->> 'site' AS site, d.version, l.version AS wanted,
       u.rollout_id, r.state AS rollout_state, u.state, u.attempt, u.error,
       CASE WHEN u.state = 'pending' AND NOT d.connected THEN d.last_seen
            WHEN u.state = 'pending' THEN coalesce(u.granted_at, s.opened_at)
            ELSE coalesce(u.finished_at, u.notified_at) END AS since,
       CASE
           WHEN u.state IN ('failed', 'rolled_back', 'timed_out', 'rejected', 'cancelled')
           THEN CASE u.state WHEN 'failed' THEN 'it failed' WHEN 'rolled_back' THEN 'it went back to the old version'
                             WHEN 'timed_out' THEN 'it kept silent beyond its deadline' WHEN 'rejected' THEN 'it declined'
                             ELSE 'its update was taken back' END || coalesce(': ' || u.error, '')
                || CASE WHEN d.quarantined_at IS NULL THEN ''
                        ELSE format('; it is in quarantine since %s: ota.unquarantine_device', date_trunc('second', d.quarantined_at)) END
           WHEN u.state IN ('notified', 'downloading', 'verifying', 'applying', 'rebooting')
           THEN CASE WHEN NOT d.connected THEN 'it is away, and was last ' || u.state
                     WHEN u.state = 'notified' THEN 'it was told and has not begun'
                     ELSE 'it is ' || u.state END || coalesce('; its deadline is ' || date_trunc('second', u.deadline), '')
           WHEN r.state IN ('paused', 'halted') THEN 'the rollout is ' || r.state || coalesce(': ' || r.reason, '')
           WHEN NOT d.connected THEN 'it is away' || coalesce(' since ' || date_trunc('second', d.last_seen), ', and was never here')
           WHEN NOT d.listening THEN 'it is connected and has not subscribed to a notify topic'
           WHEN h.blackout_until IS NOT NULL THEN 'a blackout lasts until ' || h.blackout_until
           WHEN NOT h.open THEN 'the update window is closed until ' || coalesce(h.next_change::text, 'somebody changes it')
           WHEN u.granted_at IS NOT NULL THEN 'it is told next, by broker ' || coalesce(u.broker, d.broker, '(unknown)')
           WHEN u.error = 'URL_NOT_MADE' THEN 'no URL can be made for it'
                || coalesce(': ' || (SELECT e.detail ->> 'reason' FROM ota.event e WHERE e.device_id = u.device_id AND e.kind = 'undelivered'
                                      ORDER BY e.at DESC, e.event_id DESC LIMIT 1), '')
           WHEN u.not_before > now() THEN 'it asked to wait until ' || date_trunc('second', u.not_before)
           WHEN o.rollout_id IS NOT NULL THEN 'rollout ' || o.rollout_id || ' is updating it'
           WHEN g.busy >= f.max_per_gateway THEN format('its gateway %s has %s devices being updated, %s at most', d.gateway, g.busy, f.max_per_gateway)
           WHEN p.busy >= p.cap THEN format('site %s has %s devices being updated, %s at most', u.site, p.busy, p.cap)
           ELSE 'it waits for its turn' END AS reason
  FROM ota.device_update u
  JOIN ota.rollout r ON r.rollout_id = u.rollout_id AND r.state IN ('running', 'paused', 'halted', 'completed')
  JOIN ota.release l ON l.release_id = r.release_id
  JOIN ota.device d ON d.device_id = u.device_id
  JOIN ota.fleet f ON f.fleet = d.fleet
  LEFT JOIN ota.rollout_stage s ON s.rollout_id = u.rollout_id AND s.stage = u.stage
  LEFT JOIN hours h ON h.rollout_id = u.rollout_id
  -- Who else is being updated is asked only for devices that could be told otherwise.
  LEFT JOIN LATERAL (SELECT x.rollout_id FROM ota.device_update x
                      WHERE x.device_id = u.device_id AND x.rollout_id <> u.rollout_id AND u.ready
                        AND x.state IN ('notified', 'downloading', 'verifying', 'applying', 'rebooting') LIMIT 1) o ON true
  LEFT JOIN LATERAL (SELECT count(*) AS busy FROM ota.device n
                       JOIN ota.device_update x ON x.device_id = n.device_id
                        AND (x.state IN ('notified', 'downloading', 'verifying', 'applying', 'rebooting')
                          OR x.state = 'pending' AND x.granted_at IS NOT NULL)
                      WHERE u.ready AND n.gateway = d.gateway) g ON d.gateway IS NOT NULL
  LEFT JOIN LATERAL (SELECT count(*) AS busy, least((r.options ->> 'max_per_site')::integer, f.max_per_site) AS cap
                       FROM ota.device_update x
                      WHERE u.ready AND x.site = u.site
                        AND (x.state IN ('notified', 'downloading', 'verifying', 'applying', 'rebooting')
                          OR x.state = 'pending' AND x.granted_at IS NOT NULL)) p ON u.site <> ''
 WHERE u.state <> 'succeeded' AND d.version IS DISTINCT FROM l.version
UNION ALL
-- Those that no stage has taken in, because they are in quarantine.
SELECT d.device_id::text, d.fleet::text, d.hardware, d.attributes ->> 'site', d.version, l.version, r.rollout_id, r.state, NULL, NULL, NULL,
       d.quarantined_at, format('it is in quarantine since %s: %s failed updates in a row; ota.unquarantine_device lets it take part again',
           date_trunc('second', d.quarantined_at), d.failures)
  FROM ota.device d
  JOIN ota.fleet f ON f.fleet = d.fleet
  JOIN ota.rollout r ON r.fleet = d.fleet AND r.device_id IS NULL AND r.state IN ('running', 'paused', 'completed')
   AND (r.only_from IS NULL OR r.only_from = d.version)
  JOIN ota.release l ON l.release_id = r.release_id AND l.version = coalesce(d.pinned_version, f.pinned_version, l.version)
 WHERE d.quarantined_at IS NOT NULL AND d.version IS DISTINCT FROM l.version
   AND NOT EXISTS (SELECT FROM ota.device_update u WHERE u.rollout_id = r.rollout_id AND u.device_id = d.device_id);
COMMENT ON VIEW ota.stuck_devices IS 'Devices that do not run what their rollouts bring, those left out in quarantine included, each with the reason; ask for a rollout, a fleet or a device';
COMMENT ON COLUMN ota.stuck_devices.device_id IS 'The device';
COMMENT ON COLUMN ota.stuck_devices.fleet IS 'Its fleet';
COMMENT ON COLUMN ota.stuck_devices.hardware IS 'Its model';
COMMENT ON COLUMN ota.stuck_devices.site IS 'Where it stands';
COMMENT ON COLUMN ota.stuck_devices.version IS 'What it runs now';
COMMENT ON COLUMN ota.stuck_devices.wanted IS 'What the rollout brings';
COMMENT ON COLUMN ota.stuck_devices.rollout_id IS 'The rollout';
COMMENT ON COLUMN ota.stuck_devices.rollout_state IS 'Where that stands';
COMMENT ON COLUMN ota.stuck_devices.state IS 'State of the device''s update; null: it is left out';
COMMENT ON COLUMN ota.stuck_devices.attempt IS 'Number of its present or last attempt';
COMMENT ON COLUMN ota.stuck_devices.error IS 'The code that it or the broker gave';
COMMENT ON COLUMN ota.stuck_devices.since IS 'Away, waiting, told, finished or in quarantine since then';
COMMENT ON COLUMN ota.stuck_devices.reason IS 'Why it does not run it, in words';
