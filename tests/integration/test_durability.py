"""Whatever is killed, stopped, frozen or full: no acknowledged report is lost, none counts twice, the broker serves on.

OTA_LONG=1 repeats the random ones often and adds the slow ones.
"""

import json
import os
import random
import signal
import socket
import subprocess
import threading
import time

import psycopg2
import pytest

from harness import Database, Postgres, Site, Storm, stays, wait_for

pytestmark = pytest.mark.usefixtures("plugin")

LONG = bool(os.environ.get("OTA_LONG"))
only_long = pytest.mark.skipif(not LONG, reason="slow: OTA_LONG=1 runs it")


def all_listening(site, count, version="1.0.0"):
    wait_for(lambda: site.db.value("SELECT count(*) FROM ota.device WHERE listening AND version = %s", version) == count, 15,
             lambda: site.db.rows("SELECT device_id, connected, listening, version, broker FROM ota.device"))


def told(devices):
    return [device for device in devices if device.notices()]


@pytest.fixture(scope="module")
def cluster(session_folder):
    """A cluster that the tests of this file mistreat, one after the other."""
    server = Postgres(session_folder / "pg-durability")
    server.start()
    with Database(server, "postgres") as admin:  # processes are killed here, the machine is not
        admin.execute("ALTER SYSTEM SET fsync = off")
        admin.execute("SELECT pg_reload_conf()")
    yield server
    server.destroy()


@pytest.fixture
def own_site(tmp_path, cluster, make_broker):
    """A site on a cluster that the test may mistreat; no broker yet."""
    if cluster.process is None or cluster.process.poll() is not None:
        wait_for(lambda: try_start(cluster), 20, "PostgreSQL starts", every=0.2)
    site = Site(tmp_path, cluster.create_database(), make_broker)
    site.cluster = cluster
    site.at_end = []
    yield site
    for undo in site.at_end:
        undo()
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


@pytest.mark.parametrize("strike, times", [(strike_broker, 3), (strike_postgres, 3), (strike_postgres_immediate, 1),
                                           (strike_both, 1)])
def test_storm_of_reports_survives(own_site, strike, times):
    own_site.add_broker()
    seed = random.randrange(1 << 30)
    random.seed(seed)
    print("seed", seed)
    with Storm(own_site.broker, 50) as storm:
        for _ in range(20 if LONG else times):
            time.sleep(random.uniform(0.1, 0.5))
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
        broker = site.add_broker(state_directory=folder / "state")
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
    ending.set()
    for thread in hammers:
        thread.join()
    assert not problems, "\n".join(str(problem) for problem in problems[:3])
    assert len(set(done)) == 4 or len(done) > 50, done
    if site.rollout(rollout)["state"] in ("paused", "halted"):
        site.order("resume", rollout)

    def finished():
        for one in site.db.column(behind, rollout):
            site.db.execute("SELECT ota.retry_device(%s, %s, 'the test')", rollout, one)
        row = site.rollout(rollout)
        if row["next_action"] == "verdict when the first device has finished" and not site.db.value(
                "SELECT count(*) FROM ota.device_update WHERE rollout_id = %s AND state NOT IN ('succeeded', 'cancelled')", rollout):
            site.order("advance", rollout)  # all of the stage were recalled too late: nobody's success counts
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
