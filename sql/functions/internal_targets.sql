-- Which devices may get a release.  (Files are applied in the order of their names; this one needs internal_semver.)

-- Its columns change from version to version, which CREATE OR REPLACE refuses; nothing but the other one depends on it.
DROP FUNCTION IF EXISTS ota.stage_pool(ota.rollout, integer, text, boolean, text);
DROP FUNCTION IF EXISTS ota.eligible_devices(text, bigint, text[]);
CREATE FUNCTION ota.eligible_devices(fleet text, release_id bigint, ids text[] DEFAULT NULL)
RETURNS TABLE (device_id text, reason text, code text, version text, hardware text, connected boolean, listening boolean, site text, steps bigint[], broker text, gateway text, session bigint)
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
    -- Every device of the fleet with the reason why it cannot be given the release (null: it can), in words for people and as the
    -- code of include/ota/rules/eligibility.h, whose meaning and order this has; pins and quarantine are looked at after "current".
    -- A device below minVersion for which stepping stones are known can be given it: steps are those releases, see ota.step_path().
    -- fleet: its name; release_id: of ota.release; ids: only these devices (null: all).  No rows: no such fleet or release.
    --
    -- One statement, without SET clauses, so that it becomes part of the caller's query: a caller that asks for
    -- `reason IS NULL` of a million devices pays one scan.  Versions are compared once for each distinct one.
    WITH terms AS MATERIALIZED (
        SELECT r.version, r.sequence, r.hardware, r.min_version, r.max_version,
               ota.version_key(r.min_version) AS min_key, ota.version_key(r.max_version) AS max_key,
               f.pinned_version AS fleet_pin,
               r.min_version IS NOT NULL OR r.max_version IS NOT NULL AS bounded,
               coalesce(cardinality(r.fleets), 0) = 0 OR f.fleet::text = ANY (r.fleets) AS for_fleet,
               coalesce(cardinality(r.hardware), 0) = 0 AS any_hardware,
               now() < r.not_before AS not_yet, now() >= r.expires AS expired, r.not_before, r.expires
          FROM ota.release r, ota.fleet f
         WHERE r.release_id = eligible_devices.release_id AND f.fleet = eligible_devices.fleet
    ), versions AS MATERIALIZED (
        SELECT k.version, k.key IS NULL AS unreadable,
               CASE WHEN k.key IS NULL THEN 'below_min_version'
                    WHEN t.min_version IS NOT NULL AND coalesce(k.key < t.min_key, true) THEN 'below_min_version'
                    WHEN t.max_version IS NOT NULL AND coalesce(k.key > t.max_key, true) THEN 'above_max_version'
               END AS bounds
          FROM terms t,
               LATERAL (SELECT DISTINCT coalesce(d.version, '') AS version FROM ota.device d
                         WHERE t.bounded AND d.fleet = eligible_devices.fleet
                           AND (eligible_devices.ids IS NULL OR d.device_id = ANY (eligible_devices.ids))) v,
               LATERAL (SELECT v.version, ota.version_key(v.version) AS key OFFSET 0) k
    ), kinds AS MATERIALIZED (
        -- Devices that need a stepping stone are alike when these are; there are none for a release without minVersion.
        SELECT DISTINCT v.version, coalesce(d.hardware, '') AS hardware, d.sequence
          FROM versions v
          JOIN ota.device d ON d.fleet = eligible_devices.fleet AND d.version = v.version
           AND (eligible_devices.ids IS NULL OR d.device_id = ANY (eligible_devices.ids))
         WHERE v.bounds = 'below_min_version' AND NOT v.unreadable
    ), ways AS MATERIALIZED (
        SELECT h.hardware, ota.step_ways(eligible_devices.release_id, eligible_devices.fleet, h.hardware) AS ways
          FROM (SELECT DISTINCT k.hardware FROM kinds k) h
    ), stones AS MATERIALIZED (
        SELECT k.version, k.hardware, k.sequence, ota.step_path(w.ways, k.version, k.sequence) AS steps
          FROM kinds k JOIN ways w ON w.hardware = k.hardware
    ), devices AS (
        -- Most releases have no bounds: then nothing is looked up for a device.
        SELECT d.device_id, d.version, d.hardware, d.connected, d.listening, d.sequence, d.broker, d.gateway, d.session, d.attributes,
               d.pinned_version, d.quarantined_at, d.failures, NULL::text AS bounds, NULL::boolean AS unreadable, NULL::bigint[] AS steps
          FROM ota.device d
         WHERE NOT (SELECT t.bounded FROM terms t) AND d.fleet = eligible_devices.fleet
           AND (eligible_devices.ids IS NULL OR d.device_id = ANY (eligible_devices.ids))
        UNION ALL
        SELECT d.device_id, d.version, d.hardware, d.connected, d.listening, d.sequence, d.broker, d.gateway, d.session, d.attributes,
               d.pinned_version, d.quarantined_at, d.failures, v.bounds, v.unreadable, s.steps
          FROM ota.device d
          LEFT JOIN versions v ON v.version = coalesce(d.version, '')
          LEFT JOIN stones s ON s.version = d.version AND s.hardware = coalesce(d.hardware, '') AND s.sequence = d.sequence
         WHERE (SELECT t.bounded FROM terms t) AND d.fleet = eligible_devices.fleet
           AND (eligible_devices.ids IS NULL OR d.device_id = ANY (eligible_devices.ids))
    ), judged AS (
        -- The first that fits is the answer.  The terms are not joined, which each device would pay for: they are values.
        SELECT d.device_id::text AS device_id, d.version, d.hardware, d.connected, d.listening, d.sequence, d.broker, d.gateway, d.session,
               nullif(d.attributes ->> 'site', '') AS site, d.pinned_version, d.unreadable, d.steps, d.quarantined_at, d.failures,
               CASE WHEN d.version = (SELECT t.version FROM terms t) THEN 'current'
                    WHEN coalesce(d.pinned_version, (SELECT t.fleet_pin FROM terms t)) <> (SELECT t.version FROM terms t) THEN 'pinned'
                    WHEN d.quarantined_at IS NOT NULL THEN 'quarantined'
                    WHEN NOT (SELECT t.for_fleet FROM terms t) THEN 'wrong_fleet'
                    WHEN NOT (SELECT t.any_hardware FROM terms t)
                     AND NOT coalesce(d.hardware <> '' AND d.hardware = ANY ((SELECT t.hardware FROM terms t)::text[]), false)
                    THEN 'wrong_hardware'
                    WHEN d.sequence > 0 AND (SELECT t.sequence FROM terms t) < d.sequence THEN 'old_sequence'
                    WHEN d.bounds IS NOT NULL AND d.steps IS NULL THEN d.bounds
                    WHEN (SELECT t.not_yet FROM terms t) THEN 'not_yet'
                    WHEN (SELECT t.expired FROM terms t) THEN 'expired'
               END AS code
          FROM devices d
    )
    SELECT j.device_id,
           CASE j.code
               WHEN 'current' THEN 'already runs it'
               WHEN 'pinned' THEN 'pinned to ' || coalesce(j.pinned_version, (SELECT t.fleet_pin FROM terms t))
               WHEN 'quarantined' THEN format('in quarantine since %s: %s failed updates in a row', date_trunc('second', j.quarantined_at), j.failures)
               WHEN 'wrong_fleet' THEN 'the release is not for this fleet'
               WHEN 'wrong_hardware' THEN CASE WHEN coalesce(j.hardware, '') = ''
                    THEN 'its hardware is unknown, and the release names some'
                    ELSE 'the release is not for hardware ' || j.hardware END
               WHEN 'old_sequence' THEN format('has run sequence %s, the release has %s: it would be a rollback',
                    j.sequence, (SELECT t.sequence FROM terms t))
               WHEN 'below_min_version' THEN CASE WHEN coalesce(j.version, '') = ''
                    THEN 'its version is unknown, and the release has bounds'
                    WHEN j.unreadable THEN format('runs %s, which is not a Semantic Version, and the release has bounds', j.version)
                    ELSE format('runs %s, below minVersion %s: needs a stepping stone, and no release is one', j.version, (SELECT t.min_version FROM terms t)) END
               WHEN 'above_max_version' THEN format('runs %s, above maxVersion %s', j.version, (SELECT t.max_version FROM terms t))
               WHEN 'not_yet' THEN 'not valid before ' || (SELECT t.not_before FROM terms t)
               WHEN 'expired' THEN 'expired at ' || (SELECT t.expires FROM terms t)
           END,
           j.code, j.version, j.hardware, j.connected, j.listening, j.site, j.steps, j.broker, j.gateway, j.session
      FROM judged j;
END;
COMMENT ON FUNCTION ota.eligible_devices(text, bigint, text[]) IS 'Devices of a fleet, each with the reason why it cannot get a release; null: it can';

CREATE FUNCTION ota.stage_pool(r ota.rollout, i_stage integer, i_no_site text, i_slots boolean, i_direct text)
RETURNS TABLE (device_id text, rank bigint, ready boolean, from_version text, site text, granted_at timestamptz, served_stage integer,
    broker text, state text, notified_at timestamptz, told_session bigint, place text, hardware text)
LANGUAGE sql STABLE
BEGIN ATOMIC
    -- Who may join a stage, each with its row of ota.device_update; for the parameters see ota.controller_open_stage().  Without SET
    -- clauses, as ota.eligible_devices(): part of the caller's query.
    SELECT c.device_id, c.rank, c.listening AND c.told IS NOT TRUE, c.version, coalesce(c.site, i_no_site), CASE WHEN c.slot THEN now() END,
           CASE WHEN c.slot THEN i_stage END, CASE WHEN c.slot THEN c.broker END, CASE WHEN c.told THEN 'notified' ELSE 'pending' END,
           CASE WHEN c.told THEN now() END, CASE WHEN c.told THEN c.session ELSE 0 END, c.site, c.hardware
      FROM (SELECT b.*, b.slot AND b.broker = i_direct AS told
              FROM (SELECT e.device_id, e.listening, e.version, e.site, e.broker, e.session, e.hardware,
                           ota.cohort_rank(r.rollout_id, e.device_id) AS rank,
                           CASE WHEN i_slots THEN e.listening AND e.gateway IS NULL AND e.device_id NOT IN (SELECT o.device_id FROM ota.device_update o
                                WHERE o.state IN ('notified', 'downloading', 'verifying', 'applying', 'rebooting')) END AS slot
                      FROM ota.eligible_devices(r.fleet, r.release_id) e
                     WHERE e.code IS NULL AND (r.only_from IS NULL OR e.version = r.only_from)
                       AND NOT EXISTS (SELECT 1 FROM ota.device_update u WHERE u.rollout_id = r.rollout_id AND u.device_id = e.device_id)
                    OFFSET 0) b) c;
END;
COMMENT ON FUNCTION ota.stage_pool(ota.rollout, integer, text, boolean, text) IS 'Internal: the devices that may join a stage, with the rows that they would have';
