-- ota.eligible_devices gives the answers of plugin/rules/eligibility.c: the same cases, moved to the present.
\ir lib/helpers.sql
SELECT no_plan();

\set cases `cat :root/tests/unit/cases/eligibility.cases`
CREATE TEMP TABLE elig AS
SELECT n, f[1] AS code, f[2] AS version, f[3]::bigint AS sequence, nullif(f[4], '-') AS hardware, nullif(f[5], '-') AS fleets,
       nullif(f[6], '-') AS min, nullif(f[7], '-') AS max, nullif(f[8], '-')::bigint AS not_before, nullif(f[9], '-')::bigint AS expires,
       nullif(f[10], '-') AS d_fleet, nullif(f[11], '-') AS d_hardware, nullif(f[12], '-') AS d_version, f[13]::bigint AS d_sequence,
       f[14]::bigint AS now
  FROM string_to_table(:'cases', E'\n') WITH ORDINALITY AS l (line, n), regexp_split_to_array(btrim(line), '\s+') AS f
 WHERE line !~ '^\s*(#|$)';
SELECT cmp_ok(count(*), '>', 30::bigint, 'there are cases') FROM elig;

CREATE FUNCTION pg_temp.ask(c elig) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    id      bigint;
    answer  record;
BEGIN
    DELETE FROM ota.device;
    DELETE FROM ota.release;
    -- A device always has a fleet; "unknown" is the one that no release names.
    INSERT INTO ota.fleet (fleet) VALUES (coalesce(c.d_fleet, 'default')) ON CONFLICT DO NOTHING;
    INSERT INTO ota.device (device_id, fleet, hardware, version, sequence)
    VALUES ('d', coalesce(c.d_fleet, 'default'), c.d_hardware, c.d_version, c.d_sequence);
    INSERT INTO ota.release (version, sequence, url, sha256, size, signature, hardware, fleets, min_version, max_version, not_before, expires)
    VALUES (c.version, c.sequence, 'http://x', repeat('0', 64), 1, '\x00', string_to_array(c.hardware, ','), string_to_array(c.fleets, ','),
            c.min, c.max, now() + (c.not_before - c.now) * interval '1 ms', now() + (c.expires - c.now) * interval '1 ms')
    RETURNING release_id INTO id;
    SELECT * INTO STRICT answer FROM ota.eligible_devices(coalesce(c.d_fleet, 'default'), id);
    IF (answer.code IS NULL) <> (answer.reason IS NULL) OR answer.reason = '' THEN
        RAISE EXCEPTION 'code % with reason %', answer.code, answer.reason;
    END IF;
    RETURN coalesce(answer.code, 'eligible');
END
$$;
SELECT is(pg_temp.ask(c), c.code, format('line %s: %s', c.n, c.code)) FROM elig AS c ORDER BY c.n;

-- What only the database knows: pins, and the words.
DELETE FROM ota.device;
DELETE FROM ota.release;
INSERT INTO ota.fleet (fleet) VALUES ('f'), ('pinned'), ('other');
UPDATE ota.fleet SET pinned_version = '1.0.0' WHERE fleet = 'pinned';
SELECT pg_temp.release('2.0.0', 20, '{"hardware": ["hw1"], "minVersion": "1.0.0", "maxVersion": "1.9.0"}') AS rel \gset
INSERT INTO ota.device (device_id, fleet, hardware, version, sequence, pinned_version) VALUES
    ('a-fine', 'f', 'hw1', '1.0.0', 0, NULL), ('b-there', 'f', 'hw1', '2.0.0', 20, NULL), ('c-pinned', 'f', 'hw1', '1.0.0', 0, '1.0.0'),
    ('d-pinned-to-it', 'f', 'hw1', '1.0.0', 0, '2.0.0'), ('e-hw2', 'f', 'hw2', '1.0.0', 0, NULL), ('f-hw', 'f', NULL, '1.0.0', 0, NULL),
    ('g-newer', 'f', 'hw1', '1.0.0', 21, NULL), ('h-old', 'f', 'hw1', '0.9.0', 0, NULL), ('i-new', 'f', 'hw1', '1.9.1', 0, NULL),
    ('j-unknown', 'f', 'hw1', NULL, 0, NULL), ('k-odd', 'f', 'hw1', 'trunk', 0, NULL), ('l-other-fleet', 'other', 'hw1', '1.0.0', 0, NULL),
    ('m-fleet-pinned', 'pinned', 'hw1', '1.0.0', 0, NULL), ('n-own-pin', 'pinned', 'hw1', '1.0.0', 0, '2.0.0');
SELECT results_eq(format('SELECT device_id, reason FROM ota.eligible_devices(''f'', %s) ORDER BY 1', :rel), $$ VALUES
    ('a-fine', NULL), ('b-there', 'already runs it'), ('c-pinned', 'pinned to 1.0.0'), ('d-pinned-to-it', NULL),
    ('e-hw2', 'the release is not for hardware hw2'), ('f-hw', 'its hardware is unknown, and the release names some'),
    ('g-newer', 'has run sequence 21, the release has 20: it would be a rollback'),
    ('h-old', 'runs 0.9.0, below minVersion 1.0.0: needs a stepping stone, and no release is one'), ('i-new', 'runs 1.9.1, above maxVersion 1.9.0'),
    ('j-unknown', 'its version is unknown, and the release has bounds'),
    ('k-odd', 'runs trunk, which is not a Semantic Version, and the release has bounds') $$, 'the reasons in words');
SELECT results_eq(format('SELECT device_id, reason FROM ota.eligible_devices(''pinned'', %s) ORDER BY 1', :rel), $$ VALUES
    ('m-fleet-pinned', 'pinned to 1.0.0'), ('n-own-pin', NULL) $$, 'a device''s own pin is above its fleet''s');
SELECT results_eq(format('SELECT device_id FROM ota.eligible_devices(''f'', %s, ARRAY[''h-old'', ''a-fine'', ''l-other-fleet'', ''zz'']) ORDER BY 1', :rel),
    ARRAY['a-fine', 'h-old'], 'only the devices asked for, and only of the fleet');
SELECT is_empty(format('SELECT * FROM ota.eligible_devices(''nowhere'', %s)', :rel), 'no fleet, no rows');
SELECT is_empty('SELECT * FROM ota.eligible_devices(''f'', 999999)', 'no release, no rows');

SELECT * FROM finish();
