"""mosquitto_ctrl ota: the program as a module of Mosquitto's own tool, whose structure differs between its versions."""

import json
import os
import re
import shlex
import subprocess

import pytest

from conftest import BUILD, brokers
from harness.control import password_file
from harness.process import free_port

pytestmark = pytest.mark.usefixtures("plugin")
FOLDER = BUILD / "plugin" / "ctl"


def tool(version):
    """mosquitto_ctrl of the same installation as this broker, finding the module."""
    words = shlex.split(brokers()[version])
    if words[-1] == "/usr/sbin/mosquitto":
        return ["env", f"LD_LIBRARY_PATH={FOLDER}", "mosquitto_ctrl"]
    words[-1] = words[-1].replace("/sbin/mosquitto", "/bin/mosquitto_ctrl")
    if words[0] == "env":
        return ["env", f"{words[1]}:{FOLDER}", *words[2:]]
    words[words.index("--library-path") + 1] += f":{FOLDER}"
    return words


def run(version, *words):
    environment = {**os.environ, "XDG_CONFIG_HOME": "/nonexistent", "HOME": "/nonexistent", "NO_COLOR": "1"}
    done = subprocess.run([*tool(version), *map(str, words)], env=environment, capture_output=True, text=True, timeout=40,
                          stdin=subprocess.DEVNULL, check=False)
    if "libedit" in done.stderr or "cannot open shared object" in done.stderr:
        pytest.skip(f"mosquitto_ctrl {version} does not run here: {done.stderr.strip()}")
    return done


@pytest.fixture(params=list(brokers()))
def version(request):
    return request.param


@pytest.fixture
def office(bare_site, version):
    users = password_file(bare_site.folder / "users", "alice")
    bare_site.add_broker(version=version, extra=[f"password_file {users}"], control_users="alice")
    return bare_site


def test_the_same_program(office, version):
    reach = ("-h", "127.0.0.1", "-p", office.broker.port, "-u", "alice", "-P", "unused", "-q", "1", "-i", "desk-7")
    done = run(version, *reach, "ota", "status", "--json")
    assert done.returncode == 0 and not done.stderr, done
    assert json.loads(done.stdout)["brokers"][0]["broker"] == "broker-1"
    done = run(version, *reach, "ota", "plan", "define", "careful", "--stage", "some:10:1 hour", "--stage", "full:100")
    assert done.returncode == 0 and done.stdout == "plan careful is defined\n", done
    # Options of the connection may also stand behind the module's name, as everywhere.
    done = run(version, "ota", *reach, "plan", "show", "careful", "--json")
    assert done.returncode == 0 and json.loads(done.stdout)["defined_by"] == "alice", done
    # Refused, unknown, and not reachable: never status 0.
    for words, text in (((*reach, "ota", "rollout", "pause", "99"), "no rollout 99"),
                        ((*reach, "ota", "frobnicate"), 'unknown command "frobnicate"'),
                        (("-p", free_port(), "ota", "status"), "no broker listens there"),
                        ((*reach[:-4], "-P", "wrong", "ota", "status"), "refuses the connection")):
        done = run(version, *words)
        assert done.returncode == 13 and text in done.stderr and not done.stdout, done
    assert "as desk-7 " in office.broker.log()


def test_help_and_what_is_not_supported(version):
    for word in ("help", "--help"):
        done = run(version, "ota", word)
        assert done.returncode == 0 and done.stdout.startswith("usage: mosquitto_ctrl [connection options] ota <command>"), done
    done = run(version, "ota", "rollout", "start", "--help")
    assert done.stdout.startswith("usage: mosquitto_ctrl [connection options] ota rollout start <fleet> <version>"), done
    done = run(version, "--cafile", "/etc/ssl/certs/ca-certificates.crt", "--tls-engine", "pkcs11", "ota", "status")
    assert done.returncode == 13 and "--tls-engine is not supported by this module" in done.stderr, done


def test_it_exports_one_function():
    symbols = subprocess.run(["nm", "-D", "--defined-only", FOLDER / "mosquitto_ctrl_ota.so"], capture_output=True, text=True, check=True)
    assert [re.sub("@.*", "", line.split()[-1]) for line in symbols.stdout.splitlines()] == ["ctrl_main"]
