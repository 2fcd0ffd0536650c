-- Sites: ota.set_attributes, ota.limit_fleet, and how many devices of one site are updated at once.
\ir lib/helpers.sql
SELECT no_plan();

-- Bad input -----------------------------------------------------------------------------------------------------------
SELECT pg_temp.devices('f', 'dev', 40, '1.0.0');
SELECT throws_ok(format('SELECT ota.set_attributes(%s)', given), code, message, message) FROM (VALUES
    ('NULL, ''{}''', '22023', 'the device is missing'), ('''nobody'', ''{}''', 'P0002', 'there is no device "nobody"'),
    ('''dev-1'', NULL', '22023', 'the attributes are null'), ('''dev-1'', ''[1]''', '22023', 'the attributes are a JSON array'),
    ('''dev-1'', ''{"site": 7}''', '22023', 'the site is 7'), ('''dev-1'', ''{"site": ""}''', '22023', 'the site is ""'),
    ('''dev-1'', ''{"": 1}''', '22023', '"" cannot name an attribute'),
    ('''dev-1'', jsonb_build_object(''x'', repeat(''y'', 9000))', '22023', 'the attributes have 9009 bytes')) AS c (given, code, message);
SELECT throws_ok(format('SELECT ota.limit_fleet(%s)', given), code, message, message) FROM (VALUES
    ('NULL, 1, 1, ''x''', '22023', 'the fleet is missing'), ('''nowhere'', 1, 1, ''x''', 'P0002', 'there is no fleet "nowhere"'),
    ('''f'', reason => ''x''', '22023', 'neither max_per_gateway nor max_per_site is given'),
    ('''f'', 0, NULL, ''x''', '22023', 'max_per_gateway is 0'), ('''f'', NULL, -1, ''x''', '22023', 'max_per_site is -1'),
    ('''f'', 1, 10001, ''x''', '22023', 'max_per_site is 10001'), ('''f'', 1, 1', '22023', 'the reason is missing')) AS c (given, code, message);
SELECT throws_ok(format('SELECT ota.define_plan(''p'', ''[{"label": "a", "percent": 50}, {"label": "b", "percent": 100}]'', options => %L)', options), '22023', message, message)
  FROM (VALUES ('{"max_per_site": 0}', 'option "max_per_site" is 0'), ('{"max_per_site": "5"}', 'option "max_per_site" is "5"'),
               ('{"max_per_site": 1.5}', 'option "max_per_site" is 1.5')) AS c (options, message);

-- Attributes and limits -----------------------------------------------------------------------------------------------
SELECT is(ota.set_attributes('dev-1', '{"site": "north", "rack": {"row": null}}'), '{"site": "north", "rack": {"row": null}}', 'set');
SELECT is(ota.set_attributes('dev-1', '{"site": null, "x": 1}'), '{"x": 1, "rack": {"row": null}}', 'null removes, the rest stays');
SELECT is(ota.set_attributes('dev-1', '{"rack": null, "x": null}'), '{}', 'and all are gone');
SELECT is(ota.set_attributes('dev-1', '{"x": null}'), '{}', 'which changes nothing');
SELECT is(count(*), 3::bigint, 'each change is written down') FROM ota.event WHERE kind = 'attributes_set' AND device_id = 'dev-1' AND detail ->> 'by' = session_user;
SELECT ota.limit_fleet('f', 3, NULL, 'wider radio');
SELECT results_eq('SELECT max_per_gateway, max_per_site FROM ota.fleet WHERE fleet = ''f''', 'VALUES (3, NULL::integer)', 'what is not given stays');
SELECT ota.limit_fleet('f', NULL, 2, 'docks');
SELECT results_eq('SELECT max_per_gateway, max_per_site FROM ota.fleet WHERE fleet = ''f''', 'VALUES (3, 2)', 'the cap for each site');
SELECT is(detail - 'by', '{"fleet": "f", "max_per_gateway": 3, "former_max_per_gateway": 3, "max_per_site": 2, "former_max_per_site": null, "reason": "docks"}', 'written down')
  FROM ota.event WHERE kind = 'fleet_limited' ORDER BY event_id DESC LIMIT 1;

-- The cap -------------------------------------------------------------------------------------------------------------
-- 30 devices at site big, 6 at site small, 4 at none.
SELECT ota.set_attributes('dev-' || n, jsonb_build_object('site', CASE WHEN n <= 30 THEN 'big' ELSE 'small' END)) FROM generate_series(1, 36) n \g /dev/null
CREATE FUNCTION pg_temp.loads() RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(format('%s %s', coalesce(nullif(site, ''), '-'), n), ', ' ORDER BY site) FROM (
        SELECT u.site, count(*) AS n FROM ota.device_update u
         WHERE u.state = 'pending' AND u.granted_at IS NOT NULL OR u.state IN ('notified', 'downloading', 'applying') GROUP BY 1) x;
$$;
SELECT pg_temp.release('1.5.0', 15), pg_temp.release('1.6.0', 16) \g /dev/null
SELECT ota.define_plan('p', '[{"label": "a", "percent": 50}, {"label": "b", "percent": 100}]', options => '{"pacing": "none"}');
SELECT ota.define_plan('three', '[{"label": "a", "percent": 50}, {"label": "b", "percent": 100}]', options => '{"pacing": "none", "max_per_site": 3}');
SELECT ota.start_rollout('f', '1.5.0', 'three') AS a \gset
SELECT ota.rollout_step(:a, 'start', NULL, 'controller') \g /dev/null
SELECT ota.controller_open_stage(:a, 1, 40, 39) \g /dev/null
SELECT ota.controller_open_stage(:a, 2, 40, 40) \g /dev/null
SELECT is(ota.controller_grant(:a, 1), 1::bigint, 'no more than asked for');
SELECT is(ota.controller_grant(:a, 100), 7::bigint, 'two of each site, and those of none');
SELECT is(pg_temp.loads(), '- 4, big 2, small 2', 'the smaller of the plan''s and the fleet''s number holds');
SELECT is(ota.controller_grant(:a, 100), 0::bigint, 'the others wait');
SELECT count(*) FROM ota.broker_claim('broker', 100) \g /dev/null
SELECT is(ota.controller_grant(:a, 100), 0::bigint, 'told ones count as well');
SELECT is(pg_temp.loads(), '- 4, big 2, small 2', 'exactly');
UPDATE ota.device_update SET state = 'succeeded', finished_at = now() WHERE device_id IN (SELECT device_id FROM ota.device_update WHERE state = 'notified' AND site = 'small' LIMIT 1);
SELECT is(ota.controller_grant(:a, 100), 1::bigint, 'the next one when one has finished, though 28 of the other site come before');
SELECT is(pg_temp.loads(), '- 4, big 2, small 2', 'of its site');
SELECT ota.limit_fleet('f', NULL, 0, 'the plan is enough');
SELECT is(ota.controller_grant(:a, 100), 2::bigint, 'the plan''s number');
SELECT is(pg_temp.loads(), '- 4, big 3, small 3', 'three of each');

-- A site is a place: devices of another fleet, with a rollout without a cap, count.
SELECT pg_temp.devices('g', 'other', 4, '1.0.0');
SELECT ota.set_attributes('other-' || n, '{"site": "small"}') FROM generate_series(1, 4) n \g /dev/null
SELECT ota.start_rollout('g', '1.5.0', 'p') AS b \gset
SELECT ota.rollout_step(:b, 'start', NULL, 'controller') \g /dev/null
SELECT ota.controller_open_stage(:b, 1, 4, 3) \g /dev/null
SELECT is(ota.controller_grant(:b, 100), 3::bigint, 'a fleet without a cap has none');
UPDATE ota.device_update SET state = 'succeeded', finished_at = now(), granted_at = NULL WHERE rollout_id = :a AND site = 'small' AND (state = 'notified' OR granted_at IS NOT NULL);
SELECT is(ota.controller_grant(:a, 100), 0::bigint, 'but its devices count at their site');
UPDATE ota.device_update SET granted_at = NULL WHERE rollout_id = :b;
SELECT is(ota.controller_grant(:a, 100), 2::bigint, 'and make room');
SELECT ota.limit_fleet('f', NULL, 1, 'a pin waits as well');
SELECT ota.pin_device('dev-1', '1.6.0', 'lab') AS pin \gset
SELECT is(ota.controller_grant(:pin, 1), 0::bigint, 'a device''s pin waits for its site');

-- A device that is moved
SELECT device_id AS mover FROM ota.device_update WHERE rollout_id = :a AND site = 'big' AND state = 'notified' ORDER BY 1 LIMIT 1 \gset
SELECT ota.set_attributes(:'mover', '{"site": "van"}') \g /dev/null
SELECT is(site, 'van', 'counts where it stands now') FROM ota.device_update WHERE rollout_id = :a AND device_id = :'mover';
SELECT ota.set_attributes(:'mover', '{"site": null}') \g /dev/null
SELECT is(site, '', 'or nowhere') FROM ota.device_update WHERE rollout_id = :a AND device_id = :'mover';

-- A newcomer of a rollout that is open to everybody
INSERT INTO ota.device (device_id, fleet, version, listening, connected, broker, attributes)
VALUES ('late-1', 'f', '1.0.0', true, true, 'broker', '{"site": "big"}'), ('late-2', 'f', '1.0.0', true, true, 'broker', '{}');
SELECT is(ota.broker_join('{late-1,late-2}'), 2, 'newcomers join');
SELECT results_eq(format('SELECT site FROM ota.device_update WHERE rollout_id = %s AND device_id ~ ''late'' ORDER BY 1', :a), ARRAY['', 'big'], 'with their site');

-- A cap that comes while a rollout is on: those without a site are not hidden behind a site that is full
SELECT pg_temp.devices('h', 'dock', 30, '1.0.0'), pg_temp.devices('h', 'free', 3, '1.0.0');
SELECT ota.set_attributes('dock-' || n, '{"site": "dock"}') FROM generate_series(1, 30) n \g /dev/null
SELECT ota.start_rollout('h', '1.5.0', 'p') AS c \gset
SELECT ota.rollout_step(:c, 'start', NULL, 'controller') \g /dev/null
SELECT ota.controller_open_stage(:c, 1, 33, 32), ota.controller_open_stage(:c, 2, 33, 33) \g /dev/null
SELECT ota.limit_fleet('h', NULL, 1, 'docks');
SELECT ota.controller_grant(:c, 1) FROM generate_series(1, 10) \g /dev/null
SELECT results_eq(format('SELECT site, count(*) FROM ota.device_update WHERE rollout_id = %s AND granted_at IS NOT NULL GROUP BY 1 ORDER BY 1', :c),
    $$ VALUES ('', 3::bigint), ('dock', 1) $$, 'one of the site, and everybody who has none');

SELECT * FROM finish();
