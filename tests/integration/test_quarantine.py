"""A device that fails again and again is left out until somebody has looked at it."""

import psycopg2
import pytest

from harness import stays, wait_for

pytestmark = pytest.mark.usefixtures("plugin")


def test_three_failures_in_a_row(site):
    device = site.device("dev-1")
    site.wait_device("dev-1", listening=True)
    plan = site.quick_plan()
    for number, version in enumerate(("1.1.0", "1.2.0", "1.3.0"), 1):
        site.release(version)
        rollout = site.start_rollout("default", version, plan)
        notice = device.wait_notice(number)
        if number == 2:
            # The old version after it had begun to apply.
            device.report("APPLYING", attempt=notice["attempt"])
            device.reboot()
            device.report()
        else:
            device.fail(notice)
        site.wait_update(rollout, "dev-1", ("failed", "rolled_back"))
        site.wait_rollout(rollout, "halted")
        assert site.device_row("dev-1")["failures"] == number
    row = site.db.row("SELECT * FROM ota.quarantine")
    assert (row["device_id"], row["failed_version"], row["error"]) == ("dev-1", "1.3.0", "HASH_MISMATCH")
    site.release("1.4.0")
    rollout = site.start_rollout("default", "1.4.0", plan)
    site.wait_rollout(rollout, "completed")
    stays(lambda: len(device.notices()) == 3, 1, "it is told of nothing")
    site.db.execute("SELECT ota.unquarantine_device('dev-1', 'a new flash chip')")
    device.update(device.wait_notice(4))
    site.wait_update(rollout, "dev-1", "succeeded")
    wait_for(lambda: site.device_row("dev-1")["failures"] == 0, 5)


def go_on(devices, version):
    """Whoever has been told updates."""
    for device in devices:
        if device.version != version and device.notices() and device.notices()[-1]["version"] == version:
            device.update(device.notices()[-1])


def test_retries_are_one_failure_and_another_try_needs_the_quarantine_ended(site):
    """With a plan that retries: two attempts that fail are one failed update; at the fleet's number it is in quarantine."""
    device, *healthy = site.devices(6)
    for one in (device, *healthy):
        site.wait_device(one.client_id, listening=True)
    site.db.execute("SELECT ota.set_quarantine('default', 2, 'bad flash in this batch')")
    plan = site.quick_plan(wait="0 s", retries=1, success_threshold=0.4, options={"early_halt": False, "coverage": 0.1})
    told = 0
    for failures, version in enumerate(("1.1.0", "1.2.0"), 1):
        site.release(version)
        rollout = site.start_rollout("default", version, plan)
        for attempt in (1, 2):
            told += 1
            wait_for(lambda: go_on(healthy, version) or len(device.notices()) >= told, 20, lambda: site.describe(rollout))
            notice = device.notices()[-1]
            assert notice["attempt"] == attempt and notice["version"] == version
            assert site.device_row("dev-001")["failures"] == failures - 1, "an attempt that is retried is no failure yet"
            device.fail(notice)
        site.update_all(healthy, version)
        site.wait_update(rollout, "dev-001", "failed")
        assert site.device_row("dev-001")["failures"] == failures
    site.wait_rollout(rollout, "completed")
    row = site.db.row("SELECT device_id, failures, failed_version, error FROM ota.quarantine")
    assert row == {"device_id": "dev-001", "failures": 2, "failed_version": "1.2.0", "error": "HASH_MISMATCH"}
    with pytest.raises(psycopg2.Error) as refused:
        site.db.execute("SELECT ota.retry_device(%s, 'dev-001', 'once more')", rollout)
    assert "is in quarantine since" in refused.value.diag.message_primary and "ota.unquarantine_device" in refused.value.diag.message_hint
    stays(lambda: len(device.notices()) == told, 1, "it is told of nothing")
    site.db.execute("SELECT ota.unquarantine_device('dev-001', 'flash was exchanged')")
    site.db.execute("SELECT ota.retry_device(%s, 'dev-001', 'flash was exchanged')", rollout)
    notice = device.wait_notice(told + 1)
    assert notice["attempt"] == 3
    device.update(notice)
    site.wait_update(rollout, "dev-001", "succeeded")
    wait_for(lambda: site.device_row("dev-001")["failures"] == 0, 5)
