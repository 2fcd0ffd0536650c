"""The power switch of the boards that examples/ plays: off is off, whenever it comes."""

import os
import pathlib
import signal
import time
import types

import pytest

from conftest import BUILD
from harness import wait_for
from harness.agents import AgentDevice, commands


def processes_of(session):
    """What still runs in a session, its leader not counted."""
    found = []
    for path in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            text = path.read_text()
        except OSError:
            continue
        fields = text[text.rindex(")") + 2:].split()
        if fields[0] != "Z" and int(fields[3]) == session and int(path.parent.name) != session:
            found.append(path.parent.name)
    return found


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_off_while_the_firmware_is_being_started(agent_kind, signer, tmp_path, number):
    """The signal comes in the moments after the boot loader has said what it boots: before, while and after there is a process."""
    board = AgentDevice(commands(agent_kind, BUILD), tmp_path, types.SimpleNamespace(port=1), "board", [signer])
    board.provision(behaviour="hang")
    for microseconds in (0, 300, 700, 1000, 1500, 2500, 5000, 50000):
        board.log_path.unlink(missing_ok=True)
        board.power_on()
        session = board.process.pid
        try:
            end = time.monotonic() + 20
            while "boot: slot" not in board.log() and time.monotonic() < end:
                pass
            time.sleep(microseconds / 1e6)
            os.kill(session, number)
            assert board.process.wait(15) in (0, -number), board.log()
            wait_for(lambda: not processes_of(session), 10, f"nothing is left, {microseconds} us after the boot: {board.log()}")
        finally:
            board.power_cut()
