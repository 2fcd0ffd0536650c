"""Devices without HTTP: they fetch their image in blocks over MQTT."""

import hashlib
import os
import struct
import time

from .device import Device
from .process import wait_for
from .site import Site

OK, MALFORMED, DENIED, RANGE, LATER, MISSING = range(6)


class Answer:
    """Header and bytes of one answer."""

    def __init__(self, payload):
        version, self.status, self.retry_after, self.length, self.offset = struct.unpack("!BBHIQ", payload[:16])
        self.data = payload[16:]
        assert version == 1
        assert len(self.data) == (self.length if self.status == OK else 0), (self.status, self.length, len(self.data))

    def __repr__(self):
        return f"<status {self.status}, offset {self.offset}, length {self.length}, retry {self.retry_after}>"


class BlockDevice(Device):
    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.block_topic = f"devices/{self.client_id}/ota/block"

    def answers(self):
        return [Answer(payload) for topic, payload, _ in list(self.messages) if topic == self.block_topic]

    def send(self, sha256, offset, length, topic=None, qos=0):
        return self.publish(topic or f"{self.block_topic}/get", {"sha256": sha256, "offset": offset, "length": length}, qos=qos)

    def ask(self, sha256, offset, length, timeout=10):
        """One request and its answer."""
        before = len(self.answers())
        self.send(sha256, offset, length)
        wait_for(lambda: len(self.answers()) > before, timeout, lambda: f"{self.client_id} is answered", every=0.005)
        return self.answers()[before]

    def ask_until(self, sha256, offset, length, status, timeout=20):
        """Asks again as long as it is put off, or until this is the answer."""
        end = time.monotonic() + timeout * float(os.environ.get("OTA_TIME_FACTOR", "1"))
        while True:
            answer = self.ask(sha256, offset, length)
            if answer.status == status:
                return answer
            assert answer.status in (LATER, MISSING) and time.monotonic() < end, answer
            time.sleep(0.1)

    def fetch(self, notice, length=16384, window=4, have=b"", until=None, timeout=30):
        """The image, block after block; `until` ends it early, when so many bytes are there."""
        image = bytearray(have)
        until = until or notice["size"]
        end = time.monotonic() + timeout * float(os.environ.get("OTA_TIME_FACTOR", "1"))
        seen, asked, again = len(self.answers()), len(image), 0
        while len(image) < until:
            while asked < notice["size"] and asked - len(image) < window * length:
                self.send(notice["sha256"], asked, length)
                asked += length
            for answer in self.answers()[seen:]:
                seen += 1
                if answer.status == LATER:
                    again = time.monotonic() + answer.retry_after
                else:
                    assert answer.status == OK, answer
                if answer.status == OK and answer.offset == len(image):
                    image += answer.data
            if again and time.monotonic() > again:
                again, asked = 0, len(image)
            assert time.monotonic() < end, f"{len(image)} bytes, {self.answers()[-5:]}"
            time.sleep(0.002)
        return bytes(image)


class BlockSite(Site):
    """A broker that serves images in blocks; every test has a fleet, and versions, of its own."""

    def open(self, version, **options):
        self.images = self.folder / "images"
        self.images.mkdir()
        self.add_broker(version=version, firmware_directory=self.images, block_bytes_per_second=options.pop("rate", 0), **options)
        self.quick_plan(wait="1 second", first=99, health_timeout="60 seconds", download_timeout="120 seconds")
        self._fleets = 0
        return self

    def fleet(self):
        self._fleets += 1
        return f"fleet-{self._fleets}"

    def image(self, size=100_000, put=True, **members):
        """A verified release of random bytes, and its file in the directory; returns (version, bytes)."""
        number = self.sequence()
        data = os.urandom(size)
        version = f"2.{number}.0"
        if put:
            self.put(f"{version}.bin", data)
        self.release(version, sequence=number, sha256=hashlib.sha256(data).hexdigest(), size=size, **members)
        return version, data

    def put(self, name, data):
        path = self.images / f".{name}"
        path.write_bytes(data)
        path.rename(self.images / name)

    def block_device(self, device_id, fleet, broker=None, **options):
        device = BlockDevice(broker or self.broker, device_id, fleet=fleet, **options)
        self._clients.append(device)
        device.start()
        self.wait_device(device_id, listening=True, version=device.version)
        return device

    def told(self, device_id=None, size=100_000, put=True, **options):
        """A device that was told of a new release; returns (device, notice, image, rollout)."""
        fleet = self.fleet()
        device = self.block_device(device_id or f"{fleet}-dev", fleet, **options)
        version, data = self.image(size, put)
        rollout = self.start_rollout(fleet, version, "quick")
        return device, device.wait_notice(), data, rollout

    def denials(self, client, *words):
        return wait_for(lambda: self.db.rows("SELECT * FROM ota.denied WHERE client = %s AND reason ~ %s", client, ".*".join(words)),
                        10, lambda: f"{client} {words}: {self.db.rows('SELECT * FROM ota.denied')[-5:]}")
