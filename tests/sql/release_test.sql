-- ota.add_release in both forms, ota.revoke_release.
\ir lib/helpers.sql
SELECT no_plan();

-- Base64 ---------------------------------------------------------------------------------------------------------------
SELECT is(ota.base64_decode(text), bytes, 'base64 ' || to_json(text))
  FROM (VALUES ('', '\x'::bytea), ('AA==', '\x00'), ('AA', '\x00'), ('+/8=', '\xfbff'), ('-_8', '\xfbff'), ('AAAA', '\x000000'),
               ('A', NULL), ('AA=', NULL), ('AAA==', NULL), ('====', NULL), ('AB==', NULL), ('AA==AA==', NULL), ('+_8', NULL),
               ('AA AA', NULL), (E'AAAA\n', NULL), ('Ä', NULL)) AS c (text, bytes);
SELECT is(ota.base64_decode(rtrim(translate(encode(b, 'base64'), E'+/\n', '-_'), '=')), b, 'what goes in comes out')
  FROM (SELECT decode(string_agg(lpad(to_hex(i), 2, '0'), ''), 'hex') AS b FROM generate_series(0, 255) AS i) x;

-- An envelope ----------------------------------------------------------------------------------------------------------
SELECT ota.add_release(pg_temp.envelope(pg_temp.manifest('1.5.0', 5, '{"hardware": ["hw1", "hw2"], "fleets": ["f"], "minVersion": "1.0.0",
    "maxVersion": "1.9.0", "notBefore": "2026-01-31T02:10:04Z", "expires": "2030-01-31T02:10:04.5+01:00", "releaseNotes": "hello",
    "unheard-of": true}')::text)) AS r \gset
SELECT results_eq(format('SELECT version, sequence, url, sha256, size, release_notes, hardware, fleets, min_version, max_version, not_before,
        expires, state, submitted_by, signature FROM ota.release WHERE release_id = %s', :r),
    $$ VALUES ('1.5.0'::text, 5::bigint, 'https://cdn.example.com/firmware/1.5.0.bin'::text, repeat('ab', 32), 1000::bigint, 'hello'::text,
        ARRAY['hw1', 'hw2'], ARRAY['f'], '1.0.0'::text, '1.9.0'::text, '2026-01-31 02:10:04+00'::timestamptz,
        '2030-01-31 01:10:04.5+00'::timestamptz, 'submitted'::text, current_setting('session_authorization'), NULL::bytea) $$, 'the manifest''s members are in the columns');
SELECT results_eq('SELECT detail ->> ''version'', detail ->> ''by'' FROM ota.event WHERE kind = ''release_added''',
    format('VALUES (''1.5.0'', %L)', session_user), 'who submitted what is in the audit log');
SELECT is(ota.add_release((SELECT envelope FROM ota.release WHERE release_id = :r)), :r::bigint, 'the same envelope again: the same release');
SELECT is(count(*), 1::bigint, 'and no second row or event') FROM ota.event WHERE kind = 'release_added';
SELECT lives_ok($$ SELECT ota.add_release(jsonb_set(pg_temp.envelope('x'), '{payload}', to_jsonb(
    rtrim(translate(encode(convert_to(pg_temp.manifest('1.5.1', 6, '{"releaseNotes": "??>>~~ü"}')::text, 'UTF8'), 'base64'), E'+/\n', '-_'), '=')))) $$,
    'URL-safe base64 without padding');
SELECT is(release_notes, '??>>~~ü', 'decoded as UTF-8') FROM ota.release WHERE version = '1.5.1';

SELECT throws_ok(format('SELECT ota.add_release(%s)', given), '22023', message, message)
  FROM (VALUES
    ('NULL', 'the envelope is null'),
    ('''[]''', 'the envelope is a JSON array'),
    ('''{}''', 'the envelope has no payloadType'),
    ('''{"payloadType": "text/plain"}''', 'payloadType is "text/plain"'),
    ('pg_temp.envelope(''{}'') - ''payload''', 'the envelope has no payload'),
    ('pg_temp.envelope(''{}'') || ''{"payload": 7}''', 'payload is a JSON number'),
    ('pg_temp.envelope(''{}'') - ''signatures''', 'the envelope has no signatures'),
    ('pg_temp.envelope(''{}'') || ''{"signatures": []}''', 'the envelope has 0 signatures'),
    ('pg_temp.envelope(''{}'') || ''{"signatures": [{"keyid": "a"}]}''', 'a signature of the envelope has no base64 in its "sig"'),
    ('pg_temp.envelope(''{}'') || ''{"signatures": [{"sig": "%%"}]}''', 'a signature of the envelope has no base64 in its "sig"'),
    ('pg_temp.envelope(''{}'') || ''{"payload": "a b"}''', 'payload "a b" is not base64'),
    ('pg_temp.envelope(''{'')', 'the payload is not JSON: invalid input syntax for type json'),
    ('pg_temp.envelope(''{}'') || ''{"payload": "_w"}''', 'the payload is not JSON: invalid byte sequence for encoding "UTF8": 0xff'),
    ('pg_temp.envelope(''7'')', 'the payload is a JSON number'),
    ('pg_temp.envelope(''{"a": "\u0000"}'')', 'the payload is not JSON: unsupported Unicode escape sequence'),
    ('pg_temp.envelope(repeat(''['', 200000))', 'the envelope has 266797 bytes')) AS c (given, message);
SELECT throws_ok(format('SELECT ota.add_release(pg_temp.envelope((pg_temp.manifest(''2.0.0'', 20) - %L || %L)::text))', leave, more),
        '22023', message, message)
  FROM (VALUES
    ('schema', '{}', 'the manifest has no member "schema"'),
    ('', '{"schema": 2}', 'member "schema" of the manifest is 2'),
    ('', '{"schema": "1"}', 'member "schema" of the manifest is "1"'),
    ('version', '{}', 'the manifest has no member "version"'),
    ('', '{"version": 2}', 'member "version" of the manifest is 2'),
    ('', '{"version": "v2"}', 'version "v2" is not a Semantic Version'),
    ('', '{"version": ""}', 'the version is missing'),
    ('sequence', '{}', 'the manifest has no member "sequence"'),
    ('', '{"sequence": 0}', 'member "sequence" of the manifest is 0'),
    ('', '{"sequence": -1}', 'member "sequence" of the manifest is -1'),
    ('', '{"sequence": 1.5}', 'member "sequence" of the manifest is 1.5'),
    ('', '{"sequence": "7"}', 'member "sequence" of the manifest is "7"'),
    ('', '{"sequence": 9007199254740992}', 'member "sequence" of the manifest is 9007199254740992'),
    ('url', '{}', 'the manifest has no member "url"'),
    ('', '{"url": "ftp://x"}', 'url "ftp://x" is not acceptable'),
    ('', '{"url": "https://"}', 'url "https://" is not acceptable'),
    ('', '{"url": "https://a b"}', 'url "https://a b" is not acceptable'),
    ('', '{"url": "https://bücher.example"}', 'url "https://bücher.example" is not acceptable'),
    ('sha256', '{}', 'the manifest has no member "sha256"'),
    ('', '{"sha256": "abc"}', 'sha256 "abc" is not a SHA-256 digest'),
    ('size', '{}', 'the manifest has no member "size"'),
    ('', '{"size": 0}', 'member "size" of the manifest is 0'),
    ('', '{"hardware": "hw1"}', 'member "hardware" of the manifest is "hw1"'),
    ('', '{"hardware": []}', 'member "hardware" of the manifest is []'),
    ('', '{"fleets": [1]}', 'member "fleets" of the manifest is [1]'),
    ('', '{"fleets": [""]}', 'member "fleets" of the manifest is [""]'),
    ('', '{"fleets": null}', 'member "fleets" of the manifest is null'),
    ('', '{"minVersion": "1"}', 'minVersion "1" is not a Semantic Version'),
    ('', '{"maxVersion": "1"}', 'maxVersion "1" is not a Semantic Version'),
    ('', '{"minVersion": "2.0.0", "maxVersion": "1.9.9"}', 'minVersion 2.0.0 is above maxVersion 1.9.9'),
    ('', '{"expires": "tomorrow"}', 'member "expires" of the manifest is "tomorrow"'),
    ('', '{"expires": "2026-02-30T00:00:00Z"}', 'member "expires" of the manifest is "2026-02-30T00:00:00Z"'),
    ('', '{"expires": 1}', 'member "expires" of the manifest is 1'),
    ('', '{"notBefore": "2026-01-31T00:00:00"}', 'member "notBefore" of the manifest is "2026-01-31T00:00:00"'),
    ('', '{"notBefore": "2027-01-01T00:00:00Z", "expires": "2026-01-01T00:00:00Z"}',
        'notBefore 2027-01-01T00:00:00Z is not before expires 2026-01-01T00:00:00Z'),
    ('', '{"releaseNotes": 1}', 'member "releaseNotes" of the manifest is 1')) AS c (leave, more, message);
SELECT throws_ok('SELECT ota.add_release(pg_temp.envelope((pg_temp.manifest(''2.0.0'', 5))::text))', '23505',
    format('sequence 5 is already that of release %s, version 1.5.0', :r), 'a sequence is used once');
SELECT throws_ok('SELECT ota.add_release(pg_temp.envelope((pg_temp.manifest(''1.5.0'', 7))::text))', '23505',
    format('version 1.5.0 is already release %s, which is submitted', :r), 'a version names one binary');
SELECT is(count(*), 2::bigint, 'errors leave nothing behind') FROM ota.release;

UPDATE ota.release SET state = 'rejected', reason = 'no trusted key' WHERE version = '1.5.0';
SELECT isnt(ota.add_release((SELECT envelope FROM ota.release WHERE release_id = :r)), :r::bigint, 'a rejected envelope may be submitted again, as a new release');
SELECT is(count(*), 2::bigint, 'both are kept') FROM ota.release WHERE version = '1.5.0';

-- A detached signature -------------------------------------------------------------------------------------------------
SELECT ota.add_release('2.0.0', 'http://cdn/2.bin', repeat('AB', 32), 7, '\x3045', NULL, 'notes') AS r2 \gset
SELECT results_eq(format('SELECT sequence, sha256, signature, envelope, release_notes, state FROM ota.release WHERE release_id = %s', :r2),
    $$ VALUES (7::bigint, repeat('ab', 32), '\x3045'::bytea, NULL::jsonb, 'notes'::text, 'submitted'::text) $$, 'the next sequence, the digest in lower case');
SELECT is(ota.add_release('2.0.0', 'http://cdn/2.bin', repeat('ab', 32), 7, '\x3045', NULL, 'notes'), :r2::bigint, 'the same again: the same release');
SELECT is(sequence, 10::bigint, 'a sequence of one''s own') FROM ota.release
 WHERE release_id = ota.add_release('2.1.0', 'http://cdn/2.bin', repeat('ab', 32), 7, '\x3045', sequence => 10);
SELECT throws_ok(format('SELECT ota.add_release(%s)', given), code, message, message)
  FROM (VALUES
    ('''2.0.0'', ''http://cdn/2.bin'', repeat(''cd'', 32), 7, ''\x3045''', '23505', format('version 2.0.0 is already release %s, which is submitted', :r2)),
    ('''3.0.0'', ''http://cdn/2.bin'', repeat(''cd'', 32), 7, ''\x3045'', 7', '23505', format('sequence 7 is already that of release %s, version 2.0.0', :r2)),
    ('''3.0.0'', ''http://cdn/2.bin'', repeat(''cd'', 32), 7, NULL', '22023', 'the signature is missing'),
    ('''3.0.0'', ''http://cdn/2.bin'', repeat(''cd'', 32), 7, ''''', '22023', 'the signature has 0 bytes'),
    ('''3.0.0'', NULL, repeat(''cd'', 32), 7, ''\x3045''', '22023', 'the url is missing'),
    ('''3.0.0'', ''http://cdn/2.bin'', NULL, 7, ''\x3045''', '22023', 'the sha256 is missing'),
    ('''3.0.0'', ''http://cdn/2.bin'', repeat(''cd'', 32), 0, ''\x3045''', '22023', 'size 0 is out of range'),
    ('''3.0.0'', ''http://cdn/2.bin'', repeat(''cd'', 32), NULL, ''\x3045''', '22023', 'the size is missing'),
    ('NULL, ''http://cdn/2.bin'', repeat(''cd'', 32), 7, ''\x3045''', '22023', 'the version is missing'),
    ('''3.0.0'', ''http://cdn/2.bin'', repeat(''cd'', 32), 7, ''\x3045'', 0', '22023', 'sequence 0 is out of range'),
    ('''3.0.0'', ''http://cdn/2.bin'', repeat(''cd'', 32), 7, ''\x3045'', NULL, repeat(''x'', 16385)', '22023', 'the release notes have 16385 bytes'))
    AS c (given, code, message);

-- Revoke ---------------------------------------------------------------------------------------------------------------
SELECT pg_temp.release('4.0.0', 40) AS r4 \gset
SELECT ota.start_rollout('default', '4.0.0') AS done \gset
SELECT ota.rollout_step(:done, 'start', NULL, 'controller'), ota.rollout_step(:done, 'complete', NULL, 'controller') \g /dev/null
INSERT INTO ota.fleet (fleet) VALUES ('f'), ('g'), ('h');
SELECT ota.start_rollout('f', '4.0.0', start_at => now() + interval '1 day') AS scheduled, ota.start_rollout('g', '4.0.0') AS running,
       ota.start_rollout('h', '4.0.0') AS cancelled \gset
SELECT ota.rollout_step(:running, 'start', NULL, 'controller'), ota.cancel_rollout(:cancelled, 'no') \g /dev/null
SELECT throws_ok(format('SELECT ota.revoke_release(%s)', given), code, message, message)
  FROM (VALUES ('''4.0.0'', NULL', '22023', 'the reason is missing'), ('''4.0.0'', ''  ''', '22023', 'the reason is missing'),
               ('''9.0.0'', ''x''', 'P0002', 'there is no release 9.0.0'), ('''x'', ''x''', '22023', 'version "x" is not a Semantic Version'),
               ('NULL, ''x''', '22023', 'the version is missing')) AS c (given, code, message);
SELECT lives_ok($$ SELECT ota.revoke_release('4.0.0', 'it burns') $$, 'revoke');
SELECT results_eq('SELECT state, reason FROM ota.release WHERE version = ''4.0.0''', $$ VALUES ('revoked'::text, 'it burns'::text) $$, 'the release is revoked');
SELECT results_eq(format('SELECT state, reason FROM ota.rollout WHERE rollout_id IN (%s, %s, %s)', :done, :scheduled, :running),
    $$ SELECT 'halted', 'release revoked: it burns' FROM generate_series(1, 3) $$, 'completed, scheduled and running rollouts are halted');
SELECT is(pg_temp.state_of(:cancelled), 'cancelled', 'one that has ended stays as it is');
SELECT is(count(*), 1::bigint, 'written down') FROM ota.event
 WHERE kind = 'release_revoked' AND detail ->> 'reason' = 'it burns' AND detail ->> 'by' = session_user;
SELECT throws_ok($$ SELECT ota.revoke_release('4.0.0', 'again') $$, '55000', 'release 4.0.0 is already revoked: it burns', 'only once');
SELECT throws_ok(format('SELECT ota.resume_rollout(%s)', :running), '55000',
    format('rollout %s cannot resume: release 4.0.0 is revoked: it burns', :running), 'a rollout of a revoked release cannot resume');
SELECT is(pg_temp.state_of(:running), 'halted', 'and stays halted');

-- Both at once
SELECT ota.add_release(pg_temp.envelope((pg_temp.manifest('1.6.0', 106))::text), '\x3045') AS r16 \gset
SELECT results_eq(format('SELECT signature, envelope IS NOT NULL, state FROM ota.release WHERE release_id = %s', :r16),
    $$ VALUES ('\x3045'::bytea, true, 'submitted'::text) $$, 'an envelope and a signature over the file');
SELECT throws_ok($$SELECT ota.add_release(pg_temp.envelope((pg_temp.manifest('1.6.0', 106))::text))$$, '23505', NULL, 'which the envelope alone is not the same as');
SELECT throws_ok($$SELECT ota.add_release(pg_temp.envelope((pg_temp.manifest('1.7.0', 108))::text), NULL)$$, '22023', 'the signature is missing', 'the signature has to be there');
SELECT throws_ok($$SELECT ota.add_release('{}', '\x3045')$$, '22023', 'the envelope has no payloadType', 'and the envelope');

SELECT * FROM finish();
