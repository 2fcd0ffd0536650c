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
    END IF;
    UPDATE ota.broker SET alive_at = now() WHERE broker = i_broker;
    RETURN last;
END
$$;
COMMENT ON FUNCTION ota.broker_hello(text, text, boolean) IS 'Plugin: a broker connects; returns its last outbox sequence number here';

CREATE OR REPLACE FUNCTION ota.broker_alive(i_broker text)
RETURNS void
LANGUAGE sql SET search_path = ota, pg_temp AS $$
    UPDATE ota.broker SET alive_at = now() WHERE broker = i_broker;
$$;
COMMENT ON FUNCTION ota.broker_alive(text) IS 'Plugin: all events of this broker are in the database as of now';

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

CREATE OR REPLACE FUNCTION ota.broker_sessions_end(i_broker text)
RETURNS void
LANGUAGE plpgsql SET search_path = ota, pg_temp AS $$
-- None of the broker's devices is connected any more; slots that were not used yet are free again.
BEGIN
    UPDATE ota.device_update u SET ready = false, granted_at = NULL
      FROM ota.device d
     WHERE d.broker = i_broker AND d.connected AND u.device_id = d.device_id
       AND u.state = 'pending' AND (u.ready OR u.granted_at IS NOT NULL);
    UPDATE ota.device SET connected = false, listening = false
     WHERE broker = i_broker AND connected;
END
$$;
COMMENT ON FUNCTION ota.broker_sessions_end(text) IS 'Plugin: the sessions of a broker are over';
