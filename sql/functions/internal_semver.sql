-- Semantic Versioning in SQL: the same answers as plugin/rules/version.c, compared by the same lists of cases.
-- These functions have parsed bodies (names are bound when they are created), so they need no search_path of their own
-- and PostgreSQL can put the short ones straight into a query.

CREATE OR REPLACE FUNCTION ota.version_valid(version text)
RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
-- Is this a Semantic Version 2.0.0 of at most 64 bytes?  A leading "v" is not one; null: no.
RETURN coalesce(octet_length(version) <= 64 AND (version COLLATE "C") ~
    '^(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)(-(0|[1-9][0-9]*|[0-9]*[a-zA-Z-][0-9a-zA-Z-]*)(\.(0|[1-9][0-9]*|[0-9]*[a-zA-Z-][0-9a-zA-Z-]*))*)?(\+[0-9a-zA-Z-]+(\.[0-9a-zA-Z-]+)*)?$',
    false);
COMMENT ON FUNCTION ota.version_valid(text) IS 'Is this a Semantic Version 2.0.0 (at most 64 bytes)?';

CREATE OR REPLACE FUNCTION ota.version_key(version text)
RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
-- A text that sorts as the version does: key(a) < key(b) exactly when a comes before b (items 10 and 11 of the
-- specification; build metadata does not count).  Null when it is not a Semantic Version.
--
-- A number is written as its length in two digits and then its digits, so numbers of any size compare right.  After the
-- three numbers comes "~" (no pre-release, after everything) or "-" and the pre-release's identifiers, each "0" and a
-- number or "1" and a word, each ended by "!", which is below every character of an identifier.  The whole is given in
-- hexadecimal: bytes below 0x80 begin with a digit, so no collation finds two letters in a row to reorder.
RETURN (
    SELECT encode((
               lpad(length(p[1])::text, 2, '0') || p[1] || lpad(length(p[2])::text, 2, '0') || p[2]
               || lpad(length(p[3])::text, 2, '0') || p[3]
               || CASE WHEN p[4] IS NULL THEN '~' ELSE '-' || (
                      SELECT string_agg(CASE WHEN i.word ~ '^[0-9]+$'
                                        THEN '0' || lpad(length(i.word)::text, 2, '0') || i.word
                                        ELSE '1' || i.word END || '!', '' ORDER BY i.n)
                        FROM unnest(string_to_array(p[4], '.')) WITH ORDINALITY AS i (word, n)) END
               )::bytea, 'hex')
      FROM regexp_match((version_key.version COLLATE "C"),
                        '^([0-9]+)\.([0-9]+)\.([0-9]+)(?:-([0-9A-Za-z.-]+))?(?:\+.*)?$') AS p
     WHERE ota.version_valid(version_key.version));
COMMENT ON FUNCTION ota.version_key(text) IS 'Sortable key: key(a) < key(b) exactly when a precedes b as Semantic Versions; null: not one';
