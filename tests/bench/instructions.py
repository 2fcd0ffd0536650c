"""Instructions of the broker's thread for one message on other people's topics, counted by callgrind: no clock, no noise."""

import re

from common import QUIET, load, make_broker
from traffic import PAYLOAD, TOPIC


def total(folder, number):
    """What the first thread executed in one run."""
    for path in folder.glob(f"callgrind.{number}.*-01"):
        found = re.search(r"^(?:summary|totals): (\d+)", path.read_text(), re.M)
        if found:
            return int(found.group(1))
    raise AssertionError(f"callgrind left no total in {folder}: {[path.name for path in folder.iterdir()]}")


def counted(bench, plugin, subscribers, messages, qos):
    """Two runs of different length: their difference has no start and no end in it."""
    totals = []
    for number in (1, 2):
        database = bench.postgres.create_database()
        folder = bench.sub_folder()
        (folder / "keys.d").mkdir()
        (folder / "state").mkdir()
        options = {"database": database.conninfo, "trusted_keys": folder / "keys.d", "state_directory": folder / "state",
                   "acl_other_topics": "allow", "reports_per_minute": 0}
        if plugin:
            from harness import Keys, Signer
            Keys(folder / "keys.d").trust(Signer("p256"))
        broker = make_broker(folder / "broker", options, extra=QUIET, with_plugin=plugin)
        broker.command = ["valgrind", "--tool=callgrind", "--separate-threads=yes", "--quiet",
                          f"--callgrind-out-file={folder}/callgrind.{number}.%p", *broker.command]
        broker.start()
        try:
            load("relay", broker.port, subscribers, messages * number, qos, 100, TOPIC, PAYLOAD)
        finally:
            broker.stop()
            bench.postgres.drop_database(database)
        totals.append(total(folder, number))
    return (totals[1] - totals[0]) / messages


def run(bench):
    for subscribers, messages in ((1, bench.size(10_000, 2_000)), (100, bench.size(300, 100))):
        for qos in (0, 1):
            base = [counted(bench, False, subscribers, messages, qos)]
            name = f"instructions 1 to {subscribers}, QoS {qos}"
            bench.row(f"{name}: without plugin", base, "a message")
            bench.row(f"{name}: with plugin", [counted(bench, True, subscribers, messages, qos)], "a message", base)
