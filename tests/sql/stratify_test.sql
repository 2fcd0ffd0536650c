-- Canaries that have a device of each hardware and site, in the size that the plan says.
\ir lib/helpers.sql
SELECT no_plan();

SELECT throws_ok(format('SELECT ota.define_plan(''p'', ''[{"label": "a", "percent": 50}, {"label": "b", "percent": 100}]'', options => %L)', options), '22023', message, message)
  FROM (VALUES ('{"stratify": "site"}', 'option "stratify" is "site"'), ('{"stratify": ["colour"]}', 'option "stratify" is ["colour"]'),
               ('{"stratify": ["site", "site"]}', 'option "stratify" is ["site", "site"]'), ('{"stratify": true}', 'option "stratify" is true')) AS c (options, message);

-- 10,000 devices: rev-a and rev-b, two of rev-c; 60 sites, site-0 with one device; some without either.
INSERT INTO ota.fleet (fleet) VALUES ('f');
INSERT INTO ota.device (device_id, fleet, version, hardware, listening, connected, broker, attributes)
SELECT 'dev-' || n, 'f', '1.0.0', CASE WHEN n <= 2 THEN 'rev-c' WHEN n % 10 = 3 THEN NULL ELSE 'rev-' || chr(97 + n % 2) END,
       true, true, 'broker', CASE WHEN n = 5 THEN '{"site": "site-0"}' WHEN n % 7 = 0 THEN '{}' ELSE jsonb_build_object('site', 'site-' || 1 + n % 59) END
  FROM generate_series(1, 10000) n;
SELECT pg_temp.release('1.' || n || '.0', 10 + n) FROM generate_series(1, 9) n \g /dev/null

CREATE FUNCTION pg_temp.strata(rollout bigint) RETURNS text LANGUAGE sql AS $$
    SELECT format('%s devices, %s models, %s sites', count(*), count(DISTINCT d.hardware), count(DISTINCT d.attributes ->> 'site'))
      FROM ota.device_update u JOIN ota.device d USING (device_id) WHERE u.rollout_id = rollout;
$$;
-- Start it, and open all its stages; say which devices each has.
CREATE FUNCTION pg_temp.play(version text, plan text, OUT rollout bigint, OUT foretold boolean, OUT first text) LANGUAGE plpgsql AS $$
DECLARE
    many  integer := (SELECT count(*) FROM ota.plan_stage s WHERE s.plan = play.plan);
BEGIN
    CREATE TEMP TABLE told AS SELECT device_id, stage FROM ota.preview_rollout('f', play.version, play.plan);
    rollout := ota.start_rollout('f', play.version, play.plan);
    PERFORM ota.rollout_step(rollout, 'start', NULL, 'controller');
    FOR n IN 1 .. many LOOP
        PERFORM ota.controller_open_stage(rollout, n, e.eligible, (SELECT ceil(s.percent * e.eligible * 0.01)::bigint
                  FROM ota.plan_stage s WHERE s.plan = play.plan AND s.stage = n)) FROM ota.controller_eligible(rollout) e;
        IF n = 1 THEN
            first := pg_temp.strata(rollout);
        END IF;
    END LOOP;
    foretold := NOT EXISTS (SELECT t.device_id, t.stage FROM told t EXCEPT SELECT u.device_id, u.stage FROM ota.device_update u WHERE u.rollout_id = rollout)
            AND (SELECT count(*) FROM told) = (SELECT count(*) FROM ota.device_update u WHERE u.rollout_id = rollout);
    DROP TABLE told;
END
$$;

SELECT ota.define_plan('quick', '[{"label": "canary", "percent": 1}, {"label": "early", "percent": 10}, {"label": "majority", "percent": 50}, {"label": "full", "percent": 100}]', options => '{"pacing": "none"}');
SELECT rollout AS a, foretold, first FROM pg_temp.play('1.1.0', 'quick') \gset
SELECT is(:'first'::text, '100 devices, 3 models, 60 sites', '1 % of 10,000 are 100 devices, of every model and site');
SELECT ok(:'foretold', 'the preview named each stage''s very devices');
SELECT results_eq(format('SELECT stage, added, cohort FROM ota.rollout_stage WHERE rollout_id = %s ORDER BY 1', :a),
    'VALUES (1, 100::bigint, 100::bigint), (2, 900, 1000), (3, 4000, 5000), (4, 5000, 10000)', 'each stage has its exact size, those before it inside');
SELECT is_empty(format('SELECT device_id FROM ota.device_update WHERE rollout_id = %s GROUP BY 1 HAVING count(*) > 1', :a), 'nobody twice');
SELECT ok(count(*) BETWEEN 60 AND 63, 'drawn ahead: one for each model, and one for each site that these leave out')
  FROM ota.rollout_ahead WHERE rollout_id = :a;
SELECT is_empty(format($$ SELECT FROM ota.device_update u WHERE u.rollout_id = %s AND u.stage = 1
    AND u.device_id NOT IN (SELECT device_id FROM ota.rollout_ahead) AND u.rank > (SELECT last_rank FROM ota.rollout_stage s WHERE s.rollout_id = u.rollout_id AND s.stage = 1) $$, :a),
    'the others are the first by rank');
SELECT is_empty(format($$ SELECT FROM ota.device_update u WHERE u.rollout_id = %1$s AND u.stage > 1
    AND u.rank < (SELECT last_rank FROM ota.rollout_stage s WHERE s.rollout_id = %1$s AND s.stage = 1) $$, :a), 'none of which is left out');
SELECT is_empty(format($$ SELECT a.device_id FROM ota.rollout_ahead a JOIN ota.device d USING (device_id) WHERE a.rollout_id = %s
    AND EXISTS (SELECT FROM ota.device o WHERE (a.attribute = 'hardware' AND o.hardware = a.value OR a.attribute = 'site' AND o.attributes ->> 'site' = a.value)
                AND ota.cohort_rank(a.rollout_id, o.device_id) < ota.cohort_rank(a.rollout_id, a.device_id)) $$, :a), 'each of them is the first by rank of its kind');

-- As the plan says otherwise
SELECT ota.define_plan('plain', '[{"label": "canary", "percent": 1}, {"label": "full", "percent": 100}]', options => '{"pacing": "none", "stratify": []}');
SELECT rollout AS b, foretold, first FROM pg_temp.play('1.2.0', 'plain') \gset
SELECT is_empty(format($$ SELECT FROM ota.device_update u WHERE u.rollout_id = %1$s AND u.stage = 2
    AND u.rank < (SELECT max(x.rank) FROM ota.device_update x WHERE x.rollout_id = %1$s AND x.stage = 1) $$, :b), 'without strata only the rank counts');
SELECT ok(:'foretold' AND NOT EXISTS (SELECT FROM ota.rollout_ahead WHERE rollout_id = :b), 'as foretold, and nobody is drawn ahead');
SELECT ota.define_plan('sites', '[{"label": "canary", "percent": 1}, {"label": "full", "percent": 100}]', options => '{"pacing": "none", "stratify": ["site"]}');
SELECT rollout AS c, foretold, first FROM pg_temp.play('1.3.0', 'sites') \gset
SELECT ok(:'foretold' AND :'first' ~ '^100 devices, . models, 60 sites', 'sites alone: ' || :'first');
SELECT is(count(*), 60::bigint, 'one of each') FROM ota.rollout_ahead WHERE rollout_id = :c AND attribute = 'site';

-- A canary with less room than there are sites: the models first, then sites by rank; the next stage has the others.
SELECT ota.define_plan('small', '[{"label": "canary", "percent": 0.2}, {"label": "early", "percent": 1}, {"label": "full", "percent": 100}]', options => '{"pacing": "none"}');
SELECT rollout AS d, foretold, first FROM pg_temp.play('1.4.0', 'small') \gset
SELECT ok(:'first' ~ '^20 devices, 3 models, (19|20|18|17) sites', 'as many as have room: ' || :'first');
SELECT is(count(DISTINCT v.attributes ->> 'site'), 60::bigint, 'the next stage has the rest') FROM ota.device_update u JOIN ota.device v USING (device_id) WHERE u.rollout_id = :d AND u.stage <= 2;
SELECT ok(:'foretold', 'as foretold');
SELECT results_eq(format('SELECT stage, cohort FROM ota.rollout_stage WHERE rollout_id = %s ORDER BY 1', :d), 'VALUES (1, 20::bigint), (2, 100), (3, 10000)', 'with exact sizes');
SELECT rollout AS s, foretold, first FROM pg_temp.play('1.5.0', 'standard') \gset
SELECT results_eq(format('SELECT stage, cohort FROM ota.rollout_stage WHERE rollout_id = %s ORDER BY 1', :s),
    'VALUES (1, 100::bigint), (2, 1000), (3, 5000), (4, 10000)', 'the standard plan keeps its numbers');
SELECT ok(:'foretold' AND :'first' = '100 devices, 3 models, 60 sites', 'and has every model and site');

-- Sites that appear between two stages
SELECT ota.start_rollout('f', '1.6.0', 'small') AS e \gset
SELECT ota.rollout_step(:e, 'start', NULL, 'controller') \g /dev/null
SELECT pg_temp.open_stage(:e, 1);
INSERT INTO ota.device (device_id, fleet, version, hardware, listening, connected, broker, attributes)
SELECT 'new-' || n, 'f', '1.0.0', 'rev-d', true, true, 'broker', '{"site": "site-60"}' FROM generate_series(1, 20) n;
SELECT pg_temp.open_stage(:e, 2);
SELECT ok(EXISTS (SELECT FROM ota.device_update u JOIN ota.device v USING (device_id) WHERE u.rollout_id = :e AND v.hardware = 'rev-d' AND v.attributes ->> 'site' = 'site-60'),
    'the next stage has one of them');

-- Who is told: those drawn ahead, nobody else behind the cohort
SELECT ok(EXISTS (SELECT FROM ota.device_update u JOIN ota.rollout_ahead a USING (rollout_id, device_id) JOIN ota.rollout_stage g ON g.rollout_id = u.rollout_id AND g.stage = 2
    WHERE u.rollout_id = :e AND u.rank > g.last_rank), 'some are far behind by their rank');
SELECT device_id AS stray FROM ota.device v WHERE v.fleet = 'f' AND NOT EXISTS (SELECT FROM ota.device_update u WHERE u.rollout_id = :e AND u.device_id = v.device_id) LIMIT 1 \gset
INSERT INTO ota.device_update (rollout_id, device_id, stage, rank, ready) VALUES (:e, :'stray', 2, ota.cohort_rank(:e, :'stray'), true);
SELECT throws_ok(format('INSERT INTO ota.rollout_ahead VALUES (%s, %L, 2, ''hardware'', ''rev-x'')', :e, :'stray'), '55000',
    format('device "%s" cannot join rollout %s ahead of its rank now', :'stray', :e), 'a row by hand does not get it in');
SELECT throws_ok(format('UPDATE ota.rollout_ahead SET device_id = %L WHERE rollout_id = %s', :'stray', :e), '55000', NULL, 'nor a changed one');
SELECT ota.controller_grant(:e, 1000) \g /dev/null
SELECT is(count(*), 102::bigint, 'all have a slot') FROM ota.device_update WHERE rollout_id = :e AND granted_at IS NOT NULL;
SELECT is(count(*), 101::bigint, 'all are told but one') FROM ota.broker_claim('broker', 1000);
SELECT results_eq(format('SELECT device_id, error FROM ota.device_update WHERE rollout_id = %s AND state = ''cancelled''', :e), format('VALUES (%L, ''NOT_IN_STAGE'')', :'stray'), 'which no stage asked for');

SELECT * FROM finish();
