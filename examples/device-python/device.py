#!/usr/bin/python3
"""The agent of one device.  device.py CONFIGURATION"""

import os
import pathlib
import signal
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from otadevice import config as configuration  # noqa: E402
from otadevice.agent import Agent  # noqa: E402
from otadevice.board import open_slots  # noqa: E402


def main():
    if len(sys.argv) != 2:
        print("usage: device.py CONFIGURATION", file=sys.stderr)
        return 2
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: os._exit(0))  # a power cut does no harm, so this does none
    try:
        config = configuration.load(sys.argv[1])
        slots = open_slots(config)
        if not slots.exists():
            raise configuration.ConfigError(f"{config.state_directory} holds no firmware; see bootloader.py provision")
        agent = Agent(config, slots)
    except (configuration.ConfigError, OSError, ValueError) as error:
        print(f"device.py: {error}", file=sys.stderr)
        return 2
    agent.run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
