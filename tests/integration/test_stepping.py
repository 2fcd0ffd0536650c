"""A device below a release's minVersion is brought to a stepping stone first."""

import pytest

from harness import stays, wait_for
from harness.device import manifest_of

pytestmark = pytest.mark.usefixtures("plugin")


def prepare(site, **settings):
    """Two devices on 1.0.0; 2.0.0 wants 1.8.0 at least, and 1.8.0 is there."""
    site.release("1.8.0")
    site.release("2.0.0", minVersion="1.8.0")
    devices = site.devices(2)
    wait_for(lambda: site.db.value("SELECT count(*) FROM ota.device WHERE listening AND version = '1.0.0'") == 2, 10)
    rollout = site.start_rollout("default", "2.0.0", site.quick_plan(**settings))
    first = wait_for(lambda: [one for one in devices if one.notices()], 15, lambda: site.describe(rollout))[0]
    return devices, first, rollout


@pytest.mark.brokers
@pytest.mark.memory
def test_over_a_stepping_stone(site):
    devices, first, rollout = prepare(site, wait="1 hour")
    notice = first.notices()[0]
    assert (notice["version"], notice["rollout"], notice["attempt"]) == ("1.8.0", rollout, 1)
    assert manifest_of(notice)["version"] == "1.8.0", "its own signed manifest"
    first.update(notice)
    notice = first.wait_notice(2)
    assert (notice["version"], notice["rollout"], notice["attempt"]) == ("2.0.0", rollout, 2)
    # Told of the next half, and not counted yet.
    stage = site.stages(rollout)[0]
    assert (stage["notified"], stage["in_flight"], stage["succeeded"], stage["failed"]) == (1, 1, 0, 0)
    first.update(notice)
    site.wait_update(rollout, first.client_id, "succeeded")
    site.order("advance", rollout)
    other = next(one for one in devices if one is not first)
    other.update(other.wait_notice())
    assert len(first.notices()) == 2
    other.update(other.wait_notice(2))
    site.wait_update(rollout, other.client_id, "succeeded")
    stages = site.stages(rollout)
    assert [(one["notified"], one["succeeded"], one["failed"]) for one in stages] == [(1, 1, 0), (1, 1, 0)], "each counts once"
    steps = [event["detail"]["step"] for event in site.events("notified", first.client_id) if "step" in event["detail"]]
    assert steps == ["1.8.0"]


def test_a_failure_on_the_stone_is_a_failure(site):
    _, first, rollout = prepare(site)
    first.fail(first.notices()[0], "HASH_MISMATCH")
    row = site.wait_update(rollout, first.client_id, "failed")
    assert row["error"] == "stepping stone 1.8.0: HASH_MISMATCH"
    site.wait_rollout(rollout, "halted")
    assert site.stages(rollout)[0]["failed"] == 1


def test_without_a_stone_it_is_left_out(site):
    site.release("1.8.0")
    site.release("2.0.0", minVersion="1.8.0")
    device = site.device("dev-1")
    site.wait_device("dev-1", listening=True)
    site.db.execute("SELECT ota.revoke_release('1.8.0', 'burns')")
    rollout = site.start_rollout("default", "2.0.0", site.quick_plan())
    stays(lambda: site.update_row(rollout, "dev-1") is None and not device.notices(), 2)


def test_a_stone_revoked_on_the_way(site):
    """Told of the stone, the stone is revoked, the device fails: another stone is taken, and the halted stage can resume."""
    site.release("1.9.0")
    _, first, rollout = prepare(site, wait="1 hour", retries=1)
    assert first.notices()[0]["version"] == "1.9.0" or first.notices()[0]["version"] == "1.8.0"
    told = first.notices()[0]["version"]
    left = "1.8.0" if told == "1.9.0" else "1.9.0"
    site.db.execute("SELECT ota.revoke_release(%s, 'burns')", told)
    first.fail(first.notices()[0], "NO_GPS")
    notice = first.wait_notice(2)
    assert (notice["version"], notice["attempt"]) == (left, 2)
    first.update(notice)
    first.update(first.wait_notice(3))
    site.wait_update(rollout, first.client_id, "succeeded")
