"""A stage opens for many connected devices: how long until the last of them is told, and what others feel meanwhile."""

import datetime
import os
import time

from common import Ping, cpu_seconds, wait_for


def _seconds(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


class Nobody:
    """Instead of a Ping: nothing else comes to the broker, which then looks up every 100 ms only."""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def end(self):
        return None


def opening(bench, devices, pinged):
    """Seconds from opened_at to the first and to the last notice; another client's pings meanwhile; broker's time; pings before, when
    nothing goes on: what one takes on this machine at this moment."""
    with bench.site() as site, bench.fleet(site, devices, fault="silent=100%") as run:
        with Ping(site.broker) if pinged else Nobody() as ping:
            time.sleep(3 if pinged else 0)
            idle = ping.end()
        site.release("2.0.0")
        site.plan("wide", ("first", 0.1, "0 seconds"), ("full", 100, "0 seconds"), options={"pacing": "none"},
                  success_threshold=0.5)
        rollout = site.start_rollout("default", "2.0.0", "wide")
        first = max(1, devices // 1000)
        wait_for(lambda: len(run.notices()) >= first, 30, lambda: site.describe(rollout))
        with Ping(site.broker) if pinged else Nobody() as ping:
            before = cpu_seconds(site.broker.process)
            site.order("advance", rollout)
            size = run.notices_path.stat().st_size
            expected = size // first * devices * 0.9  # reading the lines costs processor time of its own

            def complete():
                return (os.stat(run.notices_path).st_size >= expected
                        and len(run.notices()) >= devices)

            wait_for(complete, 60, lambda: f"{len(run.notices())} notices\n{site.describe(rollout)}", every=0.25)
            broker = cpu_seconds(site.broker.process) - before
            pings = ping.end()
        opened = site.stages(rollout)[1]["opened_at"].timestamp()
        told = sorted(_seconds(notice["ts"]) for notice in run.notices()[first:])
        heard = len({notice["device"] for notice in run.notices()})
        assert heard == devices, f"{heard} of {devices} devices heard of the release"
        return told[0] - opened, told[-1] - opened, pings, broker, idle


def run(bench):
    for devices in bench.size((10_000,), (500,), (10_000, 15_000)):
        results = []
        alone = []
        for _ in range(bench.size(3, 1, 5)):
            results.append(opening(bench, devices, True))
            alone.append(opening(bench, devices, False))
        idle = [result[4] for result in results]
        name = f"stage {devices:,}"
        bench.row(f"{name}: opened to first notice", [result[0] for result in results], "s")
        bench.row(f"{name}: opened to last notice", [result[1] for result in results], "s", note="target 3 s")
        bench.row(f"{name}: the same, broker else idle", [result[1] for result in alone], "s", note="target 3 s")
        bench.row(f"{name}: slowest ping, idle", [one["max"] * 1e3 for one in idle], "ms")
        bench.row(f"{name}: slowest ping meanwhile", [result[2]["max"] * 1e3 for result in results], "ms",
                  [one["max"] * 1e3 for one in idle], "target 100 ms")
        bench.row(f"{name}: p99 ping meanwhile", [result[2]["p99"] * 1e3 for result in results], "ms",
                  [one["p99"] * 1e3 for one in idle])
        bench.row(f"{name}: broker thread", [result[3] / devices * 1e6 for result in results], "µs/notice")
