-- Operators: take a blackout back.

CREATE OR REPLACE FUNCTION ota.remove_blackout(blackout_id bigint, reason text)
RETURNS void
LANGUAGE plpgsql SET search_path = ota, pg_temp AS $$
-- Remove a blackout, over or not; one that holds ends with it.
-- blackout_id: what ota.add_blackout returned; reason: why, required.
-- Errors: 22023 an argument is not acceptable; P0002 no such blackout.
#variable_conflict use_column
DECLARE
    b    ota.blackout;
    why  text := ota.check_reason(remove_blackout.reason, true);
BEGIN
    IF remove_blackout.blackout_id IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = 'the blackout''s number is missing',
            HINT = 'Accepted is what ota.add_blackout returned; the blackouts are in the table ota.blackout.';
    END IF;
    DELETE FROM ota.blackout o WHERE o.blackout_id = remove_blackout.blackout_id RETURNING o.* INTO b;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'P0002', MESSAGE = format('there is no blackout %s', remove_blackout.blackout_id),
            HINT = coalesce('Accepted is the number of one that there is: '
                || (SELECT string_agg(n.blackout_id::text, ', ' ORDER BY n.blackout_id)
                      FROM (SELECT o.blackout_id FROM ota.blackout o ORDER BY o.blackout_id DESC LIMIT 20) n)
                || '; the table ota.blackout says what they are.', 'There are no blackouts; ota.add_blackout makes one.');
    END IF;
    PERFORM ota.audit('blackout_removed', NULL, NULL, jsonb_build_object('blackout', b.blackout_id, 'fleet', b.fleet,
        'from_at', b.from_at, 'until_at', b.until_at, 'reason', why));
    PERFORM pg_notify('ota', '');
END
$$;
COMMENT ON FUNCTION ota.remove_blackout(bigint, text) IS 'Remove a blackout';
