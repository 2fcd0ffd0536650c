-- ota.push_release: what becomes of an update that a back end publishes to a whole fleet.
\ir lib/helpers.sql
SELECT no_plan();

SELECT pg_temp.devices('north', 'dev', 10, '1.0.0') \g /dev/null
SELECT pg_temp.release('1.0.0', 1) \g /dev/null
CREATE FUNCTION pg_temp.signed(version text, sequence bigint, more jsonb DEFAULT '{}') RETURNS jsonb LANGUAGE sql AS $$
    SELECT pg_temp.envelope(pg_temp.manifest(version, sequence, more)::text);
$$;
CREATE FUNCTION pg_temp.url(version text) RETURNS text LANGUAGE sql AS $$ SELECT 'https://cdn.example.com/firmware/' || version || '.bin' $$;

-- Before and after the verification -------------------------------------------------------------------------------------
SELECT ota.push_release('north', '1.5.0', pg_temp.url('1.5.0'), repeat('AB', 32), 1000, manifest => pg_temp.signed('1.5.0', 5),
    topic => 'fleet/north/ota/available', client => 'backend') AS r \gset
SELECT results_eq(format('SELECT r.state, r.fleet::text, l.version, l.state, r.plan, r.reason, r.next_action FROM ota.rollout r JOIN ota.release l USING (release_id) WHERE rollout_id = %s', :r),
    $$ VALUES ('scheduled', 'north', '1.5.0', 'submitted', 'standard', 'published to fleet/north/ota/available', 'starts when a broker has verified the release') $$,
    'it is a rollout by the plan "standard" that waits');
SELECT is(count(*), 4::bigint, 'with the plan''s stages') FROM ota.rollout_stage WHERE rollout_id = :r;
SELECT results_eq('SELECT detail ->> ''client'', detail ->> ''topic'', detail ->> ''by'' FROM ota.event WHERE kind = ''pushed''',
    format($$ VALUES ('backend', 'fleet/north/ota/available', %L) $$, session_user), 'who pushed it is on record');
SELECT is(due, false, 'not due before the verification') FROM ota.controller_read() WHERE rollout_id = :r;
SELECT ota.broker_release_verdict('b', release_id, true, NULL, 'k', NULL, NULL, NULL, NULL, NULL, NULL) FROM ota.release WHERE version = '1.5.0' \g /dev/null
SELECT is(due, true, 'due after it') FROM ota.controller_read() WHERE rollout_id = :r;

-- The same again ----------------------------------------------------------------------------------------------------------
SELECT is(ota.push_release('north', manifest => pg_temp.signed('1.5.0', 5), client => 'backend'), :r::bigint, 'the same again: the same rollout');
SELECT is(ota.push_release('north', manifest => pg_temp.signed('1.5.0', 5), client => 'backend'), :r::bigint, 'and again');
SELECT is(count(*), 1::bigint, 'one rollout') FROM ota.rollout WHERE fleet = 'north';
SELECT results_eq('SELECT rollout_id, detail ->> ''client'' FROM ota.event WHERE kind = ''pushed_again''',
    format($$ VALUES (%s::bigint, 'backend') $$, :r), 'written down, once a minute');
SELECT ota.rollout_step(:r, 'start', 'test', NULL) \g /dev/null
SELECT is(ota.push_release('north', manifest => pg_temp.signed('1.5.0', 5)), :r::bigint, 'while it runs, too');

-- A newer one waits for its verification before it takes the fleet over ----------------------------------------------------
SELECT ota.push_release('north', manifest => pg_temp.signed('1.6.0', 6), topic => 'fleet/north/ota/available', client => 'backend') AS n \gset
SELECT is(pg_temp.state_of(:r), 'running', 'what is not verified supersedes nothing');
SELECT ota.broker_release_verdict('b', release_id, false, 'no trusted key has signed it', NULL, NULL, NULL, NULL, NULL, NULL, NULL)
  FROM ota.release WHERE version = '1.6.0' \g /dev/null
SELECT results_eq(format('SELECT state, reason FROM ota.rollout WHERE rollout_id = %s', :n),
    $$ VALUES ('halted', 'release 1.6.0 was rejected: no trusted key has signed it') $$, 'a rejected one never starts');
SELECT is(pg_temp.state_of(:r), 'running', 'and leaves the other alone');
SELECT results_eq('SELECT broker, client, topic, reason FROM ota.denied',
    $$ VALUES ('b', 'backend', 'fleet/north/ota/available', '1.6.0 was published and is not released: no trusted key has signed it') $$,
    'who pushed it finds why in ota.denied');
SELECT ota.push_release('north', manifest => pg_temp.signed('1.6.0', 6, '{"releaseNotes": "signed this time"}')) AS m \gset
SELECT isnt(:m::bigint, :n::bigint, 'signed properly it is another release');
SELECT ota.broker_release_verdict('b', release_id, true, NULL, 'k', NULL, NULL, NULL, NULL, NULL, NULL)
  FROM ota.release WHERE version = '1.6.0' AND state = 'submitted' \g /dev/null
SELECT ota.rollout_step(:m, 'start', 'test', NULL) \g /dev/null
SELECT is(pg_temp.state_of(:r) || ' ' || pg_temp.state_of(:m), 'superseded running', 'started, it takes the fleet over');

-- What was stopped stays stopped -------------------------------------------------------------------------------------------
SELECT ota.rollout_step(:m, 'halt', 'it kills devices', NULL) \g /dev/null
SELECT throws_like('SELECT ota.push_release(''north'', manifest => pg_temp.signed(''1.6.0'', 6, ''{"releaseNotes": "signed this time"}''))',
    'rollout % of 1.6.0 to fleet "north" is halted: it kills devices', 'a back end does not override a halt');
SELECT throws_like('SELECT ota.push_release(''north'', manifest => pg_temp.signed(''1.5.0'', 5))',
    'rollout % of 1.5.0 to fleet "north" is superseded: %', 'nor go back');

-- With a signature over the file -------------------------------------------------------------------------------------------
SELECT pg_temp.devices('south', 'sea', 3, '1.0.0') \g /dev/null
SELECT ota.push_release('south', '2.0.0', pg_temp.url('2.0.0'), repeat('ab', 32), 1000, signature => '\x0102', release_notes => 'notes') AS a \gset
SELECT results_eq('SELECT version, sequence, signature, envelope, release_notes FROM ota.release WHERE version = ''2.0.0''',
    $$ VALUES ('2.0.0'::text, 7::bigint, '\x0102'::bytea, NULL::jsonb, 'notes'::text) $$, 'a release with a detached signature');
SELECT is(ota.push_release('south', '2.0.0', pg_temp.url('2.0.0'), repeat('ab', 32), 1000, signature => '\x0102', release_notes => 'notes'), :a::bigint, 'the same again');

-- A verified release -------------------------------------------------------------------------------------------------------
SELECT pg_temp.release('2.1.0', 8) \g /dev/null
SELECT ota.push_release('south', manifest => (SELECT envelope FROM ota.release WHERE version = '2.1.0')) AS v \gset
SELECT is(due, true, 'of a release that is verified already it is due at once') FROM ota.controller_read() WHERE rollout_id = :v;
SELECT is(pg_temp.state_of(:a), 'superseded', 'and supersedes as any other');

-- Refused, and nothing is left behind ---------------------------------------------------------------------------------------
SELECT count(*) AS releases FROM ota.release \gset
SELECT count(*) AS rollouts FROM ota.rollout \gset
SELECT throws_like(format('SELECT ota.push_release(%s)', given), message, message)
  FROM (VALUES
    ('''nowhere'', manifest => pg_temp.signed(''3.0.0'', 30)', 'there is no fleet "nowhere"'),
    ('''a/b'', manifest => pg_temp.signed(''3.0.0'', 30)', '"a/b" cannot name a fleet'),
    ('NULL, manifest => pg_temp.signed(''3.0.0'', 30)', 'the fleet is missing'),
    ('''north''', 'the update is not signed'),
    ('''north'', ''3.0.0'', ''http://h/f'', repeat(''ab'', 32), 1', 'the update is not signed'),
    ('''north'', ''3.0.1'', manifest => pg_temp.signed(''3.0.0'', 30)', 'member "version" is "3.0.1", in the signed manifest it is "3.0.0"'),
    ('''north'', url => ''http://evil/f'', manifest => pg_temp.signed(''3.0.0'', 30)', 'member "url" is "http://evil/f", in the signed manifest it is %'),
    ('''north'', sha256 => repeat(''cd'', 32), manifest => pg_temp.signed(''3.0.0'', 30)', 'member "sha256" is %'),
    ('''north'', size => 1001, manifest => pg_temp.signed(''3.0.0'', 30)', 'member "size" is "1001", in the signed manifest it is "1000"'),
    ('''north'', manifest => ''{}''', 'the envelope has no payloadType'),
    ('''north'', ''3.0.0'', NULL, repeat(''ab'', 32), 1, ''\x01''', 'the url is missing'),
    ('''north'', manifest => pg_temp.signed(''3.0.0'', 30), topic => repeat(''x'', 1025)', 'topic or client has more than 1024 bytes')) AS c (given, message);
SELECT is(count(*), :releases::bigint, 'no release is left behind') FROM ota.release;
SELECT is(count(*), :rollouts::bigint, 'no rollout either') FROM ota.rollout;
SELECT * FROM finish();
