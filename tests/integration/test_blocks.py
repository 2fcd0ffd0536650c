"""Images in blocks over MQTT: a real broker, real files, and devices that know nothing of HTTP."""

import os
import time

import pytest

from harness import wait_for
from harness.blocks import DENIED, MISSING, OK, RANGE


@pytest.fixture
def place(block_site):
    return block_site


def test_an_image_in_blocks(place):
    device, notice, image, rollout = place.told(size=300_001)
    device.report("DOWNLOADING", attempt=notice["attempt"])
    assert device.fetch(notice) == image
    assert place.broker.log_lines(rf"release {notice['version']} can be served in blocks: .*{notice['version']}.bin")
    device.update(notice)
    place.wait_update(rollout, device.client_id, "succeeded")
    # The update is over, and with it the image.
    device.ask_until(notice["sha256"], 0, 16, DENIED)


def test_resumes_in_another_session(place):
    """The connection breaks, and later the broker is stopped: each time it goes on with the byte it has not got."""
    device, notice, image, _ = place.told(size=200_000)
    device.report("DOWNLOADING", attempt=notice["attempt"])
    part = device.fetch(notice, until=50_000)
    device.vanish()
    device.connect()
    part = device.fetch(notice, have=part, until=120_000)
    place.broker.restart()
    wait_for(device.connected.is_set, 20, "it is connected again")
    assert device.fetch(notice, have=part) == image


def test_kept_session(place):
    """Blocks on their way to a device that is gone are no loss and no confusion."""
    device, notice, image, _ = place.told(size=200_000)
    for offset in range(0, 8 * 16384, 16384):
        device.send(notice["sha256"], offset, 16384)
    device.vanish()
    device.connect()
    assert device.fetch(notice, length=10_000) == image


def test_wrong_questions(place):
    device, notice, image, _ = place.told()
    sha256, size = notice["sha256"], notice["size"]
    assert device.ask("0" * 64, 0, 16).status == DENIED
    assert device.ask(sha256, size - 3, 16).data == image[-3:]
    beyond = device.ask(sha256, size, 16)
    assert (beyond.status, beyond.offset) == (RANGE, size)
    long = device.ask(sha256, 0, 16385)
    assert (long.status, long.length) == (RANGE, 16384)
    assert device.ask(sha256.upper(), 0, 16384).data == image[:16384]
    assert place.denials(device.client_id, "not the image")
    assert place.denials(device.client_id, "the image has")
    assert place.denials(device.client_id, "block_max_bytes")


def test_only_who_was_told(place):
    told, notice, _, _ = place.told()
    bystander = place.block_device(f"{told.client_id}-2", "elsewhere")
    bystander.ask_until(notice["sha256"], 0, 16, DENIED)
    assert place.denials(bystander.client_id, "no update of this device")
    before = len(told.answers())
    bystander.publish(f"{told.block_topic}/get", {"sha256": notice["sha256"], "offset": 0, "length": 16})
    assert place.denials(bystander.client_id, "ask for itself only")
    assert told.ask(notice["sha256"], 0, 16).status == OK  # the broker has one thread: what came before was handled
    assert len(told.answers()) == before + 1


def test_the_file_is_put_there_later_and_changed(place):
    device, notice, image, _ = place.told(put=False)
    sha256 = notice["sha256"]
    assert device.ask_until(sha256, 0, 16, MISSING).retry_after == 30
    place.broker.wait_log(rf"release {notice['version']} cannot be served in blocks: no file in .* has {len(image)} bytes"
                          rf" and SHA-256 {sha256}")
    name = f"whatever {notice['version']}.img"
    place.put(name, os.urandom(len(image)))
    wait_for(lambda: device.ask(sha256, 0, 16).status == MISSING, 10)
    place.put(name, image)
    assert device.ask_until(sha256, 0, 16, OK).data == image[:16]
    place.put(name, os.urandom(len(image)))
    device.ask_until(sha256, 0, 16, MISSING)
    place.broker.wait_log(rf"{name} has changed or is gone")
    (place.images / name).unlink()
    (place.images / "link").symlink_to(place.folder / "keys.d")
    place.put(name, image)
    assert device.ask_until(sha256, 16, 16, OK).data == image[16:32]


def test_a_halt_in_the_middle(place):
    device, notice, _, rollout = place.told()
    assert device.ask(notice["sha256"], 0, 16).status == OK
    place.order("pause", rollout)
    wait_for(lambda: place.rollout(rollout)["state"] == "paused", 10)
    time.sleep(0.3)
    assert device.ask(notice["sha256"], 0, 16).status == OK  # who was told goes on
    place.order("resume", rollout)
    place.order("halt", rollout)
    device.wait_recall()
    device.ask_until(notice["sha256"], 0, 16, DENIED)


def test_an_update_that_failed(place):
    device, notice, _, rollout = place.told()
    assert device.ask(notice["sha256"], 0, 16).status == OK
    device.fail(notice)
    answer = device.ask_until(notice["sha256"], 0, 16, DENIED)
    assert answer.retry_after == 0
    place.wait_update(rollout, device.client_id, "failed")


def test_a_gateway_asks_for_its_devices(place):
    fleet = place.fleet()
    place.db.execute("SELECT ota.assign_device(%s, %s)", f"{fleet}-child", fleet)
    place.db.execute("SELECT ota.assign_gateway(%s, %s)", f"{fleet}-child", f"{fleet}-gw")
    place.db.execute("SELECT ota.assign_gateway(%s, %s)", f"{fleet}-other", f"{fleet}-gw2")
    gateway, other = (place.client(f"{fleet}-{name}") for name in ("gw", "gw2"))
    time.sleep(1.2)  # until the brokers know who is a gateway
    for client in (gateway, other):
        client.subscribe("devices/+/ota/available")
        client.publish(f"devices/{fleet}-child/ota/status", {"version": "1.0.0", "bootId": "a"})
    place.wait_device(f"{fleet}-child", listening=True, version="1.0.0")
    version, image = place.image()
    place.start_rollout(fleet, version, "quick")
    wait_for(lambda: any(topic.endswith("child/ota/available") for topic in gateway.topics()), 10, lambda: gateway.messages)
    notice = place.release_row(place.db.value("SELECT max(release_id) FROM ota.release"))
    topic = f"devices/{fleet}-child/ota/block"
    for client in (other, gateway):
        for _ in range(3):
            client.publish(f"{topic}/get", {"sha256": notice["sha256"], "offset": 0, "length": 16})
            time.sleep(0.7)
    payloads = [payload for at, payload, _ in gateway.messages if at == topic]
    assert payloads and payloads[-1][1] == OK and payloads[-1][16:] == image[:16], payloads
    assert all(payload[1] != OK for at, payload, _ in other.messages if at == topic)
