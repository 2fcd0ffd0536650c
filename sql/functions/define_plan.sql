-- Operators: define how a release goes out.

CREATE OR REPLACE FUNCTION ota.check_plan_options(options jsonb)
RETURNS void
LANGUAGE plpgsql STABLE SET search_path = ota, pg_temp AS $$
-- Refuse options of a plan that are unknown or have a value that nobody could use.
DECLARE
    name      text;
    value     jsonb;
    accepted  text;
    known     record;
BEGIN
    IF options IS NULL OR jsonb_typeof(options) <> 'object' THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = format('the options are %s', coalesce('a JSON ' || jsonb_typeof(options), 'null')),
            HINT = 'Accepted is an object such as {"early_halt": false}; {} for none.';
    END IF;
    FOR name, value IN SELECT * FROM jsonb_each(options) LOOP
        accepted := CASE
            WHEN name = 'pacing' THEN
                CASE WHEN value NOT IN ('"slow_start"', '"none"') THEN '"slow_start" or "none"' END
            WHEN name IN ('early_halt', 'reboot', 'approval', 'count_closed_hours') THEN
                CASE WHEN jsonb_typeof(value) <> 'boolean' THEN 'true or false' END
            WHEN name = 'coverage' THEN
                CASE WHEN CASE WHEN jsonb_typeof(value) = 'number' THEN value::numeric <= 0 OR value::numeric > 1 ELSE true END
                     THEN 'a number above 0, at most 1' END
            WHEN name = 'max_per_site' THEN
                CASE WHEN CASE WHEN jsonb_typeof(value) = 'number'
                               THEN value::numeric NOT BETWEEN 1 AND 10000 OR value::numeric % 1 <> 0 ELSE true END
                     THEN 'an integer from 1 to 10000' END
            WHEN name = 'stratify' THEN
                CASE WHEN CASE WHEN jsonb_typeof(value) = 'array'
                               THEN NOT value <@ '["hardware", "site"]' OR jsonb_array_length(value) > 2
                                    OR value -> 0 = value -> 1 ELSE true END
                     THEN 'a list of "hardware" and "site", each at most once, such as ["hardware", "site"]; [] for neither' END
            WHEN name = 'fallback' THEN
                CASE WHEN jsonb_typeof(value) <> 'string' OR NOT ota.version_valid(value #>> '{}')
                     THEN 'a Semantic Version such as "1.4.0"' END
            ELSE 'unknown' END;
        IF accepted = 'unknown' THEN
            RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = format('unknown option "%s"', left(name, 80)),
                HINT = 'Accepted are pacing, early_halt, coverage, reboot, approval, fallback, count_closed_hours, max_per_site and stratify.';
        ELSIF accepted IS NOT NULL THEN
            RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = format('option "%s" is %s', name, left(value::text, 80)),
                HINT = format('Accepted is %s.', accepted);
        END IF;
    END LOOP;
    -- The release may come later, and is looked at when a rollout starts; but one that never goes out again is no way back.
    SELECT l.reason INTO known FROM ota.release l WHERE l.version = options ->> 'fallback' AND l.state = 'revoked';
    IF FOUND THEN
        RAISE EXCEPTION USING ERRCODE = '55000', MESSAGE = format('option "fallback" names release %s, which is revoked', options ->> 'fallback')
                || coalesce(': ' || known.reason, ''),
            HINT = 'A revoked release never goes out again; name another version.';
    END IF;
END
$$;
COMMENT ON FUNCTION ota.check_plan_options(jsonb) IS 'Internal: refuse unknown or unusable options of a plan';

CREATE OR REPLACE FUNCTION ota.check_plan_stages(stages jsonb)
RETURNS SETOF ota.plan_stage
LANGUAGE plpgsql IMMUTABLE SET search_path = ota, pg_temp AS $$
-- The stages of a plan as rows (without the plan's name), or an error that says which stage is wrong and why.
DECLARE
    given     jsonb;
    unknown   text;
    problem   text;
    accepted  text;
    one       ota.plan_stage;
    before    numeric := 0;
    labels    text[] := '{}';
    n         integer := 0;
BEGIN
    IF stages IS NULL OR jsonb_typeof(stages) <> 'array' THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = format('the stages are %s', coalesce('a JSON ' || jsonb_typeof(stages), 'null')),
            HINT = 'Accepted is a list such as [{"label": "canary", "percent": 1, "wait": "2 hours"}, {"label": "full", "percent": 100}].';
    ELSIF jsonb_array_length(stages) NOT BETWEEN 1 AND 100 THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = format('the plan has %s stages', jsonb_array_length(stages)),
            HINT = 'Accepted are 2 to 100 stages.';
    END IF;
    FOR given IN SELECT * FROM jsonb_array_elements(stages) LOOP
        n := n + 1;
        IF jsonb_typeof(given) <> 'object' THEN
            RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = format('stage %s is a JSON %s', n, jsonb_typeof(given)),
                HINT = 'Accepted is an object {"label", "percent", "wait"?, "min_devices"?, "hold"?}.';
        END IF;
        SELECT k INTO unknown FROM jsonb_object_keys(given) AS k
         WHERE k NOT IN ('label', 'percent', 'wait', 'min_devices', 'hold') LIMIT 1;
        IF FOUND THEN
            RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = format('stage %s has the unknown member "%s"', n, left(unknown, 80)),
                HINT = 'Accepted are label, percent, wait, min_devices and hold.';
        END IF;

        problem := NULL;
        IF (CASE WHEN jsonb_typeof(given -> 'label') = 'string'
                 THEN octet_length(given ->> 'label') NOT BETWEEN 1 AND 64 OR given ->> 'label' ~ '[[:cntrl:]]' ELSE true END) THEN
            problem := 'label';
            accepted := 'a text of 1 to 64 bytes';
        ELSIF given ->> 'label' = ANY (labels) THEN
            problem := 'label';
            accepted := 'a label that no other stage of the plan has';
        ELSIF (CASE WHEN jsonb_typeof(given -> 'percent') = 'number'
                    THEN (given ->> 'percent')::numeric <= 0 OR (given ->> 'percent')::numeric > 100
                         OR (given ->> 'percent')::numeric * 1000 % 1 <> 0 ELSE true END) THEN
            problem := 'percent';
            accepted := 'a number above 0, at most 100, with at most three decimals';
        ELSIF (given ->> 'percent')::numeric <= before THEN
            problem := 'percent';
            accepted := format('a number above the earlier stage''s %s: a stage contains those before it', trim_scale(before));
        ELSIF given ? 'min_devices'
            AND (CASE WHEN jsonb_typeof(given -> 'min_devices') = 'number'
                      THEN (given ->> 'min_devices')::numeric NOT BETWEEN 1 AND 2147483647
                           OR (given ->> 'min_devices')::numeric % 1 <> 0 ELSE true END) THEN
            problem := 'min_devices';
            accepted := 'an integer from 1 to 2147483647';
        ELSIF given ? 'hold' AND jsonb_typeof(given -> 'hold') <> 'boolean' THEN
            problem := 'hold';
            accepted := 'true or false';
        ELSIF given ? 'wait' THEN
            one.wait := NULL;
            IF jsonb_typeof(given -> 'wait') = 'string' THEN
                BEGIN
                    one.wait := (given ->> 'wait')::interval;
                EXCEPTION WHEN data_exception THEN
                    one.wait := NULL; -- reported below
                END;
            END IF;
            IF one.wait IS NULL OR one.wait < interval '0' OR one.wait > interval '10 years' THEN
                problem := 'wait';
                accepted := 'an interval from "0" to "10 years", such as "2 hours"';
            END IF;
        ELSE
            one.wait := interval '0';
        END IF;
        IF problem IS NOT NULL THEN
            RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = CASE WHEN given ? problem
                    THEN format('stage %s has %s %s', n, problem, left((given -> problem)::text, 80))
                    ELSE format('stage %s has no %s', n, problem) END,
                HINT = format('Accepted is %s.', accepted);
        END IF;

        one.stage := n;
        one.label := given ->> 'label';
        one.percent := (given ->> 'percent')::numeric;
        one.min_devices := coalesce((given ->> 'min_devices')::numeric::integer, 1);
        one.hold := coalesce((given ->> 'hold')::boolean, false);
        before := one.percent;
        labels := labels || one.label;
        IF n = 1 AND one.percent = 100 THEN
            RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = 'a plan''s first stage is never the whole fleet',
                HINT = 'Begin with fewer than 100 percent. In an emergency start the rollout with a reason that begins with "emergency:": it then has one stage of the whole fleet, whatever the plan.';
        END IF;
        RETURN NEXT one;
    END LOOP;
    IF before <> 100 THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = format('the last stage has percent %s', trim_scale(before)),
            HINT = 'Accepted is 100: a plan ends with the whole fleet. To stay short of it give the stage before "hold": true.';
    END IF;
END
$$;
COMMENT ON FUNCTION ota.check_plan_stages(jsonb) IS 'Internal: the stages of a plan as rows, or what is wrong with them';

CREATE OR REPLACE FUNCTION ota.define_plan(plan text, stages jsonb, success_threshold numeric DEFAULT 0.95,
    health_timeout interval DEFAULT '60 seconds', download_timeout interval DEFAULT '1 hour', max_in_flight integer DEFAULT NULL,
    per_minute integer DEFAULT NULL, retries integer DEFAULT 0, options jsonb DEFAULT '{}')
RETURNS void
LANGUAGE plpgsql SET search_path = ota, pg_temp AS $$
-- Define a plan, or define it anew (rollouts that exist have their copy and do not change).
-- plan: its name; stages: a list of {"label", "percent", "wait"?, "min_devices"?, "hold"?} in their order, percent growing to 100;
-- success_threshold: share of the finished devices that must have succeeded, above 0 to 1; health_timeout: silence allowed between
-- "applying" and the new version's report; download_timeout: silence allowed before; max_in_flight, per_minute: caps on devices
-- being updated at once and told in a minute, null: none; retries: further attempts of a device, 0 to 10;
-- options: pacing, early_halt, coverage, reboot, approval, fallback, count_closed_hours, max_per_site, stratify.
-- Errors: 22023 an argument is not acceptable; 55000 the fallback is revoked.
#variable_conflict use_column
DECLARE
    problem   text;
    accepted  text;
    stage     ota.plan_stage[];
BEGIN
    IF define_plan.plan IS NULL OR define_plan.plan !~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$' THEN
        problem := coalesce('"' || left(define_plan.plan, 80) || '" cannot name a plan', 'the plan''s name is missing');
        accepted := 'A name has 1 to 64 letters, digits, dots, underscores and hyphens, and begins with a letter or digit.';
    ELSIF coalesce(define_plan.success_threshold <= 0 OR define_plan.success_threshold > 1, true) THEN
        problem := format('success_threshold is %s', coalesce(define_plan.success_threshold::text, 'null'));
        accepted := 'Accepted is a share above 0, at most 1, such as 0.95.';
    ELSIF coalesce(define_plan.health_timeout <= interval '0' OR define_plan.health_timeout > interval '10 years', true) THEN
        problem := format('health_timeout is %s', coalesce(define_plan.health_timeout::text, 'null'));
        accepted := 'Accepted is an interval above 0, at most 10 years, such as 60 seconds.';
    ELSIF coalesce(define_plan.download_timeout <= interval '0' OR define_plan.download_timeout > interval '10 years', true) THEN
        problem := format('download_timeout is %s', coalesce(define_plan.download_timeout::text, 'null'));
        accepted := 'Accepted is an interval above 0, at most 10 years, such as 1 hour.';
    ELSIF define_plan.max_in_flight <= 0 THEN
        problem := format('max_in_flight is %s', define_plan.max_in_flight);
        accepted := 'Accepted is a number of devices above 0; null for no cap.';
    ELSIF define_plan.per_minute <= 0 THEN
        problem := format('per_minute is %s', define_plan.per_minute);
        accepted := 'Accepted is a number of devices above 0; null for no cap.';
    ELSIF coalesce(define_plan.retries NOT BETWEEN 0 AND 10, true) THEN
        problem := format('retries is %s', coalesce(define_plan.retries::text, 'null'));
        accepted := 'Accepted are 0 to 10.';
    END IF;
    IF problem IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = problem, HINT = accepted;
    END IF;
    PERFORM ota.check_plan_options(define_plan.options);
    SELECT array_agg(s ORDER BY s.stage) INTO stage FROM ota.check_plan_stages(define_plan.stages) AS s;

    INSERT INTO ota.plan AS p (plan, success_threshold, health_timeout, download_timeout, max_in_flight, per_minute, retries, options)
    VALUES (define_plan.plan, define_plan.success_threshold, define_plan.health_timeout, define_plan.download_timeout,
            define_plan.max_in_flight, define_plan.per_minute, define_plan.retries, define_plan.options)
    ON CONFLICT ON CONSTRAINT plan_pkey DO UPDATE
       SET success_threshold = excluded.success_threshold, health_timeout = excluded.health_timeout,
           download_timeout = excluded.download_timeout, max_in_flight = excluded.max_in_flight,
           per_minute = excluded.per_minute, retries = excluded.retries, options = excluded.options,
           defined_at = now(), defined_by = excluded.defined_by;
    DELETE FROM ota.plan_stage s WHERE s.plan = define_plan.plan;
    INSERT INTO ota.plan_stage (plan, stage, label, percent, wait, min_devices, hold)
    SELECT define_plan.plan, s.stage, s.label, s.percent, s.wait, s.min_devices, s.hold FROM unnest(stage) AS s;
    PERFORM ota.audit('plan_defined', NULL, NULL, jsonb_build_object('plan', define_plan.plan, 'stages', define_plan.stages,
        'success_threshold', define_plan.success_threshold, 'health_timeout', define_plan.health_timeout,
        'download_timeout', define_plan.download_timeout, 'max_in_flight', define_plan.max_in_flight,
        'per_minute', define_plan.per_minute, 'retries', define_plan.retries, 'options', define_plan.options,
        'reason', 'by operator'));
END
$$;
COMMENT ON FUNCTION ota.define_plan(text, jsonb, numeric, interval, interval, integer, integer, integer, jsonb) IS 'Define a plan of stages, or define it anew';
