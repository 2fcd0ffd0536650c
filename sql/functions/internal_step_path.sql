-- Stepping stones: how a device below a release's minVersion gets there.

CREATE OR REPLACE FUNCTION ota.step_ways(release_id bigint, fleet text, hardware text)
RETURNS jsonb
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = ota, pg_temp AS $$
-- The ways over stepping stones to a release with a minVersion, for devices of this fleet and hardware whatever they run: a list of
-- {"sequence", "key", "low", "high", "path"}, of which ota.step_path() picks one.  path: the stones in their order, at most eight; the
-- others are those of the first: a device whose version's key is from low to high and below key, and whose sequence is lower, may
-- begin there.  Null: the release has no minVersion.
--
-- One look at each release, from the newest on: whatever it leads to has been looked at by then, because sequences only grow.  A way
-- that another one is never worse than (which is as short, newer, and lets in whoever this lets in) is left out.  Few remain when versions
-- grow with the sequence, so this takes about as long as it takes to read the releases.
#variable_conflict use_column
DECLARE
    t      record;
    s      record;
    ways   jsonb[] := '{}';
    keys   text[] := '{}';
    lows   text[] := '{}';
    highs  text[] := '{}';
    steps  integer[] := '{}';
    n      integer := 0;
    on_to  integer;
    path   jsonb;
    needs  integer;
BEGIN
    SELECT l.sequence, ota.version_key(l.min_version) AS min_key, ota.version_key(l.max_version) AS max_key INTO t
      FROM ota.release l WHERE l.release_id = step_ways.release_id;
    IF t.min_key IS NULL THEN
        RETURN NULL;
    END IF;
    -- Keys are hexadecimal and begin with a digit: nothing is below '', nothing above 'z'.
    FOR s IN
        SELECT l.release_id AS id, l.sequence, ota.version_key(l.version) AS key,
               coalesce(ota.version_key(l.min_version), '') AS low, coalesce(ota.version_key(l.max_version), 'z') AS high
          FROM ota.release l
         WHERE l.state = 'verified' AND l.sequence < t.sequence
           AND (coalesce(cardinality(l.fleets), 0) = 0 OR step_ways.fleet = ANY (l.fleets))
           AND (coalesce(cardinality(l.hardware), 0) = 0 OR step_ways.hardware <> '' AND step_ways.hardware = ANY (l.hardware))
           AND (l.not_before IS NULL OR l.not_before <= now()) AND (l.expires IS NULL OR l.expires > now())
         ORDER BY l.sequence DESC
    LOOP
        path := NULL;
        IF s.key >= t.min_key AND (t.max_key IS NULL OR s.key <= t.max_key) THEN
            path := jsonb_build_array(s.id);
            needs := 1;
        ELSE
            on_to := NULL;
            needs := 8;
            FOR i IN 1 .. n LOOP
                IF steps[i] < needs AND s.key < keys[i] AND s.key >= lows[i] AND s.key <= highs[i] THEN
                    on_to := i;
                    needs := steps[i];
                END IF;
            END LOOP;
            IF on_to IS NOT NULL THEN
                path := jsonb_build_array(s.id) || (ways[on_to] -> 'path');
                needs := needs + 1;
            END IF;
        END IF;
        FOR i IN 1 .. n LOOP
            EXIT WHEN path IS NULL;
            IF steps[i] <= needs AND keys[i] >= s.key AND lows[i] <= s.low AND highs[i] >= s.high THEN
                path := NULL;
            END IF;
        END LOOP;
        IF path IS NOT NULL THEN
            ways := ways || jsonb_build_object('sequence', s.sequence, 'key', s.key, 'low', s.low, 'high', s.high, 'path', path);
            keys := keys || s.key;
            lows := lows || s.low;
            highs := highs || s.high;
            steps := steps || needs;
            n := n + 1;
        END IF;
    END LOOP;
    RETURN to_jsonb(ways);
END
$$;
COMMENT ON FUNCTION ota.step_ways(bigint, text, text) IS 'Internal: the ways over stepping stones to a release; null: it has no minVersion';

CREATE OR REPLACE FUNCTION ota.step_path(ways jsonb, version text, device_sequence bigint)
RETURNS bigint[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE
-- Of what ota.step_ways() found the one for a device that runs `version`: the fewest steps, and of as few the newest.
-- device_sequence: the highest that the device has run.  Null: there is no way.
RETURN (
    SELECT w.path
      FROM jsonb_to_recordset(step_path.ways) AS w (sequence bigint, key text, low text, high text, path bigint[]),
           (SELECT ota.version_key(step_path.version) AS runs) AS d
     WHERE d.runs < w.key AND d.runs >= w.low AND d.runs <= w.high AND w.sequence > step_path.device_sequence
     ORDER BY cardinality(w.path), w.sequence DESC LIMIT 1);
COMMENT ON FUNCTION ota.step_path(jsonb, text, bigint) IS 'Internal: the stepping stones for a device, of the ways to a release; null: there is no way';

CREATE OR REPLACE FUNCTION ota.step_path(release_id bigint, fleet text, version text, hardware text, device_sequence bigint)
RETURNS bigint[]
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = ota, pg_temp AS $$
    -- The releases over which a device that runs `version` comes to a release whose minVersion is above that, in their order, the release
    -- itself not among them: the fewest, and of as few the newest.  Null: there is no way, or none is needed.
    -- Each is verified, valid now, for this fleet and hardware, inside its own version bounds from the one before, and above that one in
    -- version and sequence; the sequence stays below the release's, so that no device is asked to go back.
    SELECT ota.step_path(ota.step_ways(l.release_id, step_path.fleet, step_path.hardware), step_path.version, step_path.device_sequence)
      FROM ota.release l
     WHERE l.release_id = step_path.release_id AND ota.version_key(step_path.version) < ota.version_key(l.min_version);
$$;
COMMENT ON FUNCTION ota.step_path(bigint, text, text, text, bigint) IS 'Internal: the stepping stones from a version to a release; null: none';
