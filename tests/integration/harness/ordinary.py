"""A play of ordinary MQTT, 3.1.1 and 5, that writes down every packet the broker sends: for comparing two brokers byte by byte."""

import base64
import os
import re
import select
import socket
import ssl
import time

from .process import wait_for
from .raw import first_packet, number, text

CONNACK, PINGRESP = 2, 13
EXPIRY = 100000  # seconds; what is left of it is a matter of the clock


def u16(value):
    return value.to_bytes(2, "big")


def u32(value):
    return value.to_bytes(4, "big")


def prop(*parts):
    """MQTT 5 properties: (identifier, bytes) each."""
    body = b"".join(bytes([identifier]) + value for identifier, value in parts)
    return number(len(body)) + body


class Plain:
    """A socket that holds nothing back, which TLS may."""

    def __init__(self, plain):
        self.sendall, self.recv, self.fileno, self.close = plain.sendall, plain.recv, plain.fileno, plain.close

    @staticmethod
    def pending():
        return 0


class WebSocket:
    """The client's half of RFC 6455, as much as MQTT needs."""

    def __init__(self, plain):
        self.plain = plain
        self._data, self._closed = b"", False
        plain.sendall(b"GET /mqtt HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                      b"Sec-WebSocket-Key: " + base64.b64encode(os.urandom(16)) + b"\r\nSec-WebSocket-Version: 13\r\n"
                      b"Sec-WebSocket-Protocol: mqtt\r\n\r\n")
        while b"\r\n\r\n" not in self._data:
            more = plain.recv(4096)
            assert more, "the broker speaks no WebSocket"
            self._data += more
        head, self._data = self._data.split(b"\r\n\r\n", 1)
        assert b" 101 " in head.split(b"\r\n")[0], head

    def sendall(self, data):
        length = (bytes([0x80 | len(data)]) if len(data) < 126 else b"\xfe" + u16(len(data)) if len(data) < 65536
                  else b"\xff" + len(data).to_bytes(8, "big"))
        self.plain.sendall(b"\x82" + length + b"\0\0\0\0" + data)

    def recv(self, size):
        out = b""
        while not out and not self._closed:
            while len(self._data) >= 2:
                length, at = self._data[1] & 0x7f, 2
                if length >= 126:
                    at = 4 if length == 126 else 10
                    length = int.from_bytes(self._data[2:at], "big")
                if len(self._data) < at + length or at > len(self._data):
                    break
                kind, body, self._data = self._data[0] & 15, self._data[at:at + length], self._data[at + length:]
                if kind == 8:
                    self._closed = True  # what came before it in the same segment counts
                    return out
                out += body
            if not out:
                more = self.plain.recv(size)
                if not more:
                    return b""
                self._data += more
        return out

    def fileno(self):
        return self.plain.fileno()

    def pending(self):
        return 0

    def close(self):
        self.plain.close()


class Player:
    """One connection.  Everything that comes is answered as a good client does and written into the play's record."""

    def __init__(self, play, name, clean=True, will=None, properties=(), client_id=None):
        self.play, self.name, self.mid, self.data, self.gone = play, name, 0, b"", False
        self.held = False  # leaves what it gets unacknowledged
        play.turn(self)
        self.socket = play.connect()
        flags = 0x02 if clean else 0
        body = b""
        if will:
            topic, payload, qos, retain, *more = will
            flags |= 0x04 | qos << 3 | (0x20 if retain else 0)
            body = (prop(*more) if self.v5 else b"") + text(topic) + text(payload)
        login = b""
        if play.username:
            flags |= 0xc0
            login = text(play.username) + text(play.password)
        self.send(0x10, text("MQTT") + bytes([play.version, flags]) + u16(600) + (prop(*properties) if self.v5 else b"")
                  + text(name if client_id is None else client_id) + body + login)
        play.players.append(self)
        self._read(CONNACK)

    @property
    def v5(self):
        return self.play.version == 5

    def send(self, kind, body):
        try:
            self.socket.sendall(bytes([kind]) + number(len(body)) + body)
        except OSError:
            pass  # read on, to see how the broker closed it

    def _packet(self, patience=15):
        """The next packet as (first byte, body); None: the connection was closed."""
        end = time.monotonic() + patience
        while True:
            packet, self.data = first_packet(self.data)
            if packet:
                return packet
            if not self.socket.pending() and not select.select([self.socket], [], [], max(0, end - time.monotonic()))[0]:
                raise AssertionError(f"{self.name} hears nothing; the play so far: {self.play.record[-5:]}")
            try:
                more = self.socket.recv(65536)
            except OSError:
                more = b""
            if not more:
                return None
            self.data += more

    def _answer(self, kind, first, body):
        if kind == 3 and not self.held:
            at = 2 + int.from_bytes(body[:2], "big")
            qos = first >> 1 & 3
            if qos:
                self.send(0x40 if qos == 1 else 0x50, body[at:at + 2])
        elif kind == 5 and (len(body) < 3 or body[2] < 0x80):
            self.send(0x62, body[:2])
        elif kind == 6:
            self.send(0x70, body[:2])

    def _read(self, until):
        """Notes and answers packets up to one of this kind."""
        while not self.gone:
            packet = self._packet()
            if packet is None:
                self.gone = True
                self.socket.close()
                self.play.note(self.name, "closed")
                return
            first, body = packet
            if first >> 4 != PINGRESP:
                self.play.note(self.name, f"{first:02x} {body.hex()}")
            self._answer(first >> 4, first, body)
            if first >> 4 == until:
                return

    def settle(self):
        """Until everything that was sent before has been handled, and what came of it answered."""
        noted = None
        while not self.gone and noted != len(self.play.record):
            noted = len(self.play.record)
            self.send(0xc0, b"")
            self._read(PINGRESP)

    def publish(self, topic, payload, qos=1, retain=False, properties=()):
        self.play.turn(self)
        self.mid += 1
        payload = payload if isinstance(payload, bytes) else payload.encode()
        self.send(0x30 | qos << 1 | (1 if retain else 0), text(topic) + (u16(self.mid) if qos else b"")
                  + (prop(*properties) if self.v5 else b"") + payload)
        self.settle()

    def subscribe(self, *filters, properties=()):
        """Filters are names or (name, options)."""
        self.play.turn(self)
        self.mid += 1
        self.send(0x82, u16(self.mid) + (prop(*properties) if self.v5 else b"") + b"".join(
            text(one if isinstance(one, str) else one[0]) + bytes([1 if isinstance(one, str) else one[1]]) for one in filters))

    def unsubscribe(self, *filters):
        self.play.turn(self)
        self.mid += 1
        self.send(0xa2, u16(self.mid) + (b"\0" if self.v5 else b"") + b"".join(text(one) for one in filters))

    def leave(self):
        self.send(0xe0, b"")
        self.drop()

    def drop(self):
        self.play.turn(self)
        self.gone = True
        self.socket.close()


class Play:
    """`tls` names the files of a client; `websockets` is the port where they are spoken."""

    def __init__(self, broker, version, tls=None, websockets=None, username=None, password=""):
        self.broker, self.version, self.tls, self.websockets = broker, version, tls, websockets
        self.username, self.password = username, password
        self.record, self.done, self.players, self.actor, self.fresh = [], [], [], None, True

    def connect(self):
        port = self.websockets or self.broker.port
        # Its second port opens a moment after the one that the harness waits for.
        if self.fresh:
            wait_for(lambda: socket.socket().connect_ex(("127.0.0.1", port)) == 0, 10, f"port {port} is open")
            self.fresh = False
        plain = socket.create_connection(("127.0.0.1", port), 5)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.tls:
            context = ssl.create_default_context(cafile=self.tls["ca"])
            context.check_hostname = False
            context.load_cert_chain(*self.tls["client"])
            return context.wrap_socket(plain)
        return WebSocket(plain) if self.websockets else Plain(plain)

    def turn(self, player):
        """Another one acts: what the one before did has to have happened by then."""
        if self.actor not in (None, player):
            self.actor.settle()
        self.actor = player

    def note(self, name, words):
        # A generated client id, and what is left of a message's life.
        words = re.sub("6175746f2d(3[0-9]|6[1-6]|4[1-6]|2d){36}", "auto", words)
        words = re.sub("02000186(9[0-9a-f]|a0)", f"02{EXPIRY:08x}", words)
        self.record.append(f"{name}: {words if len(words) < 400 else words[:400] + f'... {len(words)}'}")

    def scene(self, name):
        """What came since the scene before, settled, in the order of names: who is served first is no promise."""
        # Twice in a row nothing: what one of them answered may have set another message free.
        quiet = 0
        while quiet < 2:
            before = len(self.record)
            for player in self.players:
                player.settle()
            quiet = quiet + 1 if len(self.record) == before else 0
        self.players = [player for player in self.players if not player.gone]
        self.done += [f"-- {name}"] + sorted(self.record, key=lambda line: line.split(":")[0])
        self.record = []

    def restart(self):
        for player in self.players:
            player.drop()
        self.players = []
        self.broker.restart()
        self.fresh = True

    def perform(self):
        publish_and_subscribe(self)
        filters(self)
        sessions(self)
        wills_and_takeover(self)
        refusals(self)
        if self.version == 5:
            properties(self)
            limits(self)
        after_a_restart(self)
        return self.done


def publish_and_subscribe(play):
    a, b = Player(play, "a"), Player(play, "b")
    a.subscribe(("ord/#", 2), ("ord/+/x", 0))
    b.subscribe(("ord/+/x", 1))
    play.scene("subscribed")
    for qos in (0, 1, 2):
        b.publish("ord/1/x", f"qos {qos}", qos)
        a.publish("ord/1/x", b"", qos)
        play.scene(f"published {qos}")
    b.publish("ord/gr\u00f6\u00dfe/\u6e29\u5ea6", "text", 1)
    b.publish("ord/big", b"\x00\xff" * 40000, 2)
    b.publish("ord//x", "an empty level")
    # Next to the plugin's topics, and none of them.
    for topic in ("devices", "devices/a", "devices/a/ota", "devices/a/ota/statu", "devices/a/ota/status/x", "devices/a/b/ota/status",
                  "fleet/a/ota/availabl", "fleet/a/ota/available/", "/fleet/a/ota/available", "Fleet/a/ota/available"):
        b.publish(topic, "near")
        b.publish("ord/" + topic, "near", 2, True)
    a.subscribe("devices/#", "fleet/#", "Fleet/#", "/fleet/#")
    b.publish("devices/a/telemetry", "near", 1, True)
    b.publish("fleet/a/ota/available/x", "near", 1, True)
    play.scene("near topics")
    for qos in (0, 1, 2):
        b.publish(f"ord/kept/{qos}", f"kept {qos}", qos, True)
    late = Player(play, "late")
    late.subscribe(("ord/kept/+", 1), ("devices/+/telemetry", 2), ("fleet/a/ota/available/#", 0))
    play.scene("retained")
    b.publish("ord/kept/1", b"", 1, True)
    later = Player(play, "later")
    later.subscribe(("ord/kept/#", 2))
    play.scene("retained and gone")
    a.unsubscribe("ord/#", "ord/never")
    play.scene("unsubscribed")
    b.publish("ord/1/x", "once more")
    a.leave(), b.leave(), late.leave(), later.leave()
    play.scene("left")


def filters(play):
    one, two, three = Player(play, "one"), Player(play, "two"), Player(play, "three")
    one.subscribe("$share/g/ord/shared/+"), two.subscribe("$share/g/ord/shared/+"), three.subscribe("ord/shared/#")
    play.scene("shared")
    for turn in range(6):
        three.publish(f"ord/shared/{turn}", f"turn {turn}", turn % 3)
        play.scene(f"turn {turn}")
    one.unsubscribe("$share/g/ord/shared/+")
    play.scene("one less")
    three.publish("ord/shared/last", "two")
    one.subscribe("+"), one.subscribe("+/+/#"), one.subscribe("/#")
    play.scene("wildcards")
    three.publish("top", "x"), three.publish("/", "x"), three.publish("x/y", "x")
    play.scene("wildcards meet")
    one.leave(), two.leave(), three.leave()
    play.scene("left")


def sessions(play):
    kept = [(17, u32(3600))]
    sleeper = Player(play, "sleeper", clean=False, properties=kept)
    sleeper.subscribe(("ord/sleep/#", 2))
    play.scene("session made")
    sleeper.drop()
    talker = Player(play, "talker")
    for turn in range(6):
        talker.publish("ord/sleep/1", f"while away {turn}", turn % 3)
    play.scene("talked to nobody")
    sleeper = Player(play, "sleeper", clean=False, properties=kept)
    play.scene("session resumed")
    sleeper.held = True
    talker.publish("ord/sleep/1", "unanswered", 1), talker.publish("ord/sleep/1", "unanswered", 2)
    play.scene("not acknowledged")
    sleeper.drop()
    sleeper = Player(play, "sleeper", clean=False, properties=kept)
    play.scene("sent again")
    sleeper.leave()
    Player(play, "sleeper", clean=True).leave()
    sleeper = Player(play, "sleeper", clean=False)
    talker.publish("ord/sleep/1", "forgotten")
    play.scene("session forgotten")
    sleeper.leave(), talker.leave()
    play.scene("left")


def wills_and_takeover(play):
    witness = Player(play, "witness")
    witness.subscribe(("ord/will/#", 2))
    for qos in (0, 1, 2):
        Player(play, "dying", will=(f"ord/will/{qos}", "adieu", qos, qos == 1)).drop()
        play.scene(f"will {qos}")
    Player(play, "polite", will=("ord/will/never", "adieu", 1, False)).leave()
    play.scene("no will")
    first = Player(play, "twin", will=("ord/will/twin", "ousted", 1, False))
    Player(play, "twin")
    play.scene("takeover")
    assert first.gone
    heir = Player(play, "heir")
    heir.subscribe("ord/will/1")
    play.scene("will kept")
    for player in list(play.players):
        player.leave()
    play.scene("left")


def refusals(play):
    a, watch = Player(play, "plain"), Player(play, "watch")
    watch.subscribe("forbidden/#", "hidden/#", "users/plain/#", "users/+/x", "#"), watch.subscribe("$SYS/broker/version")
    play.scene("asked for")
    for topic in ("forbidden/x", "hidden/x", "users/plain/x", "users/other/x", "open/x"):
        for qos in (0, 1, 2):
            a.publish(topic, "may I", qos, qos == 2)
    play.scene("tried")
    heir = Player(play, "heir2")
    heir.subscribe("forbidden/#"), heir.subscribe("hidden/#", "open/#")
    play.scene("retained")
    for topic in ("a/+/b", "#", "", "$SYS/broker/version", "$other/x", "$CONTROL/none/v1"):
        wrong = Player(play, "wrong")
        wrong.publish(topic, "wrong")
        play.scene(f"publish to {topic!r}")
        wrong.drop()
    for topic_filter in ("a/#/b", "a+", "", "$share/g", "$share//x", "$share/g/"):
        wrong = Player(play, "wrong")
        wrong.subscribe(topic_filter)
        play.scene(f"subscribe to {topic_filter!r}")
        wrong.drop()
    for client_id in ("", "with space", "a/b", "+", "#", "x" * 300, "\u00fc"):
        Player(play, "id", client_id=client_id).drop()
        play.scene(f"client id {client_id!r}")
    for player in list(play.players):
        player.leave()
    play.scene("left")


def properties(play):
    a, b = Player(play, "ask", properties=[(34, u16(5)), (33, u16(10))]), Player(play, "serve", properties=[(34, u16(5))])
    b.subscribe(("ord/rpc/+", 1), properties=[(11, b"\x07")])
    a.subscribe(("ord/reply/ask", 1))
    everything = [(1, b"\x01"), (2, u32(EXPIRY)), (3, text("text/plain")), (8, text("ord/reply/ask")), (9, text(b"\x01\x02\x03")),
                  (38, text("k") + text("v")), (38, text("k") + text("w"))]
    for qos in (0, 1, 2):
        a.publish("ord/rpc/x", "request", qos, False, everything)
        play.scene(f"request {qos}")
        b.publish("ord/reply/ask", "response", qos, False, [(9, text(b"\x01\x02\x03"))])
        play.scene(f"response {qos}")
    a.publish("ord/rpc/alias", "names it", 1, False, [(35, u16(3))])
    a.publish("", "by its alias", 1, False, [(35, u16(3))])
    a.publish("ord/rpc/other", "means another", 1, False, [(35, u16(3))])
    a.publish("", "by its new alias", 1, False, [(35, u16(3))])
    play.scene("aliases")
    a.publish("ord/opt/1", "retained", 1, True, everything)
    b.subscribe(("ord/opt/#", 0x01 | 0x04 | 0x08))  # no local, retain as published
    play.scene("options")
    b.publish("ord/opt/2", "own"), a.publish("ord/opt/2", "other's", 1, True)
    play.scene("no local")
    b.subscribe(("ord/opt/#", 0x01 | 0x10)), b.subscribe(("ord/opt/+", 0x01 | 0x20))
    play.scene("retain handling")
    b.subscribe(("ord/opt/1", 0x11), properties=[(11, b"\x09")])
    a.publish("ord/opt/1", "by two identifiers")
    play.scene("identifiers")
    a.publish("ord/bad", "x", 1, False, [(35, u16(0))])
    play.scene("alias zero")
    b.leave()
    play.scene("left")


def limits(play):
    small = Player(play, "small", properties=[(39, u32(100))])
    few = Player(play, "few", properties=[(33, u16(2))])
    small.subscribe("ord/size/#"), few.subscribe(("ord/few/#", 1))
    many = Player(play, "many", clean=False, properties=[(17, u32(1))])
    many.subscribe("ord/expiry/#")
    lasting = Player(play, "lasting", clean=False, properties=[(17, u32(3600))])
    lasting.subscribe("ord/expiry/#")
    play.scene("limits")
    talker = Player(play, "talker5")
    talker.publish("ord/size/1", b"x" * 200), talker.publish("ord/size/2", b"y" * 20)
    few.held = True
    for turn in range(5):
        talker.publish("ord/few/1", f"of {turn}")
    play.scene("too large, too many")
    many.drop(), lasting.drop()
    talker.publish("ord/expiry/1", "gone in a second", 1, False, [(2, u32(1))])
    talker.publish("ord/expiry/1", "stays", 1, False, [(2, u32(EXPIRY))])
    talker.publish("ord/expiry/kept", "retained for a second", 1, True, [(2, u32(1))])
    play.scene("expiring")
    Player(play, "late-will", will=("ord/size/will", "in a second", 1, False, (24, u32(1))), properties=[(17, u32(60))], clean=False).drop()
    time.sleep(3.2)
    Player(play, "many", clean=False, properties=[(17, u32(60))]).subscribe("ord/expiry/kept")
    Player(play, "lasting", clean=False, properties=[(17, u32(0))])
    play.scene("expired")
    for player in list(play.players):
        player.leave()
    play.scene("left")


def after_a_restart(play):
    kept = [(17, u32(3600))]
    away = Player(play, "away", clean=False, properties=kept)
    away.subscribe(("ord/store/#", 2), ("$share/g/ord/pool", 1))
    play.scene("before")
    away.drop()
    talker = Player(play, "keeper")
    for qos in (0, 1, 2):
        talker.publish("ord/store/1", f"stored {qos}", qos)
        talker.publish(f"ord/store/kept/{qos}", "stored retained", qos, True)
    talker.publish("ord/pool", "for the group")
    play.scene("stored")
    play.restart()
    Player(play, "away", clean=False, properties=kept)
    Player(play, "newcomer").subscribe(("ord/store/#", 2))
    play.scene("after")
    for player in list(play.players):
        player.leave()
    play.scene("end")
