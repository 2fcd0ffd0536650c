"""Runs the agents of examples/ as black boxes: a command, a configuration file, a folder with slots.

An agent that is to be tested here brings a boot loader with the commands `provision` and `run`, reads the settings of
device.conf.example, and keeps boot.json and slot-a.img, slot-b.img as docs/devices.md describes them.

OTA_AGENT_PYTHONPATH names a folder with Python modules for the agents alone, such as another paho-mqtt than the tests use.
"""

import hashlib
import json
import os
import pathlib
import re
import shlex
import signal
import subprocess
import sys

from .process import die_with_parent, wait_for

ROOT = pathlib.Path(__file__).resolve().parents[3]
_PYTHON = sys.executable
_DAMAGE = re.compile(r"AddressSanitizer|LeakSanitizer|runtime error:|Traceback|stack smashing|free\(\): |corrupted ")


def commands(kind, build):
    """(boot loader, agent) of a kind of agent."""
    if kind == "python":
        folder = ROOT / "examples" / "device-python"
        return [_PYTHON, folder / "bootloader.py"], [_PYTHON, folder / "device.py"]
    folder = build / "examples" / "device-c"
    return [folder / "ota_bootloader"], [folder / ("ota_device_mqtt" if kind == "mqtt" else "ota_device")]


def make_image(version, behaviour="good", size=65536):
    """Firmware whose first line says what it does: good, sick, crash, hang."""
    head = f"firmware {version} {behaviour}\n".encode()
    return head + os.urandom(size - len(head))


class AgentDevice:
    """One board: its power switch, its disk, and what is written on it."""

    def __init__(self, command, folder, broker, device_id, keys, **settings):
        self.boot_command, self.agent_command = command
        self.folder = pathlib.Path(folder) / device_id
        self.folder.mkdir(parents=True)
        self.device_id = device_id
        self.state = pathlib.Path(settings.pop("state_directory", self.folder / "state"))
        self.log_path = self.folder / "log"
        self.process = None
        self.preexec = None  # called in the child, for limits
        self.settings = {"device_id": device_id, "state_directory": self.state, "broker_port": broker.port,
                         "broker_host": "127.0.0.1", "health_seconds": 5, "boot_attempts": 2, "restart_ms": 50,
                         "backoff_ms": 50, "stall_seconds": 5, "health": f"imageGood {self._health_program()}", **settings}
        self.conf = self.folder / "device.conf"
        self.write_conf(keys)

    def write_conf(self, keys):
        lines = [f"{name} {value}" for name, value in self.settings.items() if value is not None]
        for number, signer in enumerate(keys):
            path = self.folder / f"pinned-{number}.pem"
            path.write_bytes(signer.public_pem())
            lines.append(f"trusted_key {path}")
        self.conf.write_text("\n".join(["# written by the test", *lines, ""]))

    def _script(self, name, text):
        path = self.folder / name
        path.write_text("#!/bin/sh\n" + text)
        path.chmod(0o755)
        return path

    def _health_program(self):
        return self._script("health.sh", 'case $(head -n 1 "$OTA_IMAGE") in *sick*) exit 1 ;; esac\n')

    def _firmware_program(self):
        """What the image would start: the image itself says whether that goes well."""
        agent = shlex.join(str(part) for part in [*self.agent_command, self.conf])
        return self._script("firmware.sh", f"""case $(head -n 1 "$OTA_IMAGE") in
*crash*) exit 1 ;;
*hang*) exec sleep 1000 ;;
esac
exec {agent}
""")

    # -- the power switch

    def provision(self, version="1.0.0", sequence=0, behaviour="good"):
        image = self.folder / "factory.img"
        image.write_bytes(make_image(version, behaviour))
        subprocess.run([*self.boot_command, "provision", self.conf, image, version, str(sequence)], check=True)
        return self

    def power_on(self):
        with open(self.log_path, "ab") as log:
            arm = die_with_parent(signal.SIGKILL)

            def prepare():
                arm()
                if self.preexec:
                    self.preexec()

            environment = dict(os.environ)
            if os.environ.get("OTA_AGENT_PYTHONPATH"):
                environment["PYTHONPATH"] = os.environ["OTA_AGENT_PYTHONPATH"]
            self.process = subprocess.Popen([*self.boot_command, "run", self.conf, "--", self._firmware_program()],
                                            env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=prepare,
                                            start_new_session=True)
        return self

    def power_cut(self):
        """SIGKILL for the boot loader and everything it started, at once."""
        if self.process:
            try:
                os.killpg(self.process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            self.process.wait()
            self.process = None

    def log(self):
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def sound(self):
        """Nothing of a sanitizer and no exception in the log: the boot loader would have hidden it by starting again."""
        assert not _DAMAGE.search(self.log()), self.log()[-5000:]

    def wait_log(self, text, timeout=10):
        wait_for(lambda: text in self.log(), timeout, lambda: f"{text!r} in the log of {self.device_id}:\n{self.log()[-3000:]}")

    # -- what is on its disk

    def boot(self):
        return json.loads((self.state / "boot.json").read_text())

    def slot_hash(self, name):
        path = self.state / f"slot-{name}.img"
        return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else None

    def version(self):
        """What it runs unless a trial is on: the active slot's version, when the image there is the one described."""
        boot = self.boot()
        content = boot[boot["active"]]
        assert self.slot_hash(boot["active"]) == content["sha256"], f"slot {boot['active']} is not whole: {boot}"
        return content["version"]

    def bootable(self):
        """The hashes that the boot loader would boot."""
        boot = self.boot()
        return {boot[name]["sha256"] for name in (boot["active"], boot["trial"]) if name}
