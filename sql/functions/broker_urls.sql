-- Where fleets download, for the brokers.

CREATE OR REPLACE FUNCTION ota.broker_urls(i_broker text, i_credentials text[])
RETURNS text
LANGUAGE plpgsql SET search_path = ota, pg_temp AS $$
-- All fleets that have a URL of their own, a line each: fleet, template and credential with tabs between them; null: none has.
-- i_credentials: the names of those that the broker can sign with; they are noted, for ota.set_fleet_url().
BEGIN
    UPDATE ota.broker b SET url_credentials = coalesce(i_credentials, '{}')
     WHERE b.broker = i_broker AND b.url_credentials IS DISTINCT FROM coalesce(i_credentials, '{}');
    RETURN (SELECT string_agg(concat_ws(E'\t', f.fleet, f.url_template, coalesce(f.url_credential, '')), E'\n' ORDER BY f.fleet)
              FROM ota.fleet f WHERE f.url_template IS NOT NULL);
END
$$;
COMMENT ON FUNCTION ota.broker_urls(text, text[]) IS 'Plugin: the fleets that have a URL of their own';
