"""What an operator may order while a rollout runs."""

import json

import pytest

from harness import stays, wait_for

pytestmark = pytest.mark.usefixtures("plugin")


class Running:
    """Two stages of half the fleet each; the first one waits until the test says so."""

    def __init__(self, site, count=4, wait="30 seconds", **settings):
        self.site = site
        options = {"early_halt": False, **settings.pop("options", {})}
        site.quick_plan(wait=wait, options=options, **settings)
        site.release("1.5.0")
        self.devices = site.devices(count)
        wait_for(lambda: site.db.value("SELECT count(*) FROM ota.device WHERE listening AND version = '1.0.0'") == count, 10)
        self.rollout = site.start_rollout("default", "1.5.0", "quick")
        self.wait_told(count // 2)

    def told(self):
        return [device for device in self.devices if device.notices()]

    def untold(self):
        return [device for device in self.devices if not device.notices()]

    def wait_told(self, count):
        wait_for(lambda: len(self.told()) == count, 15, lambda: self.site.describe(self.rollout))
        return self.told()

    def state(self):
        return self.site.rollout(self.rollout)["state"]


@pytest.fixture
def running(site):
    return Running(site)


def test_pause_stops_and_resume_goes_on(site):
    running = Running(site, wait="1 second")
    told = running.told()
    site.order("pause", running.rollout, "checking a dashboard")
    row = site.rollout(running.rollout)
    assert row["state"] == "paused" and row["reason"] == "checking a dashboard"
    for device in told:
        device.update(device.notices()[0])
    stays(lambda: len(running.told()) == 2, 2.5, "a paused rollout told another device")
    assert [site.update_row(running.rollout, one.client_id)["state"] for one in told] == ["succeeded"] * 2
    site.order("resume", running.rollout, "all well")
    running.wait_told(4)
    for device in running.devices:
        if device.version != "1.5.0":
            device.update(device.notices()[0])
    site.wait_rollout(running.rollout, "completed")


def test_advance_ends_the_wait(running):
    for device in running.told():
        device.update(device.notices()[0])
    stays(lambda: len(running.told()) == 2, 1)
    running.site.order("advance", running.rollout, "looks good")
    running.wait_told(4)


@pytest.mark.brokers
@pytest.mark.memory
def test_halt_recalls_who_was_told_and_has_not_begun(site):
    running = Running(site)
    begun, waiting = running.told()
    begun.report("DOWNLOADING")
    site.wait_update(running.rollout, begun.client_id, "downloading")
    site.order("halt", running.rollout, "wrong antenna table")
    recall = waiting.wait_recall(5)
    assert recall == {"action": "cancel", "rollout": running.rollout, "version": "1.5.0"}
    row = site.wait_rollout(running.rollout, "halted")
    assert row["reason"] == "wrong antenna table"
    site.wait_update(running.rollout, waiting.client_id, "cancelled")
    stays(lambda: not any(device.messages for device in running.untold()), 1.5)


def test_resume_after_a_halt_is_an_operators_right(running):
    running.site.order("halt", running.rollout, "stop")
    running.site.wait_rollout(running.rollout, "halted")
    running.site.order("resume", running.rollout, "false alarm")
    assert running.state() == "running"


def test_cancel_is_the_end(running):
    site = running.site
    site.order("cancel", running.rollout, "not this week")
    assert running.state() == "cancelled"
    for device in running.told():
        device.wait_recall()
    message = site.db.refused("SELECT ota.resume_rollout(%s, 'again')", running.rollout)
    assert "cancelled" in message
    stays(lambda: len(running.told()) == 2, 1.5)


def test_a_newer_rollout_supersedes(running):
    site = running.site
    site.release("1.6.0")
    second = site.start_rollout("default", "1.6.0", "quick")
    wait_for(lambda: running.state() == "superseded", 10, lambda: site.describe(running.rollout))
    wait_for(lambda: any(notice["version"] == "1.6.0" for device in running.devices for notice in device.notices()), 15,
             lambda: site.describe(second))
    open_updates = site.db.value("SELECT count(*) FROM ota.device_update WHERE rollout_id = %s AND state IN"
                                 " ('pending', 'notified')", running.rollout)
    assert open_updates == 0


def said(watcher, rollout):
    """What $SYS said of a rollout, in order; None: that there is nothing more to say."""
    return [json.loads(payload)["state"] if payload else None
            for topic, payload, _ in watcher.messages if topic == f"$SYS/broker/ota/rollout/{rollout}"]


def test_what_sys_says_of_a_rollout_that_is_over(running):
    """It may have left the list of those that matter in the moment in which it ended; its last message must not be "running"."""
    site = running.site
    watcher = site.client("watcher")
    watcher.subscribe("$SYS/broker/ota/rollout/+")
    wait_for(lambda: said(watcher, running.rollout)[-1:] == ["running"], 10, lambda: watcher.messages)
    site.release("1.6.0")
    second = site.start_rollout("default", "1.6.0", "quick")
    wait_for(lambda: said(watcher, second)[-1:] == ["running"], 10, lambda: watcher.messages)
    wait_for(lambda: said(watcher, running.rollout)[-1:] == ["superseded"], 10, lambda: watcher.messages)
    late = site.client("late")
    late.subscribe("$SYS/broker/ota/rollout/+")
    wait_for(lambda: said(late, running.rollout) == ["superseded"] and set(said(late, second)) == {"running"}, 10, lambda: late.messages)


def test_what_sys_says_of_a_pin_that_is_over(site):
    """A single device's rollout says how it ended, and leaves no message behind: there may be one for each device."""
    (device,) = site.devices(1)
    watcher = site.client("watcher")
    watcher.subscribe("$SYS/broker/ota/rollout/+")
    site.release("1.5.0")
    pin = site.db.value("SELECT ota.pin_device(%s, '1.5.0', 'for the lab')", device.client_id)
    device.update(device.wait_notice(timeout=10))
    site.wait_rollout(pin, "completed")
    wait_for(lambda: said(watcher, pin)[-2:] == ["completed", None], 10, lambda: watcher.messages)
    late = site.client("late")
    late.subscribe("$SYS/broker/ota/rollout/+")
    stays(lambda: said(late, pin) == [], 1, lambda: late.messages)


def test_revoked_release_is_recalled_everywhere(running):
    site = running.site
    site.db.execute("SELECT ota.revoke_release('1.5.0', 'CVE in the modem')")
    for device in running.told():
        device.wait_recall()
    assert running.state() in ("halted", "cancelled")
    assert site.db.value("SELECT state FROM ota.release WHERE version = '1.5.0'") == "revoked"
    site.db.refused("SELECT ota.start_rollout('default', '1.5.0', 'quick', reason => 'again')")
    stays(lambda: not running.untold()[0].messages, 1)


def test_sleeping_device_of_a_halted_rollout_gets_nothing_when_it_wakes(site):
    """The copy queued in its kept session dies at the broker."""
    running = Running(site, wait="30 seconds")
    sleeper = running.told()[0]
    sleeper.vanish()
    site.wait_device(sleeper.client_id, connected=False)
    site.order("halt", running.rollout, "stop")
    site.wait_rollout(running.rollout, "halted")
    before = len(sleeper.notices())
    sleeper.reboot()
    sleeper.report("IDLE")
    stays(lambda: len(sleeper.notices()) == before, 2, lambda: sleeper.messages)


def test_pinned_device_is_left_alone(site):
    site.quick_plan(wait="1 second")
    site.release("1.5.0")
    devices = site.devices(3)
    wait_for(lambda: site.db.value("SELECT count(*) FROM ota.device WHERE listening AND version = '1.0.0'") == 3, 10)
    site.db.execute("SELECT ota.pin_device('dev-001', '1.0.0', 'in a museum')")
    rollout = site.start_rollout("default", "1.5.0", "quick")
    site.update_all(devices[1:], "1.5.0")
    site.wait_rollout(rollout, "completed")
    assert devices[0].notices() == []
    site.db.execute("SELECT ota.unpin_device('dev-001')")
    assert site.device_row("dev-001")["pinned_version"] is None


def test_pinned_fleet_refuses_other_versions(site):
    site.quick_plan()
    site.release("1.5.0")
    site.device("dev-1")
    site.wait_device("dev-1", version="1.0.0")
    site.db.execute("SELECT ota.pin_fleet('default', '1.0.0', 'trade fair')")
    devices = site.devices(2)
    try:
        site.start_rollout("default", "1.5.0", "quick")
    except Exception as error:
        assert "1.0.0" in str(error) or "pin" in str(error)
    stays(lambda: not any(device.notices() for device in devices), 2)


def test_closed_window_holds_everything_back(site):
    site.quick_plan(wait="1 second")
    site.release("1.5.0")
    devices = site.devices(2)
    wait_for(lambda: site.db.value("SELECT count(*) FROM ota.device WHERE listening AND version = '1.0.0'") == 2, 10)
    # Open for one hour, twelve hours from now.
    site.db.execute("SELECT ota.set_window('default', 'UTC', ARRAY['mon','tue','wed','thu','fri','sat','sun'],"
                    " (now() AT TIME ZONE 'UTC' + interval '12 hours')::time(0),"
                    " (now() AT TIME ZONE 'UTC' + interval '13 hours')::time(0))")
    rollout = site.start_rollout("default", "1.5.0", "quick")
    stays(lambda: not any(device.messages for device in devices), 2.5)
    assert site.rollout(rollout)["state"] in ("running", "scheduled")
    site.db.execute("SELECT ota.clear_windows('default')")
    wait_for(lambda: any(device.notices() for device in devices), 15, lambda: site.describe(rollout))


ORDERS = ["pause", "resume", "halt", "cancel", "advance"]


@pytest.mark.parametrize("order", ORDERS)
def test_orders_for_unknown_rollouts_are_refused(site, order):
    message = site.db.refused(f"SELECT ota.{order}_rollout(4711, 'test')")
    assert "4711" in message


@pytest.mark.parametrize("reason", [None, "", "  "], ids=["null", "empty", "blank"])
def test_orders_without_a_reason_still_name_who(running, reason):
    running.site.order("pause", running.rollout, reason)
    row = running.site.rollout(running.rollout)
    assert row["state"] == "paused" and row["reason"] == "by operator"
    event = running.site.events("rollout", rollout=running.rollout)[-1]
    assert event["detail"]["by"] == "postgres"


def test_revoking_needs_a_reason(site):
    site.release("1.5.0")
    site.db.refused("SELECT ota.revoke_release('1.5.0', '')")
    assert site.db.value("SELECT state FROM ota.release") == "verified"


def test_every_order_names_who_and_why(running):
    site = running.site
    site.order("pause", running.rollout, "look first")
    site.order("resume", running.rollout, "looked")
    site.order("halt", running.rollout, "not good")
    text = " ".join(str(event["detail"]) for event in site.events(rollout=running.rollout))
    for words in ("look first", "looked", "not good", "postgres"):
        assert words in text, text


def test_the_audit_log_cannot_be_rewritten(site):
    site.device("dev-1")
    site.wait_event("status", "dev-1")
    site.db.refused("UPDATE ota.event SET kind = 'nothing'")
    site.db.refused("DELETE FROM ota.event")


@pytest.mark.parametrize("arguments", [("nowhere", "1.5.0", "quick"), ("default", "9.9.9", "quick"),
                                       ("default", "1.5.0", "noplan")], ids=["fleet", "version", "plan"])
def test_rollout_of_something_unknown_is_refused(site, arguments):
    site.quick_plan()
    site.release("1.5.0")
    message = site.db.refused("SELECT ota.start_rollout(%s, %s, %s, reason => 'test')", *arguments)
    unknown = next(word for word in arguments if word in ("nowhere", "9.9.9", "noplan"))
    assert unknown in message


def test_approval_needs_another_person(site):
    running = Running(site, wait="1 second", options={"approval": True})
    for device in running.told():
        device.update(device.notices()[0])
    stays(lambda: len(running.told()) == 2, 3, "the next stage opened without approval")
    site.db.refused("SELECT ota.advance_rollout(%s, 'me again')", running.rollout)
