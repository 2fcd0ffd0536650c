-- Checks of arguments that several functions need.  Each says what is wrong, the value, and what is accepted.

CREATE OR REPLACE FUNCTION ota.check_name(what text, value text)
RETURNS void
LANGUAGE plpgsql IMMUTABLE SET search_path = ota, pg_temp AS $$
-- Refuse what cannot stand as one level of an MQTT topic.  what: "fleet" or "device", for the message.
BEGIN
    IF value IS NULL OR value = '' THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = format('the %s is missing', what),
            HINT = format('Give the name of a %s: 1 to 128 bytes.', what);
    ELSIF octet_length(value) > 128 OR value ~ '[/+#[:cntrl:]]' OR value ~ '^[$]' THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = format('"%s" cannot name a %s', left(value, 140), what),
            HINT = 'A name has 1 to 128 bytes without /, +, # and control characters, and does not begin with $: it is a level of MQTT topics.';
    END IF;
END
$$;
COMMENT ON FUNCTION ota.check_name(text, text) IS 'Refuse a fleet or device name that no MQTT topic could carry';

CREATE OR REPLACE FUNCTION ota.check_reason(reason text, required boolean)
RETURNS text
LANGUAGE plpgsql IMMUTABLE SET search_path = ota, pg_temp AS $$
-- The reason as it is kept: without blanks around it; "by operator" for none where none is required.
DECLARE
    kept  text := btrim(reason, E' \t\r\n');
BEGIN
    IF coalesce(kept, '') = '' THEN
        IF required THEN
            RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = 'the reason is missing',
                HINT = 'Say why, in words: it is kept in the audit log and shown to whoever asks.';
        END IF;
        RETURN 'by operator';
    ELSIF octet_length(kept) > 1024 THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = format('the reason has %s bytes', octet_length(kept)),
            HINT = 'A reason has at most 1024 bytes.';
    END IF;
    RETURN kept;
END
$$;
COMMENT ON FUNCTION ota.check_reason(text, boolean) IS 'A reason fit to be kept, or an error';

CREATE OR REPLACE FUNCTION ota.check_version(what text, value text)
RETURNS void
LANGUAGE plpgsql IMMUTABLE SET search_path = ota, pg_temp AS $$
-- Refuse what is not a Semantic Version.  what: "version", "minVersion" ..., for the message.
BEGIN
    IF value IS NULL OR value = '' THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = format('the %s is missing', what),
            HINT = 'Give a Semantic Version such as 1.5.0 or 2.0.0-rc.1.';
    ELSIF NOT ota.version_valid(value) THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = format('%s "%s" is not a Semantic Version', what, left(value, 80)),
            HINT = 'Accepted is MAJOR.MINOR.PATCH with an optional -prerelease and +build, at most 64 bytes, such as 1.5.0 or 2.0.0-rc.1.';
    END IF;
END
$$;
COMMENT ON FUNCTION ota.check_version(text, text) IS 'Refuse what is not a Semantic Version';
