"""The servers of examples/firmware-server, as they are in there but for ports and folders, with the agents of examples/."""

import re
import urllib.error
import urllib.request

import pytest

from harness import free_port, wait_for
from harness.agent_fixtures import Liar
from harness.agents import ROOT, make_image
from harness.fleet import FileServer

pytestmark = pytest.mark.usefixtures("plugin")
EXAMPLES = ROOT / "examples" / "firmware-server"


class Nginx(FileServer):
    """The example inside the usual frame, with a log of what was asked."""

    rate = ""

    def site(self):
        text = (EXAMPLES / "nginx.conf").read_text()
        text = text.replace("listen 8080;", f"listen 127.0.0.1:{self.port};").replace("/srv/firmware", str(self.files))
        return (f"log_format short '$status $bytes_sent $http_range'; access_log {self.folder}/access short;\n"
                + text.replace("#limit_rate 512k;", self.rate))

    def asked(self):
        path = self.folder / "access"
        return [line.split() for line in path.read_text().splitlines()] if path.exists() else []


@pytest.fixture(scope="module")
def both(plugin, signer, tmp_path_factory):
    """A broker that serves files, and somebody on it who tells devices what to do; (liar, folder, url)."""
    from conftest import _broker_maker

    folder, port = tmp_path_factory.mktemp("served"), free_port()
    lines = (EXAMPLES / "mosquitto.conf").read_text().replace("listener 8080", f"listener {port} 127.0.0.1")
    lines = lines.replace("/srv/firmware", str(folder)).splitlines()
    broker = _broker_maker(plugin)(tmp_path_factory.mktemp("serving"), {}, with_plugin=False, extra=lines)
    broker.start()
    liar = Liar(broker, signer)
    yield liar, folder, f"http://127.0.0.1:{port}"
    liar.client.disconnect()
    broker.stop()


@pytest.fixture
def nginx(tmp_path):
    server = Nginx(tmp_path / "nginx")
    yield server
    server.close()


def test_the_brokers_own_files(both, boards, signer):
    liar, folder, url = both
    device = boards(liar.broker, [signer])
    liar.wait_report(device, "IDLE")
    data = make_image("2.0.0", size=1_000_000)
    (folder / "2.0.0.bin").write_bytes(data)
    liar.tell(device, liar.notice("2.0.0", data, f"{url}/2.0.0.bin"))
    liar.wait_report(device, "SUCCESS", version="2.0.0")


def test_nginx_resumes(both, boards, signer, nginx):
    liar = both[0]
    device = boards(liar.broker, [signer])
    liar.wait_report(device, "IDLE")
    data = make_image("2.0.0", size=1_000_000)
    (nginx.files / "2.0.0.bin").write_bytes(data)
    nginx.rate = "limit_rate 400k;"
    nginx.start()
    liar.tell(device, liar.notice("2.0.0", data, nginx.url("2.0.0.bin")))
    part = device.state / "download.part"
    wait_for(lambda: part.exists() and part.stat().st_size > 300_000, 20, device.log)
    device.power_cut()
    device.power_on()
    liar.wait_report(device, "SUCCESS", version="2.0.0")
    wait_for(lambda: len(nginx.asked()) == 2, 5, nginx.asked)
    status, sent, span = nginx.asked()[-1]
    assert status == "206" and int(sent) < 800_000 and re.fullmatch(r"bytes=\d+-", span), nginx.asked()


def test_nginx_shows_firmware_and_nothing_else(nginx):
    (nginx.files / "2.0.0.bin").write_bytes(b"x" * 100)
    (nginx.files / ".2.0.1.bin").write_bytes(b"y" * 50)
    nginx.start()
    wait_for(lambda: (nginx.folder / "pid").exists(), 10, "nginx runs")

    def ask(path, method="GET"):
        try:
            with urllib.request.urlopen(urllib.request.Request(nginx.url(path), method=method), timeout=10) as answer:
                return answer.status, answer.headers
        except urllib.error.HTTPError as error:
            return error.code, error.headers

    status, headers = ask("2.0.0.bin")
    assert status == 200 and headers["ETag"].startswith('"') and headers["Accept-Ranges"] == "bytes"
    assert [ask(path)[0] for path in ("", ".2.0.1.bin", "2.0.2.bin")] == [404, 404, 404]
    assert ask("2.0.0.bin", "PUT")[0] == 403
