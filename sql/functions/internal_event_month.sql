-- Partitions of the audit log: the steps of controller_audit_upkeep().

CREATE OR REPLACE FUNCTION ota.event_parts()
RETURNS TABLE (name text, since timestamptz, until timestamptz)
LANGUAGE sql STABLE SET search_path = ota, pg_temp SET datestyle = 'ISO' SET timezone = 'UTC' AS $$
    -- The partitions of ota.event with their bounds; the one for everything else is not among them.  since null: from the beginning.
    SELECT c.relname::text,
           nullif(b.bound[1], 'MINVALUE')::timestamptz, b.bound[2]::timestamptz
      FROM pg_inherits i
      JOIN pg_class c ON c.oid = i.inhrelid,
           LATERAL (SELECT regexp_match(replace(pg_get_expr(c.relpartbound, c.oid), '''', ''),
                               '^FOR VALUES FROM [(](.*)[)] TO [(](.*)[)]$') AS bound) b
     WHERE i.inhparent = 'ota.event'::regclass AND b.bound IS NOT NULL;
$$;
COMMENT ON FUNCTION ota.event_parts() IS 'Internal: the partitions of the audit log and their times';

CREATE OR REPLACE FUNCTION ota.event_month_exists(i_month timestamp)
RETURNS boolean
LANGUAGE sql STABLE SET search_path = ota, pg_temp AS $$
    SELECT EXISTS (SELECT FROM ota.event_parts() p
                    WHERE (p.since IS NULL OR p.since < (i_month + interval '1 month') AT TIME ZONE 'UTC')
                      AND p.until > i_month AT TIME ZONE 'UTC');
$$;
COMMENT ON FUNCTION ota.event_month_exists(timestamp) IS 'Internal: is there a partition for this month (UTC)';

CREATE OR REPLACE FUNCTION ota.event_month_add(i_month timestamp)
RETURNS text
LANGUAGE plpgsql SET search_path = ota, pg_temp AS $$
-- Make the partition of a month (UTC); events of it that are in event_other move there.  Attaching holds up nobody but
-- those who need event_other, where hardly anything is.
DECLARE
    name   text := to_char(i_month, '"event_"YYYY_MM');
    since  timestamptz := i_month AT TIME ZONE 'UTC';
    until  timestamptz := (i_month + interval '1 month') AT TIME ZONE 'UTC';
    moved  bigint := 0;
BEGIN
    EXECUTE format('CREATE TABLE ota.%I (LIKE ota.event INCLUDING DEFAULTS INCLUDING CONSTRAINTS)', name);
    EXECUTE format('COMMENT ON TABLE ota.%I IS %L', name, 'Events of ' || to_char(i_month, 'YYYY-MM') || ' (UTC)');
    IF EXISTS (SELECT FROM ota.event_other o WHERE o.at >= since AND o.at < until) THEN
        LOCK TABLE ota.event_other IN ACCESS EXCLUSIVE MODE;
        ALTER TABLE ota.event_other DISABLE TRIGGER event_guard;
        EXECUTE format('WITH taken AS (DELETE FROM ota.event_other o WHERE o.at >= $1 AND o.at < $2 RETURNING o.*)'
            ' INSERT INTO ota.%I OVERRIDING SYSTEM VALUE SELECT * FROM taken', name) USING since, until;
        GET DIAGNOSTICS moved = ROW_COUNT;
        ALTER TABLE ota.event_other ENABLE TRIGGER event_guard;
    END IF;
    EXECUTE format('ALTER TABLE ota.event ATTACH PARTITION ota.%I FOR VALUES FROM (%L) TO (%L)', name, since, until);
    EXECUTE format('CREATE TRIGGER event_guard BEFORE UPDATE OR DELETE OR TRUNCATE ON ota.%I'
        ' FOR EACH STATEMENT EXECUTE FUNCTION ota.event_guard()', name);
    RETURN format('made %s of the audit log', name) || CASE WHEN moved > 0 THEN format(' (%s events were waiting for it)', moved) ELSE '' END;
END
$$;
COMMENT ON FUNCTION ota.event_month_add(timestamp) IS 'Internal: makes the partition of a month';

CREATE OR REPLACE FUNCTION ota.event_anchor(i_part text, i_below bigint)
RETURNS boolean
LANGUAGE plpgsql SET search_path = ota, pg_temp AS $$
-- Note the runs of positions that a partition holds, each with its last hash: what verify_audit() needs when it is gone.  i_below:
-- only events of smaller numbers; null: all.  Works for a third of a second at most and returns whether everything is noted.
-- Whatever comes in late stands behind what is noted already, because a chain only grows.
DECLARE
    block    constant integer := 50000;
    until    constant timestamptz := clock_timestamp() + interval '0.3 seconds';
    c        integer;
    last     bigint;
    run_first bigint;
    run_last bigint;
    run_n    bigint;
    found_n  integer;
    -- Without it the index of positions is all that is read.
    only_below  constant text := CASE WHEN i_below IS NULL THEN '' ELSE ' AND event_id < $3' END;
BEGIN
    FOR c IN SELECT h.chain FROM ota.event_chain h ORDER BY h.chain LOOP
        LOOP
            SELECT coalesce(max(d.last_position), 0) INTO last FROM ota.event_dropped d
             WHERE d.part = i_part AND d.chain = c AND d.dropped_at IS NULL;
            found_n := 0;
            FOR run_first, run_last, run_n IN EXECUTE format(
                'SELECT min(b.position) AS first, max(b.position) AS last, count(DISTINCT b.position) AS n'
                '  FROM (SELECT e.position, e.position - dense_rank() OVER (ORDER BY e.position) AS island'
                '          FROM (SELECT position FROM ota.%I WHERE chain = $1 AND position > $2' || only_below ||
                '                 ORDER BY position LIMIT $4) e) b'
                ' GROUP BY b.island ORDER BY 1', i_part) USING c, last, i_below, block
            LOOP
                found_n := found_n + run_n;
                UPDATE ota.event_dropped d SET last_position = run_last, rows = d.rows + run_n, last_hash = ota.event_hash_at(i_part, c, run_last)
                 WHERE d.part = i_part AND d.chain = c AND d.dropped_at IS NULL AND d.last_position = run_first - 1;
                IF NOT FOUND THEN
                    INSERT INTO ota.event_dropped (part, chain, first_position, last_position, last_hash, rows)
                    VALUES (i_part, c, run_first, run_last, ota.event_hash_at(i_part, c, run_last), run_n);
                END IF;
            END LOOP;
            EXIT WHEN found_n = 0;
            IF clock_timestamp() > until THEN
                RETURN false;
            END IF;
        END LOOP;
    END LOOP;
    RETURN true;
END
$$;
COMMENT ON FUNCTION ota.event_anchor(text, bigint) IS 'Internal: notes what of each chain a partition holds, before it is dropped';

CREATE OR REPLACE FUNCTION ota.event_hash_at(i_part text, i_chain integer, i_position bigint)
RETURNS bytea
LANGUAGE plpgsql STABLE SET search_path = ota, pg_temp AS $$
DECLARE
    found_hash  bytea;
BEGIN
    EXECUTE format('SELECT hash FROM ota.%I WHERE chain = $1 AND position = $2 LIMIT 1', i_part) INTO found_hash USING i_chain, i_position;
    RETURN found_hash;
END
$$;
COMMENT ON FUNCTION ota.event_hash_at(text, integer, bigint) IS 'Internal: the hash at a position, in one partition';

CREATE OR REPLACE FUNCTION ota.event_vouch(i_part text, i_until timestamptz, i_keep interval)
RETURNS bigint
LANGUAGE plpgsql SET search_path = ota, pg_temp AS $$
-- Write the audit row that says what is dropped and vouches for the anchors.  Returns how many rows that are.
DECLARE
    total    bigint := (SELECT coalesce(sum(d.rows), 0) FROM ota.event_dropped d WHERE d.part = i_part AND d.dropped_at IS NULL);
    written  bigint;
BEGIN
    PERFORM ota.audit('audit_dropped', NULL, NULL, jsonb_build_object('part', i_part, 'until', i_until, 'rows', total,
        'reason', format('retention of %s', i_keep), 'anchors', (SELECT jsonb_agg(encode(ota.event_anchor_hash(d), 'hex') ORDER BY d.anchor)
            FROM ota.event_dropped d WHERE d.part = i_part AND d.dropped_at IS NULL)));
    -- A variable, because a function that is asked anew for each row reads the whole log, and everybody waits for us now.
    written := currval('ota.event_event_id_seq');
    UPDATE ota.event_dropped d SET dropped_at = now(), until = i_until, dropped_chain = e.chain, dropped_position = e.position
      FROM ota.event e
     WHERE d.part = i_part AND d.dropped_at IS NULL AND e.event_id = written;
    RETURN total;
END
$$;
COMMENT ON FUNCTION ota.event_vouch(text, timestamptz, interval) IS 'Internal: writes down what retention drops';

CREATE OR REPLACE FUNCTION ota.event_anchor_hash(i_anchor ota.event_dropped)
RETURNS bytea
LANGUAGE sql STABLE SET search_path = ota, pg_temp AS $$
    SELECT sha256(convert_to(concat_ws(' ', 'ota1 anchor', i_anchor.part, coalesce(i_anchor.chain::text, '-'),
        coalesce(i_anchor.first_position::text, '-'), coalesce(i_anchor.last_position::text, '-'),
        coalesce(encode(i_anchor.last_hash, 'hex'), '-'), i_anchor.rows), 'UTF8'));
$$;
COMMENT ON FUNCTION ota.event_anchor_hash(ota.event_dropped) IS 'Internal: what the audit row of a drop keeps of an anchor';

CREATE OR REPLACE FUNCTION ota.event_month_drop(i_part text, i_until timestamptz, i_keep interval)
RETURNS text
LANGUAGE plpgsql SET search_path = ota, pg_temp AS $$
-- Drop a partition whose runs are noted.  Everybody who needs the log waits while this waits for its locks (half a second
-- each at most) and for a few milliseconds more; the file itself is removed after they are given back.
DECLARE
    unchained  bigint := 0;
    total      bigint;
BEGIN
    -- Rows from before the chains: all of event_before, and those that were ahead of their time.
    IF i_part = 'event_before' THEN
        unchained := (SELECT s.value::bigint FROM ota.setting s WHERE s.name = 'audit_before_rows');
    ELSIF (SELECT s.value::bigint FROM ota.setting s WHERE s.name = 'audit_before_ahead') > 0 THEN
        EXECUTE format('SELECT count(*) FROM ota.%I WHERE position IS NULL', i_part) INTO unchained;
    END IF;
    LOCK TABLE ONLY ota.event IN ACCESS EXCLUSIVE MODE;
    EXECUTE format('LOCK TABLE ota.%I IN ACCESS EXCLUSIVE MODE', i_part);
    IF NOT ota.event_anchor(i_part, NULL) THEN
        RETURN NULL;  -- a great many late events: the next call goes on
    END IF;
    IF unchained > 0 THEN
        INSERT INTO ota.event_dropped (part, rows) VALUES (i_part, unchained);
    END IF;
    EXECUTE format('DROP TABLE ota.%I', i_part);
    total := ota.event_vouch(i_part, i_until, i_keep);
    RETURN format('dropped %s of the audit log: %s events, older than %s', i_part, total, i_keep);
END
$$;
COMMENT ON FUNCTION ota.event_month_drop(text, timestamptz, interval) IS 'Internal: drops a partition past the retention';

CREATE OR REPLACE FUNCTION ota.event_other_drop(i_keep interval)
RETURNS text
LANGUAGE plpgsql SET search_path = ota, pg_temp AS $$
-- Events without a month have a time that means nothing; their number tells when they were written.  Those written before the
-- month that follows the last one dropped go, too.
DECLARE
    gone   timestamptz := (SELECT max(d.until) FROM ota.event_dropped d WHERE d.part <> 'event_other');
    heir   text := (SELECT p.name FROM ota.event_parts() p WHERE p.since = gone);
    below  bigint;
    total  bigint;
    unchained  bigint;
BEGIN
    IF heir IS NULL THEN
        RETURN NULL;
    END IF;
    EXECUTE format('SELECT min(event_id) FROM ota.%I', heir) INTO below;
    IF below IS NULL OR NOT EXISTS (SELECT FROM ota.event_other o WHERE o.event_id < below) THEN
        RETURN NULL;
    END IF;
    LOCK TABLE ota.event_other IN ACCESS EXCLUSIVE MODE;
    IF NOT ota.event_anchor('event_other', below) THEN
        RETURN NULL;
    END IF;
    SELECT count(*) INTO unchained FROM ota.event_other o WHERE o.event_id < below AND o.position IS NULL;
    IF unchained > 0 THEN
        INSERT INTO ota.event_dropped (part, rows) VALUES ('event_other', unchained);
    END IF;
    ALTER TABLE ota.event_other DISABLE TRIGGER event_guard;
    DELETE FROM ota.event_other o WHERE o.event_id < below;
    ALTER TABLE ota.event_other ENABLE TRIGGER event_guard;
    total := ota.event_vouch('event_other', NULL, i_keep);
    RETURN format('dropped %s events without a month from the audit log, written more than %s ago', total, i_keep);
END
$$;
COMMENT ON FUNCTION ota.event_other_drop(interval) IS 'Internal: drops old events that have no month';
