"""Whatever is killed, stopped, frozen or full: no acknowledged report is lost, none counts twice, the broker serves on.

OTA_LONG=1 repeats the random ones often and adds the slow ones.
"""

import os
import random
import signal
import socket
import subprocess
import threading
import time

import psycopg2
import pytest

from harness import Client, Database, Site, Storm, stays, wait_for

pytestmark = pytest.mark.usefixtures("plugin")

LONG = bool(os.environ.get("OTA_LONG"))
only_long = pytest.mark.skipif(not LONG, reason="slow: OTA_LONG=1 runs it")


def all_listening(site, count, version="1.0.0"):
    wait_for(lambda: site.db.value("SELECT count(*) FROM ota.device WHERE listening AND version = %s", version) == count, 15,
             lambda: site.db.rows("SELECT device_id, connected, listening, version, broker FROM ota.device"))


def told(devices):
    return [device for device in devices if device.notices()]


@pytest.fixture
def own_site(tmp_path, own_postgres, make_broker):
    """A site on a cluster that the test may mistreat; no broker yet."""
    own_postgres.start()
    site = Site(tmp_path, own_postgres.create_database(), make_broker)
    site.cluster = own_postgres
    yield site
    try:
        site.close()
    finally:
        site.db.close()


# -- nothing acknowledged is lost, nothing counts twice


def stored(site):
    """How often each numbered report is in the audit log."""
    return {row["n"]: row["times"] for row in site.db.rows(
        "SELECT (detail ->> 'n')::int AS n, count(*)::int AS times FROM ota.event"
        " WHERE kind = 'status' AND detail ? 'n' GROUP BY 1")}


def assert_exactly_once(site, storm):
    assert len(storm.acknowledged) > 200, f"only {len(storm.acknowledged)} reports were acknowledged: no storm"

    def missing():
        return storm.acknowledged - set(stored(site))

    wait_for(lambda: not missing(), 20, lambda: f"{len(missing())} of {len(storm.acknowledged)} acknowledged reports are missing, "
             f"such as {sorted(missing())[:5]}\n{site.broker.log()[-3000:]}")
    twice = {number: times for number, times in stored(site).items() if times != 1}
    assert not twice, f"counted more than once: {dict(list(twice.items())[:5])}"


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


def try_start(cluster):
    """After kill -9 the old children may hold the shared memory for a moment."""
    try:
        cluster.start()
        return True
    except AssertionError:
        if cluster.process.poll() is None:
            raise
        return False


@pytest.mark.parametrize("strike", [strike_broker, strike_postgres, strike_postgres_immediate, strike_both])
def test_storm_of_reports_survives(own_site, strike):
    own_site.add_broker()
    seed = random.randrange(1 << 30)
    random.seed(seed)
    print("seed", seed)
    with Storm(own_site.broker, 50) as storm:
        for _ in range(20 if LONG else 3):
            time.sleep(random.uniform(0.2, 0.7))
            strike(own_site)
        time.sleep(0.5)
    assert_exactly_once(own_site, storm)


# -- PostgreSQL away in every way


def stop_seconds(broker):
    begin = time.monotonic()
    broker.stop()
    return time.monotonic() - begin


def serves(broker):
    """Other clients are served as if nothing had happened."""
    slowest = max(broker.ping_seconds() for _ in range(20))
    assert slowest < 0.25, f"PINGRESP after {slowest} s"


def freeze(pids, signum):
    for pid in pids:
        os.kill(pid, signum)


def backends(site):
    return site.db.column("SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'mosquitto_ota%%' AND datname = %s",
                          site.db.name)


def cpu_seconds(broker):
    """Time of the processor that the broker has used."""
    with open(f"/proc/{broker.process.pid}/stat") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


AWAY = r"(?i)PostgreSQL (is away|does not answer)"
BACK = r"PostgreSQL is back"


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


def refuse_connections(site):
    """The database is there but takes nobody any more."""
    with Database(site.cluster, "postgres") as admin:
        admin.execute(f"ALTER DATABASE {site.db.name} ALLOW_CONNECTIONS false")
        admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", site.db.name)
    site.db.close()

    def undo():
        with Database(site.cluster, "postgres") as admin:
            admin.execute(f"ALTER DATABASE {site.db.name} ALLOW_CONNECTIONS true")

    return undo


def fill_connections(site):
    """All connections are taken."""
    with Database(site.cluster, "postgres") as admin:
        admin.execute(f"ALTER DATABASE {site.db.name} CONNECTION LIMIT 1")
    site.db.close()
    taken = []
    try:
        while True:
            taken.append(psycopg2.connect(site.cluster.conninfo("postgres")))
    except psycopg2.OperationalError as error:
        assert "too many" in str(error) or "reserved" in str(error), error
    with taken[0].cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (site.db.name,))
    try:
        while True:
            taken.append(psycopg2.connect(site.cluster.conninfo("postgres")))
    except psycopg2.OperationalError:
        pass

    def undo():
        for connection in taken:
            connection.close()
        with Database(site.cluster, "postgres") as admin:
            admin.execute(f"ALTER DATABASE {site.db.name} CONNECTION LIMIT -1")

    return undo


def restart_cluster(site):
    site.cluster.stop()
    site.db.close()
    return site.cluster.start


def refuse_writes(site):
    """Every statement of the audit log fails, as with a full disk: the connection itself is fine."""
    site.db.execute("CREATE FUNCTION public.full_disk() RETURNS trigger LANGUAGE plpgsql AS $$"
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


@pytest.mark.parametrize("trouble", [refuse_connections, fill_connections, restart_cluster, refuse_writes, read_only])
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
    time.sleep(2)
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


@pytest.mark.parametrize("whom", ["backends", "everything"])
def test_frozen_postgresql(own_site, whom):
    """SIGSTOP: connections stay open and nothing answers."""
    site = own_site
    broker = site.add_broker()
    device = site.device("dev-1")
    site.wait_device("dev-1", listening=True)
    pids = backends(site) + ([site.cluster.process.pid] if whom == "everything" else [])
    site.db.close()
    freeze(pids, signal.SIGSTOP)
    try:
        device.report("IDLE", n=1)
        broker.wait_log(AWAY, 15)
        serves(broker)
        device.report("IDLE", n=2)
        assert len(broker.log_lines(AWAY)) == 1
        freeze(pids, signal.SIGCONT)
        wait_for(lambda: stored(site) == {1: 1, 2: 1}, 10)
        broker.wait_log(BACK)
        assert len(broker.log_lines(BACK)) == 1
        site.db.close()
        freeze(pids, signal.SIGSTOP)
        device.report("IDLE", n=3)
        time.sleep(0.5)
        assert stop_seconds(broker) < 5
    finally:
        freeze(pids, signal.SIGCONT)
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


def test_name_server_that_never_answers(own_site, tmp_path):
    """The resolver waits for half a minute; nobody else does, and neither does the end."""
    if os.geteuid() != 0 or subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode:
        pytest.skip("needs a mount namespace of its own")
    resolv = tmp_path / "resolv.conf"
    resolv.write_text("nameserver 127.99.99.99\noptions timeout:30 attempts:3\n")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as trap:
        trap.bind(("127.99.99.99", 53))
        broker = own_site.add_broker(start=False, database="host=database.example.org user=x dbname=x")
        broker.command = ["unshare", "-m", "sh", "-c", f"mount --bind {resolv} /etc/resolv.conf && exec \"$@\"", "sh",
                          *broker.command]
        broker.start()
        broker.wait_log(AWAY, 15)
        serves(broker)
        time.sleep(1)
        assert stop_seconds(broker) < 5
