"""A device that fails again and again is left out until somebody has looked at it."""

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
