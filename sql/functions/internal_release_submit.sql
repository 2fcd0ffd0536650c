-- What the forms of ota.add_release have in common.

CREATE OR REPLACE FUNCTION ota.release_submit(r ota.release)
RETURNS bigint
LANGUAGE plpgsql SET search_path = ota, pg_temp AS $$
-- Check the columns of a release and insert it as submitted; returns its number.  The very same submission again returns the
-- number it has already, unless that was rejected.  r: the columns; its numbers, state and times are not looked at.
-- A null sequence (detached signatures only) becomes the next one.
-- Errors: 22023 a column is not acceptable; 23505 the version or the sequence is taken.
DECLARE
    taken  ota.release;
    id     bigint;
BEGIN
    PERFORM ota.check_version('version', r.version);
    IF r.sequence IS NOT NULL AND r.sequence NOT BETWEEN 1 AND 9007199254740991 THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = format('sequence %s is out of range', r.sequence),
            HINT = 'Accepted is an integer from 1 to 9007199254740991 that is above the sequences of earlier releases.';
    ELSIF r.url IS NULL OR octet_length(r.url) > 2048 OR r.url COLLATE "C" !~ E'^https?://[^][/?#:@"<>\\\\^`{|}[:space:]][^"<>\\\\^`{|}[:space:]]*$'
        OR r.url ~ '[^!-~]' THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = CASE WHEN r.url IS NULL THEN 'the url is missing'
                ELSE format('url "%s" is not acceptable', left(r.url, 200)) END,
            HINT = 'Accepted is an https:// or http:// URL in ASCII of at most 2048 bytes.';
    ELSIF r.sha256 IS NULL OR r.sha256 !~ '^[0-9a-fA-F]{64}$' THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = CASE WHEN r.sha256 IS NULL THEN 'the sha256 is missing'
                ELSE format('sha256 "%s" is not a SHA-256 digest', left(r.sha256, 80)) END,
            HINT = 'Accepted are 64 hex digits, as sha256sum prints them.';
    ELSIF r.size IS NULL OR r.size NOT BETWEEN 1 AND 9007199254740991 THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = CASE WHEN r.size IS NULL THEN 'the size is missing'
                ELSE format('size %s is out of range', r.size) END,
            HINT = 'Accepted is the length of the firmware file in bytes, 1 to 9007199254740991.';
    ELSIF octet_length(r.release_notes) > 16384 THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = format('the release notes have %s bytes', octet_length(r.release_notes)),
            HINT = 'Accepted are at most 16384 bytes.';
    END IF;
    r.sha256 := lower(r.sha256);

    -- Submissions take turns, so that what is checked here still holds at the insert.
    PERFORM pg_advisory_xact_lock(hashtext('ota.release_submit'));
    SELECT l.* INTO taken FROM ota.release l WHERE l.version = r.version AND l.state <> 'rejected';
    IF FOUND THEN
        IF taken.envelope IS NOT DISTINCT FROM r.envelope AND taken.signature IS NOT DISTINCT FROM r.signature
            AND (taken.url, taken.sha256, taken.size) = (r.url, r.sha256, r.size)
            AND coalesce(taken.sequence = r.sequence, true) AND taken.release_notes IS NOT DISTINCT FROM r.release_notes THEN
            RETURN taken.release_id;
        END IF;
        RAISE EXCEPTION USING ERRCODE = '23505',
            MESSAGE = format('version %s is already release %s, which is %s', r.version, taken.release_id, taken.state),
            HINT = 'A version names one binary for ever; give the new one a new version.';
    END IF;
    IF r.sequence IS NULL THEN
        SELECT coalesce(max(l.sequence), 0) + 1 INTO r.sequence FROM ota.release l;
    END IF;
    SELECT l.* INTO taken FROM ota.release l WHERE l.sequence = r.sequence AND l.state <> 'rejected';
    IF FOUND THEN
        RAISE EXCEPTION USING ERRCODE = '23505',
            MESSAGE = format('sequence %s is already that of release %s, version %s', r.sequence, taken.release_id, taken.version),
            HINT = format('Sequences only grow; the highest so far is %s.', (SELECT max(l.sequence) FROM ota.release l WHERE l.state <> 'rejected'));
    END IF;

    INSERT INTO ota.release (version, sequence, url, sha256, size, release_notes, envelope, signature, hardware, fleets,
            min_version, max_version, not_before, expires)
    VALUES (r.version, r.sequence, r.url, r.sha256, r.size, r.release_notes, r.envelope, r.signature, r.hardware, r.fleets,
            r.min_version, r.max_version, r.not_before, r.expires)
    RETURNING release_id INTO id;
    PERFORM ota.audit('release_added', NULL, NULL, jsonb_build_object('release_id', id, 'version', r.version,
        'sequence', r.sequence, 'sha256', r.sha256, 'reason', 'submitted for verification'));
    RETURN id;
END
$$;
COMMENT ON FUNCTION ota.release_submit(ota.release) IS 'Internal: check and insert a release, for all forms of ota.add_release';

CREATE OR REPLACE FUNCTION ota.manifest_list(manifest jsonb, member text)
RETURNS text[]
LANGUAGE plpgsql IMMUTABLE SET search_path = ota, pg_temp AS $$
-- A manifest's optional list of names as an array; null when absent.  Error 22023 when it is something else.
BEGIN
    IF NOT manifest ? member THEN
        RETURN NULL;
    ELSIF jsonb_typeof(manifest -> member) = 'array' AND jsonb_array_length(manifest -> member) BETWEEN 1 AND 64 THEN
        IF NOT EXISTS (SELECT FROM jsonb_array_elements(manifest -> member) AS e
                        WHERE jsonb_typeof(e) <> 'string' OR octet_length(e #>> '{}') NOT BETWEEN 1 AND 128) THEN
            RETURN ARRAY(SELECT jsonb_array_elements_text(manifest -> member));
        END IF;
    END IF;
    RAISE EXCEPTION USING ERRCODE = '22023',
        MESSAGE = format('member "%s" of the manifest is %s', member, left((manifest -> member)::text, 200)),
        HINT = 'Accepted is a list of 1 to 64 texts of 1 to 128 bytes; leave the member out for any.';
END
$$;
COMMENT ON FUNCTION ota.manifest_list(jsonb, text) IS 'Internal: a list of names out of a manifest';

CREATE OR REPLACE FUNCTION ota.manifest_time(manifest jsonb, member text)
RETURNS timestamptz
LANGUAGE plpgsql STABLE SET search_path = ota, pg_temp AS $$
-- A manifest's optional time; null when absent.  Error 22023 when it is something else.
DECLARE
    moment  timestamptz;
BEGIN
    IF NOT manifest ? member THEN
        RETURN NULL;
    ELSIF jsonb_typeof(manifest -> member) = 'string'
        AND manifest ->> member ~* '^[0-9]{4}-[0-9]{2}-[0-9]{2}[t ][0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]+)?(z|[+-][0-9]{2}:[0-9]{2})$' THEN
        BEGIN
            moment := (manifest ->> member)::timestamptz;
        EXCEPTION WHEN data_exception THEN
            moment := NULL; -- the 31st of February
        END;
        IF moment > to_timestamp(0) THEN
            RETURN moment;
        END IF;
    END IF;
    RAISE EXCEPTION USING ERRCODE = '22023',
        MESSAGE = format('member "%s" of the manifest is %s', member, left((manifest -> member)::text, 200)),
        HINT = 'Accepted is an RFC 3339 time after 1970 such as "2026-01-31T02:40:00Z".';
END
$$;
COMMENT ON FUNCTION ota.manifest_time(jsonb, text) IS 'Internal: a time out of a manifest';

CREATE OR REPLACE FUNCTION ota.manifest_text(manifest jsonb, member text, required boolean)
RETURNS text
LANGUAGE plpgsql IMMUTABLE SET search_path = ota, pg_temp AS $$
-- A manifest's text; null when absent and not required.  Error 22023 when it is missing or no text.
BEGIN
    IF NOT manifest ? member AND NOT required THEN
        RETURN NULL;
    ELSIF coalesce(jsonb_typeof(manifest -> member), '') <> 'string' THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = CASE WHEN manifest ? member
                THEN format('member "%s" of the manifest is %s', member, left((manifest -> member)::text, 200))
                ELSE format('the manifest has no member "%s"', member) END,
            HINT = 'Accepted is a text.';
    END IF;
    RETURN manifest ->> member;
END
$$;
COMMENT ON FUNCTION ota.manifest_text(jsonb, text, boolean) IS 'Internal: a text out of a manifest';

CREATE OR REPLACE FUNCTION ota.manifest_integer(manifest jsonb, member text, highest bigint)
RETURNS bigint
LANGUAGE plpgsql IMMUTABLE SET search_path = ota, pg_temp AS $$
-- A manifest's integer from 1 to highest.  Error 22023 when it is missing or something else.
BEGIN
    IF coalesce(jsonb_typeof(manifest -> member), '') = 'number' THEN
        IF (manifest ->> member)::numeric BETWEEN 1 AND highest AND (manifest ->> member)::numeric % 1 = 0 THEN
            RETURN (manifest ->> member)::numeric::bigint;
        END IF;
    END IF;
    RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = CASE WHEN manifest ? member
            THEN format('member "%s" of the manifest is %s', member, left((manifest -> member)::text, 200))
            ELSE format('the manifest has no member "%s"', member) END,
        HINT = CASE highest WHEN 1 THEN 'Accepted is 1.' ELSE format('Accepted is an integer from 1 to %s.', highest) END;
END
$$;
COMMENT ON FUNCTION ota.manifest_integer(jsonb, text, bigint) IS 'Internal: an integer out of a manifest';
