-- Who may do what: ota_viewer, ota_operator, ota_plugin, and everybody else.
\ir lib/helpers.sql
SELECT no_plan();

-- What becomes of a statement under a role: 'ok', or the error's code and words.
CREATE FUNCTION pg_temp.tried(role text, statement text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('SET LOCAL ROLE %I', role);
    EXECUTE statement;
    RESET ROLE;
    RETURN 'ok';
EXCEPTION WHEN OTHERS THEN
    RETURN SQLSTATE || ' ' || SQLERRM;
END
$$;
CREATE ROLE ota_test_stranger NOLOGIN;

SELECT pg_temp.release('1.0.0', 1), pg_temp.release('1.5.0', 5) \g /dev/null
SELECT pg_temp.devices('north', 'dev', 10, '1.0.0') \g /dev/null

SELECT is(rolname::text || ' ' || rolcanlogin || rolsuper || rolcreaterole || rolcreatedb || rolbypassrls, rolname || ' falsefalsefalsefalsefalse',
          rolname || ' can nothing by itself')
  FROM pg_roles WHERE rolname IN ('ota_plugin', 'ota_operator', 'ota_viewer') ORDER BY rolname;
SELECT is(count(*), 3::bigint, 'the roles are there') FROM pg_roles WHERE rolname IN ('ota_plugin', 'ota_operator', 'ota_viewer');

-- PUBLIC ---------------------------------------------------------------------------------------------------------------
SELECT is_empty($$SELECT c.oid::regclass FROM pg_class c, aclexplode(c.relacl) a
                   WHERE c.relnamespace = 'ota'::regnamespace AND a.grantee = 0$$, 'PUBLIC has no table');
SELECT is_empty($$SELECT p.oid::regprocedure FROM pg_proc p, aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
                   WHERE p.pronamespace = 'ota'::regnamespace AND a.grantee = 0$$, 'PUBLIC has no function');
SELECT is_empty($$SELECT 1 FROM pg_namespace n, aclexplode(n.nspacl) a WHERE n.nspname = 'ota' AND a.grantee = 0$$, 'nor the schema');
SELECT matches(pg_temp.tried('ota_test_stranger', 'SELECT * FROM ota.device'), '^42501', 'a stranger reads nothing');
SELECT matches(pg_temp.tried('ota_test_stranger', 'SELECT ota.halt_rollout(1, ''x'')'), '^42501', 'a stranger orders nothing');

-- Everybody reads, nobody writes ----------------------------------------------------------------------------------------
CREATE TEMP VIEW relations AS
SELECT c.oid::regclass::text AS relation, c.relkind FROM pg_class c
 WHERE c.relnamespace = 'ota'::regnamespace AND c.relkind IN ('r', 'p', 'v');
SELECT is(pg_temp.tried(role, 'SELECT * FROM ' || relation || ' LIMIT 1'), 'ok', role || ' reads ' || relation)
  FROM relations, unnest(ARRAY['ota_viewer', 'ota_operator', 'ota_plugin']) AS role ORDER BY role, relation;
SELECT is_empty(format($$SELECT relation FROM relations WHERE has_table_privilege(%L, relation, 'INSERT, UPDATE, DELETE, TRUNCATE, TRIGGER, REFERENCES')
                        OR has_any_column_privilege(%L, relation, 'INSERT, UPDATE')$$, role, role), role || ' writes no table')
  FROM unnest(ARRAY['ota_viewer', 'ota_operator', 'ota_plugin']) AS role;
SELECT is_empty(format($$SELECT 1 WHERE has_schema_privilege(%L, 'ota', 'CREATE')$$, role), role || ' creates nothing in the schema')
  FROM unnest(ARRAY['ota_viewer', 'ota_operator', 'ota_plugin']) AS role;

-- Functions -------------------------------------------------------------------------------------------------------------
CREATE FUNCTION pg_temp.callable(role text) RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(DISTINCT p.proname, ' ' ORDER BY p.proname) FROM pg_proc p
     WHERE p.pronamespace = 'ota'::regnamespace AND has_function_privilege(role, p.oid, 'EXECUTE');
$$;
SELECT is(pg_temp.callable('ota_viewer'), 'blackout_state compare_releases preview_fallback preview_rollout verify_audit window_state', 'what a viewer may call');
SELECT is(replace(pg_temp.callable('ota_operator'), 'assign_gateway ', ''),
          'add_blackout add_release advance_rollout assign_device blackout_state cancel_rollout clear_fleet_url clear_windows compare_releases define_plan halt_rollout limit_fleet pause_rollout pin_device'
          || ' pin_fleet preview_fallback preview_rollout push_release remove_blackout resume_rollout retry_device revoke_release set_attributes set_fleet_url set_quarantine set_window start_fallback start_rollout unpin_device unpin_fleet unquarantine_device verify_audit window_state',
          'what an operator may call');
SELECT ok(pg_temp.callable('ota_plugin') ~ 'broker_claim.*broker_write.*controller_grant.*rollout_step', 'what a broker may call');
SELECT is(string_agg(DISTINCT p.proname, ' ' ORDER BY p.proname), 'rollout_step rollout_supersede_others', 'and what else, beyond what operators may: no helper')
  FROM pg_proc p
 WHERE p.pronamespace = 'ota'::regnamespace AND has_function_privilege('ota_plugin', p.oid, 'EXECUTE')
   AND NOT has_function_privilege('ota_operator', p.oid, 'EXECUTE') AND p.proname !~ '^(broker|controller)_';
SELECT is_empty($$SELECT p.oid::regprocedure FROM pg_proc p
                   WHERE p.pronamespace = 'ota'::regnamespace AND p.prosecdef
                     AND NOT coalesce('search_path=ota, pg_temp' = ANY (p.proconfig), false)$$,
    'what runs with the rights of the owner fixes its search_path');
SELECT is_empty($$SELECT p.oid::regprocedure FROM pg_proc p
                   WHERE p.pronamespace = 'ota'::regnamespace AND NOT p.prosecdef
                     AND has_function_privilege('ota_plugin', p.oid, 'EXECUTE')$$,
    'what a role may call runs with the rights of the owner');

-- An operator's whole day, without any right to a table -------------------------------------------------------------------
SELECT is(pg_temp.tried('ota_operator', statement), 'ok', 'operator: ' || left(statement, 60))
  FROM (VALUES
    (1, 'SELECT ota.add_release(''' || pg_temp.envelope(pg_temp.manifest('2.0.0', 20)::text)::text || '''::jsonb)'),
    (2, $$SELECT ota.define_plan('p', '[{"label":"a","percent":50,"wait":"0"},{"label":"b","percent":100,"wait":"0"}]')$$),
    (3, $$SELECT ota.assign_device('dev-1', 'north')$$),
    (4, $$SELECT * FROM ota.preview_rollout('north', '1.5.0', 'p')$$),
    (5, $$SELECT ota.start_rollout('north', '1.5.0', 'p', reason => 'test')$$),
    (6, $$SELECT ota.pause_rollout(max(rollout_id), 'test') FROM ota.rollout$$),
    (7, $$SELECT ota.resume_rollout(max(rollout_id), 'test') FROM ota.rollout$$),
    (9, $$SELECT ota.halt_rollout(max(rollout_id), 'test') FROM ota.rollout$$),
    (10, $$SELECT ota.cancel_rollout(max(rollout_id), 'test') FROM ota.rollout$$),
    (11, $$SELECT ota.set_window('north', 'Europe/Berlin', ARRAY['mon'], '01:00', '05:00')$$),
    (12, $$SELECT ota.clear_windows('north')$$),
    (19, $$SELECT ota.limit_fleet('north', 2, 5, 'test')$$), (20, $$SELECT ota.set_attributes('dev-2', '{"site": "dock"}')$$),
    (21, $$SELECT ota.set_fleet_url('north', 'https://fw.example.com{path}', reason => 'test'), ota.clear_fleet_url('north', 'test')$$),
    (18, $$SELECT ota.remove_blackout(ota.add_blackout('north', now(), now() + interval '1 hour', 'test'), 'test')$$),
    (13, $$SELECT ota.pin_device('dev-2', '1.0.0', 'test')$$),
    (14, $$SELECT ota.unpin_device('dev-2')$$),
    (15, $$SELECT ota.pin_fleet('north', '1.0.0', 'test')$$),
    (16, $$SELECT ota.unpin_fleet('north')$$),
    (17, $$SELECT ota.revoke_release('1.5.0', 'test')$$)) AS s (n, statement)
 ORDER BY n;
SELECT matches(pg_temp.tried('ota_operator', 'SELECT ota.advance_rollout(max(rollout_id), ''x'') FROM ota.rollout'), '^55000', 'operator: may ask for the next stage');
SELECT matches(pg_temp.tried('ota_operator', statement), '^42501', 'operator, refused: ' || left(statement, 60))
  FROM (VALUES
    ($$UPDATE ota.release SET state = 'verified'$$),
    ($$INSERT INTO ota.event (kind) VALUES ('made up')$$),
    ($$DELETE FROM ota.event$$),
    ($$UPDATE ota.rollout SET state = 'running'$$),
    ($$UPDATE ota.device SET sequence = 0$$),
    ($$INSERT INTO ota.device_update (rollout_id, device_id, stage, rank) VALUES (1, 'dev-1', 1, 0)$$),
    ($$SELECT ota.audit('made_up', NULL, NULL, '{}')$$),
    ($$SELECT ota.event_append(NULL, NULL, ARRAY[NULL], ARRAY[1], ARRAY['made_up'], ARRAY['{}'])$$),
    ($$SELECT ota.set_retention('1 day', 'to hide something')$$),
    ($$SELECT * FROM ota.controller_audit_upkeep()$$),
    ($$SELECT ota.rollout_step(1, 'start', 'x', 'somebody else')$$),
    ($$SELECT ota.broker_release_verdict('b', 1, true, NULL, 'me', NULL, NULL, NULL, NULL, NULL, NULL)$$),
    ($$SELECT ota.controller_grant(1, 1)$$)) AS s (statement);
SELECT matches(pg_temp.tried('ota_viewer', $$SELECT ota.start_rollout('north', '1.0.0', 'p')$$), '^42501', 'a viewer starts nothing');
SELECT matches(pg_temp.tried('ota_viewer', $$SELECT ota.assign_device('dev-1', 'south')$$), '^42501', 'a viewer moves no device');
SELECT is(pg_temp.tried('ota_viewer', $$SELECT * FROM ota.preview_rollout('north', '1.0.0')$$), 'ok', 'a viewer may look ahead');
SELECT is(pg_temp.tried('ota_viewer', statement), 'ok', 'viewer: ' || statement) FROM (VALUES
    ('SELECT * FROM ota.stuck_devices'), ('SELECT * FROM ota.agenda'), ('SELECT * FROM ota.denied_today'),
    ($$SELECT * FROM ota.compare_releases('1.0.0')$$)) AS s (statement);

-- A broker's ------------------------------------------------------------------------------------------------------------
SELECT is(pg_temp.tried('ota_plugin', statement), 'ok', 'plugin: ' || statement)
  FROM (VALUES (1, $$SELECT ota.broker_hello('b', '0', true)$$), (2, $$SELECT * FROM ota.broker_releases()$$),
               (3, $$SELECT * FROM ota.controller_read()$$), (4, $$SELECT * FROM ota.broker_claim('b', 10)$$),
               (5, $$SELECT ota.broker_goodbye('b')$$)) AS s (n, statement) ORDER BY n;
SELECT matches(pg_temp.tried('ota_plugin', $$UPDATE ota.release SET state = 'verified'$$), '^42501', 'plugin: no table by itself');

-- Nobody's own tables are in the way of a function that runs as the owner.
CREATE TEMP TABLE device (device_id text);
GRANT ALL ON pg_temp.device TO ota_operator;
SELECT is(pg_temp.tried('ota_operator', $$SELECT ota.assign_device('dev-9', 'south')$$), 'ok', 'a table of the same name');
SELECT is(fleet::text, 'south', 'changes nothing') FROM ota.device WHERE device_id = 'dev-9';

-- Who, in the audit log, is who logged in, whatever role it has taken on.
SELECT is(detail ->> 'by', session_user::text, 'the audit names who logged in') FROM ota.event ORDER BY event_id DESC LIMIT 1;

DROP ROLE ota_test_stranger;
SELECT * FROM finish();
