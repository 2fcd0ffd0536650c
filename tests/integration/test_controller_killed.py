"""The controller dies in every state of a rollout; what comes out is what comes out undisturbed."""

import pytest

from harness import wait_for
from harness.durability import LONG, all_listening
from harness.takeover import ORDERED, STATES as EVERY_STATE, approve, leading_broker, taken_over

pytestmark = pytest.mark.usefixtures("plugin")

COUNT, FIRST = 6, 3

STATES = dict(EVERY_STATE)

if not LONG:  # their neighbours stay
    for one in ("running", "stage open", "told"):
        del STATES[one]


def kill_controller(site):
    """kill -9, and a new start; of the broker that has the devices only its session ends, which takes the lead from it as well."""
    found, broker = leading_broker(site)
    if broker is site.brokers[-1]:
        site.db.execute("SELECT pg_terminate_backend(%s)", found["pid"])
        return
    broker.kill()
    taken_over(site, found)  # before it comes back
    broker.start()


def test_controller_killed_in_every_state(site):
    site.add_broker("broker-2")
    edge = site.add_broker("broker-3")
    site.quick_plan(wait="0.5 seconds", first=50)
    devices = [site.device(f"dev-{number}", edge) for number in range(COUNT)]
    all_listening(site, COUNT)
    killed = []
    for number, (state, condition) in enumerate([(None, None), *STATES.items(), *((one, None) for one in ORDERED)]):
        version = f"2.{number}.0"
        site.release(version)
        plan = "quick"
        if state == "held":
            plan = site.quick_plan("held", wait="0.1 seconds", first=50, options={"approval": True})
        rollout = site.start_rollout("default", version, plan)
        if condition:
            wait_for(lambda: site.db.value(condition.replace("%(id)s", str(rollout)))
                     or update(devices, version), 20, lambda: f"{state}: {site.describe(rollout)}")
            killed.append(site.rollout(rollout)["state"])
            kill_controller(site)
        elif state in ("paused", "halted"):
            wait_for(lambda: told(devices, version), 20, lambda: site.describe(rollout))
            site.order("halt" if state == "halted" else "pause", rollout)
            kill_controller(site)
            site.order("resume", rollout)
            # A device that heard of the update before the halt, and updates only now, has been recalled too late: its success counts nowhere.
            wait_for(lambda: state == "paused" or told_as_recorded(site, devices, version, rollout), 20, lambda: site.describe(rollout))
        elif state == "held":
            wait_for(lambda: update(devices, version) or site.stages(rollout)[0]["state"] == "held", 20, lambda: site.describe(rollout))
            kill_controller(site)
            approve(site, rollout)
        site.update_all(devices, version, 40)
        site.wait_rollout(rollout, "completed", 30)
        # As undisturbed: exact cohorts, everybody counted once in a stage, told once an attempt, nobody ahead of the first verdict.
        stages = site.stages(rollout)
        assert [row["cohort"] for row in stages] == [FIRST, COUNT], (state, stages)
        assert [row["succeeded"] for row in stages] == [FIRST, COUNT - FIRST], (state, stages)
        assert all(row["failed"] == 0 and row["in_flight"] == 0 and row["state"] == "passed" for row in stages), (state, stages)
        for device in devices:
            notices = [notice["attempt"] for notice in device.notices() if notice["version"] == version]
            assert len(notices) == len(set(notices)) and (len(notices) == 1 or state == "halted"), (state, device.client_id, notices)
        early = site.db.value("SELECT count(*) FROM ota.device_update u JOIN ota.rollout_stage s ON s.rollout_id = u.rollout_id AND"
                              " s.stage = 1 WHERE u.rollout_id = %s AND u.stage = 2 AND u.notified_at < s.closed_at", rollout)
        assert early == 0, (state, early)
    assert len(killed) == len(STATES)


def told(devices, version):
    return [device for device in devices if any(notice["version"] == version for notice in device.notices())]


def told_as_recorded(site, devices, version, rollout):
    """The first stage's devices have heard of the attempt that their rows stand at."""
    rows = site.db.rows("SELECT device_id, attempt, state FROM ota.device_update WHERE rollout_id = %s AND stage = 1", rollout)
    last = {device.client_id: [notice["attempt"] for notice in device.notices() if notice["version"] == version][-1:] for device in devices}
    return all(row["state"] == "notified" and last[row["device_id"]] == [row["attempt"]] for row in rows)


def update(devices, version):
    """One of those who have been told updates; false, so that a wait goes on."""
    for device in told(devices, version):
        if device.version != version:
            device.update([notice for notice in device.notices() if notice["version"] == version][-1])
            return False
    return False
