"""The device that articles describe, and that is in the field: it knows version, url, sha256 and size, and nothing else.

It subscribes to its fleet's topic, fetches, compares the hash, reboots, and says
{"version","status","checks","ts"}.  It must work without a change.
"""

import datetime
import hashlib
import json
import urllib.request

import pytest

from harness import Client, wait_for

pytestmark = pytest.mark.usefixtures("plugin")


class ArticleDevice(Client):
    """Written from the article alone: nothing of the protocol's later members is used, in either direction."""

    def __init__(self, broker, device_id, fleet):
        super().__init__(broker, device_id, clean=True)
        self.fleet = fleet
        self.version = "1.4.0"
        self.flash = b""

    def boot(self):
        self.connect()
        self.subscribe(f"fleet/{self.fleet}/ota/available")

    def say(self, status):
        now = datetime.datetime.now(datetime.timezone.utc)
        self.publish(f"devices/{self.client_id}/ota/status", json.dumps({
            "version": self.version, "status": status, "checks": {"mqttConnected": True, "gpsLock": True},
            "ts": now.strftime("%Y-%m-%dT%H:%M:%SZ")}))

    def told(self):
        return [json.loads(payload) for topic, payload, _ in list(self.messages) if topic == f"fleet/{self.fleet}/ota/available"]

    def flash_new_firmware(self):
        notice = self.told()[-1]
        with urllib.request.urlopen(notice["url"]) as answer:
            data = answer.read()
        if len(data) != notice["size"] or hashlib.sha256(data).hexdigest() != notice["sha256"]:
            self.say("FAILED")
            return
        self.flash = data
        self.vanish()  # no word of a reboot
        self.version = notice["version"]
        self.messages.clear()
        self.boot()


@pytest.fixture
def pumps(site, image):
    site.quick_plan(health_timeout="10 seconds")
    devices = [ArticleDevice(site.broker, f"pump-{number}", "pumps") for number in (1, 2)]
    for device in devices:
        device.boot()
        device.say("SUCCESS")  # it knows no other word, and says it after every boot
        site.wait_device(device.client_id, listening=True, fleet="pumps", version="1.4.0")
    yield devices
    for device in devices:
        device.close()


def publish(site, image, **served):
    data, url = image("1.5.0", **served)
    site.release("1.5.0", url=url, sha256=hashlib.sha256(data).hexdigest(), size=len(data))
    return data, site.start_rollout("pumps", "1.5.0", "quick")


@pytest.mark.brokers
def test_it_updates(site, pumps, image):
    data, rollout = publish(site, image)
    done = set()

    def one_more():
        for device in pumps:
            if device.client_id not in done and device.told():
                device.flash_new_firmware()
                device.say("SUCCESS")
                done.add(device.client_id)
        return len(done) == 2

    wait_for(one_more, 20, lambda: site.describe(rollout))
    site.wait_rollout(rollout, "completed")
    assert [device.flash for device in pumps] == [data, data]
    for device in pumps:
        assert site.update_row(rollout, device.client_id)["state"] == "succeeded"
        site.wait_device(device.client_id, version="1.5.0")
    reports = [event["detail"] for event in site.events(device="pump-1", rollout=rollout)]
    assert any((detail or {}).get("checks") == {"mqttConnected": True, "gpsLock": True} for detail in reports), reports


def test_its_failure_is_one(site, pumps, image):
    _, rollout = publish(site, image, served=lambda data: data[:-1] + bytes([data[-1] ^ 1]))
    device = wait_for(lambda: next((one for one in pumps if one.told()), None), 10, lambda: site.describe(rollout))
    device.flash_new_firmware()
    site.wait_update(rollout, device.client_id, "failed")
    assert device.version == "1.4.0" and not device.flash


def test_success_with_the_old_version_is_none(site, image, pumps):
    """It knows no ROLLED_BACK: it fell back, and says what it says after every boot."""
    site.quick_plan(health_timeout="2 seconds", download_timeout="2 seconds")
    _, rollout = publish(site, image)
    device = wait_for(lambda: next((one for one in pumps if one.told()), None), 10, lambda: site.describe(rollout))
    device.vanish()
    device.boot()
    device.say("SUCCESS")
    site.wait_update(rollout, device.client_id, ("timed_out", "rolled_back"))
    site.wait_device(device.client_id, version="1.4.0")
