-- Rows of the audit log, each chained to the one before it: docs/design/audit.md.

CREATE OR REPLACE FUNCTION ota.event_message(i_position bigint, i_event_id bigint, i_at timestamptz, i_broker text, i_device_id text,
    i_rollout_id bigint, i_kind text, i_detail text)
RETURNS bytea
LANGUAGE sql STABLE PARALLEL SAFE
-- What a row of the audit log says, as bytes that anybody can compute again.  A line of
--     ota1 POSITION EVENT_ID MICROSECONDS_SINCE_1970 ROLLOUT_ID LENGTH_OF_BROKER LENGTH_OF_DEVICE_ID LENGTH_OF_KIND
-- with - for null, and after it broker, device, kind and detail without anything in between.  UTF-8, lengths in bytes.  The body
-- is parsed, so that it becomes part of the queries that call it.
RETURN convert_to(concat_ws(' ', 'ota1', i_position, i_event_id,
        CASE WHEN isfinite(i_at) THEN trunc(extract(epoch FROM i_at) * 1000000)::text ELSE i_at::text END,
        coalesce(i_rollout_id::text, '-'),
        coalesce(octet_length(convert_to(i_broker, 'UTF8'))::text, '-'),
        coalesce(octet_length(convert_to(i_device_id, 'UTF8'))::text, '-'),
        octet_length(convert_to(i_kind, 'UTF8')))
    || E'\n' || coalesce(i_broker, '') || coalesce(i_device_id, '') || i_kind || i_detail, 'UTF8');
COMMENT ON FUNCTION ota.event_message(bigint, bigint, timestamptz, text, text, bigint, text, text) IS
    'Internal: the bytes of an audit row that its hash covers';

CREATE OR REPLACE FUNCTION ota.event_chain_begin(i_name text)
RETURNS bytea
LANGUAGE sql STABLE PARALLEL SAFE
-- The hash before the first row of a chain: it binds the chain to its name.
RETURN sha256(convert_to('ota1 chain ' || i_name, 'UTF8'));
COMMENT ON FUNCTION ota.event_chain_begin(text) IS 'Internal: the hash that a chain begins with';

CREATE OR REPLACE FUNCTION ota.event_link_step(state bytea, head bytea, message bytea)
RETURNS bytea
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
-- Called for every row that is written.  Its names are complete, because to fix its search_path would cost more than what it does.
BEGIN
    RETURN pg_catalog.sha256(coalesce(state, head) OPERATOR(pg_catalog.||) message);
END
$$;
COMMENT ON FUNCTION ota.event_link_step(bytea, bytea, bytea) IS 'Internal: the next hash of a chain';

CREATE OR REPLACE AGGREGATE ota.event_link(head bytea, message bytea) (SFUNC = ota.event_link_step, STYPE = bytea);
COMMENT ON AGGREGATE ota.event_link(bytea, bytea) IS
    'Internal: hashes of rows that follow the one with the hash head; as a window function, in the order of the rows';

CREATE OR REPLACE FUNCTION ota.at_ms(i_ms bigint)
RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE
-- Milliseconds since 1970 as a time; becomes part of the queries that call it.  to_timestamp(i_ms / 1000.0) says the same by way of
-- numeric, which costs ten times as much.
RETURN timestamptz '1970-01-01 00:00:00+00' + i_ms * interval '1 millisecond';
COMMENT ON FUNCTION ota.at_ms(bigint) IS 'Internal: milliseconds since 1970 as a time';

CREATE OR REPLACE FUNCTION ota.next_ms(i_at timestamptz)
RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE
-- The next whole millisecond: a time that the broker, which counts in them, gives back as it was.
RETURN date_trunc('milliseconds', i_at) + interval '1 millisecond';
COMMENT ON FUNCTION ota.next_ms(timestamptz) IS 'Internal: the next whole millisecond';

CREATE OR REPLACE FUNCTION ota.event_append(i_broker text, i_at_ms bigint[], i_device text[], i_rollout bigint[], i_kind text[],
    i_detail text[])
RETURNS void
LANGUAGE plpgsql SET search_path = ota, pg_temp AS $$
-- Rows of the audit log, in this order: the only way into it that verify_audit() does not call an insertion.  i_at_ms null: now.
--
-- A broker's rows belong to its own chain, which only its one connection writes.  Everybody else takes a chain that nobody holds
-- at this moment, a new one when all are held: nobody waits here, so that the order of locks does not matter.
DECLARE
    head   ota.event_chain;
    place  integer;
BEGIN
    IF coalesce(cardinality(i_kind), 0) = 0 THEN
        RETURN;
    END IF;
    IF i_broker IS NOT NULL THEN
        SELECT * INTO head FROM ota.event_chain c WHERE c.broker = i_broker FOR NO KEY UPDATE;
    ELSIF current_setting('transaction_isolation') = 'read committed' THEN
        SELECT * INTO head FROM ota.event_chain c WHERE c.broker IS NULL ORDER BY c.chain LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED;
    ELSE
        -- Here a chain that has grown since the transaction began cannot be taken: the next one, so that there are still no more of
        -- them than there were transactions at once.
        FOR place IN SELECT c.chain FROM ota.event_chain c WHERE c.broker IS NULL ORDER BY c.chain LOOP
            BEGIN
                SELECT * INTO head FROM ota.event_chain c WHERE c.chain = place FOR NO KEY UPDATE SKIP LOCKED;
            EXCEPTION WHEN serialization_failure THEN
                head := NULL;
            END;
            EXIT WHEN head.chain IS NOT NULL;
        END LOOP;
    END IF;
    IF head.chain IS NULL THEN
        head.chain := nextval('ota.event_chain_chain_seq');
        -- No broker has a / in its name.
        head.name := coalesce(i_broker, 'database/' || head.chain);
        INSERT INTO ota.event_chain (chain, name, broker, hash) OVERRIDING SYSTEM VALUE
        VALUES (head.chain, head.name, i_broker, ota.event_chain_begin(head.name))
        RETURNING * INTO head;
    END IF;

    WITH added AS (
        INSERT INTO ota.event (event_id, at, broker, device_id, rollout_id, kind, detail, chain, position, hash) OVERRIDING SYSTEM VALUE
        SELECT s.event_id, s.at, i_broker, s.device, s.rollout, s.kind, s.detail, head.chain, head.position + s.n,
               ota.event_link(head.hash, ota.event_message(head.position + s.n, s.event_id, s.at, i_broker, s.device, s.rollout, s.kind,
                                                           s.detail::text)) OVER (ORDER BY s.n)
          FROM (SELECT nextval('ota.event_event_id_seq') AS event_id, coalesce(ota.at_ms(x.at_ms), clock_timestamp()) AS at,
                       x.device, x.rollout, x.kind, x.detail::jsonb AS detail, x.n
                  FROM unnest(i_at_ms, i_device, i_rollout, i_kind, i_detail) WITH ORDINALITY
                       AS x (at_ms, device, rollout, kind, detail, n)) s
        RETURNING position, hash
    )
    UPDATE ota.event_chain c SET position = a.position, hash = a.hash
      FROM (SELECT position, hash FROM added ORDER BY position DESC LIMIT 1) a
     WHERE c.chain = head.chain;
END
$$;
COMMENT ON FUNCTION ota.event_append(text, bigint[], text[], bigint[], text[], text[]) IS 'Internal: write rows of the audit log';

CREATE OR REPLACE FUNCTION ota.event_store(i_broker text, i_chain integer, i_position bigint, i_before bytea, i_id bigint[],
    i_at_ms bigint[], i_device text[], i_rollout bigint[], i_kind text[], i_detail text[], i_hash bytea[])
RETURNS void
LANGUAGE plpgsql SET search_path = ota, pg_temp AS $$
-- Rows of a broker's chain whose hashes the broker has computed, as event_append() would have: i_before is the hash of the row at
-- i_position, where the chain ends.  The hash covers detail::text, which the broker has foretold: i_detail must be that very text.
-- Raises 40001 when the chain ends elsewhere: read it again; data_corrupted when a text is another: event_append() does it then.
DECLARE
    added   constant bigint := cardinality(i_id);
    stored  bigint;
BEGIN
    UPDATE ota.event_chain c SET position = i_position + added, hash = i_hash[added]
     WHERE c.chain = i_chain AND c.broker = i_broker AND c.position = i_position AND c.hash = i_before;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the chain of broker "%" does not end at position %', i_broker, i_position USING ERRCODE = '40001';
    END IF;
    -- Arrays are taken apart in the list of columns: in FROM each would be copied into a store of its own first.
    INSERT INTO ota.event (event_id, at, broker, device_id, rollout_id, kind, detail, chain, position, hash) OVERRIDING SYSTEM VALUE
    SELECT s.id, ota.at_ms(s.at_ms), i_broker, s.device, s.rollout, s.kind, s.detail, i_chain, s.position, s.hash
      FROM (SELECT x.*, x.said::jsonb AS detail
              FROM (SELECT unnest(i_id) AS id, unnest(i_at_ms) AS at_ms, unnest(i_device) AS device, unnest(i_rollout) AS rollout,
                           unnest(i_kind) AS kind, unnest(i_detail) AS said, unnest(i_hash) AS hash,
                           generate_series(i_position + 1, i_position + added) AS position) x
            OFFSET 0) s
     WHERE s.detail::text = s.said AND octet_length(s.hash) = 32;
    GET DIAGNOSTICS stored = ROW_COUNT;
    IF stored <> added OR added <> cardinality(i_kind) THEN
        RAISE EXCEPTION 'broker "%" has hashed % of % audit rows otherwise than they are stored', i_broker, added - stored, added
            USING ERRCODE = 'data_corrupted';
    END IF;
END
$$;
COMMENT ON FUNCTION ota.event_store(text, integer, bigint, bytea, bigint[], bigint[], text[], bigint[], text[], text[], bytea[]) IS
    'Internal: write rows of a broker''s chain that the broker has hashed';
