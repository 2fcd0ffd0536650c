"""The connection to PostgreSQL: several hosts with a hot standby, LISTEN after a reconnection, and what $SYS says of it."""

import json
import time

import psycopg2
import pytest

from harness import Database, Postgres, wait_for
from harness.control import Operator, password_file
from harness.durability import AWAY, BACK, backends, only_long, stored, told

pytestmark = pytest.mark.usefixtures("plugin")


class Standby(Postgres):
    """A hot standby that streams from `primary`."""

    def __init__(self, folder, primary):
        super().__init__(folder)
        self._run("pg_basebackup", "-D", self.folder / "copy", "-h", primary.folder, "-p", str(primary.port), "-U", "postgres",
                  "-R", "-X", "stream", "-c", "fast", "--no-sync")
        (self.folder / "data").rename(self.folder / "unused")
        (self.folder / "copy").rename(self.folder / "data")

    def promote(self):
        with Database(self, "postgres") as admin:
            admin.execute("SELECT pg_promote(true, 30)")


@only_long
def test_hot_standby_and_several_hosts(own_site, session_folder):
    """The standby stands first in the list; when the primary dies, it is promoted and the rollout goes on there."""
    site = own_site
    standby = Standby(session_folder / "pg-standby", site.cluster)
    site.at_end.append(standby.destroy)
    standby.start()
    hosts = (f"host={standby.folder},{site.cluster.folder} port={standby.port},{site.cluster.port} user=postgres"
             f" dbname={site.db.name} target_session_attrs=read-write")
    broker = site.add_broker(database=hosts)
    site.quick_plan(wait="1 second")
    site.release("1.5.0")
    devices = site.devices(4)
    wait_for(lambda: site.db.value("SELECT count(*) FROM ota.device WHERE listening") == 4, 15)
    rollout = site.start_rollout("default", "1.5.0", "quick")
    wait_for(lambda: len(told(devices)) == 2, 10, lambda: site.describe(rollout))
    # What is committed on the primary is on the standby before it dies: streaming is asynchronous here.
    position = site.db.value("SELECT pg_current_wal_lsn()::text")
    copy = Database(standby, site.db.name)
    wait_for(lambda: copy.value("SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", position), 10)
    site.cluster.kill()
    site.db.close()
    broker.wait_log(AWAY)
    devices[0].report("IDLE", n=1)
    standby.promote()
    copy.close()
    site.db = copy
    broker.wait_log(BACK, 20)
    time.sleep(1)  # claims from before the cut are claimed again: that the gate knows them shows while their sessions last
    for device in told(devices):
        device.update(device.notices()[0])
    wait_for(lambda: len(told(devices)) == 4, 20, lambda: site.describe(rollout))
    for device in devices:
        if device.version != "1.5.0":
            device.update(device.notices()[0])
    site.wait_rollout(rollout, "completed")
    assert [len(device.notices()) for device in devices] == [1] * 4, [(e["at"], e["device_id"], e["kind"], e["detail"]) for e in site.events()]
    assert stored(site) == {1: 1}
    assert len(broker.log_lines(AWAY)) == 1 and len(broker.log_lines(BACK)) == 1, broker.log_lines("PostgreSQL")


def test_listens_again_after_a_reconnection(own_site):
    """A poll once a second would hide it, so the server's log is asked."""
    site = own_site
    site.db.execute(f"ALTER DATABASE {site.db.name} SET log_statement = 'all'")
    broker = site.add_broker()
    site.wait_device(site.device("dev-1").client_id, listening=True)
    log = site.cluster.folder / "log"

    def listens():
        return sum(line.endswith("LISTEN ota") for line in log.read_text(errors="replace").splitlines())

    before = listens()
    assert before >= 1
    (pid,) = backends(site)
    site.db.execute("SELECT pg_terminate_backend(%s)", pid)
    broker.wait_log(BACK)
    wait_for(lambda: backends(site) not in ([], [pid]), 10)
    wait_for(lambda: listens() == before + 1, 5, lambda: listens())


def test_what_sys_says_of_the_database(own_site):
    """State, since when, and the backlog, for whoever comes and for whoever stays."""
    site = own_site
    begin = time.time()
    broker = site.add_broker()
    watcher = site.client("watcher")
    watcher.subscribe("$SYS/broker/ota/database")

    def said():
        return json.loads(watcher.messages[-1][1]) if watcher.messages else {}

    wait_for(lambda: said().get("state") == "connected", 15, lambda: watcher.messages)
    assert set(said()) == {"state", "since", "backlog"} and said()["backlog"] == 0
    since = site.db.value("SELECT extract(epoch FROM %s::timestamptz)::float8", said()["since"])
    assert begin - 2 <= since <= time.time() + 2
    connected = said()["since"]
    device = site.device("dev-1")
    site.wait_device("dev-1", listening=True)
    site.cluster.stop()
    site.db.close()
    wait_for(lambda: said()["state"] == "away", 10, lambda: watcher.messages)
    assert said()["since"] >= connected
    for number in range(20):
        device.report("IDLE", n=number)
    # The backlog is told every ten seconds.
    wait_for(lambda: said()["backlog"] >= 20, 15, lambda: watcher.messages)
    late = site.client("late")
    late.subscribe("$SYS/broker/ota/database")
    wait_for(lambda: late.messages and json.loads(late.messages[-1][1])["state"] == "away", 5)
    away = said()["since"]
    site.cluster.start()
    broker.wait_log(BACK, 20)
    wait_for(lambda: said()["state"] == "connected", 10, lambda: watcher.messages)
    assert said()["since"] >= away
    wait_for(lambda: len(stored(site)) == 20 and said()["backlog"] == 0, 15, lambda: watcher.messages)


def test_a_stage_that_takes_long_to_open(bare_site):
    """It is not said that the database is away while it does what it was asked for: who reads that goes and repairs it."""
    site, db = bare_site, bare_site.db
    broker = site.add_broker(extra=[f"password_file {password_file(site.folder / 'users', 'alice')}"], control_users="alice")
    alice = Operator(site, "alice")
    site.release("2.0.0")
    db.execute("INSERT INTO ota.fleet (fleet) VALUES ('pumps')")
    db.execute("INSERT INTO ota.device (device_id, fleet, version) SELECT 'd' || n, 'pumps', '1.0.0' FROM generate_series(1, 10) n")
    watcher = site.client("watcher")
    watcher.subscribe("$SYS/broker/ota/database")

    def said():
        return json.loads(watcher.messages[-1][1])["state"] if watcher.messages else ""

    with psycopg2.connect(db.conninfo) as holder:  # in the place of a million devices
        holder.cursor().execute("SELECT pg_advisory_xact_lock(hashtext('ota.listening'))")
        rollout = site.start_rollout("pumps", "2.0.0", site.quick_plan())
        broker.wait_log("PostgreSQL is busy opening a stage of many devices", 20)
        wait_for(lambda: said() == "busy", 5, lambda: watcher.messages)
        assert "PostgreSQL is busy opening a stage" in alice.refused("status")
        assert not site.stages(rollout)[0]["opened_at"]
    holder.close()
    broker.wait_log("PostgreSQL is free again, 0 events to write", 20)
    wait_for(lambda: said() == "connected", 5, lambda: watcher.messages)
    assert alice.ask("show_rollout", id=rollout)["cohort"] == 5
    assert not broker.log_lines("is away|is back")
