"""Every command that the documentation shows is run, in the order of the page, by people who have what the page says they have."""

import fnmatch
import json
import os
import re
import signal
import subprocess
import sys
import threading

import pytest

from conftest import BUILD, ROOT
from harness import wait_for
from harness.control import password_file

sys.path.insert(0, str(ROOT / "tests" / "docs"))
from blocks import RUN_HERE, blocks  # noqa: E402

pytestmark = pytest.mark.usefixtures("plugin")
PROGRAM = BUILD / "plugin" / "ctl" / "mosquitto_ota"
FLEET = "warehouse"


class Stage:
    """A fleet of obedient devices, their broker, and the desk of alice, who may do everything."""

    def __init__(self, site, folder):
        self.site = site
        self.folder = folder / "desk"
        self.bin = folder / "bin"
        self.etc = folder / "etc"
        self.failing = set()
        self._over = threading.Event()
        self._thread = None

    def open(self):
        for path in (self.folder, self.bin, self.etc):
            path.mkdir()
        self._shell("openssl genpkey -algorithm ed25519 -out release.key\n"
                    f"openssl pkey -in release.key -pubout -out {self.site.keys.folder}/release.pem\n"
                    "for version in 1.0.0 2.0.0 2.0.1 2.1.0; do head -c 5000 /dev/urandom >$version.bin; done\n")
        users = password_file(self.etc / "users", "alice")
        self.site.add_broker(extra=[f"password_file {users}"], control_users="alice")
        (self.folder / "mosquitto_ota").write_text(f"-h 127.0.0.1\n-p {self.site.broker.port}\n-u alice\n-P unused\n")
        # `service mosquitto reload`, as far as this broker is meant.
        service = self.bin / "service"
        service.write_text('#!/bin/sh\n[ "$1 $2" = "mosquitto reload" ] || { echo "no service $*" >&2; exit 1; }\n'
                           f"kill -HUP {self.site.broker.process.pid}\nsleep 2\n")
        service.chmod(0o755)
        names = [f"tracker-{number}" for number in range(1, 10)] + ["tracker-0815"]
        self.devices = [self.site.device(name, fleet=FLEET) for name in names]
        wait_for(lambda: self.site.db.value("SELECT count(*) FROM ota.device WHERE listening AND version = '1.0.0'") == 10, 15)
        self.site.db.execute("ALTER SEQUENCE ota.rollout_rollout_id_seq RESTART WITH 17")
        self._thread = threading.Thread(target=self._obey)
        self._thread.start()
        return self

    def close(self):
        self._over.set()
        if self._thread:
            self._thread.join()

    def _obey(self):
        """Each device updates as soon as it is told."""
        done = set()
        while not self._over.wait(0.1):
            for device in self.devices:
                for notice in device.notices():
                    key = (device.client_id, notice["rollout"], notice["attempt"])
                    if key not in done:
                        done.add(key)
                        device.update(notice)

    # -- set-ups that a mark names

    def rollout_17_was_halted_and_tracker_1_failed(self):
        self.site.order("halt", 17, "5 of 5 finished devices failed")
        self.site.wait_rollout(17, "halted")
        # Pending, told, failed, as if it had been in the canary.
        self.site.db.execute("INSERT INTO ota.device_update (rollout_id, device_id, stage, rank)"
                             " VALUES (17, 'tracker-1', 1, ota.cohort_rank(17, 'tracker-1')) ON CONFLICT DO NOTHING")
        for state in ("notified", "failed"):
            self.site.db.execute("UPDATE ota.device_update SET state = %s, served_stage = 1, notified_at = now(), error = 'HASH_MISMATCH'"
                                 " WHERE rollout_id = 17 AND device_id = 'tracker-1'", state)

    def rollout_17_was_halted_again(self):
        wait_for(lambda: self.site.db.value("SELECT count(*) FROM ota.device WHERE version = '2.0.0'") > 0, 20)
        self.site.order("halt", 17, "crashes in the cold")
        self.site.wait_rollout(17, "halted")

    # -- running

    def environment(self):
        connection = dict(word.split("=", 1) for word in self.site.db.conninfo.split())
        return {**os.environ, "XDG_CONFIG_HOME": str(self.folder), "NO_COLOR": "1",
                "PATH": f"{self.bin}:{PROGRAM.parent}:{BUILD / 'examples' / 'fleet'}:{os.environ['PATH']}",
                "PGHOST": connection["host"], "PGPORT": connection["port"], "PGUSER": connection["user"], "PGDATABASE": connection["dbname"]}

    def _shell(self, text, stop_after=None):
        process = subprocess.Popen(["bash", "-euo", "pipefail", "-c", text], cwd=self.folder, env=self.environment(), text=True,
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
                                   # Whoever runs the tests in the background has it ignored, and children inherit that.
                                   preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
        try:
            output, _ = process.communicate(timeout=stop_after or 60)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGINT if stop_after else signal.SIGKILL)
            output, _ = process.communicate(timeout=10)
            if stop_after:
                return 0, output
        return process.returncode, output

    def run(self, block):
        """Returns exit status and output."""
        stop_after = None
        if block.mark.startswith("run: after "):
            getattr(self, re.sub(r"\W+", "_", block.mark.removeprefix("run: after ")))()
        elif block.mark == "run: until it is stopped":
            stop_after = 3
        elif block.mark:
            raise AssertionError(f"{block}: the mark <!-- {block.mark} --> means nothing to this test")
        text = block.text.replace("/etc/mosquitto/ota/keys.d", str(self.site.keys.folder))
        if block.language == "sql":
            script = self.folder / "block.sql"
            script.write_text(text)
            return self._shell("psql -X -v ON_ERROR_STOP=1 -f block.sql")
        return self._shell(text, stop_after)


def matches(expected, output):
    """The lines of a page, in order, in what was printed; three dots stand for anything."""
    lines = iter(output.splitlines())
    for line in expected.splitlines():
        pattern = "*" + "*".join(part.replace("[", "[[]").replace("?", "[?]").replace("*", "[*]")
                                 for part in re.split(r"\.\.\.|…", line.strip())) + "*"
        if not any(fnmatch.fnmatchcase(one, pattern) for one in lines):
            return line
    return None


@pytest.fixture
def stage(bare_site, tmp_path):
    place = Stage(bare_site, tmp_path)
    try:
        yield place.open()
    finally:
        place.close()


@pytest.mark.parametrize("page", RUN_HERE)
def test_the_commands_of_a_page(stage, page):
    output, ran = "", 0
    for block in blocks(ROOT / page, page):
        if block.language in ("sh", "sql") and not block.mark.startswith("not run: ") and block.mark != "run: package test":
            status, output = stage.run(block)
            assert status == 0, f"{block} ends with {status}:\n{block.text}\n{output}\n{stage.site.broker.log()[-2000:]}"
            ran += 1
        elif block.mark == "output":
            wrong = matches(block.text, output)
            assert wrong is None, f"{block}: the page shows\n{wrong}\nwhich is not in\n{output}"
    assert ran > 3
    assert not stage.site.events("malformed"), json.dumps(stage.site.events("malformed"), default=str)


def test_a_broken_command_is_noticed(stage, tmp_path):
    page = tmp_path / "page.md"
    page.write_text("```sh\nmosquitto_ota rollout watch --intervall 3 17\n```\n\n```sql\nSELECT * FROM ota.rollout_progres;\n```\n\n"
                    "```sh\nmosquitto_ota fleet list\n```\n\n<!-- output -->\n```\nwarehouse ...11 ...\n```\n")
    typo, view, lists, shown = blocks(page)
    assert stage.run(typo)[0] == 2 and stage.run(view)[0] == 3
    status, output = stage.run(lists)
    assert status == 0 and matches(shown.text, output) and matches("warehouse ...10 ...", output) is None
