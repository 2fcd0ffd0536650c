"""The bars: what is measured, against what, and which rows of the benchmarks say it.

A row's name may hold a size, as [N]: the largest that was measured counts.
"""

import dataclasses
import re
import statistics


@dataclasses.dataclass
class Line:
    """One figure under a bar: a row, or its ratio to another row of the same run, each value with its neighbour."""

    what: str
    row: str
    against: str = None
    bar: float = None  # None: the target's
    beside: str = None  # a row that is shown as the other side's, without a ratio


@dataclasses.dataclass
class Target:
    what: str
    against: str
    sense: str  # <= or >=; "": for comparison, there is no bar
    bar: float
    unit: str  # of the figure; "": a ratio
    lines: list
    pick: str = "median"  # or "most", of the rounds
    difference: bool = False  # row - against instead of row / against


def _traffic(form, what="{}"):
    cases = ((1, 0), (1, 1), (100, 0), (100, 1))
    return [Line(what.format(f"1 to {n}, QoS {qos}"), *(one.format(f"1 to {n}, QoS {qos}") for one in form)) for n, qos in cases]


RATES = (100, 50, 20, 10)
NEWEST = "instructions Mosquitto 2.1.2, {}: "
BLOCK_RATES = ("4 MiB/s (default)", "16 MiB/s")

TARGETS = [
    Target("throughput on unrelated topics", "the same broker without the plugin", ">=", 0.98, "",
           _traffic(("traffic {}: throughput, with plugin", "traffic {}: throughput, without plugin"))),
    Target("instructions per delivered unrelated message", "the same broker without the plugin", "<=", 1.05, "",
           _traffic(("instructions {}: with plugin", "instructions {}: without plugin"))),
    Target("the same, Mosquitto 2.1.2 with its newer C library", "the same broker without the plugin", "<=", 1.05, "",
           _traffic((NEWEST + "with plugin", NEWEST + "without plugin"))),
    Target("instructions per delivered unrelated message", "a plugin whose one callback only returns, one thread", "<=", 1.015, "",
           _traffic(("instructions {}: with plugin", "instructions {}: empty access check"))),
    Target("the same, Mosquitto 2.1.2", "a plugin whose one callback only returns, one thread", "<=", 1.015, "",
           _traffic((NEWEST + "with plugin", NEWEST + "empty access check"))),
    Target("instructions per delivered unrelated message", "a plugin with a sleeping thread, whose callbacks only return", "<=", 1.015, "",
           _traffic(("instructions {}: with plugin", "instructions {}: empty callbacks, second thread"))),
    Target("connect storm: clients connect and subscribe", "the same broker without the plugin", ">=", 0.95, "",
           [Line("rate", "connect: connected and subscribed, with plugin", "connect: connected and subscribed, without plugin")]),
    Target("status reports, first publish to last row committed", "a bare broker that drops them", ">=", 0.7, "",
           [Line("50 devices", "reports 50: first publish to last row", "reports 50: broker without plugin"),
            Line("[N] devices", "reports [N]: first publish to last row", "reports [N]: broker without plugin")]),
    Target("the same into the outbox alone, PostgreSQL away", "a bare broker that drops them", "", None, "",
           [Line("50 devices", "reports 50: into the outbox, PostgreSQL away", "reports 50: broker without plugin"),
            Line("[N] devices", "reports [N]: into the outbox, PostgreSQL away", "reports [N]: broker without plugin")]),
    Target("status reports, first publish to last row committed", "a Node.js back end, batched writes", ">=", 1.6, "",
           [Line("rate", "rival: plugin: reports", "rival: Node.js, batches: reports")]),
    Target("processor seconds per report, all processes", "a Node.js back end, batched writes", "<=", 0.5, "",
           [Line("processor time", "rival: plugin: all processor time", "rival: Node.js, batches: all processor time")]),
    Target("status reports, first publish to last row committed", "a Node.js back end, a row per report", ">=", 6, "",
           [Line("rate", "rival: plugin: reports", "rival: Node.js, a row each: reports")]),
    Target("acknowledged reports missing after a burst, Mosquitto's default limits", "a Node.js back end's loss, below", "<=", 0, "reports",
           [Line("lost", "rival: plugin, Mosquitto's limits: acknowledged and lost",
                 beside="rival: Node.js, Mosquitto's limits: acknowledged and lost")], pick="most"),
    Target("stage of 10,000 connected devices: opened to last told", "a Node.js back end publishing to each topic", "<=", 0.5, "",
           [Line("each device's row marked", "rival: plugin: stage opened to the last notice", "rival: Node.js: command to the last notice"),
            Line("a record of each notice", "rival: plugin: stage opened to the last notice, again",
                 "rival: Node.js, a record each: command to the last notice")]),
    Target("stage of 15,000 connected devices: opened to last told", "a bare broker, one message to all", "<=", 1.5, "",
           [Line("time", "limit: plugin: stage opened to the last notice", "limit: bare broker, one message to all")]),
    Target("a message for each of them, published by one client on the bare broker", "a bare broker, one message to all", "", None, "",
           [Line("time", "limit: bare broker, a message for each", "limit: bare broker, one message to all")]),
    Target("stage opening with 1,000,000 registered devices", "one UPDATE of as many rows", "<=", 2, "",
           [Line("last stage", "registered [N]: open the last stage (99 % join)", "registered [N]: UPDATE of all device updates")]),
    Target("controller pass with 1,000,000 devices, rollout running", "", "<=", 20, "ms",
           [Line("a pass", "registered [N]: a pass, rollout running")]),
    Target("the same", "with 10,000 devices (flat: within a factor of 1.5)", "<=", 1.5, "",
           [Line("a pass", "registered [N]: a pass, rollout running", "registered 10,000: a pass, rollout running")]),
    Target("memory per connected device", "the broker's own", "<=", 300, "bytes",
           [Line("on top, [N] devices", "memory, [N] devices: on top of the broker's own")]),
    Target("operator's command to the first notice at a device", "", "<=", 150, "ms",
           [Line("start_rollout", "command: start_rollout to the first notice"), Line("advance_rollout", "command: advance_rollout to the first notice")]),
    Target("broker start with 1,000,000 registered devices", "a start without the plugin", "<=", 1, "s more",
           [Line("start", "registered [N]: broker start until it listens", "registered [N]: broker start without plugin")], difference=True),
    Target("devices harmed before the halt, of 10,000", "a whole stage told at once, judged after the wait", "<=", 0, "devices",
           [Line(f"{rate} % fail", f"harm {rate} %: harmed", bar=bar, beside=f"harm {rate} %: harmed, told at once") for rate, bar in zip(RATES, (6, 8, 12, 16))]),
    Target("false halts when 1 % fail", "a whole stage told at once, judged after the wait", "<=", 0, "halts more",
           [Line("whole rollouts, played", "harm 1 %: halted, of [N] played", "harm 1 %: halted, told at once, of [N] played"),
            Line("whole rollouts, real", "harm 1 %: halted, of [N] rollouts", "harm 1 %: halted, told at once, of [N] rollouts")], difference=True),
    Target("throughput of others while 1,000 devices fetch 1 MiB each in blocks", "the same while they do not", ">=", 0.9, "",
           [Line(rate, f"block {rate}: other traffic meanwhile", f"block {rate}: other traffic while they wait") for rate in BLOCK_RATES]),
    Target("PINGRESP meanwhile", "", "<=", 100, "ms",
           [Line(f"{rate}, {what}", f"block {rate}: {row}") for rate in BLOCK_RATES
            for what, row in (("nothing else", "slowest ping"), ("beside other traffic", "slowest ping beside other traffic"))], pick="most"),
    Target("time of a good rollout with slow start", "without", "<=", 1.1, "",
           [Line("time", "harm none: slow start, until completed", "harm none: told at once, until completed")]),
]


def _find(rows, name):
    """The row of that name; where it has a size, the largest."""
    if "[N]" not in name:
        return rows.get(name), None
    form = re.compile(re.escape(name).replace(re.escape("[N]"), r"([\d,]+)") + "$")
    sizes = {int(found.group(1).replace(",", "")): found.string for found in map(form.match, rows) if found}
    return (rows[sizes[max(sizes)]], f"{max(sizes):,}") if sizes else (None, None)


def spread(values):
    """Least and most; of many short turns the middle half, because each alone says little."""
    if len(values) <= 10:
        return min(values), max(values)
    quarters = statistics.quantiles(values, n=4)
    return quarters[0], quarters[2]


def judge(target, line, rows):
    """What was measured, or None: ours and theirs (medians, with the unit), the figure under the bar with its spread, whether it holds (None: no bar)."""
    row, size = _find(rows, line.row)
    other, _ = _find(rows, line.against or line.beside) if line.against or line.beside else (None, None)
    if row is None or (line.against and other is None):
        return None
    values = row["values"]
    if line.against:
        values = [a - b if target.difference else a / b if b else float("inf") for a, b in zip(values, other["values"])]
    value = max(values) if target.pick == "most" else statistics.median(values)
    bar = target.bar if line.bar is None else line.bar
    holds = None if bar is None else value <= bar if target.sense == "<=" else value >= bar
    low, high = spread(values)
    return {"what": line.what.replace("[N]", size or ""), "ours": statistics.median(row["values"]), "unit": row["unit"],
            "theirs": statistics.median(other["values"]) if other else None, "value": value, "low": low, "high": high,
            "rounds": len(values), "bar": bar, "holds": holds}


def judged(records):
    """Each target with each of its lines and what was measured (or None)."""
    rows = {record["name"]: record for record in records if "name" in record}
    return [(target, line, judge(target, line, rows)) for target in TARGETS for line in target.lines]
