-- Has anybody been at the audit log?  docs/design/audit.md says what this can show, and what it cannot.

CREATE OR REPLACE FUNCTION ota.verify_audit(of_chain text DEFAULT NULL, from_position bigint DEFAULT NULL, noted_hash text DEFAULT NULL)
RETURNS TABLE (problem text, event_id bigint, broker text, chain text, "position" bigint, at timestamptz)
LANGUAGE plpgsql STABLE SET search_path = ota, pg_temp AS $$
-- Everything that is wrong with the audit log; no row: nothing.  of_chain: this chain only, a broker's name or database/N;
-- from_position: from there on; noted_hash: and the row there must have this hash, 64 hexadecimal digits, which was noted elsewhere.
#variable_conflict use_column
DECLARE
    c      ota.event_chain;
    known  integer[] := ARRAY(SELECT h.chain FROM ota.event_chain h);
    before_last   bigint := coalesce((SELECT s.value::bigint FROM ota.setting s WHERE s.name = 'audit_before_last'), 0);
    before_rows   bigint := coalesce((SELECT sum(s.value::bigint) FROM ota.setting s WHERE s.name IN ('audit_before_rows', 'audit_before_ahead')), 0);
    before_found  bigint;
BEGIN
    IF of_chain IS NULL AND (from_position IS NOT NULL OR noted_hash IS NOT NULL) THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = 'the chain is missing', HINT = 'A position belongs to a chain: a broker''s name, or database/N.';
    ELSIF of_chain IS NOT NULL AND NOT EXISTS (SELECT FROM ota.event_chain h WHERE h.name = of_chain) THEN
        RAISE EXCEPTION USING ERRCODE = 'P0002', MESSAGE = format('the audit log has no chain "%s"', left(of_chain, 140)),
            HINT = coalesce('There are: ' || (SELECT string_agg(h.name, ', ' ORDER BY h.chain) FROM (SELECT * FROM ota.event_chain ORDER BY chain LIMIT 20) h) || '.', 'There is none yet.');
    ELSIF from_position < 1 THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = format('position %s is none', from_position), HINT = 'Positions begin with 1.';
    ELSIF noted_hash IS NULL AND from_position > (SELECT h.position FROM ota.event_chain h WHERE h.name = of_chain) + 1 THEN
        -- Nothing would be looked at, and no row means that nothing is wrong.
        RAISE EXCEPTION USING ERRCODE = '22023',
            MESSAGE = format('chain "%s" ends at position %s', of_chain, (SELECT h.position FROM ota.event_chain h WHERE h.name = of_chain)),
            HINT = format('Accepted is a position up to that. If %s was there once, give its hash as well.', from_position);
    ELSIF noted_hash IS NOT NULL AND (from_position IS NULL OR noted_hash !~ '^[0-9A-Fa-f]{64}$') THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = format('"%s" is not the hash at a position', left(noted_hash, 80)),
            HINT = 'Give the position that was noted with it, and the hash as 64 hexadecimal digits.';
    END IF;

    IF noted_hash IS NOT NULL THEN
        RETURN QUERY SELECT n.problem, n.event_id, n.broker, of_chain, from_position, n.at
          FROM ota.event_check_noted((SELECT h.chain FROM ota.event_chain h WHERE h.name = of_chain), from_position, decode(noted_hash, 'hex')) n;
    END IF;
    FOR c IN SELECT * FROM ota.event_chain h WHERE h.name = of_chain OR of_chain IS NULL ORDER BY h.chain LOOP
        RETURN QUERY SELECT k.problem, k.event_id, k.broker, c.name, k.position, k.at FROM ota.event_check_chain(c, coalesce(from_position, 1)) k;
    END LOOP;
    IF of_chain IS NOT NULL THEN
        RETURN;
    END IF;

    -- Rows in no chain.  Only those from before the chains may be, and as many as there were.
    RETURN QUERY SELECT 'inserted: in no chain', e.event_id, e.broker, NULL::text, e.position, e.at
      FROM ota.event e
     WHERE (e.position IS NULL OR e.hash IS NULL OR e.chain IS NULL OR e.chain <> ALL (known))
       AND NOT (before_rows > 0 AND e.event_id <= before_last AND e.position IS NULL AND e.hash IS NULL AND e.chain IS NULL);
    IF before_rows > 0 THEN
        before_found := (SELECT count(*) FROM ota.event e WHERE e.event_id <= before_last AND e.position IS NULL AND e.hash IS NULL AND e.chain IS NULL)
            + coalesce((SELECT sum(d.rows) FROM ota.event_dropped d WHERE d.chain IS NULL AND d.dropped_at IS NOT NULL), 0);
        IF before_found <> before_rows THEN
            RETURN QUERY SELECT format('%s: %s rows from before the chains, there were %s',
                CASE WHEN before_found < before_rows THEN 'removed' ELSE 'inserted' END, before_found, before_rows),
                NULL::bigint, NULL::text, NULL::text, NULL::bigint, NULL::timestamptz;
        END IF;
    END IF;

    -- Each anchor is vouched for by the audit row of its drop, or that row has been dropped itself since.
    RETURN QUERY SELECT 'anchor: the audit row of the drop does not vouch for what is noted of ' || d.part, e.event_id, e.broker, a.name, d.last_position, e.at
      FROM ota.event_dropped d
      LEFT JOIN ota.event_chain a ON a.chain = d.chain
      LEFT JOIN ota.event e ON e.chain = d.dropped_chain AND e.position = d.dropped_position
     WHERE d.dropped_at IS NOT NULL
       AND CASE WHEN e.event_id IS NOT NULL
                THEN NOT (e.kind = 'audit_dropped' AND coalesce(e.detail -> 'anchors' ? encode(ota.event_anchor_hash(d), 'hex'), false))
                ELSE NOT EXISTS (SELECT FROM ota.event_dropped o WHERE o.chain = d.dropped_chain AND o.dropped_at IS NOT NULL
                                    AND d.dropped_position BETWEEN o.first_position AND o.last_position) END;
END
$$;
COMMENT ON FUNCTION ota.verify_audit(text, bigint, text) IS
    'What is wrong with the audit log: altered, removed, inserted rows; no row: nothing. Also verify_audit(''broker'', position, ''hash'') against a noted head';
