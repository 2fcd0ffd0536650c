-- What the controller does.

CREATE OR REPLACE FUNCTION ota.controller_lock(i_rollout_id bigint)
RETURNS bigint
LANGUAGE plpgsql SET search_path = ota, pg_temp AS $$
-- The order of locks, everywhere: the rollout, then device updates (by device), then devices, then the stage's counters.
-- Returns its state as it is now: 1 scheduled, 2 running, 3 completed, 0 any other.
DECLARE
    now_state  text;
BEGIN
    SELECT state INTO now_state FROM ota.rollout WHERE rollout_id = i_rollout_id FOR UPDATE;
    RETURN CASE now_state WHEN 'scheduled' THEN 1 WHEN 'running' THEN 2 WHEN 'completed' THEN 3 ELSE 0 END;
END
$$;
COMMENT ON FUNCTION ota.controller_lock(bigint) IS 'Plugin: hold a rollout for a step of the controller';

CREATE OR REPLACE FUNCTION ota.controller_close_stage(i_rollout_id bigint, i_stage integer, i_state text, i_verdict text)
RETURNS boolean
LANGUAGE plpgsql SET search_path = ota, pg_temp AS $$
-- Store a stage's verdict: i_state is 'passed' or 'held' (passed, but an operator must advance).
BEGIN
    -- The next stage opens in this transaction: its lock comes before the counters, which other brokers' batches move.
    IF i_state = 'passed' AND EXISTS (SELECT FROM ota.rollout_stage s WHERE s.rollout_id = i_rollout_id AND s.stage = i_stage + 1) THEN
        PERFORM pg_advisory_xact_lock(hashtext('ota.listening'));
    END IF;
    UPDATE ota.rollout_stage
       SET state = i_state, verdict = i_verdict, closed_at = CASE WHEN i_state = 'passed' THEN now() END
     WHERE rollout_id = i_rollout_id AND stage = i_stage AND state IN ('open', 'held') AND state <> i_state;
    IF FOUND THEN
        PERFORM ota.audit('stage_' || i_state, NULL, i_rollout_id,
            jsonb_build_object('stage', i_stage, 'verdict', i_verdict, 'by', 'controller'));
    END IF;
    RETURN FOUND;
END
$$;
COMMENT ON FUNCTION ota.controller_close_stage(bigint, integer, text, text) IS 'Plugin: store the verdict on a stage';

CREATE OR REPLACE FUNCTION ota.controller_clock(i_rollout_id bigint)
RETURNS boolean
LANGUAGE plpgsql SET search_path = ota, pg_temp AS $$
-- The update window has opened or closed: stop the clock of the open stage's wait, or let it go on.  It stands still while
-- the stage has not seen an open window yet and, with count_closed_hours false, whenever the window is closed.
-- Returns whether anything changed.
DECLARE
    r        ota.rollout;
    changed  boolean := false;
BEGIN
    SELECT * INTO r FROM ota.rollout WHERE rollout_id = i_rollout_id FOR UPDATE;
    IF NOT FOUND OR r.state <> 'running' THEN
        RETURN false;
    END IF;
    IF ota.rollout_may_tell(r) THEN
        UPDATE ota.rollout_stage SET wait_until = wait_until + (now() - stopped_at), stopped_at = NULL
         WHERE rollout_id = i_rollout_id AND stage = r.current_stage AND stopped_at IS NOT NULL;
        changed := FOUND;
    ELSIF NOT coalesce((r.options ->> 'count_closed_hours')::boolean, true) THEN
        UPDATE ota.rollout_stage SET stopped_at = now()
         WHERE rollout_id = i_rollout_id AND stage = r.current_stage AND state = 'open' AND stopped_at IS NULL;
        changed := FOUND;
    END IF;
    RETURN changed;
END
$$;
COMMENT ON FUNCTION ota.controller_clock(bigint) IS 'Plugin: stop or start a stage''s wait, as the update window says';

CREATE OR REPLACE FUNCTION ota.controller_grant(i_rollout_id bigint, i_count bigint)
RETURNS bigint
LANGUAGE plpgsql SET search_path = ota, pg_temp AS $$
-- Give up to i_count listening devices, in the order of their rank, a slot in the present stage; nobody while the update
-- window is closed.  Behind one gateway no more than the fleet's max_per_gateway are updated at once, at one site no more than
-- ota.site_cap().
DECLARE
    r        ota.rollout;
    cap      integer;
    granted  bigint;
BEGIN
    SELECT * INTO r FROM ota.rollout WHERE rollout_id = i_rollout_id FOR SHARE;
    IF NOT FOUND OR r.state NOT IN ('running', 'completed') OR NOT ota.rollout_may_tell(r) THEN
        RETURN 0;
    END IF;
    cap := ota.site_cap(r);
    IF cap IS NOT NULL THEN
        granted := ota.controller_grant_sites(i_rollout_id, r.current_stage, cap, i_count);
        IF granted > 0 THEN
            PERFORM pg_notify('ota', 'grant');
        END IF;
        RETURN granted;
    END IF;
    WITH picked AS (
        SELECT u.device_id, d.broker, d.gateway, u.rank, f.max_per_gateway
          FROM ota.device_update u
          JOIN ota.device d ON d.device_id = u.device_id
          JOIN ota.fleet f ON f.fleet = d.fleet
         WHERE u.rollout_id = i_rollout_id AND u.state = 'pending' AND u.ready AND u.granted_at IS NULL
           AND (d.gateway IS NULL OR ota.gateway_load(d.gateway) < f.max_per_gateway)
           AND (u.not_before IS NULL OR u.not_before <= now())
           -- One update at a time: an earlier rollout's runs to its end first.
           AND NOT EXISTS (SELECT 1 FROM ota.device_update o
                WHERE o.device_id = u.device_id AND o.rollout_id <> u.rollout_id
                  AND o.state IN ('notified', 'downloading', 'verifying', 'applying', 'rebooting'))
         ORDER BY u.rank LIMIT i_count FOR UPDATE OF u SKIP LOCKED
    ), counted AS (
        SELECT p.*, row_number() OVER (PARTITION BY p.gateway ORDER BY p.rank)
                    + CASE WHEN p.gateway IS NULL THEN 0 ELSE ota.gateway_load(p.gateway) END AS place
          FROM picked p
    )
    UPDATE ota.device_update u
       SET granted_at = now(), served_stage = r.current_stage, broker = p.broker
      FROM counted p
     WHERE u.rollout_id = i_rollout_id AND u.device_id = p.device_id AND (p.gateway IS NULL OR p.place <= p.max_per_gateway);
    GET DIAGNOSTICS granted = ROW_COUNT;
    IF granted > 0 THEN
        PERFORM pg_notify('ota', 'grant');
    END IF;
    RETURN granted;
END
$$;
COMMENT ON FUNCTION ota.controller_grant(bigint, bigint) IS 'Plugin: give devices of the present stage their turn';

CREATE OR REPLACE FUNCTION ota.controller_note(i_rollout_id bigint, i_next_action text, i_next_at_ms bigint,
    i_stage integer, i_window integer, i_pacing_ok bigint, i_pacing_bad bigint)
RETURNS void
LANGUAGE sql SET search_path = ota, pg_temp AS $$
    -- Keep what the controller means to do next, and the state of the pacing.
    UPDATE ota.rollout SET next_action = i_next_action, next_at = to_timestamp(i_next_at_ms / 1000.0)
     WHERE rollout_id = i_rollout_id
       AND (next_action IS DISTINCT FROM i_next_action OR next_at IS DISTINCT FROM to_timestamp(i_next_at_ms / 1000.0));
    UPDATE ota.rollout_stage SET pacing_window = i_window, pacing_ok = i_pacing_ok, pacing_bad = i_pacing_bad
     WHERE rollout_id = i_rollout_id AND stage = i_stage
       AND (pacing_window, pacing_ok, pacing_bad) IS DISTINCT FROM (i_window, i_pacing_ok, i_pacing_bad);
$$;
COMMENT ON FUNCTION ota.controller_note IS 'Plugin: what happens next, and the pacing so far';

CREATE OR REPLACE FUNCTION ota.controller_trouble(i_rollout_id bigint, i_problem text, i_pause_ms bigint)
RETURNS void
LANGUAGE plpgsql SET search_path = ota, pg_temp AS $$
-- A step of the controller fails: say so as what happens next, with the time of the next try, and once in the audit log.
-- i_problem null: it went well after all.
DECLARE
    said  text := left('cannot go on: ' || i_problem, 1024);
    r     ota.rollout;
BEGIN
    IF i_problem IS NULL THEN
        UPDATE ota.rollout SET next_action = NULL, next_at = NULL
         WHERE rollout_id = i_rollout_id AND next_action LIKE 'cannot go on: %';
        RETURN;
    END IF;
    SELECT * INTO r FROM ota.rollout WHERE rollout_id = i_rollout_id FOR UPDATE;
    IF NOT FOUND OR r.state NOT IN ('scheduled', 'running', 'halted', 'completed') THEN
        RETURN;
    END IF;
    UPDATE ota.rollout SET next_action = said, next_at = now() + i_pause_ms * interval '1 millisecond' WHERE rollout_id = i_rollout_id;
    IF r.next_action IS DISTINCT FROM said THEN
        PERFORM ota.audit('rollout_trouble', NULL, i_rollout_id, jsonb_build_object('problem', i_problem, 'by', 'controller'));
    END IF;
END
$$;
COMMENT ON FUNCTION ota.controller_trouble(bigint, text, bigint) IS 'Plugin: a step of the controller fails; say so';

CREATE OR REPLACE FUNCTION ota.controller_expired(i_limit integer, i_behind_ms bigint DEFAULT 0)
RETURNS TABLE (device_id text, rollout_id bigint)
LANGUAGE sql STABLE SET search_path = ota, pg_temp AS $$
    -- Devices whose deadline had passed i_behind_ms ago: what they have said since then may not be here yet.  A broker that is cut off
    -- from the database may hold their reports: while it was last heard of less than ten minutes but more than ten seconds ago its devices are left alone.  So are devices that have
    -- come back without having started and wait for the update window to be told again, or are told next.
    SELECT u.device_id, u.rollout_id
      FROM ota.device_update u
      LEFT JOIN ota.broker b ON b.broker = u.broker
     WHERE u.deadline < now() - i_behind_ms * interval '1 millisecond'
       AND u.state IN ('notified', 'downloading', 'verifying', 'applying', 'rebooting')
       AND (b.alive_at IS NULL OR b.alive_at > now() - interval '10 seconds' OR b.alive_at < now() - interval '10 minutes')
       AND NOT (u.state = 'notified' AND u.retell_at IS NOT NULL
                AND EXISTS (SELECT FROM ota.rollout r
                              JOIN ota.device d ON d.device_id = u.device_id
                              LEFT JOIN ota.broker h ON h.broker = d.broker
                             WHERE r.rollout_id = u.rollout_id AND r.state IN ('running', 'completed')
                               AND (NOT ota.rollout_may_tell(r)
                                 OR u.retell_at <= now() AND d.listening AND h.alive_at > now() - interval '10 seconds')))
     ORDER BY u.deadline LIMIT i_limit;
$$;
COMMENT ON FUNCTION ota.controller_expired(integer, bigint) IS 'Plugin: devices that kept silent beyond their deadline';
