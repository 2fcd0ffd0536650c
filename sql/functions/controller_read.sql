-- What the controller decides upon.  The controller is the broker that holds the advisory lock; its rules are C.

CREATE OR REPLACE FUNCTION ota.controller_read()
RETURNS TABLE (rollout_id bigint, state text, due boolean, fleet text, version text, release_state text,
    current_stage integer, stages integer, advance_requested boolean, next_action text, next_at_ms bigint,
    threshold_ppm integer, coverage_ppm integer, early_halt boolean, slow_start boolean, approval boolean,
    max_in_flight integer, per_minute integer,
    stage_state text, label text, remaining_ms bigint, wait_until_ms bigint, hold boolean, cohort bigint, added bigint,
    in_flight bigint, succeeded bigint, failed bigint, attempts_failed bigint, forgiven_ok bigint, forgiven_failed bigint,
    pacing_window integer, pacing_ok bigint, pacing_bad bigint, all_in_flight bigint, all_succeeded bigint,
    next_percent_milli integer, next_min_devices integer, next_label text,
    window_open boolean, window_change_ms bigint, clock_stopped boolean, clock_due boolean, pin_end text,
    blackout_until_ms bigint)
LANGUAGE sql STABLE SET search_path = ota, pg_temp AS $$
    -- Due: a release that is pushed starts its rollout when it has been verified; one that fails halts it.
    SELECT r.rollout_id, r.state, r.start_at <= now() AND l.state <> 'submitted', r.fleet::text, l.version, l.state,
           r.current_stage, n.stages, r.advance_requested, r.next_action, (extract(epoch FROM r.next_at) * 1000)::bigint,
           round(r.success_threshold * 1000000)::integer,
           round(coalesce((r.options ->> 'coverage')::numeric, 0.9) * 1000000)::integer,
           coalesce((r.options ->> 'early_halt')::boolean, true),
           coalesce(r.options ->> 'pacing', 'slow_start') = 'slow_start',
           coalesce((r.options ->> 'approval')::boolean, false),
           coalesce(r.max_in_flight, 0), coalesce(r.per_minute, 0),
           s.state, s.label, (extract(epoch FROM s.wait_until - coalesce(s.stopped_at, now())) * 1000)::bigint,
           (extract(epoch FROM s.wait_until) * 1000)::bigint, s.hold, s.cohort, s.added,
           s.in_flight, s.succeeded, s.failed, s.attempts_failed, s.forgiven_ok, s.forgiven_failed,
           s.pacing_window, s.pacing_ok, s.pacing_bad, n.in_flight, n.succeeded,
           round(x.percent * 1000)::integer, x.min_devices, x.label,
           coalesce(w.open, true), (extract(epoch FROM w.next_change) * 1000)::bigint, s.stopped_at IS NOT NULL,
           r.state = 'running' AND s.state = 'open' AND
           CASE WHEN coalesce(w.open, true) THEN s.stopped_at IS NOT NULL
                ELSE s.stopped_at IS NULL AND NOT coalesce((r.options ->> 'count_closed_hours')::boolean, true) END,
           -- A pinned device that declined, or that the broker refused to tell, ends its rollout.
           CASE WHEN u.state IN ('rejected', 'cancelled') THEN 'the device''s update is ' || u.state || coalesce(': ' || u.error, '') END,
           CASE WHEN NOT w.open THEN (SELECT (extract(epoch FROM b.until_at) * 1000)::bigint
                                        FROM ota.blackout_state(r.fleet, now()) b) END
      FROM ota.rollout r
      JOIN ota.release l ON l.release_id = r.release_id
      JOIN LATERAL (SELECT count(*)::integer AS stages, sum(c.in_flight)::bigint AS in_flight,
                           sum(c.succeeded)::bigint AS succeeded
                      FROM ota.rollout_stage c WHERE c.rollout_id = r.rollout_id) n ON true
      LEFT JOIN ota.rollout_stage s ON s.rollout_id = r.rollout_id AND s.stage = r.current_stage
      LEFT JOIN ota.rollout_stage x ON x.rollout_id = r.rollout_id AND x.stage = r.current_stage + 1
      -- Fleets without windows and blackouts are not even asked.
      LEFT JOIN LATERAL (SELECT x.* FROM ota.window_state(r.fleet, now()) x
                          WHERE NOT r.any_time AND ota.fleet_has_hours(r.fleet)) w ON true
      LEFT JOIN ota.device_update u ON u.rollout_id = r.rollout_id AND u.device_id = r.device_id
     WHERE r.device_id IS NULL AND r.state IN ('scheduled', 'running', 'paused', 'completed')
        -- Its fallback begins with the first device that runs what was halted.
        OR r.state = 'halted' AND r.fallback_due
           AND EXISTS (SELECT FROM ota.device d WHERE d.fleet = r.fleet AND d.version = l.version AND d.pinned_version IS NULL)
        -- Of a thousand pinned devices that are away nothing has to be decided.
        OR r.device_id IS NOT NULL AND r.state = 'running'
           AND (u.state = 'pending' AND u.ready AND u.granted_at IS NULL
             OR u.state IN ('succeeded', 'failed', 'rolled_back', 'timed_out', 'rejected', 'cancelled'))
     ORDER BY r.rollout_id;
$$;
COMMENT ON FUNCTION ota.controller_read() IS 'Plugin: the rollouts that may need a step, with their figures';

CREATE OR REPLACE FUNCTION ota.controller_waiting(i_rollout_id bigint, i_limit bigint)
RETURNS bigint
LANGUAGE sql STABLE SET search_path = ota, pg_temp AS $$
    -- How many devices of the rollout could be told now; counts up to i_limit only.
    SELECT count(*) FROM (
        SELECT 1 FROM ota.device_update u
         WHERE u.rollout_id = i_rollout_id AND u.state = 'pending' AND u.ready AND u.granted_at IS NULL
           AND (u.not_before IS NULL OR u.not_before <= now())
         LIMIT i_limit) w;
$$;
COMMENT ON FUNCTION ota.controller_waiting(bigint, bigint) IS 'Plugin: devices that wait for a slot';

CREATE OR REPLACE FUNCTION ota.controller_told_since(i_rollout_id bigint, i_since interval)
RETURNS bigint
LANGUAGE sql STABLE SET search_path = ota, pg_temp AS $$
    SELECT count(*) FROM ota.device_update u
     WHERE u.rollout_id = i_rollout_id AND u.notified_at > now() - i_since;
$$;
COMMENT ON FUNCTION ota.controller_told_since(bigint, interval) IS 'Plugin: how many were told lately, for the cap per minute after a take-over';

CREATE OR REPLACE FUNCTION ota.controller_eligible(i_rollout_id bigint, OUT eligible bigint, OUT chosen bigint)
LANGUAGE sql STABLE SET search_path = ota, pg_temp SET enable_nestloop = off SET jit = off SET work_mem = '64MB' AS $$
    -- How many devices the percentages are of: those already in the rollout and those that could still join.
    -- When the next stage is the last one and of everybody, those who could join are counted up to 50,000 only: nobody is chosen, the
    -- opening counts them, and all that depends on their number before is whether they are few enough to have their slots with their
    -- rows, which are 20,000 at most.
    -- Without nested loops, see controller_open_stage().
    WITH r AS (SELECT o.*, EXISTS (SELECT FROM ota.rollout_stage s WHERE s.rollout_id = o.rollout_id AND s.stage = o.current_stage + 1
                                      AND s.percent = 100
                                      AND NOT EXISTS (SELECT FROM ota.rollout_stage l WHERE l.rollout_id = s.rollout_id AND l.stage > s.stage)) AS everybody
                 FROM ota.rollout o WHERE o.rollout_id = i_rollout_id),
         inside AS (SELECT count(*) AS n FROM ota.device_update u WHERE u.rollout_id = i_rollout_id),
         outside AS (SELECT count(*) AS n
                       FROM (SELECT FROM r, ota.eligible_devices(r.fleet, r.release_id) e
                              WHERE e.code IS NULL AND (r.only_from IS NULL OR e.version = r.only_from)
                                AND NOT EXISTS (SELECT 1 FROM ota.device_update u
                                    WHERE u.rollout_id = i_rollout_id AND u.device_id = e.device_id)
                              LIMIT (SELECT CASE WHEN r.everybody THEN 50000 END FROM r)) e)
    SELECT inside.n + outside.n, inside.n FROM inside, outside;
$$;
COMMENT ON FUNCTION ota.controller_eligible(bigint) IS 'Plugin: what a stage''s percentage is of, and how many are in already';
