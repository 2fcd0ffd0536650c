"""The plots of RESULTS.md, as SVG without a background, in colours that can be read on a dark page as on a light one."""

import re
import statistics

import targets

INK, FAINT, GOOD, BAD, OTHER = "#7d8590", "#7d859055", "#2f81c4", "#d1603d", "#b08a2e"
SENSES = {"<=": "≤", ">=": "≥"}
LINES = (GOOD, BAD, OTHER, "#3d9a6c", "#9a6fc0", "#c06fa0", "#5f9ea8", "#8a8f3a")


def _pyplot():
    import matplotlib
    matplotlib.use("svg")
    import matplotlib.pyplot as pyplot
    pyplot.rcParams.update({
        "svg.fonttype": "none", "svg.hashsalt": "ota", "font.family": "sans-serif", "font.size": 10, "text.color": INK, "axes.edgecolor": FAINT,
        "axes.labelcolor": INK, "xtick.color": INK, "ytick.color": INK, "axes.spines.top": False, "axes.spines.right": False, "axes.titlesize": 11,
        "axes.titleweight": "bold", "axes.titlelocation": "left", "grid.color": FAINT, "grid.linewidth": 0.6, "legend.frameon": False,
        "figure.facecolor": "none", "axes.facecolor": "none", "savefig.facecolor": "none"})
    return pyplot


def _save(pyplot, figure, folder, name):
    figure.savefig(folder / name, bbox_inches="tight", metadata={"Date": None, "Creator": None})
    pyplot.close(figure)
    text = (folder / name).read_text(encoding="utf-8")  # with a blank at the end of each line of a path
    (folder / name).write_text("".join(line.rstrip() + "\n" for line in text.splitlines()), encoding="utf-8")


def _number(value):
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def bars(pyplot, records, folder):
    """Each figure as a multiple of its bar, turned so that right of the line is better."""
    points = []
    what = ""
    for target, _line, found in targets.judged(records):
        what = what if target.what == "the same" else target.what
        if not found or target.unit not in ("", "ms", "bytes") or not found["bar"]:
            continue
        low, middle, high = (value / found["bar"] if target.sense == ">=" else found["bar"] / max(value, 1e-3)
                             for value in (found["low"], found["value"], found["high"]))
        points.append((f"{what}\n{found['what']}{', to ' if target.against else ''}{target.against}", min(low, high), middle, max(low, high), found["holds"],
                       f"{_number(found['value'])}{' ' + target.unit if target.unit else ''} ({SENSES[target.sense]} {_number(found['bar'])})"))
    if not points:
        return None
    points.reverse()
    figure, axes = pyplot.subplots(figsize=(10, 0.42 * len(points) + 1.2))
    for y, (_, low, middle, high, holds, words) in enumerate(points):
        colour = GOOD if holds else BAD
        axes.plot([low, high], [y, y], color=colour, alpha=0.5, linewidth=2)
        axes.plot([middle], [y], "o", color=colour, markersize=6)
        axes.annotate(words, (1.01, y), xycoords=("axes fraction", "data"), va="center", fontsize=8)
    axes.axvline(1, color=INK, linewidth=1)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.xaxis.set_minor_formatter(lambda value, _: "")
    axes.set_yticks(range(len(points)), [point[0] for point in points], fontsize=8)
    axes.set_xlabel("times better than the bar (the line: just held); points are medians, lines reach from least to most")
    axes.grid(axis="x")
    axes.set_title("What was measured, to its bar")
    _save(pyplot, figure, folder, "bars.svg")
    return "bars.svg", "Each figure as a multiple of its bar"


def cost(pyplot, records, folder):
    """What grows with the registry, and what does not."""
    curves = {}
    for row in records:
        found = re.match(r"(?:registered|memory,) ([\d,]+)(?: devices)?: (.*)$", row.get("name", ""))
        if found and found.group(1) and row["unit"] in ("s", "ms", "µs/report", "µs/device", "bytes/device"):
            scale = 1e3 if row["unit"] == "s" else 1
            unit = row["unit"][:2] if row["unit"].startswith("µs") else row["unit"] if row["unit"] == "bytes/device" else "ms"
            curves.setdefault((unit, found.group(2)), []).append((int(found.group(1).replace(",", "")), statistics.median(row["values"]) * scale))
    curves = {key: sorted(points) for key, points in curves.items() if len(points) > 1}
    panels = [(unit, grows) for unit in ("ms", "µs", "bytes/device") for grows in (True, False)]

    def of(panel):
        unit, grows = panel
        return [(name, points) for (one, name), points in curves.items() if one == unit and (_slope(points) > 0.35) == grows]

    panels = [panel for panel in panels if of(panel)]
    if not panels:
        return None
    figure, all_axes = pyplot.subplots(1, len(panels), figsize=(5.2 * len(panels), 4), squeeze=False)
    for panel, axes in zip(panels, all_axes[0]):
        for colour, (name, points) in zip(LINES * 3, of(panel)):
            axes.plot(*zip(*points), "o-", color=colour, markersize=4, linewidth=1.5, label=name)
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlabel("registered devices")
        axes.set_ylabel(panel[0])
        axes.grid()
        axes.set_title("grows with the fleet" if panel[1] else "does not")
        low, high = axes.get_ylim()
        axes.set_ylim(low / 2, high * 2)
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.yaxis.set_minor_formatter(lambda value, _: "")
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        axes.tick_params(axis="x", labelsize=8)
        axes.legend(fontsize=7.5, loc="upper left", bbox_to_anchor=(0, -0.16), handlelength=1.2)
    _save(pyplot, figure, folder, "cost.svg")
    return "cost.svg", "What a larger fleet costs, from 1,000 to 1,000,000 devices"


def _slope(points):
    import math
    (first, low), (last, high) = points[0], points[-1]
    return math.log(max(high, 1e-6) / max(low, 1e-6)) / math.log(last / first)


def harm(pyplot, records, folder):
    """Devices harmed, by the share that fails."""
    rows = {row["name"]: row["values"] for row in records if "name" in row}
    rates = [rate for rate in targets.RATES if f"harm {rate} %: harmed" in rows and f"harm {rate} %: harmed, told at once" in rows]
    if not rates:
        return None
    figure, axes = pyplot.subplots(figsize=(7, 3.4))
    for offset, name, label, colour in ((-0.2, "harm {} %: harmed, told at once", "the whole stage at once, judged after the wait", OTHER),
                                        (0.2, "harm {} %: harmed", "slow start and early halt", GOOD)):
        for x, rate in enumerate(rates):
            values = rows[name.format(rate)]
            middle = statistics.median(values)
            axes.bar(x + offset, middle, 0.36, color=colour, label=label if x == 0 else None)
            axes.plot([x + offset] * 2, [min(values), max(values)], color=INK, linewidth=1)
            axes.annotate(_number(middle), (x + offset, max(*values, middle)), ha="center", va="bottom", fontsize=9, xytext=(0, 2), textcoords="offset points")
    axes.set_xticks(range(len(rates)), [f"{rate} % fail" for rate in rates])
    axes.set_ylabel("devices harmed before the halt")
    axes.set_title("Harm done by a bad release, fleet of 10,000")
    axes.legend()
    _save(pyplot, figure, folder, "harm.svg")
    return "harm.svg", "Devices harmed before the halt, by the share of devices that fail"


def outage(pyplot, records, folder):
    """PUBACK times, second by second, while PostgreSQL goes away and comes back."""
    rows = {row["name"]: row["values"] for row in records if row.get("benchmark") == "outage" and "name" in row}
    median, p99, away = (next((values for name, values in rows.items() if name.endswith(end)), None)
                         for end in ("timeline, PUBACK median", "timeline, PUBACK p99", "timeline, PostgreSQL away from and to"))
    if not median or not away:
        return None
    figure, axes = pyplot.subplots(figsize=(8, 3.2))
    axes.axvspan(away[0], away[1], color=OTHER, alpha=0.2, linewidth=0)
    axes.annotate("PostgreSQL away", (sum(away) / 2, 0.97), xycoords=("data", "axes fraction"), ha="center", va="top", color=OTHER, fontsize=9)
    axes.plot(range(len(p99)), p99, color=BAD, linewidth=1.2, label="99th percentile")
    axes.plot(range(len(median)), median, color=GOOD, linewidth=1.5, label="median")
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_xlabel("seconds")
    axes.set_ylabel("PUBACK after, ms")
    axes.set_title("A device's acknowledgement while the database is away")
    axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1))
    _save(pyplot, figure, folder, "outage.svg")
    return "outage.svg", "PUBACK times before, during and after an outage of PostgreSQL"


def draw(records, folder):
    """All that the records have figures for; returns their names and titles."""
    try:
        pyplot = _pyplot()
    except ImportError as error:
        print(f"  plots left out: {error} (python3-matplotlib)", flush=True)
        return []
    return [done for done in (one(pyplot, records, folder) for one in (bars, cost, harm, outage)) if done]
