"""The Python agent's connection with the two generations of paho-mqtt, as far as they differ.

Debian 12 has 1.6, which all other tests use.  What 2.x calls differently is played here by a module; with
OTA_AGENT_PYTHONPATH=<folder with paho-mqtt 2> every test of the agents runs with the real one.
"""

import enum
import importlib
import sys
import types

import paho
import pytest

from harness.agents import ROOT
from harness.process import wait_for


class Info:
    def wait_for_publish(self, _timeout):
        pass

    def is_published(self):
        return True


class Client2:
    """Calls back as paho 2 does with CallbackAPIVersion.VERSION2: more arguments, reason codes as objects."""

    def __init__(self, callback_api_version, client_id="", clean_session=None):
        assert callback_api_version is Version.VERSION2 and clean_session is True
        self.client_id = client_id
        self.published = []

    def reconnect_delay_set(self, low, high):
        assert low < high

    def connect_async(self, host, port, keepalive):
        self.server = (host, port)

    def loop_start(self):
        self.on_connect(self, None, {}, 0, None)

    def subscribe(self, topic, qos):
        self.on_subscribe(self, None, 1, [qos], None)

    def publish(self, topic, payload, qos):
        self.published.append((topic, payload, qos))
        return Info()

    def lose(self):
        self.on_disconnect(self, None, {}, 7, None)


class Version(enum.Enum):
    VERSION1 = 1
    VERSION2 = 2


@pytest.fixture
def link_module(monkeypatch):
    """otadevice.link, imported with paho 2 in the place of the installed one."""
    monkeypatch.syspath_prepend(str(ROOT / "examples" / "device-python"))
    client = types.ModuleType("paho.mqtt.client")
    client.CallbackAPIVersion, client.Client = Version, Client2
    package = types.ModuleType("paho.mqtt")
    package.client = client
    monkeypatch.setattr(paho, "mqtt", package)
    monkeypatch.setitem(sys.modules, "paho.mqtt", package)
    monkeypatch.setitem(sys.modules, "paho.mqtt.client", client)
    for name in [name for name in sys.modules if name.startswith("otadevice")]:
        monkeypatch.delitem(sys.modules, name)
    yield importlib.import_module("otadevice.link")
    for name in [name for name in sys.modules if name.startswith("otadevice")]:
        del sys.modules[name]


def test_paho_2_callbacks_are_understood(link_module):
    from otadevice.config import Config

    link = link_module.Link(Config(device_id="dev-1", broker_host="b", broker_port=1))
    assert not link.report({"status": "IDLE"})  # before there is a connection
    link.start()
    assert link.is_connected() and link.next_event(0) is link_module.CONNECTED and link.session == 1
    assert link.report({"status": "IDLE"}, wait=1)
    client = link._client
    assert client.published == [("devices/dev-1/ota/status", '{"status": "IDLE"}', 1)]
    client.on_message(client, None, types.SimpleNamespace(payload=bytearray(b"x"), retain=False))
    client.on_message(client, None, types.SimpleNamespace(payload=bytearray(b"y"), retain=True))
    assert link.next_event(0) == b"x" and link.next_event(0) is None
    client.lose()
    assert not link.is_connected() and not link.report({"status": "IDLE"})
    client.loop_start()
    wait_for(link.is_connected, 1)
    assert link.session == 2
