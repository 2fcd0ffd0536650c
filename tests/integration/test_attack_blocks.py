"""Attacks by way of the blocks: response topics, forged and overheard blocks, floods, and the keys that go in the middle."""

import json

import pytest

from harness import wait_for
from harness.blocks import DENIED, MALFORMED, OK, Answer
from harness.raw import PUBACK, RawClient, text


@pytest.fixture
def place(block_site):
    return block_site


class Raw5(RawClient):
    """MQTT 5, with the properties of requests and answers."""

    def __init__(self, broker, client_id):
        super().__init__(broker, client_id, version=5)
        self.answers = []  # (topic, correlation data, Answer)

    def _take(self, first, body):
        end = 2 + int.from_bytes(body[:2], "big")
        topic, rest = body[2:end].decode(), body[end:]
        if first >> 1 & 3:
            self.send(0x40, rest[:2])
            rest = rest[2:]
        properties, payload = rest[1:1 + rest[0]], rest[1 + rest[0]:]
        correlation = properties[3:] if properties[:1] == b"\x09" else None
        if topic.endswith("/available"):
            self.messages.append((topic, payload))
        else:
            self.answers.append((topic, correlation, Answer(payload)))

    def ask(self, device, payload, response=None, correlation=None):
        """The reason code of the PUBACK."""
        properties = (b"\x08" + text(response) if response is not None else b"") \
            + (b"\x09" + text(correlation) if correlation is not None else b"")
        self.mid += 1
        payload = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        length = len(properties)
        size = bytes([length]) if length < 128 else bytes([length & 127 | 128, length >> 7])
        self.send(0x32, text(f"devices/{device}/ota/block/get") + self.mid.to_bytes(2, "big") + size + properties + payload)
        answer = self.wait(PUBACK)
        return answer[2] if len(answer) > 2 else 0

    def next_answer(self, count):
        wait_for(lambda: self.ping() and len(self.answers) >= count, 10, lambda: self.answers)
        return self.answers[count - 1]


def raw_told(place, name):
    """A device that speaks MQTT 5 and was told."""
    fleet = place.fleet()
    raw = Raw5(place.broker, f"{fleet}-{name}")
    raw.subscribe(f"fleet/{fleet}/ota/available")
    raw.publish(f"devices/{raw.client_id}/ota/status", json.dumps({"version": "1.0.0"}))
    place.wait_device(raw.client_id, listening=True, version="1.0.0")
    version, image = place.image()
    place.start_rollout(fleet, version, "quick")
    wait_for(lambda: raw.ping() and raw.messages, 10, lambda: place.broker.log()[-2000:])
    return raw, json.loads(raw.messages[0][1]), image


def test_response_topic_and_correlation_data(place):
    raw, notice, image = raw_told(place, "r")
    victim, victims_notice, _, _ = place.told()
    request = {"sha256": notice["sha256"], "offset": 0, "length": 16}
    own = f"devices/{raw.client_id}/ota/block"
    assert raw.ask(raw.client_id, request, f"devices/{raw.client_id}/my/answers", b"\x00\x01seven") in (0, 0x10)
    topic, correlation, answer = raw.next_answer(1)
    assert (topic, correlation, answer.data) == (f"devices/{raw.client_id}/my/answers", b"\x00\x01seven", image[:16])
    assert raw.ask(raw.client_id, request) in (0, 0x10)
    assert raw.next_answer(2)[:2] == (own, None)
    count = 2
    for other in (f"devices/{victim.client_id}/ota/block", f"devices/{victim.client_id}/ota/available", f"devices/{raw.client_id}",
                  f"devices/{raw.client_id}/ota/available", f"devices/{raw.client_id}/ota/status", "fleet/x/ota/available", "$SYS/x"):
        count += 1
        assert raw.ask(raw.client_id, request, other, b"c") == 0x87, other
        topic, correlation, answer = raw.next_answer(count)
        assert (topic, correlation, answer.status) == (own, b"c", DENIED), other
    assert raw.ask(raw.client_id, request, own, b"x" * 129) == 0x87
    assert raw.next_answer(count + 1)[2].status == MALFORMED
    # Nor may it ask in another's name, wherever the answer would go.
    assert raw.ask(victim.client_id, {**request, "sha256": victims_notice["sha256"]}, own, b"v") == 0x87
    assert victim.answers() == [] and len(victim.notices()) == 1
    assert place.denials(raw.client_id, "response topic")


def test_forged_and_overheard_blocks(place):
    device, notice, image, _ = place.told()
    thief = place.client(f"{device.client_id}-thief")
    assert thief.subscribe(device.block_topic) == 128
    assert thief.subscribe("#") in (0, 1)
    forged = b"\x01\x00\x00\x00\x00\x00\x00\x04" + bytes(8) + b"evil"
    for topic in (device.block_topic, f"devices/{thief.client_id}/ota/block"):
        thief.publish(topic, forged)
        thief.publish(topic, forged, retain=True)
    device.subscribe(device.block_topic)
    assert device.ask(notice["sha256"], 0, 16384).data == image[:16384]
    assert [answer.data for answer in device.answers()] == [image[:16384]]
    assert not [topic for topic in thief.topics() if topic.endswith("/ota/block")]
    assert place.denials(thief.client_id, "only the broker itself publishes blocks")
    assert place.denials(thief.client_id, "own topics only")


def test_nonsense_and_floods(place):
    device, notice, image, _ = place.told()
    good = {"sha256": notice["sha256"], "offset": 0, "length": 16}
    nonsense = [b"", b"{}", b"[]", b"\xff\xfe", b"{" * 200, b"x" * 600, json.dumps({**good, "offset": -1}).encode(),
                json.dumps({**good, "length": 1e300}).encode(), b'{"sha256":"a","sha256":"b","offset":0,"length":1}']
    for payload in nonsense:
        before = len(device.answers())
        device.publish(f"{device.block_topic}/get", payload)
        wait_for(lambda: len(device.answers()) > before, 10, lambda: payload)
        assert device.answers()[-1].status == MALFORMED, payload
    for _ in range(3000):
        device.publish(f"{device.block_topic}/get", b"{}", qos=0)
    # Not one answer each: a burst, and then a trickle.
    wait_for(lambda: device.ask(notice["sha256"], 0, 16).data == image[:16], 60)
    assert len(device.answers()) < 400


def test_more_requests_than_may_be_outstanding(place):
    """The first ones are answered, nobody is disconnected."""
    device, notice, _, _ = place.told()
    for number in range(500):
        device.send(notice["sha256"], number, 16)
    wait_for(lambda: len(device.answers()) >= 8, 10)
    assert device.connected.is_set() and place.broker.ping_seconds() < 5
    assert place.denials(device.client_id, "not answered yet")


def test_the_key_is_removed_in_the_middle(place):
    signer = type(place.signer)("ed25519")
    path = place.keys.trust(signer)
    place.broker.reload()
    place.broker.wait_log("trusted keys were read, usable: 2")
    fleet = place.fleet()
    device = place.block_device(f"{fleet}-dev", fleet)
    version, image = place.image(signers=[signer])
    place.start_rollout(fleet, version, "quick")
    notice = device.wait_notice()
    assert device.ask(notice["sha256"], 0, 16).status == OK
    path.unlink()
    place.broker.reload()
    wait_for(lambda: device.ask(notice["sha256"], 0, 16).status != OK, 10)
    device.ask_until(notice["sha256"], 0, 16, DENIED)


def test_the_image_many_times(place):
    """Who has had it twice in a session, and some, gets no more in that session."""
    device, notice, image, _ = place.told(size=16384)
    for count in range(8, 88, 8):
        for _ in range(8):
            device.send(notice["sha256"], 0, 16384)
        wait_for(lambda count=count: len(device.answers()) >= count, 10, device.answers)
    statuses = [answer.status for answer in device.answers()]
    assert 66 < statuses.count(OK) < 67 + 8 and statuses[-1] == DENIED, statuses  # what is being read is not counted yet
    assert place.denials(device.client_id, "more than twice")
    device.vanish()
    device.connect()
    assert device.ask_until(notice["sha256"], 0, 16384, OK).data == image
