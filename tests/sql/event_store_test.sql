-- Audit rows that the broker has hashed itself, and devices that were only heard of.
\ir lib/helpers.sql
SELECT no_plan();

-- The text of a jsonb value: the cases of plugin/wire/jsonb.c ------------------------------------------------------------
\set cases `cat :root/tests/unit/cases/jsonb.cases`
CREATE TEMP TABLE jsonb_case AS
SELECT m[1] AS json, m[2] AS wanted FROM string_to_table(:'cases', E'\n') AS line, regexp_match(line, '^(.*)\t(.*)$') AS m
 WHERE line !~ '^#' AND m IS NOT NULL;
SELECT cmp_ok(count(*), '>', 50::bigint, 'there are cases') FROM jsonb_case;
SELECT is(json::jsonb::text, wanted, json) FROM jsonb_case WHERE wanted <> '?';

-- What a broker does, in SQL: ask for the end of its chain and for numbers, hash, write ------------------------------------
CREATE FUNCTION pg_temp.empty_write(broker text) RETURNS text LANGUAGE sql AS $$
    SELECT format('ota.broker_write(i_broker => %L, i_seq => NULL, d_id => ''{}'', d_new => ''{}'', d_fleet => ''{}'', d_fleet_from => ''{}'',
        d_hardware => ''{}'', d_version => ''{}'', d_connected => ''{}'', d_listening => ''{}'', d_session => ''{}'', d_topic => ''{}'', d_seen_ms => ''{}'',
        d_boot_id => ''{}'', u_rollout => ''{}'', u_device => ''{}'', u_state => ''{}'', u_attempt => ''{}'', u_retries => ''{}'', u_failed => ''{}'',
        u_told => ''{}'', u_boots => ''{}'', u_boots_since_ms => ''{}'', u_not_before_ms => ''{}'', u_deadline_ms => ''{}'', u_error => ''{}'',
        u_retell_ms => ''{}'', u_at_ms => ''{}'', ', broker) $$;
CREATE FUNCTION pg_temp.hashed(broker text, details text[], behind bigint DEFAULT 0, hash_of text[] DEFAULT NULL, cut integer DEFAULT 32)
RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    head    record;
    ids     bigint[];
    hash    bytea;
    hashes  bytea[] := '{}';
    n       constant integer := cardinality(details);
    at_ms   constant bigint := 1769825404123;
BEGIN
    SELECT * INTO head FROM ota.broker_chain(hashed.broker, n);
    ids := string_to_array(head.ids, ',')::bigint[];
    hash := decode(head.hash, 'hex');
    FOR i IN 1..n LOOP
        hash := sha256(hash || ota.event_message(head.position + behind + i, ids[i], to_timestamp(at_ms / 1000.0), hashed.broker, 'dev-' || i, NULL,
                                                 'status', (coalesce(hash_of, details))[i]));
        hashes := hashes || substr(hash, 1, cut);
    END LOOP;
    EXECUTE 'SELECT ' || pg_temp.empty_write(hashed.broker) || 'e_at_ms => $1, e_device => $2, e_rollout => $3, e_kind => $4, e_detail => $5,
        e_chain => $6, e_position => $7, e_before => $8, e_id => $9, e_hash => $10)'
      USING array_fill(at_ms, ARRAY[n]), ARRAY(SELECT 'dev-' || i FROM generate_series(1, n) i), array_fill(NULL::bigint, ARRAY[n]),
            array_fill('status'::text, ARRAY[n]), details, head.chain, head.position + behind, decode(head.hash, 'hex'), ids, hashes;
END
$$;
CREATE FUNCTION pg_temp.log_of(name text) RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(e.position || e.detail::text, ' ' ORDER BY e.position) FROM ota.event e JOIN ota.event_chain c USING (chain) WHERE c.name = log_of.name $$;

SELECT is_empty('SELECT * FROM ota.broker_chain(''b1'', 3)', 'a broker that has written nothing has no chain');
SELECT ota.event_append('b1', '{1769825404123}', '{dev-0}', '{NULL}', '{status}', '{"{}"}') \g /dev/null
SELECT results_eq('SELECT position, length(hash), cardinality(string_to_array(ids, '','')) FROM ota.broker_chain(''b1'', 3)', $$ VALUES (1::bigint, 64, 3) $$, 'now it has');
SELECT pg_temp.hashed('b1', ARRAY['{"a": 1}', '{"é": [1.50, null]}']) \g /dev/null
SELECT is(pg_temp.log_of('b1'), '1{} 2{"a": 1} 3{"é": [1.50, null]}', 'they stand where they belong');
SELECT is_empty('SELECT * FROM ota.verify_audit()', 'and verify');
SELECT is(at, '2026-01-31 02:10:04.123Z', 'of their time') FROM ota.event WHERE position = 3;
SELECT ota.event_append('b1', NULL, '{dev-0}', '{7}', '{notified}', '{"{}"}') \g /dev/null
SELECT is_empty('SELECT * FROM ota.verify_audit()', 'what the database writes follows them');

-- Hashed otherwise than they are stored: the database hashes them itself
SELECT pg_temp.hashed('b1', ARRAY['{"b": 1}', '{"c":1}', '{"d": 1}']) \g /dev/null
SELECT is(pg_temp.log_of('b1'), '1{} 2{"a": 1} 3{"é": [1.50, null]} 4{} 5{"b": 1} 6{"c": 1} 7{"d": 1}', 'a text that is not the database''s: all are stored, once');
SELECT throws_ok('SELECT pg_temp.hashed(''b1'', ARRAY[''{"e": 1}''], cut => 31)', '23514', NULL, 'a hash of another length');
SELECT is_empty('SELECT * FROM ota.verify_audit()', 'and they verify');
SELECT throws_ok('SELECT pg_temp.hashed(''b1'', ARRAY[''{"a": 1''])', '22P02', NULL, 'what is no JSON is refused as ever');

-- Not at the end of the chain
SELECT throws_ok('SELECT pg_temp.hashed(''b1'', ARRAY[''{}''], -1)', '40001', 'the chain of broker "b1" does not end at position 6', 'before its end');
SELECT throws_ok('SELECT pg_temp.hashed(''b1'', ARRAY[''{}''], 1)', '40001', 'the chain of broker "b1" does not end at position 8', 'behind it');
SELECT throws_ok('SELECT ' || pg_temp.empty_write('b2') || 'e_at_ms => ''{1}'', e_device => ''{d}'', e_rollout => ''{1}'', e_kind => ''{k}'', e_detail => ''{"{}"}'',
    e_chain => ' || chain || ', e_position => ' || position || ', e_before => ''' || hash::text || ''', e_id => ''{1}'', e_hash => ARRAY[sha256(''x'')])',
    '40001', 'the chain of broker "b2" does not end at position 7', 'another broker''s chain') FROM ota.event_chain WHERE name = 'b1';
-- A hash that is simply wrong shows: who hashes can spoil his own chain, as he can write what is not true, but not unseen.
SELECT pg_temp.hashed('b1', ARRAY['{"f": 1}'], hash_of => ARRAY['{"f": 2}']) \g /dev/null
SELECT results_eq('SELECT split_part(problem, '':'', 1), position FROM ota.verify_audit()', $$ VALUES ('altered', 8::bigint) $$, 'a wrong hash is seen');

-- Devices that were only heard of ------------------------------------------------------------------------------------------
SELECT pg_temp.devices('f', 'dev', 3, '1.0.0');
UPDATE ota.device SET connected = true, broker = 'b1', first_seen = now(), last_seen = '2026-01-31 02:10:04Z' WHERE device_id ~ '^dev-';
UPDATE ota.device SET broker = 'b2' WHERE device_id = 'dev-2';
UPDATE ota.device SET connected = false, cut_off = 'connected' WHERE device_id = 'dev-3';
SELECT is(string_agg(here::text, ' ' ORDER BY n), 'true false false', 'who is here') FROM ota.broker_read('b1', '{dev-1,dev-2,nobody,dev-3}');
SELECT is(string_agg(n::text, ' ' ORDER BY n), '1 2 4', 'nobody has no row') FROM ota.broker_read('b1', '{dev-1,dev-2,nobody,dev-3}');
SELECT ota.broker_seen('b1', '{dev-1}', '{1769825405000}') \g /dev/null
SELECT is(last_seen, '2026-01-31 02:10:05Z', 'later') FROM ota.device WHERE device_id = 'dev-1';
SELECT ota.broker_seen('b1', '{dev-1,dev-2,dev-3}', '{1769825404500,1769825406000,1769825407000}') \g /dev/null
SELECT is(string_agg(concat_ws(' ', device_id, connected, broker, cut_off, to_char(last_seen, 'SS')), ', ' ORDER BY device_id),
    'dev-1 t b1 05, dev-2 t b2 06, dev-3 t b1 07', 'never earlier; who was thought away is here, and who has gone elsewhere stays there') FROM ota.device WHERE device_id ~ '^dev-';
UPDATE ota.device SET connected = false, listening = false, cut_off = 'listening' WHERE device_id = 'dev-3';
UPDATE ota.device SET connected = false, listening = false WHERE device_id = 'dev-2';
SELECT ota.broker_seen('b1', '{dev-2,dev-3}', '{1769825408000,1769825408000}') \g /dev/null
SELECT is(string_agg(concat_ws(' ', device_id, connected, listening, broker, cut_off, to_char(last_seen, 'SS')), ', ' ORDER BY device_id),
    'dev-2 f f b2 08, dev-3 t t b1 08', 'who listened listens again; who has gone from there, too, is gone') FROM ota.device WHERE device_id ~ '^dev-[23]';
SELECT is(string_agg(seen_ms::text, ' ' ORDER BY n), '1769825405000 1769825408000', 'when that was') FROM ota.broker_read('b1', '{dev-1,dev-2}');
CREATE TEMP TABLE row_was AS SELECT device_id, ctid AS place FROM ota.device WHERE device_id ~ '^dev-';
SELECT ota.broker_seen('b1', '{dev-1,dev-2}', '{NULL,NULL}') \g /dev/null
SELECT ota.broker_seen('b1', '{dev-1,dev-2,dev-3}', '{NULL,NULL,1769825409000}') \g /dev/null
SELECT is(string_agg(concat_ws(' ', d.device_id, d.connected, to_char(d.last_seen, 'SS'), d.ctid = w.place), ', ' ORDER BY device_id),
    'dev-1 t 05 t, dev-2 f 08 t, dev-3 t 09 f', 'who was heard of without a time keeps the row as it is') FROM ota.device d JOIN row_was w USING (device_id);
UPDATE ota.device SET last_seen = 'infinity' WHERE device_id = 'dev-2';
SELECT is(string_agg(coalesce(seen_ms::text, '-'), ' ' ORDER BY n), '1769825405000 -', 'a time that is none') FROM ota.broker_read('b1', '{dev-1,dev-2}');
SELECT is_empty('SELECT * FROM ota.broker_updates(''{dev-1,dev-2}'')', 'no update, no row');

SELECT * FROM finish();
