-- Stepping stones: how a device below a release's minVersion gets there.

CREATE OR REPLACE FUNCTION ota.step_path(release_id bigint, fleet text, version text, hardware text, device_sequence bigint)
RETURNS bigint[]
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = ota, pg_temp AS $$
-- The releases over which a device that runs `version` comes to a release whose minVersion is above that, in their order, the release
-- itself not among them: the fewest, and of as few the newest.  Null: there is no way, or none is needed.
-- Each is verified, valid now, for this fleet and hardware, inside its own version bounds from the one before, and above that one in
-- version and sequence; the sequence stays below the release's, so that no device is asked to go back.
-- fleet, hardware, device_sequence: the device's.  Searched backwards from the release, at most eight steps.
#variable_conflict use_column
DECLARE
    t       record;
    runs    text := ota.version_key(step_path.version);
    usable  jsonb;
    near    bigint[];
    seen    bigint[] := '{}';
    next    jsonb := '{}';
    first   bigint;
BEGIN
    SELECT l.sequence, ota.version_key(l.min_version) AS min_key, ota.version_key(l.max_version) AS max_key INTO t
      FROM ota.release l WHERE l.release_id = step_path.release_id;
    IF runs IS NULL OR t.min_key IS NULL OR runs >= t.min_key THEN
        RETURN NULL;
    END IF;
    usable := coalesce((SELECT jsonb_agg(jsonb_build_object('id', l.release_id, 'sequence', l.sequence, 'key', ota.version_key(l.version),
                      'min', ota.version_key(l.min_version), 'max', ota.version_key(l.max_version)) ORDER BY l.sequence DESC)
                 FROM ota.release l
                WHERE l.state = 'verified' AND l.sequence < t.sequence AND l.sequence > step_path.device_sequence
                  AND (coalesce(cardinality(l.fleets), 0) = 0 OR step_path.fleet = ANY (l.fleets))
                  AND (coalesce(cardinality(l.hardware), 0) = 0 OR step_path.hardware <> '' AND step_path.hardware = ANY (l.hardware))
                  AND (l.not_before IS NULL OR l.not_before <= now()) AND (l.expires IS NULL OR l.expires > now())
                  AND ota.version_key(l.version) > runs), '[]');
    near := ARRAY(SELECT u.id FROM jsonb_to_recordset(usable) AS u (id bigint, key text)
                   WHERE u.key >= t.min_key AND (t.max_key IS NULL OR u.key <= t.max_key));
    FOR step IN 1 .. 8 LOOP
        EXIT WHEN cardinality(near) = 0;
        SELECT u.id INTO first FROM jsonb_to_recordset(usable) AS u (id bigint, sequence bigint, min text, max text)
         WHERE u.id = ANY (near) AND (u.min IS NULL OR runs >= u.min) AND (u.max IS NULL OR runs <= u.max)
         ORDER BY u.sequence DESC LIMIT 1;
        IF FOUND THEN
            -- Forwards again, along what was seen.
            seen := ARRAY[first];
            WHILE next ? first::text LOOP
                first := (next ->> first::text)::bigint;
                seen := seen || first;
            END LOOP;
            RETURN seen;
        END IF;
        seen := seen || near;
        next := next || coalesce((SELECT jsonb_object_agg(x.id, x.next) FROM (
            SELECT DISTINCT ON (b.id) b.id, a.id AS next
              FROM jsonb_to_recordset(usable) AS b (id bigint, sequence bigint, key text),
                   jsonb_to_recordset(usable) AS a (id bigint, sequence bigint, key text, min text, max text)
             WHERE a.id = ANY (near) AND NOT b.id = ANY (seen) AND b.sequence < a.sequence AND b.key < a.key
               AND (a.min IS NULL OR b.key >= a.min) AND (a.max IS NULL OR b.key <= a.max)
             ORDER BY b.id, a.sequence DESC) x), '{}');
        near := ARRAY(SELECT k::bigint FROM jsonb_object_keys(next) AS k WHERE NOT k::bigint = ANY (seen));
    END LOOP;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION ota.step_path(bigint, text, text, text, bigint) IS 'Internal: the stepping stones from a version to a release; null: none';
