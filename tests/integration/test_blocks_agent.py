"""The agent in C without HTTP, against the real broker: from slot to slot, over power cuts, and what it does not take."""

import hashlib
import os
import time

import pytest

from conftest import _broker_maker
from harness import wait_for
from harness.agent_fixtures import Boards, never_bootable
from harness.agents import make_image
from harness.blocks import BlockSite


class Workshop(BlockSite):
    def firmware(self, fleet, behaviour="good", size=400_000, served=None):
        """Puts an image into the directory and rolls it out; returns (version, image)."""
        number = self.sequence()
        version = f"2.{number}.0"
        data = make_image(version, behaviour, size)
        self.put(f"{version}.bin", data if served is None else served(data))
        self.release(version, sequence=number, sha256=hashlib.sha256(data).hexdigest(), size=size)
        self.rollout_id = self.start_rollout(fleet, version, "quick")
        return version, data


@pytest.fixture(scope="module")
def place(plugin, postgres, tmp_path_factory):
    base = postgres.create_database()
    site = Workshop(tmp_path_factory.mktemp("blocks"), base, _broker_maker(plugin))
    try:
        # Slow enough to be interrupted: two images a second.
        yield site.open("2.0.11", rate=800_000)
        site.close()
    finally:
        for broker in site.brokers:
            if broker.running():
                broker.kill()
        postgres.drop_database(base)


@pytest.fixture
def device(place, tmp_path):
    boards = Boards("mqtt", tmp_path)
    fleet = place.fleet()
    device = boards(place.broker, [place.signer], fleet=fleet, health_seconds=3)
    place.wait_device(device.device_id, timeout=40, listening=True, connected=True, version="1.0.0")
    yield device
    boards.close()


def test_from_slot_to_slot(place, device):
    for slot in ("b", "a"):
        version, data = place.firmware(device.settings["fleet"])
        place.wait_update(place.rollout_id, device.device_id, "succeeded", 60)
        assert device.version() == version and device.boot()["active"] == slot
        assert device.slot_hash(slot) == hashlib.sha256(data).hexdigest()


def test_goes_on_after_a_power_cut_and_without_a_broker(place, device):
    version, data = place.firmware(device.settings["fleet"], size=1_500_000)
    part = device.state / "download.part"
    wait_for(lambda: part.exists() and part.stat().st_size > 200_000, 20, lambda: f"{list(device.state.iterdir())}\n{device.log()}", every=0.01)
    device.power_cut()
    size = part.stat().st_size
    device.power_on()
    wait_for(lambda: part.exists() and part.stat().st_size > size + 200_000, 30, device.log, every=0.01)
    place.broker.restart()
    place.wait_update(place.rollout_id, device.device_id, "succeeded", 90)
    assert device.version() == version
    assert not place.db.rows("SELECT * FROM ota.denied WHERE client = %s", device.device_id)


@pytest.mark.skipif(not os.environ.get("OTA_LONG"), reason="half a minute; OTA_LONG=1")
def test_the_file_comes_late(place, device):
    version, data = place.firmware(device.settings["fleet"], served=lambda data: data[:-1])
    device.wait_log("DOWNLOADING", 20)
    time.sleep(1)
    place.put(f"{version}.bin", data)
    # It was told to wait for half a minute; the operator's rollout does not have to.
    place.wait_update(place.rollout_id, device.device_id, "succeeded", 90)
    assert device.version() == version


def test_sick_firmware_and_a_recall(place, device):
    version, data = place.firmware(device.settings["fleet"], behaviour="sick", size=100_000)
    place.wait_update(place.rollout_id, device.device_id, ("rolled_back", "failed"), 60)
    assert device.version() == "1.0.0"
    version, data = place.firmware(device.settings["fleet"], size=3_000_000)
    device.wait_log('"attempt":1', 20)
    time.sleep(0.5)
    place.order("halt", place.rollout_id)
    never_bootable(device, data, seconds=3)
