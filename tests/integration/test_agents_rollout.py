"""Agents of examples/ with the real broker: rollouts that go well, that go wrong, and power cuts in the middle."""

import hashlib
import os
import random
import time

import pytest

from harness import Signer, Site, wait_for
from harness.agent_fixtures import never_bootable

LONG = bool(os.environ.get("OTA_LONG"))
_fleets = iter(range(1, 10_000))


class House(Site):
    """One broker for all tests of this file; every test has a fleet, and versions, of its own."""

    def open(self):
        self.add_broker()
        self.quick_plan(wait="1 second", health_timeout="60 seconds", download_timeout="120 seconds")
        return self

    def fleet(self):
        return f"fleet-{next(_fleets)}"

    def listens(self, *devices):
        for device in devices:
            self.wait_device(device.device_id, timeout=40, listening=True, connected=True)

    def publish(self, image, behaviour="good", sequence=None, **how):
        """A signed, verified release of a new version; returns (version, image)."""
        number = sequence or self.sequence()
        version = f"2.{number}.0"
        data, url = image(version, behaviour, **how)
        self.release(version, sequence=number, url=url, sha256=hashlib.sha256(data).hexdigest(), size=len(data))
        return version, data

    def roll_out(self, device, version):
        self.rollout_id = self.start_rollout(device.settings["fleet"], version, "quick")
        return self.rollout_id

    def ends(self, device, state, timeout=60):
        return self.wait_update(self.rollout_id, device.device_id, state, timeout)

    def agrees(self, device):
        """The record names the firmware that is really on the device."""
        wait_for(lambda: self.device_row(device.device_id)["version"] == device.version(), 10,
                 lambda: f"{self.device_row(device.device_id)} but {device.boot()}\n{device.log()[-2000:]}")


@pytest.fixture(scope="module")
def house(plugin, postgres, tmp_path_factory):
    from conftest import _broker_maker

    base = postgres.create_database()
    place = House(tmp_path_factory.mktemp("house"), base, _broker_maker(plugin))
    try:
        yield place.open()
        place.close()
    finally:
        for broker in place.brokers:
            if broker.running():
                broker.kill()
        postgres.drop_database(base)


@pytest.fixture
def device(house, boards):
    """One device in a fleet of its own."""
    device = boards(house.broker, [house.signer], fleet=house.fleet(), hardware="p-100", health_seconds=10)
    house.listens(device)
    house.wait_device(device.device_id, timeout=40, hardware="p-100", version="1.0.0")  # it reports after it subscribed
    return device


def test_two_updates_from_slot_to_slot(house, device, image):
    for slot in ("b", "a"):
        version, data = house.publish(image)
        house.roll_out(device, version)
        house.ends(device, "succeeded")
        house.agrees(device)
        assert device.boot()["active"] == slot and device.slot_hash(slot) == hashlib.sha256(data).hexdigest()
        assert device.version() == version
    reports = [event["detail"] for event in house.events(device=device.device_id, rollout=house.rollout_id)]
    assert any((detail or {}).get("checks") == {"mqttConnected": True, "imageGood": True} for detail in reports), reports


@pytest.mark.parametrize("behaviour, error", [("sick", "HEALTH_CHECK_FAILED"), ("crash", "BOOT_LOOP"), ("hang", "BOOT_LOOP")])
def test_bad_firmware_is_taken_back(house, boards, image, behaviour, error):
    device = boards(house.broker, [house.signer], fleet=house.fleet(), health_seconds=1, watchdog_seconds=1 if behaviour == "hang" else 60)
    house.listens(device)
    version, data = house.publish(image, behaviour)
    house.roll_out(device, version)
    row = house.ends(device, "rolled_back")
    assert row["error"] == error
    house.agrees(device)
    assert device.version() == "1.0.0" and device.log().count("boot: slot b") == (2 if error == "BOOT_LOOP" else 1)
    never_bootable(device, data)
    # Not the end of the line: the repaired firmware goes into the same slot.
    device.power_cut()
    device.settings.update(health_seconds=20, watchdog_seconds=60)
    device.write_conf([house.signer])
    device.power_on()
    house.listens(device)
    version, _ = house.publish(image)
    house.roll_out(device, version)
    house.ends(device, "succeeded")
    house.agrees(device)


def test_the_record_names_the_reason(house, device, boards, image):
    version, data = house.publish(image, served=lambda data: data[:-1] + bytes([data[-1] ^ 1]))
    house.roll_out(device, version)
    assert house.ends(device, "failed")["error"] == "HASH_MISMATCH"
    never_bootable(device, data)
    # The broker trusts a key that is not pinned in this device: it was broken into, or the wrong key was taken.
    careful = boards(house.broker, [Signer("ed25519")], fleet=house.fleet())
    ahead = boards(house.broker, [house.signer], fleet=house.fleet(), sequence=1_000_000)
    house.listens(careful, ahead)
    version, data = house.publish(image)
    for one, error in ((careful, "BAD_SIGNATURE"), (ahead, "SEQUENCE_ROLLBACK")):
        house.roll_out(one, version)
        assert house.ends(one, "failed")["error"] == error
        never_bootable(one, data)
        house.agrees(one)


def test_a_busy_device_is_asked_again(house, boards, image, tmp_path):
    busy = tmp_path / "busy"
    busy.touch()
    device = boards(house.broker, [house.signer], fleet=house.fleet(), busy_file=busy, defer_seconds=2)
    house.listens(device)
    version, _ = house.publish(image)
    house.roll_out(device, version)
    device.wait_log("DEFERRED")
    row = house.ends(device, "pending")
    busy.unlink()
    assert house.ends(device, "succeeded")["attempt"] > max(row["attempt"], 1) - 1
    house.agrees(device)


STEPS = ("", "DOWNLOADING", "VERIFYING", "APPLYING", "REBOOTING", "boot: slot b", "SUCCESS")


def cut_at(devices, moments):
    """Switches each device off at its own moment: so many seconds after a step was reached ("": after the start)."""
    left = {device: (step, delay, time.monotonic() if not step else None) for device, (step, delay) in zip(devices, moments)}
    latest = time.monotonic() + 20
    while left:
        now = time.monotonic()
        for device, (step, delay, since) in list(left.items()):
            if since is None and step in device.log():
                left[device] = (step, delay, now)
            elif now > latest or since is not None and now >= since + delay:
                device.power_cut()
                del left[device]
        time.sleep(0.003)


def survived(device, data):
    """What the disk holds right after the cut: something that boots, and nothing unverified that would."""
    device.version()
    boot = device.boot()
    if boot["trial"]:
        assert device.slot_hash(boot["trial"]) == boot[boot["trial"]]["sha256"] == hashlib.sha256(data).hexdigest(), boot
    return "on trial" if boot["trial"] else "new" if boot["active"] == "b" else "old"


def test_power_cuts_at_random_moments(house, boards, image):
    """Each device loses its power once, somewhere between the notice and the time after SUCCESS."""
    seed = int(os.environ.get("OTA_SEED", 0)) or random.randrange(1 << 32)
    dice = random.Random(seed)
    left, at_once, found = (200 if LONG else 5), (8 if LONG else 5), {}
    while left > 0:
        house.plan("all", ("some", 99, "1 second"), ("full", 100, "1 second"), options={"pacing": "none", "early_halt": False},
                   success_threshold=0.01, health_timeout="60 seconds", download_timeout="120 seconds")
        fleet, count = house.fleet(), min(left, at_once)
        devices = [boards(house.broker, [house.signer], fleet=fleet, health_seconds=10, boot_attempts=3) for _ in range(count)]
        house.listens(*devices)
        version, data = house.publish(image, size=300_000, rate=300_000)
        rollout = house.start_rollout(fleet, version, "all", "emergency: all of them at once")
        # Half of them anywhere, half of them around the steps, where there is more to go wrong.
        cut_at(devices, [(step, dice.uniform(0, 0.2 if step else 2.5))
                         for step in (dice.choice(STEPS) if dice.random() < 0.6 else "" for _ in devices)])
        for device in devices:
            state = survived(device, data)
            found[state] = found.get(state, 0) + 1
        for device in devices:
            device.power_on()
        for device in devices:
            house.wait_update(rollout, device.device_id, "succeeded", 60)
            wait_for(lambda device=device: device.version() == version, 10, device.log)
            house.agrees(device)
            device.power_cut()
        left -= count
    print(f"seed {seed}; the disk held, right after the cut: {found}")
