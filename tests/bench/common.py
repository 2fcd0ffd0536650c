"""What the benchmarks share: servers, load generators, figures, and the table at the end."""

import contextlib
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "integration"))

os.environ.setdefault("OTA_TIME_FACTOR", "3")  # what is waited for at most; no figure

from harness import Broker, Fleet, Postgres, Site, wait_for  # noqa: E402

BUILD = pathlib.Path(os.environ.get("OTA_BUILD_DIR", ROOT / "build")).resolve()
PLUGIN = BUILD / "mosquitto_ota.so"
# A broker that says little: the harness logs everything, which would be most of what is measured.
QUIET = ("log_type none", "log_type error", "log_type warning", "log_type notice", "max_connections -1")


class Bench:
    """One run: what it wants (quick, usual or full), its servers, its rows."""

    def __init__(self, quick, full=False):
        self.quick = quick
        self.full = full
        self.benchmark = None
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="ota-bench."))
        self.folder.chmod(0o711)
        self.postgres = Postgres(self.folder / "pg")
        self.postgres.start()
        self.records = []
        self._count = 0

    def close(self):
        self.postgres.destroy()
        shutil.rmtree(self.folder, ignore_errors=True)

    def size(self, usual, quick, full=None):
        """One of three sizes; without the third a full run is as large as the usual one."""
        if self.quick:
            return quick
        return full if self.full and full is not None else usual

    @property
    def rounds(self):
        return 1 if self.quick else 5

    def sub_folder(self):
        self._count += 1
        path = self.folder / f"run{self._count}"
        path.mkdir()
        return path

    @contextlib.contextmanager
    def site(self, start=True, postgres=None, **options):
        """A fresh database with one broker that has the plugin; `site.folder` is the run's own."""
        server = postgres or self.postgres
        database = server.create_database()
        # Always the installed broker, whatever version the site says.
        site = Site(self.sub_folder(), database,
                    lambda folder, settings, _version, extra, with_plugin: make_broker(folder, settings, None, extra, with_plugin))
        try:
            # A load generator is no ordinary device.
            site.add_broker(extra=QUIET, start=start, **{"reports_per_minute": 0, **options})
            yield site
        finally:
            site.close()
            server.drop_database(database)

    @contextlib.contextmanager
    def plain_broker(self, extra=()):
        """A broker without the plugin."""
        broker = make_broker(self.sub_folder(), {}, extra=[*QUIET, *extra], with_plugin=False)
        broker.start()
        try:
            yield broker
        finally:
            broker.stop()

    @contextlib.contextmanager
    def fleet(self, site, devices, **options):
        """Simulated devices that are connected and listening."""
        runner = Fleet(BUILD / "examples" / "fleet" / "mosquitto_ota_fleet", site.folder)
        try:
            run = runner.start(site.broker, devices, connect_rate=2000, **options)
            run.runner = runner
            wait_for(lambda: site.db.value("SELECT count(*) FROM ota.device WHERE listening") >= devices, 120,
                     lambda: f"{devices} devices are listening:\n{run.log()[-500:]}", every=0.2)
            yield run
        finally:
            runner.close()

    # -- figures

    def row(self, name, values, unit, baseline=None, note=""):
        """Notes one line of the table; `baseline` are the values of the same run it is compared with, each with its neighbour."""
        values = [short(value) for value in values]
        record = {"benchmark": self.benchmark, "name": name, "values": values, "unit": unit, "note": note}
        if baseline:
            record["ratios"] = [short(value / base) for value, base in zip(values, baseline)]
        self.records.append(record)
        said = ", ".join(map(figure, values)) if len(values) <= 10 else f"{figure(statistics.median(values))} (median of {len(values)})"
        print(f"  {name}: {said} {unit} {note}".rstrip(), flush=True)

    def series(self, name, values, unit):
        """Notes values that follow each other in time: for a plot, no line of the table."""
        self.records.append({"benchmark": self.benchmark, "name": name, "values": [short(value) for value in values], "unit": unit,
                             "note": "", "series": True})

    def generator_rows(self):
        """How busy the load generator and the broker's thread were in this benchmark: who is the limit."""
        for mode in sorted({one["mode"] for one in LOADS}) if self.benchmark != "instructions" else ():
            loads = [one for one in LOADS if one["mode"] == mode]
            wall = sum(one["wall"] for one in loads)
            for who, name in (("load", "load generator ({}) busy"), ("broker", "broker thread meanwhile ({})")):
                self.row(f"{self.benchmark}: {name.format(mode)}", [100 * sum(one[who] for one in loads) / wall], "% of a processor")
        LOADS.clear()


def short(value):
    return float(f"{float(value):.6g}")


def figure(value):
    """Three significant digits, thousands apart."""
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if value < 100 else f"{value:.0f}"


BROKERS = []
LOADS = []


def make_broker(folder, options, binary=None, extra=(), with_plugin=True):
    """binary: (version, command) of another broker than the installed one."""
    version, command = binary or ("2.0.11", shutil.which("mosquitto", path=os.environ.get("PATH", "") + ":/usr/sbin"))
    broker = Broker(folder, command, PLUGIN, options, version, extra, with_plugin)
    BROKERS.append(broker)
    return broker


def broker_at(port):
    return next((one for one in BROKERS if one.port == port and one.running()), None)


def load(mode, port, *arguments, prefix="load"):
    """Runs the load generator to its end and returns what it measured; notes how busy it and the broker's thread were."""
    broker = broker_at(port)
    before, began = broker and cpu_seconds(broker.process), time.monotonic()
    process = subprocess.Popen([BUILD / "tests" / "bench" / "load", mode, str(port), *map(str, arguments)], stdout=subprocess.PIPE,
                               stdin=subprocess.DEVNULL, env={**os.environ, "LOAD_PREFIX": prefix})
    with process.stdout as output:
        text = output.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, f"the load generator ended with {process.returncode}"
    taken = time.monotonic() - began
    if broker:
        LOADS.append({"mode": mode, "load": usage.ru_utime + usage.ru_stime, "broker": cpu_seconds(broker.process) - before, "wall": taken})
    return json.loads(text)


class Turns:
    """A publisher and its subscribers that stay connected and relay so many messages at each `turn`."""

    def __init__(self, port, subscribers, messages, qos, topic, payload, window=100):
        self.messages = messages
        self.broker = broker_at(port)
        self.process = subprocess.Popen([BUILD / "tests" / "bench" / "load", "turns", *map(str, (port, subscribers, messages, qos, window)),
                                         topic, payload], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert json.loads(self.process.stdout.readline()) == {}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        assert self.process.wait() == 0

    def turn(self):
        """What the load generator measured of one turn."""
        before, began = [cpu_seconds(one) for one in (self.process, self.broker.process)], time.monotonic()
        self.process.stdin.write(b"\n")
        self.process.stdin.flush()
        done = json.loads(self.process.stdout.readline())
        load_took, broker_took = (cpu_seconds(one) - was for one, was in zip((self.process, self.broker.process), before))
        LOADS.append({"mode": "turns", "load": load_took, "broker": broker_took, "wall": time.monotonic() - began})
        return done


class Ping:
    """A client that pings the broker while something else goes on."""

    def __init__(self, broker):
        self.process = subprocess.Popen([BUILD / "tests" / "bench" / "ping", str(broker.port), "600000"],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.process.stdout.readline() == b"ready\n"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate()

    def end(self):
        """Round trips in seconds: median, p99, max."""
        out, _ = self.process.communicate(b"\n")
        return json.loads(out)


class Listeners:
    """Devices, each subscribed to a topic of its own; `end` waits until each has had a message."""

    def __init__(self, broker, devices, topic, qos=1, stay=False, prefix="device"):
        environment = {**os.environ, "LOAD_PREFIX": prefix, **({"LOAD_STAY": "1"} if stay else {})}
        self.process = subprocess.Popen([BUILD / "tests" / "bench" / "load", "listen", str(broker.port), str(devices), "1", str(qos), "1",
                                         topic, "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
        self.devices = devices
        self.ready = json.loads(self.process.stdout.readline())["ready"]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate()

    def end(self):
        line = self.process.stdout.readline()
        assert line, "the listeners gave up"
        heard = json.loads(line)
        assert heard["heard"] == self.devices, heard
        return heard


def resident(pid):
    """Bytes of memory that a process has of its own."""
    fields = dict(line.split(":", 1) for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:])
    return int(fields["Private_Dirty"].split()[0]) * 1024


def tree_seconds(pid):
    """Processor time of a process and all below it, ended ones included."""
    total = 0
    parents = {}
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(") ")[2].split()
        except OSError:  # it has just ended
            continue
        parents.setdefault(int(fields[1]), []).append((int(stat.parent.name), fields))
        if int(stat.parent.name) == pid:
            total += sum(map(int, fields[11:15]))
    below = list(parents.get(pid, ()))
    while below:
        child, fields = below.pop()
        total += sum(map(int, fields[11:15]))
        below += parents.get(child, ())
    return total / os.sysconf("SC_CLK_TCK")


def cpu_seconds(process, thread=True):
    """Processor time of a process's first thread (or of all of it)."""
    tasks = [process.pid] if thread else [int(path.name) for path in pathlib.Path(f"/proc/{process.pid}/task").iterdir()]
    return sum(int(pathlib.Path(f"/proc/{process.pid}/task/{task}/schedstat").read_text().split()[0]) for task in tasks) / 1e9


def wall():
    return time.time()
