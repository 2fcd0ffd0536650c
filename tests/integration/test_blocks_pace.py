"""The pace of blocks: all devices together keep to the cap, and one that asks for much leaves the others their turns."""

import threading
import time

import pytest

from conftest import _broker_maker
from harness import wait_for
from harness.blocks import OK, BlockSite

RATE = 1_000_000
BURST = RATE // 4


@pytest.fixture
def place(plugin, database, tmp_path):
    site = BlockSite(tmp_path, database, _broker_maker(plugin))
    yield site.open("2.0.11", rate=RATE)
    site.close()


def given(device):
    return sum(len(answer.data) + 16 for answer in device.answers() if answer.status == OK)


def test_the_cap_and_the_turns(place):
    fleet = place.fleet()
    devices = [place.block_device(f"dev-{number}", fleet) for number in range(3)]
    version, image = place.image(1_000_000)
    place.db.value("SELECT ota.start_rollout(%s, %s, 'quick', reason => 'emergency: all')", fleet, version)
    notices = [device.wait_notice() for device in devices]
    begin = time.monotonic()
    # Two are greedy, one asks for a block after the other.
    windows = (8, 8, 1)
    pieces = [None] * 3

    def run(number):
        pieces[number] = devices[number].fetch(notices[number], length=16384 if windows[number] > 1 else 4096, window=windows[number],
                                               until=None if windows[number] > 1 else 6 * 4096, timeout=60)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    while threads[0].is_alive() or threads[1].is_alive():
        # What is on its way to a slow test was given earlier, so this holds however slow the test is.
        assert sum(map(given, devices)) <= RATE * (time.monotonic() - begin) + BURST + 2 * 16400
        time.sleep(0.05)
        if not threads[2].is_alive() and pieces[2] is not None and pieces[2] is not True:
            assert pieces[2] == image[:len(pieces[2])]
            # It had its turns: it is through while the others still wait for some of theirs. Without turns each of its six blocks
            # would wait for sixteen large ones.
            assert min(map(given, devices[:2])) < 900_000
            pieces[2] = True
    for thread in threads:
        thread.join()
    assert pieces[0] == image and pieces[1] == image
    # The two greedy ones had the same.
    assert time.monotonic() - begin >= (2_000_000 - BURST) / RATE
    wait_for(lambda: place.broker.ping_seconds() < 5, 10)


def test_two_greedy_ones_finish_together(place):
    fleet = place.fleet()
    devices = [place.block_device(f"dev-{number}", fleet) for number in range(2)]
    version, image = place.image(1_500_000)
    place.db.value("SELECT ota.start_rollout(%s, %s, 'quick', reason => 'emergency: all')", fleet, version)
    notices = [device.wait_notice() for device in devices]
    threads = [threading.Thread(target=device.fetch, args=(notice,), kwargs={"window": 8, "timeout": 60})
               for device, notice in zip(devices, notices)]
    for thread in threads:
        thread.start()
    while threads[0].is_alive() and threads[1].is_alive():
        # Whoever came first has at most what it had before the other one came, and its window.
        one, other = sorted(map(given, devices))
        assert other - one < 900_000, (one, other)
        time.sleep(0.05)
    for thread in threads:
        thread.join()
