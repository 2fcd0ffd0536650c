"""Runs benchmarks by name, one after the other, and writes down what they measured.  Called by run.sh."""

import argparse
import importlib
import pathlib
import shutil
import signal
import sys
import tempfile
import time
import traceback

import results

NAMES = ("instructions", "traffic", "connect", "memory", "reports", "rival", "stage", "command", "registered", "harm", "outage", "audit", "block")
FOLDER = pathlib.Path(__file__).resolve().parent


def arguments():
    parser = argparse.ArgumentParser(prog="run.sh", add_help=False)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--draw", action="store_true")
    parser.add_argument("names", nargs="*", metavar="NAME")
    options = parser.parse_args()
    for name in options.names:
        if name not in NAMES:
            parser.error(f"{name}: accepted are {', '.join(NAMES)}")
    if options.quick and (options.full or options.write):
        parser.error("--quick: its figures say little; accepted without --full and --write")
    if options.draw and (options.quick or options.full or options.write or options.names):
        parser.error("--draw: measures nothing; accepted alone")
    return options


def run_all(bench, names):
    """Each benchmark in turn; one that fails does not keep the others from running.  Returns the records of all."""
    records = []
    for number, name in enumerate(names, 1):
        print(f"[{number}/{len(names)}] {name}, {time.strftime('%H:%M:%S')}", flush=True)
        bench.benchmark = name
        bench.records = []
        run = {"run": name, **results.moment(), "failed": None}
        began = time.monotonic()
        try:
            importlib.import_module(name).run(bench)
            bench.generator_rows()
        except Exception as error:  # told at the end, in the exit status and in the results
            traceback.print_exc()
            run["failed"] = ((str(error) or type(error).__name__).splitlines())[0][:200]
        run["seconds"] = round(time.monotonic() - began)
        print(f"  {name}: {'FAILED' if run['failed'] else 'done'} in {run['seconds']} s", flush=True)
        records += [run, *bench.records]
    return records


def main():
    options = arguments()
    if options.draw:
        results.draw(FOLDER)
        return 0

    def terminate(signum, _frame):
        raise KeyboardInterrupt(f"signal {signum}")

    signal.signal(signal.SIGTERM, terminate)
    from common import Bench
    bench = Bench(options.quick, options.full)
    try:
        print(results.describe(results.machine()), flush=True)
        records = run_all(bench, options.names or NAMES)
    finally:
        bench.close()
    print()
    print(results.table(records))
    print()
    print(results.targets_table(records))
    if options.write or not (options.quick or options.names):
        results.write(FOLDER, records, whole=not options.names)
    elif options.quick:
        folder = pathlib.Path(tempfile.mkdtemp(prefix="ota-bench-draw."))
        try:
            results.write(folder, records, whole=True)  # that it can be done
        finally:
            shutil.rmtree(folder)
    failed = [record["run"] for record in records if record.get("failed")]
    print(f"{len([one for one in records if 'run' in one])} benchmarks, failed: {', '.join(failed) or 'none'}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
