-- Update windows and blackouts: when a fleet's devices may be told.

CREATE OR REPLACE FUNCTION ota.window_state(fleet text, at timestamptz, OUT open boolean, OUT next_change timestamptz)
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = ota, pg_temp AS $$
    -- May the fleet's devices be told at that moment: is one of its windows open, and no blackout on?  And when does that change
    -- next?  A fleet without windows, or whose windows cover the whole week, is open outside the blackouts: next_change is null
    -- when none is ahead.  Null, null: no such fleet.
    --
    -- The windows of the days around the moment become spans of time in the fleet's zone, as PostgreSQL knows its daylight
    -- saving: a local time that is left out in spring means the time an hour later, one that comes twice in autumn the second
    -- one.  Spans that touch become one.  The days after each blackout's end are looked at as well: the next opening is at most
    -- a week after the moment, or after the end of the blackout that hides it.
    SELECT s.spans @> window_state.at,
           CASE WHEN s.spans @> window_state.at
                THEN (SELECT coalesce(nullif(upper(x), greatest(upper(x), window_state.at + interval '8 days')),
                                      -- Open for longer than was looked at.
                                      (SELECT min(lower(o)) FROM unnest(b.spans) AS o WHERE lower(o) > window_state.at))
                        FROM unnest(s.spans) AS x WHERE x @> window_state.at)
                ELSE (SELECT min(lower(x)) FROM unnest(s.spans) AS x WHERE lower(x) > window_state.at) END
      FROM ota.fleet f
     CROSS JOIN LATERAL (
            SELECT coalesce(range_agg(tstzrange(o.from_at, o.until_at)), '{}') AS spans
              FROM ota.blackout o
             WHERE (o.fleet = f.fleet OR o.fleet IS NULL) AND o.until_at > window_state.at) b
      LEFT JOIN LATERAL (
            SELECT range_agg(tstzrange(o.opens, o.closes)) AS spans
              FROM (SELECT DISTINCT (m.moment AT TIME ZONE f.timezone)::date + n AS day
                      FROM (SELECT window_state.at AS moment UNION ALL SELECT upper(x) FROM unnest(b.spans) AS x) m
                     CROSS JOIN generate_series(-1, 9) AS n) d
              JOIN ota.fleet_window w ON w.fleet = f.fleet AND extract(isodow FROM d.day)::integer = ANY (w.days)
             CROSS JOIN LATERAL (SELECT (d.day + w.opens) AT TIME ZONE f.timezone AS opens,
                                        (d.day + (w.closes <= w.opens)::integer + w.closes) AT TIME ZONE f.timezone AS closes) o
             -- The hour that is left out may leave nothing of a window.
             WHERE o.opens < o.closes) w ON true
     CROSS JOIN LATERAL (SELECT coalesce(w.spans, tstzmultirange(tstzrange(NULL, NULL))) - b.spans AS spans) s
     WHERE f.fleet = window_state.fleet;
$$;
COMMENT ON FUNCTION ota.window_state(text, timestamptz) IS 'May a fleet''s devices be told at a moment, and when does that change next (null: never)';

CREATE OR REPLACE FUNCTION ota.blackout_state(fleet text, at timestamptz, OUT until_at timestamptz, OUT reason text)
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = ota, pg_temp AS $$
    -- When the blackout ends that is on at that moment, those that follow without a gap included, and why it is on (the reason of
    -- the one that began last).  Null, null: none is on.
    SELECT (SELECT upper(x) FROM unnest(range_agg(tstzrange(b.from_at, b.until_at))) AS x WHERE x @> blackout_state.at),
           (array_agg(b.reason ORDER BY b.from_at DESC, b.blackout_id DESC) FILTER (WHERE b.from_at <= blackout_state.at))[1]
      FROM ota.blackout b
     WHERE (b.fleet = blackout_state.fleet OR b.fleet IS NULL) AND b.until_at > blackout_state.at;
$$;
COMMENT ON FUNCTION ota.blackout_state(text, timestamptz) IS 'Until when a blackout holds a fleet back at a moment, and why (null: none does)';

CREATE OR REPLACE FUNCTION ota.fleet_has_hours(fleet text)
RETURNS boolean
LANGUAGE sql STABLE SET search_path = ota, pg_temp AS $$
    -- Are there windows, or blackouts that are not over?  Fleets without are not asked further.
    SELECT EXISTS (SELECT FROM ota.fleet_window w WHERE w.fleet = fleet_has_hours.fleet)
        OR EXISTS (SELECT FROM ota.blackout b WHERE (b.fleet = fleet_has_hours.fleet OR b.fleet IS NULL) AND b.until_at > now());
$$;
COMMENT ON FUNCTION ota.fleet_has_hours(text) IS 'Internal: does a fleet have windows or blackouts';

CREATE OR REPLACE FUNCTION ota.rollout_may_tell(r ota.rollout)
RETURNS boolean
LANGUAGE sql STABLE SET search_path = ota, pg_temp AS $$
    -- May devices be told of this rollout now, as far as the fleet's update windows and blackouts are concerned?
    SELECT r.any_time OR NOT ota.fleet_has_hours(r.fleet) OR (SELECT w.open FROM ota.window_state(r.fleet, now()) w);
$$;
COMMENT ON FUNCTION ota.rollout_may_tell(ota.rollout) IS 'Internal: do window and blackouts let this rollout tell somebody';
