-- ota.actor: in whose name a broker acts, and who cannot pretend to.
\ir lib/helpers.sql
SELECT no_plan();

SELECT is(ota.actor(), session_user::text, 'by itself: who logged in');
SELECT set_config('ota.actor', '', false) \g /dev/null
SELECT is(ota.actor(), session_user::text, 'an empty setting is none');
SELECT set_config('ota.actor', 'alice', false) \g /dev/null
SELECT is(ota.actor(), 'alice', 'a role that may do what brokers do acts for whom it names');

SELECT ota.define_plan('eyes', '[{"label": "a", "percent": 50}, {"label": "b", "percent": 100}]', options => '{"approval": true}') \g /dev/null
SELECT is(defined_by, 'alice', 'plans say so') FROM ota.plan WHERE plan = 'eyes';
SELECT is(detail ->> 'by', 'alice', 'the audit log too') FROM ota.event WHERE kind = 'plan_defined' AND detail ->> 'plan' = 'eyes';
SELECT is(detail ->> 'via', session_user::text, 'and whose login it was') FROM ota.event WHERE kind = 'plan_defined' AND detail ->> 'plan' = 'eyes';
SELECT ota.define_plan('eyes', '[{"label": "a", "percent": 50}, {"label": "b", "percent": 100}]', options => '{"approval": true}') \g /dev/null

INSERT INTO ota.release (version, sequence, url, sha256, size, signature, state)
VALUES ('1.5.0', 15, 'https://example.com/1.5.0', repeat('a', 64), 1, '\x00', 'verified');
SELECT ota.start_rollout('default', '1.5.0', 'eyes') AS id \gset
SELECT is(created_by, 'alice', 'rollouts too') FROM ota.rollout WHERE rollout_id = :id;
SELECT ota.rollout_step(:id, 'start', NULL, 'controller'), ota.controller_open_stage(:id, 1, 0, 0) \g /dev/null
SELECT throws_ok(format('SELECT ota.advance_rollout(%s)', :id), '42501', format('rollout %s was started by "alice", who cannot approve it', :id),
    'approval: not by who started it');
SELECT set_config('ota.actor', 'bob', false) \g /dev/null
SELECT lives_ok(format('SELECT ota.advance_rollout(%s)', :id), 'approval: by a second person');
SELECT is(detail ->> 'by', 'bob', 'who is named') FROM ota.event WHERE rollout_id = :id AND kind = 'advance_requested';
SELECT set_config('ota.actor', 'carol', false) \g /dev/null
SELECT ota.pause_rollout(:id, 'lunch') \g /dev/null
SELECT is(detail ->> 'by', 'carol', 'steps say so') FROM ota.event WHERE rollout_id = :id AND detail ->> 'to' = 'paused';

-- An operator with rights of his own, but not a broker's.
CREATE ROLE ota_test_operator IN ROLE ota_operator;
CREATE ROLE ota_test_broker IN ROLE ota_plugin;
SET SESSION AUTHORIZATION ota_test_operator;
SELECT set_config('ota.actor', 'alice', false), ota.assign_device('dev-1', 'default') \g /dev/null
SET SESSION AUTHORIZATION DEFAULT;
SELECT is(detail ->> 'by', 'ota_test_operator', 'nobody else can name himself') FROM ota.event WHERE device_id = 'dev-1';
SELECT ok(NOT detail ? 'via', 'and acts for nobody') FROM ota.event WHERE device_id = 'dev-1';
SET SESSION AUTHORIZATION ota_test_broker;
SELECT set_config('ota.actor', 'alice', false), ota.assign_device('dev-2', 'default') \g /dev/null
SET SESSION AUTHORIZATION DEFAULT;
SELECT is(detail ->> 'by' || ' ' || (detail ->> 'via'), 'alice ota_test_broker', 'a broker that is only a member of ota_plugin may')
  FROM ota.event WHERE device_id = 'dev-2';
DROP ROLE ota_test_operator, ota_test_broker;

SELECT * FROM finish();
