-- Operators: when a fleet may be told of updates.

CREATE OR REPLACE FUNCTION ota.window_days(days text[])
RETURNS integer[]
LANGUAGE plpgsql IMMUTABLE SET search_path = ota, pg_temp AS $$
-- Names of days as numbers, 1 Monday to 7 Sunday, each once and in order; or an error.
DECLARE
    name    text;
    number  integer;
    kept    integer[] := '{}';
BEGIN
    IF coalesce(cardinality(days), 0) = 0 THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = 'the days are missing',
            HINT = 'Give the days on which the window opens, such as ARRAY[''mon'', ''tue''].';
    END IF;
    FOREACH name IN ARRAY days LOOP
        SELECT d.n INTO number
          FROM unnest(ARRAY['monday', 'tuesday', 'wednesday', 'thursday', 'friday', 'saturday', 'sunday'])
               WITH ORDINALITY AS d (day, n)
         WHERE lower(btrim(name) COLLATE "C") IN (d.day, left(d.day, 3));
        IF NOT FOUND THEN
            RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = coalesce('"' || left(name, 40) || '" is not a day', 'a day is null'),
                HINT = 'Accepted are mon, tue, wed, thu, fri, sat and sun, or the full English names.';
        END IF;
        kept := kept || number;
    END LOOP;
    RETURN ARRAY(SELECT DISTINCT k FROM unnest(kept) AS k ORDER BY k);
END
$$;
COMMENT ON FUNCTION ota.window_days(text[]) IS 'Internal: names of days as numbers';

CREATE OR REPLACE FUNCTION ota.check_timezone(timezone text)
RETURNS text
LANGUAGE plpgsql STABLE SET search_path = ota, pg_temp AS $$
-- The name of a time zone as PostgreSQL writes it, or an error.  Abbreviations such as CET are refused: PostgreSQL takes them as
-- a fixed distance from UTC, without daylight saving.
DECLARE
    name  text;
BEGIN
    IF coalesce(btrim(check_timezone.timezone), '') = '' THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = 'the time zone is missing',
            HINT = 'Give a name such as Europe/Berlin or UTC; pg_timezone_names lists them.';
    END IF;
    SELECT n.name INTO name FROM pg_timezone_names n
     WHERE lower(n.name COLLATE "C") = lower(btrim(check_timezone.timezone) COLLATE "C");
    IF NOT FOUND OR lower(name COLLATE "C") IN ('localtime', 'posixrules', 'factory')
        OR upper(name COLLATE "C") NOT IN ('UTC', 'GMT') AND EXISTS (SELECT FROM pg_timezone_abbrevs a WHERE a.abbrev = upper(name COLLATE "C")) THEN
        RAISE EXCEPTION USING ERRCODE = '22023',
            MESSAGE = format('"%s" is not a time zone with a place', left(check_timezone.timezone, 80)),
            HINT = 'Accepted are names such as Europe/Berlin, and UTC; pg_timezone_names lists them. An abbreviation knows no daylight saving.';
    END IF;
    RETURN name;
END
$$;
COMMENT ON FUNCTION ota.check_timezone(text) IS 'Internal: a time zone by its full name, or an error';

CREATE OR REPLACE FUNCTION ota.set_window(fleet text, timezone text, days text[], opens time, closes time)
RETURNS void
LANGUAGE plpgsql SET search_path = ota, pg_temp AS $$
-- Add a weekly update window to a fleet: its devices are only told of updates inside one of its windows.  What has begun goes
-- on; emergencies and pins of single devices are told at any time.
-- fleet: must exist; timezone: of the fleet, and so of all its windows; days: on which the window opens; opens, closes: local
-- times, a closing that is not after the opening is on the next day (24:00 is the end of the day).  The same again changes nothing.
-- Errors: 22023 an argument is not acceptable; P0002 no such fleet; 54000 too many windows.
#variable_conflict use_column
DECLARE
    kept   integer[];
    zone   text;
    f      ota.fleet;
    every  integer;
BEGIN
    PERFORM ota.check_name('fleet', set_window.fleet);
    zone := ota.check_timezone(set_window.timezone);
    kept := ota.window_days(set_window.days);
    IF set_window.opens IS NULL OR set_window.closes IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = format('the time at which the window %s is missing',
                CASE WHEN set_window.opens IS NULL THEN 'opens' ELSE 'closes' END),
            HINT = 'Give a local time such as 02:00.';
    ELSIF set_window.opens = set_window.closes THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = format('the window opens and closes at %s', set_window.opens),
            HINT = 'Accepted are two different times; the whole day is 00:00 to 24:00, and a fleet without windows is always open.';
    ELSIF set_window.opens = time '24:00' THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = 'the window opens at 24:00',
            HINT = 'Accepted is 00:00 to 23:59:59; give 00:00 and the next day.';
    END IF;
    SELECT o.* INTO f FROM ota.fleet o WHERE o.fleet = set_window.fleet FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'P0002', MESSAGE = format('there is no fleet "%s"', set_window.fleet),
            HINT = format('The fleets are %s. ota.assign_device makes one.',
                (SELECT string_agg(n.fleet, ', ') FROM (SELECT o.fleet FROM ota.fleet o ORDER BY o.fleet LIMIT 20) n));
    END IF;
    SELECT count(*) INTO every FROM ota.fleet_window w WHERE w.fleet = f.fleet;
    IF every >= 50 THEN
        RAISE EXCEPTION USING ERRCODE = '54000', MESSAGE = format('fleet "%s" has %s windows', f.fleet, every),
            HINT = 'A fleet has at most 50; ota.clear_windows removes them.';
    END IF;
    UPDATE ota.fleet o SET timezone = zone WHERE o.fleet = f.fleet AND o.timezone <> zone;
    INSERT INTO ota.fleet_window (fleet, days, opens, closes, added_by)
    VALUES (f.fleet, kept, set_window.opens, set_window.closes, ota.actor())
    ON CONFLICT DO NOTHING;
    PERFORM ota.audit('window_set', NULL, NULL, jsonb_build_object('fleet', f.fleet, 'timezone', zone,
        'days', kept, 'opens', set_window.opens, 'closes', set_window.closes, 'former_timezone', nullif(f.timezone, zone),
        'reason', 'by operator'));
    PERFORM pg_notify('ota', '');
END
$$;
COMMENT ON FUNCTION ota.set_window(text, text, text[], time, time) IS 'Add a weekly update window to a fleet';
