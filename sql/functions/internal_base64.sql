-- Base64 as plugin/wire/base64.c reads it.

CREATE OR REPLACE FUNCTION ota.base64_decode(text text)
RETURNS bytea
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = ota, pg_temp AS $$
-- Decode RFC 4648 base64, standard or URL-safe alphabet (not both in one text), padded or not, no blanks, bits that are cut
-- off zero.  Null when it is not that.
DECLARE
    bare     text := rtrim(base64_decode.text, '=');
    decoded  bytea;
BEGIN
    IF base64_decode.text !~ '^[A-Za-z0-9+/_-]*={0,2}$' OR bare ~ '[+/]' AND bare ~ '[_-]' OR length(bare) % 4 = 1
        OR base64_decode.text <> bare AND length(base64_decode.text) % 4 <> 0 THEN
        RETURN NULL;
    END IF;
    bare := translate(bare, '-_', '+/');
    decoded := decode(rpad(bare, (length(bare) + 3) / 4 * 4, '='), 'base64');
    RETURN CASE WHEN rtrim(translate(encode(decoded, 'base64'), E'\n', ''), '=') = bare THEN decoded END;
END
$$;
COMMENT ON FUNCTION ota.base64_decode(text) IS 'Decode base64 of either alphabet, padded or not; null: it is not base64';
