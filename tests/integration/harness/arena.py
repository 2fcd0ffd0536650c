"""A broker under attack: a rollout that has told one device of two, and what must not change whatever is tried."""

import itertools
import json
import re

from .process import wait_for
from .raw import RawClient
from .site import Site

EVIL = "https://evil.example.com/x.bin"


class Arena(Site):
    """`told` has an outstanding notice, `bystander` is of the same fleet and outside the stage; both listen to everything."""

    fleet = "pumps"

    def __init__(self, *arguments, **keywords):
        super().__init__(*arguments, **keywords)
        self._numbers = itertools.count(1)
        self._raw = []

    def open(self):
        self.plan("arena", ("some", 50, "1 hour"), ("full", 100, "1 hour"), options={"pacing": "none"})
        self.release("1.5.0")
        both = [self.device(f"dev-{number}", fleet=self.fleet) for number in (1, 2)]
        for device in both:
            device.subscribe(device.own_topic)
            device.subscribe("#")
            self.wait_device(device.client_id, listening=True, version="1.0.0", fleet=self.fleet)
        self.rollout_id = self.start_rollout(self.fleet, "1.5.0", "arena")
        wait_for(lambda: any(device.notices() for device in both), 10, lambda: self.describe(self.rollout_id))
        self.told, self.bystander = sorted(both, key=lambda device: not device.notices())
        self.notice = self.told.notices()[0]
        self.genuine = [payload for topic, payload, _ in self.told.messages if topic.endswith("/ota/available")]
        self.wait_update(self.rollout_id, self.told.client_id, "notified")
        self.before = self.record()
        return self

    def close(self):
        for client in self._raw:
            client.socket.close()
        super().close()

    # -- attackers

    def attacker(self, client_id=None, **options):
        client = RawClient(self.broker, client_id or f"evil-{next(self._numbers)}", **options)
        self._raw.append(client)
        return client

    def forged(self, **changed):
        """A notice that differs from the outstanding one only in what is to be installed."""
        return json.dumps({**self.notice, "url": EVIL, "sha256": "00" * 32, "size": 1, **changed})

    # -- what must hold afterwards

    def record(self):
        """What the database says of the two devices and of the rollout."""
        devices = self.db.rows("SELECT device_id, fleet, version, hardware, gateway, sequence, connected, listening, session,"
                               " notify_topic FROM ota.device ORDER BY device_id")
        updates = self.db.rows("SELECT device_id, stage, attempt, state, error, told_session FROM ota.device_update"
                               " WHERE rollout_id = %s ORDER BY device_id", self.rollout_id)
        return [row for row in devices if row["device_id"] in ("dev-1", "dev-2")], updates

    def unharmed(self):
        """Nothing but the one genuine notice ever arrived, nobody's state changed, and the broker serves on."""
        mark = f"mark/{next(self._numbers)}"
        helper = self.attacker(f"mark-{mark[5:]}")
        assert helper.publish(mark, b"x") == 0
        helper.close()
        for device in (self.told, self.bystander):
            # One broker thread and one connection keep the order: what was sent before the mark is here.
            wait_for(lambda device=device: mark in device.topics(), 10, lambda: f"{device.client_id}: {device.messages}")
            notices = [payload for topic, payload, _ in device.messages if topic.endswith("/ota/available")]
            assert notices == (self.genuine if device is self.told else []), notices
        assert self.record() == self.before

    def refused(self, client, topic, *words):
        """The refusal is in ota.denied, with client, topic and reason."""
        rows = wait_for(lambda: self.db.rows("SELECT * FROM ota.denied WHERE client = %s AND topic = %s",
                                             client.client_id, topic), 10,
                        lambda: f"{client.client_id} denied on {topic}: {self.db.rows('SELECT * FROM ota.denied')[-5:]}")
        assert rows[0]["broker"] == "broker-1" and all(word in rows[0]["reason"] for word in words), rows[0]

    def gone(self, client_id):
        """The broker has noticed that the connection is gone, and has published its will."""
        self.broker.wait_log(rf"lient {re.escape(client_id)}\b.*(closed|disconnect|error)")
