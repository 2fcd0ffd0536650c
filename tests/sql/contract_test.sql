-- Every function that a user calls refuses bad input: at least three kinds, each with a message and a hint, and changes nothing then.
\ir lib/helpers.sql
SELECT no_plan();

SELECT pg_temp.devices('f', 'dev', 3, '1.0.0');
SELECT pg_temp.release('1.5.0', 15), pg_temp.release('1.6.0', 16) \g /dev/null
SELECT ota.revoke_release('1.6.0', 'bad') \g /dev/null
SELECT ota.start_rollout('f', '1.5.0') AS r \gset

CREATE TEMP TABLE bad (function text, given text);
INSERT INTO bad VALUES
    ('add_release', 'NULL::jsonb'), ('add_release', '''[]''::jsonb'), ('add_release', '''{"payloadType": "x"}''::jsonb'),
    ('add_release', '''latest'', ''https://h/f'', repeat(''ab'', 32), 1, ''\x00'''), ('add_release', '''2.0.0'', ''ftp://h'', repeat(''ab'', 32), 1, ''\x00'''),
    ('add_release', '''2.0.0'', ''https://h/f'', ''zz'', 1, ''\x00'''), ('add_release', '''2.0.0'', ''https://h/f'', repeat(''ab'', 32), 0, ''\x00'''),
    ('revoke_release', 'NULL, ''x'''), ('revoke_release', '''latest'', ''x'''), ('revoke_release', '''9.9.9'', ''x'''), ('revoke_release', '''1.5.0'', '' '''),
    ('revoke_release', '''1.6.0'', ''again'''),
    ('define_plan', '''a b'', ''[]'''), ('define_plan', '''p'', ''[]'''), ('define_plan', '''p'', ''[{"label": "a", "percent": 100}]'''),
    ('define_plan', '''p'', ''[{"label": "a", "percent": 5}, {"label": "b", "percent": 100}]'', 2'),
    ('start_rollout', 'NULL, ''1.5.0'''), ('start_rollout', '''nowhere'', ''1.5.0'''), ('start_rollout', '''f'', ''latest'''), ('start_rollout', '''f'', ''9.9.9'''),
    ('start_rollout', '''f'', ''1.6.0'''), ('start_rollout', '''f'', ''1.5.0'', ''nope'''), ('start_rollout', '''f'', ''1.5.0'', start_at => ''infinity'''),
    ('preview_rollout', 'NULL, ''1.5.0'''), ('preview_rollout', '''nowhere'', ''1.5.0'''), ('preview_rollout', '''f'', ''latest'''), ('preview_rollout', '''f'', ''1.5.0'', ''nope'''),
    ('pause_rollout', 'NULL, ''x'''), ('pause_rollout', '-1, ''x'''), ('pause_rollout', ':r, repeat(''x'', 1025)'),
    ('resume_rollout', 'NULL, ''x'''), ('resume_rollout', '-1, ''x'''), ('resume_rollout', ':r, ''x'''),
    ('halt_rollout', 'NULL, ''x'''), ('halt_rollout', '-1, ''x'''), ('halt_rollout', ':r, NULL'), ('halt_rollout', ':r, '' '''),
    ('cancel_rollout', 'NULL, ''x'''), ('cancel_rollout', '-1, ''x'''), ('cancel_rollout', ':r, NULL'),
    ('advance_rollout', 'NULL, ''x'''), ('advance_rollout', '-1, ''x'''), ('advance_rollout', ':r, ''x'''),
    ('retry_device', 'NULL, ''dev-1'', ''x'''), ('retry_device', '-1, ''dev-1'', ''x'''), ('retry_device', ':r, ''a/b'', ''x'''), ('retry_device', ':r, ''dev-1'', NULL'),
    ('assign_device', 'NULL, ''f'''), ('assign_device', '''dev-1'', NULL'), ('assign_device', '''dev-1'', ''a/b'''), ('assign_device', '''a#b'', ''f'''),
    ('pin_device', 'NULL, ''1.5.0'', ''x'''), ('pin_device', '''nobody'', ''1.5.0'', ''x'''), ('pin_device', '''dev-1'', ''latest'', ''x'''), ('pin_device', '''dev-1'', ''1.5.0'', NULL'),
    ('unpin_device', 'NULL'), ('unpin_device', '''nobody'''), ('unpin_device', '''dev-1'''),
    ('pin_fleet', 'NULL, ''1.5.0'', ''x'''), ('pin_fleet', '''nowhere'', ''1.5.0'', ''x'''), ('pin_fleet', '''f'', ''9.9.9'', ''x'''), ('pin_fleet', '''f'', ''1.5.0'', NULL'),
    ('pin_fleet', '''f'', ''1.5.0'', ''x'', ''nope'''),
    ('unpin_fleet', 'NULL'), ('unpin_fleet', '''nowhere'''), ('unpin_fleet', '''f'''),
    ('set_window', '''f'', ''CET'', ARRAY[''mon''], ''01:00'', ''02:00'''), ('set_window', '''f'', ''UTC'', ARRAY[''someday''], ''01:00'', ''02:00'''),
    ('set_window', '''f'', ''UTC'', ARRAY[''mon''], ''01:00'', ''01:00'''), ('set_window', '''nowhere'', ''UTC'', ARRAY[''mon''], ''01:00'', ''02:00'''),
    ('clear_windows', 'NULL'), ('clear_windows', '''nowhere'''), ('clear_windows', '''a/b'''),
    ('start_fallback', 'NULL, ''x'''), ('start_fallback', ':r, NULL'), ('start_fallback', ':r, ''x'', ''old'''),
    ('unquarantine_device', 'NULL, ''x'''), ('unquarantine_device', '''nobody'', ''x'''), ('unquarantine_device', '''dev-1'', NULL'),
    ('set_quarantine', 'NULL, 3, ''x'''), ('set_quarantine', '''f'', 0, ''x'''), ('set_quarantine', '''f'', 3, NULL');
UPDATE bad SET given = replace(given, ':r', :'r');

CREATE FUNCTION pg_temp.refusal(call text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    code text;
    said text;
    hint text;
BEGIN
    EXECUTE call;
    RETURN 'accepted';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE, said = MESSAGE_TEXT, hint = PG_EXCEPTION_HINT;
    -- 42501 is a refusal of the person, 55000 of the moment, the others of the argument.
    RETURN CASE WHEN code NOT IN ('22023', 'P0002', '55000', '23505') THEN 'unexpected ' || code || ': ' || said
                WHEN hint = '' THEN 'no hint: ' || said ELSE 'refused' END;
END
$$;
CREATE FUNCTION pg_temp.world() RETURNS text LANGUAGE sql AS $$
    SELECT md5(concat((SELECT string_agg(d::text, ',' ORDER BY d.device_id) FROM ota.device d), (SELECT string_agg(f::text, ',' ORDER BY f.fleet) FROM ota.fleet f),
        (SELECT string_agg(r::text, ',' ORDER BY r.rollout_id) FROM ota.rollout r), (SELECT string_agg(l::text, ',' ORDER BY l.release_id) FROM ota.release l),
        (SELECT string_agg(p::text, ',' ORDER BY p.plan) FROM ota.plan p), (SELECT count(*)::text FROM ota.event), (SELECT count(*)::text FROM ota.fleet_window)))
$$;
SELECT pg_temp.world() AS before \gset
SELECT is(pg_temp.refusal(format('SELECT ota.%s(%s)', function, given)), 'refused', format('%s(%s)', function, left(given, 60))) FROM bad;
SELECT is(pg_temp.world(), :'before', 'nothing was changed');
SELECT is_empty($$
    SELECT f FROM unnest(ARRAY['add_release', 'revoke_release', 'define_plan', 'start_rollout', 'preview_rollout', 'pause_rollout', 'resume_rollout', 'halt_rollout',
        'cancel_rollout', 'advance_rollout', 'retry_device', 'assign_device', 'pin_device', 'unpin_device', 'pin_fleet', 'unpin_fleet', 'set_window', 'clear_windows']) AS f
     WHERE (SELECT count(*) FROM bad b WHERE b.function = f) < 3$$, 'each function with three kinds at least');

SELECT * FROM finish();
