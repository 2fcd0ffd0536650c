-- ota.verify_audit(): whatever is done to the rows of the audit log, it names the row.
\ir lib/helpers.sql
SELECT no_plan();

-- Two brokers, and an operator in between.
CREATE FUNCTION pg_temp.wrote(name text, first integer, last integer) RETURNS void LANGUAGE sql AS $$
    SELECT ota.event_append(name, array_agg((extract(epoch FROM now()) * 1000)::bigint + n), array_agg('dev-' || n), array_agg(n::bigint),
        array_agg('status'::text), array_agg('{"n": ' || n || ', "text": "caf\u00e9 \u20ac"}')) FROM generate_series(first, last) AS n $$;
SELECT pg_temp.wrote('b1', 1, 10), pg_temp.wrote('b2', 1, 5), ota.assign_device('d', 'f'), pg_temp.wrote('b1', 11, 20), pg_temp.wrote('b2', 6, 10) \g /dev/null
SELECT is_empty('SELECT * FROM ota.verify_audit()', 'nothing is wrong');
SELECT is(count(*), 3::bigint, 'three chains') FROM ota.event_chain;
SELECT is(string_agg(broker, ' ' ORDER BY chain), 'b1 b2', 'two of them of brokers') FROM ota.event_chain;

-- What verify_audit() says after a change that is taken back; the owner's hand is free of the trigger.
CREATE FUNCTION pg_temp.after(VARIADIC statements text[]) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    statement  text;
    found      text;
BEGIN
    BEGIN
        SET LOCAL session_replication_role = replica;
        FOREACH statement IN ARRAY statements LOOP
            EXECUTE statement;
        END LOOP;
        SELECT string_agg(format('%s|%s|%s|%s', split_part(v.problem, ':', 1), v.chain, v.position, coalesce(v.event_id::text, '-')), ' ' ORDER BY v.chain, v.position, v.event_id)
          INTO found FROM ota.verify_audit() v;
        RAISE EXCEPTION SQLSTATE 'ZZ001';
    EXCEPTION WHEN SQLSTATE 'ZZ001' THEN
        RETURN coalesce(found, '');
    END;
END
$$;
CREATE FUNCTION pg_temp.id(name text, place bigint) RETURNS bigint LANGUAGE sql AS $$
    SELECT e.event_id FROM ota.event e JOIN ota.event_chain c USING (chain) WHERE c.name = id.name AND e.position = place $$;
SELECT pg_temp.id('b1', 7) AS b1_7, pg_temp.id('b1', 8) AS b1_8, pg_temp.id('b1', 9) AS b1_9, pg_temp.id('b1', 1) AS b1_1, pg_temp.id('b1', 20) AS b1_20, pg_temp.id('b2', 3) AS b2_3 \gset
SELECT is(pg_temp.after('SELECT 1'), '', 'no change, nothing to say');

-- Altered: every column.
SELECT is(pg_temp.after(format('UPDATE ota.event SET %s WHERE event_id = %s', change, :b1_7)), format('altered|b1|7|%s', :b1_7), 'altered: ' || change)
  FROM unnest(ARRAY['detail = ''{"n": 8}''', 'detail = detail || ''{"more": 1}''', 'kind = ''denied''', 'device_id = ''dev-8''', 'device_id = NULL', 'rollout_id = 99', 'rollout_id = NULL',
                    'at = at + interval ''1 microsecond''', 'at = at - interval ''1 day''', 'at = ''1970-01-01''', 'at = ''infinity''', 'broker = ''b2''', 'broker = NULL',
                    'broker = ''b1d'', device_id = ''ev-7''']) AS change;
SELECT is(pg_temp.after('ALTER TABLE ota.event ALTER event_id DROP IDENTITY', format('UPDATE ota.event SET event_id = 1000 WHERE event_id = %s', :b1_7)), 'altered|b1|7|1000', 'altered: its number');
SELECT is(pg_temp.after(format('UPDATE ota.event SET hash = sha256(''x'') WHERE event_id = %s', :b1_7)), format('altered|b1|7|%s altered|b1|8|%s', :b1_7, :b1_8), 'altered: its hash');
SELECT is(pg_temp.after(format('UPDATE ota.event SET hash = NULL WHERE event_id = %s', :b1_7)), format('altered|b1|7|%s altered|b1|8|%s inserted||7|%s', :b1_7, :b1_8, :b1_7), 'altered: without a hash');
SELECT is(pg_temp.after(format('UPDATE ota.event SET detail = ''{}'' WHERE event_id = %s', :b1_1)), format('altered|b1|1|%s', :b1_1), 'altered: the first');
SELECT is(pg_temp.after(format('UPDATE ota.event SET detail = ''{}'' WHERE event_id = %s', :b1_20)), format('altered|b1|20|%s', :b1_20), 'altered: the last');
SELECT is(pg_temp.after(format('UPDATE ota.event SET detail = ''{}'' WHERE event_id IN (%s, %s)', :b1_7, :b2_3)), format('altered|b1|7|%s altered|b2|3|%s', :b1_7, :b2_3), 'altered: one of each');
-- Whoever computes its hash again breaks the link of the next.
SELECT is(pg_temp.after(format($$UPDATE ota.event e SET detail = '{}', hash = sha256((SELECT b.hash FROM ota.event b WHERE b.chain = e.chain AND b.position = 6)
    || ota.event_message(e.position, e.event_id, e.at, e.broker, e.device_id, e.rollout_id, e.kind, '{}')) WHERE event_id = %s$$, :b1_7)),
    format('altered|b1|8|%s', :b1_8), 'altered with a new hash: the row after it does not follow');

-- Removed.
SELECT is(pg_temp.after(format('DELETE FROM ota.event WHERE event_id = %s', :b1_7)), 'removed|b1|7|-', 'removed: one');
SELECT is(pg_temp.after(format('DELETE FROM ota.event WHERE event_id IN (%s, %s)', :b1_7, :b1_8)), 'removed|b1|7|-', 'removed: two');
SELECT is(pg_temp.after(format('DELETE FROM ota.event WHERE event_id = %s', :b1_1)), 'removed|b1|1|-', 'removed: the first');
SELECT is(pg_temp.after(format('DELETE FROM ota.event WHERE event_id = %s', :b1_20)), 'removed|b1|20|-', 'removed: the last');
SELECT is(pg_temp.after('DELETE FROM ota.event WHERE broker = ''b1'''), 'removed|b1|1|-', 'removed: a whole chain');
SELECT is(pg_temp.after('TRUNCATE ota.event'), 'removed|b1|1|- removed|b2|1|- removed|database/3|1|-', 'removed: everything');
SELECT is(pg_temp.after(format('DELETE FROM ota.event WHERE event_id = %s', :b1_20), 'UPDATE ota.event_chain SET position = 19 WHERE name = ''b1'''), format('altered|b1|19|%s', pg_temp.id('b1', 19)), 'removed at the end, and the head put back: its hash is another');

-- Inserted.
SELECT is(pg_temp.after('INSERT INTO ota.event (kind) VALUES (''made up'')'), format('inserted|||%s', last_value + 1), 'inserted: by hand') FROM ota.event_event_id_seq;
SELECT is(pg_temp.after(format('INSERT INTO ota.event (event_id, at, broker, kind, chain, position, hash) OVERRIDING SYSTEM VALUE
    SELECT 5000, at, broker, ''made up'', chain, position, hash FROM ota.event WHERE event_id = %s', :b1_7)), 'inserted|b1|7|5000', 'inserted: beside another');
SELECT is(pg_temp.after(format('INSERT INTO ota.event (event_id, at, broker, kind, chain, position, hash) OVERRIDING SYSTEM VALUE
    SELECT 0, at, broker, ''made up'', chain, position, sha256(''x'') FROM ota.event WHERE event_id = %s', :b1_7)), 'inserted|b1|7|0', 'inserted: before another');
SELECT is(pg_temp.after(format('INSERT INTO ota.event (event_id, at, broker, kind, chain, position, hash) OVERRIDING SYSTEM VALUE
    SELECT 5000, at, broker, ''made up'', chain, 21, sha256(hash || ota.event_message(21, 5000, at, broker, NULL, NULL, ''made up'', ''{}'')) FROM ota.event WHERE event_id = %s', :b1_20)),
    'inserted|b1|21|5000', 'inserted: behind the end, with the right hash');
SELECT is(pg_temp.after(format('INSERT INTO ota.event (event_id, at, broker, kind, chain, position, hash) OVERRIDING SYSTEM VALUE
    SELECT 5000, at, broker, ''made up'', chain, position, hash FROM ota.event WHERE event_id = %s', :b1_7), 'UPDATE ota.event SET position = 0 WHERE event_id = 5000'), 'inserted|b1|0|5000', 'inserted: before the beginning');
SELECT is(pg_temp.after('INSERT INTO ota.event (event_id, kind, chain, position, hash) OVERRIDING SYSTEM VALUE VALUES (5000, ''made up'', 99, 1, sha256(''x''))'), 'inserted||1|5000', 'inserted: in a chain that is none');
SELECT is(pg_temp.after('INSERT INTO ota.event (event_id, kind, at) OVERRIDING SYSTEM VALUE VALUES (0, ''made up'', ''2000-01-01'')'), 'inserted|||0', 'inserted: as if from before the chains');

-- Put in another order, moved.
SELECT ok(pg_temp.after(format('UPDATE ota.event SET position = CASE event_id WHEN %1$s THEN 8 ELSE 7 END WHERE event_id IN (%1$s, %2$s)', :b1_7, :b1_8))
    ~ format('altered\|b1\|7\|%s altered\|b1\|8\|%s', :b1_8, :b1_7), 'two rows in the other order');
SELECT ok(pg_temp.after(format('UPDATE ota.event SET chain = (SELECT chain FROM ota.event WHERE event_id = %s), position = 11 WHERE event_id = %s', :b2_3, :b1_20))
    ~ format('removed\|b1\|20\|- inserted\|b2\|11\|%s', :b1_20), 'moved to another chain');
SELECT ok(pg_temp.after('UPDATE ota.event_chain SET name = ''b9'' WHERE name = ''b1''') ~ format('altered\|b9\|1\|%s', :b1_1), 'a chain under another name');
SELECT ok(pg_temp.after('UPDATE ota.event_chain SET hash = sha256(''x'') WHERE name = ''b1''') ~ format('altered\|b1\|20\|%s', :b1_20), 'another head');
SELECT ok(pg_temp.after('UPDATE ota.event_chain SET position = 25 WHERE name = ''b1''') = 'removed|b1|21|-', 'a head too far');

-- A noted head.
SELECT encode(hash, 'hex') AS noted FROM ota.event WHERE event_id = :b1_9 \gset
SELECT is_empty(format('SELECT * FROM ota.verify_audit(''b1'', 9, %L)', :'noted'), 'it is still there');
SELECT results_eq(format('SELECT split_part(problem, '':'', 1), position FROM ota.verify_audit(''b1'', 8, %L)', :'noted'), $$ VALUES ('rewritten', 8::bigint) $$, 'not at that place');
SELECT results_eq(format('SELECT split_part(problem, '':'', 1), position FROM ota.verify_audit(''b1'', 21, %L)', :'noted'), $$ VALUES ('removed', 21::bigint) $$, 'and not behind the end');
SELECT throws_ok('SELECT * FROM ota.verify_audit(''b1'', 9, ''xyz'')', '22023', NULL, 'that is no hash');
SELECT throws_ok('SELECT * FROM ota.verify_audit(''b1'', NULL, repeat(''0'', 64))', '22023', NULL, 'of which position?');
SELECT throws_ok('SELECT * FROM ota.verify_audit(''nobody'')', 'P0002', 'the audit log has no chain "nobody"', 'no such chain');
SELECT throws_ok('SELECT * FROM ota.verify_audit(NULL, 3)', '22023', 'the chain is missing', 'a position of what?');
SELECT throws_ok('SELECT * FROM ota.verify_audit(''b1'', 0)', '22023', NULL, 'before the beginning');
SELECT throws_ok('SELECT * FROM ota.verify_audit(''b1'', 22)', '22023', 'chain "b1" ends at position 20', 'nothing looked at is not nothing wrong');
SELECT is_empty('SELECT * FROM ota.verify_audit(''b1'', 21)', 'what followed the end, were there something');
-- Whoever owns the database can write the whole chain anew.  Only what was noted elsewhere shows it.
SELECT is(pg_temp.after($$
    WITH RECURSIVE w AS (
        SELECT e.event_id, e.position, e.hash FROM ota.event e WHERE e.chain = 1 AND e.position = 6
        UNION ALL
        SELECT e.event_id, e.position, sha256(w.hash || ota.event_message(e.position, e.event_id, e.at, e.broker, e.device_id, e.rollout_id, e.kind,
            CASE WHEN e.position = 7 THEN '{}' ELSE e.detail::text END)) FROM w JOIN ota.event e ON e.chain = 1 AND e.position = w.position + 1)
    UPDATE ota.event e SET hash = w.hash, detail = CASE WHEN e.position = 7 THEN '{}' ELSE e.detail END FROM w WHERE w.event_id = e.event_id$$,
    'UPDATE ota.event_chain c SET hash = e.hash FROM ota.event e WHERE c.chain = 1 AND e.chain = 1 AND e.position = 20',
    format($q$DO $_$ BEGIN IF (SELECT string_agg(split_part(problem, ':', 1), ' ') FROM ota.verify_audit('b1', 9, %L)) <> 'rewritten' THEN RAISE 'not seen'; END IF; END $_$ $q$, :'noted')), '',
    'rewritten from there to the end: verify_audit() alone is content, the noted head is not');

-- Retention ---------------------------------------------------------------------------------------------------------------
SELECT ota.set_retention('1 month', 'test') \g /dev/null
CREATE FUNCTION pg_temp.upkeep(at timestamptz) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    r  record;
    t  text;
BEGIN
    LOOP
        SELECT * INTO r FROM ota.controller_audit_upkeep(at);
        t := concat_ws('; ', t, r.said);
        EXIT WHEN NOT r.more;
    END LOOP;
    RETURN t;
END
$$;
SELECT ota.event_append('b1', ARRAY[(extract(epoch FROM now() + n * interval '31 days') * 1000)::bigint], ARRAY['dev'], ARRAY[NULL::bigint], ARRAY['status'], ARRAY['{}'])
  FROM unnest(ARRAY[1, 0, 1, 0, 1, 2]) AS n \g /dev/null
SELECT is_empty('SELECT * FROM ota.verify_audit()', 'months mixed: nothing is wrong');
SELECT matches(pg_temp.upkeep(date_trunc('month', now(), 'UTC') + interval '2 months 5 days'), 'dropped', 'a month is dropped');
SELECT is_empty('SELECT * FROM ota.verify_audit()', 'which is no alarm');
SELECT is(count(*), 0::bigint, 'though rows are gone') FROM ota.event WHERE broker = 'b2';
SELECT is_empty(format('SELECT * FROM ota.verify_audit(''b2'', 10, %L)', (SELECT encode(hash, 'hex') FROM ota.event_chain WHERE name = 'b2')), 'the last hash of what is gone can be compared');
SELECT results_eq(format('SELECT split_part(problem, '':'', 1) FROM ota.verify_audit(''b1'', 9, %L)', :'noted'), ARRAY['dropped'], 'one in the middle of it cannot');
SELECT is(pg_temp.after('DELETE FROM ota.event WHERE broker = ''b1'' AND position = 23'), 'removed|b1|23|-', 'between the gaps a missing row is seen');
SELECT ok(pg_temp.after('UPDATE ota.event SET detail = ''{"a":1}'' WHERE broker = ''b1'' AND position = 21') ~ '^altered\|b1\|21\|\d+$', 'the first after what was dropped is held against it');
SELECT ok(pg_temp.after('UPDATE ota.event_dropped SET last_hash = sha256(''x'') WHERE chain = 1 AND last_position = 20') ~ '^anchor\|b1\|20\|\d+ altered\|b1\|21', 'an altered anchor is not vouched for');
SELECT is(pg_temp.after('DELETE FROM ota.event_dropped WHERE chain = 1 AND last_position = 20'), 'removed|b1|1|-', 'without it the rows are missing');
SELECT ok(pg_temp.after('DELETE FROM ota.event WHERE broker = ''b1'' AND position = 23', 'INSERT INTO ota.event_dropped (part, chain, first_position, last_position, last_hash, rows, dropped_at, dropped_chain, dropped_position)
    SELECT part, 1, 23, 23, sha256(''x''), 1, dropped_at, dropped_chain, dropped_position FROM ota.event_dropped WHERE chain = 1 LIMIT 1') ~ 'anchor\|b1\|23', 'nor is one that was made up');
SELECT ok(pg_temp.after('INSERT INTO ota.event (event_id, at, broker, kind, chain, position, hash) OVERRIDING SYSTEM VALUE
    VALUES (5000, now(), ''b1'', ''made up'', 1, 5, sha256(''x''))') = 'inserted|b1|5|5000', 'a row in the place of one that was dropped');
SELECT matches(pg_temp.upkeep(date_trunc('month', now(), 'UTC') + interval '3 months 5 days'), 'dropped', 'and another month');
SELECT is_empty('SELECT * FROM ota.verify_audit()', 'which is no alarm');

SELECT * FROM finish();
