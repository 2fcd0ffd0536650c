"""The heap of a connected device, and of an outstanding notice, on top of what the broker itself needs for the client."""

import os
import re
import signal
import time

from common import BUILD, Listeners, load, wait_for

TOPIC = "devices/{}/ota/available"
REPORT = '{"version":"1.0.0","status":"IDLE"}'


def fleets(bench):
    return bench.size((1_000, 15_000), (100, 400))


def in_use(broker, path):
    """Bytes of the heap that the broker's process has in use, all threads."""
    path.unlink(missing_ok=True)
    broker.process.send_signal(signal.SIGRTMIN)
    wait_for(path.exists, 10, "the broker tells about its heap", every=0.01)
    text = path.read_text()
    whole = text[text.rindex("</heap>"):]
    size = {kind: int(number) for kind, number in re.findall(r'<total type="(\w+)" count="\d+" size="(\d+)"', whole)}
    current = int(re.search(r'<system type="current" size="(\d+)"', whole).group(1))
    return current + size["mmap"] - size["fast"] - size["rest"]


def settled(broker, path):
    """The same, when it has stopped to change: what was freed is counted by then."""
    last = [in_use(broker, path), time.monotonic()]

    def still():
        now = in_use(broker, path)
        if abs(now - last[0]) > 4096:
            last[:] = now, time.monotonic()
        return time.monotonic() - last[1] > 1.5

    wait_for(still, 30, "the heap is at rest", every=0.1)
    return last[0]


class Preloaded:
    """Brokers that start inside of it tell about their heap."""

    def __init__(self, path):
        self.environment = {"OTA_PRELOAD": str(BUILD / "tests" / "bench" / "heap.so"), "HEAP_FILE": str(path)}

    def __enter__(self):
        os.environ.update(self.environment)

    def __exit__(self, *_):
        for name in self.environment:
            del os.environ[name]


def connect(bench, broker, path, listening=None):
    """Bytes a client with the first clients and with all, and the clients, connected and subscribed.

    Before they come, enough others have come and gone for every buffer that is kept to have its size.
    """
    load("publish", broker.port, bench.size(4_000, 200), bench.size(4_000, 200), 1, 1, "devices/{}/ota/status", REPORT, prefix="earlier")
    sizes, clients, count = [], [], 0
    before = settled(broker, path)
    for number, prefix in zip(fleets(bench), ("device", "more")):
        clients.append(Listeners(broker, number - count, TOPIC, stay=True, prefix=prefix))
        count = number
        if listening:
            wait_for(lambda: listening() >= count, 120, every=0.2)
        sizes.append((settled(broker, path) - before) / count)
    return sizes, clients


def close(clients):
    for one in clients:
        one.__exit__()


def bare(bench):
    """Bytes a client of the broker without plugin."""
    path = bench.sub_folder() / "heap.xml"
    with Preloaded(path), bench.plain_broker() as broker:
        sizes, clients = connect(bench, broker, path)
        close(clients)
        return sizes


def ours(bench):
    """Bytes a connected device, and bytes more for each that was told of a release and has not answered."""
    path = bench.sub_folder() / "heap.xml"
    with Preloaded(path), bench.site() as site:
        site.release("2.0.0")
        site.plan("wide", ("first", 0.1, "0 seconds"), ("full", 100, "0 seconds"), options={"pacing": "none"}, success_threshold=0.5)
        sizes, clients = connect(bench, site.broker, path, lambda: site.db.value("SELECT count(*) FROM ota.device WHERE listening"))
        before = settled(site.broker, path)
        rollout = site.start_rollout("default", "2.0.0", "wide")
        wait_for(lambda: site.stages(rollout) and site.stages(rollout)[0]["opened_at"], 60, lambda: site.describe(rollout))
        site.order("advance", rollout)
        for one in clients:
            one.end()
        told = settled(site.broker, path) - before
        close(clients)
        return sizes, told / sum(one.devices for one in clients)


def run(bench):
    results = [(bare(bench), ours(bench)) for _ in range(bench.rounds)]
    for i, devices in enumerate(fleets(bench)):
        base = [without[i] for without, _ in results]
        ours_ = [sizes[i] for _, (sizes, _) in results]
        name = f"memory, {devices:,} devices"
        bench.row(f"{name}: broker without plugin", base, "bytes/client")
        bench.row(f"{name}: broker with plugin", ours_, "bytes/device", base)
        bench.row(f"{name}: on top of the broker's own", [a - b for a, b in zip(ours_, base)], "bytes/device", note="target 300")
    bench.row("memory: an outstanding notice, on top of that", [told for _, (_, told) in results], "bytes/device",
              note=f"{fleets(bench)[-1]:,} devices; all threads, what warm.state holds included")
