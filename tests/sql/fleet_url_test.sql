-- Where a fleet downloads: ota.set_fleet_url, ota.clear_fleet_url, and what brokers read of it.
\ir lib/helpers.sql
SELECT no_plan();

SELECT pg_temp.devices('f', 'dev', 2, '1.0.0'), pg_temp.devices('g', 'gev', 1, '1.0.0') \g /dev/null
INSERT INTO ota.broker (broker, started_at, alive_at, plugin) VALUES ('b1', now(), now(), '1'), ('b2', now(), now(), '1'), ('gone', now(), now() - interval '1 hour', '1');

-- Bad input -----------------------------------------------------------------------------------------------------------
SELECT throws_ok(format('SELECT ota.set_fleet_url(%s)', given), code, message, message) FROM (VALUES
    ('NULL, ''https://h{path}'', reason => ''x''', '22023', 'the fleet is missing'),
    ('''nowhere'', ''https://h{path}'', reason => ''x''', 'P0002', 'there is no fleet "nowhere"'),
    ('''f'', ''https://h{path}''', '22023', 'the reason is missing'),
    ('''f'', NULL, reason => ''x''', '22023', 'the template is missing'), ('''f'', ''  '', reason => ''x''', '22023', 'the template is missing'),
    ('''f'', ''https://h{path}'', ''a b'', ''x''', '22023', '"a b" cannot name a credential'),
    ('''f'', ''https://h{path}'', ''fw'', ''x''', 'P0002', 'there is no credential "fw" on broker b1, b2'),
    ('''f'', ''https://'' || repeat(''h'', 600) || ''{path}'', reason => ''x''', '22023', 'template "https://' || repeat('h', 192) || '" is not acceptable')) AS c (given, code, message);
-- The same list as in tests/unit/wire/fleet_url_test.c.
SELECT throws_ok(format('SELECT ota.set_fleet_url(''f'', %L, reason => ''x'')', template), '22023', format('template "%s" is not acceptable', template), template)
  FROM unnest(ARRAY['ftp://h{path}', 'HTTPS://h{path}', 'https://{path}', 'https:///a{path}', 'https://H{path}', 'https://-h{path}', 'https://h.{path}',
    'https://u@h{path}', 'https://[::1]{path}', 'https://h:{path}', 'https://h:0{path}', 'https://h:08{path}', 'https://h:65536{path}', 'https://h:123456{path}',
    'https://h:8o{path}', 'https://h', 'https://h/a', 'https://h{path}x', 'https://h{path}?a=b', 'https://h{path}{path}', 'https://h/{path}', 'https://h/a/{path}',
    'https://h//a{path}', 'https://h/a%20b{path}', 'https://h/./a{path}', 'https://h/a/..{path}', 'https://h/a?b{path}', 'https://ha_b{path}', '{path}', 'https://',
    E'https://h\n{path}', E'https://h/a\t{path}']) AS template;
SELECT lives_ok(format('SELECT ota.set_fleet_url(''f'', %L, reason => ''x'')', template), template)
  FROM unnest(ARRAY['https://fw.example.com{path}', 'http://10.0.0.1:9000/bucket{path}', 'https://h:443/a/b.c_d~e-F{path}', 'https://h:65535/...{path}', ' https://h{path} ']) AS template;
SELECT throws_ok(format('SELECT ota.clear_fleet_url(%s)', given), code, message, message) FROM (VALUES
    ('NULL, ''x''', '22023', 'the fleet is missing'), ('''nowhere'', ''x''', 'P0002', 'there is no fleet "nowhere"'),
    ('''f''', '22023', 'the reason is missing')) AS c (given, code, message);

-- Credentials ---------------------------------------------------------------------------------------------------------
SELECT is(ota.broker_urls('b1', '{fw,lab}'), E'f\thttps://h{path}\t', 'a broker says which credentials it has, and reads the URLs');
SELECT throws_ok('SELECT ota.set_fleet_url(''f'', ''https://h{path}'', ''fw'', ''x'')', 'P0002', 'there is no credential "fw" on broker b2', 'every broker that is alive needs it');
SELECT is(ota.broker_urls('b2', '{fw}'), E'f\thttps://h{path}\t', 'the other one has it too');
SELECT ota.set_fleet_url('f', 'https://b.example.com{path}', 'fw', 'private') \g /dev/null
SELECT ota.set_fleet_url('g', 'https://c.example.com/x{path}', reason => 'close by') \g /dev/null
SELECT is(ota.broker_urls('b1', '{fw}'), E'f\thttps://b.example.com{path}\tfw\ng\thttps://c.example.com/x{path}\t', 'all of them');
SELECT is(url_credentials, '{fw}', 'what it no longer has is gone') FROM ota.broker WHERE broker = 'b1';
SELECT ota.broker_urls('b1', NULL) \g /dev/null
SELECT is(url_credentials, '{}', 'none at all') FROM ota.broker WHERE broker = 'b1';
SELECT is(detail - 'by', '{"fleet": "f", "template": "https://b.example.com{path}", "credential": "fw", "former_template": "https://h{path}", "former_credential": null, "reason": "private"}', 'written down')
  FROM ota.event WHERE kind = 'fleet_url_set' AND detail ->> 'fleet' = 'f' ORDER BY event_id DESC LIMIT 1;
SELECT ota.clear_fleet_url('f', 'public again') \g /dev/null
SELECT results_eq('SELECT url_template, url_credential FROM ota.fleet WHERE fleet = ''f''', 'VALUES (NULL::text, NULL::text)', 'cleared');
SELECT ota.clear_fleet_url('f', 'twice'), ota.clear_fleet_url('g', 'too') \g /dev/null
SELECT is(ota.broker_urls('b1', '{}'), NULL, 'none has one');
SELECT is(count(*), 3::bigint, 'written down') FROM ota.event WHERE kind = 'fleet_url_cleared';
SELECT throws_ok('UPDATE ota.fleet SET url_credential = ''fw''', '23514', NULL, 'a credential without a template is none');

-- Releases whose URL has no place in a template -----------------------------------------------------------------------------
-- The same lists as in tests/unit/wire/fleet_url_test.c.
SELECT ota.broker_urls('b1', '{fw}'), ota.broker_urls('b2', '{fw}'),
    ota.set_fleet_url('f', 'https://h{path}', reason => 'x'), ota.set_fleet_url('g', 'https://h/x{path}', 'fw', 'x') \g /dev/null
SELECT is(ota.fleet_url_problem('f', url), NULL, url)
  FROM unnest(ARRAY['http://cdn:8080/fw/1.5.0.bin', 'https://u@cdn/a%20b/;x=1.bin', 'https://cdn/', 'https://cdn/.../a..b', 'https://cdn/%zz', 'https://cdn/a://b']) AS url;
SELECT matches(ota.fleet_url_problem('g', url), problem, url) FROM (VALUES
    ('https://cdn', 'no path'), ('https://cdn?a/b', 'no path'), ('https://cdn/a?b', '''[?]'''), ('https://cdn/a#b', '''#'''), ('https://cdn/../a', '"[.][.]"'),
    ('https://cdn/a/%2E.', '"[.][.]"'), ('https://cdn/./a', '"[.]"'), ('https://cdn/%zz', '''%'''), ('https://cdn/a%2', '''%''')) AS c (url, problem);
SELECT is(ota.fleet_url_problem('nowhere', 'https://cdn'), NULL, 'no such fleet, no problem');
SELECT ota.clear_fleet_url('f', 'x') \g /dev/null
SELECT is(ota.fleet_url_problem('f', 'https://cdn/a?b'), NULL, 'without a template anything goes');

SELECT pg_temp.release('1.4.0', 14), pg_temp.release('1.6.0', 16), pg_temp.release('1.7.0', 17) \g /dev/null
UPDATE ota.release SET url = 'https://cdn.example.com/get?file=' || version WHERE version IN ('1.4.0', '1.7.0');
SELECT ota.define_plan('back', '[{"label":"some","percent":50,"wait":"1 hour"}, {"label":"full","percent":100}]', options => '{"fallback":"1.7.0"}') \g /dev/null
SELECT throws_ok(format('SELECT %s', call), '55000', message, call) FROM (VALUES
    ('ota.start_rollout(''g'', ''1.4.0'')', 'no URL of release 1.4.0 can be made for fleet "g": the manifest''s URL has a ''?'' or ''#'', and only a path can be kept in a fleet''s URL'),
    ('count(*) FROM ota.preview_rollout(''g'', ''1.4.0'')', 'no URL of release 1.4.0 can be made for fleet "g": the manifest''s URL has a ''?'' or ''#'', and only a path can be kept in a fleet''s URL'),
    ('ota.pin_fleet(''g'', ''1.4.0'', ''x'')', 'no URL of release 1.4.0 can be made for fleet "g": the manifest''s URL has a ''?'' or ''#'', and only a path can be kept in a fleet''s URL'),
    ('ota.pin_device(''gev-1'', ''1.4.0'', ''x'')', 'no URL of release 1.4.0 can be made for device "gev-1": the manifest''s URL has a ''?'' or ''#'', and only a path can be kept in a fleet''s URL'),
    ('ota.start_rollout(''g'', ''1.6.0'', ''back'')', 'plan "back" falls back to 1.7.0: no URL of release 1.7.0 can be made for fleet "g": the manifest''s URL has a ''?'' or ''#'', and only a path can be kept in a fleet''s URL')) AS c (call, message);
SELECT lives_ok('SELECT count(*) FROM ota.preview_rollout(''f'', ''1.4.0'', ''back'')', 'a fleet without a template');
SELECT lives_ok('SELECT count(*) FROM ota.preview_rollout(''g'', ''1.6.0'')', 'a release with a plain path');
SELECT ota.start_rollout('f', '1.4.0', start_at => now() + interval '1 day') AS q \gset
SELECT throws_ok('SELECT ota.set_fleet_url(''f'', ''https://h{path}'', reason => ''x'')', '55000', format('rollout %s of 1.4.0 is scheduled, and no URL of it can be made from the template: the manifest''s URL has a ''?'' or ''#'', and only a path can be kept in a fleet''s URL', :q), 'not while it would leave devices without');
SELECT is(url_template, NULL, 'nothing is changed') FROM ota.fleet WHERE fleet = 'f';
SELECT ota.cancel_rollout(:q, 'x') \g /dev/null
SELECT lives_ok('SELECT ota.set_fleet_url(''f'', ''https://h{path}'', reason => ''x'')', 'when it is over');
SELECT ota.clear_fleet_url('f', 'x'), ota.clear_fleet_url('g', 'x') \g /dev/null

-- A halted rollout and the device of a pin, whose fleet has a place of its own by the time they resume.
SELECT ota.start_rollout('f', '1.4.0') AS h, ota.pin_device('gev-1', '1.7.0', 'lab') AS p \gset
SELECT ota.rollout_step(:h, 'start', NULL, 'controller'), ota.halt_rollout(:h, 'smoke'), ota.halt_rollout(:p, 'smoke') \g /dev/null
SELECT lives_ok(format('SELECT ota.set_fleet_url(%L, ''https://h{path}'', reason => ''x'')', fleet), 'a halted rollout is no obstacle to a template')
  FROM unnest(ARRAY['f', 'g']) AS fleet;
SELECT throws_ok(format('SELECT ota.resume_rollout(%s)', id), '55000', format('rollout %s cannot resume: no URL of release %s can be made for %s: the manifest''s URL has a ''?'' or ''#'', and only a path can be kept in a fleet''s URL', id, version, whom), 'which is one to resuming it')
  FROM (VALUES (:h, '1.4.0', 'fleet "f"'), (:p, '1.7.0', 'device "gev-1"')) AS c (id, version, whom);
SELECT is(pg_temp.state_of(:h) || ' ' || pg_temp.state_of(:p), 'halted halted', 'nothing is changed');
SELECT ota.clear_fleet_url('f', 'x'), ota.clear_fleet_url('g', 'x') \g /dev/null
SELECT is(ota.resume_rollout(id), 'running', 'and goes on without the template') FROM unnest(ARRAY[:h, :p]) AS id;
-- Two at once: whoever comes second finds what the first has done.
CREATE EXTENSION dblink;
SELECT dblink_connect('other', format('dbname=%s host=%s port=%s user=%s', current_database(), current_setting('unix_socket_directories'), current_setting('port'), current_user)) \g /dev/null
SELECT ota.halt_rollout(:h, 'smoke') \g /dev/null
BEGIN;
SELECT ota.resume_rollout(:h) \g /dev/null
SELECT dblink_send_query('other', 'SELECT ota.set_fleet_url(''f'', ''https://h{path}'', reason => ''x'')::text') \g /dev/null
DO $$
BEGIN
    FOR i IN 1..500 LOOP
        PERFORM pg_stat_clear_snapshot();
        EXIT WHEN EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock') OR dblink_is_busy('other') = 0;
        PERFORM pg_sleep(0.02);
    END LOOP;
END
$$;
COMMIT;
SELECT throws_like('SELECT * FROM dblink_get_result(''other'') AS t (x text)', format('rollout %s of 1.4.0 is running, and no URL of it%%', :h), 'a template waits for a rollout that is resuming');
SELECT dblink_disconnect('other'), ota.cancel_rollout(:h, 'x'), ota.cancel_rollout(:p, 'x') \g /dev/null

-- What an operator sees of a device for which no URL can be made ----------------------------------------------------------
SELECT pg_temp.release('1.5.0', 15) \g /dev/null
SELECT ota.start_rollout('f', '1.5.0') AS a \gset
SELECT ota.rollout_step(:a, 'start', NULL, 'controller') \g /dev/null
SELECT ota.controller_open_stage(:a, 1, 2, 2) \g /dev/null
UPDATE ota.device_update SET error = 'URL_NOT_MADE', not_before = now() + interval '30 seconds' WHERE device_id = 'dev-1';
SELECT ota.event_append('b1', NULL, '{dev-1}', ARRAY[:a], '{undelivered}', '{"{\"reason\": \"this broker has no credential\"}"}') \g /dev/null
SELECT is(reason, 'no URL can be made for it: this broker has no credential', 'the reason') FROM ota.stuck_devices WHERE device_id = 'dev-1';
SELECT * FROM finish();
