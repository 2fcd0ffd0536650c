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

POWER_OFF = (signal.SIGTERM, signal.SIGINT)
WAITED_FOR = {*POWER_OFF, signal.SIGCHLD}
OFF_SECONDS = 5  # for the firmware to end by itself


def provision(config, image, version, sequence="0"):
    open_slots(config).provision(pathlib.Path(image), version, int(sequence))
    return 0


def wait_signal(seconds):
    """The number of a signal that has come, or that comes within this time; None: none."""
    found = signal.sigtimedwait(WAITED_FOR, seconds)
    return found.si_signo if found else None


def watch(process, config, slot):
    """Until it ends: True.  False: the power is switched off.  A trial that is not confirmed in time is reset, as a hardware watchdog
    would do."""
    end = time.monotonic() + config.watchdog_seconds if config.watchdog_seconds else float("inf")
    while process.poll() is None:
        if wait_signal(0.1) in POWER_OFF:
            return False
        if time.monotonic() > end:
            if open_slots(config).trial == slot:
                print(f"watchdog: slot {slot} is not confirmed after {config.watchdog_seconds} s", flush=True)
                process.kill()
            end = float("inf")
    return True


def power_off(process):
    """What the image started goes with it, also when it does not listen."""
    process.terminate()
    try:
        process.wait(OFF_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def rest(seconds):
    """False: the power is switched off meanwhile."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        if wait_signal(left) in POWER_OFF:
            return False
    return True


def run(config, firmware):
    # Signals are waited for, not handled: one that comes while a process is being started, or while Python looks after its own
    # affairs, is still there at the next look.  A handler that raises at such a moment loses the process, or the exception.
    signal.pthread_sigmask(signal.SIG_BLOCK, WAITED_FOR)
    for number in POWER_OFF:
        signal.signal(number, signal.SIG_DFL)  # a shell starts what is in the background with SIGINT ignored
    while True:
        slots = open_slots(config)  # read anew: the firmware has changed it
        slot = slots.choose() if slots.exists() else None
        if slot is None:
            print(f"bootloader.py: {config.state_directory} holds no firmware that could boot", file=sys.stderr)
            return 1
        if wait_signal(0) in POWER_OFF:
            return 0
        version = slots.content(slot)["version"]
        print(f"boot: slot {slot}, {version}", flush=True)
        process = subprocess.Popen(firmware, env={**os.environ, "OTA_SLOT": slot, "OTA_IMAGE": str(slots.image(slot)),
                                                  "OTA_VERSION": version},
                                   preexec_fn=lambda: signal.pthread_sigmask(signal.SIG_UNBLOCK, WAITED_FOR))
        if not watch(process, config, slot):
            power_off(process)
            return 0
        if not rest(config.restart_ms / 1000):
            return 0


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
