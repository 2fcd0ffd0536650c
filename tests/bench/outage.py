"""PostgreSQL away under a steady stream of reports: what the devices see of it, and how fast the backlog is gone afterwards."""

import json
import subprocess
import threading
import time

from common import BUILD, wait_for

TOPIC = "devices/{}/ota/status"
PAYLOAD = '{"version":"1.4.2","status":"IDLE","checks":{"mqttConnected":true,"gpsLock":true},"n":{}}'


def quantiles(counts):
    """Median, p99 and the slowest of times that were counted in buckets, in milliseconds."""
    total = sum(counts.values())
    found = []
    for part in (0.5, 0.99, 1):
        seen = 0
        for bucket in sorted(counts):
            seen += counts[bucket]
            if seen >= part * total:
                found.append(2 ** (bucket / 32) / 1000)
                break
    return found


class Steady:
    """The stream; `seconds` are what it measured, one after the other."""

    def __init__(self, broker, devices, rate):
        self.process = subprocess.Popen([BUILD / "tests" / "bench" / "steady", str(broker.port), str(devices), str(rate), TOPIC,
                                         PAYLOAD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout.readline() == "ready\n"
        self.seconds = []
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self):
        for line in self.process.stdout:
            self.seconds.append(json.loads(line))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()

    def end(self):
        """Waits for what is outstanding; returns how many reports were acknowledged."""
        self.process.stdin.close()
        wait_for(lambda: self.process.poll() is not None, 60, "what is outstanding is acknowledged")
        assert self.process.returncode == 0, "the broker refused, closed or fell silent"
        self.thread.join()
        assert self.seconds[-1].get("end")
        return self.seconds[-1]["acknowledged"]

    def acknowledged(self):
        return self.seconds[-1]["acknowledged"] if self.seconds else 0

    def times(self, begin, end):
        """Median, p99 and the slowest of the seconds that lie between these moments, in milliseconds."""
        counts = {}
        for second in self.seconds:
            if begin <= second["at"] and second["at"] + 1 <= end:
                for bucket, count in second["times"]:
                    counts[bucket] = counts.get(bucket, 0) + count
        assert counts, "nothing was measured"
        return quantiles(counts)

    def timeline(self, begin):
        """The same for each second from this moment on, as far as it has some."""
        return [quantiles(dict(second["times"])) for second in self.seconds if begin <= second["at"] and second["times"]]


def in_tables(site):
    return site.db.value("SELECT coalesce(max(last_seq), 0) FROM ota.broker")


def outage(bench, server, calm, away, devices, rate):
    """Calm, away, until the backlog is gone, calm: all in one stream.  Returns the figures."""
    with bench.site(postgres=server) as site, Steady(site.broker, devices, rate) as steady:
        time.sleep(3)  # every device has been seen
        marks = [time.time()]
        time.sleep(calm)
        marks.append(time.time())
        before = in_tables(site)
        site.db.close()
        server.stop()
        time.sleep(1)
        marks.append(time.time())
        time.sleep(away)
        marks.append(time.time())
        server.start()
        # From the first batch: the reconnection has a pause that grows while PostgreSQL is away.
        wait_for(lambda: in_tables(site) > before + 2 * rate, 60, "the first batches", every=0.01)
        first, begin = in_tables(site), time.time()
        backlog = steady.acknowledged() - first
        wait_for(lambda: in_tables(site) + rate >= steady.acknowledged(), 1200, "the backlog is gone", every=0.02)
        last, end = in_tables(site), time.time()
        time.sleep(2)
        marks.append(time.time())
        time.sleep(calm)
        marks.append(time.time())
        total = steady.end()
        wait_for(lambda: in_tables(site) >= total + devices, 120, "all is in the tables", every=0.1)
        found = site.db.row("SELECT count(*) AS reports, count(DISTINCT detail ->> 'n') AS different FROM ota.event WHERE kind = 'status'")
        assert found["reports"] == found["different"] == total, f"{found} instead of {total} reports"
        normal = [sum(pair) / 2 for pair in zip(steady.times(*marks[0:2]), steady.times(*marks[4:6]))]
        return {"normal": normal, "away": steady.times(*marks[2:4]), "draining": steady.times(begin, max(end, begin + 2.5)), "backlog": backlog,
                "drain": (last - first) / (end - begin), "reconnect": begin - marks[3],
                "timeline": steady.timeline(marks[0]), "gone": [moment - marks[0] for moment in (marks[1], marks[3])]}


def run(bench):
    from harness import Postgres
    away = bench.size(45, 6, 300)
    calm = bench.size(15, 3, 60)
    devices, rate = bench.size(1000, 100), bench.size(5000, 500)  # fewer, so that also a busy machine keeps up
    server = Postgres(bench.sub_folder() / "pg")
    try:
        server.start()
        found = outage(bench, server, calm, away, devices, rate)
    finally:
        server.destroy()
    name = f"outage of {away} s"
    for index, (what, bar) in enumerate((("median", "target 1.2"), ("p99", "target 1.2"), ("slowest", ""))):
        bench.row(f"{name}: PUBACK {what}, normal", [found["normal"][index]], "ms", note=f"{rate:,} reports/s from {devices:,} devices")
        bench.row(f"{name}: PUBACK {what}, PostgreSQL away", [found["away"][index]], "ms", [found["normal"][index]], bar)
        bench.row(f"{name}: PUBACK {what}, backlog drained", [found["draining"][index]], "ms", [found["normal"][index]])
    bench.row(f"{name}: backlog", [found["backlog"]], "reports")
    bench.row(f"{name}: into the tables, the stream goes on", [found["drain"]], "reports/s", [rate], "to the arrivals; target 3")
    bench.row(f"{name}: PostgreSQL starts to the first batches", [found["reconnect"]], "s")
    bench.series(f"{name}: timeline, PUBACK median", [second[0] for second in found["timeline"]], "ms")
    bench.series(f"{name}: timeline, PUBACK p99", [second[1] for second in found["timeline"]], "ms")
    bench.series(f"{name}: timeline, PostgreSQL away from and to", found["gone"], "s")
