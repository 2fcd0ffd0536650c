"""The plugin beside a conventional back end (rival/backend.js): the same reports and the same devices, in turns."""

import json
import os
import pathlib
import shutil
import signal
import socket
import struct
import subprocess
import time

from common import Listeners, load, tree_seconds, wait_for
from reports import PAYLOAD, TOPIC, arrived, committed, counted, send

FOLDER = pathlib.Path(__file__).parent / "rival"
# A developer who measures lifts the limits; one who does not keeps Mosquitto's (1,000 queued, 20 in flight).
LIFTED = ("max_queued_messages 0", "max_inflight_messages 0")


def install():
    """The rival's packages, from the npm registry, once."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        return "nodejs and npm are not installed"
    if (FOLDER / "node_modules" / ".package-lock.json").exists():
        return None
    try:  # without a network npm would try for minutes
        done = subprocess.run(["npm", "ci", "--no-audit", "--no-fund", "--fetch-retries=1", "--fetch-timeout=20000"], cwd=FOLDER,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120)
    except subprocess.TimeoutExpired:
        return "npm ci took longer than two minutes"
    return None if done.returncode == 0 else f"npm ci failed: {' '.join(done.stdout.split())[:200]}"


class Rival:
    """A broker without the plugin, a database, and the back end between them."""

    def __init__(self, bench, *arguments, limits=LIFTED):
        self.bench = bench
        self.arguments = arguments
        self.limits = limits

    def __enter__(self):
        self.database = self.bench.postgres.create_database()
        self.plain = self.bench.plain_broker(self.limits)
        self.broker = self.plain.__enter__()
        url = f"postgresql://postgres@/{self.database.name}?host={self.database.server.folder}&port={self.database.server.port}"
        what, *rest = self.arguments
        self.process = subprocess.Popen(["node", FOLDER / "backend.js", what, str(self.broker.port), url, *rest], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True, env={**os.environ, "NODE_ENV": "production"})
        assert self.process.stdout.readline() == "ready\n", "the back end did not start"
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGKILL)
        self.process.communicate()
        self.plain.__exit__(None, None, None)
        self.bench.postgres.drop_database(self.database)

    def cpu(self):
        return sum(tree_seconds(pid) for pid in (self.broker.process.pid, self.process.pid, self.database.server.process.pid))

    def events(self):
        return self.database.value("SELECT count(*) FROM event")


def rival_reports(bench, mode, devices, messages):
    """Reports a second into the tables, CPU microseconds for each."""
    with Rival(bench, "ingest", mode) as rival:
        before = rival.cpu()
        sent = load("publish", rival.broker.port, devices, messages, 1, max(1, min(100, 5000 // devices)), TOPIC, PAYLOAD, prefix="device")
        wait_for(lambda: rival.database.value("SELECT coalesce(max(event_id), 0) FROM event") >= messages, 900, every=0.05)
        end = time.time()
        cpu = rival.cpu() - before
        assert rival.events() == messages
        return messages / (end - sent["began"]), cpu / messages * 1e6


def our_reports(bench, devices, messages):
    with bench.site() as site:
        def cpu():
            return sum(tree_seconds(pid) for pid in (site.broker.process.pid, bench.postgres.process.pid))

        before = cpu()
        sent = send(site, devices, messages)
        end = arrived(site, devices, messages)
        taken = cpu() - before
        counted(site, messages)
        return messages / (end - sent["began"]), taken / messages * 1e6


def lost(bench, devices, messages):
    """Acknowledged reports that never reach the tables when nobody has changed Mosquitto's limits."""
    with Rival(bench, "ingest", "batch", limits=()) as rival:
        load("publish", rival.broker.port, devices, messages, 1, max(1, min(100, 5000 // devices)), TOPIC, PAYLOAD, prefix="device")
        last = [-1, time.monotonic()]

        def still():  # nothing has come for three seconds
            now = rival.events()
            if now != last[0]:
                last[:] = now, time.monotonic()
            return time.monotonic() - last[1] > 3

        wait_for(still, 300, every=0.2)
        return messages - last[0]


def our_lost(bench, devices, messages):
    """The same of the plugin, on the same limits: acknowledged, and not in the tables when nothing more comes."""
    with bench.site() as site:
        sent = send(site, devices, messages)
        committed(site, devices, messages)
        return sent["acknowledged"] - site.db.value("SELECT count(*) FROM ota.event WHERE kind = 'status'")


def rival_notices(bench, devices, mode):
    """Seconds from the command to the last device's notice; the tables say what the mode promises."""
    with Rival(bench, "notify", mode) as rival, Listeners(rival.broker, devices, "devices/{}/ota/available") as listeners:
        rival.database.execute("INSERT INTO device (device_id) SELECT 'device-' || lpad(n::text, 5, '0') FROM generate_series(1, %s) n", devices)
        rival.database.execute("ANALYZE device")
        notice = {"version": "2.0.0", "url": "https://cdn.example.com/firmware/2.0.0.bin", "sha256": "0" * 64, "size": 1048576,
                  "manifest": {"payload": "x" * 500}}
        begin = time.time()
        rival.process.stdin.write(json.dumps(notice) + "\n")
        rival.process.stdin.flush()
        last = listeners.end()["last"]
        table = "device WHERE notified = '2.0.0'" if mode == "mark" else "told JOIN event USING (device_id) WHERE rollout = '2.0.0'"
        noted = rival.database.value(f"SELECT count(*) FROM {table}")
        assert noted == devices, f"{noted} of {devices} notices are in the tables"
        return last - begin


def our_notices(bench, devices):
    """Seconds from the stage's opening to the last device's notice."""
    with bench.site() as site, Listeners(site.broker, devices, "devices/{}/ota/available") as listeners:
        wait_for(lambda: site.db.value("SELECT count(*) FROM ota.device WHERE listening") >= devices, 120, every=0.2)
        site.release("2.0.0")
        site.plan("wide", ("first", 0.1, "0 seconds"), ("full", 100, "0 seconds"), options={"pacing": "none"}, success_threshold=0.5)
        rollout = site.start_rollout("default", "2.0.0", "wide")
        wait_for(lambda: site.stages(rollout) and site.stages(rollout)[0]["opened_at"], 60, lambda: site.describe(rollout))
        site.order("advance", rollout)
        last = listeners.end()["last"]
        return last - site.stages(rollout)[1]["opened_at"].timestamp()


def fan_out(bench, devices):
    """The physical limit: the bare broker hands one published message to as many subscribers."""
    with bench.plain_broker(("allow_duplicate_messages true",)) as broker:
        return load("relay", broker.port, devices, 1, 1, 100, "fleet/default/ota/available", "x" * 900)["seconds"]


def each(bench, devices):
    """What messages that are addressed singly cost on the bare broker: one client publishes one to each device's own topic, all at once."""
    with bench.plain_broker(LIFTED) as broker, Listeners(broker, devices, "devices/{}/ota/available") as listeners:
        packets = b"".join(
            bytes([0x32]) + remaining(len(topic) + 904) + struct.pack(">H", len(topic)) + topic + struct.pack(">H", number) + b"x" * 900
            for number, topic in ((n, f"devices/device-{n:05}/ota/available".encode()) for n in range(1, devices + 1)))
        with socket.create_connection(("127.0.0.1", broker.port)) as client:
            client.sendall(b"\x10\x10\x00\x04MQTT\x04\x02\x00\x3c\x00\x04each")
            assert client.recv(4) == b"\x20\x02\x00\x00"
            begin = time.time()
            client.sendall(packets)
            return listeners.end()["last"] - begin


def remaining(length):
    """The length as MQTT writes it, of a packet of 128 to 16,383 bytes."""
    return bytes([length % 128 | 128, length // 128])


def reports(bench):
    messages, devices = bench.size(200_000, 10_000), bench.size(1000, 100)
    rates = {name: [] for name in ("ours", "batch", "row")}
    cpus = {name: [] for name in rates}
    for _ in range(bench.rounds):
        for name in rates:
            count = messages if name != "row" else messages // 5
            rate, cpu = our_reports(bench, devices, count) if name == "ours" else rival_reports(bench, name, devices, count)
            rates[name].append(rate)
            cpus[name].append(cpu)
    size = f"{messages:,} from {devices:,} devices"
    bench.row("rival: Node.js, batches: reports", rates["batch"], "reports/s", note=size)
    bench.row("rival: Node.js, a row each: reports", rates["row"], "reports/s")
    bench.row("rival: plugin: reports", rates["ours"], "reports/s", rates["batch"], "to Node.js with batches; bar 1.6")
    bench.row("rival: plugin: reports, again", rates["ours"], "reports/s", rates["row"], "to Node.js with a row each; bar 6")
    bench.row("rival: Node.js, batches: all processor time", cpus["batch"], "µs/report")
    bench.row("rival: plugin: all processor time", cpus["ours"], "µs/report", cpus["batch"], "to Node.js with batches; bar 0.5")
    missing = {"rival: Node.js": [], "rival: plugin": []}
    for _ in range(bench.size(3, 1, 5)):
        missing["rival: Node.js"].append(lost(bench, devices, messages))
        missing["rival: plugin"].append(our_lost(bench, devices, messages))
    for name, found in missing.items():
        bench.row(f"{name}, Mosquitto's limits: acknowledged and lost", found, "reports", note=f"of {messages:,}")


def notices(bench):
    ours, marked, recorded = [], [], []
    devices = bench.size(10_000, 300)
    for _ in range(bench.rounds):
        marked.append(rival_notices(bench, devices, "mark"))
        recorded.append(rival_notices(bench, devices, "record"))
        ours.append(our_notices(bench, devices))
    bench.row("rival: Node.js: command to the last notice", marked, "s", note=f"{devices:,} devices, each row says the version it was told")
    bench.row("rival: Node.js, a record each: command to the last notice", recorded, "s", note="a row for each in the rollout and in the history")
    bench.row("rival: plugin: stage opened to the last notice", ours, "s", marked, "bar 0.5")
    bench.row("rival: plugin: stage opened to the last notice, again", ours, "s", recorded, "to Node.js with a record each; bar 0.5")


def limit(bench):
    ours, bare, single = [], [], []
    devices = bench.size(15_000, 300)
    for _ in range(bench.rounds):
        bare.append(fan_out(bench, devices))
        single.append(each(bench, devices))
        ours.append(our_notices(bench, devices))
    bench.row("limit: bare broker, one message to all", bare, "s", note=f"{devices:,} subscribers")
    bench.row("limit: bare broker, a message for each", single, "s", bare, "published by one client")
    bench.row("limit: plugin: stage opened to the last notice", ours, "s", bare, "bar 1.5")


def run(bench):
    missing = install()
    if missing:
        print(f"  the back end is left out: {missing}", flush=True)
    else:
        reports(bench)
        notices(bench)
    limit(bench)
