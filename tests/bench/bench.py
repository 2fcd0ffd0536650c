"""Runs benchmarks by name and prints one table.  Called by run.sh."""

import argparse
import importlib
import os
import platform
import signal
import sys

from common import Bench

NAMES = ("reports", "outage", "stage", "traffic", "harm", "command", "registered", "instructions", "connect", "rival", "audit")


def machine():
    with open("/proc/cpuinfo", encoding="utf-8") as info:
        model = next((line.split(":", 1)[1].strip() for line in info if line.startswith("model name")), platform.machine())
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    return f"{os.cpu_count()} x {model}, Linux {platform.release()}, load average {load}"


def main():
    parser = argparse.ArgumentParser(prog="run.sh")
    parser.add_argument("--quick", action="store_true", help="small sizes, one round: is everything still right")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)} (all)")
    options = parser.parse_args()
    for name in options.names:
        if name not in NAMES:
            parser.error(f"{name}: accepted are {', '.join(NAMES)}")

    def terminate(signum, _frame):
        raise KeyboardInterrupt(f"signal {signum}")

    signal.signal(signal.SIGTERM, terminate)
    bench = Bench(options.quick)
    try:
        print(machine())
        for name in options.names or NAMES:
            print(name, flush=True)
            importlib.import_module(name).run(bench)
    finally:
        bench.close()
        print()
        bench.table()
        print(machine())
    return 0


if __name__ == "__main__":
    sys.exit(main())
