-- sql/install.sql and the habits of every function.
\ir lib/helpers.sql
SELECT no_plan();

\set present `cd :root/sql && for folder in migrations functions views roles; do LC_ALL=C ls "$folder"/*.sql; done`
\set listed `sed -n 's/^\\ir //p' :root/sql/install.sql`
SELECT is(:'listed'::text, :'present'::text, 'install.sql lists every file, in order');

-- They were created unchecked, because they refer to each other.
SELECT lives_ok(format('SELECT %s(%s)', l.lanvalidator::regproc, p.oid), p.proname || ' compiles')
  FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang WHERE p.pronamespace = 'ota'::regnamespace AND p.prokind = 'f' ORDER BY p.proname;
SELECT is_empty($$
    SELECT p.oid::regprocedure FROM pg_proc p
     WHERE p.pronamespace = 'ota'::regnamespace AND obj_description(p.oid, 'pg_proc') IS NULL$$, 'every function has a comment');
SELECT is_empty($$
    SELECT p.oid::regprocedure FROM pg_proc p
     WHERE p.pronamespace = 'ota'::regnamespace AND p.prokind = 'f' AND p.prosqlbody IS NULL AND p.proname <> 'event_link_step'
       AND NOT coalesce('search_path=ota, pg_temp' = ANY (p.proconfig), false)$$,
    'every function fixes its search_path or has a parsed body');
SELECT is_empty($$
    SELECT p.oid::regprocedure FROM pg_proc p
     WHERE p.pronamespace = 'ota'::regnamespace AND p.prosrc ~* '\mexecute\M(?!'')' AND p.proname NOT LIKE 'event\_%'$$,
    'no function makes up SQL, but those that make and drop the months of the audit log');
SELECT is_empty($$
    SELECT c.oid::regclass FROM pg_class c
     WHERE c.relnamespace = 'ota'::regnamespace AND c.relkind = 'v' AND obj_description(c.oid, 'pg_class') IS NULL$$,
    'every view has a comment');
SELECT views_are('ota', ARRAY['agenda', 'denied', 'denied_today', 'device_history', 'fleet_versions', 'quarantine', 'rollout_progress', 'stuck_devices'], 'the views');
SELECT has_function('ota', name, args, name || ' of the contract')
  FROM (VALUES ('add_release', ARRAY['jsonb']),
               ('add_release', ARRAY['text', 'text', 'text', 'bigint', 'bytea', 'bigint', 'text']),
               ('revoke_release', ARRAY['text', 'text']),
               ('define_plan', ARRAY['text', 'jsonb', 'numeric', 'interval', 'interval', 'integer', 'integer', 'integer', 'jsonb']),
               ('start_rollout', ARRAY['text', 'text', 'text', 'timestamp with time zone', 'text']),
               ('preview_rollout', ARRAY['text', 'text', 'text']),
               ('pause_rollout', ARRAY['bigint', 'text']), ('resume_rollout', ARRAY['bigint', 'text']),
               ('halt_rollout', ARRAY['bigint', 'text']), ('cancel_rollout', ARRAY['bigint', 'text']),
               ('advance_rollout', ARRAY['bigint', 'text']), ('retry_device', ARRAY['bigint', 'text', 'text']),
               ('assign_device', ARRAY['text', 'text']),
               ('pin_device', ARRAY['text', 'text', 'text']), ('unpin_device', ARRAY['text']),
               ('pin_fleet', ARRAY['text', 'text', 'text']), ('unpin_fleet', ARRAY['text']),
               ('set_window', ARRAY['text', 'text', 'text[]', 'time without time zone', 'time without time zone']),
               ('clear_windows', ARRAY['text'])) AS f (name, args);

-- Data survives another installation; removal removes.
SELECT ota.assign_device('d', 'f');
\o /dev/null
\ir ../../sql/install.sql
\o
SELECT results_eq('SELECT fleet::text FROM ota.device', ARRAY['f'], 'installing again keeps the data');
\o /dev/null
\ir ../../sql/uninstall.sql
\o
SELECT hasnt_schema('ota', 'uninstall.sql removes the schema');
\o /dev/null
\ir ../../sql/uninstall.sql
\ir ../../sql/install.sql
\o
SELECT is_empty('SELECT * FROM ota.device', 'and it can be installed again');

SELECT * FROM finish();
