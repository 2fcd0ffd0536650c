-- Stepping stones: devices below minVersion.
\ir lib/helpers.sql
SELECT no_plan();

SELECT pg_temp.devices('f', 'old', 2, '1.0.0'), pg_temp.devices('f', 'mid', 1, '1.8.0'), pg_temp.devices('f', 'new', 1, '1.9.0'),
       pg_temp.devices('f', 'odd', 1, 'nightly'), pg_temp.devices('f', 'blank', 1, NULL);
UPDATE ota.device SET sequence = CASE version WHEN '1.0.0' THEN 10 WHEN '1.8.0' THEN 18 WHEN '1.9.0' THEN 19 ELSE 0 END;
SELECT pg_temp.release('1.0.0', 10) AS r10, pg_temp.release('1.5.0', 15) AS r15, pg_temp.release('1.8.0', 18) AS r18, pg_temp.release('1.9.0', 19) AS r19,
       pg_temp.release('2.0.0', 30) AS r20, pg_temp.release('1.7.0', 31) AS late \gset
UPDATE ota.release SET min_version = '1.8.0' WHERE release_id = :r20;
CREATE FUNCTION pg_temp.path(runs text DEFAULT '1.0.0', seq bigint DEFAULT 10, hw text DEFAULT '') RETURNS text LANGUAGE sql AS $$
    SELECT (SELECT string_agg(l.version, ' ' ORDER BY x.n) FROM unnest(ota.step_path(r.release_id, 'f', runs, hw, seq)) WITH ORDINALITY AS x (id, n)
              JOIN ota.release l ON l.release_id = x.id)
      FROM ota.release r WHERE r.version = '2.0.0'
$$;

-- Which way -----------------------------------------------------------------------------------------------------------
SELECT is(pg_temp.path(), '1.9.0', 'one step, to the newest that is enough');
SELECT is(pg_temp.path('1.8.0', 18), NULL, 'none is needed');
SELECT is(pg_temp.path('nightly'), NULL, 'from what nobody can compare there is no way');
SELECT is(pg_temp.path('1.0.0', 19), NULL, 'nor for a device that has run a higher sequence');
UPDATE ota.release SET min_version = '1.8.0' WHERE release_id = :r19;
SELECT is(pg_temp.path(), '1.8.0', 'one that may run there');
UPDATE ota.release SET min_version = '1.5.0' WHERE release_id = :r18;
SELECT is(pg_temp.path(), '1.5.0 1.8.0', 'a chain');
UPDATE ota.release SET state = 'revoked' WHERE release_id = :r15;
SELECT is(pg_temp.path(), NULL, 'not over what is revoked');
UPDATE ota.release SET state = 'verified', expires = now() - interval '1 day' WHERE release_id = :r15;
SELECT is(pg_temp.path(), NULL, 'nor what has expired');
UPDATE ota.release SET expires = NULL, not_before = now() + interval '1 day' WHERE release_id = :r15;
SELECT is(pg_temp.path(), NULL, 'nor what is not valid yet');
UPDATE ota.release SET not_before = NULL, fleets = '{g}' WHERE release_id = :r15;
SELECT is(pg_temp.path(), NULL, 'nor what is for other fleets');
UPDATE ota.release SET fleets = '{f}', hardware = '{hw-1}' WHERE release_id = :r15;
SELECT is(pg_temp.path(), NULL, 'nor what is for known hardware when it is unknown');
SELECT is(pg_temp.path(hw => 'hw-1'), '1.5.0 1.8.0', 'for its hardware');
UPDATE ota.release SET hardware = NULL, max_version = '0.9.0' WHERE release_id = :r15;
SELECT is(pg_temp.path(), NULL, 'nor what is not for a version as new');
UPDATE ota.release SET max_version = NULL, fleets = NULL WHERE release_id = :r15;
SELECT is(pg_temp.path('1.0.0', 15), NULL, 'the sequence only grows');
UPDATE ota.release SET max_version = '1.8.5' WHERE release_id = :r20;
SELECT is(pg_temp.path(), '1.5.0 1.8.0', 'up to maxVersion');

-- Who is in, and how ----------------------------------------------------------------------------------------------------
UPDATE ota.release SET max_version = NULL WHERE release_id = :r20;
SELECT results_eq(format('SELECT device_id, code, steps FROM ota.eligible_devices(''f'', %s) ORDER BY 1', :r20), format($$ VALUES
    ('blank-1', 'below_min_version', NULL::bigint[]), ('mid-1', NULL, NULL), ('new-1', NULL, NULL), ('odd-1', 'below_min_version', NULL),
    ('old-1', NULL, ARRAY[%s, %s]::bigint[]), ('old-2', NULL, ARRAY[%1$s, %2$s]) $$, :r15, :r18), 'a device with a way is eligible');
SELECT results_eq('SELECT reason FROM ota.preview_rollout(''f'', ''2.0.0'') WHERE included AND device_id LIKE ''old%''', $$ VALUES ('via 1.5.0, 1.8.0'), ('via 1.5.0, 1.8.0') $$, 'preview says so');
UPDATE ota.release SET expires = now() WHERE release_id = :r20;
SELECT is(count(*), 4::bigint, 'what has expired is reached over no stone') FROM ota.eligible_devices('f', :r20) WHERE code = 'expired';
UPDATE ota.release SET expires = NULL WHERE release_id = :r20;
UPDATE ota.release SET state = 'revoked' WHERE release_id = :r15;
SELECT is(reason, 'runs 1.0.0, below minVersion 1.8.0: needs a stepping stone, and no release is one', 'without a way, why') FROM ota.eligible_devices('f', :r20) WHERE device_id = 'old-1';
UPDATE ota.release SET state = 'verified' WHERE release_id = :r15;

-- What a broker verifies and tells
SELECT ota.define_plan('p', '[{"label": "a", "percent": 50}, {"label": "b", "percent": 100}]', options => '{"pacing": "none"}');
SELECT ota.start_rollout('f', '2.0.0', 'p') AS r \gset
SELECT results_eq('SELECT version FROM ota.broker_releases() ORDER BY sequence', $$ VALUES ('1.0.0'), ('1.5.0'), ('1.8.0'), ('1.9.0'), ('2.0.0') $$, 'brokers verify what may be a stepping stone');
SELECT ota.rollout_step(:r, 'start', NULL, 'controller'), pg_temp.open_stage(:r, 1), pg_temp.open_stage(:r, 2) \g /dev/null
SELECT results_eq('SELECT device_id, release_id FROM ota.broker_claim(''broker'', 100) ORDER BY 1',
    format('VALUES (''mid-1'', %s::bigint), (''new-1'', %1$s), (''old-1'', %s), (''old-2'', %2$s)', :r20, :r15), 'the first stone, or the release itself');
SELECT results_eq('SELECT target_version, step, final_version FROM ota.broker_updates(ARRAY[''old-1'', ''mid-1'']) ORDER BY n', $$ VALUES ('1.5.0', true, '2.0.0'), ('2.0.0', false, '2.0.0') $$, 'what is expected of it');
SELECT results_eq('SELECT device_id, release_id FROM ota.broker_claims(''broker'') ORDER BY 1',
    format('VALUES (''mid-1'', %s::bigint), (''new-1'', %1$s), (''old-1'', %s), (''old-2'', %2$s)', :r20, :r15), 'which is what it would tell again without the database');
SELECT is(detail ->> 'step', '1.5.0', 'written down') FROM ota.event WHERE kind = 'notified' AND device_id = 'old-1';
-- A stone that is revoked is taken back, and the device waits for another one
UPDATE ota.device_update SET state = 'downloading' WHERE rollout_id = :r AND device_id = 'old-2';
SELECT ota.revoke_release('1.5.0', 'burns');
SELECT is(pg_temp.state_of(:r), 'running', 'the rollout goes on');
SELECT results_eq(format('SELECT device_id, state, attempt, recall FROM ota.device_update WHERE rollout_id = %s AND device_id LIKE ''old%%'' ORDER BY 1', :r),
    $$ VALUES ('old-1', 'pending', 2, true), ('old-2', 'downloading', 1, true) $$, 'but its stone is taken back');
SELECT is(version, '1.5.0', 'by its name') FROM ota.broker_recalls('broker', 10) WHERE device_id = 'old-1';
UPDATE ota.release SET state = 'verified' WHERE release_id = :r15;
SELECT ota.controller_grant(:r, 100) \g /dev/null
SELECT ota.broker_claim('broker', 100) \g /dev/null
-- A recall names what it was told of
SELECT ota.halt_rollout(:r, 'x') \g /dev/null
SELECT is(version, '1.5.0', 'a recall names the stone') FROM ota.broker_recalls('broker', 10) WHERE device_id = 'old-1';
-- Half of the way, and the next half
SELECT ota.resume_rollout(:r) \g /dev/null
SELECT is(step_release_id, NULL, 'one that waits again is on no stone') FROM ota.device_update WHERE rollout_id = :r AND device_id = 'old-1';
UPDATE ota.device SET version = '1.5.0', sequence = 15 WHERE device_id = 'old-1';
SELECT ota.controller_grant(:r, 100) \g /dev/null
SELECT results_eq('SELECT device_id, release_id FROM ota.broker_claim(''broker'', 100) WHERE device_id LIKE ''old%'' ORDER BY 1', format('VALUES (''old-1'', %s::bigint)', :r18), 'the next stone');

SELECT * FROM finish();
