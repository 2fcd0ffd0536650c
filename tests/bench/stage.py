"""A stage opens for many connected devices: how long until the last of them is told, and what others feel meanwhile.

The broker alone (offers.c): the same with a store that has nothing but offers, so that neither PostgreSQL nor its processor time is in it.
"""

import contextlib
import datetime
import os
import signal
import statistics
import threading
import time

from common import BUILD, QUIET, Listeners, Ping, Turns, cpu_seconds, make_broker, wait_for


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


@contextlib.contextmanager
def offering(bench, devices, pace):
    """A broker whose plugin offers a release to so many listening devices at SIGHUP; a page takes `pace` nanoseconds a device."""
    extra = [*QUIET, "sys_interval 0", f"plugin {BUILD / 'tests' / 'bench' / 'offers.so'}", f"plugin_opt_devices {devices}",
             "plugin_opt_page 2000", f"plugin_opt_pace {pace}"]
    broker = make_broker(bench.sub_folder(), {}, extra=extra, with_plugin=False)
    broker.start()
    try:
        with Listeners(broker, devices, "devices/{}/ota/available") as listeners:
            time.sleep(0.5)
            yield broker, listeners
    finally:
        broker.stop()


def told_alone(bench, devices, pinged, pace):
    """Seconds from the first to the last notice; pings meanwhile; broker's time; the longest time without a notice."""
    with offering(bench, devices, pace) as (broker, listeners), (Ping(broker) if pinged else Nobody()) as ping:
        before = cpu_seconds(broker.process)
        os.kill(broker.process.pid, signal.SIGHUP)
        heard = listeners.end()
        spent = cpu_seconds(broker.process) - before
        still = max(map(len, "".join("0" if told == 0 else " " for told in heard["bins"]).split()), default=0)
        return heard["last"] - heard["first"], ping.end(), spent, still * 10


def others(bench, devices, subscribers, window):
    """Messages a second of a publisher while nothing goes on, and while notices go out; seconds that these take."""
    with offering(bench, devices, 0) as (broker, listeners), \
            Turns(broker.port, subscribers, 10, 0, "others/state", "x" * 100, window) as turns:
        rates = []
        for tell in (False, True):
            ended = []
            if tell:
                os.kill(broker.process.pid, signal.SIGHUP)
                waiter = threading.Thread(target=lambda: ended.append(listeners.end()))
                waiter.start()
            began, count = time.time(), 0
            marks = [(began, 0)]
            while not ended if tell else time.time() < began + 0.5:
                turns.turn()
                count += 10
                marks.append((time.time(), count))
            if tell:
                waiter.join()
                marks = [mark for mark in marks if ended[0]["first"] <= mark[0] <= ended[0]["last"]] or [(began, 0)]
            seconds = marks[-1][0] - marks[0][0]
            rates.append((marks[-1][1] - marks[0][1]) / seconds if seconds > 0 else 0)
        return (*rates, ended[0]["last"] - ended[0]["first"])


def run_alone(bench):
    devices = bench.size(10_000, 500)
    pinged = [told_alone(bench, devices, True, 0) for _ in range(bench.size(3, 1, 5))]
    # A page takes the store about as long as the broker takes to tell it.
    paged = [told_alone(bench, devices, False, 25_000) for _ in range(bench.size(3, 1, 5))]
    name = f"offers {devices:,}, broker alone"
    bench.row(f"{name}: first to last notice", [one[0] for one in pinged], "s")
    bench.row(f"{name}: slowest ping meanwhile", [one[1]["max"] * 1e3 for one in pinged], "ms", note="target 100 ms")
    bench.row(f"{name}: broker thread", [one[2] / devices * 1e6 for one in pinged], "µs/notice")
    bench.row(f"{name}: in pages, first to last notice", [one[0] for one in paged], "s")
    bench.row(f"{name}: in pages, longest pause", [one[3] for one in paged], "ms")
    for subscribers, window in bench.size(((1, 1), (1, 100), (20, 100)), ((1, 100),)):
        rates = [others(bench, devices, subscribers, window) for _ in range(bench.size(5, 1, 11))]
        told = statistics.median(one[2] for one in rates)
        bench.row(f"others meanwhile, 1 to {subscribers}, {window} in flight", [one[1] for one in rates], "messages/s",
                  [one[0] for one in rates], f"to the same without; notices took {told:.2f} s")


def run(bench):
    run_alone(bench)
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
