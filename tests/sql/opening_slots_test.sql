-- Slots that devices have from the opening of a stage: who has one, who has not, and that the counters know.
\ir lib/helpers.sql
SELECT no_plan();

CREATE FUNCTION pg_temp.rows_of(id bigint) RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(concat_ws(' ', u.device_id, u.state, u.broker, u.served_stage, CASE WHEN u.granted_at IS NOT NULL THEN 'slot' END), ', ' ORDER BY u.device_id)
      FROM ota.device_update u WHERE u.rollout_id = id $$;
CREATE FUNCTION pg_temp.running(fleet text, version text, plan text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    -- In an emergency one stage is the whole fleet.
    id  bigint := ota.start_rollout(fleet, version, 'free', reason => CASE plan WHEN 'all' THEN 'emergency: all of them' END);
BEGIN
    PERFORM ota.rollout_step(id, 'start', NULL, 'controller');
    RETURN id;
END $$;

SELECT pg_temp.release('1.5.0', 15) AS r15 \gset
SELECT pg_temp.release('2.0.0', 20) AS r20 \gset
SELECT ota.define_plan('free', '[{"label": "a", "percent": 50}, {"label": "b", "percent": 100}]', options => '{"pacing": "none"}');

-- Who
SELECT pg_temp.devices('f', 'dev', 5, '1.0.0');
UPDATE ota.device SET listening = false WHERE device_id = 'dev-2';
UPDATE ota.device SET broker = 'other' WHERE device_id = 'dev-3';
UPDATE ota.device SET gateway = 'hub' WHERE device_id = 'dev-4';
-- dev-5 is being updated by an earlier rollout.
INSERT INTO ota.fleet (fleet) VALUES ('g');
UPDATE ota.device SET fleet = 'g' WHERE device_id = 'dev-5';
SELECT pg_temp.running('g', '1.5.0', 'all') AS g \gset
SELECT ota.controller_open_stage(:g, 1, 1, 1, 10) \g /dev/null
SELECT is(count(*), 1::bigint, 'claimed without a grant') FROM ota.broker_claim('broker', 10);
UPDATE ota.device SET fleet = 'f' WHERE device_id = 'dev-5';
SELECT pg_temp.running('f', '2.0.0', 'all') AS f \gset
SELECT is(ota.controller_open_stage(:f, 1, 5, 5, 5), 5::bigint, 'all join');
SELECT is(pg_temp.rows_of(:f), 'dev-1 pending broker 1 slot, dev-2 pending, dev-3 pending other 1 slot, dev-4 pending, dev-5 pending',
    'a slot at its broker for who listens; not for who is away, behind a gateway or being updated');
SELECT results_eq(format('SELECT in_flight, notified, added FROM ota.rollout_stage WHERE rollout_id = %s', :f), $$ VALUES (2::bigint, 0::bigint, 5::bigint) $$, 'the slots are counted');
SELECT results_eq('SELECT device_id FROM ota.broker_claim(''broker'', 10)', $$ VALUES ('dev-1') $$, 'told by its broker');
SELECT results_eq(format('SELECT in_flight, notified FROM ota.rollout_stage WHERE rollout_id = %s', :f), $$ VALUES (2::bigint, 1::bigint) $$, 'counted once');
SELECT is(ota.controller_grant(:f, 10), 1::bigint, 'the one behind a gateway has its turn as ever');
SELECT ota.halt_rollout(:f, 'test') \g /dev/null
SELECT is(granted_at, NULL, 'a halt takes back the slot that was not used') FROM ota.device_update WHERE rollout_id = :f AND device_id = 'dev-3';
SELECT is_empty('SELECT * FROM ota.broker_claim(''other'', 10)', 'and nobody is told any more');

-- Where something limits the stage nobody has a slot from the beginning.
CREATE FUNCTION pg_temp.slots(fleet text, plan text, slots bigint) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    id  bigint;
BEGIN
    PERFORM pg_temp.devices(fleet, fleet, 4, '1.0.0');
    id := pg_temp.running(fleet, '2.0.0', plan);
    PERFORM ota.controller_open_stage(id, 1, 4, CASE plan WHEN 'free' THEN 2 ELSE 4 END, slots);
    RETURN (SELECT count(u.granted_at) FROM ota.device_update u WHERE u.rollout_id = id);
END $$;
SELECT is(pg_temp.slots('h', 'all', 4), 4::bigint, 'as many as may be');
SELECT is(pg_temp.slots('i', 'all', 3), 0::bigint, 'none when more join than the caller allows');
SELECT is(pg_temp.slots('j', 'all', 0), 0::bigint, 'none when he allows none');
SELECT is(pg_temp.slots('k', 'free', 2), 2::bigint, 'those drawn for a stage of a part of the fleet');
INSERT INTO ota.fleet (fleet, max_per_site) VALUES ('l', 1);
SELECT is(pg_temp.slots('l', 'all', 9), 0::bigint, 'none where sites have a cap');
INSERT INTO ota.fleet (fleet) VALUES ('m');
SELECT ota.add_blackout('m', now() - interval '1 hour', now() + interval '1 hour', 'holiday') \g /dev/null
SELECT is(pg_temp.slots('m', 'free', 9), 0::bigint, 'none in a blackout');

-- Nobody else begins with a slot.
SELECT throws_ok(format('INSERT INTO ota.device_update (rollout_id, device_id, stage, rank, granted_at, served_stage, broker) VALUES (%s, ''x'', 1, 1, now(), 1, ''broker'')', :f),
    '55000', NULL, 'a row with a slot, past the functions');
SELECT is(coalesce(current_setting('ota.opens', true), ''), '', 'what opens is forgotten');

SELECT * FROM finish();
