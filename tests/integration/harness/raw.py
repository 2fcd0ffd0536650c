"""An MQTT client of a few lines that sends what it is told to, however wrong, and shows every answer of the broker."""

import select
import socket
import time

CONNACK, PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP, SUBACK, PINGRESP, DISCONNECT = 2, 3, 4, 5, 6, 7, 9, 13, 14

# MQTT 5, 2.4: reason codes.
NOT_AUTHORISED = 0x87


def text(value):
    data = value if isinstance(value, bytes) else value.encode()
    return len(data).to_bytes(2, "big") + data


def number(value):
    """Variable byte integer."""
    out = bytearray()
    while True:
        value, low = divmod(value, 128)
        out.append(low | (0x80 if value else 0))
        if not value:
            return bytes(out)


def first_packet(data):
    """((first byte, body), what comes after it); (None, data) while the packet is not whole."""
    length, shift, at = 0, 0, 1
    while at < len(data):
        length |= (data[at] & 0x7f) << shift
        shift += 7
        at += 1
        if not data[at - 1] & 0x80:
            if len(data) < at + length:
                break
            return (data[0], data[at:at + length]), data[at + length:]
    return None, data


class RawClient:
    """One connection.  `version` 4 is MQTT 3.1.1, 5 is MQTT 5; `will` is (topic, payload, qos, retain)."""

    def __init__(self, broker, client_id, version=4, username=None, password=None, will=None, clean=True, connect=True):
        self.client_id = client_id
        self.version = version
        self.messages = []  # (topic, payload)
        self.result = None  # of CONNECT; None: the broker closed the connection
        self.mid = 0
        self._data = b""
        self.socket = socket.create_connection(("127.0.0.1", broker.port), 5)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if connect:
            self._connect(username, password, will, clean)

    def _connect(self, username, password, will, clean):
        flags = (0x02 if clean else 0) | (0x80 if username else 0) | (0x40 if password else 0)
        body = b""
        if will:
            topic, payload, qos, retain = will
            flags |= 0x04 | qos << 3 | (0x20 if retain else 0)
            body = (b"\x00" if self.version == 5 else b"") + text(topic) + text(payload)
        # MQTT 5: the session outlives the connection unless it is clean.
        properties = (b"\x00" if clean else b"\x05\x11\x00\x00\x0e\x10") if self.version == 5 else b""
        head = text("MQTT") + bytes([self.version, flags, 0, 0]) + properties
        tail = (text(username) if username else b"") + (text(password) if password else b"")
        self.send(0x10, head + text(self.client_id) + body + tail)
        answer = self.wait(CONNACK)
        self.result = answer[1] if answer else None

    # -- packets

    def send(self, kind, body):
        try:
            self.socket.sendall(bytes([kind]) + number(len(body)) + body)
        except OSError:
            pass  # closed by the broker; the next wait() says so

    def _packet(self, end):
        """The next packet as (first byte, body); None: closed or out of time."""
        while True:
            packet, self._data = first_packet(self._data)
            if packet:
                return packet
            if not select.select([self.socket], [], [], max(0, end - time.monotonic()))[0]:
                return None
            try:
                more = self.socket.recv(65536)
            except OSError:
                more = b""
            if not more:
                return None
            self._data += more

    def wait(self, kind, timeout=5):
        """The body of the next packet of this kind; messages that come before it are kept.  None: closed."""
        end = time.monotonic() + timeout
        while True:
            packet = self._packet(end)
            if packet is None:
                return None
            if packet[0] >> 4 == PUBLISH:
                self._take(*packet)
            if packet[0] >> 4 == kind:
                return packet[1]

    def _take(self, first, body):
        qos = first >> 1 & 3
        end = 2 + int.from_bytes(body[:2], "big")
        topic, rest = body[2:end].decode(), body[end:]
        if qos:
            self.send(0x40 if qos == 1 else 0x50, rest[:2])
            rest = rest[2:]
        if self.version == 5:
            rest = rest[1 + rest[0]:]
        self.messages.append((topic, rest))

    # -- steps

    def publish(self, topic, payload, qos=1, retain=False, alias=None):
        """Publishes and returns the reason code of the answer (MQTT 3.1.1: 0), None when the broker closed the connection."""
        payload = payload if isinstance(payload, bytes) else payload.encode()
        self.mid += 1
        body = text(topic) + (self.mid.to_bytes(2, "big") if qos else b"")
        if self.version == 5:
            body += b"\x03\x23" + alias.to_bytes(2, "big") if alias else b"\x00"
        self.send(0x30 | qos << 1 | (1 if retain else 0), body + payload)
        if qos == 0:
            return 0 if self.ping() else None
        answer = self.wait(PUBACK if qos == 1 else PUBREC)
        if answer is None:
            return None
        reason = answer[2] if len(answer) > 2 else 0
        if qos == 2 and reason < 0x80:
            self.send(0x62, answer[:2])
            if self.wait(PUBCOMP) is None:
                return None
        return reason

    def subscribe(self, topic_filter, qos=1):
        """What was granted, or the refusal."""
        self.mid += 1
        self.send(0x82, self.mid.to_bytes(2, "big") + (b"\x00" if self.version == 5 else b"") + text(topic_filter)
                  + bytes([qos]))
        answer = self.wait(SUBACK)
        return answer[-1] if answer else None

    def ping(self):
        """Everything sent before has been handled.  False: the broker closed the connection."""
        self.send(0xc0, b"")
        return self.wait(PINGRESP) is not None

    def drop(self):
        """The connection breaks without DISCONNECT, so that the will is published."""
        self.socket.close()

    def close(self):
        self.send(0xe0, b"")
        self.socket.close()
