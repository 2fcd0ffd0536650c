-- The heads of the audit log's chains, for somebody outside the database to keep.

CREATE OR REPLACE FUNCTION ota.broker_audit_heads(i_broker text, i_noted jsonb)
RETURNS TABLE (heads text, problem text)
LANGUAGE plpgsql STABLE SET search_path = ota, pg_temp AS $$
-- heads: where the broker's chain and those of the database end, as JSON.  i_noted: the same as it was earlier, null: not known;
-- problem: what of that is not there any more, in words; null: nothing.  What retention has dropped cannot be compared.
BEGIN
    SELECT string_agg(format('chain %s at position %s: %s', n.chain, n.position, coalesce(k.problem, 'removed: the whole chain')), '; ')
      INTO problem
      FROM jsonb_to_recordset(CASE WHEN jsonb_typeof(i_noted -> 'heads') = 'array' THEN i_noted -> 'heads' ELSE '[]' END)
           AS n (chain text, position bigint, hash text)
      LEFT JOIN ota.event_chain c ON c.name = n.chain
      LEFT JOIN LATERAL ota.event_check_noted(c.chain, n.position, decode(n.hash, 'hex')) k ON c.chain IS NOT NULL
     WHERE n.hash ~ '^[0-9a-f]{64}$' AND n.position > 0
       AND (c.chain IS NULL OR k.problem !~ '^dropped');
    SELECT jsonb_build_object('at', now(), 'heads', coalesce(jsonb_agg(jsonb_build_object('chain', c.name, 'position', c.position,
               'hash', encode(c.hash, 'hex')) ORDER BY c.chain), '[]'))::text
      INTO heads
      FROM (SELECT * FROM ota.event_chain h WHERE (h.broker = i_broker OR h.broker IS NULL) AND h.position > 0
             ORDER BY h.broker IS NULL, h.chain LIMIT 50) c;
    RETURN NEXT;
END
$$;
COMMENT ON FUNCTION ota.broker_audit_heads(text, jsonb) IS 'Plugin: where the chains of the audit log end, and whether those noted earlier are still there';
