"""Many clients that publish QoS 1 reports as fast as the broker takes them, and know which were acknowledged."""

import json
import selectors
import socket
import threading
import time


def _packet(first, body):
    length = len(body)
    header = bytearray([first])
    while True:
        length, digit = divmod(length, 128)
        header.append(digit | (0x80 if length else 0))
        if not length:
            return bytes(header) + body


def _text(value):
    data = value.encode()
    return len(data).to_bytes(2, "big") + data


class _Client:
    """Connects, publishes, and connects again whenever the broker is gone.  Nothing is ever sent twice."""

    def __init__(self, storm, name):
        self.storm = storm
        self.name = name
        self.socket = None
        self.again_at = 0.0
        self.flying = {}  # message id: number
        self.answer = b""
        self.greeted = False

    def connect(self):
        self.socket = socket.socket()
        self.socket.settimeout(2)
        try:
            self.socket.connect(("127.0.0.1", self.storm.broker.port))
            self.socket.sendall(_packet(0x10, _text("MQTT") + bytes([self.storm.protocol]) + b"\x02\x00\x3c"
                                        + self.storm.properties + _text(self.name)))
        except OSError:
            self.close()
            return
        self.socket.setblocking(False)
        self.storm.selector.register(self.socket, selectors.EVENT_READ, self)

    def close(self):
        if self.socket:
            try:
                self.storm.selector.unregister(self.socket)
            except KeyError:
                pass
            self.socket.close()
        self.socket = None
        self.greeted = False
        self.flying = {}
        self.answer = b""
        self.again_at = time.monotonic() + 0.05

    def publish(self):
        while self.greeted and len(self.flying) < self.storm.window:
            number = self.storm.take()
            mid = number % 65535 + 1
            body = (_text(f"devices/{self.name}/ota/status") + mid.to_bytes(2, "big") + self.storm.properties
                    + json.dumps({"version": "1.0.0", "n": number}).encode())
            self.flying[mid] = number
            try:
                self.socket.sendall(_packet(0x32, body))
            except OSError:
                self.close()

    def read(self):
        try:
            data = self.socket.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.storm.broken += 1
            self.close()
            return
        self.answer += data
        while len(self.answer) >= 2 and len(self.answer) >= 2 + self.answer[1]:
            packet, self.answer = self.answer[:2 + self.answer[1]], self.answer[2 + self.answer[1]:]
            if packet[0] == 0x20:
                self.greeted = packet[3] == 0
            elif packet[0] == 0x40:
                number = self.flying.pop(int.from_bytes(packet[2:4], "big"))
                if len(packet) > 4 and packet[4] >= 0x80:  # MQTT 5: a reason against it
                    self.storm.refused += 1
                else:
                    self.storm.acknowledged.add(number)


class Storm:
    """`with Storm(broker, 50) as storm:` publishes on a thread of its own until the block ends."""

    def __init__(self, broker, clients, window=4, pause=0.0005, prefix="storm", protocol=4):
        self.broker = broker
        self.window = window
        self.pause = pause  # between two rounds: keeps the machine usable
        self.protocol = protocol
        self.properties = b"\x00" if protocol == 5 else b""
        self.sent = 0
        self.refused = 0  # answered with a reason code that says no
        self.broken = 0  # connections that the broker closed
        self.acknowledged = set()
        self.selector = selectors.DefaultSelector()
        self._clients = [_Client(self, f"{prefix}-{number:03d}") for number in range(clients)]
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="storm")
        self.problem = None

    def take(self):
        self.sent += 1
        return self.sent

    def _run(self):
        try:
            while not self._ending.is_set():
                now = time.monotonic()
                for client in self._clients:
                    if client.socket is None and now >= client.again_at:
                        client.connect()
                    client.publish()
                for key, _ in self.selector.select(0.02):
                    key.data.read()
                time.sleep(self.pause)
            deadline = time.monotonic() + 3  # what is on its way may still be acknowledged
            while any(client.flying for client in self._clients) and time.monotonic() < deadline:
                for key, _ in self.selector.select(0.05):
                    key.data.read()
        except Exception as problem:
            self.problem = problem
        finally:
            for client in self._clients:
                client.close()
            self.selector.close()

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._ending.set()
        self._thread.join()
        if self.problem:
            raise self.problem
