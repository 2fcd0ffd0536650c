-- What happens next, and when: of rollouts, windows and blackouts.
DROP VIEW IF EXISTS ota.agenda;
CREATE VIEW ota.agenda AS
SELECT a.at, a.what, a.fleet, a.rollout_id, a.version, a.state
  FROM (
    SELECT r.next_at AS at, r.next_action AS what, r.fleet::text AS fleet, r.rollout_id, l.version, r.state
      FROM ota.rollout r JOIN ota.release l ON l.release_id = r.release_id
     WHERE r.state IN ('running', 'paused', 'halted') AND r.next_action IS NOT NULL
        OR r.state IN ('scheduled', 'completed') AND r.next_action LIKE 'cannot go on: %'
    UNION ALL
    -- One that a back end has published waits for its release's verification, whatever its time; one whose release is no more is as good as
    -- halted.
    SELECT CASE WHEN l.state = 'verified' THEN r.start_at END,
           CASE l.state WHEN 'verified' THEN 'rollout starts'
                        WHEN 'submitted' THEN 'rollout starts when a broker has verified the release'
                        ELSE format('rollout does not start: its release is %s', l.state) END,
           r.fleet::text, r.rollout_id, l.version, r.state
      FROM ota.rollout r JOIN ota.release l ON l.release_id = r.release_id
     WHERE r.state = 'scheduled'
    UNION ALL
    SELECT w.next_change, CASE WHEN w.open THEN 'update window closes' ELSE 'update window opens' END, f.fleet::text, NULL, NULL,
           CASE WHEN w.open THEN 'open' ELSE 'closed' END
      FROM ota.fleet f CROSS JOIN LATERAL ota.window_state(f.fleet, now()) w
     WHERE EXISTS (SELECT FROM ota.fleet_window x WHERE x.fleet = f.fleet) AND w.next_change IS NOT NULL
    UNION ALL
    SELECT b.from_at, 'blackout begins: ' || b.reason, b.fleet::text, NULL, NULL, 'scheduled' FROM ota.blackout b WHERE b.from_at > now()
    UNION ALL
    SELECT b.until_at, 'blackout ends: ' || b.reason, b.fleet::text, NULL, NULL, CASE WHEN b.from_at <= now() THEN 'open' ELSE 'scheduled' END
      FROM ota.blackout b WHERE b.until_at > now()) a;
COMMENT ON VIEW ota.agenda IS 'What happens next: ORDER BY at; without a time it depends on devices or on somebody';
COMMENT ON COLUMN ota.agenda.at IS 'When; past: it is due; null: it depends on devices or on somebody';
COMMENT ON COLUMN ota.agenda.what IS 'What happens, in words';
COMMENT ON COLUMN ota.agenda.fleet IS 'To which fleet; null: to every one';
COMMENT ON COLUMN ota.agenda.rollout_id IS 'The rollout it is about, null: none';
COMMENT ON COLUMN ota.agenda.version IS 'What that rolls out';
COMMENT ON COLUMN ota.agenda.state IS 'State of the rollout, the window or the blackout now';
