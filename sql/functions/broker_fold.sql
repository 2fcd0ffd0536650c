-- How a batch of a broker's events reaches the tables: broker_read gives the facts, the plugin applies its rules to them in
-- order, broker_write stores what came out.  Both in one transaction, together with the batch's sequence number.

CREATE OR REPLACE FUNCTION ota.broker_read(i_devices text[])
RETURNS TABLE (n bigint, known boolean, fleet text, fleet_from text, version text, session bigint, connected boolean,
    listening boolean, rollout_id bigint, attempt integer, state text, retries_used integer, told_session bigint,
    boots integer, boots_since_ms bigint, deadline_ms bigint, not_before_ms bigint, error text,
    retell_ms bigint, target_version text, download_ms bigint, health_ms bigint, retries integer, reboot boolean,
    gateway text, boot_id text, told_by text, step boolean, final_version text)
LANGUAGE plpgsql SET search_path = ota, pg_temp AS $$
-- The facts of these devices and of the update each of them is in (the one it was told of, else the newest it waits for).
-- Locks the updates, in a fixed order, so that an operator's halt and a device's report do not overwrite each other.
BEGIN
    PERFORM 1 FROM ota.device_update u
      WHERE u.device_id = ANY (i_devices)
        AND u.state IN ('pending', 'notified', 'downloading', 'verifying', 'applying', 'rebooting')
      ORDER BY u.device_id, u.rollout_id FOR UPDATE;
    RETURN QUERY
    SELECT i.ord, d.device_id IS NOT NULL, d.fleet::text, d.fleet_from, d.version, d.session, d.connected, d.listening,
           u.rollout_id, u.attempt, u.state, u.retries_used, u.told_session,
           u.boots, (extract(epoch FROM u.boots_since) * 1000)::bigint, (extract(epoch FROM u.deadline) * 1000)::bigint,
           (extract(epoch FROM u.not_before) * 1000)::bigint, u.error, (extract(epoch FROM u.retell_at) * 1000)::bigint,
           l.version, (extract(epoch FROM r.download_timeout) * 1000)::bigint,
           (extract(epoch FROM r.health_timeout) * 1000)::bigint, r.retries,
           coalesce((r.options ->> 'reboot')::boolean, true), d.gateway, d.boot_id, u.broker, u.step_release_id IS NOT NULL, f.version
      FROM unnest(i_devices) WITH ORDINALITY AS i (id, ord)
      LEFT JOIN ota.device d ON d.device_id = i.id
      LEFT JOIN LATERAL (
            SELECT * FROM ota.device_update o
             WHERE o.device_id = i.id
               AND o.state IN ('pending', 'notified', 'downloading', 'verifying', 'applying', 'rebooting')
             ORDER BY o.state <> 'pending' DESC, o.rollout_id DESC LIMIT 1) u ON true
      LEFT JOIN ota.rollout r ON r.rollout_id = u.rollout_id
      -- A device on a stepping stone is expected on that one's version.
      LEFT JOIN ota.release l ON l.release_id = coalesce(u.step_release_id, r.release_id)
      LEFT JOIN ota.release f ON f.release_id = r.release_id;
END
$$;
COMMENT ON FUNCTION ota.broker_read(text[]) IS 'Plugin: facts of the devices of a batch, their open updates locked';

CREATE OR REPLACE FUNCTION ota.broker_write(i_broker text, i_seq bigint,
    d_id text[], d_new boolean[], d_fleet text[], d_fleet_from text[], d_hardware text[], d_version text[],
    d_connected boolean[], d_listening boolean[], d_session bigint[], d_topic text[], d_seen_ms bigint[], d_boot_id text[],
    u_rollout bigint[], u_device text[], u_state text[], u_attempt integer[], u_retries integer[], u_failed integer[],
    u_told bigint[], u_boots integer[], u_boots_since_ms bigint[], u_not_before_ms bigint[], u_deadline_ms bigint[],
    u_error text[], u_retell_ms bigint[], u_at_ms bigint[],
    e_at_ms bigint[], e_device text[], e_rollout bigint[], e_kind text[], e_detail text[])
RETURNS void
LANGUAGE plpgsql SET search_path = ota, pg_temp AS $$
-- Store one batch.  Null in an array: unchanged (devices), none (updates).  i_seq null: no outbox records (time-outs).
-- Raises 40001 when i_seq is already here, so that a batch counts once.
BEGIN
    IF i_seq IS NOT NULL THEN
        UPDATE ota.broker SET last_seq = i_seq WHERE broker = i_broker AND last_seq < i_seq;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'the events of broker "%" up to number % are already written', i_broker, i_seq
                USING ERRCODE = '40001';
        END IF;
    END IF;

    IF cardinality(d_id) > 0 THEN
        -- A stage that opens at this moment must see who is listening, see controller_open_stage().
        PERFORM pg_advisory_xact_lock_shared(hashtext('ota.listening'));
        INSERT INTO ota.fleet (fleet)
        SELECT DISTINCT f FROM unnest(d_fleet) AS f WHERE f IS NOT NULL
        ON CONFLICT DO NOTHING;
        IF true = ANY (d_new) THEN
            INSERT INTO ota.device (device_id, fleet, fleet_from, first_seen)
            SELECT x.id, coalesce(x.fleet, 'default'), coalesce(x.fleet_from, 'default'), to_timestamp(x.seen_ms / 1000.0)
              FROM unnest(d_id, d_new, d_fleet, d_fleet_from, d_seen_ms) AS x (id, new, fleet, fleet_from, seen_ms)
             WHERE x.new
            ON CONFLICT DO NOTHING;
        END IF;
        UPDATE ota.device d
           SET fleet = coalesce(x.fleet, d.fleet),
               fleet_from = coalesce(x.fleet_from, d.fleet_from),
               hardware = coalesce(x.hardware, d.hardware),
               sequence = CASE WHEN x.version IS NULL OR x.version IS NOT DISTINCT FROM d.version THEN d.sequence
                   ELSE greatest(d.sequence, (SELECT l.sequence FROM ota.release l
                       WHERE l.version = x.version AND l.state IN ('verified', 'revoked'))) END,
               version = coalesce(x.version, d.version),
               connected = coalesce(x.connected, d.connected),
               cut_off = CASE WHEN x.connected IS NULL THEN d.cut_off END,
               listening = coalesce(x.listening, d.listening),
               broker = CASE WHEN x.connected THEN i_broker ELSE coalesce(d.broker, i_broker) END,
               session = coalesce(x.session, d.session),
               notify_topic = coalesce(x.topic, d.notify_topic),
               boot_id = coalesce(x.boot_id, d.boot_id),
               first_seen = coalesce(d.first_seen, to_timestamp(x.seen_ms / 1000.0)),
               last_seen = greatest(d.last_seen, to_timestamp(x.seen_ms / 1000.0))
          FROM unnest(d_id, d_fleet, d_fleet_from, d_hardware, d_version, d_connected, d_listening, d_session, d_topic,
                   d_seen_ms, d_boot_id)
               AS x (id, fleet, fleet_from, hardware, version, connected, listening, session, topic, seen_ms, boot_id)
         WHERE d.device_id = x.id;
    END IF;

    IF cardinality(u_rollout) > 0 THEN
        UPDATE ota.device_update u
           SET state = x.state, attempt = x.attempt, retries_used = x.retries,
               attempts_failed = u.attempts_failed + x.failed, told_session = x.told, boots = x.boots,
               boots_since = to_timestamp(x.boots_since_ms / 1000.0),
               not_before = to_timestamp(x.not_before_ms / 1000.0),
               deadline = to_timestamp(x.deadline_ms / 1000.0),
               -- What failed on a stepping stone says so.
               error = CASE WHEN u.step_release_id IS NOT NULL AND x.state IN ('failed', 'rolled_back', 'timed_out', 'rejected', 'cancelled')
                            THEN (SELECT left(format('stepping stone %s: %s', l.version, coalesce(x.error, x.state)), 200)
                                    FROM ota.release l WHERE l.release_id = u.step_release_id)
                            ELSE x.error END,
               step_release_id = CASE WHEN x.state <> 'pending' THEN u.step_release_id END,
               retell_at = to_timestamp(x.retell_ms / 1000.0),
               granted_at = CASE WHEN x.state = 'pending' AND u.state <> 'pending' THEN NULL ELSE u.granted_at END,
               notified_at = CASE WHEN x.state = 'pending' AND x.attempt = u.attempt AND u.state = 'notified'
                                  THEN NULL ELSE u.notified_at END,
               finished_at = CASE WHEN x.state IN ('succeeded', 'failed', 'rolled_back', 'timed_out', 'rejected', 'cancelled')
                                  THEN coalesce(u.finished_at, to_timestamp(x.at_ms / 1000.0)) END,
               ready = x.state = 'pending' AND d.listening
          FROM unnest(u_rollout, u_device, u_state, u_attempt, u_retries, u_failed, u_told, u_boots, u_boots_since_ms,
                   u_not_before_ms, u_deadline_ms, u_error, u_retell_ms, u_at_ms)
               AS x (rollout, device, state, attempt, retries, failed, told, boots, boots_since_ms, not_before_ms,
                   deadline_ms, error, retell_ms, at_ms)
          JOIN ota.device d ON d.device_id = x.device
         WHERE u.rollout_id = x.rollout AND u.device_id = x.device;
        PERFORM ota.quarantine_count(u_device, u_rollout, u_state);
        PERFORM pg_notify('ota', i_broker);
    END IF;

    IF cardinality(d_id) > 0 THEN
        -- A slot is its broker's: who has moved on to another one waits for the next.
        UPDATE ota.device_update u
           SET ready = d.listening,
               granted_at = CASE WHEN d.listening AND u.broker = d.broker THEN u.granted_at END
          FROM unnest(d_id, d_listening) AS x (id, listening)
          JOIN ota.device d ON d.device_id = x.id
         WHERE x.listening IS NOT NULL AND u.device_id = x.id AND u.state = 'pending'
           AND (u.ready <> d.listening OR u.granted_at IS NOT NULL AND u.broker <> d.broker);
        PERFORM ota.broker_join(i_devices)
          FROM (SELECT array_agg(x.id) AS i_devices
                  FROM unnest(d_id, d_new, d_fleet, d_version) AS x (id, new, fleet, version)
                 WHERE x.new OR x.fleet IS NOT NULL OR x.version IS NOT NULL) j
         WHERE i_devices IS NOT NULL;
    END IF;

    PERFORM ota.event_append(i_broker, e_at_ms, e_device, e_rollout, e_kind, e_detail);
END
$$;
COMMENT ON FUNCTION ota.broker_write IS 'Plugin: store what became of a batch of events';
