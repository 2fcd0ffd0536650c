-- Update windows: when a fleet's devices may be told.

CREATE OR REPLACE FUNCTION ota.window_state(fleet text, at timestamptz, OUT open boolean, OUT next_change timestamptz)
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = ota, pg_temp AS $$
    -- Is one of the fleet's windows open at that moment, and when does that change next?  A fleet without windows, or whose
    -- windows cover the whole week, is always open: next_change is null.  Null, null: no such fleet.
    --
    -- The windows of the days around the moment become spans of time in the fleet's zone, as PostgreSQL knows its daylight
    -- saving: a local time that is left out in spring means the time an hour later, one that comes twice in autumn the second
    -- one.  Spans that touch become one.
    SELECT CASE WHEN s.spans IS NULL THEN true ELSE s.spans @> window_state.at END,
           CASE WHEN s.spans @> window_state.at
                THEN (SELECT nullif(upper(x), greatest(upper(x), window_state.at + interval '8 days'))
                        FROM unnest(s.spans) AS x WHERE x @> window_state.at)
                ELSE (SELECT min(lower(x)) FROM unnest(s.spans) AS x WHERE lower(x) > window_state.at) END
      FROM ota.fleet f
      LEFT JOIN LATERAL (
            SELECT range_agg(tstzrange(o.opens, o.closes)) AS spans
              FROM generate_series(-1, 9) AS n
             CROSS JOIN LATERAL (SELECT (window_state.at AT TIME ZONE f.timezone)::date + n AS day) d
              JOIN ota.fleet_window w ON w.fleet = f.fleet AND extract(isodow FROM d.day)::integer = ANY (w.days)
             CROSS JOIN LATERAL (SELECT (d.day + w.opens) AT TIME ZONE f.timezone AS opens,
                                        (d.day + (w.closes <= w.opens)::integer + w.closes) AT TIME ZONE f.timezone AS closes) o
             -- The hour that is left out may leave nothing of a window.
             WHERE o.opens < o.closes) s ON true
     WHERE f.fleet = window_state.fleet;
$$;
COMMENT ON FUNCTION ota.window_state(text, timestamptz) IS 'Is a fleet''s update window open, and when does that change next (null: never)';

CREATE OR REPLACE FUNCTION ota.rollout_may_tell(r ota.rollout)
RETURNS boolean
LANGUAGE sql STABLE SET search_path = ota, pg_temp AS $$
    -- May devices be told of this rollout now, as far as the fleet's update windows are concerned?
    SELECT r.any_time OR NOT EXISTS (SELECT FROM ota.fleet_window f WHERE f.fleet = r.fleet)
           OR (SELECT w.open FROM ota.window_state(r.fleet, now()) w);
$$;
COMMENT ON FUNCTION ota.rollout_may_tell(ota.rollout) IS 'Internal: is the update window open for this rollout';
