-- What operators and other programs rely on: each name exists, works, and refuses bad input of at least three kinds, with a message that
-- names the value, a hint that says what is accepted, and nothing changed.
\ir lib/helpers.sql
SELECT no_plan();

-- Each name exists ------------------------------------------------------------------------------------------------------------------
CREATE TEMP TABLE relation (name text, columns text);
INSERT INTO relation VALUES
    ('fleet', 'fleet timezone pinned_version'),
    ('device', 'device_id fleet hardware gateway version pinned_version connected broker last_seen first_seen attributes'),
    ('release', 'release_id version sequence sha256 size url state reason'),
    ('rollout', 'rollout_id fleet release_id plan state reason started_at finished_at'),
    ('rollout_stage', 'rollout_id stage label percent state opened_at closed_at cohort verdict'),
    ('device_update', 'rollout_id device_id stage attempt state error notified_at deadline finished_at'),
    ('event', 'event_id at broker device_id rollout_id kind detail'),
    ('fleet_versions', 'fleet version devices connected'),
    ('rollout_progress', 'rollout_id fleet version state stage label targeted cohort notified in_progress succeeded failed success_rate next_action next_at'),
    ('device_history', 'device_id at kind version rollout_id detail'),
    ('denied', 'at broker client topic reason');
SELECT is_empty($$ SELECT r.name, c FROM relation r, string_to_table(r.columns, ' ') AS c
     WHERE NOT EXISTS (SELECT FROM information_schema.columns i WHERE i.table_schema = 'ota' AND i.table_name = r.name AND i.column_name = c) $$,
    'each table and view with its columns');
SELECT col_type_is('ota', 'device', 'attributes', 'jsonb', 'attributes are jsonb');
SELECT col_type_is('ota', 'event', 'detail', 'jsonb', 'so is the detail');
CREATE TEMP TABLE function (signature text, named text, returns text);
INSERT INTO function VALUES
    ('add_release(jsonb)', 'envelope', 'bigint'),
    ('add_release(text,text,text,bigint,bytea,bigint,text)', 'version url sha256 size signature sequence= release_notes=', 'bigint'),
    ('revoke_release(text,text)', 'version reason', NULL),
    ('define_plan(text,jsonb,numeric,interval,interval,integer,integer,integer,jsonb)',
     'plan stages success_threshold= health_timeout= download_timeout= max_in_flight= per_minute= retries= options=', NULL),
    ('start_rollout(text,text,text,timestamptz,text)', 'fleet version plan= start_at= reason=', 'bigint'),
    ('preview_rollout(text,text,text)', 'fleet version plan=', NULL),
    ('pause_rollout(bigint,text)', 'id reason=', NULL), ('resume_rollout(bigint,text)', 'id reason=', NULL),
    ('halt_rollout(bigint,text)', 'id reason', NULL), ('cancel_rollout(bigint,text)', 'id reason', NULL),
    ('advance_rollout(bigint,text)', 'id reason=', NULL), ('retry_device(bigint,text,text)', 'rollout_id device_id reason', NULL),
    ('assign_device(text,text)', 'device_id fleet', NULL), ('pin_device(text,text,text)', 'device_id version reason', NULL),
    ('unpin_device(text)', 'device_id', NULL), ('pin_fleet(text,text,text)', 'fleet version reason', NULL), ('unpin_fleet(text)', 'fleet', NULL),
    ('set_window(text,text,text[],time,time)', 'fleet timezone days opens closes', NULL), ('clear_windows(text)', 'fleet', NULL);
-- Arguments by their names, and = behind those that may be left out.
SELECT is((SELECT string_agg(p.proargnames[n] || CASE WHEN n > p.pronargs - p.pronargdefaults THEN '=' ELSE '' END, ' ' ORDER BY n)
             FROM pg_proc p, generate_series(1, p.pronargs) n WHERE p.oid = ('ota.' || f.signature)::regprocedure),
    f.named, 'ota.' || f.signature) FROM function f;
SELECT is((SELECT p.prorettype::regtype::text FROM pg_proc p WHERE p.oid = ('ota.' || f.signature)::regprocedure), f.returns, 'what it returns: ' || f.signature)
  FROM function f WHERE f.returns IS NOT NULL;
SELECT is((SELECT pg_get_expr(p.proargdefaults, 0) FROM pg_proc p WHERE p.proname = 'define_plan'),
    '0.95, ''00:01:00''::interval, ''01:00:00''::interval, NULL::integer, NULL::integer, 0, ''{}''::jsonb', 'the defaults of a plan');

-- Each works, in the order of an operator's week, by the names of its arguments ------------------------------------------------------------
SELECT pg_temp.devices('g', 'good', 4, '1.0.0') \g /dev/null
CREATE TEMP TABLE works (n integer GENERATED ALWAYS AS IDENTITY, call text, truth text);
INSERT INTO works (call, truth) VALUES
    ('add_release(envelope => pg_temp.envelope(pg_temp.manifest(''3.0.0'', 30)::text))', 'state = ''submitted'' FROM ota.release WHERE version = ''3.0.0'''),
    ('add_release(version => ''3.1.0'', url => ''https://h/f'', sha256 => repeat(''ab'', 32), size => 5, signature => ''\x01'', release_notes => ''n'')',
     'sequence = 31 FROM ota.release WHERE version = ''3.1.0'''),
    ('define_plan(plan => ''mine'', stages => ''[{"label": "a", "percent": 50, "hold": true}, {"label": "b", "percent": 100}]'', retries => 1)',
     'retries = 1 AND success_threshold = 0.95 AND health_timeout = ''60 s'' FROM ota.plan WHERE plan = ''mine'''),
    ('set_window(fleet => ''g'', timezone => ''Europe/Berlin'', days => ''{sat,sun}'', opens => ''02:00'', closes => ''05:00'')',
     'timezone = ''Europe/Berlin'' FROM ota.fleet WHERE fleet = ''g'''),
    ('clear_windows(fleet => ''g'')', 'count(*) = 0 FROM ota.fleet_window WHERE fleet = ''g'''),
    ('start_rollout(fleet => ''g'', version => ''3.0.0'', plan => ''mine'', start_at => now() - interval ''1 s'', reason => ''why'')',
     'state = ''scheduled'' AND reason = ''why'' FROM ota.rollout WHERE fleet = ''g'''),
    ('pause_rollout(id => :g, reason => ''lunch'')', 'state = ''paused'' FROM ota.rollout WHERE rollout_id = :g'),
    ('resume_rollout(id => :g, reason => ''fed'')', 'state = ''running'' FROM ota.rollout WHERE rollout_id = :g'),
    ('advance_rollout(id => :g, reason => ''well'')', 'advance_requested FROM ota.rollout WHERE rollout_id = :g'),
    ('halt_rollout(id => :g, reason => ''smoke'')', 'state = ''halted'' AND reason = ''smoke'' FROM ota.rollout WHERE rollout_id = :g'),
    ('resume_rollout(:g)', 'state = ''running'' FROM ota.rollout WHERE rollout_id = :g'),
    ('retry_device(rollout_id => :g, device_id => pg_temp.failed(:g), reason => ''new battery'')', 'count(*) = 0 FROM ota.device_update WHERE state = ''failed'''),
    ('assign_device(device_id => ''good-4'', fleet => ''h'')', 'fleet = ''h'' FROM ota.device WHERE device_id = ''good-4'''),
    ('pin_device(device_id => ''good-4'', version => ''3.0.0'', reason => ''lab'')', 'pinned_version = ''3.0.0'' FROM ota.device WHERE device_id = ''good-4'''),
    ('unpin_device(device_id => ''good-4'')', 'pinned_version IS NULL FROM ota.device WHERE device_id = ''good-4'''),
    ('pin_fleet(fleet => ''h'', version => ''3.0.0'', reason => ''fair'')', 'pinned_version = ''3.0.0'' FROM ota.fleet WHERE fleet = ''h'''),
    ('unpin_fleet(fleet => ''h'')', 'pinned_version IS NULL FROM ota.fleet WHERE fleet = ''h'''),
    ('cancel_rollout(id => :g, reason => ''enough'')', 'state = ''cancelled'' FROM ota.rollout WHERE rollout_id = :g'),
    ('revoke_release(version => ''3.0.0'', reason => ''CVE'')', 'state = ''revoked'' AND reason = ''CVE'' FROM ota.release WHERE version = ''3.0.0''');
-- A device of the open stage that has been told and has failed.
CREATE FUNCTION pg_temp.failed(id bigint) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    one  text;
BEGIN
    PERFORM ota.controller_grant(id, 1), ota.broker_claim('broker', 1);
    UPDATE ota.device_update SET state = 'failed', error = 'X', finished_at = now() WHERE rollout_id = id AND state = 'notified' RETURNING device_id INTO one;
    RETURN one;
END
$$;
CREATE FUNCTION pg_temp.try(n integer, call text, truth text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    g   bigint := (SELECT max(r.rollout_id) FROM ota.rollout r WHERE r.fleet = 'g');
    ok  boolean;
BEGIN
    EXECUTE 'SELECT ota.' || replace(call, ':g', coalesce(g::text, 'NULL'));
    -- What brokers do meanwhile.
    UPDATE ota.release SET state = 'verified' WHERE state = 'submitted' AND call LIKE 'set_window%';
    IF call LIKE 'resume%fed%' THEN
        PERFORM ota.controller_open_stage(g, 1, 4, 2);
    END IF;
    EXECUTE 'SELECT ' || replace(truth, ':g', coalesce(g::text, 'NULL')) INTO ok;
    RETURN CASE WHEN ok THEN 'works' ELSE 'did not do it' END;
EXCEPTION WHEN OTHERS THEN
    RETURN SQLERRM;
END
$$;
CREATE TEMP TABLE tried (n integer, call text, found text);
DO $$
DECLARE
    w  record;
BEGIN
    FOR w IN SELECT * FROM works ORDER BY n LOOP
        INSERT INTO tried VALUES (w.n, w.call, pg_temp.try(w.n, w.call, w.truth));
    END LOOP;
END
$$;
SELECT is(found, 'works', left(call, 70)) FROM tried ORDER BY n;
SELECT ok(count(*) = 3 AND bool_and(included), 'preview_rollout') FROM ota.preview_rollout(fleet => 'g', version => '3.1.0', plan => 'mine');
SELECT is_empty($$ SELECT DISTINCT split_part(signature, '(', 1) FROM function WHERE split_part(signature, '(', 1) <> 'preview_rollout'
    EXCEPT SELECT split_part(call, '(', 1) FROM works $$, 'each of them');

-- Each refuses ------------------------------------------------------------------------------------------------------------------------
SELECT pg_temp.devices('f', 'dev', 3, '1.0.0');
SELECT pg_temp.release('1.5.0', 45), pg_temp.release('1.6.0', 46), pg_temp.release('1.7.0', 47) \g /dev/null
SELECT ota.revoke_release('1.6.0', 'bad') \g /dev/null
SELECT ota.start_rollout('f', '1.5.0') AS r \gset
SELECT ota.rollout_step(:r, 'start', NULL, 'controller') \g /dev/null

-- says: the value that the message has to name, or that there is none.
CREATE TEMP TABLE bad (function text, given text, says text);
INSERT INTO bad VALUES
    ('add_release', 'NULL::jsonb', 'the envelope is null'), ('add_release', '''[]''::jsonb', 'array'), ('add_release', '''{"payloadType": "x"}''::jsonb', 'payloadType is "x"'),
    ('add_release', 'pg_temp.envelope(''{"schema": 2}'')', 'schema'), ('add_release', 'pg_temp.envelope(pg_temp.manifest(''new'', 99)::text)', '"new"'),
    ('add_release', '''latest'', ''https://h/f'', repeat(''ab'', 32), 1, ''\x00''', '"latest"'), ('add_release', '''2.0.0'', ''ftp://h'', repeat(''ab'', 32), 1, ''\x00''', '"ftp://h"'),
    ('add_release', '''2.0.0'', ''https://h/f'', ''zz'', 1, ''\x00''', '"zz"'), ('add_release', '''2.0.0'', ''https://h/f'', repeat(''ab'', 32), 0, ''\x00''', 'size 0'),
    ('add_release', '''2.0.0'', ''https://h/f'', repeat(''ab'', 32), 1, ''''', 'signature has 0 bytes'), ('add_release', '''1.5.0'', ''https://h/f'', repeat(''ab'', 32), 1, ''\x00''', '1.5.0'),
    ('add_release', '''2.0.0'', ''https://h/f'', repeat(''ab'', 32), 1, ''\x00'', 45', 'sequence 45'), ('add_release', '''2.0.0'', ''https://h/f'', repeat(''ab'', 32), 1, ''\x00'', -7', '-7'),
    ('revoke_release', 'NULL, ''x''', 'missing'), ('revoke_release', '''latest'', ''x''', '"latest"'), ('revoke_release', '''9.9.9'', ''x''', '9.9.9'), ('revoke_release', '''1.5.0'', '' ''', 'the reason is missing'),
    ('revoke_release', '''1.6.0'', ''again''', '1.6.0 is already revoked'),
    ('define_plan', '''a b'', ''[]''', '"a b"'), ('define_plan', '''p'', ''[]''', '0 stages'), ('define_plan', '''p'', ''[{"label": "a", "percent": 100}]''', 'the whole fleet'),
    ('define_plan', '''p'', ''[{"label": "a", "percent": 5}, {"label": "b", "percent": 100}]'', 2', '2'), ('define_plan', '''p'', ''[{"label": "a", "percent": -5}]''', '-5'),
    ('define_plan', '''p'', ''[{"label": "a", "percent": 5, "wait": "soon"}]''', '"soon"'), ('define_plan', '''p'', ''[{"label": "a", "percent": 5}]''', '5'),
    ('define_plan', '''p'', ''[{"label": "a", "percent": 5}, {"label": "b", "percent": 100}]'', options => ''{"paceing": 1}''', '"paceing"'),
    ('define_plan', '''p'', ''[{"label": "a", "percent": 5}, {"label": "b", "percent": 100}]'', health_timeout => ''-1 s''', '-00:00:01'),
    ('start_rollout', 'NULL, ''1.5.0''', 'the fleet is missing'), ('start_rollout', '''nowhere'', ''1.5.0''', '"nowhere"'), ('start_rollout', '''f'', ''latest''', '"latest"'), ('start_rollout', '''f'', ''9.9.9''', '9.9.9'),
    ('start_rollout', '''f'', ''1.6.0''', 'revoked'), ('start_rollout', '''f'', ''1.7.0'', ''nope''', '"nope"'), ('start_rollout', '''f'', ''1.7.0'', start_at => ''infinity''', 'infinity'),
    ('start_rollout', '''f'', ''1.7.0'', reason => ''emergency:''', 'no reason'), ('start_rollout', '''f'', ''1.5.0''', 'is in rollout'),
    ('preview_rollout', 'NULL, ''1.5.0''', 'missing'), ('preview_rollout', '''nowhere'', ''1.5.0''', '"nowhere"'), ('preview_rollout', '''f'', ''latest''', '"latest"'), ('preview_rollout', '''f'', ''1.7.0'', ''nope''', '"nope"'),
    ('pause_rollout', 'NULL, ''x''', '(null)'), ('pause_rollout', '-1, ''x''', '-1'), ('pause_rollout', ':r, repeat(''x'', 1025)', '1025 bytes'),
    ('resume_rollout', 'NULL, ''x''', '(null)'), ('resume_rollout', '-1, ''x''', '-1'), ('resume_rollout', ':r, ''x''', 'is running'),
    ('halt_rollout', 'NULL, ''x''', '(null)'), ('halt_rollout', '-1, ''x''', '-1'), ('halt_rollout', ':r, NULL', 'the reason is missing'), ('halt_rollout', ':r, repeat(''x'', 1025)', '1025 bytes'),
    ('cancel_rollout', 'NULL, ''x''', '(null)'), ('cancel_rollout', '-1, ''x''', '-1'), ('cancel_rollout', ':r, NULL', 'the reason is missing'),
    ('advance_rollout', 'NULL, ''x''', '(null)'), ('advance_rollout', '-1, ''x''', '-1'), ('advance_rollout', ':r, ''x''', 'first stage'),
    ('retry_device', 'NULL, ''dev-1'', ''x''', '(null)'), ('retry_device', '-1, ''dev-1'', ''x''', '-1'), ('retry_device', ':r, ''a/b'', ''x''', '"a/b"'), ('retry_device', ':r, ''dev-1'', NULL', 'the reason is missing'),
    ('retry_device', ':r, ''dev-1'', ''x''', '"dev-1" is not in rollout'),
    ('assign_device', 'NULL, ''f''', 'the device is missing'), ('assign_device', '''dev-1'', NULL', 'the fleet is missing'), ('assign_device', '''dev-1'', ''a/b''', '"a/b"'), ('assign_device', '''a#b'', ''f''', '"a#b"'),
    ('pin_device', 'NULL, ''1.5.0'', ''x''', 'missing'), ('pin_device', '''nobody'', ''1.5.0'', ''x''', '"nobody"'), ('pin_device', '''dev-1'', ''latest'', ''x''', '"latest"'), ('pin_device', '''dev-1'', ''1.5.0'', NULL', 'the reason is missing'),
    ('pin_device', '''dev-1'', ''1.6.0'', ''x''', '1.6.0 is revoked'),
    ('unpin_device', 'NULL', 'missing'), ('unpin_device', '''nobody''', '"nobody"'), ('unpin_device', '''dev-1''', '"dev-1" is not pinned'),
    ('pin_fleet', 'NULL, ''1.5.0'', ''x''', 'missing'), ('pin_fleet', '''nowhere'', ''1.5.0'', ''x''', '"nowhere"'), ('pin_fleet', '''f'', ''9.9.9'', ''x''', '9.9.9'), ('pin_fleet', '''f'', ''1.5.0'', NULL', 'the reason is missing'),
    ('pin_fleet', '''f'', ''1.7.0'', ''x'', ''nope''', '"nope"'),
    ('unpin_fleet', 'NULL', 'missing'), ('unpin_fleet', '''nowhere''', '"nowhere"'), ('unpin_fleet', '''f''', '"f" is not pinned'),
    ('set_window', '''f'', ''CET'', ARRAY[''mon''], ''01:00'', ''02:00''', '"CET"'), ('set_window', '''f'', ''UTC'', ARRAY[''someday''], ''01:00'', ''02:00''', '"someday"'),
    ('set_window', '''f'', ''UTC'', ARRAY[''mon''], ''01:00'', ''01:00''', '01:00:00'), ('set_window', '''nowhere'', ''UTC'', ARRAY[''mon''], ''01:00'', ''02:00''', '"nowhere"'),
    ('set_window', '''f'', ''UTC'', ''{}'', ''01:00'', ''02:00''', 'the days are missing'), ('set_window', '''f'', ''UTC'', ARRAY[''mon''], NULL, ''02:00''', 'missing'),
    ('clear_windows', 'NULL', 'missing'), ('clear_windows', '''nowhere''', '"nowhere"'), ('clear_windows', '''a/b''', '"a/b"'),
    -- Beyond the contract.
    ('add_release', '''{}''::jsonb, ''\x00''', 'no payloadType'),
    ('assign_gateway', 'NULL, ''hub''', 'missing'), ('assign_gateway', '''dev-1'', ''dev-1''', '"dev-1" cannot be its own gateway'), ('assign_gateway', '''dev-1'', ''a+b''', '"a+b"'), ('assign_gateway', '''a/b'', ''hub''', '"a/b"'),
    ('set_attributes', 'NULL, ''{}''', 'missing'), ('set_attributes', '''nobody'', ''{}''', '"nobody"'), ('set_attributes', '''dev-1'', ''[]''', 'array'), ('set_attributes', '''dev-1'', NULL', 'null'),
    ('set_attributes', '''dev-1'', ''{"site": 7}''', 'the site is 7'), ('set_attributes', '''dev-1'', ''{"": 7}''', '""'),
    ('set_fleet_url', 'NULL, ''https://h{path}'', NULL, ''x''', 'missing'), ('set_fleet_url', '''nowhere'', ''https://h{path}'', NULL, ''x''', '"nowhere"'),
    ('set_fleet_url', '''f'', ''ftp://h{path}'', NULL, ''x''', 'ftp://h'), ('set_fleet_url', '''f'', ''https://h{path}'', NULL, NULL', 'the reason is missing'),
    ('clear_fleet_url', 'NULL, ''x''', 'missing'), ('clear_fleet_url', '''nowhere'', ''x''', '"nowhere"'), ('clear_fleet_url', '''f'', NULL', 'the reason is missing'),
    ('limit_fleet', 'NULL, 1, 1, ''x''', 'missing'), ('limit_fleet', '''nowhere'', 1, 1, ''x''', '"nowhere"'), ('limit_fleet', '''f'', 0, 1, ''x''', 'max_per_gateway is 0'),
    ('limit_fleet', '''f'', 1, -1, ''x''', 'max_per_site is -1'), ('limit_fleet', '''f'', 1, 1, NULL', 'the reason is missing'), ('limit_fleet', '''f'', reason => ''x''', 'neither'),
    ('add_blackout', '''nowhere'', now(), now() + interval ''1 h'', ''x''', '"nowhere"'), ('add_blackout', '''f'', NULL, now(), ''x''', 'missing'), ('add_blackout', '''f'', now(), ''infinity'', ''x''', 'infinity'),
    ('add_blackout', '''f'', ''2098-01-02Z'', ''2098-01-01Z'', ''x''', '2098-01-01 00:00:00+00'), ('add_blackout', '''f'', now(), now() + interval ''1 h'', '' ''', 'the reason is missing'),
    ('add_blackout', '''f'', ''2001-01-01Z'', ''2001-01-02Z'', ''x''', '2001-01-02'),
    ('remove_blackout', 'NULL, ''x''', 'missing'), ('remove_blackout', '4711, ''x''', '4711'), ('remove_blackout', '4711, NULL', 'the reason is missing'),
    ('start_fallback', 'NULL, ''x''', '(null)'), ('start_fallback', ':r, NULL', 'the reason is missing'), ('start_fallback', ':r, ''x'', ''old''', '"old"'), ('start_fallback', ':r, ''x'', ''1.7.0''', 'is running'),
    ('preview_fallback', 'NULL, ''1.5.0''', 'missing'), ('preview_fallback', '''f'', ''9.9.9''', '9.9.9'), ('preview_fallback', '''f'', ''1.5.0'', ''nope''', '"nope"'), ('preview_fallback', '''f'', NULL', 'the version is missing'),
    ('unquarantine_device', 'NULL, ''x''', 'missing'), ('unquarantine_device', '''nobody'', ''x''', '"nobody"'), ('unquarantine_device', '''dev-1'', NULL', 'the reason is missing'), ('unquarantine_device', '''dev-1'', ''x''', '"dev-1" is not in quarantine'),
    ('set_quarantine', 'NULL, 3, ''x''', 'missing'), ('set_quarantine', '''f'', 0, ''x''', 'failures is 0'), ('set_quarantine', '''f'', 3, NULL', 'the reason is missing'), ('set_quarantine', '''nowhere'', 3, ''x''', '"nowhere"'),
    ('push_release', '''f''', 'not signed'), ('push_release', 'NULL, manifest => ''{}''', 'missing'), ('push_release', '''f'', manifest => ''{}''', 'no payloadType'),
    ('push_release', '''f'', ''8.0.1'', manifest => pg_temp.envelope(pg_temp.manifest(''8.0.0'', 80)::text)', '"8.0.1"'),
    ('compare_releases', 'NULL', 'missing'), ('compare_releases', '''9.9.9''', '9.9.9'), ('compare_releases', '''1.5.0'', ''8.8.8''', '8.8.8'), ('compare_releases', '''1.5.0'', fleet => ''nowhere''', '"nowhere"'),
    ('verify_audit', '''nowhere''', '"nowhere"'), ('verify_audit', 'NULL, 1', 'missing'), ('verify_audit', '''database/1'', 0', 'position 0'), ('verify_audit', '''database/1'', 1, ''zz''', '"zz"');
UPDATE bad SET given = replace(given, ':r', :'r');

CREATE FUNCTION pg_temp.refusal(call text, says text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    code  text;
    said  text;
    hint  text;
BEGIN
    EXECUTE call;
    RETURN 'accepted';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE, said = MESSAGE_TEXT, hint = PG_EXCEPTION_HINT;
    -- 22023 is a refusal of the argument, P0002 of what it names, 55000 of the moment, 23505 of what is taken.
    RETURN CASE WHEN code NOT IN ('22023', 'P0002', '55000', '23505') THEN 'unexpected ' || code || ': ' || said
                WHEN hint !~ '\w+ \w+.*[.?)]$' THEN format('no hint: %s; "%s"', said, hint)
                WHEN strpos(said, says) = 0 THEN format('does not name %s: %s', says, said) ELSE 'refused' END;
END
$$;
CREATE FUNCTION pg_temp.world() RETURNS text LANGUAGE sql AS $$
    SELECT md5(concat((SELECT string_agg(d::text, ',' ORDER BY d.device_id) FROM ota.device d), (SELECT string_agg(f::text, ',' ORDER BY f.fleet) FROM ota.fleet f),
        (SELECT string_agg(r::text, ',' ORDER BY r.rollout_id) FROM ota.rollout r), (SELECT string_agg(l::text, ',' ORDER BY l.release_id) FROM ota.release l),
        (SELECT string_agg(p::text, ',' ORDER BY p.plan) FROM ota.plan p), (SELECT string_agg(s::text, ',' ORDER BY s.plan, s.stage) FROM ota.plan_stage s),
        (SELECT string_agg(u::text, ',' ORDER BY u.rollout_id, u.device_id) FROM ota.device_update u), (SELECT count(*)::text FROM ota.event),
        (SELECT count(*)::text FROM ota.fleet_window), (SELECT count(*)::text FROM ota.blackout)))
$$;
SELECT pg_temp.world() AS before \gset
SELECT is(pg_temp.refusal(format('SELECT ota.%s(%s)', function, given), says), 'refused', format('%s(%s)', function, left(given, 60))) FROM bad;
SELECT is(pg_temp.world(), :'before', 'nothing was changed');
-- Whatever an operator may call and can be given something senseless.
SELECT is_empty($$
    SELECT DISTINCT p.proname FROM pg_proc p
     WHERE p.pronamespace = 'ota'::regnamespace AND p.prokind = 'f' AND has_function_privilege('ota_operator', p.oid, 'EXECUTE')
       AND p.prosecdef AND p.proname NOT IN ('window_state', 'blackout_state', 'actor')
       AND (SELECT count(DISTINCT says) FROM bad b WHERE b.function = p.proname) < 3$$, 'each function with three kinds at least');

SELECT * FROM finish();
