#!/usr/bin/python3
"""Plays the boot loader of a board: chooses a slot, counts the boots of a trial, starts what is in the slot, and starts over
when that ends.

bootloader.py provision CONFIGURATION IMAGE VERSION [SEQUENCE]    puts the first firmware into slot a
bootloader.py run CONFIGURATION -- FIRMWARE [ARGUMENT]...         FIRMWARE stands for what the image would start;
                                                                  it gets OTA_SLOT, OTA_IMAGE and OTA_VERSION
"""

import os
import pathlib
import signal
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from otadevice import config as configuration  # noqa: E402
from otadevice.board import open_slots  # noqa: E402


def provision(config, image, version, sequence="0"):
    open_slots(config).provision(pathlib.Path(image), version, int(sequence))
    return 0


def watch(process, config, slot):
    """Until it ends.  A trial that is not confirmed in time is reset, as a hardware watchdog would do."""
    end = time.monotonic() + config.watchdog_seconds
    while True:
        try:
            process.wait(0.1)
            return
        except subprocess.TimeoutExpired:
            pass
        if config.watchdog_seconds and time.monotonic() > end:
            if open_slots(config).trial == slot:
                print(f"watchdog: slot {slot} is not confirmed after {config.watchdog_seconds} s", flush=True)
                process.kill()
            end = float("inf")


def run(config, firmware):
    process = None

    def power_off(*_):
        if process:
            process.terminate()
        sys.exit(0)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, power_off)
    while True:
        slots = open_slots(config)  # read anew: the firmware has changed it
        slot = slots.choose() if slots.exists() else None
        if slot is None:
            print(f"bootloader.py: {config.state_directory} holds no firmware that could boot", file=sys.stderr)
            return 1
        version = slots.content(slot)["version"]
        print(f"boot: slot {slot}, {version}", flush=True)
        process = subprocess.Popen(firmware, env={**os.environ, "OTA_SLOT": slot, "OTA_IMAGE": str(slots.image(slot)),
                                                  "OTA_VERSION": version})
        watch(process, config, slot)
        time.sleep(config.restart_ms / 1000)


def main():
    arguments = sys.argv[1:]
    try:
        if len(arguments) in (4, 5) and arguments[0] == "provision":
            return provision(configuration.load(arguments[1]), *arguments[2:])
        if len(arguments) >= 4 and arguments[0] == "run" and arguments[2] == "--":
            return run(configuration.load(arguments[1]), arguments[3:])
    except (configuration.ConfigError, OSError, ValueError) as error:
        print(f"bootloader.py: {error}", file=sys.stderr)
        return 2
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
