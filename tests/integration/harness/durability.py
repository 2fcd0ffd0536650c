"""What the tests of durability share: a database server of their own to mistreat, and what must hold afterwards."""

import contextlib
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor, TimeoutError as FutureTimeout

import pytest

from . import Database, Postgres, Site, wait_for

LONG = bool(os.environ.get("OTA_LONG"))
only_long = pytest.mark.skipif(not LONG, reason="slow: OTA_LONG=1 runs it")


def all_listening(site, count, version="1.0.0"):
    wait_for(lambda: site.db.value("SELECT count(*) FROM ota.device WHERE listening AND version = %s", version) == count, 15,
             lambda: site.db.rows("SELECT device_id, connected, listening, version, broker FROM ota.device"))


def told(devices):
    return [device for device in devices if device.notices()]


def try_start(cluster):
    """After kill -9 the old children may hold the shared memory for a moment."""
    try:
        cluster.start()
        return True
    except AssertionError:
        if cluster.process.poll() is None:
            raise
        return False


@pytest.fixture(scope="module")
def cluster(session_folder):
    """A cluster that the tests of this file mistreat, one after the other."""
    server = Postgres(session_folder / "pg-durability", to_disk=False)
    server.start()
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


def stop_seconds(broker):
    begin = time.monotonic()
    broker.stop()
    return time.monotonic() - begin


def serves(broker):
    """Other clients are served as if nothing had happened."""
    slowest = max(broker.ping_seconds() for _ in range(20))
    assert slowest < 0.25, f"PINGRESP after {slowest} s"


def freeze(site, sessions):
    """Stops sessions of PostgreSQL, each where it holds nothing: outside a transaction, waiting for its client.

    One that is stopped in mid-commit has row locks, or the lock of the write-ahead log, and then every other session waits for it.
    """
    for pid in sessions:
        wait_for(lambda: _freeze_if_idle(site, pid), 20, f"PostgreSQL's session {pid} is idle", every=0.01)


def _freeze_if_idle(site, pid):
    os.kill(pid, signal.SIGSTOP)
    idle = False
    # In a thread, because the question may have to wait for the very lock that the session was stopped with.
    with ThreadPoolExecutor(1) as asker:
        try:
            wait_for(lambda: _process_state(pid) == "T", 10, f"process {pid} stands still", every=0.001)
            idle = asker.submit(_is_idle, site, pid).result(1)
        except FutureTimeout:
            pass
        finally:
            if not idle:
                thaw([pid])
    return idle


def _process_state(pid):
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rsplit(")", 1)[1].split()[0]


def _is_idle(site, pid):
    with Database(site.db.server, site.db.name) as base:
        return base.value("SELECT state = 'idle' AND wait_event = 'ClientRead' FROM pg_stat_activity WHERE pid = %s", pid)


def thaw(pids):
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


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
