"""What a large registry costs, from 1,000 to 1,000,000 devices: opening stages, the controller's passes, handing out, reports, halts, the
broker's start, and the views that people look at."""

import time

from common import BUILD, load, wait_for
from harness import Fleet, Postgres

REPORT = '{"version":"1.0.1","status":"IDLE","ts":"2026-01-31T02:10:04Z"}'
REPORTING = 1000  # devices


def timed(action):
    begin = time.monotonic()
    action()
    return time.monotonic() - begin


def passes(database, seconds):
    """Milliseconds that one pass keeps PostgreSQL busy: everything the plugin asks, over the number of passes."""
    database.execute("SELECT pg_stat_statements_reset()")
    time.sleep(seconds)
    return database.value("""SELECT sum(total_exec_time + total_plan_time) / sum(calls) FILTER (WHERE query ~ 'controller_read')
                               FROM pg_stat_statements WHERE query !~ 'pg_stat_statements'""")


def spent(database, pattern, over=None):
    """Milliseconds of PostgreSQL since the last reset in statements of this kind; for each of their rows when over is "rows"."""
    each = f" / nullif(sum({over}), 0)" if over else ""
    return database.value(f"SELECT sum(total_exec_time + total_plan_time){each} FROM pg_stat_statements"
                          " WHERE query ~ %s AND query !~ 'pg_stat_statements'", pattern)


def started(broker):
    """Seconds until a broker answers a client."""
    begin = time.monotonic()
    broker.launch()
    wait_for(lambda: broker.listening() or broker.process.poll() is not None, 60, "the broker listens", every=0.002)
    broker.ping_seconds()
    return time.monotonic() - begin


class Registry:
    """A site with so many devices, of which none is connected; what is measured in it."""

    def __init__(self, bench, site, devices):
        self.bench, self.site, self.devices = bench, site, devices
        self.name = f"registered {devices:,}"
        self.images = Fleet(BUILD / "examples" / "fleet" / "mosquitto_ota_fleet", site.folder / "images")
        self.version = 0
        database = site.db
        database.execute("CREATE EXTENSION pg_stat_statements")
        database.execute("""INSERT INTO ota.device (device_id, fleet, version, hardware, first_seen, last_seen)
               SELECT 'device-' || lpad(n::text, greatest(5, length(n::text)), '0'), 'default', '1.0.' || n %% 5, 'rev-' || n %% 3, now(), now()
                 FROM generate_series(1, %s) n""", devices)
        database.execute("VACUUM ANALYZE ota.device")
        site.plan("wide", ("first", 1, "1 hour"), ("full", 100, "1 hour"), options={"pacing": "none"})

    def row(self, what, values, unit, baseline=None, note=""):
        self.bench.row(f"{self.name}: {what}", values, unit, baseline, note)

    def open(self):
        """A rollout to all of them, with both its stages open: its number, seconds for each stage and for an UPDATE of as many rows."""
        database = self.site.db
        self.version += 1
        version = f"2.0.{self.version}"
        self.site.release(version, **self.images.image(version, size=4096))
        rollout = self.site.start_rollout("default", version, "wide")
        opened = []
        for stage in (1, 2):
            database.execute("SELECT pg_stat_statements_reset()")
            if stage == 2:
                self.site.order("advance", rollout)
            wait_for(lambda: self.site.stages(rollout)[stage - 1]["opened_at"], 600, lambda: self.site.describe(rollout), every=0.1)
            opened.append(spent(database, "controller_(open_stage|eligible)") / 1e3)
            cohort, expected = self.site.stages(rollout)[stage - 1]["cohort"], (self.devices // 100, self.devices)[stage - 1]
            assert cohort == expected, f"stage {stage} has {cohort} devices instead of {expected}"
        count = database.value("SELECT count(*) FROM ota.device_update WHERE rollout_id = %s", rollout)
        assert count == self.devices, f"{count} of {self.devices} devices have an update"
        update = timed(lambda: database.execute("UPDATE ota.device_update SET from_version = '1.0.9' WHERE rollout_id = %s", rollout))
        return rollout, *opened, update

    def clear(self, rollout):
        """Seconds for a halt; then the rows of the rollout go, so that each round begins alike."""
        took = timed(lambda: self.site.order("halt", rollout))
        assert self.site.rollout(rollout)["state"] == "halted"
        self.site.db.execute("TRUNCATE ota.device_update")
        self.site.order("cancel", rollout)
        return took

    def reports(self, messages):
        """For a report of devices that are registered: microseconds of PostgreSQL, bytes of its write-ahead log."""
        database = self.site.db
        count = "SELECT count(*) FROM ota.event WHERE kind = 'status'"
        before = database.value(count)
        database.execute("SELECT pg_stat_statements_reset()")
        log = database.value("SELECT pg_current_wal_lsn()")
        load("publish", self.site.broker.port, REPORTING, messages, 1, 5, "devices/{}/ota/status", REPORT, prefix="device")
        wait_for(lambda: database.value(count) - before >= messages, 120, "all reports are in the tables", every=0.1)
        assert database.value(count) - before == messages, f"{database.value(count) - before} reports instead of {messages}"
        return (spent(database, "broker_(read|write)") * 1e3 / messages,
                database.value("SELECT pg_current_wal_lsn() - %s::pg_lsn", log) / messages)

    def sizes(self):
        """Bytes on disk, indexes included, of a device and of its update."""
        for name, table in (("a device on disk", "device"), ("a device's update on disk", "device_update")):
            size = self.site.db.value("SELECT pg_total_relation_size(%s::regclass)", f"ota.{table}")
            self.row(name, [size / self.devices], "bytes/device")

    def views(self, rollout):
        """Milliseconds of what people look at."""
        database = self.site.db
        for name, question in (("view rollout_progress", "SELECT * FROM ota.rollout_progress"),
                               ("view fleet_versions", "SELECT * FROM ota.fleet_versions"),
                               ("last 20 events of a device", "SELECT * FROM ota.device_history WHERE device_id = 'device-00001' ORDER BY at DESC LIMIT 20")):
            found = database.rows(question)
            if name == "view fleet_versions":
                assert sum(one["devices"] for one in found) == self.devices, found
            elif name == "view rollout_progress":
                assert [one["cohort"] for one in found if one["rollout_id"] == rollout] == [self.devices], found
            else:
                assert found, "device-00001 has no event"
            self.row(name, [timed(lambda: database.rows(question)) * 1e3 for _ in range(self.bench.rounds)], "ms")


def measure(bench, server, devices):
    with bench.site(postgres=server) as site:
        here = Registry(bench, site, devices)
        try:
            here.row("a pass, no rollout", [passes(site.db, 3)], "ms")
            rounds = []
            for number in range(bench.rounds):
                rollout, *times = here.open()
                if number == 0:
                    here.row("a pass, rollout running", [passes(site.db, 1.6) for _ in range(bench.rounds)], "ms", note="bar 20 ms")
                    busy, log = zip(*(here.reports(bench.size(20_000, 3000)) for _ in range(bench.size(3, 1))))
                    here.row("PostgreSQL for a report", busy, "µs/report", note=f"{REPORTING:,} of the devices report")
                    here.row("write-ahead log for a report", log, "bytes/report")
                    here.views(rollout)
                    here.sizes()
                    # Devices that are told and answer, which is when the tables move.
                    site.db.execute("SELECT pg_stat_statements_reset()")
                    with bench.fleet(site, 200, download_delay="1000-6000"):
                        wait_for(lambda: site.stages(rollout)[0]["notified"] + site.stages(rollout)[1]["notified"] >= 200, 60, lambda: site.describe(rollout))
                        here.row("PostgreSQL to claim a device", [spent(site.db, "broker_claim\\M", "rows") * 1e3], "µs/device")
                        here.row("a pass, 200 devices updating, their reports too", [passes(site.db, 4)], "ms")
                times.append(here.clear(rollout))
                rounds.append(times)
            first, full, update, halt = zip(*rounds)
            here.row("UPDATE of all device updates", update, "s")
            here.row("open the first stage (1 % join)", first, "s", update)
            here.row("open the last stage (99 % join)", full, "s", update, "to the UPDATE of as many rows")
            here.row("halt_rollout", halt, "s")
            start = {False: [], True: []}
            with bench.plain_broker() as plain:
                for _ in range(bench.rounds):
                    for broker, plugin in ((plain, False), (site.broker, True)):
                        broker.stop()
                        start[plugin].append(started(broker))
            here.row("broker start without plugin", start[False], "s")
            here.row("broker start until it listens", start[True], "s")
        finally:
            here.images.close()


def run(bench):
    server = Postgres(bench.sub_folder() / "pg")
    with open(server.folder / "data" / "postgresql.conf", "a", encoding="ascii") as conf:
        conf.write("shared_preload_libraries = 'pg_stat_statements'\npg_stat_statements.track_planning = on\n"
                   "max_wal_size = 4GB\nshared_buffers = 512MB\n")
    try:
        server.start()
        for devices in bench.size((1000, 10_000, 100_000, 1_000_000), (1000, 3000)):
            measure(bench, server, devices)
    finally:
        server.destroy()
