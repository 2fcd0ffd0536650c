-- A stage whose devices' rows are notified from its opening, and told page by page: nobody is told who should not be, nobody is lost, and
-- nobody counts as told who was not.
\ir lib/helpers.sql
SELECT no_plan();
CREATE EXTENSION dblink;
SELECT format('dbname=%s host=%s port=%s user=%s', current_database(), current_setting('unix_socket_directories'), current_setting('port'), current_user) AS here \gset
SELECT dblink_connect('other', :'here') \g /dev/null

CREATE FUNCTION pg_temp.rows_of(id bigint) RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(concat_ws(' ', u.device_id, u.state, CASE WHEN u.state = 'notified' THEN u.broker END, CASE WHEN u.ready THEN 'ready' END,
               CASE WHEN u.state = 'pending' AND u.granted_at IS NOT NULL THEN 'slot' END, CASE WHEN u.notified_at IS NOT NULL THEN 'told' END,
               CASE WHEN u.recall THEN 'recall' END), ', ' ORDER BY u.device_id)
      FROM ota.device_update u WHERE u.rollout_id = id $$;
-- What the trigger would have counted, had it seen all rows; null: it has.
CREATE FUNCTION pg_temp.miscounted(id bigint) RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(format('stage %s: %s %s, rows %s %s', s.stage, s.notified, s.in_flight, u.notified, u.in_flight), '; ')
      FROM ota.rollout_stage s,
           LATERAL (SELECT count(x.notified_at) AS notified,
                           count(*) FILTER (WHERE x.state IN ('notified', 'downloading', 'verifying', 'applying', 'rebooting')
                                               OR x.state = 'pending' AND x.granted_at IS NOT NULL) AS in_flight
                      FROM ota.device_update x WHERE x.rollout_id = s.rollout_id AND x.served_stage = s.stage) u
     WHERE s.rollout_id = id AND (s.notified, s.in_flight) <> (u.notified, u.in_flight) $$;
CREATE FUNCTION pg_temp.page(n integer, who text DEFAULT 'broker') RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(p.device_id, ' ' ORDER BY p.deadline_ms, p.device_id) FROM ota.broker_hand_out(who, n) p $$;
-- The few seconds for a stage's pages would be over before its test is, on a machine that is busy.
CREATE FUNCTION pg_temp.unhurried() RETURNS void LANGUAGE sql AS $$
    UPDATE ota.hand_out SET until = now() + interval '1 day' $$;
CREATE FUNCTION pg_temp.opened(fleet text, version text, plan text DEFAULT 'free', direct text DEFAULT 'broker',
    reason text DEFAULT 'emergency: all of them') RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    id  bigint := ota.start_rollout(fleet, version, plan, reason => reason);
    n   bigint := (SELECT count(*) FROM ota.device d WHERE d.fleet = opened.fleet);
BEGIN
    PERFORM ota.rollout_step(id, 'start', NULL, 'controller');
    PERFORM ota.controller_open_stage(id, 1, n, n, 100, direct);
    PERFORM pg_temp.unhurried();
    RETURN id;
END $$;

SELECT pg_temp.release('1.5.0', 15) AS r15 \gset
SELECT pg_temp.release('2.0.0', 20) AS r20 \gset
SELECT pg_temp.release('3.0.0', 30, '{"minVersion": "1.0.0"}') AS r30 \gset
SELECT ota.define_plan('free', '[{"label": "some", "percent": 50}, {"label": "all", "percent": 100}]', options => '{"pacing": "none"}');
SELECT ota.define_plan('half', '[{"label": "a", "percent": 50}, {"label": "b", "percent": 100}]', options => '{"pacing": "none"}');
SELECT ota.define_plan('short', '[{"label": "some", "percent": 50}, {"label": "all", "percent": 100}]', options => '{"pacing": "none"}', download_timeout => '20 seconds');

-- Who is notified from the beginning.
SELECT pg_temp.devices('f', 'dev', 7, '1.0.0');
UPDATE ota.device SET listening = false WHERE device_id = 'dev-2';
UPDATE ota.device SET broker = 'other' WHERE device_id = 'dev-3';
UPDATE ota.device SET gateway = 'hub' WHERE device_id = 'dev-4';
UPDATE ota.device SET session = 40 + substr(device_id, 5)::integer WHERE fleet = 'f';
SELECT pg_temp.opened('f', '2.0.0') AS f \gset
SELECT is(pg_temp.rows_of(:f), 'dev-1 notified broker told, dev-2 pending, dev-3 pending ready slot, dev-4 pending ready, dev-5 notified broker told, dev-6 notified broker told, dev-7 notified broker told',
    'who listens at this broker; a slot at another one; neither for who is away or behind a gateway');
SELECT is(pg_temp.miscounted(:f), NULL, 'the opening counts them');
SELECT results_eq(format('SELECT told_session, boots, boots_since = notified_at, deadline - notified_at >= interval ''1 hour'', deadline - notified_at < interval ''61 minutes'' FROM ota.device_update WHERE rollout_id = %s AND device_id = ''dev-5''', :f),
    $$ VALUES (45::bigint, 0, true, true, true) $$, 'as a claim would have written it');
SELECT is_empty(format('SELECT * FROM ota.device_update WHERE rollout_id = %s AND deadline <> date_trunc(''milliseconds'', deadline)', :f), 'deadlines in whole milliseconds');
UPDATE ota.device_update SET deadline = to_timestamp((extract(epoch FROM deadline) * 1000)::bigint / 1000.0) WHERE rollout_id = :f;
SELECT results_eq('SELECT u.device_id FROM ota.hand_out h JOIN ota.device_update u ON ota.is_untold(u, h) ORDER BY 1',
    $$ VALUES ('dev-1'), ('dev-5'), ('dev-6'), ('dev-7') $$, 'a deadline that a batch writes again, in milliseconds, stays where it was');
SELECT is_empty('SELECT * FROM ota.broker_claim(''broker'', 10)', 'nobody claims them');
SELECT is_empty('SELECT * FROM ota.broker_claims(''broker'')', 'nor are they kept as told');
SELECT is(pg_temp.page(10, 'other'), NULL, 'another broker hands out nothing');
SELECT is(pg_temp.page(1), 'dev-1', 'a page');
SELECT results_eq('SELECT device_id FROM ota.broker_claims(''broker'')', $$ VALUES ('dev-1') $$, 'who was in it has been told');
-- dev-5 leaves, dev-6 leaves and is back, dev-7 reports in between.
UPDATE ota.device SET connected = false, listening = false WHERE device_id = 'dev-5';
UPDATE ota.device SET session = 99 WHERE device_id = 'dev-6';
UPDATE ota.device_update SET retell_at = now() + interval '2 seconds', boots = 1 WHERE rollout_id = :f AND device_id = 'dev-6';
UPDATE ota.device_update SET state = 'downloading' WHERE rollout_id = :f AND device_id = 'dev-7';
SELECT results_eq('SELECT device_id, attempt, label, version, again, via, said FROM ota.broker_hand_out(''broker'', 10) ORDER BY 1', $$ VALUES
    ('dev-5', 1, 'emergency', '1.0.0', false, NULL, '{"attempt": 1, "stage": 1, "again": false}'),
    ('dev-6', 1, 'emergency', '1.0.0', false, NULL, '{"attempt": 1, "stage": 1, "again": false}') $$, 'the broker finds out that the one is gone; who is back is told');
SELECT results_eq(format('SELECT told_session, boots, retell_at FROM ota.device_update WHERE rollout_id = %s AND device_id = ''dev-6''', :f),
    $$ VALUES (99::bigint, 0, NULL::timestamptz) $$, 'in its session, and not once more');
SELECT is_empty('SELECT * FROM ota.hand_out', 'that was the last page');
SELECT is(pg_temp.page(10), NULL, 'and there is none behind it');
SELECT is(pg_temp.miscounted(:f), NULL, 'the counters are right');
SELECT results_eq('SELECT device_id FROM ota.broker_claim(''other'', 10)', $$ VALUES ('dev-3') $$, 'the other broker claims as ever');
SELECT is_empty('SELECT * FROM ota.broker_claim(''broker'', 10)', 'nobody is claimed who has been told');

-- A halt between two pages.
SELECT pg_temp.devices('h', 'h', 5, '1.0.0');
SELECT pg_temp.opened('h', '2.0.0') AS h \gset
SELECT is(pg_temp.page(2), 'h-1 h-2', 'two are told');
UPDATE ota.device SET listening = false WHERE device_id = 'h-5';
SELECT ota.halt_rollout(:h, 'smoke') \g /dev/null
SELECT is(pg_temp.rows_of(:h), 'h-1 cancelled told recall, h-2 cancelled told recall, h-3 pending ready, h-4 pending ready, h-5 pending',
    'they are recalled, nobody else is, nor counts as told');
SELECT is(pg_temp.miscounted(:h), NULL, 'the counters are right after a halt');
SELECT is(notified, 2::bigint, 'two are counted') FROM ota.rollout_stage WHERE rollout_id = :h;
SELECT is(pg_temp.page(10), NULL, 'nobody is told after a halt');
SELECT is_empty('SELECT * FROM ota.broker_claim(''broker'', 10)', 'nor claimed');
SELECT ota.resume_rollout(:h, 'no smoke') \g /dev/null
SELECT is(ota.controller_grant(:h, 10), 4::bigint, 'all who listen have their turn');
SELECT results_eq('SELECT device_id, attempt FROM ota.broker_claim(''broker'', 10) ORDER BY 1', $$ VALUES ('h-1', 2), ('h-2', 2), ('h-3', 1), ('h-4', 1) $$, 'and are told, the others for the first time');
SELECT is(pg_temp.miscounted(:h), NULL, 'the counters are right after a resume');

-- A pause, a cancellation.
SELECT pg_temp.devices('p', 'p', 3, '1.0.0');
SELECT pg_temp.opened('p', '2.0.0') AS p \gset
SELECT is(pg_temp.page(1), 'p-1', 'one is told');
SELECT ota.pause_rollout(:p, 'lunch') \g /dev/null
SELECT is(pg_temp.rows_of(:p), 'p-1 notified broker told, p-2 pending ready, p-3 pending ready', 'a pause: one goes on, the others wait');
SELECT is(pg_temp.page(10), NULL, 'and are not told');
SELECT ota.resume_rollout(:p, 'lunch is over') \g /dev/null
SELECT is(ota.controller_grant(:p, 10), 2::bigint, 'until it is over');
SELECT ota.cancel_rollout(:p, 'not today') \g /dev/null
SELECT pg_temp.devices('c', 'c', 3, '1.0.0');
SELECT pg_temp.opened('c', '2.0.0') AS c \gset
SELECT is(pg_temp.page(1), 'c-1', 'one is told');
SELECT ota.cancel_rollout(:c, 'not today') \g /dev/null
SELECT is(pg_temp.rows_of(:c), 'c-1 cancelled told recall, c-2 cancelled, c-3 cancelled', 'a cancellation recalls one');
SELECT is(pg_temp.page(10), NULL, 'and ends the others');
SELECT is(pg_temp.miscounted(:c), NULL, 'the counters are right after a cancellation');
-- Another rollout takes over.
SELECT pg_temp.devices('s', 's', 3, '1.0.0');
SELECT pg_temp.opened('s', '1.5.0') AS s1 \gset
SELECT is(pg_temp.page(1), 's-1', 'one is told');
SELECT pg_temp.opened('s', '2.0.0') AS s2 \gset
SELECT is(pg_temp.rows_of(:s1), 's-1 cancelled told recall, s-2 cancelled, s-3 cancelled', 'the earlier one is over');
SELECT is(pg_temp.page(10), 's-1 s-2 s-3', 'and all are told of the next');

-- The window closes.
SELECT pg_temp.devices('w', 'w', 3, '1.0.0');
SELECT pg_temp.opened('w', '2.0.0', reason => NULL) AS w \gset
SELECT is(pg_temp.page(1), 'w-1', 'one is told');
SELECT ota.add_blackout('w', now() - interval '1 hour', now() + interval '1 hour', 'holiday') AS blackout \gset
SELECT is(pg_temp.page(10), NULL, 'nobody in a blackout');
SELECT is(pg_temp.rows_of(:w), 'w-1 notified broker told, w-2 pending ready slot, w-3 pending ready slot', 'the others keep their slots');
SELECT is_empty('SELECT * FROM ota.broker_claim(''broker'', 10)', 'but are not claimed');
SELECT ota.remove_blackout(:blackout, 'it is over') \g /dev/null
SELECT results_eq('SELECT device_id FROM ota.broker_claim(''broker'', 10) ORDER BY 1', $$ VALUES ('w-2'), ('w-3') $$, 'until it is over');
SELECT is(pg_temp.miscounted(:w), NULL, 'the counters are right after a blackout');

-- It takes too long; the broker is gone.
SELECT pg_temp.devices('l', 'l', 3, '1.0.0');
SELECT pg_temp.opened('l', '2.0.0') AS l \gset
SELECT is(pg_temp.page(1), 'l-1', 'one is told');
SELECT is(ota.controller_hand_back(), NULL, 'there is time left');
UPDATE ota.hand_out SET until = now() - interval '1 second';
SELECT is(ota.controller_hand_back(), 2::bigint, 'the controller gives back what took too long');
SELECT is(ota.controller_hand_back(), NULL, 'once');
SELECT is(pg_temp.page(10), NULL, 'the broker hears of it');
SELECT results_eq('SELECT device_id FROM ota.broker_claim(''broker'', 10) ORDER BY 1', $$ VALUES ('l-2'), ('l-3') $$, 'and claims them');
SELECT pg_temp.devices('m', 'm', 3, '1.0.0');
SELECT pg_temp.opened('m', '2.0.0') AS m \gset
UPDATE ota.hand_out SET until = now() - interval '1 second';
SELECT is(pg_temp.page(10), NULL, 'a page that is late is none');
SELECT is(pg_temp.rows_of(:m), 'm-1 pending ready slot, m-2 pending ready slot, m-3 pending ready slot', 'they are claimed, too');
SELECT ota.broker_sessions_end('broker') \g /dev/null
UPDATE ota.device SET connected = true, listening = true WHERE device_id ~ '^[a-z]-';
SELECT pg_temp.devices('b', 'b', 4, '1.0.0');
SELECT pg_temp.opened('b', '2.0.0') AS b \gset
SELECT is(pg_temp.page(1), 'b-1', 'one is told');
UPDATE ota.device SET broker = 'other' WHERE device_id = 'b-4';
UPDATE ota.device_update SET retell_at = now() WHERE rollout_id = :b AND device_id = 'b-4';
SELECT is(ota.broker_hand_back('other'), NULL, 'another broker has nothing to give back');
SELECT is(ota.broker_hand_back('broker'), 3::bigint, 'the broker comes back without knowing whom it told');
SELECT is(pg_temp.rows_of(:b), 'b-1 notified broker told, b-2 pending ready slot, b-3 pending ready slot, b-4 pending ready', 'whom it did not is to be claimed, or waits for a slot where he is now');
SELECT ota.broker_hello('broker', 'test', true) \g /dev/null
SELECT is(pg_temp.rows_of(:b), 'b-1 notified broker told, b-2 pending, b-3 pending, b-4 pending ready', 'and its sessions are over');
SELECT is(pg_temp.miscounted(:b), NULL, 'the counters are right');
UPDATE ota.device SET connected = true, listening = true, broker = 'broker' WHERE device_id ~ '^[a-z]-';

-- A page whose answer is lost with the connection.
SELECT pg_temp.devices('a', 'a', 2, '1.0.0');
SELECT ota.broker_alive('broker') \g /dev/null
SELECT pg_temp.opened('a', '2.0.0') AS a \gset
SELECT is(pg_temp.page(1), 'a-1', 'one is in a page');
SELECT is(ota.broker_hand_back('broker'), 1::bigint, 'the other is pending');
SELECT ota.broker_hello('broker', 'test', false) \g /dev/null
SELECT is(string_agg(device_id, ' '), 'a-1', 'the gate looks whether it has told the one') FROM ota.device_update WHERE rollout_id = :a AND retell_at IS NOT NULL;

-- Part of a fleet: the same.
SELECT pg_temp.devices('d', 'd', 6, '1.0.0');
SELECT ota.start_rollout('d', '2.0.0', 'half') AS d \gset
SELECT ota.rollout_step(:d, 'start', NULL, 'controller') \g /dev/null
SELECT is(ota.controller_open_stage(:d, 1, 6, 3, 100, 'broker'), 3::bigint, 'half of them join');
SELECT pg_temp.unhurried() \g /dev/null
SELECT is(array_length(string_to_array(pg_temp.page(10), ' '), 1), 3, 'and are told');
SELECT is(ota.controller_open_stage(:d, 2, 6, 6, 100, 'broker'), 3::bigint, 'so do the others');
SELECT pg_temp.unhurried() \g /dev/null
-- Rows that no stage asks for.
UPDATE ota.device_update u SET rank = rank + 1 WHERE u.rollout_id = :d AND u.stage = 2 AND u.device_id = (SELECT min(x.device_id) FROM ota.device_update x WHERE x.rollout_id = :d AND x.stage = 2);
SELECT is(array_length(string_to_array(pg_temp.page(10), ' '), 1), 2, 'but not one whose rank is another''s');
SELECT is_empty(format('SELECT * FROM ota.broker_claim(''broker'', 10) WHERE rollout_id = %s', :d), 'which the claim does not tell either');
SELECT is(count(*), 1::bigint, 'but records') FROM ota.device_update WHERE rollout_id = :d AND error = 'NOT_IN_STAGE';
SELECT is(pg_temp.miscounted(:d), NULL, 'the counters are right after all that');

-- Where a claim has something to decide there is a slot.
SELECT pg_temp.devices('i', 'i', 2, '1.0.0');
SELECT pg_temp.opened('i', '3.0.0') AS i \gset
SELECT is(pg_temp.rows_of(:i), 'i-1 pending ready slot, i-2 pending ready slot', 'a minVersion: perhaps stepping stones');
SELECT pg_temp.devices('j', 'j', 2, '1.0.0');
SELECT pg_temp.opened('j', '2.0.0', 'short') AS j \gset
SELECT is(pg_temp.rows_of(:j), 'j-1 pending ready slot, j-2 pending ready slot', 'a short time to answer');
SELECT pg_temp.devices('k', 'k', 2, '1.0.0');
SELECT pg_temp.opened('k', '2.0.0', direct => NULL) AS k \gset
SELECT is(pg_temp.rows_of(:k), 'k-1 pending ready slot, k-2 pending ready slot', 'nobody hands out');
SELECT is_empty('SELECT * FROM ota.hand_out', 'nothing is being handed out');

-- Nobody else begins as notified.
SELECT throws_ok(format('INSERT INTO ota.device_update (rollout_id, device_id, stage, rank, state) VALUES (%s, ''x'', 1, 1, ''notified'')', :k),
    '55000', NULL, 'a row that is notified, past the functions');

-- Who is about to tell holds the rollout against a halt.
CREATE FUNCTION pg_temp.is_held(id bigint) RETURNS boolean LANGUAGE sql AS $$
    SELECT NOT EXISTS (SELECT FROM dblink('other', format('SELECT 1 FROM ota.rollout WHERE rollout_id = %s FOR NO KEY UPDATE SKIP LOCKED', id))
                                   AS t (x integer)) $$;
SELECT pg_temp.devices('e', 'e', 2, '1.0.0');
SELECT pg_temp.opened('e', '2.0.0', direct => NULL) AS e \gset
SELECT ok(NOT pg_temp.is_held(:e), 'nobody is being claimed');
BEGIN;
SELECT is(count(*), 2::bigint, 'two are claimed') FROM ota.broker_claim('broker', 100) WHERE rollout_id = :e;
SELECT ok(pg_temp.is_held(:e), 'until that has committed there is no halt');
COMMIT;
-- A halt waits for the page that is going out, and finds the rest.
CREATE PROCEDURE pg_temp.until_it_waits() LANGUAGE plpgsql AS $$
BEGIN
    FOR i IN 1..5000 LOOP
        PERFORM pg_stat_clear_snapshot();
        EXIT WHEN dblink_is_busy('other') = 0 OR EXISTS (SELECT FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = current_database() AND wait_event_type = 'Lock');
        PERFORM pg_sleep(0.02);
    END LOOP;
END
$$;
SELECT pg_temp.devices('o', 'o', 3, '1.0.0');
SELECT pg_temp.opened('o', '2.0.0') AS o \gset
BEGIN;
SELECT is(pg_temp.page(2), 'o-1 o-2', 'two are in a page');
SELECT ok(pg_temp.is_held(:o), 'which holds the rollout');
SELECT dblink_send_query('other', format('SELECT ota.halt_rollout(%s, ''smoke'')::text', :o)) \g /dev/null
CALL pg_temp.until_it_waits();
SELECT is(pg_temp.state_of(:o), 'running', 'a halt waits for it');
COMMIT;
SELECT count(*) FROM dblink_get_result('other') AS t (x text) \g /dev/null
SELECT count(*) FROM dblink_get_result('other') AS t (x text) \g /dev/null
SELECT is(pg_temp.rows_of(:o), 'o-1 cancelled told recall, o-2 cancelled told recall, o-3 pending ready', 'and takes back exactly what was told');
-- A batch of reports holds a row that was not told; the halt waits, and nobody is ended for a deadlock.
SELECT pg_temp.devices('q', 'q', 3, '1.0.0');
SELECT pg_temp.opened('q', '2.0.0') AS q \gset
SELECT is(pg_temp.page(1), 'q-1', 'one is told');
BEGIN;
SELECT count(*) FROM ota.broker_updates(ARRAY['q-2', 'q-3']) \g /dev/null
SELECT dblink_send_query('other', format('SELECT ota.halt_rollout(%s, ''smoke'')::text', :q)) \g /dev/null
CALL pg_temp.until_it_waits();
SELECT pg_advisory_xact_lock_shared(hashtext('ota.listening')) \g /dev/null
SELECT is(count(*), 1::bigint, 'the batch goes on') FROM ota.broker_updates(ARRAY['q-3']);
COMMIT;
SELECT count(*) FROM dblink_get_result('other') AS t (x text) \g /dev/null
SELECT count(*) FROM dblink_get_result('other') AS t (x text) \g /dev/null
SELECT is(pg_temp.rows_of(:q), 'q-1 cancelled told recall, q-2 pending ready, q-3 pending ready', 'and so does the halt');
SELECT is_empty('SELECT * FROM ota.verify_audit()', 'the audit log is whole');

SELECT dblink_disconnect('other') \g /dev/null
SELECT * FROM finish();
