"""Devices that report all the time: the outbox is never seen empty, and all goes on."""

import subprocess
import time

import pytest

from conftest import BUILD
from harness import wait_for

pytestmark = pytest.mark.usefixtures("plugin")


def test_a_stream_is_written_in_few_batches(site):
    """Each batch is a transaction with four statements: a thousand reports a second are not hundreds of them."""
    stream = subprocess.Popen([BUILD / "tests" / "bench" / "steady", str(site.broker.port), "50", "1000", "devices/{}/ota/status",
                               '{"version":"1.4.2","status":"IDLE","n":{}}'], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert stream.stdout.readline() == "ready\n"
        wait_for(lambda: site.db.value("SELECT count(*) FROM ota.event WHERE kind = 'status'") > 1500, 20)
        first, began = site.db.value("SELECT max(event_id) FROM ota.event"), time.monotonic()
        time.sleep(3)
        seen = site.db.row("SELECT count(*) AS reports, count(DISTINCT xmin::text) AS batches FROM ota.event WHERE event_id > %s", first)
        taken = time.monotonic() - began
        assert seen["reports"] > 1000
        assert seen["batches"] <= 27 * taken + 3, f"{seen} in {taken:.1f} s"  # one in 40 ms
    finally:
        stream.kill()
        stream.communicate()


def test_a_rollout_beside_a_stream_of_reports(site):
    site.quick_plan(wait="0.2 seconds", retries=0, download_timeout="8 seconds", options={"early_halt": False}, success_threshold=0.1)
    site.release("1.5.0")
    good, silent, back = (site.device(f"dev-{number}") for number in range(3))
    for device in (good, silent, back):
        site.wait_device(device.client_id, listening=True)
    stream = subprocess.Popen([BUILD / "tests" / "bench" / "steady", str(site.broker.port), "50", "3000", "devices/{}/ota/status",
                               '{"version":"1.4.2","status":"IDLE","n":{}}'], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert stream.stdout.readline() == "ready\n"
        wait_for(lambda: site.db.value("SELECT count(*) FROM ota.event WHERE kind = 'status'") > 3000, 20)
        before = site.db.value("SELECT alive_at FROM ota.broker")
        rollout = site.start_rollout("default", "1.5.0", "quick", reason="emergency: all at once, most of them do not listen")
        # Gone before it has started: it is told again, because nothing of what it has said is still on its way.
        back.wait_notice(timeout=15)
        good.update(good.wait_notice(timeout=15))
        site.wait_update(rollout, good.client_id, "succeeded")
        back.reboot()
        back.update(back.wait_notice(2))
        site.wait_update(rollout, back.client_id, "succeeded")
        site.wait_update(rollout, silent.client_id, "timed_out")
        wait_for(lambda: site.db.value("SELECT alive_at FROM ota.broker") > before, 15)
        assert stream.poll() is None, "it did not stream all the while"
    finally:
        stream.kill()
        stream.communicate()
