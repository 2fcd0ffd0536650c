"""The connection to the broker, with paho-mqtt 1.6 (Debian 12) or 2.x.

paho's thread keeps the connection; what happens on it reaches the agent, which is single-threaded, through a queue.
"""

import json
import pathlib
import queue
import random
import threading

import paho.mqtt.client as mqtt

CONNECTED = object()  # in the queue between payloads


def new_client(device_id):
    """paho 2 wants to be told which callbacks it will call; paho 1 knows of no such thing.

    The callbacks below take what both of them pass: the arguments that differ are not looked at.
    """
    if hasattr(mqtt, "CallbackAPIVersion"):
        return mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=device_id, clean_session=True)
    return mqtt.Client(client_id=device_id, clean_session=True)


class Link:
    def __init__(self, config):
        self._config = config
        self._events = queue.Queue()
        self._connected = threading.Event()
        self.session = 0  # counts connections
        self._again = None  # a timer, while the subscription is refused
        self._pause = 1
        self._client = new_client(config.device_id)
        self._client.on_connect = self._on_connect
        self._client.on_connect_fail = self._on_connect_fail
        self._client.on_disconnect = self._on_disconnect
        self._client.on_subscribe = self._on_subscribe
        self._client.on_message = self._on_message
        # A thousand devices that lose one broker must not come back in the same second.
        self._client.reconnect_delay_set(1, random.randint(30, 60))
        if config.broker_username:
            password = pathlib.Path(config.broker_password_file).read_text().strip() if config.broker_password_file else None
            self._client.username_pw_set(config.broker_username, password)
        if config.broker_cafile:
            self._client.tls_set(ca_certs=config.broker_cafile)

    def start(self):
        self._client.connect_async(self._config.broker_host, self._config.broker_port, keepalive=30)
        self._client.loop_start()

    def stop(self):
        self._listen_later(None)
        self._client.disconnect()
        self._client.loop_stop()

    # -- on paho's thread

    def _on_connect(self, client, _data, _flags, code, *_):
        self._listen_later(None)
        if code == 0:
            client.subscribe(self._config.notice_topic, qos=1)
        else:
            print(f"the broker refuses the connection: {code}", flush=True)

    def _on_connect_fail(self, _client, _data):
        print(f"broker {self._config.broker_host}:{self._config.broker_port}: no connection, trying again", flush=True)

    def _listen_later(self, seconds):
        """Subscribe again after so long; None: not any more."""
        if self._again:
            self._again.cancel()
        self._again = None
        if seconds is not None:
            self._again = threading.Timer(seconds, self._client.subscribe, (self._config.notice_topic, 1))
            self._again.daemon = True
            self._again.start()

    def _on_subscribe(self, _client, _data, _mid, granted, *_):
        code = getattr(granted[0], "value", granted[0])  # paho 2 has a class for it
        if code >= 0x80:
            print(f"the broker refuses the subscription (0x{code:02x}), trying again", flush=True)
            self._listen_later(self._pause * random.uniform(0.5, 1.5))
            self._pause = min(self._pause * 2, 60)
            return
        self._pause = 1
        # Only now: a device that reports before it listens may miss its notice.
        self.session += 1
        self._connected.set()
        self._events.put(CONNECTED)

    def _on_disconnect(self, _client, _data, *_):
        self._connected.clear()

    def _on_message(self, _client, _data, message):
        if not message.retain:  # a kept notice is nobody's: the broker never keeps one
            self._events.put(bytes(message.payload))

    # -- on the agent's thread

    def is_connected(self):
        return self._connected.is_set()

    def wait_connected(self, seconds):
        self._connected.wait(seconds)

    def next_event(self, seconds=None):
        """CONNECTED or a payload; None when there is none within `seconds` (None: wait for ever, 0: do not wait)."""
        try:
            return self._events.get(block=seconds != 0, timeout=seconds or None)
        except queue.Empty:
            return None

    def put_back(self, payload):
        self._events.put(payload)

    def report(self, body, wait=0):
        """Publishes; False when the broker has not acknowledged within `wait` seconds.  Never queues for later: what
        is true then is said then."""
        if not self.is_connected():
            return False
        try:
            info = self._client.publish(self._config.status_topic, json.dumps(body), qos=1)
            if wait:
                info.wait_for_publish(wait)
            return info.is_published()
        except (ValueError, RuntimeError):  # the connection has gone meanwhile
            return False
