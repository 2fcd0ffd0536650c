-- How a batch of a broker's events reaches the tables: broker_read gives the facts, the plugin applies its rules to them in
-- order, broker_write stores what came out.  Both in one transaction, together with the batch's sequence number.

CREATE OR REPLACE FUNCTION ota.broker_updates(i_devices text[])
RETURNS TABLE (n bigint, rollout_id bigint, attempt integer, state text, retries_used integer, told_session bigint,
    boots integer, boots_since_ms bigint, deadline_ms bigint, not_before_ms bigint, error text,
    retell_ms bigint, target_version text, download_ms bigint, health_ms bigint, retries integer, reboot boolean,
    told_by text, step boolean, final_version text)
LANGUAGE plpgsql SET search_path = ota, pg_temp
    SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_memoize = off AS $$
-- The update each of these devices is in (the one it was told of, else the newest it waits for); no row: none.
-- Locks the updates, in a fixed order, so that an operator's halt and a device's report do not overwrite each other.
--
-- One plan for every batch, made with the first one: to estimate an array of thousands costs more than to look them up.  It may be made
-- while the tables are empty, and must be good when they are not: rows are found by indexes, one by one.
BEGIN
    PERFORM 1 FROM ota.device_update u
      WHERE u.device_id = ANY (i_devices)
        AND u.state IN ('pending', 'notified', 'downloading', 'verifying', 'applying', 'rebooting')
      ORDER BY u.device_id, u.rollout_id FOR UPDATE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    RETURN QUERY
    SELECT i.ord, u.rollout_id, u.attempt, u.state, u.retries_used, u.told_session,
           u.boots, (extract(epoch FROM u.boots_since) * 1000)::bigint, (extract(epoch FROM u.deadline) * 1000)::bigint,
           (extract(epoch FROM u.not_before) * 1000)::bigint, u.error, (extract(epoch FROM u.retell_at) * 1000)::bigint,
           l.version, (extract(epoch FROM r.download_timeout) * 1000)::bigint,
           (extract(epoch FROM r.health_timeout) * 1000)::bigint, r.retries,
           coalesce((r.options ->> 'reboot')::boolean, true), u.broker, u.step_release_id IS NOT NULL, f.version
      FROM unnest(i_devices) WITH ORDINALITY AS i (id, ord)
      JOIN LATERAL (
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
COMMENT ON FUNCTION ota.broker_updates(text[]) IS 'Plugin: the open updates of the devices of a batch, locked';

CREATE OR REPLACE FUNCTION ota.broker_read(i_broker text, i_devices text[])
RETURNS TABLE (n bigint, fleet_from text, version text, hardware text, session bigint, here boolean, gateway text, boot_id text, seen_ms bigint)
LANGUAGE plpgsql SET search_path = ota, pg_temp
    SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_memoize = off AS $$
-- What is known of these devices; no row: nothing.  here: connected to this broker, and has been seen.
BEGIN
    RETURN QUERY
    SELECT i.ord, d.fleet_from, d.version, d.hardware, d.session,
           d.connected AND d.cut_off IS NULL AND d.first_seen IS NOT NULL AND d.broker IS NOT DISTINCT FROM i_broker,
           d.gateway, d.boot_id,
           CASE WHEN isfinite(d.last_seen) THEN (date_part('epoch', d.last_seen) * 1000)::bigint END
      FROM unnest(i_devices) WITH ORDINALITY AS i (id, ord)
      JOIN ota.device d ON d.device_id = i.id;
END
$$;
COMMENT ON FUNCTION ota.broker_read(text, text[]) IS 'Plugin: facts of the devices of a batch';

CREATE OR REPLACE FUNCTION ota.broker_chain(i_broker text, i_count integer)
RETURNS TABLE (chain integer, "position" bigint, hash text, ids text)
LANGUAGE plpgsql SET search_path = ota, pg_temp AS $$
-- Where the broker's chain of the audit log ends, and numbers for so many rows behind that, for the broker to compute their hashes.
-- No row: it has none yet.  Nothing is locked: broker_write() refuses what does not follow the end.
BEGIN
    RETURN QUERY
    SELECT c.chain, c.position, encode(c.hash, 'hex'),
           (SELECT string_agg(nextval('ota.event_event_id_seq')::text, ',') FROM generate_series(1, i_count))
      FROM ota.event_chain c WHERE c.broker = i_broker;
END
$$;
COMMENT ON FUNCTION ota.broker_chain(text, integer) IS 'Plugin: the end of the broker''s chain of the audit log, and numbers for rows to come';

CREATE OR REPLACE FUNCTION ota.broker_seen(i_broker text, i_id text[], i_seen_ms bigint[])
RETURNS void
LANGUAGE plpgsql SET search_path = ota, pg_temp
    SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_memoize = off AS $$
-- Devices that are connected here and have said nothing new: most of what a fleet says.  i_seen_ms null: it was written a moment ago,
-- and the row stays as it is.
DECLARE
    written_n  constant bigint := cardinality(array_remove(i_seen_ms, NULL));
    found_n    bigint;
BEGIN
    IF written_n = 0 THEN
        RETURN;
    END IF;
    UPDATE ota.device d SET last_seen = greatest(d.last_seen, ota.at_ms(x.seen_ms))
      FROM (SELECT unnest(i_id) AS id, unnest(i_seen_ms) AS seen_ms) x
     -- IS TRUE: there is an index of all that are connected to a broker, and it is not to be read.
     WHERE x.seen_ms IS NOT NULL AND d.device_id = x.id AND (d.connected AND d.cut_off IS NULL AND d.broker = i_broker) IS TRUE;
    GET DIAGNOSTICS found_n = ROW_COUNT;
    IF found_n < written_n THEN
        -- Since it was read, our broker was given up for a moment: the device is still there, as it was.
        UPDATE ota.device d
           SET connected = true, listening = d.listening OR (d.cut_off = 'listening') IS TRUE, cut_off = NULL,
               last_seen = greatest(d.last_seen, ota.at_ms(x.seen_ms))
          FROM (SELECT unnest(i_id) AS id, unnest(i_seen_ms) AS seen_ms) x
         WHERE x.seen_ms IS NOT NULL AND d.device_id = x.id AND d.broker = i_broker AND (d.connected AND d.cut_off IS NULL) IS NOT TRUE;
        -- Or it has gone to another broker: what it said here was earlier.
        UPDATE ota.device d SET last_seen = greatest(d.last_seen, ota.at_ms(x.seen_ms))
          FROM (SELECT unnest(i_id) AS id, unnest(i_seen_ms) AS seen_ms) x
         WHERE x.seen_ms IS NOT NULL AND d.device_id = x.id AND d.broker IS DISTINCT FROM i_broker;
    END IF;
END
$$;
COMMENT ON FUNCTION ota.broker_seen(text, text[], bigint[]) IS 'Plugin: devices that have been heard of, and nothing else';

CREATE OR REPLACE FUNCTION ota.broker_write(i_broker text, i_seq bigint,
    d_id text[], d_new boolean[], d_fleet text[], d_fleet_from text[], d_hardware text[], d_version text[],
    d_connected boolean[], d_listening boolean[], d_session bigint[], d_topic text[], d_seen_ms bigint[], d_boot_id text[],
    u_rollout bigint[], u_device text[], u_state text[], u_attempt integer[], u_retries integer[], u_failed integer[],
    u_told bigint[], u_boots integer[], u_boots_since_ms bigint[], u_not_before_ms bigint[], u_deadline_ms bigint[],
    u_error text[], u_retell_ms bigint[], u_at_ms bigint[],
    e_at_ms bigint[], e_device text[], e_rollout bigint[], e_kind text[], e_detail text[],
    s_id text[] DEFAULT '{}', s_seen_ms bigint[] DEFAULT '{}',
    e_chain integer DEFAULT NULL, e_position bigint DEFAULT NULL, e_before bytea DEFAULT NULL, e_id bigint[] DEFAULT '{}',
    e_hash bytea[] DEFAULT '{}')
RETURNS void
LANGUAGE plpgsql SET search_path = ota, pg_temp AS $$
-- Store one batch.  Null in an array: unchanged (devices), none (updates).  i_seq null: no outbox records (time-outs).
-- Raises 40001 when i_seq is already here, so that a batch counts once; and when another broker has stored a later session of a device
-- since its facts were read: they are to be read again.
--
-- d_ devices of which something is new, u_ device updates, e_ audit rows, s_ devices of which nothing is new but that they were heard of.
-- e_chain to e_hash: the audit rows' numbers and hashes, where the broker has computed them, see event_store().
DECLARE
    added    bigint := 0;
    missed   boolean := false;
    written  bigint;
    joined   integer;
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
            -- With all that is known of them: to insert and then update them would write each twice, and its index entries too.
            INSERT INTO ota.device (device_id, fleet, fleet_from, hardware, version, sequence, connected, listening, broker, session,
                                    notify_topic, boot_id, first_seen, last_seen)
            SELECT x.id, coalesce(x.fleet, 'default'), coalesce(x.fleet_from, 'default'), x.hardware, x.version,
                   greatest(0, (SELECT l.sequence FROM ota.release l WHERE l.version = x.version AND l.state IN ('verified', 'revoked'))),
                   coalesce(x.connected, false), coalesce(x.listening, false), i_broker, coalesce(x.session, 0), x.topic, x.boot_id,
                   ota.at_ms(x.seen_ms), ota.at_ms(x.seen_ms)
              FROM unnest(d_id, d_new, d_fleet, d_fleet_from, d_hardware, d_version, d_connected, d_listening, d_session, d_topic,
                       d_seen_ms, d_boot_id)
                   AS x (id, new, fleet, fleet_from, hardware, version, connected, listening, session, topic, seen_ms, boot_id)
             WHERE x.new
            ON CONFLICT DO NOTHING;
            GET DIAGNOSTICS added = ROW_COUNT;
            -- Somebody else has inserted some of them since they were looked for: all are updated then, so that none is left out.
            missed := added < cardinality(array_positions(d_new, true));
            added := CASE WHEN missed THEN 0 ELSE added END;
        END IF;
        UPDATE ota.device d
           -- So written that a name is checked only where it is written.
           SET fleet = CASE WHEN x.fleet IS NULL THEN d.fleet ELSE x.fleet END,
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
               first_seen = coalesce(d.first_seen, ota.at_ms(x.seen_ms)),
               last_seen = greatest(d.last_seen, ota.at_ms(x.seen_ms))
          FROM unnest(d_id, d_fleet, d_fleet_from, d_hardware, d_version, d_connected, d_listening, d_session, d_topic,
                   d_seen_ms, d_boot_id, d_new)
               AS x (id, fleet, fleet_from, hardware, version, connected, listening, session, topic, seen_ms, boot_id, new)
         WHERE d.device_id = x.id AND (d.session > x.session) IS NOT TRUE AND (x.new IS NOT TRUE OR missed);
        GET DIAGNOSTICS written = ROW_COUNT;
        IF written + added < cardinality(d_id) AND EXISTS (SELECT FROM unnest(d_id, d_session) AS x (id, session)
                                                            JOIN ota.device d ON d.device_id = x.id WHERE d.session > x.session) THEN
            RAISE EXCEPTION 'a device of broker "%" has been heard of at another one, in a later session', i_broker
                USING ERRCODE = '40001';
        END IF;
    END IF;
    IF cardinality(s_id) > 0 THEN
        PERFORM ota.broker_seen(i_broker, s_id, s_seen_ms);
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
    END IF;
    -- Who says what it runs may join, also when it has said so before: what holds it back may have gone since.
    joined := ota.broker_join(s_id || ARRAY(SELECT x.id FROM unnest(d_id, d_new, d_fleet, d_version) AS x (id, new, fleet, version)
                                           WHERE x.new OR x.fleet IS NOT NULL OR x.version IS NOT NULL));
    IF cardinality(u_rollout) > 0 OR joined > 0 THEN
        PERFORM pg_notify('ota', i_broker);
    END IF;

    IF e_chain IS NOT NULL THEN
        BEGIN
            PERFORM ota.event_store(i_broker, e_chain, e_position, e_before, e_id, e_at_ms, e_device, e_rollout, e_kind, e_detail, e_hash);
            RETURN;
        EXCEPTION WHEN data_corrupted THEN
            RAISE LOG 'ota: %', SQLERRM;
        END;
    END IF;
    PERFORM ota.event_append(i_broker, e_at_ms, e_device, e_rollout, e_kind, e_detail);
END
$$;
COMMENT ON FUNCTION ota.broker_write IS 'Plugin: store what became of a batch of events';
