"""Status reports into the tables: everything at once, and the two halves apart."""

import pathlib
import time

from common import cpu_seconds, load, tree_seconds, wait_for

TOPIC = "devices/{}/ota/status"
PAYLOAD = '{"version":"1.4.2","status":"IDLE","checks":{"mqttConnected":true,"gpsLock":true},"ts":"2026-01-31T02:10:04Z"}'


def send(site, devices, messages):
    return load("publish", site.broker.port, devices, messages, 1, max(1, min(100, 5000 // devices)), TOPIC, PAYLOAD,
                prefix="device")


def arrived(site, devices, messages, timeout=300):
    """Waits for the last report's row and returns the time; each device's connection is a record too."""
    wait_for(lambda: site.db.value("SELECT coalesce(max(last_seq), 0) FROM ota.broker") >= messages + devices, timeout, every=0.01)
    return time.time()


def counted(site, messages):
    """Each report has its row.  To count them takes PostgreSQL some time: that of the reports has been looked up before."""
    found = site.db.value("SELECT count(*) FROM ota.event WHERE kind = 'status'")
    assert found == messages, f"{found} of {messages} reports are in the tables"


def committed(site, devices, messages, timeout=300):
    """arrived() and counted()."""
    end = arrived(site, devices, messages, timeout)
    counted(site, messages)
    return end


def spent(site, server):
    """Processor time so far: of the broker's thread, of the plugin's other threads, of all PostgreSQL."""
    pid = site.broker.process.pid
    others = sum(int((task / "schedstat").read_text().split()[0]) for task in pathlib.Path(f"/proc/{pid}/task").iterdir() if task.name != str(pid))
    return {"cpu": cpu_seconds(site.broker.process), "store": others / 1e9, "database": tree_seconds(server.process.pid)}


def whole(bench, devices, messages):
    """From the first publish to the last committed row; also what it costs of whose processor time, in us for each report."""
    with bench.site() as site:
        before = spent(site, bench.postgres)
        sent = send(site, devices, messages)
        end = arrived(site, devices, messages)
        after = spent(site, bench.postgres)
        counted(site, messages)
        return {"whole": messages / (end - sent["began"]), "acknowledged": messages / sent["seconds"],
                **{who: (after[who] - before[who]) / messages * 1e6 for who in after}}


def drain(bench, devices, messages):
    """The outbox is filled while PostgreSQL is away, then emptied."""
    from harness import Postgres
    server = Postgres(bench.sub_folder() / "pg")
    try:
        server.start()
        with bench.site(postgres=server) as site:
            site.db.close()
            server.stop()
            sent = send(site, devices, messages)
            # The end of a batch is seen, not the reconnection, whose pause grows while PostgreSQL is away.
            server.start()
            wait_for(lambda: site.db.value("SELECT coalesce(max(last_seq), 0) FROM ota.broker") > 0, 60, "the first batch", every=0.005)
            first, begin = site.db.value("SELECT coalesce(max(last_seq), 0) FROM ota.broker"), time.time()
            end = committed(site, devices, messages)
            return (messages - first) / (end - begin), messages / sent["seconds"]
    finally:
        server.destroy()


def plain_sql(bench, devices, messages):
    """The least that must be done: the same events and the same updates of devices, in batches, by a bare statement."""
    database = bench.postgres.create_database()
    try:
        database.execute("""CREATE TABLE device (device_id text PRIMARY KEY, version text, last_seen timestamptz);
            CREATE TABLE event (event_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, at timestamptz, broker text,
                device_id text, rollout_id bigint, kind text, detail jsonb);
            CREATE INDEX ON event (device_id, at)""")
        database.execute("INSERT INTO device SELECT 'device-' || lpad(n::text, 5, '0') FROM generate_series(1, %s) n", devices)
        begin = time.time()
        for first in range(0, messages, 4000):
            database.execute("""
                WITH batch AS (SELECT 'device-' || lpad((n %% %s + 1)::text, 5, '0') AS id, now() AS at
                                 FROM generate_series(%s, %s) n),
                     seen AS (UPDATE device d SET version = '1.4.2', last_seen = x.at
                                FROM (SELECT id, max(at) AS at FROM batch GROUP BY id) x WHERE d.device_id = x.id)
                INSERT INTO event (at, broker, device_id, kind, detail)
                SELECT at, 'broker-1', id, 'status', %s::text::jsonb FROM batch""",
                             devices, first, min(first + 4000, messages) - 1, PAYLOAD)
        return messages / (time.time() - begin)
    finally:
        bench.postgres.drop_database(database)


def without_plugin(bench, devices, messages):
    with bench.plain_broker() as broker:
        before = cpu_seconds(broker.process)
        sent = load("publish", broker.port, devices, messages, 1, max(1, min(100, 5000 // devices)), TOPIC, PAYLOAD)
        return messages / sent["seconds"], (cpu_seconds(broker.process) - before) / messages * 1e6


def run(bench):
    messages = bench.size(200_000, 20_000)
    for devices in (50, bench.size(5000, 500)):
        rates = {name: [] for name in ("whole", "acknowledged", "cpu", "store", "database", "drain", "append", "sql", "plain", "plain cpu")}
        for _ in range(bench.rounds):
            rate, cpu = without_plugin(bench, devices, messages)
            rates["plain"].append(rate)
            rates["plain cpu"].append(cpu)
            rates["sql"].append(plain_sql(bench, devices, messages))
            for name, value in whole(bench, devices, messages).items():
                rates[name].append(value)
            for name, value in zip(("drain", "append"), drain(bench, devices, messages)):
                rates[name].append(value)
        size = f"{messages:,} from {devices:,} devices"
        bench.row(f"reports {devices}: broker without plugin", rates["plain"], "reports/s", note=size)
        bench.row(f"reports {devices}: into the outbox, PostgreSQL away", rates["append"], "reports/s", rates["plain"],
                  "to the broker without plugin")
        bench.row(f"reports {devices}: plain SQL, the same rows", rates["sql"], "reports/s")
        bench.row(f"reports {devices}: outbox into the tables", rates["drain"], "reports/s", rates["sql"], "to the plain SQL; target 20,000")
        bench.row(f"reports {devices}: first publish to last row", rates["whole"], "reports/s", rates["plain"],
                  "to the broker without plugin; target 0.7")
        bench.row(f"reports {devices}: broker thread, without plugin", rates["plain cpu"], "µs/report")
        bench.row(f"reports {devices}: broker thread, with plugin", rates["cpu"], "µs/report", rates["plain cpu"])
        bench.row(f"reports {devices}: store thread", rates["store"], "µs/report")
        bench.row(f"reports {devices}: PostgreSQL", rates["database"], "µs/report")
