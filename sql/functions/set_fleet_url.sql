-- Operators: where do a fleet's devices download?

CREATE OR REPLACE FUNCTION ota.set_fleet_url(fleet text, template text, credential text DEFAULT NULL, reason text DEFAULT NULL)
RETURNS void
LANGUAGE plpgsql SET search_path = ota, pg_temp AS $$
-- Set where the fleet's devices download: in every notice from now on, the path of the manifest's URL takes the place of {path}.
-- Devices that have been told keep what they were told.
-- fleet: must exist; template: https://host[:port][/prefix]{path}, or http://, at most 512 bytes; credential: pre-sign the URL with the credential of
-- this name in the brokers' file (option url_credentials), null: do not sign; reason: why, required.
-- Errors: 22023 an argument is not acceptable; P0002 no such fleet, or no such credential on a broker that is alive; 55000 the fleet has a
-- rollout, running, paused or scheduled, of a release whose URL has more than a path, which has no place in the template.
#variable_conflict use_column
DECLARE
    f        ota.fleet;
    why      text := ota.check_reason(set_fleet_url.reason, true);
    wanted   text := btrim(set_fleet_url.template);
    named    text := nullif(btrim(set_fleet_url.credential), '');
    parts    text[];
    without  text;
    known    text;
    held     record;
BEGIN
    PERFORM ota.check_name('fleet', set_fleet_url.fleet);
    parts := regexp_match(wanted, '^https?://([a-z0-9](?:[a-z0-9.-]*[a-z0-9])?)(?::([1-9][0-9]{0,4}))?((?:/[A-Za-z0-9._~-]+)*)[{]path[}]$');
    IF coalesce(wanted, '') = '' THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = 'the template is missing',
            HINT = 'Give one such as https://firmware.s3.eu-central-1.amazonaws.com{path}; ota.clear_fleet_url takes it away.';
    ELSIF octet_length(wanted) > 512 OR parts IS NULL OR octet_length(parts[1]) > 253 OR parts[2]::integer > 65535 OR parts[3] ~ '/[.]{1,2}(/|$)' THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = format('template "%s" is not acceptable', left(wanted, 200)),
            HINT = 'Accepted is https://host[:port][/prefix]{path}, or http://, at most 512 bytes, with a lower-case host name; {path} begins with a ''/''.';
    ELSIF octet_length(named) > 64 OR named !~ '^[A-Za-z0-9._-]+$' THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = format('"%s" cannot name a credential', left(named, 80)),
            HINT = 'A name has 1 to 64 letters, digits, ''.'', ''_'' and ''-''; it stands in brackets in the brokers'' file.';
    END IF;
    SELECT o.* INTO f FROM ota.fleet o WHERE o.fleet = set_fleet_url.fleet FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'P0002', MESSAGE = format('there is no fleet "%s"', set_fleet_url.fleet),
            HINT = format('The fleets are %s. ota.assign_device makes one.',
                (SELECT string_agg(n.fleet, ', ') FROM (SELECT o.fleet FROM ota.fleet o ORDER BY o.fleet LIMIT 20) n));
    END IF;
    IF named IS NOT NULL THEN
        -- A broker that is down is asked when it is back: it then says why it tells nobody.
        SELECT string_agg(b.broker, ', ' ORDER BY b.broker) INTO without
          FROM ota.broker b WHERE b.alive_at > now() - interval '1 minute' AND named <> ALL (b.url_credentials);
        IF without IS NOT NULL OR NOT EXISTS (SELECT FROM ota.broker b WHERE named = ANY (b.url_credentials)) THEN
            SELECT string_agg(DISTINCT c, ', ') INTO known FROM ota.broker b CROSS JOIN LATERAL unnest(b.url_credentials) c;
            RAISE EXCEPTION USING ERRCODE = 'P0002',
                MESSAGE = format('there is no credential "%s" on %s', named, coalesce('broker ' || without, 'any broker')),
                HINT = format('The brokers have %s. It belongs into the file of plugin_opt_url_credentials on each of them, which is read again on SIGHUP.',
                    coalesce(known, 'none'));
        END IF;
    END IF;
    UPDATE ota.fleet o SET url_template = wanted, url_credential = named WHERE o.fleet = f.fleet;
    -- Else its devices would not be told any more.
    SELECT r.rollout_id, r.state, l.version, ota.fleet_url_problem(f.fleet, l.url) AS problem INTO held
      FROM ota.rollout r JOIN ota.release l ON l.release_id = r.release_id
     WHERE r.fleet = f.fleet AND r.state IN ('scheduled', 'running', 'paused') AND ota.fleet_url_problem(f.fleet, l.url) IS NOT NULL
     ORDER BY r.rollout_id LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION USING ERRCODE = '55000',
            MESSAGE = format('rollout %s of %s is %s, and no URL of it can be made from the template: %s', held.rollout_id, held.version, held.state, held.problem),
            HINT = 'Wait until it is over, or cancel it and sign the release anew with a URL that is a plain path behind the host.';
    END IF;
    PERFORM ota.audit('fleet_url_set', NULL, NULL, jsonb_build_object('fleet', f.fleet, 'template', wanted, 'credential', named,
        'former_template', f.url_template, 'former_credential', f.url_credential, 'reason', why));
    PERFORM pg_notify('ota', '');
END
$$;
COMMENT ON FUNCTION ota.set_fleet_url(text, text, text, text) IS 'Set where a fleet''s devices download, from a bucket with pre-signed URLs for example';
