-- What a broker says of itself: that it starts, and that it lives.

CREATE OR REPLACE FUNCTION ota.broker_hello(i_broker text, i_plugin text, i_fresh boolean)
RETURNS bigint
LANGUAGE plpgsql SET search_path = ota, pg_temp AS $$
-- Called by the plugin after connecting.  i_fresh: the broker process has just started, so that none of its earlier
-- sessions is left.  Returns the outbox sequence number up to which its events are already here.
DECLARE
    last  bigint;
    away  interval;
BEGIN
    INSERT INTO ota.broker AS b (broker, started_at, alive_at, plugin)
    VALUES (i_broker, now(), now(), i_plugin)
    ON CONFLICT (broker) DO UPDATE SET plugin = excluded.plugin
    RETURNING b.last_seq, now() - b.alive_at INTO last, away;

    IF i_fresh THEN
        UPDATE ota.broker SET started_at = now() WHERE broker = i_broker;
        -- Devices could not report while their broker was down: that time is not counted against them.
        UPDATE ota.device_update
           SET deadline = deadline + away + interval '10 seconds'
         WHERE broker = i_broker AND deadline > now() - away
           AND state IN ('notified', 'downloading', 'verifying', 'applying', 'rebooting');
        PERFORM ota.broker_sessions_end(i_broker);
        PERFORM ota.audit('broker_started', NULL, NULL,
            jsonb_build_object('broker', i_broker, 'plugin', i_plugin, 'away_seconds', round(extract(epoch FROM away))));
    ELSE
        PERFORM ota.broker_sessions_return(i_broker);
        -- A claim, or a page of a stage that was handed out, whose answer was lost with the connection: its devices are claimed again,
        -- and the gate tells those that it has not told yet.
        UPDATE ota.device_update SET retell_at = now() + interval '2 seconds'
         WHERE broker = i_broker AND state = 'notified' AND retell_at IS NULL AND deadline IS NOT NULL
           AND notified_at > now() - away - interval '20 seconds';
    END IF;
    UPDATE ota.broker SET alive_at = now() WHERE broker = i_broker;
    RETURN last;
END
$$;
COMMENT ON FUNCTION ota.broker_hello(text, text, boolean) IS 'Plugin: a broker connects; returns its last outbox sequence number here';

CREATE OR REPLACE FUNCTION ota.broker_alive(i_broker text, i_behind_ms bigint DEFAULT 0)
RETURNS void
LANGUAGE sql SET search_path = ota, pg_temp AS $$
    -- Under a steady stream of reports some are always on their way: all until i_behind_ms ago are here.
    UPDATE ota.broker SET alive_at = greatest(alive_at, now() - i_behind_ms * interval '1 millisecond') WHERE broker = i_broker;
$$;
COMMENT ON FUNCTION ota.broker_alive(text, bigint) IS 'Plugin: until when all events of this broker are in the database';

CREATE OR REPLACE FUNCTION ota.broker_goodbye(i_broker text)
RETURNS void
LANGUAGE plpgsql SET search_path = ota, pg_temp AS $$
-- The broker stops in an orderly way: its sessions end.
BEGIN
    PERFORM ota.broker_sessions_end(i_broker);
    UPDATE ota.broker SET alive_at = now() WHERE broker = i_broker;
    PERFORM ota.audit('broker_stopped', NULL, NULL, jsonb_build_object('broker', i_broker));
END
$$;
COMMENT ON FUNCTION ota.broker_goodbye(text) IS 'Plugin: a broker stops';

CREATE OR REPLACE FUNCTION ota.broker_sessions_end(i_broker text, i_lost boolean DEFAULT false)
RETURNS bigint
LANGUAGE plpgsql SET search_path = ota, pg_temp AS $$
-- None of the broker's devices is connected any more; slots that were not used yet are free again.  i_lost: the broker may
-- still be alive somewhere, with its sessions; then it is kept what they were.  Returns how many were connected.
DECLARE
    ended  bigint;
BEGIN
    UPDATE ota.device_update u SET ready = false, granted_at = NULL
      FROM ota.device d
     WHERE d.broker = i_broker AND d.connected AND u.device_id = d.device_id
       AND u.state = 'pending' AND (u.ready OR u.granted_at IS NOT NULL);
    IF NOT i_lost THEN
        UPDATE ota.device SET cut_off = NULL WHERE broker = i_broker AND cut_off IS NOT NULL;
    END IF;
    UPDATE ota.device
       SET connected = false, listening = false,
           cut_off = CASE WHEN NOT i_lost THEN NULL WHEN listening THEN 'listening' ELSE 'connected' END
     WHERE broker = i_broker AND connected;
    GET DIAGNOSTICS ended = ROW_COUNT;
    RETURN ended;
END
$$;
COMMENT ON FUNCTION ota.broker_sessions_end(text, boolean) IS 'Plugin: the sessions of a broker are over';

CREATE OR REPLACE FUNCTION ota.broker_sessions_return(i_broker text)
RETURNS void
LANGUAGE plpgsql SET search_path = ota, pg_temp AS $$
-- The broker was given up and is back without having restarted: its sessions are what they were, until the events that it has
-- kept say otherwise.  A device that went to another broker meanwhile is that one's.
BEGIN
    IF NOT EXISTS (SELECT 1 FROM ota.device WHERE broker = i_broker AND cut_off IS NOT NULL) THEN
        RETURN;
    END IF;
    -- As in broker_write(): a stage that opens at this moment must see who is listening.
    PERFORM pg_advisory_xact_lock_shared(hashtext('ota.listening'));
    UPDATE ota.device SET connected = true, listening = cut_off = 'listening', cut_off = NULL
     WHERE broker = i_broker AND cut_off IS NOT NULL;
    UPDATE ota.device_update u SET ready = true
      FROM ota.device d
     WHERE d.broker = i_broker AND d.connected AND d.listening AND u.device_id = d.device_id
       AND u.state = 'pending' AND NOT u.ready;
END
$$;
COMMENT ON FUNCTION ota.broker_sessions_return(text) IS 'Plugin: a broker that was given up is back';

CREATE OR REPLACE FUNCTION ota.broker_sweep()
RETURNS integer
LANGUAGE plpgsql SET search_path = ota, pg_temp AS $$
-- Give up brokers that are gone without a goodbye, so that their devices are no longer shown as connected.  Called by the
-- controller every few seconds.  Silence alone proves nothing (a backlog keeps alive_at back); a broker is gone when it has been
-- silent for ten seconds and no session of this database holds its name (see take_name in the plugin).  Returns how many.
DECLARE
    b      ota.broker;
    ended  bigint;
    total  integer := 0;
BEGIN
    FOR b IN SELECT o.* FROM ota.broker o
              WHERE o.alive_at < now() - interval '10 seconds'
                AND EXISTS (SELECT 1 FROM ota.device d WHERE d.broker = o.broker AND d.connected)
              ORDER BY o.broker FOR UPDATE SKIP LOCKED
    LOOP
        -- Looked at with the row locked: whoever takes the name after this waits in broker_hello() and sees what was done.
        CONTINUE WHEN EXISTS (SELECT 1 FROM pg_locks l
            WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 2
              AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
              AND l.classid::bigint = hashtext('ota.broker')::bigint & 4294967295
              AND l.objid::bigint = hashtext(b.broker)::bigint & 4294967295);
        ended := ota.broker_sessions_end(b.broker, true);
        PERFORM ota.audit('broker_lost', NULL, NULL,
            jsonb_build_object('broker', b.broker, 'devices', ended, 'silent_seconds', round(extract(epoch FROM now() - b.alive_at))));
        total := total + 1;
    END LOOP;
    RETURN total;
END
$$;
COMMENT ON FUNCTION ota.broker_sweep() IS 'Plugin: give up brokers that are gone';
