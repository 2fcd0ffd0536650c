"""Fixtures for the tests of the agents; each of those tests runs once for every agent."""

import contextlib
import dataclasses
import itertools
import json
import os
import pathlib
import hashlib

import pytest

from . import agents, rauc_board
from .device import Client
from .process import stays, wait_for
from .signing import Signer, envelope
from .webserver import WebServer

BUILD = pathlib.Path(os.environ.get("OTA_BUILD_DIR", agents.ROOT / "build")).resolve()
_numbers = itertools.count(1)


@pytest.fixture(scope="module", params=["python", "c"])
def agent_kind(request):
    return request.param


@pytest.fixture(scope="module")
def signer():
    return Signer("p256")


@pytest.fixture(scope="module")
def maker(tmp_path_factory):
    """Who signs bundles for RAUC and SWUpdate: a folder, and (certificate, key)."""
    folder = tmp_path_factory.mktemp("maker")
    return folder, rauc_board.certificate(folder, "maker")


@pytest.fixture(scope="module")
def web():
    server = WebServer()
    yield server
    server.close()


@dataclasses.dataclass
class Boards:
    """Makes devices and switches them off at the end."""

    kind: str
    folder: pathlib.Path
    made: list = dataclasses.field(default_factory=list)

    def __call__(self, broker, keys, device_id=None, version="1.0.0", sequence=0, start=True, **settings):
        # Unique in the run, so that tests can share a broker.
        device_id = device_id or f"{self.kind}-{os.getpid()}-{next(_numbers)}"
        device = agents.AgentDevice(agents.commands(self.kind, BUILD), self.folder, broker, device_id, keys, **settings)
        self.made.append(device)
        device.provision(version, sequence)
        return device.power_on() if start else device

    def close(self):
        for device in self.made:
            device.power_cut()
        for device in self.made:
            device.sound()


@pytest.fixture
def boards(agent_kind, tmp_path):
    made = Boards(agent_kind, tmp_path)
    yield made
    made.close()


class Liar:
    """A broker without the plugin, and somebody on it who tells devices whatever the test wants."""

    def __init__(self, broker, signer):
        self.broker = broker
        self.signer = signer
        self.client = Client(broker, f"liar-{os.getpid()}-{next(_numbers)}").connect()
        self.client.subscribe("devices/+/ota/status")
        self._rollouts = itertools.count(1)

    def reports(self, device):
        return [json.loads(payload) for topic, payload, _ in list(self.client.messages)
                if topic == f"devices/{device.device_id}/ota/status"]

    def statuses(self, device):
        return [report["status"] for report in self.reports(device)]

    def wait_report(self, device, status, timeout=30, after=0, **members):
        """The first report with these members, from number `after` on."""
        def found():
            return next((report for report in self.reports(device)[after:]
                         if report["status"] == status and all(report.get(key) == value for key, value in members.items())), None)

        return wait_for(found, timeout, lambda: f"{device.device_id} reports {status} {members}; it reported "
                                                f"{self.reports(device)}\n{device.log()[-3000:]}")

    def notice(self, version, image, url, sequence=1, signers=None, manifest=None, **members):
        """A good notice, signed; `manifest` changes members of what is signed, `members` those of the notice."""
        about = {"version": version, "url": url, "sha256": hashlib.sha256(image).hexdigest(), "size": len(image)}
        signed = {"schema": 1, "sequence": sequence, **about, **(manifest or {})}
        document = envelope({name: value for name, value in signed.items() if value is not None},
                            *(signers or [self.signer]))
        notice = {**about, "releaseNotes": "", "rollout": next(self._rollouts), "attempt": 1, "manifest": document, **members}
        return {name: value for name, value in notice.items() if value is not None}

    def tell(self, device, notice):
        self.client.publish(f"devices/{device.device_id}/ota/available", notice)

    def recall(self, device, notice):
        self.tell(device, {"action": "cancel", "rollout": notice["rollout"], "version": notice["version"]})


@pytest.fixture(scope="module")
def liar(plugin, tmp_path_factory, signer):
    from conftest import _broker_maker

    broker = _broker_maker(plugin)(tmp_path_factory.mktemp("plain"), {}, with_plugin=False)
    broker.start()
    liar = Liar(broker, signer)
    yield liar
    liar.client.disconnect()
    broker.stop()


@pytest.fixture
def image(web):
    """Makes an image on the web server: image(version, behaviour, size, **how it is served) -> (bytes, url)."""
    def make(version, behaviour="good", size=65536, served=None, **how):
        data = agents.make_image(version, behaviour, size)
        name = f"{version}-{next(_numbers)}.bin"
        web.serve(name, data if served is None else served(data), **how)
        return data, web.url(name)

    return make


@contextlib.contextmanager
def switched_on(device, liar):
    """One device, from the factory to the end of a test."""
    device.provision("1.0.0").power_on()
    try:
        liar.wait_report(device, "IDLE", version="1.0.0")
        yield
    finally:
        device.power_cut()
    device.sound()


def name_of(url):
    return url.rsplit("/", 1)[1]


def never_bootable(device, *images, seconds=0.0):
    """None of these images is marked for a boot, now and for a while."""
    hashes = {hashlib.sha256(one).hexdigest() for one in images}
    assert not hashes & device.bootable(), device.boot()
    if seconds:
        stays(lambda: not hashes & device.bootable(), seconds, device.boot)
