"""Many devices without HTTP fetch their image in blocks at the same time: how long that takes, and what others feel meanwhile.

Other traffic is relayed in short turns while the devices fetch, and in turns between them while the devices are stopped (SIGSTOP), so that
what else the machine does meets both alike.
"""

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import time

from common import BUILD, Ping, Turns, cpu_seconds, wait_for

TOPIC = "sensors/building-7/room-12/temperature"
PAYLOAD = '{"value":21.5,"unit":"C","ts":"2026-01-31T02:10:04Z"}'
BLOCK, WINDOW = 16384, 4
SETTLE = 0.03  # until what was asked before the stop has been answered


class Fetch:
    """The devices; they begin when their rollout does."""

    def __init__(self, site, devices, size):
        self.site = site
        data = os.urandom(size)
        image = site.folder / "images" / "image.bin"
        image.write_bytes(data)
        digest = hashlib.sha256(data).hexdigest()
        site.release("2.0.0", sha256=digest, size=size)
        site.plan("wide", ("first", 50, "0 seconds"), ("full", 100, "0 seconds"), options={"pacing": "none"}, success_threshold=0.1)
        self.process = subprocess.Popen([BUILD / "tests" / "bench" / "fetch", *map(str, (site.broker.port, devices, image, digest, BLOCK, WINDOW))],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        assert self.process.stdout.readline(), "the devices gave up"
        wait_for(lambda: site.db.value("SELECT count(*) FROM ota.device WHERE listening") >= devices, 60, every=0.2)
        self.rollout = site.start_rollout("default", "2.0.0", "wide", reason="emergency: all of them at the same time")
        wait_for(lambda: site.db.value("SELECT count(*) FROM ota.device_update WHERE state <> 'pending'") >= devices, 60,
                 lambda: site.describe(self.rollout), every=0.05)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate()

    def stop(self):
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self):
        self.process.send_signal(signal.SIGCONT)

    def running(self):
        return self.process.poll() is None

    def end(self):
        line = self.process.stdout.readline()
        assert line and self.process.wait() == 0, "a device did not get its image"
        return json.loads(line)


@contextlib.contextmanager
def serving(bench, rate):
    """A broker that serves images in blocks."""
    with bench.site(start=False, block_bytes_per_second=rate) as site:
        (site.folder / "images").mkdir()
        site.broker.options["firmware_directory"] = site.folder / "images"
        site.broker.start()
        site.wait_ready()
        yield site


def alone(bench, devices, size, rate):
    """Nothing else goes on but pings: seconds, the broker thread's microseconds for a block, pings."""
    with serving(bench, rate) as site:
        with Fetch(site, devices, size) as fetch, Ping(site.broker) as ping:
            before = cpu_seconds(site.broker.process)
            done = fetch.end()
            cost = (cpu_seconds(site.broker.process) - before) / (done["bytes"] / BLOCK) * 1e6
            return done, cost, ping.end()


def beside(bench, devices, size, rate, turns_wanted):
    """Messages a second of others, in turns beside the devices and in turns without; pings of all the time."""
    with serving(bench, rate) as site:
        with_blocks, without = [], []
        with Turns(site.broker.port, 1, 4_000, 0, TOPIC, PAYLOAD) as turns, Fetch(site, devices, size) as fetch:
            turns.turn()
            with Ping(site.broker) as ping:
                while fetch.running() and len(without) < turns_wanted:
                    with_blocks.append(turns.messages / turns.turn()["seconds"])
                    fetch.stop()
                    time.sleep(SETTLE)
                    without.append(turns.messages / turns.turn()["seconds"])
                    fetch.go_on()
                    time.sleep(SETTLE)
                pings = ping.end()
            if not fetch.running():  # within the last turn
                fetch.end()
                del with_blocks[-1:], without[-1:]
        assert without, "the images were there before a turn was over"
        return with_blocks, without, pings


def run(bench):
    devices = bench.size(1_000, 20)
    for name, rate in (("4 MiB/s (default)", 4 << 20), ("16 MiB/s", 16 << 20)):
        size = bench.size(1 << 20, rate // 8)  # with few devices some seconds, too
        done, cost, pings = alone(bench, devices, size, rate)
        bench.row(f"block {name}: from the first notice to the last image", [done["seconds"]], "s", note=f"{devices:,} devices")
        bench.row(f"block {name}: to the first image", [done["first_done"]], "s", note="all take turns")
        bench.row(f"block {name}: all bytes", [done["bytes"] / done["seconds"] / (1 << 20)], "MiB/s")
        bench.row(f"block {name}: broker thread", [cost], "µs/block", note="with pings, 16 KiB")
        bench.row(f"block {name}: slowest ping", [pings["max"] * 1e3], "ms", note="target 100 ms")
        bench.row(f"block {name}: p99 ping", [pings["p99"] * 1e3], "ms")
        with_blocks, without, pings = beside(bench, devices, size, rate, bench.size(200, 3))
        bench.row(f"block {name}: other traffic while they wait", without, "messages/s")
        bench.row(f"block {name}: other traffic meanwhile", with_blocks, "messages/s", without, "target 0.9")
        bench.row(f"block {name}: slowest ping beside other traffic", [pings["max"] * 1e3], "ms", note="target 100 ms")
