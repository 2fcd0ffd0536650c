-- From a granted slot to a notice: what a broker tells its own devices, and what it takes back.

CREATE OR REPLACE FUNCTION ota.broker_claim(i_broker text, i_limit integer, i_again boolean DEFAULT true, i_log boolean DEFAULT true)
RETURNS TABLE (device_id text, rollout_id bigint, attempt integer, release_id bigint, label text, deadline_ms bigint,
    fleet text, hardware text, version text, sequence bigint, topic text, again boolean, via text, at_ms bigint, said text)
LANGUAGE plpgsql SET search_path = ota, pg_temp
    SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off
    SET enable_memoize = off SET jit = off AS $$
-- Mark up to i_limit granted devices of this broker as notified and return them; the broker then tells them, once.
-- Also devices that came back without having started, whose time to be told again has come (again = true). i_again: false as long as
-- this broker has events that are not here yet, because one of them may say that the device has started.
-- i_log: false when the broker writes the audit rows itself, in the same transaction: each says `said`, and is of the time at_ms.
-- Holds the rollouts against a halt for as long as this transaction lasts: after a halt has committed nobody is told.
-- Rollouts whose update window is closed wait.
-- A row that no open stage asked for, whoever wrote it, is cancelled and recorded as denied, see ota.stage_asks().
-- One plan for all claims, made with the first one, when the tables may be empty or nobody has counted their rows, and good when they are
-- not: every row is found by an index.  IS TRUE: indexes that fit, and have all that are in flight, or all of a rollout, are not to be
-- read; OFFSET 0: nor are all devices.  The broker twice: else the index of all open updates looks as good, while they are few.
DECLARE
    open  bigint[];
BEGIN
    open := ARRAY(
        SELECT x.rollout_id FROM (
            SELECT r.rollout_id FROM ota.rollout r
             WHERE r.state IN ('running', 'completed')
               AND r.rollout_id IN (SELECT u.rollout_id FROM ota.device_update u
                                     WHERE u.broker = i_broker AND u.state = 'pending' AND u.granted_at IS NOT NULL
                                    UNION
                                    SELECT u.rollout_id FROM ota.device_update u
                                     WHERE u.retell_at <= now() AND (u.state = 'notified') IS TRUE)
             ORDER BY r.rollout_id FOR SHARE) x);
    -- With the locks held.
    open := ARRAY(SELECT r.rollout_id FROM ota.rollout r WHERE r.rollout_id = ANY (open) AND ota.rollout_may_tell(r));
    IF cardinality(open) = 0 THEN
        RETURN;
    END IF;
    RETURN QUERY
    -- Two lists, because rows cannot be locked inside a UNION.  In no order: who has a slot is told, and the first that are found will do.
    WITH fresh AS (
        SELECT u.rollout_id, u.device_id, u.stage, u.rank, false AS again
          FROM ota.device_update u
         WHERE u.broker = i_broker AND u.broker >= i_broker AND u.state = 'pending' AND u.granted_at IS NOT NULL
           AND (u.rollout_id = ANY (open)) IS TRUE
         LIMIT i_limit FOR UPDATE OF u SKIP LOCKED
    ), returned AS (
        SELECT u.rollout_id, u.device_id, u.stage, u.rank, true AS again
          FROM ota.device_update u
         WHERE i_again AND u.retell_at <= now() AND (u.state = 'notified' AND u.rollout_id = ANY (open)) IS TRUE
           AND EXISTS (SELECT FROM ota.device d WHERE d.device_id = u.device_id AND d.broker = i_broker AND d.listening OFFSET 0)
         LIMIT i_limit FOR UPDATE OF u SKIP LOCKED
    ), picked AS MATERIALIZED (
        -- All that is needed of the device and the rollout, looked up once.
        SELECT f.rollout_id, f.device_id, f.again, r.release_id, r.download_timeout, l.min_version IS NOT NULL AND NOT f.again AS stepping,
               d.fleet::text AS fleet, d.hardware, d.version, d.sequence, d.session, d.notify_topic, d.gateway,
               coalesce(a.asked, false) AS asked
          FROM (SELECT * FROM fresh UNION ALL SELECT * FROM returned) f
          JOIN ota.rollout r ON r.rollout_id = f.rollout_id
          JOIN ota.release l ON l.release_id = r.release_id
          JOIN ota.device d ON d.device_id = f.device_id
          LEFT JOIN ota.stage_asks(r, d.fleet, f.device_id, f.stage, f.rank) a ON true
    ), kinds AS MATERIALIZED (
        -- Below the release's minVersion: the next stepping stone, looked up anew, once for each kind of device.
        SELECT DISTINCT p.release_id, p.fleet, p.version, coalesce(p.hardware, '') AS hardware, p.sequence
          FROM picked p JOIN ota.release l ON l.release_id = p.release_id
         WHERE p.stepping AND ota.version_key(p.version) < ota.version_key(l.min_version)
    ), ways AS MATERIALIZED (
        SELECT h.*, ota.step_ways(h.release_id, h.fleet, h.hardware) AS ways
          FROM (SELECT DISTINCT k.release_id, k.fleet, k.hardware FROM kinds k) h
    ), stones AS MATERIALIZED (
        SELECT k.*, (ota.step_path(w.ways, k.version, k.sequence))[1] AS step
          FROM kinds k JOIN ways w ON w.release_id = k.release_id AND w.fleet = k.fleet AND w.hardware = k.hardware
    ), strayed AS (
        UPDATE ota.device_update u
           SET state = 'cancelled', error = 'NOT_IN_STAGE', finished_at = now(), granted_at = NULL, retell_at = NULL, ready = false
          FROM picked p
         WHERE NOT p.asked AND u.rollout_id = p.rollout_id AND u.device_id = p.device_id
        -- Said here: what returns nothing is run to its end, a query that nobody reads is not.
        RETURNING ota.event_append(i_broker, NULL, ARRAY[u.device_id], ARRAY[u.rollout_id], ARRAY['denied'],
            ARRAY[jsonb_build_object('client', u.device_id, 'topic', p.notify_topic,
                'reason', 'unapproved: a notice that no open stage of the rollout asks for')::text])
    ), told AS (
        UPDATE ota.device_update u
           SET state = 'notified', told_session = p.session,
               -- However often it comes back without having started, twice the time is the end of it; time that it waited to
               -- be told, for the update window say, is not counted.
               notified_at = CASE WHEN p.again THEN u.notified_at + (now() - u.retell_at) ELSE now() END,
               deadline = CASE WHEN p.again
                               THEN least(now() + p.download_timeout, u.notified_at + (now() - u.retell_at) + 2 * p.download_timeout)
                               ELSE now() + p.download_timeout END,
               boots = CASE WHEN p.again THEN u.boots ELSE 0 END,
               boots_since = CASE WHEN p.again THEN u.boots_since ELSE now() END, not_before = NULL, retell_at = NULL, recall = false, ready = false, broker = i_broker,
               error = NULL, from_version = p.version,
               step_release_id = CASE WHEN p.again THEN u.step_release_id ELSE k.step END
          FROM picked p
          LEFT JOIN stones k ON p.stepping AND k.release_id = p.release_id AND k.fleet = p.fleet AND k.version = p.version
           AND k.hardware = coalesce(p.hardware, '') AND k.sequence = p.sequence
         WHERE p.asked AND u.rollout_id = p.rollout_id AND u.device_id = p.device_id
        RETURNING u.device_id, u.rollout_id, u.attempt, coalesce(u.step_release_id, p.release_id) AS release_id, u.served_stage, u.deadline, p.again,
            p.fleet, p.hardware, p.version, p.sequence, p.notify_topic, p.gateway,
            concat('{"attempt": ', u.attempt, ', "stage": ', u.served_stage, ', "again": ', p.again::text,
                CASE WHEN u.step_release_id IS NOT NULL
                     THEN (SELECT ', "step": ' || to_json(l.version) FROM ota.release l WHERE l.release_id = u.step_release_id) END, '}') AS said
    ), logged AS MATERIALIZED (
        SELECT CASE WHEN i_log THEN ota.event_append(i_broker, NULL, array_agg(t.device_id), array_agg(t.rollout_id),
                                        array_agg('notified'::text), array_agg(t.said)) END,
               ceil(extract(epoch FROM clock_timestamp()) * 1000)::bigint AS at_ms
          FROM told t
    )
    SELECT t.device_id, t.rollout_id, t.attempt, t.release_id, s.label, (extract(epoch FROM t.deadline) * 1000)::bigint,
           t.fleet, t.hardware, t.version, t.sequence, t.notify_topic, t.again, t.gateway, logged.at_ms, t.said
      FROM logged
      JOIN told t ON true
      JOIN ota.rollout_stage s ON s.rollout_id = t.rollout_id AND s.stage = t.served_stage;
END
$$;
COMMENT ON FUNCTION ota.broker_claim(text, integer, boolean, boolean) IS 'Plugin: take the devices that this broker tells next';

CREATE OR REPLACE FUNCTION ota.broker_hand_out(i_broker text, i_limit integer)
RETURNS TABLE (device_id text, rollout_id bigint, attempt integer, release_id bigint, label text, deadline_ms bigint,
    fleet text, hardware text, version text, sequence bigint, topic text, again boolean, via text, at_ms bigint, said text)
LANGUAGE plpgsql SET search_path = ota, pg_temp
    SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off
    SET enable_memoize = off SET jit = off AS $$
-- The next page, of up to i_limit devices, of a stage that this broker has opened with their rows already notified: as ota.broker_claim()
-- returns them.  No row: nothing is being handed out any more.  The broker writes the audit rows in the same transaction, each says
-- `said`, and tells the devices when that has committed.
-- Holds the rollout against a halt for as long as this transaction lasts: after a halt has committed nobody is told, and who is not in a
-- page is pending again.  The same when the window has closed, or it takes too long.
-- A device whose session has ended since is in the page too: the broker says then that it could not be told.  One that is back in
-- another session is told in that one.  A row that no open stage asks for, see ota.stage_asks(), is left to ota.broker_claim().
DECLARE
    h  ota.hand_out;
    r  ota.rollout;
BEGIN
    FOR h IN SELECT o.* FROM ota.hand_out o WHERE o.broker = i_broker ORDER BY o.rollout_id LOOP
        SELECT x.* INTO r FROM ota.rollout x WHERE x.rollout_id = h.rollout_id FOR SHARE;
        -- With the lock held.
        SELECT o.* INTO h FROM ota.hand_out o WHERE o.rollout_id = r.rollout_id FOR UPDATE;
        CONTINUE WHEN NOT FOUND;
        IF r.state NOT IN ('running', 'completed') OR h.until < now() OR NOT ota.rollout_may_tell(r) THEN
            PERFORM ota.hand_back(h.rollout_id, true);
            -- One in a transaction: the rows of the next come before who is listening.
            RETURN;
        END IF;
        RETURN QUERY
        WITH page AS MATERIALIZED (
            SELECT u.rollout_id, u.device_id, u.deadline, u.attempt, u.stage, u.rank, u.served_stage, u.retell_at IS NOT NULL AS back
              FROM ota.device_update u
             WHERE ota.is_untold(u, h)
             ORDER BY u.deadline, u.device_id LIMIT i_limit
        ), moved AS (
            UPDATE ota.hand_out o SET done_deadline = l.deadline, done_device = l.device_id
              FROM (SELECT p.deadline, p.device_id FROM page p ORDER BY p.deadline DESC, p.device_id DESC LIMIT 1) l
             WHERE o.rollout_id = h.rollout_id
        ), picked AS MATERIALIZED (
            SELECT p.*, d.fleet::text AS fleet, d.hardware, d.version, d.sequence, d.session, d.notify_topic, d.gateway,
                   d.broker IS NOT DISTINCT FROM i_broker AS here,
                   coalesce(a.asked, false) AS asked
              FROM page p
              JOIN ota.device d ON d.device_id = p.device_id
              LEFT JOIN ota.stage_asks(r, d.fleet, p.device_id, p.stage, p.rank) a ON true
        ), strayed AS (
            UPDATE ota.device_update u
               SET state = 'pending', granted_at = now(), notified_at = NULL, deadline = NULL, retell_at = NULL
              FROM picked p
             WHERE NOT p.asked AND u.rollout_id = p.rollout_id AND u.device_id = p.device_id AND u.state = 'notified'
        ), returned AS (
            UPDATE ota.device_update u
               SET told_session = p.session, boots = 0, boots_since = now(), retell_at = NULL
              FROM picked p
             WHERE p.asked AND p.back AND p.here AND u.rollout_id = p.rollout_id AND u.device_id = p.device_id AND u.state = 'notified'
        )
        SELECT p.device_id, p.rollout_id, p.attempt, r.release_id, s.label, (extract(epoch FROM p.deadline) * 1000)::bigint,
               p.fleet, p.hardware, p.version, p.sequence, p.notify_topic, false, p.gateway,
               (extract(epoch FROM now()) * 1000)::bigint,
               concat('{"attempt": ', p.attempt, ', "stage": ', p.served_stage, ', "again": false}')
          FROM picked p
          JOIN ota.rollout_stage s ON s.rollout_id = p.rollout_id AND s.stage = p.served_stage
         -- Who is back at another broker is told again by that one.
         WHERE p.asked AND (p.here OR NOT p.back);
        EXIT WHEN FOUND;
    END LOOP;
    DELETE FROM ota.hand_out o
     WHERE o.broker = i_broker AND NOT EXISTS (SELECT FROM ota.device_update u WHERE ota.is_untold(u, o));
END
$$;
COMMENT ON FUNCTION ota.broker_hand_out(text, integer) IS 'Plugin: the next devices of a stage that was opened with their rows notified';

CREATE OR REPLACE FUNCTION ota.broker_hand_back(i_broker text)
RETURNS bigint
LANGUAGE sql SET search_path = ota, pg_temp AS $$
    -- A broker that comes back, or another process of its name, has lost what it was handing out.  Returns how many devices are pending
    -- again, null: nothing is left.  One stage at a time, see ota.hand_back().
    SELECT ota.hand_back(h.rollout_id, true)
      FROM (SELECT o.rollout_id FROM ota.hand_out o WHERE o.broker = i_broker ORDER BY o.rollout_id LIMIT 1) h;
$$;
COMMENT ON FUNCTION ota.broker_hand_back(text) IS 'Plugin: what this broker was handing out before it lost its session';

CREATE OR REPLACE FUNCTION ota.controller_hand_back()
RETURNS bigint
LANGUAGE sql SET search_path = ota, pg_temp AS $$
    -- Devices that have not been told in time, because their broker is gone, slow or cut off.  As ota.broker_hand_back().
    SELECT ota.hand_back(h.rollout_id, true)
      FROM (SELECT o.rollout_id FROM ota.hand_out o WHERE o.until < now() ORDER BY o.rollout_id LIMIT 1) h;
$$;
COMMENT ON FUNCTION ota.controller_hand_back() IS 'Plugin: a stage that has not been handed out in time';

CREATE OR REPLACE FUNCTION ota.broker_recalls(i_broker text, i_limit integer)
RETURNS TABLE (device_id text, rollout_id bigint, version text, topic text, via text)
LANGUAGE sql SET search_path = ota, pg_temp AS $$
    -- A recall is the broker's that serves the device now, whoever told it; of a device that is away it waits.
    WITH picked AS (
        SELECT u.rollout_id, u.device_id
          FROM ota.device_update u
          JOIN ota.device d ON d.device_id = u.device_id AND d.broker = i_broker AND d.listening
         WHERE u.recall
         LIMIT i_limit FOR UPDATE OF u SKIP LOCKED
    ), taken AS (
        UPDATE ota.device_update u SET recall = false
          FROM picked p WHERE u.rollout_id = p.rollout_id AND u.device_id = p.device_id
        RETURNING u.rollout_id, u.device_id, u.step_release_id
    ), logged AS MATERIALIZED (
        SELECT ota.event_append(i_broker, NULL, array_agg(t.device_id), array_agg(t.rollout_id), array_agg('recalled'::text), array_agg('{}'::text))
          FROM taken t
    )
    SELECT t.device_id, t.rollout_id, l.version, d.notify_topic, d.gateway
      FROM logged
      JOIN taken t ON true
      JOIN ota.rollout r ON r.rollout_id = t.rollout_id
      JOIN ota.release l ON l.release_id = coalesce(t.step_release_id, r.release_id)
      JOIN ota.device d ON d.device_id = t.device_id;
$$;
COMMENT ON FUNCTION ota.broker_recalls(text, integer) IS 'Plugin: take the recalls that this broker has to send';

CREATE OR REPLACE FUNCTION ota.broker_claims(i_broker text)
RETURNS TABLE (device_id text, rollout_id bigint, attempt integer, release_id bigint, label text, deadline_ms bigint,
    fleet text, hardware text, version text, sequence bigint, topic text, again boolean, via text)
LANGUAGE sql STABLE SET search_path = ota, pg_temp AS $$
    -- The devices that this broker has told and that have not answered, as broker_claim() gave them: what it keeps for a start
    -- without the database.
    SELECT u.device_id, u.rollout_id, u.attempt, coalesce(u.step_release_id, r.release_id), s.label, (extract(epoch FROM u.deadline) * 1000)::bigint,
           d.fleet::text, d.hardware, d.version, d.sequence, d.notify_topic, false, d.gateway
      FROM ota.device_update u
      JOIN ota.rollout r ON r.rollout_id = u.rollout_id
      JOIN ota.rollout_stage s ON s.rollout_id = u.rollout_id AND s.stage = u.served_stage
      JOIN ota.device d ON d.device_id = u.device_id
     WHERE u.state = 'notified' AND u.broker = i_broker AND u.deadline > now() AND NOT u.recall
       AND NOT EXISTS (SELECT FROM ota.hand_out h WHERE h.rollout_id = u.rollout_id AND ota.is_untold(u, h));
$$;
COMMENT ON FUNCTION ota.broker_claims(text) IS 'Plugin: the devices that this broker has told and that have not answered';

CREATE OR REPLACE FUNCTION ota.broker_database()
RETURNS text
LANGUAGE sql STABLE SET search_path = ota, pg_temp AS $$
    -- Which database this is, wherever it is reached: its name, and when the schema was installed.
    SELECT current_database() || ' ' || to_char(m.applied_at AT TIME ZONE 'UTC', 'YYYYMMDD"T"HH24MISS.US')
      FROM ota.schema_migration m WHERE m.version = 1;
$$;
COMMENT ON FUNCTION ota.broker_database() IS 'Plugin: which database this is';

CREATE OR REPLACE FUNCTION ota.broker_gateways()
RETURNS text
LANGUAGE sql STABLE SET search_path = ota, pg_temp AS $$
    -- All clients that are some device's gateway, a line each; null: none.  From one to the next through the index, whatever the
    -- number of their devices.
    WITH RECURSIVE g AS (
        (SELECT d.gateway FROM ota.device d WHERE d.gateway IS NOT NULL ORDER BY d.gateway LIMIT 1)
        UNION ALL
        SELECT (SELECT d.gateway FROM ota.device d WHERE d.gateway > g.gateway ORDER BY d.gateway LIMIT 1)
          FROM g WHERE g.gateway IS NOT NULL
    )
    SELECT string_agg(g.gateway, E'\n') FROM g;
$$;
COMMENT ON FUNCTION ota.broker_gateways() IS 'Plugin: the clients that may speak for other devices';

CREATE OR REPLACE FUNCTION ota.broker_rollouts()
RETURNS TABLE (rollout_id bigint, live boolean, report text, until_ms bigint, serves boolean)
LANGUAGE sql STABLE SET search_path = ota, pg_temp AS $$
    -- The rollouts that still matter, each with its figures as JSON for $SYS.  live: its notices may be delivered now, the
    -- copies that wait for a device in the broker included.  until_ms: when the update window closes or a blackout begins, which
    -- holds also for a broker that does not reach the database then; null: neither is ahead.  serves: devices that were told of it
    -- may go on fetching its image, also while it is paused or the window is closed, when nobody is told anew.
    SELECT p.rollout_id, p.state IN ('running', 'completed') AND ota.rollout_may_tell(o), row_to_json(p)::text,
           CASE WHEN p.state IN ('running', 'completed') AND NOT o.any_time AND ota.fleet_has_hours(o.fleet) AND ota.rollout_may_tell(o)
                THEN (SELECT (extract(epoch FROM w.next_change) * 1000)::bigint FROM ota.window_state(o.fleet, now()) w) END,
           p.state IN ('running', 'paused', 'completed')
      FROM ota.rollout_progress p
      JOIN ota.rollout o ON o.rollout_id = p.rollout_id
     WHERE p.device_id IS NULL AND p.state IN ('scheduled', 'running', 'paused')
        OR p.rollout_id IN (SELECT max(r.rollout_id) FROM ota.rollout r WHERE r.device_id IS NULL GROUP BY r.fleet)
        OR p.rollout_id IN (SELECT r.rollout_id FROM ota.rollout r
                              JOIN ota.device_update u ON u.rollout_id = r.rollout_id AND u.device_id = r.device_id
                             WHERE r.device_id IS NOT NULL AND r.state = 'running'
                               AND (u.ready OR u.state IN ('notified', 'downloading', 'verifying', 'applying', 'rebooting')))
     ORDER BY p.rollout_id;
$$;
COMMENT ON FUNCTION ota.broker_rollouts() IS 'Plugin: active rollouts and each fleet''s newest one; of pinned devices those that can be reached';
