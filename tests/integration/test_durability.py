"""Whatever is killed, stopped, frozen or refused: no acknowledged report is lost, none counts twice, the broker serves on.

OTA_LONG=1 repeats the random ones often and adds the slow ones.
"""

import os
import random
import signal
import socket
import subprocess
import time

import psycopg2
import pytest

from harness import Database, Storm, wait_for
from harness.durability import (
    all_listening,
    assert_exactly_once,
    AWAY,
    BACK,
    backends,
    cpu_seconds,
    freeze,
    LONG,
    only_long,
    refuse_connections,
    serves,
    stop_seconds,
    stored,
    thaw,
    told,
    try_start,
)

pytestmark = pytest.mark.usefixtures("plugin")

# -- nothing acknowledged is lost, nothing counts twice


def strike_broker(site):
    site.broker.kill()
    time.sleep(random.uniform(0, 0.2))
    site.broker.start()


def strike_postgres(site):
    site.cluster.process.kill()  # -9: its children notice by themselves
    site.cluster.process.wait()
    site.db.close()
    time.sleep(random.uniform(0, 0.3))
    wait_for(lambda: try_start(site.cluster), 20, "PostgreSQL starts again", every=0.2)


def strike_postgres_immediate(site):
    site.cluster.kill()
    site.db.close()
    time.sleep(random.uniform(0, 0.3))
    site.cluster.start()


def strike_both(site):
    site.broker.kill()
    strike_postgres(site)
    site.broker.start()


@pytest.mark.parametrize("strike, times", [(strike_broker, 3), (strike_postgres, 3), (strike_postgres_immediate, 1),
                                           (strike_both, 1)])
def test_storm_of_reports_survives(own_site, strike, times):
    own_site.add_broker(reports_per_minute=0)  # each client may storm
    seed = random.randrange(1 << 30)
    random.seed(seed)
    print("seed", seed)
    with Storm(own_site.broker, 50) as storm:
        for _ in range(20 if LONG else times):
            time.sleep(random.uniform(0.1, 0.5))
            strike(own_site)
        time.sleep(0.5)
        if LONG:
            wait_for(lambda: len(storm.acknowledged) >= 50000, 120, lambda: f"{len(storm.acknowledged)} of 50,000 acknowledged")
    assert_exactly_once(own_site, storm)


# -- PostgreSQL away in every way


def test_postgresql_starts_after_the_broker(own_site):
    own_site.cluster.stop()
    own_site.db.close()
    broker = own_site.add_broker(ready=False)
    serves(broker)
    device = own_site.device("dev-1")
    device.report("IDLE", n=1)
    broker.wait_log(AWAY)
    before = cpu_seconds(broker)
    time.sleep(1.5)
    assert cpu_seconds(broker) - before < 0.3, "waiting costs time of the processor"
    own_site.cluster.start()
    own_site.wait_ready()
    own_site.wait_device("dev-1", listening=True, version="1.0.0")
    assert stored(own_site) == {1: 1}
    broker.wait_log(BACK)
    assert len(broker.log_lines(AWAY)) == 1 and len(broker.log_lines(BACK)) == 1, broker.log_lines("PostgreSQL")
    own_site.cluster.stop()
    own_site.db.close()
    wait_for(lambda: len(broker.log_lines(AWAY)) == 2, 10)
    assert stop_seconds(broker) < 4


def fill_connections(site):
    """All connections are taken."""
    site.db.close()
    taken = []
    site.at_end.append(lambda: [connection.close() for connection in taken])

    def take_all():
        try:
            while True:
                taken.append(psycopg2.connect(site.cluster.conninfo("postgres")))
        except psycopg2.OperationalError as error:
            assert "too many" in str(error) or "reserved" in str(error), error

    def broker_is_out():
        """It may be quicker than we are to take the place it has lost."""
        take_all()
        with taken[0].cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (site.db.name,))
            found = cursor.rowcount
        taken[0].rollback()
        return found == 0

    wait_for(broker_is_out, 10, "all connections are ours")

    def undo():
        for connection in taken:
            connection.close()

    return undo


def restart_cluster(site):
    site.cluster.stop()
    site.db.close()
    return site.cluster.start


def refuse_writes(site):
    """Every statement of the audit log fails, as with a full disk: the connection itself is fine."""
    site.db.execute("CREATE OR REPLACE FUNCTION public.full_disk() RETURNS trigger LANGUAGE plpgsql AS $$"
                    " BEGIN RAISE 'no space left on device' USING ERRCODE = '53100'; END $$")
    site.db.execute("CREATE TRIGGER full_disk BEFORE INSERT ON ota.event EXECUTE FUNCTION public.full_disk()")
    return lambda: site.db.execute("DROP TRIGGER full_disk ON ota.event")


def read_only(site):
    """As after a fail-over to a standby."""
    site.db.execute(f"ALTER DATABASE {site.db.name} SET default_transaction_read_only = on")
    freed = backends(site)
    for pid in freed:
        site.db.execute("SELECT pg_terminate_backend(%s)", pid)

    def undo():
        with Database(site.cluster, "postgres") as admin:
            admin.execute(f"ALTER DATABASE {site.db.name} SET default_transaction_read_only = off")
            admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", site.db.name)
        site.db.close()

    return undo


@pytest.mark.parametrize("trouble", [pytest.param(refuse_connections, marks=only_long),
                                     pytest.param(fill_connections, marks=only_long),
                                     pytest.param(restart_cluster, marks=only_long), refuse_writes,
                                     pytest.param(read_only, marks=only_long)])
def test_trouble_in_the_middle_of_a_rollout(own_site, trouble):
    site = own_site
    broker = site.add_broker()
    site.quick_plan(wait="0.5 seconds")
    site.release("1.5.0")
    devices = site.devices(4)
    all_listening(site, 4)
    rollout = site.start_rollout("default", "1.5.0", "quick")
    wait_for(lambda: len(told(devices)) == 2, 10, lambda: site.describe(rollout))
    first = told(devices)
    undo = trouble(site)
    for device in first:
        device.update(device.notices()[0])
    broker.wait_log(AWAY, 15)
    serves(broker)
    time.sleep(1.2)
    assert len(told(devices)) == 2, "something moved without the database"
    away = broker.log_lines(AWAY)
    assert len(away) == 1 and not broker.log_lines(BACK), broker.log_lines("PostgreSQL")
    undo()
    wait_for(lambda: len(told(devices)) == 4, 20, lambda: site.describe(rollout))
    for device in devices:
        if device not in first:
            device.update(device.notices()[0])
    site.wait_rollout(rollout, "completed")
    broker.wait_log(BACK)
    assert len(broker.log_lines(AWAY)) == 1 and len(broker.log_lines(BACK)) == 1, broker.log_lines("PostgreSQL")
    assert all(len(device.notices()) == 1 for device in devices)
    undo = trouble(site)
    devices[0].report("IDLE")
    wait_for(lambda: len(broker.log_lines(AWAY)) == 2, 15)
    try:
        assert stop_seconds(broker) < 4
    finally:
        undo()


@pytest.mark.parametrize("whom", [pytest.param("backends", marks=only_long), "everything"])
def test_frozen_postgresql(own_site, whom):
    """SIGSTOP: connections stay open and nothing answers."""
    site = own_site
    broker = site.add_broker()
    device = site.device("dev-1")
    site.wait_device("dev-1", listening=True)
    server = [site.cluster.process.pid] if whom == "everything" else []

    def stand_still():
        sessions = backends(site)
        freeze(site, sessions)
        site.db.close()
        for pid in server:
            os.kill(pid, signal.SIGSTOP)
        return sessions + server

    standing = stand_still()
    try:
        device.report("IDLE", n=1)
        broker.wait_log(AWAY, 15)
        serves(broker)
        device.report("IDLE", n=2)
        assert len(broker.log_lines(AWAY)) == 1
        thaw(standing)
        wait_for(lambda: stored(site) == {1: 1, 2: 1}, 10)
        broker.wait_log(BACK)
        assert len(broker.log_lines(BACK)) == 1
        standing = stand_still()
        device.report("IDLE", n=3)
        time.sleep(0.5)
        assert stop_seconds(broker) < 5
    finally:
        thaw(standing)
    broker.start()
    wait_for(lambda: stored(site).get(3) == 1, 15, broker.log)


def test_lock_held_by_another_session(own_site):
    """Somebody's forgotten transaction locks ota.device: said once, nothing lost, and the broker ends all the same."""
    site = own_site
    broker = site.add_broker()
    device = site.device("dev-1")
    site.wait_device("dev-1", listening=True)
    with psycopg2.connect(site.db.conninfo) as other:
        cursor = other.cursor()
        cursor.execute("LOCK TABLE ota.device")
        device.report("IDLE", n=1)
        broker.wait_log(AWAY, 15)
        serves(broker)
        device.report("IDLE", n=2)
        other.rollback()
        wait_for(lambda: stored(site) == {1: 1, 2: 1}, 10)
        broker.wait_log(BACK)
        assert len(broker.log_lines(AWAY)) == 1 and len(broker.log_lines(BACK)) == 1
        cursor.execute("LOCK TABLE ota.device")
        device.report("IDLE", n=3)
        time.sleep(0.5)
        assert stop_seconds(broker) < 5
        # The statement must not go on without its broker: it would keep the broker's name.
        wait_for(lambda: not backends(site), 5, "the abandoned statement ends")
        broker.start()
        other.rollback()
    wait_for(lambda: stored(site) == {1: 1, 2: 1, 3: 1}, 15, broker.log)


def test_database_without_rights(own_site):
    site = own_site
    site.db.execute("CREATE ROLE nobody_special LOGIN")
    conninfo = site.db.conninfo.replace("user=postgres", "user=nobody_special")
    broker = site.add_broker(ready=False, database=conninfo)
    broker.wait_log(AWAY)
    serves(broker)
    device = site.device("dev-1")
    device.report("IDLE", n=1)
    time.sleep(2)
    assert len(broker.log_lines("PostgreSQL")) == 1, broker.log_lines("PostgreSQL")
    site.db.execute(f"GRANT ALL ON DATABASE {site.db.name} TO nobody_special")
    broker.wait_log(BACK, 20)
    wait_for(lambda: stored(site) == {1: 1}, 10)


@only_long
def test_name_server_that_never_answers(own_site, tmp_path):
    """The resolver waits for half a minute; nobody else does, and neither does the end."""
    if os.geteuid() != 0 or subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode:
        pytest.skip("needs a mount namespace of its own")
    resolv = tmp_path / "resolv.conf"
    resolv.write_text("nameserver 127.99.99.99\noptions timeout:30 attempts:3\n")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as trap:
        try:
            trap.bind(("127.99.99.99", 53))  # takes every question and never answers
        except OSError as error:
            pytest.skip(f"port 53: {error}")
        broker = own_site.add_broker(start=False, database="host=database.example.org user=x dbname=x")
        broker.command = ["unshare", "-m", "sh", "-c", f"mount --bind {resolv} /etc/resolv.conf && exec \"$@\"", "sh",
                          *broker.command]
        broker.start()
        broker.wait_log(AWAY, 15)
        serves(broker)
        time.sleep(1)
        assert stop_seconds(broker) < 5


# -- broker restarts


@pytest.mark.parametrize("how", [pytest.param("stop", marks=only_long), "kill"])
def test_devices_finish_while_the_broker_is_down(site, how):
    """They report when they can; their deadlines wait for the broker."""
    site.quick_plan(wait="0.5 seconds", download_timeout="3 seconds")
    site.release("1.5.0")
    devices = site.devices(4)
    all_listening(site, 4)
    rollout = site.start_rollout("default", "1.5.0", "quick")
    wait_for(lambda: len(told(devices)) == 2, 10, lambda: site.describe(rollout))
    first = told(devices)
    first[0].report("DOWNLOADING")
    site.wait_update(rollout, first[0].client_id, "downloading")
    for device in devices:
        device.vanish()
    getattr(site.broker, how)()
    time.sleep(4)  # longer than the deadline
    for device in first:
        device.version = "1.5.0"
        device.boot_id = os.urandom(4).hex()
    site.broker.start()
    time.sleep(1)
    for device in devices:
        device.connect()
        device.report("SUCCESS" if device in first else "IDLE")
        device.subscribe(device.topic)
    for device in first:
        site.wait_update(rollout, device.client_id, "succeeded")
    wait_for(lambda: len(told(devices)) == 4, 15, lambda: site.describe(rollout))
    site.update_all(devices, "1.5.0")
    site.wait_rollout(rollout, "completed")
    assert all(len(device.notices()) == 1 for device in devices)
