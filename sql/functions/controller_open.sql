-- Opening a stage: who is in it.

CREATE OR REPLACE FUNCTION ota.stratify(options jsonb)
RETURNS text[]
LANGUAGE sql IMMUTABLE SET search_path = ota, pg_temp AS $$
    -- Of which attributes a stage has a device of each value, in the order of their importance: hardware and site by default.
    SELECT ARRAY(SELECT jsonb_array_elements_text(coalesce(options -> 'stratify', '["hardware", "site"]')));
$$;
COMMENT ON FUNCTION ota.stratify(jsonb) IS 'Internal: the attributes of which a stage has a device of each value';

-- Its parameters have become more.
DROP FUNCTION IF EXISTS ota.draw_strata(ota.rollout, integer, bigint, text);
DROP FUNCTION IF EXISTS ota.draw_strata(ota.rollout, integer, bigint, text, boolean);
CREATE OR REPLACE FUNCTION ota.draw_strata(r ota.rollout, i_stage integer, i_count bigint, i_no_site text, i_slots boolean,
    i_direct text, OUT joined bigint, OUT behind bigint, OUT granted bigint, OUT told bigint, OUT first_deadline timestamptz, OUT last_deadline timestamptz)
LANGUAGE plpgsql SET search_path = ota, pg_temp SET enable_nestloop = off SET jit = off SET work_mem = '64MB' AS $$
-- Let i_count more devices into a stage: for each hardware that no device of the rollout has, the first by rank that has it; then
-- the same for each site that has none, those just drawn included; then the others by rank.  Who was drawn ahead of his rank is
-- kept in ota.rollout_ahead.  A canary that leaves a model out says nothing of it, and its verdict lets the others go on to that
-- model blindly.  Later stages look for what has appeared since, or what the first had no room for.
-- Returns how many joined, the highest rank among those that were not drawn ahead, and of slots and notices what ota.stage_pool() has given
-- with i_slots and i_direct.
DECLARE
    strata  text[] := ota.stratify(r.options);
BEGIN
    WITH inside AS (
        SELECT u.device_id, d.hardware, d.attributes ->> 'site' AS site
          FROM ota.device_update u JOIN ota.device d ON d.device_id = u.device_id WHERE u.rollout_id = r.rollout_id
    ), present AS (
        SELECT DISTINCT CASE strata[1] WHEN 'hardware' THEN i.hardware ELSE i.site END AS first,
               CASE strata[2] WHEN 'hardware' THEN i.hardware WHEN 'site' THEN i.site END AS second
          FROM inside i
    ), pool AS MATERIALIZED (
        SELECT p.*,
               nullif(CASE strata[1] WHEN 'hardware' THEN p.hardware ELSE p.place END, '') AS first,
               nullif(CASE strata[2] WHEN 'hardware' THEN p.hardware WHEN 'site' THEN p.place END, '') AS second
          FROM ota.stage_pool(r, i_stage, i_no_site, i_slots, i_direct) p
    ), ahead1 AS MATERIALIZED (
        SELECT f.first AS value, min(p.device_id) AS device_id, min(p.second) AS second
          FROM (SELECT x.first, min(x.rank) AS rank FROM pool x
                 WHERE x.first IS NOT NULL AND NOT EXISTS (SELECT FROM present i WHERE i.first = x.first)
                 GROUP BY x.first ORDER BY 2, 1 LIMIT i_count) f
          JOIN pool p ON p.first = f.first AND p.rank = f.rank
         GROUP BY f.first
    ), ahead2 AS MATERIALIZED (
        SELECT f.second AS value, min(p.device_id) AS device_id
          FROM (SELECT x.second, min(x.rank) AS rank FROM pool x
                 WHERE x.second IS NOT NULL AND NOT EXISTS (SELECT FROM present i WHERE i.second = x.second)
                   AND NOT EXISTS (SELECT FROM ahead1 i WHERE i.second = x.second)
                 GROUP BY x.second ORDER BY 2, 1 LIMIT i_count - (SELECT count(*) FROM ahead1)) f
          JOIN pool p ON p.second = f.second AND p.rank = f.rank
         GROUP BY f.second
    ), ahead AS (
        INSERT INTO ota.rollout_ahead (rollout_id, device_id, stage, attribute, value)
        SELECT r.rollout_id, a.device_id, i_stage, strata[1], a.value FROM ahead1 a
        UNION ALL
        SELECT r.rollout_id, a.device_id, i_stage, strata[2], a.value FROM ahead2 a
        ON CONFLICT DO NOTHING
        RETURNING device_id
    ), added AS (
        -- Chosen by rank, stored by device: the indexes grow at their end instead of everywhere.
        INSERT INTO ota.device_update (rollout_id, device_id, stage, rank, ready, from_version, site, granted_at, served_stage, broker,
            state, notified_at, told_session, boots_since, deadline)
        SELECT r.rollout_id, c.device_id, i_stage, c.rank, c.ready, c.from_version, c.site, c.granted_at, c.served_stage, c.broker,
               c.state, c.notified_at, c.told_session, c.notified_at, CASE WHEN c.state = 'notified' THEN ota.next_ms(clock_timestamp()) + r.download_timeout END
          FROM (SELECT p.* FROM pool p LEFT JOIN ahead a ON a.device_id = p.device_id
                 ORDER BY a.device_id IS NULL, p.rank, p.device_id LIMIT i_count) c
         ORDER BY c.device_id
        RETURNING device_id, rank, granted_at, notified_at, deadline
    )
    SELECT count(*), max(a.rank) FILTER (WHERE a.device_id NOT IN (SELECT x.device_id FROM ahead x)), count(a.granted_at), count(a.notified_at),
           min(a.deadline), max(a.deadline)
      INTO joined, behind, granted, told, first_deadline, last_deadline FROM added a;
END
$$;
COMMENT ON FUNCTION ota.draw_strata(ota.rollout, integer, bigint, text, boolean, text) IS 'Internal: let devices into a stage, first of each hardware and site that the rollout has none of';

CREATE OR REPLACE FUNCTION ota.controller_open_stage(i_rollout_id bigint, i_stage integer, i_eligible bigint, i_size bigint,
    i_slots bigint DEFAULT 0, i_direct text DEFAULT NULL)
RETURNS bigint
LANGUAGE plpgsql SET search_path = ota, pg_temp SET enable_nestloop = off SET jit = off SET work_mem = '64MB' AS $$
-- Open a stage whose cohort, the earlier stages' devices included, has i_size devices: first one device of each hardware and each
-- site that has none in the rollout yet (see ota.draw_strata), then the others, each by ota.cohort_rank.
-- i_slots: the plan lets at least so many be told at once.  When no more than that join, those that listen have their slot from the
-- beginning, which is one write of a row instead of two; but none where sites have a cap, none behind gateways, none that is
-- being updated, and none while the update window is closed: to these ota.controller_grant() gives their turn, as to latecomers.
-- i_direct: the broker that opens the stage and tells its own devices next, page by page (ota.broker_hand_out()).  Those of the devices with
-- a slot that listen there are notified from the beginning, as ota.broker_claim() would have written it: one write of a row, and not
-- another.  Until they are in a page they are told of nothing, and ota.hand_back() makes them pending again.  Their deadline is a
-- moment after the other's, which gives the order of the pages; in whole milliseconds, because a batch that touches a row (its device has
-- left, say) writes it so, and must not move it to where the pages have been.  None where there is something left to find out (stepping
-- stones), and where what a page may be late matters to the deadline.
-- Returns how many the stage added; -1 when the rollout is no longer running or the stage is not the next one.
-- Without nested loops: nobody has counted the rows of a stage that has just been opened, and a plan made for few of them
-- compares every device with every other.  Without JIT: a plan that cannot do without a nested loop has, with these switched off,
-- such costs that PostgreSQL would compile it, for seconds, to look at ten devices.
DECLARE
    r        ota.rollout;
    joined   bigint := 0;
    granted  bigint := 0;
    inside   bigint;
    behind   bigint;
    no_site  text;
    slots    boolean;
    told     bigint := 0;
    direct   text;
    earliest timestamptz;
    latest   timestamptz;
BEGIN
    SELECT * INTO r FROM ota.rollout WHERE rollout_id = i_rollout_id FOR UPDATE;
    IF NOT FOUND OR r.state <> 'running' OR r.current_stage <> i_stage - 1 THEN
        RETURN -1;
    END IF;
    -- Whoever starts or stops listening from here on finds the rows of this stage, see broker_write().
    PERFORM pg_advisory_xact_lock(hashtext('ota.listening'));
    no_site := CASE WHEN ota.site_cap(r) IS NOT NULL THEN '' END;
    SELECT count(*) INTO inside FROM ota.device_update WHERE rollout_id = i_rollout_id;
    IF i_size > inside THEN
        slots := i_size - inside <= i_slots AND no_site IS NULL AND ota.rollout_may_tell(r);
        direct := CASE WHEN slots AND r.download_timeout >= interval '30 seconds'
                        AND NOT EXISTS (SELECT FROM ota.release l WHERE l.release_id = r.release_id AND l.min_version IS NOT NULL)
                        AND NOT EXISTS (SELECT FROM ota.hand_out h WHERE h.rollout_id = r.rollout_id) THEN i_direct END;
        -- For the trigger device_update_guard, and only until the rows are there.  (No SET of the function: that is a superuser's.)
        PERFORM set_config('ota.opens', CASE WHEN slots THEN i_rollout_id::text ELSE '' END, true);
        IF cardinality(ota.stratify(r.options)) > 0 AND EXISTS (SELECT FROM ota.rollout_stage s
                WHERE s.rollout_id = i_rollout_id AND s.stage = i_stage AND s.percent < 100) THEN
            SELECT d.joined, d.behind, d.granted, d.told, d.first_deadline, d.last_deadline INTO joined, behind, granted, told, earliest, latest
              FROM ota.draw_strata(r, i_stage, i_size - inside, no_site, slots, direct) d;
        ELSIF i_size >= i_eligible THEN
            -- Everybody, those included who have appeared since they were counted: nobody is chosen, so nobody is sorted by rank.
            WITH added AS (
            INSERT INTO ota.device_update (rollout_id, device_id, stage, rank, ready, from_version, site, granted_at, served_stage, broker,
                state, notified_at, told_session, boots_since, deadline)
            SELECT r.rollout_id, c.device_id, i_stage, c.rank, c.ready, c.from_version, c.site, c.granted_at, c.served_stage, c.broker,
                   c.state, c.notified_at, c.told_session, c.notified_at, CASE WHEN c.state = 'notified' THEN ota.next_ms(clock_timestamp()) + r.download_timeout END
              FROM ota.stage_pool(r, i_stage, no_site, slots, direct) c
             ORDER BY c.device_id
            RETURNING rank, granted_at, notified_at, deadline)
            SELECT count(*), max(a.rank), count(a.granted_at), count(a.notified_at), min(a.deadline), max(a.deadline)
              INTO joined, behind, granted, told, earliest, latest FROM added a;
            i_eligible := greatest(i_eligible, inside + joined);
        ELSE
            WITH added AS (
            INSERT INTO ota.device_update (rollout_id, device_id, stage, rank, ready, from_version, site, granted_at, served_stage, broker,
                state, notified_at, told_session, boots_since, deadline)
            SELECT r.rollout_id, c.device_id, i_stage, c.rank, c.ready, c.from_version, c.site, c.granted_at, c.served_stage, c.broker,
                   c.state, c.notified_at, c.told_session, c.notified_at, CASE WHEN c.state = 'notified' THEN ota.next_ms(clock_timestamp()) + r.download_timeout END
              FROM (SELECT p.* FROM ota.stage_pool(r, i_stage, no_site, slots, direct) p ORDER BY p.rank, p.device_id LIMIT i_size - inside) c
             ORDER BY c.device_id
            RETURNING rank, granted_at, notified_at, deadline)
            SELECT count(*), max(a.rank), count(a.granted_at), count(a.notified_at), min(a.deadline), max(a.deadline)
              INTO joined, behind, granted, told, earliest, latest FROM added a;
        END IF;
        PERFORM set_config('ota.opens', '', true);
        -- Now, not when autovacuum comes by: until then the brokers' statements, which look for a few rows every moment,
        -- have plans for a small table.  After so few it can wait until they have been told, see controller_analyze().
        IF joined > i_slots THEN
            ANALYZE ota.device_update;
        END IF;
        IF told > 0 THEN
            INSERT INTO ota.hand_out (rollout_id, broker, opened_at, until, last_deadline, done_deadline)
            VALUES (i_rollout_id, direct, now(), clock_timestamp() + interval '5 seconds', latest, earliest);
        END IF;
        IF granted > told THEN
            PERFORM pg_notify('ota', 'grant');
        END IF;
    END IF;
    UPDATE ota.rollout_stage
       SET state = 'open', opened_at = now(), wait_until = now() + wait, eligible = i_eligible,
           cohort = inside + joined, added = joined, notified = notified + told, in_flight = in_flight + granted,
           last_rank = greatest(behind, (SELECT max(b.last_rank) FROM ota.rollout_stage b WHERE b.rollout_id = i_rollout_id)),
           -- Whatever count_closed_hours says, a wait begins when the first device could be told.
           stopped_at = CASE WHEN NOT ota.rollout_may_tell(r) THEN now() END
     WHERE rollout_id = i_rollout_id AND stage = i_stage;
    UPDATE ota.rollout SET current_stage = i_stage, advance_requested = false WHERE rollout_id = i_rollout_id;
    PERFORM ota.audit('stage_opened', NULL, i_rollout_id, jsonb_build_object('stage', i_stage, 'eligible', i_eligible,
        'cohort', inside + joined, 'added', joined, 'by', 'controller'));
    RETURN joined;
END
$$;
COMMENT ON FUNCTION ota.controller_open_stage(bigint, integer, bigint, bigint, bigint, text) IS 'Plugin: open the next stage of a rollout';

CREATE OR REPLACE FUNCTION ota.controller_analyze()
RETURNS void
LANGUAGE plpgsql SET search_path = ota, pg_temp AS $$
-- What ota.controller_open_stage() has left for the time after the first notices.
BEGIN
    ANALYZE ota.device_update;
END
$$;
COMMENT ON FUNCTION ota.controller_analyze() IS 'Plugin: count the rows of a stage that has been opened';
