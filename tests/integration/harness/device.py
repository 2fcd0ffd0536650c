"""A device as the contract describes it, moved step by step by the test."""

import base64
import json
import os
import socket as sockets
import threading
import time

import paho.mqtt.client as mqtt

from .process import wait_for


class Client:
    """Any MQTT client: records every message it gets and every answer of the broker."""

    def __init__(self, broker, client_id, username=None, clean=True, will=None):
        self.broker = broker
        self.client_id = client_id
        self.messages = []  # (topic, payload bytes, retain), in the order of arrival
        self._subacks = {}  # message id: granted QoS or 128
        self.acknowledged = set()
        self.connected = threading.Event()
        self._mqtt = mqtt.Client(client_id, clean_session=clean, protocol=mqtt.MQTTv311)
        self._mqtt.on_connect = self._on_connect
        self._mqtt.on_disconnect = self._on_disconnect
        self._mqtt.on_message = self._on_message
        self._mqtt.on_subscribe = self._on_subscribe
        self._mqtt.on_publish = lambda _client, _data, mid: self.acknowledged.add(mid)
        if username:
            self._mqtt.username_pw_set(username, "unused")
        if will:
            self._mqtt.will_set(*will)
        self.result = None

    # -- callbacks, on the library's thread

    def _on_connect(self, _client, _data, _flags, result):
        self.result = result
        if result == 0:
            self.connected.set()

    def _on_disconnect(self, _client, _data, _result):
        self.connected.clear()

    def _on_message(self, _client, _data, message):
        self.messages.append((message.topic, message.payload, message.retain))

    def _on_subscribe(self, _client, _data, mid, granted):
        self._subacks[mid] = granted[0]

    # -- steps

    def connect(self):
        self._mqtt.connect("127.0.0.1", self.broker.port, keepalive=30)
        self._mqtt.loop_start()
        wait_for(self.connected.is_set, 10, f"{self.client_id} is connected (result {self.result})")
        return self

    def reconnect(self):
        return self.connect()

    def disconnect(self):
        """An orderly end of the session."""
        self._mqtt.disconnect()
        self._mqtt.loop_stop()
        self.connected.clear()

    def vanish(self):
        """The connection breaks without a word, as when the power goes."""
        self._mqtt._thread_terminate = True  # no attempt to connect again
        socket = self._mqtt.socket()
        if socket:
            socket.shutdown(sockets.SHUT_RDWR)  # wakes the library's thread, sends no DISCONNECT
        self._mqtt.loop_stop()
        self.connected.clear()

    close = disconnect

    def subscribe(self, topic_filter, qos=1):
        """Subscribes and returns what was granted: the QoS, or 128 for a refusal."""
        _, mid = self._mqtt.subscribe(topic_filter, qos)
        wait_for(lambda: mid in self._subacks, 10, f"SUBACK for {topic_filter}")
        return self._subacks.pop(mid)

    def publish(self, topic, payload, qos=1, retain=False, wait=True):
        if isinstance(payload, (dict, list)):
            payload = json.dumps(payload)
        info = self._mqtt.publish(topic, payload, qos, retain)
        if wait and qos:
            wait_for(lambda: info.mid in self.acknowledged, 10, f"PUBACK for {topic}")
        return info.mid

    def topics(self):
        return [topic for topic, _, _ in self.messages]


class Device(Client):
    """One device; `version` is what runs on it."""

    def __init__(self, broker, device_id, version="1.0.0", fleet=None, hardware=None, username=None, clean=False,
                 will=None):
        super().__init__(broker, device_id, username, clean, will)
        self.version = version
        self.fleet = fleet
        self.hardware = hardware
        self.boot_id = os.urandom(4).hex()
        self.status_topic = f"devices/{device_id}/ota/status"
        self.own_topic = f"devices/{device_id}/ota/available"
        self.topic = f"fleet/{fleet}/ota/available" if fleet else self.own_topic

    def start(self):
        """What a device does after power-on: connect, say what runs, listen."""
        self.connect()
        self.report()
        assert self.subscribe(self.topic) == 1
        return self

    def notices(self, action=None):
        """The notices so far; with action="cancel" the recalls."""
        found = []
        for topic, payload, _ in list(self.messages):
            if topic.endswith("/ota/available"):
                message = json.loads(payload)
                if message.get("action") == action:
                    found.append(message)
        return found

    def recalls(self):
        return self.notices("cancel")

    def wait_notice(self, count=1, timeout=10):
        """Waits for the count-th notice and returns it."""
        wait_for(lambda: len(self.notices()) >= count, timeout,
                 lambda: f"{self.client_id} has notice {count}; has {self.messages}")
        return self.notices()[count - 1]

    def wait_recall(self, timeout=10):
        wait_for(self.recalls, timeout, lambda: f"{self.client_id} has a recall; has {self.messages}")
        return self.recalls()[-1]

    def report(self, status=None, **members):
        body = {"version": self.version, "bootId": self.boot_id}
        if status:
            body["status"] = status
        if self.hardware:
            body["hardware"] = self.hardware
        body.update(members)
        return self.publish(self.status_topic, body)

    def reboot(self, version=None, orderly=False):
        """The session ends and a new one begins, with other firmware when `version` is given."""
        if orderly:
            self.disconnect()
        else:
            self.vanish()
        self.boot_id = os.urandom(4).hex()
        self.version = version or self.version
        time.sleep(0.02)
        self.connect()
        self.subscribe(self.topic)

    def install(self, notice):
        """Everything up to and including the reboot into the new slot."""
        for status in ("DOWNLOADING", "VERIFYING", "APPLYING", "REBOOTING"):
            self.report(status, attempt=notice["attempt"])
        self.reboot(notice["version"])

    def update(self, notice):
        """A good update from the notice to SUCCESS."""
        self.install(notice)
        self.report("SUCCESS", checks={"mqttConnected": True}, attempt=notice["attempt"])

    def fail(self, notice, error="HASH_MISMATCH"):
        self.report("DOWNLOADING", attempt=notice["attempt"])
        self.report("FAILED", error=error, attempt=notice["attempt"])


def manifest_of(notice):
    """The manifest inside a notice's envelope."""
    payload = notice["manifest"]["payload"]
    return json.loads(base64.b64decode(payload + "=" * (-len(payload) % 4), altchars=b"-_"
                                       if "-" in payload or "_" in payload else None))


def those_told(devices, version=None):
    """Who of them has a notice, of this version."""
    return [device for device in devices if any(version in (None, notice["version"]) for notice in device.notices())]
