"""Several brokers, the state directory, events that cannot be stored, operators and devices at once."""

import json
import os
import random
import signal
import subprocess
import threading
import time

import psycopg2
import pytest

from harness import Database, Storm, stays, wait_for
from harness.durability import (
    all_listening,
    assert_exactly_once,
    freeze,
    LONG,
    refuse_connections,
    serves,
    stored,
    thaw,
    told,
)

pytestmark = pytest.mark.usefixtures("plugin")

# -- several brokers


def test_second_broker_of_the_same_name(site):
    """It says so, writes nothing and keeps its reports until the name is free."""
    second = site.add_broker("broker-1-twin", ready=False, broker_name="broker-1")
    device = site.device("dev-1", second, start=False)
    device.connect()
    device.report("IDLE", n=1)
    second.wait_log('another broker is connected under the name "broker-1"', 15)
    time.sleep(1)
    assert len(second.log_lines("another broker is connected")) == 1
    assert stored(site) == {} and site.device_row("dev-1") is None
    serves(second)
    site.broker.stop()
    wait_for(lambda: stored(site) == {1: 1}, 15, second.log)


def test_controller_is_taken_over_within_seconds(site):
    second = site.add_broker("broker-2")
    site.quick_plan(wait="0.2 seconds")
    site.release("1.5.0")
    devices = [site.device(f"dev-{number}", second) for number in range(4)]
    all_listening(site, 4)
    leader, other = site.brokers
    if second.log_lines("controls the rollouts"):
        pytest.skip("the second broker leads already")
    leader.kill()
    begin = time.monotonic()
    rollout = site.start_rollout("default", "1.5.0", "quick")
    wait_for(lambda: len(told(devices)) == 2, 10, lambda: site.describe(rollout))
    assert time.monotonic() - begin < 5
    site.update_all(devices, "1.5.0")
    site.wait_rollout(rollout, "completed")


def test_a_conflict_at_the_connection_is_no_refusal(site):
    """A deadlock with another broker passes by itself: what was told may be told again meanwhile, as in any outage."""
    site.quick_plan(wait="1 hour", first=99)
    site.release("1.5.0")
    device = site.device("dev-1")
    site.wait_device("dev-1", listening=True)
    rollout = site.start_rollout("default", "1.5.0", "quick")
    device.wait_notice()
    site.wait_update(rollout, "dev-1", "notified")
    site.db.execute("CREATE FUNCTION public.loses() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
                    " RAISE EXCEPTION 'deadlock detected' USING ERRCODE = '40P01'; END $$")
    site.db.execute("CREATE TRIGGER loses BEFORE UPDATE ON ota.broker FOR EACH ROW EXECUTE FUNCTION public.loses()")
    site.db.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'mosquitto_ota broker-1' AND datname = %s",
                    site.db.name)
    site.broker.wait_log("PostgreSQL is away", 15)
    device.vanish()
    device.connect()
    device.subscribe(device.topic)
    wait_for(lambda: len(device.notices()) == 2, 30, lambda: site.broker.log()[-2000:])
    site.db.execute("DROP TRIGGER loses ON ota.broker")
    site.broker.wait_log("PostgreSQL is back", 30)
    assert {notice["attempt"] for notice in device.notices()} == {1}


def test_devices_of_a_dead_broker_are_not_shown_as_connected(site):
    second = site.add_broker("broker-2")
    site.quick_plan(wait="0.2 seconds")
    site.release("1.5.0")
    here = site.device("dev-here")
    there = site.device("dev-there", second)
    all_listening(site, 2)
    second.kill()
    if not LONG:  # ten seconds of silence, made short
        site.db.execute("UPDATE ota.broker SET alive_at = now() - interval '11 seconds' WHERE broker = 'broker-2'")
    wait_for(lambda: not site.device_row("dev-there")["connected"], 20, lambda: site.db.rows("SELECT * FROM ota.broker"))
    row = site.device_row("dev-there")
    assert not row["listening"] and site.device_row("dev-here")["listening"]
    assert len(site.events("broker_lost")) == 1
    # Another broker gets it.
    there.vanish()
    moved = site.device("dev-there", start=False)
    moved.start()
    all_listening(site, 2)
    rollout = site.start_rollout("default", "1.5.0", "quick")
    site.update_all([here, moved], "1.5.0")
    site.wait_rollout(rollout, "completed")


def test_broker_that_was_cut_off_gets_its_devices_back(own_site):
    """Frozen for longer than the others wait: given up, then back with the same sessions."""
    site = own_site
    site.add_broker()
    second = site.add_broker("broker-2")
    site.quick_plan(wait="0.2 seconds")
    site.release("1.5.0")
    devices = [site.device("dev-1"), site.device("dev-2", second), site.device("dev-3", second, start=False)]
    devices[2].connect()
    devices[2].report("IDLE")
    site.wait_device("dev-3", connected=True, listening=False)
    all_listening(site, 2)
    # Its role may not log in any more: the broker lives on without its database.
    site.db.execute("UPDATE ota.broker SET alive_at = now() - interval '1 minute' WHERE broker = 'broker-2'")
    second.process.send_signal(signal.SIGSTOP)
    try:
        site.db.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'mosquitto_ota broker-2'")
        site.db.execute("UPDATE ota.broker SET alive_at = now() - interval '1 minute' WHERE broker = 'broker-2'")
        wait_for(lambda: not site.device_row("dev-2")["connected"], 10, lambda: site.db.rows("SELECT * FROM ota.broker"))
        # In no stage it is given a turn.
        rollout = site.start_rollout("default", "1.5.0", "quick")
        stays(lambda: not site.update_row(rollout, "dev-2") or site.update_row(rollout, "dev-2")["granted_at"] is None, 1)
    finally:
        second.process.send_signal(signal.SIGCONT)
    site.wait_device("dev-2", 15, connected=True, listening=True, broker="broker-2")
    site.wait_device("dev-3", connected=True, listening=False, broker="broker-2")
    devices[2].subscribe(devices[2].topic)
    site.update_all(devices, "1.5.0")
    assert all(len(device.notices()) == 1 for device in devices)


def test_device_moves_to_another_broker_in_mid_update(site):
    second = site.add_broker("broker-2")
    site.quick_plan(wait="0.2 seconds")
    site.release("1.5.0")
    device = site.device("dev-1")
    site.wait_device("dev-1", listening=True)
    rollout = site.start_rollout("default", "1.5.0", "quick")
    notice = device.wait_notice()
    device.report("DOWNLOADING")
    site.wait_update(rollout, "dev-1", "downloading")
    device.vanish()
    device.broker = second
    device.connect()
    device.report("DOWNLOADING")
    device.subscribe(device.topic)
    site.wait_device("dev-1", broker="broker-2", listening=True)
    device.update(notice)
    site.wait_rollout(rollout, "completed")
    assert len(device.notices()) == 1
    site.wait_device("dev-1", connected=True, version="1.5.0", broker="broker-2")


def test_late_reports_of_the_broker_that_a_device_has_left(site):
    """Its backend stands still: what the device said there is written after what it said at its next broker, and changes nothing."""
    second = site.add_broker("broker-2")
    site.quick_plan(wait="1 hour", retries=1)
    site.release("1.5.0")
    device = site.device("dev-1", hardware="rev-a")
    site.wait_device("dev-1", listening=True)
    rollout = site.start_rollout("default", "1.5.0", "quick")
    notice = device.wait_notice()
    site.wait_update(rollout, "dev-1", "notified")
    slow = site.db.column("SELECT pid FROM pg_stat_activity WHERE application_name = 'mosquitto_ota broker-1' AND datname = %s", site.db.name)
    freeze(site, slow)
    try:
        for number, status in enumerate(("DOWNLOADING", "APPLYING", "REBOOTING", "IDLE")):
            device.report(status, n=number)
        device.vanish()
        device.broker, device.version, device.hardware, device.boot_id = second, "1.5.0", "rev-b", "b00710ad"
        device.connect()
        device.report("SUCCESS", attempt=notice["attempt"])
        device.subscribe(device.topic)
        site.wait_update(rollout, "dev-1", "succeeded")
    finally:
        thaw(slow)
    wait_for(lambda: len(stored(site)) == 4, 20, "what was said at the first broker is in the audit log")
    row = site.wait_device("dev-1", version="1.5.0", hardware="rev-b", connected=True, listening=True, broker="broker-2")
    assert row["notify_topic"] == device.topic
    stays(lambda: len(device.notices()) == 1 and site.update_row(rollout, "dev-1")["state"] == "succeeded", 1)


def test_device_moves_while_its_first_broker_writes(site):
    """The facts of the batch that says that it has left are read, and then its next broker is quicker with the session after."""
    second = site.add_broker("broker-2")
    device = site.device("dev-1")
    before = site.wait_device("dev-1", listening=True)
    site.db.execute("CREATE FUNCTION public.waits() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
                    " PERFORM pg_advisory_xact_lock_shared(42); RETURN NEW; END $$")
    site.db.execute("CREATE TRIGGER waits BEFORE UPDATE OF last_seq ON ota.broker FOR EACH ROW"
                    " WHEN (NEW.broker = 'broker-1') EXECUTE FUNCTION public.waits()")
    site.db.execute("SELECT pg_advisory_lock(42)")
    try:
        device.vanish()
        wait_for(lambda: site.db.rows("SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND objid = 42 AND NOT granted"), 10,
                 "broker-1 is about to write that the device is gone")
        device.broker = second
        device.connect()
        device.report("IDLE")
        device.subscribe(device.topic)
        after = site.wait_device("dev-1", connected=True, listening=True, broker="broker-2")
    finally:
        site.db.execute("SELECT pg_advisory_unlock(42)")
    wait_for(lambda: site.events("disconnected", "dev-1"), 10, lambda: site.broker.log()[-2000:])
    row = site.device_row("dev-1")
    assert (row["connected"], row["listening"], row["broker"]) == (True, True, "broker-2"), row
    assert before["session"] < after["session"] == row["session"]


def test_gateway_moves_and_its_first_broker_says_so_late(site):
    second = site.add_broker("broker-2")
    site.db.execute("SELECT ota.assign_gateway('beacon-1', 'hub-1')")
    hub = site.client("hub-1", clean=False)

    def speaks(broker):
        def heard():
            hub.publish("devices/beacon-1/ota/status", {"version": "1.0.0"})
            row = site.device_row("beacon-1")
            return row["listening"] and row["broker"] == broker

        hub.subscribe("devices/+/ota/available")
        wait_for(heard, 10, lambda: site.device_row("beacon-1"), every=0.3)

    speaks("broker-1")
    slow = site.db.column("SELECT pid FROM pg_stat_activity WHERE application_name = 'mosquitto_ota broker-1' AND datname = %s", site.db.name)
    freeze(site, slow)
    try:
        hub.vanish()
        hub.broker = second
        hub.connect()
        speaks("broker-2")
    finally:
        thaw(slow)
    wait_for(lambda: site.events("disconnected", "beacon-1"), 20, lambda: site.broker.log()[-2000:])
    row = site.device_row("beacon-1")
    assert (row["connected"], row["listening"], row["broker"]) == (True, True, "broker-2"), row


def test_late_word_of_the_broker_that_a_device_has_left(site):
    """The slot was claimed before the device moved; "not connected" comes when it listens elsewhere already."""
    site.add_broker("broker-2")
    site.quick_plan(wait="0.2 seconds", first=99)
    site.release("1.5.0")
    device = site.device("dev-1", site.brokers[1])
    site.wait_device("dev-1", listening=True, broker="broker-2")
    site.db.execute("UPDATE ota.device SET broker = 'broker-1' WHERE device_id = 'dev-1'")
    site.db.execute("CREATE FUNCTION public.moves() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
                    " UPDATE ota.device SET broker = 'broker-2' WHERE device_id = NEW.device_id;"
                    " NEW.told_session := 1; RETURN NEW; END $$")
    site.db.execute("CREATE TRIGGER moves BEFORE UPDATE ON ota.device_update FOR EACH ROW WHEN (OLD.state = 'pending' AND"
                    " NEW.state = 'notified' AND NEW.broker = 'broker-1') EXECUTE FUNCTION public.moves()")
    # Where broker-1 controls, the row is notified from the beginning.
    site.db.execute("CREATE TRIGGER moves_at_once BEFORE INSERT ON ota.device_update FOR EACH ROW WHEN ("
                    " NEW.state = 'notified' AND NEW.broker = 'broker-1') EXECUTE FUNCTION public.moves()")
    rollout = site.start_rollout("default", "1.5.0", "quick")
    site.wait_event("undelivered", "dev-1")
    site.update_all([device], "1.5.0")
    site.wait_rollout(rollout, "completed")
    assert len(device.notices()) == 1


# -- the state directory


def test_state_directory_in_use(site):
    second = site.add_broker("broker-2", start=False, state_directory=site.folder / "state-broker-1")
    line = second.refuses("plugin_opt_state_directory", str(site.broker.process.pid), str(site.folder / "state-broker-1"))
    assert "use" in line or "locked" in line or "open" in line, line


@pytest.mark.parametrize("where", ["/proc/ota", "/dev/null/ota"])
def test_state_directory_that_cannot_be_written(bare_site, where):
    broker = bare_site.add_broker(start=False, state_directory=where)
    broker.refuses("plugin_opt_state_directory", where)


def test_state_directory_deleted_while_stopped(site):
    with Storm(site.broker, 5) as storm:
        wait_for(lambda: len(storm.acknowledged) > 300, 10)
    wait_for(lambda: len(stored(site)) >= len(storm.acknowledged), 10)
    site.broker.stop()
    before = site.db.value("SELECT last_seq FROM ota.broker")
    for path in (site.folder / "state-broker-1").iterdir():
        path.unlink()
    site.broker.start()
    device = site.device("dev-1")
    for number in range(1000000, 1000010):
        device.report("IDLE", n=number)
    wait_for(lambda: len([n for n in stored(site) if n >= 1000000]) == 10, 10, site.broker.log)
    assert set(stored(site).values()) == {1}
    assert site.db.value("SELECT last_seq FROM ota.broker") > before


@pytest.mark.parametrize("version", [4, 5])
def test_full_disk(own_site, version):
    """Reports that cannot be kept are not acknowledged; none of the others is lost; it recovers by itself."""
    site = own_site
    folder = site.folder / "small"
    folder.mkdir()
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", folder]).returncode:
        pytest.skip("cannot mount a small file system")
    try:
        broker = site.add_broker(state_directory=folder / "state", reports_per_minute=0)
        undo = refuse_connections(site)
        with Storm(broker, 5, protocol=version) as storm:
            wait_for(lambda: storm.refused or storm.broken, 20)
            serves(broker)
            time.sleep(0.5)
            kept = len(storm.acknowledged)
            assert (storm.refused > 0) == (version == 5), (storm.refused, storm.broken)
            wait_for(lambda: broker.log_lines("cannot be kept"), 5, broker.log)
            undo()
            wait_for(lambda: len(storm.acknowledged) > kept + 100, 30, broker.log)
        assert_exactly_once(site, storm)
        assert len(broker.log_lines("cannot be kept")) == 1
        broker.stop()
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


# -- poison


def test_event_that_cannot_be_stored_does_not_block_the_others(own_site):
    site = own_site
    broker = site.add_broker()
    device = site.device("dev-1")
    other = site.device("dev-2")
    all_listening(site, 2)
    site.db.execute("ALTER TABLE ota.event ADD CONSTRAINT poison CHECK (detail ->> 'n' IS DISTINCT FROM '13')")
    undo = refuse_connections(site)
    for number in range(30):
        (device if number % 2 else other).report("IDLE", n=number)
    undo()
    wait_for(lambda: set(stored(site)) == set(range(30)) - {13}, 15, lambda: f"{stored(site)}\n{broker.log()[-2000:]}")
    assert set(stored(site).values()) == {1}
    lines = broker.wait_log("cannot be stored")
    assert len(lines) == 1 and "dev-1" in lines[0] and "poison" in lines[0], lines
    # It is not forgotten either.
    found = site.wait_event("malformed", "dev-1")
    assert "poison" in str(found[0]["detail"]), found


def test_batch_in_parts_counts_once(own_site):
    """A poison splits the batch; between its parts PostgreSQL asks to try again; no part may count twice."""
    site = own_site
    broker = site.add_broker()
    device = site.device("dev-1")
    all_listening(site, 1)
    site.db.execute("CREATE SEQUENCE public.tries")
    site.db.execute("CREATE FUNCTION public.disturb() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
                    " IF NEW.detail ->> 'n' = '28' THEN RAISE 'poison' USING ERRCODE = '23514'; END IF;"
                    " IF NEW.detail ->> 'n' = '20' AND nextval('public.tries') BETWEEN 2 AND 4 THEN"
                    " RAISE 'once more' USING ERRCODE = '40001'; END IF; RETURN NEW; END $$")
    site.db.execute("CREATE TRIGGER disturb BEFORE INSERT ON ota.event FOR EACH ROW EXECUTE FUNCTION public.disturb()")
    undo = refuse_connections(site)
    for number in range(30):
        device.report("IDLE", n=number)
    undo()
    wait_for(lambda: set(stored(site)) == set(range(30)) - {28}, 15, lambda: f"{stored(site)}\n{broker.log()[-2000:]}")
    twice = {number: times for number, times in stored(site).items() if times != 1}
    assert not twice, twice


def test_no_report_is_poison(site):
    """What PostgreSQL would not take is sorted out before it gets there."""
    device = site.device("dev-1")
    for body in (b'{"version": "1.0.0", "x": "\\u0000"}', b'{"version": "1.0.0", "x": "\\ud800"}',
                 b'{"version": "1.0.0", "x": 1e-99999}', b'{"version": "1.0.0", "x": 1e400}',
                 b'{"version": "1.0.0", "x": ' + b"9" * 3000 + b"}", b'{"version": "' + b"1" * 200 + b'.0.0"}',
                 b'{"version": "1.0.0", "hardware": "' + b"h" * 200 + b'"}',
                 b'{"version": "1.0.0", "x": ' + b"[" * 500 + b"]" * 500 + b"}", b'{"version": "1.0.0", "\xff": 1}',
                 b'{"version": "1.0.0", "x": {"": "' + b"\\t" * 1000 + b'"}}'):
        device.publish(device.status_topic, body)
    device.report("IDLE", n=1)
    wait_for(lambda: stored(site) == {1: 1}, 10, site.broker.log)
    assert not site.broker.log_lines("cannot be stored|is away"), site.broker.log_lines("cannot be stored|is away")


# -- operators and devices at once


def test_operators_hammer_while_reports_stream_in(site, fleet):
    site.quick_plan(first=50, wait="0.2 seconds", retries=3, options={"early_halt": False}, success_threshold=0.5,
                    health_timeout="6 seconds", download_timeout="6 seconds")
    site.release("2.0.0", **fleet.image("2.0.0"))
    run = fleet.start(site.broker, 60, until_version="2.0.0", trusted_key=str(next(site.keys.folder.iterdir())),
                      verify="manifest", reports=fleet.folder / "reports")
    wait_for(lambda: site.db.value("SELECT count(*) FROM ota.device WHERE listening AND version = '1.0.0'") == 60, 20,
             lambda: site.db.rows("SELECT * FROM ota.fleet_versions"))
    rollout = site.start_rollout("default", "2.0.0", "quick")
    # A device that was recalled too late runs the release all the same; it needs no other try.
    behind = ("SELECT u.device_id FROM ota.device_update u JOIN ota.device d USING (device_id) WHERE u.rollout_id = %s"
              " AND u.state IN ('failed', 'cancelled', 'timed_out', 'rolled_back', 'rejected') AND d.version <> '2.0.0'")
    ending = threading.Event()
    done, problems = [], []

    def hammer(seed):
        choice = random.Random(seed)
        with Database(site.db.server, site.db.name) as base:
            while not ending.is_set():
                order = choice.choice(["pause", "resume", "halt", "resume", "resume", "retry"])
                try:
                    if order == "retry":
                        left = base.column(behind, rollout)
                        if not left:
                            continue
                        base.execute("SELECT ota.retry_device(%s, %s, %s)", rollout, choice.choice(left), "hammer")
                    else:
                        base.execute(f"SELECT ota.{order}_rollout(%s, %s)", rollout, "hammer")
                    done.append(order)
                except psycopg2.Error as error:
                    if error.pgcode not in ("55000", "22023", "P0002", "02000"):
                        problems.append((order, error.pgcode, str(error)))
                time.sleep(choice.uniform(0, 0.05))

    hammers = [threading.Thread(target=hammer, args=(seed,)) for seed in range(4)]
    for thread in hammers:
        thread.start()
    time.sleep(20 if LONG else 5)
    try:  # on a slow machine for longer, so that it was hammering
        wait_for(lambda: problems or len(set(done)) == 4 or len(done) > 50, 60, lambda: done)
    finally:
        ending.set()
        for thread in hammers:
            thread.join()
    assert not problems, "\n".join(str(problem) for problem in problems[:3])
    if site.rollout(rollout)["state"] in ("paused", "halted"):
        site.order("resume", rollout)

    def finished():
        for one in site.db.column(behind, rollout):
            site.db.execute("SELECT ota.retry_device(%s, %s, 'the test')", rollout, one)
        row = site.rollout(rollout)
        if row["next_action"] == "verdict when the first device has finished" and not site.db.value(
                "SELECT count(*) FROM ota.device_update WHERE rollout_id = %s AND state NOT IN ('succeeded', 'cancelled')", rollout):
            try:  # all of the stage were recalled too late: nobody's success counts
                site.order("advance", rollout)
            except psycopg2.Error as error:
                assert error.pgcode == "55000", error  # it has completed meanwhile
        return row["state"] == "completed"

    wait_for(finished, 60, lambda: site.describe(rollout), every=0.3)
    assert run.wait_end(20) == 0, run.log()[-2000:]  # every device runs 2.0.0
    # No update was lost: the counters are what the rows add up to.
    wait_for(lambda: site.db.value("SELECT sum(in_flight)::int FROM ota.rollout_stage WHERE rollout_id = %s", rollout) == 0, 10,
             lambda: site.describe(rollout))
    assert site.db.rows("SELECT stage, succeeded, failed, rejected FROM ota.rollout_stage WHERE rollout_id = %s ORDER BY 1",
                        rollout) == site.db.rows(
        "SELECT served_stage AS stage, count(*) FILTER (WHERE state = 'succeeded') AS succeeded, count(*) FILTER (WHERE state IN"
        " ('failed', 'rolled_back', 'timed_out')) AS failed, count(*) FILTER (WHERE state = 'rejected') AS rejected"
        " FROM ota.device_update WHERE rollout_id = %s AND served_stage IS NOT NULL GROUP BY 1 ORDER BY 1", rollout)
    acknowledged = [json.loads(line) for line in (fleet.folder / "reports").read_text().splitlines()]
    wait_for(lambda: len(site.events("status")) >= len(acknowledged), 10)
    lines = site.broker.log_lines(r"SQLSTATE|is away|deadlock|impossible")
    assert not lines, lines
