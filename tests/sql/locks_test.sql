-- Two sessions at once: rollouts that end together and batches of reports wait for each other, and nobody is ended for a deadlock.
\ir lib/helpers.sql
SELECT no_plan();
CREATE EXTENSION dblink;
SELECT format('dbname=%s host=%s port=%s user=%s', current_database(), current_setting('unix_socket_directories'), current_setting('port'), current_user) AS here \gset
SELECT dblink_connect('other', :'here') \g /dev/null
-- The deadlock would be found after this time, and somebody ended.
ALTER SYSTEM SET deadlock_timeout = '200ms';
SELECT pg_reload_conf() \g /dev/null

-- What the other session says to a statement that it was sent, when it has ended.
CREATE FUNCTION pg_temp.answer() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    said  text;
BEGIN
    SELECT x INTO said FROM dblink_get_result('other') AS t (x text);
    PERFORM * FROM dblink_get_result('other') AS t (x text);
    RETURN said;
EXCEPTION WHEN OTHERS THEN
    PERFORM * FROM dblink_get_result('other') AS t (x text);
    RETURN SQLERRM;
END
$$;
CREATE PROCEDURE pg_temp.until_it_waits() LANGUAGE plpgsql AS $$
BEGIN
    FOR i IN 1..5000 LOOP
        PERFORM pg_stat_clear_snapshot();
        EXIT WHEN dblink_is_busy('other') = 0 OR EXISTS (SELECT FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = current_database() AND wait_event_type = 'Lock');
        PERFORM pg_sleep(0.02);
    END LOOP;
END
$$;

-- Devices b of a halted rollout, devices a of its way back; a third rollout takes over from both.  A batch of a broker holds a and comes to b.
SELECT pg_temp.devices('f', 'b', 2, '1.0.0');
SELECT pg_temp.release('1.1.0', 11), pg_temp.release('1.2.0', 12), pg_temp.release('1.3.0', 13) \g /dev/null
SELECT ota.define_plan('p', '[{"label": "some", "percent": 50}, {"label": "all", "percent": 100}]', options => '{"pacing": "none"}') \g /dev/null
SELECT ota.start_rollout('f', '1.1.0', 'p') AS r1 \gset
SELECT ota.rollout_step(:r1, 'start', NULL, 'controller') \g /dev/null
SELECT pg_temp.open_stage(:r1, 1), pg_temp.open_stage(:r1, 2) \g /dev/null
SELECT count(*) FROM ota.broker_claim('broker', 10) \g /dev/null
UPDATE ota.device_update SET state = 'downloading';
SELECT ota.halt_rollout(:r1, 'smoke') \g /dev/null
-- The way back from it, for those that run it already.
SELECT pg_temp.devices('f', 'a', 2, '1.1.0');
SELECT ota.start_fallback(:r1, 'smoke', '1.2.0') AS r2 \gset
SELECT pg_temp.open_stage(:r2, 1), pg_temp.open_stage(:r2, 2) \g /dev/null
SELECT count(*) FROM ota.broker_claim('broker', 10) \g /dev/null
SELECT results_eq('SELECT device_id, rollout_id, state FROM ota.device_update WHERE device_id ~ ''1'' AND state <> ''pending'' ORDER BY 1',
    format($$ VALUES ('a-1', %s::bigint, 'notified'), ('b-1', %s, 'downloading') $$, :r2, :r1), 'each has its rollout');

-- One row after the other, as in one batch that is slower than the other session.
BEGIN;
SELECT count(*) FROM ota.broker_updates(ARRAY['a-1']) \g /dev/null
SELECT dblink_send_query('other', $$ SELECT ota.start_rollout('f', '1.3.0', 'p')::text $$) \g /dev/null
CALL pg_temp.until_it_waits();
SELECT is(count(*), 1::bigint, 'the batch goes on, it holds what comes first') FROM ota.broker_updates(ARRAY['b-1']);
COMMIT;
SELECT matches(pg_temp.answer(), '^[0-9]+$', 'and the other session follows');
SELECT is(pg_temp.state_of(:r1) || ' ' || pg_temp.state_of(:r2), 'superseded superseded', 'both have ended');

-- The counters of many rollouts in one statement, large enough to be summed up in another order than that of their numbers: while it waits
-- for the first it holds none of the others.
SELECT pg_temp.devices('c' || n, 'c' || n, 60, '1.0.0') FROM generate_series(1, 9) AS n;
CREATE TEMP TABLE nine AS SELECT n, ota.start_rollout('c' || n, '1.3.0', 'p', reason => 'emergency: all of them') AS id FROM generate_series(1, 9) AS n;
SELECT ota.rollout_step(id, 'start', NULL, 'controller') FROM nine \g /dev/null
SELECT ota.controller_open_stage(id, 1, 60, 60, 60) FROM nine \g /dev/null
SELECT min(id) AS first, string_agg(id::text, ',') AS ids FROM nine \gset
BEGIN;
SELECT 1 FROM ota.rollout_stage WHERE rollout_id = :first FOR UPDATE \g /dev/null
SELECT dblink_send_query('other', format('UPDATE ota.device_update SET granted_at = NULL WHERE rollout_id IN (%s)', :'ids')) \g /dev/null
CALL pg_temp.until_it_waits();
SELECT is(count(*), 9::bigint, 'the statement holds none of the others') FROM (SELECT FROM ota.rollout_stage s JOIN nine ON s.rollout_id = nine.id FOR UPDATE OF s SKIP LOCKED) x;
COMMIT;
SELECT count(*) FROM dblink_get_result('other') AS t (x text) \g /dev/null
SELECT count(*) FROM dblink_get_result('other') AS t (x text) \g /dev/null
SELECT is(sum(s.in_flight), 0::numeric, 'and then counts them all') FROM ota.rollout_stage s JOIN nine ON s.rollout_id = nine.id;

-- The audit log in transactions that have a snapshot of their own: no more chains than transactions at once.
CREATE FUNCTION pg_temp.chains() RETURNS bigint LANGUAGE sql AS $$ SELECT count(*) FROM ota.event_chain WHERE broker IS NULL $$;
SELECT pg_temp.chains() AS chains \gset
BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT ota.assign_device('d-1', 'f') \g /dev/null
COMMIT;
BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT ota.assign_device('d-2', 'f') \g /dev/null
COMMIT;
SELECT is(pg_temp.chains(), :chains::bigint, 'one after the other uses what is there');
-- A chain has grown since the snapshot was taken: the next one then, again and again.
BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM ota.device \g /dev/null
SELECT * FROM dblink('other', 'SELECT ota.assign_device(''d-3'', ''f'')::text') AS t (x text) \g /dev/null
SELECT ota.assign_device('d-4', 'f') \g /dev/null
SELECT ota.assign_device('d-5', 'f') \g /dev/null
COMMIT;
SELECT is(pg_temp.chains(), :chains + 1::bigint, 'a chain that has grown since cannot be taken: one more');
BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT count(*) FROM ota.device \g /dev/null
SELECT * FROM dblink('other', 'SELECT ota.assign_device(''d-6'', ''f'')::text') AS t (x text) \g /dev/null
SELECT ota.assign_device('d-7', 'f') \g /dev/null
COMMIT;
SELECT is(pg_temp.chains(), :chains + 1::bigint, 'which the next one finds');
SELECT is(count(*), 7::bigint, 'everything is written down') FROM ota.event WHERE device_id ~ '^d-[0-9]$' AND kind = 'device_assigned';
SELECT is_empty('SELECT * FROM ota.verify_audit()', 'and chained');

SELECT dblink_disconnect('other') \g /dev/null
ALTER SYSTEM RESET deadlock_timeout;
SELECT pg_reload_conf() \g /dev/null
SELECT * FROM finish();
