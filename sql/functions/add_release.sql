-- Operators: submit a release.  The broker verifies it with the keys on its own disk; here it is only looked at for what an
-- operator would want to be told at once.

CREATE OR REPLACE FUNCTION ota.release_of_envelope(envelope jsonb)
RETURNS ota.release
LANGUAGE plpgsql SET search_path = ota, pg_temp AS $$
-- The columns of a release out of a DSSE envelope over its manifest.
-- Errors: 22023 the envelope or its manifest is not acceptable.
DECLARE
    decoded   bytea;
    manifest  jsonb;
    r         ota.release;
BEGIN
    IF envelope IS NULL OR jsonb_typeof(envelope) <> 'object' THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = format('the envelope is %s',
                coalesce('a JSON ' || jsonb_typeof(envelope), 'null')),
            HINT = 'Accepted is a DSSE envelope: an object with payloadType, payload and signatures.';
    ELSIF octet_length(envelope::text) > 262144 THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = format('the envelope has %s bytes', octet_length(envelope::text)),
            HINT = 'Accepted are at most 262144 bytes.';
    ELSIF coalesce(envelope ->> 'payloadType', '') <> 'application/vnd.mosquitto-ota.manifest+json' THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = coalesce('payloadType is ' || left((envelope -> 'payloadType')::text, 200),
                'the envelope has no payloadType'),
            HINT = 'Accepted is "application/vnd.mosquitto-ota.manifest+json".';
    ELSIF coalesce(jsonb_typeof(envelope -> 'payload'), '') <> 'string' THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = coalesce('payload is a JSON ' || jsonb_typeof(envelope -> 'payload'),
                'the envelope has no payload'),
            HINT = 'Accepted is the manifest''s bytes in base64.';
    ELSIF coalesce(jsonb_typeof(envelope -> 'signatures'), '') <> 'array' THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = coalesce('signatures is a JSON ' || jsonb_typeof(envelope -> 'signatures'),
                'the envelope has no signatures'),
            HINT = 'Accepted is a list of 1 to 16 objects {"keyid", "sig"}.';
    ELSIF jsonb_array_length(envelope -> 'signatures') NOT BETWEEN 1 AND 16 THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = format('the envelope has %s signatures', jsonb_array_length(envelope -> 'signatures')),
            HINT = 'Accepted are 1 to 16.';
    ELSIF EXISTS (SELECT FROM jsonb_array_elements(envelope -> 'signatures') AS s
                   WHERE jsonb_typeof(s) <> 'object' OR coalesce(jsonb_typeof(s -> 'sig'), '') <> 'string'
                      OR coalesce(octet_length(ota.base64_decode(s ->> 'sig')), 0) = 0) THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = 'a signature of the envelope has no base64 in its "sig"',
            HINT = 'Accepted is a list of 1 to 16 objects {"keyid", "sig"}; sig is the signature in base64.';
    END IF;
    decoded := ota.base64_decode(envelope ->> 'payload');
    IF decoded IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = format('payload "%s" is not base64', left(envelope ->> 'payload', 80)),
            HINT = 'Accepted is base64 in the standard or the URL-safe alphabet, padded or not, without blanks.';
    END IF;
    BEGIN
        manifest := convert_from(decoded, 'UTF8')::jsonb;
    EXCEPTION WHEN data_exception OR program_limit_exceeded THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = format('the payload is not JSON: %s', SQLERRM),
            HINT = 'Accepted is a manifest: a JSON object in UTF-8.';
    END;
    IF jsonb_typeof(manifest) <> 'object' THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = format('the payload is a JSON %s', jsonb_typeof(manifest)),
            HINT = 'Accepted is a manifest: a JSON object.';
    END IF;

    PERFORM ota.manifest_integer(manifest, 'schema', 1);
    r.version := ota.manifest_text(manifest, 'version', true);
    r.sequence := ota.manifest_integer(manifest, 'sequence', 9007199254740991);
    r.url := ota.manifest_text(manifest, 'url', true);
    r.sha256 := ota.manifest_text(manifest, 'sha256', true);
    r.size := ota.manifest_integer(manifest, 'size', 9007199254740991);
    r.hardware := ota.manifest_list(manifest, 'hardware');
    r.fleets := ota.manifest_list(manifest, 'fleets');
    r.min_version := ota.manifest_text(manifest, 'minVersion', false);
    r.max_version := ota.manifest_text(manifest, 'maxVersion', false);
    r.not_before := ota.manifest_time(manifest, 'notBefore');
    r.expires := ota.manifest_time(manifest, 'expires');
    r.release_notes := ota.manifest_text(manifest, 'releaseNotes', false);
    r.envelope := envelope;
    IF r.min_version IS NOT NULL THEN
        PERFORM ota.check_version('minVersion', r.min_version);
    END IF;
    IF r.max_version IS NOT NULL THEN
        PERFORM ota.check_version('maxVersion', r.max_version);
    END IF;
    IF ota.version_key(r.min_version) > ota.version_key(r.max_version) THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = format('minVersion %s is above maxVersion %s', r.min_version, r.max_version),
            HINT = 'No device could ever be eligible; accepted is a minVersion not above maxVersion.';
    ELSIF r.not_before >= r.expires THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = format('notBefore %s is not before expires %s',
                manifest ->> 'notBefore', manifest ->> 'expires'),
            HINT = 'The release could never be handed out; accepted is a notBefore before expires.';
    END IF;
    RETURN r;
END
$$;
COMMENT ON FUNCTION ota.release_of_envelope(jsonb) IS 'Internal: what a DSSE envelope says of its release';

CREATE OR REPLACE FUNCTION ota.release_signature(signature bytea)
RETURNS bytea
LANGUAGE plpgsql IMMUTABLE SET search_path = ota, pg_temp AS $$
-- A detached signature whose length is possible.  Error 22023 otherwise.
BEGIN
    IF signature IS NULL OR octet_length(signature) NOT BETWEEN 1 AND 8192 THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = coalesce('the signature has ' || octet_length(signature) || ' bytes',
                'the signature is missing'),
            HINT = 'Accepted are the 1 to 8192 bytes that openssl dgst -sha256 -sign writes.';
    END IF;
    RETURN signature;
END
$$;
COMMENT ON FUNCTION ota.release_signature(bytea) IS 'Internal: checks the length of a detached signature';

CREATE OR REPLACE FUNCTION ota.add_release(envelope jsonb)
RETURNS bigint
LANGUAGE plpgsql SET search_path = ota, pg_temp AS $$
-- Submit a DSSE envelope over a manifest.  Returns the release's number; its state is "submitted" until a broker has verified it.
-- The same envelope again returns the same number; a version that was rejected may be submitted again.
-- Errors: 22023 the envelope or its manifest is not acceptable; 23505 the version or the sequence is taken.
BEGIN
    RETURN ota.release_submit(ota.release_of_envelope(envelope));
END
$$;
COMMENT ON FUNCTION ota.add_release(jsonb) IS 'Submit a release as a DSSE envelope over its manifest; returns its number';

CREATE OR REPLACE FUNCTION ota.add_release(envelope jsonb, signature bytea)
RETURNS bigint
LANGUAGE plpgsql SET search_path = ota, pg_temp AS $$
-- The same with a detached signature over the firmware file beside it, for brokers whose signature_policy is both.
-- Errors: also 22023 the signature is not acceptable.
DECLARE
    r  ota.release := ota.release_of_envelope(envelope);
BEGIN
    r.signature := ota.release_signature(signature);
    RETURN ota.release_submit(r);
END
$$;
COMMENT ON FUNCTION ota.add_release(jsonb, bytea) IS 'Submit a release as a DSSE envelope over its manifest, with a detached signature over its file when signature_policy is both; returns its number';

CREATE OR REPLACE FUNCTION ota.add_release(version text, url text, sha256 text, size bigint, signature bytea,
    sequence bigint DEFAULT NULL, release_notes text DEFAULT NULL)
RETURNS bigint
LANGUAGE plpgsql SET search_path = ota, pg_temp AS $$
-- Submit a release with a detached signature over the firmware file (what `openssl dgst -sha256 -sign` writes), for brokers whose
-- signature_policy is artifact.  sha256: of the file, hex; size: bytes; sequence: null takes the next one.
-- Returns the release's number; its state is "submitted" until a broker has verified it.  The same again returns the same number.
-- Errors: 22023 an argument is not acceptable; 23505 the version or the sequence is taken.
DECLARE
    r  ota.release;
BEGIN
    r.version := version;
    r.url := url;
    r.sha256 := sha256;
    r.size := size;
    r.signature := ota.release_signature(signature);
    r.sequence := sequence;
    r.release_notes := release_notes;
    RETURN ota.release_submit(r);
END
$$;
COMMENT ON FUNCTION ota.add_release(text, text, text, bigint, bytea, bigint, text) IS 'Submit a release with a detached signature over its file; returns its number';
