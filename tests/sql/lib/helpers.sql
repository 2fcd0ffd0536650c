-- Included by the tests: quiet output and what several of them need.
\set ON_ERROR_STOP on
\set QUIET on
\pset format unaligned
\pset tuples_only on
\pset pager off
SET client_min_messages = warning;
SET search_path = public, pg_temp;

-- An envelope around a manifest; its signature is not looked at by the database.
CREATE FUNCTION pg_temp.envelope(manifest text) RETURNS jsonb LANGUAGE sql AS $$
    SELECT jsonb_build_object('payloadType', 'application/vnd.mosquitto-ota.manifest+json',
        'payload', translate(encode(convert_to(manifest, 'UTF8'), 'base64'), E'\n', ''),
        'signatures', '[{"keyid": "aa", "sig": "MEUCIQ=="}]'::jsonb);
$$;

CREATE FUNCTION pg_temp.manifest(version text, sequence bigint, more jsonb DEFAULT '{}') RETURNS jsonb LANGUAGE sql AS $$
    SELECT jsonb_build_object('schema', 1, 'version', version, 'sequence', sequence, 'size', 1000,
        'url', 'https://cdn.example.com/firmware/' || version || '.bin', 'sha256', repeat('ab', 32)) || more;
$$;

-- A release as it is after a broker has verified it.
CREATE FUNCTION pg_temp.release(version text, sequence bigint, more jsonb DEFAULT '{}') RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    id  bigint := ota.add_release(pg_temp.envelope(pg_temp.manifest(version, sequence, more)::text));
BEGIN
    UPDATE ota.release SET state = 'verified', verified_at = now(), verified_by = 'broker' WHERE release_id = id;
    RETURN id;
END
$$;

-- n devices name-1 .. name-n of a fleet, online unless said otherwise.
CREATE FUNCTION pg_temp.devices(in_fleet text, name text, n integer, runs text, online boolean DEFAULT true) RETURNS void LANGUAGE sql AS $$
    INSERT INTO ota.fleet (fleet) VALUES (in_fleet) ON CONFLICT DO NOTHING;
    INSERT INTO ota.device (device_id, fleet, version, connected, listening, broker)
    SELECT name || '-' || i, in_fleet, runs, online, online, 'broker' FROM generate_series(1, n) AS i;
$$;

-- What the controller does to open a stage and to give everybody in it a slot.
CREATE FUNCTION pg_temp.open_stage(id bigint, n integer) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    share  numeric := (SELECT s.percent FROM ota.rollout_stage s WHERE s.rollout_id = id AND s.stage = n);
    base   bigint := (SELECT e.eligible FROM ota.controller_eligible(id) e);
BEGIN
    PERFORM ota.controller_open_stage(id, n, base, ceil(share * base * 0.01)::bigint);
    PERFORM ota.controller_grant(id, 1000000);
END
$$;

CREATE FUNCTION pg_temp.state_of(id bigint) RETURNS text LANGUAGE sql AS $$ SELECT state FROM ota.rollout WHERE rollout_id = id $$;
