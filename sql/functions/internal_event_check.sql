-- The steps of verify_audit().

CREATE OR REPLACE FUNCTION ota.event_check_gap(i_chain integer, i_after bigint, i_before bigint)
RETURNS TABLE (first_position bigint, last_position bigint)
LANGUAGE plpgsql STABLE SET search_path = ota, pg_temp AS $$
-- No row has a position between these two: what of that was not dropped by retention, as runs.
DECLARE
    seen  bigint := i_after;
    run   record;
BEGIN
    FOR run IN SELECT d.first_position AS first, d.last_position AS last FROM ota.event_dropped d
                WHERE d.chain = i_chain AND d.dropped_at IS NOT NULL AND d.last_position > i_after AND d.first_position < i_before
                ORDER BY d.first_position
    LOOP
        IF run.first > seen + 1 THEN
            RETURN QUERY SELECT seen + 1, run.first - 1;
        END IF;
        seen := greatest(seen, run.last);
    END LOOP;
    IF seen < i_before - 1 THEN
        RETURN QUERY SELECT seen + 1, i_before - 1;
    END IF;
END
$$;
COMMENT ON FUNCTION ota.event_check_gap(integer, bigint, bigint) IS 'Internal: positions of a chain that are missing without a reason';

CREATE OR REPLACE FUNCTION ota.event_check_row(i_chain ota.event_chain, i_event ota.event)
RETURNS text
LANGUAGE plpgsql STABLE SET search_path = ota, pg_temp AS $$
-- What is wrong with this row, looked at closely; null: nothing.
DECLARE
    before   bytea[];
    same     bigint;
    message  bytea := ota.event_message(i_event.position, i_event.event_id, i_event.at, i_event.broker, i_event.device_id,
                          i_event.rollout_id, i_event.kind, i_event.detail::text);
BEGIN
    IF EXISTS (SELECT FROM ota.event_dropped d WHERE d.chain = i_chain.chain AND d.dropped_at IS NOT NULL
                  AND i_event.position BETWEEN d.first_position AND d.last_position) THEN
        RETURN 'inserted: the row of this position was dropped by retention';
    ELSIF i_event.position < 1 THEN
        RETURN 'inserted: before the beginning of the chain';
    ELSIF i_event.position > i_chain.position THEN
        RETURN format('inserted: behind the end of the chain, which is position %s', i_chain.position);
    END IF;
    before := ARRAY(SELECT e.hash FROM ota.event e WHERE e.chain = i_chain.chain AND e.position = i_event.position - 1)
        || ARRAY(SELECT d.last_hash FROM ota.event_dropped d WHERE d.chain = i_chain.chain AND d.dropped_at IS NOT NULL AND d.last_position = i_event.position - 1)
        || CASE WHEN i_event.position = 1 THEN ARRAY[ota.event_chain_begin(i_chain.name)] END;
    same := (SELECT count(*) FROM ota.event e WHERE e.chain = i_chain.chain AND e.position = i_event.position);
    IF cardinality(before) = 0 THEN
        -- Said of the gap before it.
        RETURN NULL;
    ELSIF NOT EXISTS (SELECT FROM unnest(before) AS b (hash) WHERE sha256(b.hash || message) = i_event.hash) THEN
        RETURN CASE WHEN same > 1 THEN format('inserted: position %s is taken by another row', i_event.position)
                    ELSE 'altered: what it says, and the hash of the row before, do not give its hash' END;
    ELSIF EXISTS (SELECT FROM ota.event e, unnest(before) AS b (hash)
                   WHERE e.chain = i_chain.chain AND e.position = i_event.position AND e.event_id <> i_event.event_id
                     AND e.hash = sha256(b.hash || ota.event_message(e.position, e.event_id, e.at, e.broker, e.device_id, e.rollout_id,
                                                                     e.kind, e.detail::text))) THEN
        RETURN format('inserted: this or another row of position %s, both follow the one before', i_event.position);
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION ota.event_check_row(ota.event_chain, ota.event) IS 'Internal: what is wrong with a row of the audit log';

CREATE OR REPLACE FUNCTION ota.event_check_chain(i_chain ota.event_chain, i_from bigint)
RETURNS TABLE (problem text, event_id bigint, broker text, "position" bigint, at timestamptz)
LANGUAGE plpgsql STABLE SET search_path = ota, pg_temp AS $$
-- One pass in the order of the chain, in which a row is held against the hash that the row before it has.  Only what does not fit is
-- looked at closely: that names the altered row and not all that follow.
#variable_conflict use_column
DECLARE
    r      record;
    e      ota.event;
    last   bigint := i_from - 1;
BEGIN
    FOR r IN
        SELECT v.event_id, v.at, v.broker, v.position, v.before
          FROM (SELECT o.event_id, o.at, o.broker, o.position, o.hash, lag(o.position) OVER w AS before, lag(o.hash) OVER w AS before_hash,
                       ota.event_message(o.position, o.event_id, o.at, o.broker, o.device_id, o.rollout_id, o.kind, o.detail::text) AS message
                  FROM ota.event o
                 WHERE o.chain = i_chain.chain AND (o.position >= i_from OR i_from = 1 AND o.position < 1)
                WINDOW w AS (ORDER BY o.position, o.event_id)) v
         WHERE v.before IS DISTINCT FROM v.position - 1 OR v.position > i_chain.position
            OR sha256(v.before_hash || v.message) IS DISTINCT FROM v.hash
         ORDER BY v.position, v.event_id
    LOOP
        IF r.position > coalesce(r.before, i_from - 1) + 1 AND r.position <= i_chain.position THEN
            RETURN QUERY SELECT format('removed: positions %s to %s are missing before event %s', g.first_position, g.last_position, r.event_id),
                    NULL::bigint, i_chain.broker, g.first_position, NULL::timestamptz
              FROM ota.event_check_gap(i_chain.chain, coalesce(r.before, i_from - 1), r.position) g;
        END IF;
        SELECT * INTO e FROM ota.event o WHERE o.event_id = r.event_id AND o.at = r.at AND o.chain = i_chain.chain AND o.position = r.position;
        problem := ota.event_check_row(i_chain, e);
        IF problem IS NOT NULL THEN
            event_id := r.event_id; broker := r.broker; position := r.position; at := r.at;
            RETURN NEXT;
        END IF;
    END LOOP;

    -- The end.
    SELECT * INTO e FROM ota.event o WHERE o.chain = i_chain.chain AND o.position <= i_chain.position ORDER BY o.position DESC LIMIT 1;
    last := greatest(coalesce(e.position, 0), i_from - 1);
    IF last < i_chain.position THEN
        RETURN QUERY SELECT format('removed: positions %s to %s are missing at the end of the chain', g.first_position, g.last_position),
                NULL::bigint, i_chain.broker, g.first_position, NULL::timestamptz
          FROM ota.event_check_gap(i_chain.chain, last, i_chain.position + 1) g;
    ELSIF i_chain.position > 0 AND e.position = i_chain.position AND NOT EXISTS (
        SELECT FROM ota.event o WHERE o.chain = i_chain.chain AND o.position = i_chain.position AND o.hash = i_chain.hash) THEN
        RETURN QUERY SELECT 'altered: its hash is not the one that the chain ends with', e.event_id, e.broker, e.position, e.at;
    END IF;
    IF e.broker IS DISTINCT FROM i_chain.broker OR i_chain.broker <> i_chain.name THEN
        RETURN QUERY SELECT format('altered: the chain is said to be that of %s', coalesce(i_chain.broker, 'the database')), e.event_id, e.broker, e.position, e.at
         WHERE e.event_id IS NOT NULL;
    END IF;
END
$$;
COMMENT ON FUNCTION ota.event_check_chain(ota.event_chain, bigint) IS 'Internal: what is wrong with a chain of the audit log';

CREATE OR REPLACE FUNCTION ota.event_check_noted(i_chain integer, i_position bigint, i_hash bytea)
RETURNS TABLE (problem text, event_id bigint, broker text, at timestamptz)
LANGUAGE plpgsql STABLE SET search_path = ota, pg_temp AS $$
-- Is this what the chain had at this position when somebody noted it?
#variable_conflict use_column
DECLARE
    e  ota.event;
    d  ota.event_dropped;
BEGIN
    SELECT * INTO e FROM ota.event o WHERE o.chain = i_chain AND o.position = i_position ORDER BY o.hash = i_hash DESC NULLS LAST LIMIT 1;
    IF FOUND THEN
        RETURN QUERY SELECT 'rewritten: the hash here is not the one that was noted', e.event_id, e.broker, e.at WHERE e.hash IS DISTINCT FROM i_hash;
        RETURN;
    END IF;
    SELECT * INTO d FROM ota.event_dropped o WHERE o.chain = i_chain AND o.dropped_at IS NOT NULL AND i_position BETWEEN o.first_position AND o.last_position;
    IF NOT FOUND THEN
        RETURN QUERY SELECT 'removed: there is no row at the position that was noted', NULL::bigint, NULL::text, NULL::timestamptz;
    ELSIF d.last_position = i_position THEN
        RETURN QUERY SELECT 'rewritten: the hash noted when the row was dropped is another', NULL::bigint, NULL::text, NULL::timestamptz WHERE d.last_hash <> i_hash;
    ELSE
        RETURN QUERY SELECT format('dropped: retention has taken the row with %s, there is nothing left to compare', d.part), NULL::bigint, NULL::text, NULL::timestamptz;
    END IF;
END
$$;
COMMENT ON FUNCTION ota.event_check_noted(integer, bigint, bytea) IS 'Internal: compares a noted head of a chain';
