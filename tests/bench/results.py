"""What becomes of the figures: results.json (a line for each benchmark and each of its rows), RESULTS.md and the plots."""

import json
import os
import pathlib
import platform
import shutil
import statistics
import subprocess
import time

import targets

JSON, PAGE, PLOTS = "results.json", "RESULTS.md", "plots"
SENSES = {"<=": "≤", ">=": "≥"}


# -- the machine

def _first_line(*command):
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL, text=True)
    except OSError:
        return ""
    return done.stdout.splitlines()[0].strip() if done.stdout else ""


def _proc(path, name):
    with open(path, encoding="utf-8") as lines:
        return next((line.split(":", 1)[1].strip() for line in lines if line.startswith(name)), "")


def machine():
    """What the figures depend on, as words."""
    memory = _proc("/proc/meminfo", "MemTotal").split()
    versions = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    path = os.environ.get("PATH", "") + ":/usr/sbin"
    broker = _first_line(shutil.which("mosquitto", path=path) or "mosquitto", "-h")
    return {
        "processors": os.cpu_count(), "processor": _proc("/proc/cpuinfo", "model name") or platform.machine(),
        "memory_gib": round(int(memory[0]) / 2**20) if memory else None, "kernel": platform.release(),
        "mosquitto": broker.removeprefix("mosquitto version "),
        "postgresql": _first_line(versions[-1], "--version").removeprefix("postgres (PostgreSQL) ") if versions else "",
        "node": _first_line("node", "--version").removeprefix("v"),
    }


def describe(one):
    """The machine in a line."""
    parts = [f"{one['processors']} x {one['processor']}", f"{one['memory_gib']} GiB", f"Linux {one['kernel']}", f"Mosquitto {one['mosquitto']}",
             f"PostgreSQL {one['postgresql']}"]
    return ", ".join(parts + ([f"Node.js {one['node']}"] if one["node"] else []))


def moment():
    """When a benchmark began, on which machine, and what else went on there."""
    return {"at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "load": [round(value, 1) for value in os.getloadavg()], "machine": machine()}


# -- tables

def figure(value):
    """Three significant digits, thousands apart."""
    if value is None:
        return ""
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"


def _aligned(heads, lines, right):
    widths = [max(len(line[i]) for line in [heads, *lines]) for i in range(len(heads))]
    return "\n".join("  ".join(text.rjust(width) if i in right else text.ljust(width) for i, (text, width) in enumerate(zip(line, widths))).rstrip()
                     for line in [heads, tuple("-" * width for width in widths), *lines])


def table(records):
    """Every row: median, least and most of the rounds (see targets.spread), and the ratio to its baseline."""
    lines = []
    for row in records:
        if "name" in row and "series" not in row:
            ratio = f"{statistics.median(row['ratios']):.3f}" if "ratios" in row else ""
            lines.append((row["name"], *map(figure, (statistics.median(row["values"]), *targets.spread(row["values"]))), row["unit"], ratio, row["note"]))
    return _aligned(("what", "median", "least", "most", "unit", "ratio", "note"), lines, (1, 2, 3, 5))


def _cells(target, found):
    """Ours, theirs, the figure, its spread and the bar, as text."""
    def amount(value):
        return "" if value is None else f"{figure(value)} {found['unit']}"

    def shown(value):
        return f"{value:.3f}" if not target.unit and abs(value) < 10 else figure(value)

    unit = f" {target.unit}" if target.unit else ""
    spread = f"{shown(found['low'])} to {shown(found['high'])}" if found["rounds"] > 1 else ""
    return (amount(found["ours"]), amount(found["theirs"]), f"{shown(found['value'])}{unit}", spread, _bar(target, found["bar"]),
            "" if found["bar"] is None else "yes" if found["holds"] else "**no**")


def _bar(target, bar):
    if bar is None:
        return "for comparison"
    return f"{SENSES[target.sense]} {bar:g}" + (f" {target.unit}" if target.unit else "")


def targets_table(records):
    """The bars on a terminal."""
    lines = []
    for target, line, found in targets.judged(records):
        if found:
            ours, theirs, value, spread, bar, holds = _cells(target, found)
            lines.append((f"{target.what}: {found['what']}", ours, theirs, value, spread, bar, holds.strip("*")))
    return _aligned(("bar", "here", "there", "measured", "spread", "bar", "holds"), lines, (1, 2, 3, 4, 5)) if lines else "no bar was measured"


def _targets_page(records):
    """The bars as a table of a page."""
    rows = ["| what | against | case | here | there | measured | least to most | bar | holds |", "|---|---|---|---|---|---|---|---|---|"]
    last = None
    for target, line, found in targets.judged(records):
        what, against = ("", "") if target is last else (target.what, target.against)
        last = target
        if found:
            ours, theirs, value, spread, bar, holds = _cells(target, found)
            rows.append(f"| {what} | {against} | {found['what']} | {ours} | {theirs} | {value} | {spread} | {bar} | {holds} |")
        else:
            bar = _bar(target, target.bar if line.bar is None else line.bar)
            rows.append(f"| {what} | {against} | {line.what.replace('[N] ', '')} | | | not measured | | {bar} | |")
    return "\n".join(rows)


# -- files

def load(folder):
    path = folder / JSON
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def write(folder, records, whole):
    """Writes the lines of these benchmarks and draws; `whole`: nothing is kept of what was there before."""
    new = {record["run"]: record for record in records if "run" in record}
    kept = [] if whole else [record for record in load(folder) if record.get("run", record.get("benchmark")) not in new]
    with open(folder / JSON, "w", encoding="utf-8") as file:
        for record in [*kept, *records]:
            file.write(json.dumps(record, ensure_ascii=False) + "\n")
    draw(folder)


def draw(folder):
    """RESULTS.md and the plots from results.json; nothing is measured."""
    import plots
    records = load(folder)
    if not records:
        raise SystemExit(f"{folder / JSON} is missing or empty: tests/bench/run.sh measures and writes it")
    (folder / PLOTS).mkdir(exist_ok=True)
    drawn = plots.draw(records, folder / PLOTS)
    (folder / PAGE).write_text(_page(records, drawn), encoding="utf-8")


def _page(records, drawn):
    runs = [record for record in records if "run" in record]
    machines = list(dict.fromkeys(describe(run["machine"]) for run in runs))
    names = {machine: chr(ord("A") + n) for n, machine in enumerate(machines)} if len(machines) > 1 else {}
    words = ["# Results", "", "Written by `tests/bench/run.sh`, which measures; `tests/bench/run.sh --draw` makes this page and the plots again from `results.json`.",
             "How it is measured and where the time goes: [docs/design/performance.md](../../docs/design/performance.md).", ""]
    words += ["Broker, plugin, database and all clients together on one machine: "
              + "; ".join(f"{names[machine]}: {machine}" if names else machine for machine in machines) + ".", ""]
    words += ["| benchmark | began (UTC) | took | load average before |" + (" machine |" if names else ""), "|---|---|---|---|" + ("---|" if names else "")]
    for run in runs:
        failed = f"; **failed**: {run['failed']}" if run["failed"] else ""
        words.append(f"| `{run['run']}` | {run['at'][:16].replace('T', ' ')} | {run['seconds']} s{failed} | {', '.join(map(str, run['load']))} |"
                     + (f" {names[describe(run['machine'])]} |" if names else ""))
    words += ["", "## Bars", "", "*measured* is the median over the rounds of the ratio of neighbours (here to there), or what its unit says; *least to most* of the same; of "
              "hundreds of short turns (traffic) the middle half.", "",
              _targets_page(records), ""]
    for name, title in drawn:
        words += [f"![{title}]({PLOTS}/{name})", ""]
    words += ["## Who is the limit", "", "The load generator is one thread; where it is less busy than the broker's, the broker is what was measured. Shares of one processor, "
              "from the generator's start to its end.", "", "```", table([row for row in records if "name" in row and _of_generator(row)]), "```", "",
              "## All figures", "", "*ratio*: median over neighbouring pairs, to the row that the note names, else to the same without the plugin.", "", "```",
              table([row for row in records if "name" in row and not _of_generator(row)]), "```", ""]
    return "\n".join(words)


def _of_generator(row):
    return row["unit"] == "% of a processor"
