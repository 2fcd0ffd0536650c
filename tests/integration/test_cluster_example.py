"""examples/cluster: three brokers behind HAProxy, and a failover of the database."""

import os
import re
import shutil
import subprocess

from conftest import BUILD, ROOT
from harness import free_port
from harness.durability import only_long

HERE = ROOT / "examples" / "cluster"


def test_haproxy_takes_the_configuration(tmp_path):
    text = (HERE / "haproxy.cfg").read_text().replace("@HOST@", "127.0.0.1")
    for name in ("PORT", "BROKER1", "BROKER2", "BROKER3"):
        text = text.replace(f"@{name}@", str(free_port()))
    assert not re.search("@[A-Z0-9]+@", text)
    (tmp_path / "haproxy.cfg").write_text(text)
    program = shutil.which("haproxy", path=os.environ.get("PATH", "") + ":/usr/sbin")
    done = subprocess.run([program, "-c", "-f", tmp_path / "haproxy.cfg"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_bad_arguments_are_named():
    for argument in (["--devices", "5"], ["--devices", "many"], ["--fast"]):
        done = subprocess.run([HERE / "run.sh", *argument], capture_output=True, text=True, check=False)
        assert done.returncode == 1 and "accepted are" in done.stderr and argument[-1] in done.stderr, done.stderr


@only_long
def test_a_broker_and_the_primary_die_during_a_rollout():
    done = subprocess.run([HERE / "run.sh", "--devices", "200"], capture_output=True, text=True, check=False, timeout=600,
                          env={**os.environ, "OTA_QUICKSTART_BUILD": str(BUILD)})
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
