-- Operators: what would a rollout do?

CREATE OR REPLACE FUNCTION ota.preview_rollout(fleet text, version text, plan text DEFAULT 'standard')
RETURNS TABLE (device_id text, stage integer, label text, included boolean, reason text,
    current_version text, hardware text, connected boolean)
LANGUAGE plpgsql SET search_path = ota, pg_temp SET jit = off AS $$
-- Dry run: every device of the fleet with the stage it would be in, in the order in which it would join, and then those that are left
-- out, with the reason; "via 1.8.0": it is brought to that stepping stone first.  Writes nothing.
-- current_version: what the device runs now; connected: is it online.
-- Which devices form a stage is drawn by ota.cohort_rank from the rollout's number.  The dry run uses the number that the next
-- rollout will get, so ota.start_rollout right after it draws the very same; any rollout created in between, of whatever
-- fleet, makes it draw anew: the sizes stay, the devices differ.
-- A notice says so when a blackout is on or the update window is closed.
-- Another says where a halt would bring devices back to; a warning, why it could not (ota.start_rollout refuses that).
-- Errors as ota.start_rollout, except for that, and that the release may still be submitted.
#variable_conflict use_column
DECLARE
    r     ota.release := ota.rollout_prepare(preview_rollout.fleet, preview_rollout.version, preview_rollout.plan, true);
    next  bigint := (SELECT q.last_value + q.is_called::integer FROM ota.rollout_rollout_id_seq q);
    first text[] := ota.stratify((SELECT p.options FROM ota.plan p WHERE p.plan = preview_rollout.plan));
    dark  record;
    hours record;
    back  text;
    problem text;
BEGIN
    SELECT * INTO dark FROM ota.blackout_state(preview_rollout.fleet, now());
    SELECT * INTO hours FROM ota.window_state(preview_rollout.fleet, now());
    IF dark.until_at IS NOT NULL THEN
        RAISE NOTICE 'fleet "%" is in a blackout until %: %', preview_rollout.fleet, dark.until_at, dark.reason
            USING HINT = format('The first device is told at %s, unless the rollout is an emergency.', hours.next_change);
    ELSIF NOT hours.open THEN
        RAISE NOTICE 'the update window of fleet "%" is closed until %', preview_rollout.fleet, hours.next_change;
    END IF;
    FOR back, problem IN SELECT f.fallback, f.problem
                           FROM ota.preview_fallback(preview_rollout.fleet, preview_rollout.version, preview_rollout.plan) f
    LOOP
        IF problem IS NULL THEN
            RAISE NOTICE 'after a halt devices that run % are returned to %, in the same stages', r.version, back;
        ELSE
            RAISE WARNING 'plan "%" falls back to %, and that is no way back: %', preview_rollout.plan, back, problem;
        END IF;
    END LOOP;
    RETURN QUERY
    WITH RECURSIVE devices AS MATERIALIZED (
        SELECT e.device_id, e.reason, e.version, e.hardware, e.connected, e.steps,
               CASE first[1] WHEN 'hardware' THEN nullif(e.hardware, '') WHEN 'site' THEN e.site END AS stratum1,
               CASE first[2] WHEN 'hardware' THEN nullif(e.hardware, '') WHEN 'site' THEN e.site END AS stratum2,
               CASE WHEN e.reason IS NULL THEN ota.cohort_rank(next, e.device_id) END AS rank
          FROM ota.eligible_devices(preview_rollout.fleet, r.release_id) e
    ), total AS (
        SELECT count(*) AS n FROM devices d WHERE d.reason IS NULL
    ), stages AS (
        SELECT s.stage, s.label, s.percent, s.min_devices, count(*) OVER () AS many
          FROM ota.plan_stage s WHERE s.plan = preview_rollout.plan
    ), sizes AS (
        -- As plugin/rules/cohort.c: rounded up, at least min_devices, the first of several stages never the whole fleet.
        SELECT 0 AS stage, NULL::text AS label, 0::bigint AS size
        UNION ALL
        SELECT s.stage, s.label, greatest(z.size, least(
                   greatest(ceil(s.percent * t.n * 0.01)::bigint, s.min_devices),
                   CASE WHEN s.stage = 1 AND s.many > 1 AND t.n > 1 THEN t.n - 1 ELSE t.n END))
          FROM sizes z JOIN stages s ON s.stage = z.stage + 1, total t
    ), spans AS (
        SELECT z.stage, z.label, lag(z.size) OVER (ORDER BY z.stage) AS above, z.size AS upto FROM sizes z
    ), ahead1 AS (
        -- As ota.draw_strata(): one of each hardware first, then one of each site that these leave out.
        SELECT min(d.device_id) AS device_id
          FROM devices d
          JOIN (SELECT x.stratum1, min(x.rank) AS rank FROM devices x
                 WHERE x.reason IS NULL AND x.stratum1 IS NOT NULL GROUP BY x.stratum1) f
            ON f.stratum1 = d.stratum1 AND f.rank = d.rank
         GROUP BY d.stratum1
    ), ahead2 AS (
        SELECT min(d.device_id) AS device_id
          FROM devices d
          JOIN (SELECT x.stratum2, min(x.rank) AS rank FROM devices x
                 WHERE x.reason IS NULL AND x.stratum2 IS NOT NULL
                   AND x.stratum2 NOT IN (SELECT o.stratum2 FROM devices o JOIN ahead1 a ON a.device_id = o.device_id
                                           WHERE o.stratum2 IS NOT NULL)
                 GROUP BY x.stratum2) f
            ON f.stratum2 = d.stratum2 AND f.rank = d.rank
         GROUP BY d.stratum2
    ), placed AS (
        SELECT d.*, row_number() OVER (ORDER BY CASE WHEN d.device_id IN (SELECT a.device_id FROM ahead1 a) THEN 1
                                                     WHEN d.device_id IN (SELECT a.device_id FROM ahead2 a) THEN 2 ELSE 3 END,
                                                d.rank, d.device_id) AS place
          FROM devices d WHERE d.reason IS NULL
    )
    SELECT * FROM (
        (SELECT p.device_id, s.stage, s.label, true,
                'via ' || (SELECT string_agg(l.version, ', ' ORDER BY l.sequence) FROM ota.release l WHERE l.release_id = ANY (p.steps)), p.version, p.hardware, p.connected
           FROM placed p JOIN spans s ON p.place > s.above AND p.place <= s.upto
          ORDER BY p.place)
        UNION ALL
        (SELECT d.device_id, NULL::integer, NULL::text, false, d.reason, d.version, d.hardware, d.connected
           FROM devices d WHERE d.reason IS NOT NULL
          ORDER BY d.device_id)) all_of_them;
END
$$;
COMMENT ON FUNCTION ota.preview_rollout(text, text, text) IS 'Dry run of a rollout: which devices, in which stage, and why the others are left out';
