"""When a rollout begins, and which of two does: scheduled starts, update windows, and rollouts of one fleet that overlap."""

import datetime

import pytest

from harness import stays, those_told, wait_for

pytestmark = pytest.mark.usefixtures("plugin")
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def now(site):
    return site.db.value("SELECT now() AT TIME ZONE 'UTC'")


def set_window(site, opens, closes):
    site.db.execute("SELECT ota.set_window('pumps', 'UTC', %s::text[], %s::time, %s::time)", [DAYS[opens.weekday()]], opens.time(), closes.time())


def start_in(site, seconds, version, plan, reason="for later"):
    return site.db.value("SELECT ota.start_rollout('pumps', %s, %s, now() + make_interval(secs => %s), %s)", version, plan, seconds, reason)


def test_a_scheduled_start_before_the_window_opens(site):
    """First its time has to come, and then the window's."""
    devices = site.listening_devices("pumps", 2)
    site.release("1.5.0")
    moment = now(site).replace(microsecond=0)
    opens = moment + datetime.timedelta(seconds=7)
    set_window(site, opens, opens + datetime.timedelta(hours=1))
    rollout = start_in(site, 3, "1.5.0", site.quick_plan(wait="1 second"))
    row = site.rollout(rollout)
    assert row["state"] == "scheduled" and row["next_action"] == "starts" and row["next_at"] == row["start_at"]
    agenda = site.db.rows("SELECT what, state FROM ota.agenda WHERE rollout_id = %s", rollout)
    assert agenda == [{"what": "rollout starts", "state": "scheduled"}], agenda
    site.wait_rollout(rollout, "running")
    assert site.rollout(rollout)["started_at"] >= row["start_at"]
    wait_for(lambda: site.progress(rollout)[0]["next_action"] == "wait for the update window", 5, lambda: site.describe(rollout))
    assert not those_told(devices)
    site.update_all(devices, "1.5.0")
    site.wait_rollout(rollout, "completed")
    first = site.db.value("SELECT min(notified_at) AT TIME ZONE 'UTC' FROM ota.device_update WHERE rollout_id = %s", rollout)
    assert first >= opens, (first, opens)


@pytest.mark.parametrize("counts", [True, False])
def test_closed_hours_before_the_first_notice_are_no_part_of_a_stages_wait(site, counts):
    """Scheduled into a closed window: whatever the plan counts, the wait begins when somebody can be told."""
    devices = site.listening_devices("pumps", 2)
    site.release("1.5.0")
    moment = now(site)
    set_window(site, moment + datetime.timedelta(hours=3), moment + datetime.timedelta(hours=4))
    rollout = start_in(site, 1, "1.5.0", site.quick_plan(wait="3 seconds", options={"count_closed_hours": counts}))
    site.wait_rollout(rollout, "running")
    stays(lambda: site.progress(rollout)[0]["label"] in (None, "some") and not those_told(devices), 4, lambda: site.describe(rollout))
    site.db.execute("SELECT ota.clear_windows('pumps')")
    site.update_all(devices, "1.5.0")
    site.wait_rollout(rollout, "completed")
    waited = site.db.value("SELECT (SELECT opened_at FROM ota.rollout_stage WHERE rollout_id = %s AND stage = 2)"
                           " - (SELECT min(notified_at) FROM ota.device_update WHERE rollout_id = %s AND stage = 1)", rollout, rollout)
    assert waited > datetime.timedelta(seconds=2), waited


def test_what_is_planned_for_later_waits_and_then_takes_over(site):
    """A newer release for later leaves the present rollout alone until its time comes; an older one for later is no plan any more."""
    devices = site.listening_devices("pumps", 4)
    for version in ("1.4.0", "1.5.0", "1.6.0"):
        site.release(version)
    plan = site.quick_plan(wait="1 hour")
    older, newer = start_in(site, 3600, "1.4.0", plan), start_in(site, 5, "1.6.0", plan)
    present = site.start_rollout("pumps", "1.5.0", plan)
    wait_for(lambda: len(those_told(devices, "1.5.0")) == 2, 15, lambda: site.describe(present))
    assert site.rollout(older)["state"] == "superseded" and f"superseded by rollout {present} of 1.5.0" in site.rollout(older)["reason"]
    assert site.rollout(newer)["state"] == "scheduled" and site.rollout(present)["state"] == "running"
    # The same fleet again, at once: not the same release, nor an older one.
    for version in ("1.5.0", "1.4.0"):
        code, message, hint = site.db.refusal("SELECT ota.start_rollout('pumps', %s, 'quick')", version)
        assert code == "55000" and f'fleet "pumps" is in rollout {present} of 1.5.0' in message and "Cancel it first" in hint, (message, hint)
    started = those_told(devices, "1.5.0")[0]
    started.report("DOWNLOADING")
    site.wait_rollout(newer, "running")
    row = site.rollout(present)
    assert row["state"] == "superseded" and row["reason"] == f"superseded by rollout {newer} of 1.6.0"
    for device in those_told(devices, "1.5.0"):
        assert device.wait_recall()["version"] == "1.5.0"
    wait_for(lambda: those_told(devices, "1.6.0"), 15, lambda: site.describe(newer))
    # What is over stays over.
    code, message, hint = site.db.refusal("SELECT ota.resume_rollout(%s, 'again')", present)
    assert code == "55000" and f"rollout {present} is superseded" in message and "start a new one" in hint
    assert site.db.value("SELECT count(*) FROM ota.rollout WHERE fleet = 'pumps' AND state IN ('running', 'paused')") == 1


def test_a_paused_rollout_holds_the_fleet(site):
    """Nothing that is as old can overtake it, and when something newer has, it cannot resume."""
    site.listening_devices("pumps", 2)
    site.release("1.5.0")
    site.release("1.6.0")
    plan = site.quick_plan(wait="1 hour")
    first = site.start_rollout("pumps", "1.5.0", plan)
    site.wait_rollout(first, "running")
    site.order("pause", first)
    assert "is in rollout" in site.db.refusal("SELECT ota.start_rollout('pumps', '1.5.0', 'quick')")[1]
    second = site.start_rollout("pumps", "1.6.0", plan)
    assert site.rollout(first)["state"] == "superseded"
    site.wait_rollout(second, "running")
    site.order("halt", second)
    third = site.start_rollout("pumps", "1.6.0", plan)
    assert site.rollout(second)["state"] == "superseded", "a halted one is no obstacle"
    site.wait_rollout(third, "running")
