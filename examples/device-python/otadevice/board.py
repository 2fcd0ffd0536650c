"""The board: what this agent has to know of the hardware.  Change this file for yours.

Slots are files (slots.py), or RAUC's (rauc.py), or written by SWUpdate (swupdate.py).  For U-Boot alone or the Raspberry
Pi's tryboot, write such a class that asks them.
"""

import os
import pathlib
import subprocess
import sys
import time

from .problems import NotNow
from .rauc import RaucSlots
from .slots import Slots
from .swupdate import SwupdateSlots


def open_slots(config):
    """Who installs, and keeps the slots?"""
    if config.installer == "rauc":
        return RaucSlots(config.state_directory, config.rauc_slots.split())
    if config.installer == "swupdate":
        return SwupdateSlots(config.state_directory, config.swupdate_command)
    return Slots(config.state_directory)


def reboot():
    """Ends the process: bootloader.py takes that for a reset.  On a board: subprocess.run(["systemctl", "reboot"])."""
    sys.stdout.flush()
    os._exit(0)


def check_ready(config):
    """Raises NotNow when an update has to wait."""
    if config.busy_file and pathlib.Path(config.busy_file).exists():
        raise NotNow("BUSY")
    if config.battery_file:
        try:
            charge = int(pathlib.Path(config.battery_file).read_text())
        except (OSError, ValueError):
            charge = 100  # a device on mains has no battery to read
        if charge < config.battery_min:
            raise NotNow("LOW_BATTERY")


def _healthy(command, seconds, environment):
    try:
        return subprocess.run([command], env=environment, stdin=subprocess.DEVNULL, timeout=seconds).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def check_health(config, slots, slot, connected):
    """Every check is asked again until all are good or the time is over.  Returns {name: bool}.

    A check is a program: exit status 0 means healthy.  Having reached the broker is one, too, because a device that
    cannot be reached cannot be repaired.
    """
    end = time.monotonic() + config.health_seconds
    environment = {**os.environ, "OTA_SLOT": slot, "OTA_IMAGE": str(slots.image(slot)),
                   "OTA_VERSION": slots.content(slot)["version"]}
    checks = {"mqttConnected": False, **{name: False for name, _ in config.health}}
    while True:
        checks["mqttConnected"] = connected()
        for name, command in config.health:
            checks[name] = checks[name] or _healthy(command, max(end - time.monotonic(), 0.01), environment)
        if all(checks.values()) or time.monotonic() >= end:
            return checks
        time.sleep(min(0.1, max(end - time.monotonic(), 0.01)))
