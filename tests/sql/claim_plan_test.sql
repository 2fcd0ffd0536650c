-- What a claim reads, when its one plan was made while nobody had counted the rows that are there now.
\ir lib/helpers.sql
SELECT no_plan();

-- How many rows a claim reads by index, of a broker with so few devices.
CREATE FUNCTION pg_temp.rows_read(relation regclass) RETURNS bigint LANGUAGE sql AS $$
    SELECT s.idx_tup_fetch FROM pg_stat_xact_user_tables s WHERE s.relid = relation $$;
CREATE FUNCTION pg_temp.claim_reads(who text, OUT told bigint, OUT updates bigint, OUT devices bigint) LANGUAGE plpgsql AS $$
BEGIN
    updates := -pg_temp.rows_read('ota.device_update');
    devices := -pg_temp.rows_read('ota.device');
    SELECT count(*) INTO told FROM ota.broker_claim(who, 10);
    updates := updates + pg_temp.rows_read('ota.device_update');
    devices := devices + pg_temp.rows_read('ota.device');
END
$$;
CREATE FUNCTION pg_temp.few_ours(fleet text, name text) RETURNS void LANGUAGE sql AS $$
    SELECT pg_temp.devices(fleet, name, 2000, '1.0.0');
    UPDATE ota.device SET broker = 'other' WHERE device_id ~ ('^' || name) AND device_id !~ '-[1-5]$';
$$;
ALTER TABLE ota.device SET (autovacuum_enabled = off);
ALTER TABLE ota.device_update SET (autovacuum_enabled = off);
SELECT pg_temp.release('2.0.0', 20) \g /dev/null
SELECT ota.define_plan('p', '[{"label": "some", "percent": 1}, {"label": "all", "percent": 100}]', options => '{"pacing": "none", "stratify": []}');

-- The rows of a stage that gives slots with them are counted after the first claims.
SELECT pg_temp.few_ours('f', 'a');
ANALYZE ota.device;
SELECT ota.start_rollout('f', '2.0.0', 'p', reason => 'emergency: all of them') AS f \gset
SELECT ota.rollout_step(:f, 'start', NULL, 'controller') \g /dev/null
SELECT is(ota.controller_open_stage(:f, 1, 2000, 2000, 2000), 2000::bigint, 'a stage that nobody has counted');
SELECT * FROM pg_temp.claim_reads('broker') \gset
SELECT is(:told::bigint, 5::bigint, 'few of it are of this broker');
SELECT cmp_ok(:updates::bigint, '<', 50::bigint, 'of the stage few rows are read');
SELECT cmp_ok(:devices::bigint, '<', 50::bigint, 'and of the fleet');
-- Devices that are to be told again, with the same plan and with one of now.
UPDATE ota.device_update SET retell_at = now() WHERE device_id = 'a-3';
SELECT * FROM pg_temp.claim_reads('broker') \gset
SELECT is(:told::bigint, 1::bigint, 'one of them once more');
SELECT cmp_ok(:updates::bigint, '<', 50::bigint, 'its row is found');
SELECT cmp_ok(:devices::bigint, '<', 50::bigint, 'and its device');
UPDATE ota.device_update SET retell_at = now() WHERE device_id = 'a-4';
ANALYZE ota.device_update;
SELECT * FROM pg_temp.claim_reads('broker') \gset
SELECT is(:told::bigint, 1::bigint, 'another one when they have been counted');
SELECT cmp_ok(:updates::bigint, '<', 50::bigint, 'its row is found');
SELECT cmp_ok(:devices::bigint, '<', 50::bigint, 'and its device');
SELECT ota.cancel_rollout(:f, 'done') \g /dev/null

-- A plan of the first stage, when all rows were this broker's and had slots.
TRUNCATE ota.device_update;
SELECT pg_temp.few_ours('g', 'b');
SELECT ota.start_rollout('g', '2.0.0', 'p') AS g \gset
SELECT ota.rollout_step(:g, 'start', NULL, 'controller') \g /dev/null
UPDATE ota.device SET listening = device_id ~ '-[1-5]$' WHERE fleet = 'g';
INSERT INTO ota.device_update (rollout_id, device_id, stage, rank, ready) SELECT :g, device_id, 1, ota.cohort_rank(:g, device_id), true
  FROM ota.device WHERE fleet = 'g' AND listening;
UPDATE ota.rollout_stage SET state = 'open', last_rank = 9223372036854775807 WHERE rollout_id = :g AND stage = 1;
UPDATE ota.rollout SET current_stage = 1 WHERE rollout_id = :g;
SELECT ota.controller_grant(:g, 10), ota.controller_analyze() \g /dev/null
SELECT * FROM pg_temp.claim_reads('broker') \gset
SELECT is(:told::bigint, 5::bigint, 'a first stage');
UPDATE ota.device SET listening = true WHERE fleet = 'g';
UPDATE ota.device SET broker = 'broker' WHERE device_id = 'b-1001';
SELECT cmp_ok(ota.controller_open_stage(:g, 2, 2000, 2000, 2000), '>', 1900::bigint, 'the second one is of everybody');
SELECT * FROM pg_temp.claim_reads('broker') \gset
SELECT is(:told::bigint, 1::bigint, 'one of it is of this broker');
SELECT cmp_ok(:updates::bigint, '<', 50::bigint, 'few rows are read');
SELECT cmp_ok(:devices::bigint, '<', 50::bigint, 'of devices too');

SELECT * FROM finish();
