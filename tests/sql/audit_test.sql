-- The audit log's months: made ahead, dropped by retention; rows of any time find a place.
\ir lib/helpers.sql
SELECT no_plan();

CREATE FUNCTION pg_temp.parts() RETURNS text LANGUAGE sql AS $$ SELECT string_agg(p.name, ' ' ORDER BY p.until) FROM ota.event_parts() p $$;
CREATE FUNCTION pg_temp.month(n integer) RETURNS text LANGUAGE sql AS $$
    SELECT to_char(now() AT TIME ZONE 'UTC' + n * interval '1 month', '"event_"YYYY_MM') $$;
-- What a broker writes, at these times.
CREATE FUNCTION pg_temp.wrote(broker text, VARIADIC at timestamptz[]) RETURNS void LANGUAGE sql AS $$
    SELECT ota.event_append(broker, array_agg((extract(epoch FROM t) * 1000)::bigint), array_agg('dev-' || n), array_agg(NULL::bigint),
        array_agg('status'::text), array_agg('{"n": ' || n || '}')) FROM unnest(at) WITH ORDINALITY AS x (t, n) $$;
CREATE FUNCTION pg_temp.upkeep(at timestamptz) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    r    record;
    all_said  text;
BEGIN
    LOOP
        SELECT * INTO r FROM ota.controller_audit_upkeep(at);
        all_said := concat_ws('; ', all_said, r.said);
        EXIT WHEN NOT r.more;
    END LOOP;
    RETURN all_said;
END
$$;
CREATE FUNCTION pg_temp.lies_in(id bigint) RETURNS text LANGUAGE sql AS $$ SELECT tableoid::regclass::text FROM ota.event WHERE event_id = id $$;

-- Ahead ---------------------------------------------------------------------------------------------------------------
SELECT is(pg_temp.parts(), concat_ws(' ', pg_temp.month(0), pg_temp.month(1), pg_temp.month(2), pg_temp.month(3)), 'a new installation has this month and three more');
SELECT is(pg_temp.upkeep(now()), '', 'nothing to do');
SELECT is(pg_temp.upkeep(date_trunc('month', now(), 'UTC') + interval '35 days'), 'made ' || pg_temp.month(4) || ' of the audit log', 'a month later one more is made');
SET timezone = 'America/New_York';
SELECT is(pg_temp.upkeep(now()), '', 'nor from another time zone');
SELECT is(since, date_trunc('month', now(), 'UTC'), 'a month is one of UTC') FROM ota.event_parts() WHERE name = pg_temp.month(0);
RESET timezone;

-- No event is refused for its time ---------------------------------------------------------------------------------------
SELECT pg_temp.wrote('b1', now(), '1970-01-02 00:00+00', '2099-05-05 00:00+00', now() + interval '6 months', now()) \g /dev/null
SELECT results_eq('SELECT tableoid::regclass::text FROM ota.event ORDER BY event_id', ARRAY['ota.' || pg_temp.month(0), 'ota.event_other', 'ota.event_other',
    'ota.event_other', 'ota.' || pg_temp.month(0)], 'wrong clocks have a table of their own');
SELECT results_eq('SELECT position FROM ota.event ORDER BY event_id', ARRAY[1, 2, 3, 4, 5]::bigint[], 'in the order of writing');
SELECT matches(pg_temp.upkeep(now() + interval '3 months'), pg_temp.month(6) || ' of the audit log \(1 events were waiting', 'when its month comes, an event moves there');
SELECT is(pg_temp.lies_in(4), 'ota.' || pg_temp.month(6), 'to its own table');
SELECT is(count(*), 5::bigint, 'none is lost') FROM ota.event;

-- The log only grows, whichever table is asked --------------------------------------------------------------------------
SELECT throws_ok(format('%s %s', what, part), '55000', NULL, what || ' ' || part)
  FROM unnest(ARRAY['DELETE FROM', 'TRUNCATE']) AS what,
       unnest(ARRAY['ota.event', 'ota.event_other', 'ota.' || pg_temp.month(0), 'ota.' || pg_temp.month(6)]) AS part;
SELECT throws_ok('UPDATE ota.event_other SET kind = ''x''', '55000', NULL, 'UPDATE of a part');

-- Retention ---------------------------------------------------------------------------------------------------------------
SELECT is(count(*), 0::bigint, 'kept for ever unless told otherwise') FROM ota.setting WHERE name = 'audit_retention';
SELECT throws_ok('SELECT ota.set_retention(''2 years'', '''')', '22023', NULL, 'a reason is needed');
SELECT throws_ok('SELECT ota.set_retention(''1 hour'', ''x'')', '22023', 'the audit log cannot be kept for 01:00:00', 'an hour is too short');
SELECT throws_ok('SELECT ota.set_retention(''-1 year'', ''x'')', '22023', NULL, 'and so is less than nothing');
SELECT ota.set_retention('2 months', 'data protection') \g /dev/null
SELECT results_eq('SELECT detail FROM ota.event WHERE kind = ''retention_set''',
    format('SELECT %L::jsonb', jsonb_build_object('from', NULL, 'to', '2 mons', 'reason', 'data protection', 'by', session_user)), 'who, and why');
SELECT pg_temp.upkeep(now()) \g /dev/null
SELECT ok(pg_temp.parts() ~ pg_temp.month(0), 'too early');
-- A late event: its number is higher than that of one in the next month.
SELECT pg_temp.wrote('b1', now() + interval '1 month', now(), now() + interval '1 month') \g /dev/null
SELECT matches(pg_temp.upkeep(date_trunc('month', now(), 'UTC') + interval '3 months 1 day'),
    'dropped ' || pg_temp.month(0) || ' of the audit log: 4 events, older than 2 mons', 'a month past it is dropped');
SELECT ok(pg_temp.parts() !~ pg_temp.month(0) AND pg_temp.parts() ~ pg_temp.month(1), 'that month and no other');
SELECT results_eq('SELECT h.name, d.first_position, d.last_position, d.rows FROM ota.event_dropped d JOIN ota.event_chain h USING (chain) WHERE d.part = pg_temp.month(0) ORDER BY 1, 2',
    $$ VALUES ('b1', 1::bigint, 1::bigint, 1::bigint), ('b1', 5, 5, 1), ('b1', 7, 7, 1), ('database/2', 1, 1, 1) $$, 'what it held is noted');
SELECT results_eq('SELECT detail ->> ''rows'', detail ->> ''part'', jsonb_array_length(detail -> ''anchors'') FROM ota.event WHERE kind = ''audit_dropped'' AND detail ->> ''part'' <> ''event_other''',
    $$ SELECT '4', pg_temp.month(0), 4 $$, 'and written down');
SELECT is(count(*), 0::bigint, 'of the events without a month those go that were written before') FROM ota.event_other WHERE at < '2000-01-01' OR at > '2090-01-01';
SELECT pg_temp.wrote('b1', now()) \g /dev/null
SELECT is((SELECT tableoid::regclass::text FROM ota.event ORDER BY event_id DESC LIMIT 1), 'ota.event_other', 'a later event of a dropped month is kept');
SELECT is(pg_temp.upkeep(date_trunc('month', now(), 'UTC') + interval '3 months 1 day'), '', 'until the next month goes');
SELECT ota.set_retention(NULL, 'kept after all') \g /dev/null
SELECT is(coalesce(pg_temp.upkeep(now() + interval '1 year'), '') ~ 'dropped', false, 'nothing is dropped then');

SELECT * FROM finish();
