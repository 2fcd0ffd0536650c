"""Broker and database restarts in the middle of everything."""

import os
import socket
import subprocess

import pytest

from harness import Site, stays, wait_for

pytestmark = pytest.mark.usefixtures("plugin")


def all_listening(site, count, version="1.0.0"):
    wait_for(lambda: site.db.value("SELECT count(*) FROM ota.device WHERE listening AND version = %s", version) == count, 15,
             lambda: site.db.rows("SELECT device_id, connected, listening, version FROM ota.device"))


@pytest.mark.brokers
@pytest.mark.parametrize("how", ["stop", "kill"])
def test_broker_restart_in_mid_stage_tells_nobody_twice(site, how):
    site.quick_plan(wait="30 seconds")
    site.release("1.5.0")
    devices = site.devices(4)
    all_listening(site, 4)
    rollout = site.start_rollout("default", "1.5.0", "quick")
    wait_for(lambda: sum(bool(device.notices()) for device in devices) == 2, 10, lambda: site.describe(rollout))
    told = [device for device in devices if device.notices()]
    told[0].report("DOWNLOADING")
    site.wait_update(rollout, told[0].client_id, "downloading")
    for device in devices:
        device.vanish()
    getattr(site.broker, how)()
    site.broker.start()
    for device in devices:
        device.connect()
        device.report("DOWNLOADING" if device is told[0] else "IDLE")
        device.subscribe(device.topic)
    all_listening(site, 4)
    # A device that was told and never answered may be asked once more, under the same attempt; nobody else.
    stays(lambda: len(told[0].notices()) == 1 and not any(device.notices() for device in devices if device not in told), 2)
    told[0].install(told[0].notices()[0])
    told[0].report("SUCCESS")
    site.wait_update(rollout, told[0].client_id, "succeeded")
    assert {notice["attempt"] for notice in told[1].notices()} == {1}
    assert len(told[1].notices()) == 1, "it was told twice"


def test_acknowledged_report_survives_a_kill(site):
    """What was acknowledged is in PostgreSQL exactly once, whatever was killed in between."""
    device = site.device("dev-1")
    site.wait_device("dev-1", version="1.0.0")
    for number in range(50):
        device.report("IDLE", marker=f"m{number}-")
    site.broker.kill()
    site.broker.start()

    def count(marker):
        return len([event for event in site.events("status", "dev-1") if marker in str(event["detail"])])

    for number in (0, 25, 49):
        wait_for(lambda: count(f"m{number}-") == 1, 10, lambda: f"m{number}: {count(f'm{number}-')} times")


def test_postgresql_stops_in_the_middle(tmp_path, own_postgres, make_broker):
    own_postgres.start()
    site = Site(tmp_path, own_postgres.create_database(), make_broker)
    try:
        broker = site.add_broker()
        site.quick_plan(wait="2 seconds")
        site.release("1.5.0")
        devices = site.devices(4)
        all_listening(site, 4)
        rollout = site.start_rollout("default", "1.5.0", "quick")
        wait_for(lambda: sum(bool(device.notices()) for device in devices) == 2, 10, lambda: site.describe(rollout))
        told = [device for device in devices if device.notices()]
        own_postgres.stop()
        site.db.close()

        client = site.client("ordinary")
        client.subscribe("chat/#")
        client.publish("chat/a", b"hello")
        wait_for(lambda: client.topics() == ["chat/a"], 5)
        for device in told:
            device.update(device.notices()[0])
        assert max(broker.ping_seconds() for _ in range(20)) < 0.25
        stays(lambda: sum(bool(device.notices()) for device in devices) == 2, 2.5, "something moved without the database")
        lines = broker.log_lines(r"(?i)postgres|database")
        assert 1 <= len([line for line in lines if "rror" in line or "arning" in line or "lost" in line or "cannot" in line
                         or "unavailable" in line or "away" in line]) <= 3, lines

        own_postgres.start()
        for device in told:
            site.wait_update(rollout, device.client_id, "succeeded", 20)
        wait_for(lambda: all(device.notices() for device in devices), 20, lambda: site.describe(rollout))
        for device in devices:
            if device not in told:
                device.update(device.notices()[0])
        site.wait_rollout(rollout, "completed", 20)
        assert all(len(device.notices()) == 1 for device in devices)
    finally:
        site.close()
        site.db.close()


def test_an_answer_at_the_end_of_a_long_backlog(tmp_path, own_postgres, make_broker, plugin):
    """Who answered while the database was away is not told again, however long its answer waits behind others' reports."""
    own_postgres.start()
    site = Site(tmp_path, own_postgres.create_database(), make_broker)
    try:
        broker = site.add_broker()
        site.quick_plan("slow", wait="1 hour")
        site.release("1.5.0")
        device = site.device("dev-1")
        all_listening(site, 1)
        rollout = site.start_rollout("default", "1.5.0", "slow", "emergency: the test's")
        notice = device.wait_notice()
        own_postgres.stop()
        site.db.close()
        subprocess.run([plugin.parent / "tests" / "bench" / "load", "publish", str(broker.port), "100", "150000", "1", "50",
                        "devices/{}/ota/status", '{"version":"1.0.0","status":"IDLE"}'], check=True, stdout=subprocess.DEVNULL,
                       env={**os.environ, "LOAD_PREFIX": "other"})
        device.update(notice)
        own_postgres.start()
        site.wait_update(rollout, "dev-1", "succeeded", 90)
        stays(lambda: len(device.notices()) == 1, 2.5, "it was told twice")
    finally:
        site.close()
        site.db.close()


def test_postgresql_crashes_while_reports_arrive(tmp_path, own_postgres, make_broker):
    own_postgres.start()
    site = Site(tmp_path, own_postgres.create_database(), make_broker)
    try:
        site.add_broker()
        device = site.device("dev-1")
        site.wait_device("dev-1", version="1.0.0")
        for number in range(100):
            device.report("IDLE", marker=f"m{number}-")
            if number == 50:
                own_postgres.kill()
                site.db.close()
        own_postgres.start()
        device.report("IDLE", version="1.0.1")
        site.wait_device("dev-1", 20, version="1.0.1")
        texts = [str(event["detail"]) for event in site.events("status", "dev-1")]
        for number in range(100):
            assert sum(f"m{number}-" in text for text in texts) == 1, number
    finally:
        site.close()
        site.db.close()


def test_controller_moves_to_the_other_broker(site):
    """The broker that leads dies; the other one continues from the rows."""
    second = site.add_broker("broker-2")
    site.quick_plan(wait="2 seconds")
    site.release("1.5.0")
    devices = [site.device(f"dev-{number}", second) for number in range(4)]
    all_listening(site, 4)
    rollout = site.start_rollout("default", "1.5.0", "quick")
    wait_for(lambda: sum(bool(device.notices()) for device in devices) == 2, 10, lambda: site.describe(rollout))
    site.brokers[0].kill()
    for device in devices:
        if device.notices():
            device.update(device.notices()[0])
    wait_for(lambda: all(device.notices() for device in devices), 25, lambda: site.describe(rollout))


def test_two_brokers_share_one_rollout(site):
    second = site.add_broker("broker-2")
    site.quick_plan(wait="1 second")
    site.release("1.5.0")
    devices = [site.device(f"dev-{number}", (site.broker, second)[number % 2]) for number in range(6)]
    all_listening(site, 6)
    rollout = site.start_rollout("default", "1.5.0", "quick")
    site.update_all(devices, "1.5.0")
    site.wait_rollout(rollout, "completed")
    assert all(len(device.notices()) == 1 for device in devices)


def test_device_roams_to_another_broker(site):
    second = site.add_broker("broker-2")
    device = site.device("dev-1")
    site.wait_device("dev-1", broker="broker-1", connected=True)
    device.disconnect()
    site.device("dev-1", second, version="1.0.1")
    site.wait_device("dev-1", broker="broker-2", connected=True, version="1.0.1")


def test_database_that_never_answers_does_not_stop_the_broker(tmp_path, bare_site):
    """A server that accepts and says nothing: connects must time out, the broker must serve and stop."""
    with socket.socket() as trap:
        trap.bind(("127.0.0.1", 0))
        trap.listen(8)
        broker = bare_site.add_broker(ready=False, database=f"host=127.0.0.1 port={trap.getsockname()[1]} dbname=x user=x")
        assert max(broker.ping_seconds() for _ in range(20)) < 0.25
        device = bare_site.device("dev-1")
        device.report("IDLE")
        broker.stop()


def test_wrong_password_or_database_is_said_and_served_on(bare_site):
    conninfo = bare_site.db.conninfo.replace(f"dbname={bare_site.db.name}", "dbname=does_not_exist")
    broker = bare_site.add_broker(ready=False, database=conninfo)
    broker.wait_log("does_not_exist")
    assert broker.ping_seconds() < 0.25
    stays(lambda: len(broker.log_lines("does_not_exist")) <= 2, 3, "the log is flooded")
