-- ota.define_plan and the plan "standard".
\ir lib/helpers.sql
SELECT no_plan();

SELECT results_eq('SELECT stage, label, percent, wait, min_devices, hold FROM ota.plan_stage WHERE plan = ''standard'' ORDER BY stage', $$ VALUES
    (1, 'canary', 1::numeric, interval '2 hours', 1, false), (2, 'early', 10, '12 hours', 1, false),
    (3, 'majority', 50, '24 hours', 1, false), (4, 'full', 100, '0', 1, false) $$, 'standard exists');
SELECT results_eq('SELECT success_threshold, health_timeout FROM ota.plan WHERE plan = ''standard''', $$ VALUES (0.95, interval '60 seconds') $$, 'its numbers');

SELECT lives_ok($$ SELECT ota.define_plan('quick', '[{"label": "a", "percent": 0.125, "wait": "10 minutes", "min_devices": 5, "hold": true},
    {"label": "b", "percent": 100}]', 0.9, '2 minutes', '30 minutes', 50, 600, 2, '{"pacing": "none", "early_halt": false, "coverage": 0.5,
    "reboot": false, "approval": true, "fallback": "1.0.0", "count_closed_hours": false}') $$, 'everything given');
SELECT results_eq('SELECT success_threshold, health_timeout, download_timeout, max_in_flight, per_minute, retries, options, defined_by FROM ota.plan WHERE plan = ''quick''',
    $$ VALUES (0.9, interval '2 minutes', interval '30 minutes', 50, 600, 2, '{"pacing": "none", "early_halt": false, "coverage": 0.5,
    "reboot": false, "approval": true, "fallback": "1.0.0", "count_closed_hours": false}'::jsonb, current_setting('session_authorization')) $$, 'is kept');
SELECT results_eq('SELECT stage, label, percent, wait, min_devices, hold FROM ota.plan_stage WHERE plan = ''quick'' ORDER BY stage', $$ VALUES
    (1, 'a', 0.125, interval '10 minutes', 5, true), (2, 'b', 100, '0', 1, false) $$, 'with its stages');
SELECT lives_ok($$ SELECT ota.define_plan('quick', '[{"label": "x", "percent": 5}, {"label": "y", "percent": 50}, {"label": "z", "percent": 100}]') $$, 'anew');
SELECT results_eq('SELECT label FROM ota.plan_stage WHERE plan = ''quick'' ORDER BY stage', ARRAY['x', 'y', 'z'], 'the stages are replaced');
SELECT results_eq('SELECT success_threshold, health_timeout, download_timeout, max_in_flight, per_minute, retries, options FROM ota.plan WHERE plan = ''quick''',
    $$ VALUES (0.95, interval '60 seconds', interval '1 hour', NULL::integer, NULL::integer, 0, '{}'::jsonb) $$, 'the numbers too, to their defaults');
SELECT is(count(*), 2::bigint, 'both are in the audit log') FROM ota.event
 WHERE kind = 'plan_defined' AND detail ->> 'plan' = 'quick' AND detail ->> 'by' = session_user;

SELECT throws_ok(format('SELECT ota.define_plan(%L, %L)', 'p', stages), '22023', message, coalesce(stages, 'null'))
  FROM (VALUES
    (NULL, 'the stages are null'),
    ('{}', 'the stages are a JSON object'),
    ('[]', 'the plan has 0 stages'),
    ('[1]', 'stage 1 is a JSON number'),
    ('[{"percent": 1}]', 'stage 1 has no label'),
    ('[{"label": "", "percent": 1}]', 'stage 1 has label ""'),
    ('[{"label": 7, "percent": 1}]', 'stage 1 has label 7'),
    ('[{"label": "a"}]', 'stage 1 has no percent'),
    ('[{"label": "a", "percent": "1"}]', 'stage 1 has percent "1"'),
    ('[{"label": "a", "percent": 0}]', 'stage 1 has percent 0'),
    ('[{"label": "a", "percent": 100.5}]', 'stage 1 has percent 100.5'),
    ('[{"label": "a", "percent": 0.0001}]', 'stage 1 has percent 0.0001'),
    ('[{"label": "a", "percent": 1, "wait": 60}]', 'stage 1 has wait 60'),
    ('[{"label": "a", "percent": 1, "wait": "soon"}]', 'stage 1 has wait "soon"'),
    ('[{"label": "a", "percent": 1, "wait": "-1 hour"}]', 'stage 1 has wait "-1 hour"'),
    ('[{"label": "a", "percent": 1, "wait": "11 years"}]', 'stage 1 has wait "11 years"'),
    ('[{"label": "a", "percent": 1, "wait": null}]', 'stage 1 has wait null'),
    ('[{"label": "a", "percent": 1, "min_devices": 0}]', 'stage 1 has min_devices 0'),
    ('[{"label": "a", "percent": 1, "min_devices": 1.5}]', 'stage 1 has min_devices 1.5'),
    ('[{"label": "a", "percent": 1, "min_devices": 99999999999}]', 'stage 1 has min_devices 99999999999'),
    ('[{"label": "a", "percent": 1, "hold": "yes"}]', 'stage 1 has hold "yes"'),
    ('[{"label": "a", "percent": 1, "Wait": "1 h"}]', 'stage 1 has the unknown member "Wait"'),
    ('[{"label": "a", "percent": 1}, {"label": "a", "percent": 100}]', 'stage 2 has label "a"'),
    ('[{"label": "a", "percent": 10}, {"label": "b", "percent": 10}, {"label": "c", "percent": 100}]', 'stage 2 has percent 10'),
    ('[{"label": "a", "percent": 10}, {"label": "b", "percent": 9}]', 'stage 2 has percent 9'),
    ('[{"label": "a", "percent": 10}, {"label": "b", "percent": 90}]', 'the last stage has percent 90'),
    ('[{"label": "a", "percent": 10}]', 'the last stage has percent 10'),
    ('[{"label": "a", "percent": 100}]', 'a plan''s first stage is never the whole fleet')) AS c (stages, message);

SELECT throws_ok(format('SELECT ota.define_plan(%s)', replace(given, '$S', '''[{"label": "a", "percent": 10}, {"label": "b", "percent": 100}]''')),
        '22023', message, message)
  FROM (VALUES
    ('NULL, $S', 'the plan''s name is missing'),
    (''''', $S', '"" cannot name a plan'),
    ('''-x'', $S', '"-x" cannot name a plan'),
    ('''a b'', $S', '"a b" cannot name a plan'),
    ('repeat(''x'', 65), $S', format('"%s" cannot name a plan', repeat('x', 65))),
    ('''p'', $S, 0', 'success_threshold is 0'),
    ('''p'', $S, 1.01', 'success_threshold is 1.01'),
    ('''p'', $S, ''NaN''', 'success_threshold is NaN'),
    ('''p'', $S, NULL', 'success_threshold is null'),
    ('''p'', $S, health_timeout => ''0''', 'health_timeout is 00:00:00'),
    ('''p'', $S, health_timeout => NULL', 'health_timeout is null'),
    ('''p'', $S, download_timeout => ''-1 s''', 'download_timeout is -00:00:01'),
    ('''p'', $S, max_in_flight => 0', 'max_in_flight is 0'),
    ('''p'', $S, per_minute => -5', 'per_minute is -5'),
    ('''p'', $S, retries => 11', 'retries is 11'),
    ('''p'', $S, retries => -1', 'retries is -1'),
    ('''p'', $S, retries => NULL', 'retries is null'),
    ('''p'', $S, options => NULL', 'the options are null'),
    ('''p'', $S, options => ''[]''', 'the options are a JSON array'),
    ('''p'', $S, options => ''{"Pacing": "none"}''', 'unknown option "Pacing"'),
    ('''p'', $S, options => ''{"pacing": "fast"}''', 'option "pacing" is "fast"'),
    ('''p'', $S, options => ''{"early_halt": 1}''', 'option "early_halt" is 1'),
    ('''p'', $S, options => ''{"coverage": 0}''', 'option "coverage" is 0'),
    ('''p'', $S, options => ''{"coverage": 1.1}''', 'option "coverage" is 1.1'),
    ('''p'', $S, options => ''{"coverage": "1"}''', 'option "coverage" is "1"'),
    ('''p'', $S, options => ''{"reboot": null}''', 'option "reboot" is null'),
    ('''p'', $S, options => ''{"approval": "yes"}''', 'option "approval" is "yes"'),
    ('''p'', $S, options => ''{"fallback": "old"}''', 'option "fallback" is "old"'),
    ('''p'', $S, options => ''{"count_closed_hours": 0}''', 'option "count_closed_hours" is 0')) AS c (given, message);
SELECT is_empty('SELECT * FROM ota.plan WHERE plan NOT IN (''standard'', ''quick'')', 'errors leave nothing behind');

-- The hint of the one rule that somebody will want to get around.
DO $$
DECLARE
    advice  text;
BEGIN
    PERFORM ota.define_plan('p', '[{"label": "a", "percent": 100}]');
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS advice = PG_EXCEPTION_HINT;
    PERFORM set_config('test.hint', advice, false);
END
$$;
SELECT matches(current_setting('test.hint'), 'emergency:', 'the hint names the way for an emergency');

SELECT * FROM finish();
