"""Instructions of the broker's thread for one message on other people's topics, counted by callgrind: no clock, no noise.

Five brokers: without a plugin; with one whose access check only returns (empty_acl.c); with the same and a second thread that sleeps; with
callbacks for messages and ticks, too, that only return; with mosquitto-ota.  The one before the last shows what Mosquitto and the C
library do for any plugin that has a thread and looks at messages, whatever it does.

The same, but for the two brokers with a sleeping thread, of the newest Mosquitto that is tested, which brings a newer C library: where
a second thread costs least.
"""

import re
import subprocess

from common import BUILD, QUIET, ROOT, Listeners, load, make_broker
from traffic import PAYLOAD, TOPIC

BARE, OURS = "without plugin", "with plugin"
EMPTY, THREAD, CALLBACKS = "empty access check", "empty access check, second thread", "empty callbacks, second thread"
OPTIONS = {EMPTY: (), THREAD: ("thread",), CALLBACKS: ("thread", "events")}  # of empty_acl


def spent(folder, number):
    """What the first thread executed in one run: in strcmp(), and in all else."""
    for path in folder.glob(f"callgrind.{number}.*-01"):
        text = path.read_text()
        found = re.search(r"^(?:summary|totals): (\d+)", text, re.M)
        if found:
            compared = own(text, "__strcmp_")
            return compared, int(found.group(1)) - compared
    raise AssertionError(f"callgrind left no total in {folder}: {[path.name for path in folder.iterdir()]}")


def own(text, prefix):
    """What the functions of these names executed themselves."""
    functions = set(re.findall(rf"^c?fn=\((\d+)\) {prefix}", text, re.M))
    inside, called, count = False, False, 0
    for line in text.splitlines():
        if line.startswith("fn="):
            inside = re.match(r"fn=\((\d+)\)", line).group(1) in functions
        elif line.startswith("calls="):
            called = True  # the next line is about what is called
        elif line[:1] in "0123456789+-*" and line:
            count += int(line.split()[1]) if inside and not called else 0
            called = False
    return count


def newest():
    """(version, command) of the newest broker that the tests know; None: it cannot be had here."""
    found = subprocess.run([ROOT / "tests" / "brokers.sh", "--plain"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    brokers = [line.split("\t") for line in found.stdout.splitlines()]
    if found.returncode != 0 or len(brokers) < 2:
        print("  the newest broker is left out: it cannot be had here", flush=True)
        return None
    return brokers[-1]


def counted(bench, plugin, subscribers, messages, qos, binary=None):
    """What a message costs, in strcmp() and in all else.  Two runs of different length: their difference has no start and no end in it."""
    totals = []
    for number in (1, 2):
        database = bench.postgres.create_database() if plugin == OURS else None
        folder = bench.sub_folder()
        # $SYS is published by the clock, not by the message.
        extra = [*QUIET, "sys_interval 0"]
        options = {}
        if plugin in OPTIONS:
            extra.append(f"plugin {BUILD / 'tests' / 'bench' / 'empty_acl.so'}")
            extra += [f"plugin_opt_{option} on" for option in OPTIONS[plugin]]
        if plugin == OURS:
            from harness import Keys, Signer
            (folder / "keys.d").mkdir()
            (folder / "state").mkdir()
            options = {"database": database.conninfo, "trusted_keys": folder / "keys.d", "state_directory": folder / "state",
                       "acl_other_topics": "allow", "reports_per_minute": 0}
            Keys(folder / "keys.d").trust(Signer("p256"))
        broker = make_broker(folder / "broker", options, binary, extra=extra, with_plugin=plugin == OURS)
        broker.command = ["valgrind", "--tool=callgrind", "--separate-threads=yes", "--quiet",
                          f"--callgrind-out-file={folder}/callgrind.{number}.%p", *broker.command]
        broker.start()
        try:
            # A heap as that of any broker that has been up for a while: among the clients that stay others have come and gone.
            # On one without holes malloc() takes everything from the end, which no broker does for long.
            with Listeners(broker, 50, "others/{}/down", prefix="early"):
                load("publish", broker.port, 200, 1_000, 1, 5, "others/{}/up", PAYLOAD, prefix="gone")
                with Listeners(broker, 50, "others/{}/down", prefix="late"):
                    load("relay", broker.port, subscribers, messages * number, qos, 100, TOPIC, PAYLOAD)
        finally:
            broker.stop()
            if database:
                bench.postgres.drop_database(database)
        totals.append(spent(folder, number))
    return [(long - short) / messages for short, long in zip(*totals)]


def check_nanoseconds(rounds):
    """What the access check takes to find out that a delivery is none of its business, an empty one's time subtracted."""
    out = subprocess.run([BUILD / "tests" / "bench" / "policy_bench", str(rounds), "0"], stdout=subprocess.PIPE, check=True, text=True)
    return float(out.stdout.splitlines()[1].split()[2])


def notice_nanoseconds(rounds):
    """{what: processor time of the broker's thread to make one notice, by the URL in it}."""
    out = subprocess.run([BUILD / "tests" / "bench" / "notice_bench", str(rounds)], stdout=subprocess.PIPE, check=True, text=True)
    found = [re.fullmatch(r"(\S.*?)\s+(\d+)\s+(-?\d+)", line) for line in out.stdout.splitlines()[1:]]
    return {line[1]: float(line[2]) for line in found}


def compare(bench, label, plugins, subscribers, messages, qos, binary=None):
    """Rows of one case, the brokers in turn."""
    results = {plugin: [] for plugin in plugins}
    for turn in range(bench.size(2, 1)):
        for plugin in results if turn % 2 == 0 else reversed(results):
            results[plugin].append(counted(bench, plugin, subscribers, messages, qos, binary))
    # Mosquitto compares the names of a message's receivers each with each.  All brokers do it as often, but what it takes depends
    # on where in its page a name happens to lie, up to 3 % of the whole: for all it counts as without a plugin.
    compared = [one[0] for one in results[BARE]]
    results = {plugin: [one[1] + strcmp for one, strcmp in zip(values, compared)] for plugin, values in results.items()}
    name = f"instructions {label}1 to {subscribers}, QoS {qos}"
    bench.row(f"{name}: {BARE}", results[BARE], "a message")
    for plugin in plugins[1:-1]:
        bench.row(f"{name}: {plugin}", results[plugin], "a message", results[BARE], "to the broker without plugin")
    bench.row(f"{name}: {OURS}", results[OURS], "a message", results[BARE], "to the broker without plugin; target 1.05")
    bench.row(f"{name}: {OURS}, to the empty check", results[OURS], "a message", results[EMPTY])
    if CALLBACKS in plugins:
        bench.row(f"{name}: {OURS}, to the empty callbacks", results[OURS], "a message", results[CALLBACKS], "target 1.015")


def run(bench):
    # What start and end cost differs by some 100,000 instructions from run to run: with this many messages it is 10 of each.  Small one case.
    cases = [(*size, qos) for size in bench.size(((1, 10_000), (100, 300)), ((1, 1_000),)) for qos in bench.size((0, 1), (1,))]
    for case in cases:
        compare(bench, "", (BARE, *OPTIONS, OURS), *case)
    binary = bench.size(newest, lambda: None)()
    for case in cases if binary else ():
        compare(bench, f"Mosquitto {binary[0]}, ", (BARE, EMPTY, OURS), *case, binary)
    bench.row("instructions: a delivery's access check", [check_nanoseconds(bench.size(5_000_000, 100_000)) for _ in range(bench.rounds)],
              "ns", note="target 150")
    notices = [notice_nanoseconds(bench.size(20_000, 500)) for _ in range(bench.rounds)]
    for name in notices[0]:
        base = "the manifest's URL, " + name.split(", ")[1]
        bench.row(f"instructions: a notice with {name}", [one[name] for one in notices], "ns",
                  [one[base] for one in notices] if name != base else None, "to the manifest's URL" if name != base else "")
