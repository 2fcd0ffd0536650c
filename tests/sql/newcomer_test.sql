-- Devices that a broker enrols: one row with all that is known, also when somebody else has inserted some of them meanwhile.
\ir lib/helpers.sql
SELECT no_plan();

SELECT ota.broker_hello('b', '1', true) \g /dev/null
SELECT pg_temp.release('1.5.0', 15) \g /dev/null
SELECT pg_temp.devices('f', 'old', 1, '1.0.0');
CREATE FUNCTION pg_temp.enrol(ids text[], new boolean[]) RETURNS void LANGUAGE sql AS $$
    SELECT ota.broker_write(i_broker => 'b', i_seq => NULL, d_id => ids, d_new => new,
        d_fleet => '{NULL,g,NULL}', d_fleet_from => '{NULL,topic,NULL}', d_hardware => '{NULL,h1,NULL}', d_version => '{NULL,1.5.0,2.0.0}',
        d_connected => '{t,t,NULL}', d_listening => '{NULL,t,NULL}', d_session => '{7,8,NULL}', d_topic => '{NULL,t/8,NULL}',
        d_seen_ms => '{1000,2000,3000}', d_boot_id => '{NULL,boot,NULL}', u_rollout => '{}', u_device => '{}', u_state => '{}',
        u_attempt => '{}', u_retries => '{}', u_failed => '{}', u_told => '{}', u_boots => '{}', u_boots_since_ms => '{}',
        u_not_before_ms => '{}', u_deadline_ms => '{}', u_error => '{}', u_retell_ms => '{}', u_at_ms => '{}', e_at_ms => '{}',
        e_device => '{}', e_rollout => '{}', e_kind => '{}', e_detail => '{}');
$$;
CREATE FUNCTION pg_temp.row_of(device text) RETURNS text LANGUAGE sql AS $$
    SELECT format('%s %s %s %s %s connected %s listening %s %s %s %s %s %s %s', d.fleet, d.fleet_from, d.hardware, d.version, d.sequence, d.connected,
                  d.listening, d.broker, d.session, d.notify_topic, d.boot_id, extract(epoch FROM d.first_seen)::integer,
                  extract(epoch FROM d.last_seen)::integer)
      FROM ota.device d WHERE d.device_id = device;
$$;

SELECT pg_temp.enrol('{a1,a2,a3}', '{t,t,t}');
SELECT is(pg_temp.row_of('a1'), 'default default   0 connected t listening f b 7   1 1', 'one that has connected');
SELECT is(pg_temp.row_of('a2'), 'g topic h1 1.5.0 15 connected t listening t b 8 t/8 boot 2 2', 'one of which all is known, its release too');
SELECT is(pg_temp.row_of('a3'), 'default default  2.0.0 0 connected f listening f b 0   3 3', 'one whose version nobody knows');

-- Beside one that was there: it is updated, and they are not touched twice.
SELECT pg_temp.enrol('{c1,c2,old-1}', '{t,t,f}');
SELECT is(pg_temp.row_of('c2'), 'g topic h1 1.5.0 15 connected t listening t b 8 t/8 boot 2 2', 'a new one beside an old one');
SELECT is(version, '2.0.0', 'and the old one') FROM ota.device WHERE device_id = 'old-1';
BEGIN;
SELECT pg_stat_get_xact_tuples_updated('ota.device'::regclass) AS before \gset
SELECT pg_temp.enrol('{g1,g2,g3}', '{t,t,t}');
SELECT is(pg_stat_get_xact_tuples_updated('ota.device'::regclass), :before::bigint, 'no row is written twice');
COMMIT;

-- Inserted by an operator between the broker's look and its writing.
SELECT ota.assign_device('e2', 'f');
SELECT pg_temp.enrol('{e1,e2,e3}', '{t,t,t}');
SELECT is(pg_temp.row_of('e1'), 'default default   0 connected t listening f b 7   1 1', 'those beside it are enrolled all the same');
SELECT is(pg_temp.row_of('e2'), 'g topic h1 1.5.0 15 connected t listening t b 8 t/8 boot 2 2', 'and it is updated');
SELECT is(pg_temp.row_of('e3'), 'default default  2.0.0 0 connected f listening f b 0   3 3', 'none is left out');

-- Who joins a rollout by saying what it has said before: nothing else tells its broker that there is something to do.
CREATE FUNCTION pg_temp.heard_of(device text) RETURNS void LANGUAGE sql AS $$
    SELECT ota.broker_write(i_broker => 'b', i_seq => NULL, d_id => '{}', d_new => '{}', d_fleet => '{}', d_fleet_from => '{}', d_hardware => '{}',
        d_version => '{}', d_connected => '{}', d_listening => '{}', d_session => '{}', d_topic => '{}', d_seen_ms => '{}', d_boot_id => '{}',
        u_rollout => '{}', u_device => '{}', u_state => '{}', u_attempt => '{}', u_retries => '{}', u_failed => '{}', u_told => '{}', u_boots => '{}',
        u_boots_since_ms => '{}', u_not_before_ms => '{}', u_deadline_ms => '{}', u_error => '{}', u_retell_ms => '{}', u_at_ms => '{}',
        e_at_ms => '{}', e_device => '{}', e_rollout => '{}', e_kind => '{}', e_detail => '{}', s_id => ARRAY[device], s_seen_ms => '{9000}');
$$;
SELECT pg_temp.devices('r', 'late', 2, '1.0.0');
SELECT ota.start_rollout('r', '1.5.0', reason => 'emergency: all of them') AS r \gset
SELECT ota.rollout_step(:r, 'start', NULL, 'controller'), pg_temp.open_stage(:r, 1) \g /dev/null
DELETE FROM ota.device_update WHERE rollout_id = :r AND device_id = 'late-2';
LISTEN ota;
\set told `mktemp`
\o :told
SELECT pg_temp.heard_of('late-1');
SELECT 'nothing new';
SELECT pg_temp.heard_of('late-2');
\o
\set heard `awk '/nothing new/ { after = " after" } /notification "ota" with payload "b"/ { n++; said = after } END { print n said }' :'told'; rm -f :'told'`
SELECT is(:'heard'::text, '1 after', 'its broker is told, and of nobody else');
SELECT is(count(*), 2::bigint, 'both are in the rollout') FROM ota.device_update WHERE rollout_id = :r;

SELECT * FROM finish();
