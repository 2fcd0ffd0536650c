-- Can a release be told to a fleet that has a place of its own to download from?

CREATE OR REPLACE FUNCTION ota.fleet_url_problem(i_fleet text, i_url text)
RETURNS text
LANGUAGE sql STABLE SET search_path = ota, pg_temp AS $$
    -- Why the URL of a manifest has no place in the fleet's template, in words; null: it has, or the fleet downloads where the manifest
    -- says.  The rules are those of plugin/wire/fleet_url.c, which makes the URLs; too long for it is none that the columns can hold.
    SELECT CASE
        WHEN p.path !~ '^/' THEN 'the manifest''s URL has no path'
        WHEN p.path ~ '[?#]' THEN 'the manifest''s URL has a ''?'' or ''#'', and only a path can be kept in a fleet''s URL'
        WHEN p.path ~ '/([.]|%2[eE]){1,2}(/|$)' THEN 'the path of the manifest''s URL has a segment "." or ".."'
        WHEN f.url_credential IS NOT NULL AND p.path ~ '%(?![0-9A-Fa-f]{2})'
        THEN 'the path of the manifest''s URL has a ''%'' without two hex digits' END
      FROM ota.fleet f CROSS JOIN LATERAL (SELECT substring(i_url FROM '://[^/?#]*(.*)$') AS path) p
     WHERE f.fleet = i_fleet AND f.url_template IS NOT NULL
$$;
COMMENT ON FUNCTION ota.fleet_url_problem(text, text) IS 'Internal: why no URL for a fleet can be made from a manifest''s; null: one can';
