-- ota.retry_device and ota.assign_device.
\ir lib/helpers.sql
SELECT no_plan();

SELECT pg_temp.release('1.5.0', 15) \g /dev/null
SELECT pg_temp.devices('f', 'dev', 8, '1.0.0');
SELECT ota.define_plan('all', '[{"label": "a", "percent": 50}, {"label": "b", "percent": 100}]');
SELECT ota.start_rollout('f', '1.5.0', 'all') AS r \gset
SELECT ota.rollout_step(:r, 'start', NULL, 'controller'), pg_temp.open_stage(:r, 1), pg_temp.open_stage(:r, 2) \g /dev/null
UPDATE ota.device_update u
   SET state = (ARRAY['failed', 'rolled_back', 'timed_out', 'rejected', 'cancelled', 'succeeded', 'downloading', 'pending'])[i],
       error = 'E', notified_at = now(), finished_at = now(), retries_used = 2, attempts_failed = CASE WHEN i <= 3 THEN 3 ELSE 0 END, ready = i = 8
  FROM (SELECT 'dev-' || i AS id, i FROM generate_series(1, 8) AS i) x WHERE u.device_id = x.id;

-- Retry ----------------------------------------------------------------------------------------------------------------
SELECT throws_ok(format('SELECT ota.retry_device(%s)', given), code, message, message) FROM (VALUES
    (format('%s, ''dev-1'', NULL', :r), '22023', 'the reason is missing'),
    (format('%s, ''dev-1'', '' ''', :r), '22023', 'the reason is missing'),
    (format('%s, NULL, ''x''', :r), '22023', 'the device is missing'),
    (format('%s, ''a/b'', ''x''', :r), '22023', '"a/b" cannot name a device'),
    ('99999, ''dev-1'', ''x''', 'P0002', 'there is no rollout 99999'),
    ('NULL, ''dev-1'', ''x''', 'P0002', 'there is no rollout (null)'),
    (format('%s, ''dev-9'', ''x''', :r), 'P0002', format('device "dev-9" is not in rollout %s', :r)),
    (format('%s, ''dev-6'', ''x''', :r), '55000', format('device "dev-6" is succeeded in rollout %s', :r)),
    (format('%s, ''dev-7'', ''x''', :r), '55000', format('device "dev-7" is downloading in rollout %s', :r)),
    (format('%s, ''dev-8'', ''x''', :r), '55000', format('device "dev-8" is pending in rollout %s', :r))) AS c (given, code, message);
UPDATE ota.device SET listening = false WHERE device_id = 'dev-2';
-- What a resumed halt leaves: all failures forgiven.
UPDATE ota.rollout_stage SET forgiven_failed = failed, pacing_bad = attempts_failed WHERE rollout_id = :r;
SELECT lives_ok(format('SELECT ota.retry_device(%s, ''dev-%s'', ''new battery'')', :r, i), 'retry dev-' || i) FROM generate_series(1, 5) AS i;
SELECT results_eq(format('SELECT device_id, state, error, attempt, retries_used, attempts_failed, ready, granted_at, notified_at, finished_at, deadline, not_before
      FROM ota.device_update WHERE rollout_id = %s AND attempt > 1 ORDER BY 1', :r), $$
    SELECT 'dev-' || i, 'pending', NULL, 2, 0, 0, i <> 2, NULL::timestamptz, NULL::timestamptz, NULL::timestamptz, NULL::timestamptz, NULL::timestamptz
      FROM generate_series(1, 5) AS i $$, 'in the queue again, ready when its device is listening');
SELECT is_empty(format('SELECT * FROM ota.rollout_stage WHERE rollout_id = %s AND (forgiven_failed > failed OR pacing_bad > attempts_failed OR failed <> 0)', :r),
    'the stage''s figures fit');
SELECT results_eq(format('SELECT detail ->> ''from'', detail ->> ''error'', detail ->> ''reason'', detail ->> ''by'' FROM ota.event WHERE kind = ''device_retry'' AND device_id = ''dev-3'''),
    format($$ VALUES ('timed_out', 'E', 'new battery', %L) $$, session_user), 'written down');
SELECT ota.halt_rollout(:r, 'x') \g /dev/null
SELECT throws_ok(format('SELECT ota.retry_device(%s, ''dev-1'', ''x'')', :r), '55000', format('rollout %s is halted: a device cannot be retried', :r), 'not in a halted rollout');
SELECT ota.resume_rollout(:r) \g /dev/null

-- Assign ---------------------------------------------------------------------------------------------------------------
SELECT throws_ok(format('SELECT ota.assign_device(%s)', given), '22023', message, message) FROM (VALUES
    ('NULL, ''f''', 'the device is missing'), ('''d'', NULL', 'the fleet is missing'), ('''d'', ''''', 'the fleet is missing'),
    ('''d+'', ''f''', '"d+" cannot name a device'), ('''d'', ''f#''', '"f#" cannot name a fleet'), ('''d'', ''$f''', '"$f" cannot name a fleet'),
    ('repeat(''d'', 129), ''f''', format('"%s" cannot name a device', repeat('d', 129))), ('''d'' || chr(7), ''f''', '"d' || chr(7) || '" cannot name a device')) AS c (given, message);
SELECT is_empty('SELECT * FROM ota.device WHERE device_id !~ ''^dev-''', 'errors leave nothing behind');
SELECT ota.assign_device('new', 'brand-new');
SELECT results_eq('SELECT fleet::text, fleet_from, connected FROM ota.device WHERE device_id = ''new''', $$ VALUES ('brand-new', 'operator', false) $$, 'device and fleet are made');
SELECT results_eq('SELECT kind, device_id, detail ->> ''to'', detail ->> ''from'' FROM ota.event WHERE kind IN (''fleet_added'', ''device_assigned'') ORDER BY event_id', $$ VALUES
    ('fleet_added', NULL, NULL, NULL), ('device_assigned', 'new', 'brand-new', NULL) $$, 'both are written down');
UPDATE ota.device_update SET state = 'notified', ready = false WHERE device_id = 'dev-1';
UPDATE ota.device_update SET state = 'applying', ready = false WHERE device_id = 'dev-3';
SELECT ota.assign_device('dev-' || i, 'elsewhere') FROM unnest(ARRAY[1, 3, 4, 6, 7]) AS i \g /dev/null
SELECT results_eq(format('SELECT device_id, state, error, recall, ready FROM ota.device_update WHERE rollout_id = %s AND device_id = ANY (''{dev-1,dev-3,dev-4,dev-6,dev-7}'') ORDER BY 1', :r), $$ VALUES
    ('dev-1', 'cancelled', 'REASSIGNED', true, false), ('dev-3', 'applying', NULL, false, false), ('dev-4', 'cancelled', 'REASSIGNED', false, false),
    ('dev-6', 'succeeded', 'E', false, false), ('dev-7', 'downloading', 'E', true, false) $$, 'who waits is out, who was told is recalled, who applies runs on');
SELECT ota.assign_device('dev-5', 'f');
SELECT is(state, 'pending', 'the same fleet again changes nothing in its rollouts') FROM ota.device_update WHERE rollout_id = :r AND device_id = 'dev-5';
SELECT throws_ok(format('SELECT ota.retry_device(%s, ''dev-1'', ''x'')', :r), '55000', format('device "dev-1" is in fleet "elsewhere", rollout %s is of "f"', :r), 'a device that left is not retried');
SELECT ota.halt_rollout(:r, 'x'), ota.resume_rollout(:r) \g /dev/null
SELECT is(state, 'cancelled', 'nor does a resume bring it back') FROM ota.device_update WHERE rollout_id = :r AND device_id = 'dev-1';
SELECT ota.assign_device('new', 'f');
SELECT is(state, 'pending', 'a newcomer joins a rollout that is open to the whole fleet') FROM ota.device_update WHERE rollout_id = :r AND device_id = 'new';

-- Audit ----------------------------------------------------------------------------------------------------------------
SELECT ota.audit('test', 'd', 7, '{"by": "me", "x": 1}'), ota.audit('test', NULL, NULL, NULL) \g /dev/null
SELECT results_eq('SELECT device_id, rollout_id, detail FROM ota.event WHERE kind = ''test'' ORDER BY event_id', format($$ VALUES
    ('d', 7::bigint, '{"by": "me", "x": 1}'::jsonb), (NULL, NULL, jsonb_build_object('by', %L::text)) $$, session_user), 'ota.audit adds who when nobody said it');

SELECT * FROM finish();
