"""Update windows, pins and gateways: when and what a device may be told, whatever the rollouts say."""

import datetime
import json

import pytest

from harness import stays, wait_for

pytestmark = pytest.mark.usefixtures("plugin")

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def local_now(site, zone):
    """The database's clock, as people in that zone read it."""
    return site.db.value("SELECT now() AT TIME ZONE %s", zone)


def set_window(site, fleet, opens, closes, zone="UTC"):
    """A window between two moments of the next few hours, local time."""
    site.db.execute("SELECT ota.set_window(%s, %s, %s::text[], %s::time, %s::time)", fleet, zone, [DAYS[opens.weekday()]],
                    opens.time(), closes.time())


def hours(number):
    return datetime.timedelta(hours=number)


def close_window(site, fleet, zone="UTC"):
    now = local_now(site, zone)
    set_window(site, fleet, now + hours(3), now + hours(4), zone)


@pytest.mark.brokers
@pytest.mark.parametrize("zone", ["UTC", "Pacific/Auckland", "America/St_Johns"])
def test_nobody_is_told_before_the_window_opens(site, zone):
    device = site.device("dev-1", fleet="pumps")
    site.wait_device("dev-1", listening=True)
    site.release("1.5.0")
    now = local_now(site, zone)
    opens = now.replace(microsecond=0) + hours(1)
    set_window(site, "pumps", opens, opens + hours(1), zone)
    rollout = site.start_rollout("pumps", "1.5.0", site.quick_plan())
    wait_for(lambda: site.progress(rollout)[0]["next_action"] == "wait for the update window", 10, lambda: site.describe(rollout))
    row = site.progress(rollout)[0]
    assert row["next_at"] == site.db.value("SELECT %s::timestamp AT TIME ZONE %s", opens, zone)
    assert site.update_row(rollout, "dev-1")["state"] == "pending" and not device.notices()
    opens = local_now(site, zone).replace(microsecond=0) + datetime.timedelta(seconds=3)
    set_window(site, "pumps", opens, opens + hours(1), zone)
    notice = device.wait_notice(timeout=10)
    assert local_now(site, zone) >= opens
    device.update(notice)
    site.wait_rollout(rollout, "completed")


def test_a_closed_window_times_nobody_out(site):
    device = site.device("dev-1", fleet="pumps")
    site.wait_device("dev-1", listening=True)
    site.release("1.5.0")
    close_window(site, "pumps")
    rollout = site.start_rollout("pumps", "1.5.0", site.quick_plan(download_timeout="1 second", health_timeout="1 second"))
    site.wait_update(rollout, "dev-1", "pending")
    stays(lambda: site.update_row(rollout, "dev-1")["state"] == "pending" and not device.notices(), 3, "it waits")
    assert site.db.value("SELECT ota.clear_windows('pumps')") == 1
    device.wait_notice(timeout=5)


def test_told_again_only_in_a_window(site):
    """A device that vanished after its notice comes back when the window has closed."""
    device = site.device("dev-1", fleet="pumps")
    site.wait_device("dev-1", listening=True)
    site.release("1.5.0")
    rollout = site.start_rollout("pumps", "1.5.0", site.quick_plan(download_timeout="6 seconds"))
    device.wait_notice()
    site.wait_update(rollout, "dev-1", "notified")
    device.vanish()
    site.wait_device("dev-1", connected=False)
    close_window(site, "pumps")
    again = site.device("dev-1", fleet="pumps")
    site.wait_device("dev-1", listening=True)
    stays(lambda: site.update_row(rollout, "dev-1")["state"] == "notified" and not again.notices(), 8, "beyond its deadline it waits")
    site.db.execute("SELECT ota.clear_windows('pumps')")
    again.update(again.wait_notice(timeout=8))
    site.wait_rollout(rollout, "completed")


@pytest.mark.parametrize("counts", [True, False])
def test_a_wait_over_closed_hours(site, counts):
    devices = site.devices(2, fleet="pumps")
    for device in devices:
        site.wait_device(device.client_id, listening=True)
    site.release("1.5.0")
    rollout = site.start_rollout("pumps", "1.5.0", site.quick_plan(wait="3 seconds", options={"count_closed_hours": counts}))
    first = wait_for(lambda: [one for one in devices if one.notices()], 10, lambda: site.describe(rollout))[0]
    close_window(site, "pumps")
    first.update(first.notices()[0])
    if counts:
        # The wait runs out and the last stage opens; its device waits for the window.
        wait_for(lambda: site.progress(rollout)[0]["label"] == "full", 10, lambda: site.describe(rollout))
    else:
        stays(lambda: site.progress(rollout)[0]["label"] == "some", 5, "the clock stands still")
    wait_for(lambda: site.progress(rollout)[0]["next_action"] == "wait for the update window", 3, lambda: site.describe(rollout))
    other = next(one for one in devices if one is not first)
    assert not other.notices()
    site.db.execute("SELECT ota.clear_windows('pumps')")
    other.update(other.wait_notice(timeout=10))
    site.wait_rollout(rollout, "completed")


def test_nobody_is_told_in_a_blackout(site):
    device = site.device("dev-1", fleet="pumps")
    site.wait_device("dev-1", listening=True)
    site.release("1.5.0")
    until = site.db.value("SELECT now() + interval '1 hour'")
    blackout = site.db.value("SELECT ota.add_blackout(NULL, now() - interval '1 day', %s, 'peak')", until)
    rollout = site.start_rollout("pumps", "1.5.0", site.quick_plan())
    wait_for(lambda: site.progress(rollout)[0]["next_action"] == "wait for the end of the blackout", 3, lambda: site.describe(rollout))
    assert site.progress(rollout)[0]["next_at"].replace(microsecond=0) == until.replace(microsecond=0)
    # An end that comes by itself, and one by hand that comes later.
    soon = site.db.value("SELECT ota.add_blackout('pumps', now() - interval '1 day', now() + interval '5 seconds', 'short')")
    site.db.execute("SELECT ota.remove_blackout(%s, 'shorter')", blackout)
    end = site.db.value("SELECT until_at FROM ota.blackout WHERE blackout_id = %s", soon)
    assert site.update_row(rollout, "dev-1")["state"] == "pending" and not device.notices()
    device.wait_notice(timeout=10)
    assert site.db.value("SELECT now()") >= end


def test_an_emergency_does_not_wait_for_the_window(site):
    device = site.device("dev-1", fleet="pumps")
    site.wait_device("dev-1", listening=True)
    site.release("1.5.0")
    close_window(site, "pumps")
    rollout = site.start_rollout("pumps", "1.5.0", site.quick_plan(), reason="emergency: exploited in the field")
    device.update(device.wait_notice(timeout=5))
    site.wait_rollout(rollout, "completed")


@pytest.mark.brokers
def test_a_pinned_device_goes_its_own_way(site):
    """While the fleet gets 1.5.0, one device goes to 1.4.0 at once, outside the window, and then follows the fleet again."""
    devices = site.devices(3, fleet="pumps")
    for device in devices:
        site.wait_device(device.client_id, listening=True)
    site.release("1.4.0")
    site.release("1.5.0")
    close_window(site, "pumps")
    rollout = site.start_rollout("pumps", "1.5.0", site.quick_plan())
    pin = site.db.value("SELECT ota.pin_device('dev-001', '1.4.0', 'bisecting a fault')")
    notice = devices[0].wait_notice(timeout=5)
    assert (notice["version"], notice["rollout"], notice["stage"]) == ("1.4.0", pin, "pin")
    devices[0].update(notice)
    site.wait_update(pin, "dev-001", "succeeded")
    site.wait_rollout(pin, "completed")
    assert not devices[1].notices() and not devices[2].notices()
    site.db.execute("SELECT ota.clear_windows('pumps')")
    site.update_all(devices[1:], "1.5.0")
    site.wait_rollout(rollout, "completed")
    assert len(devices[0].notices()) == 1 and site.device_row("dev-001")["version"] == "1.4.0"
    site.db.execute("SELECT ota.unpin_device('dev-001')")
    site.update_all(devices, "1.5.0")
    assert site.device_row("dev-001")["pinned_version"] is None


def test_a_pin_takes_back_what_was_told(site):
    device = site.device("dev-1", fleet="pumps")
    site.wait_device("dev-1", listening=True)
    site.release("1.5.0")
    site.release("1.6.0")
    rollout = site.start_rollout("pumps", "1.5.0", site.quick_plan())
    device.wait_notice()
    site.wait_update(rollout, "dev-1", "notified")
    pin = site.db.value("SELECT ota.pin_device('dev-1', '1.6.0', 'needs the fix')")
    notice = device.wait_notice(2)
    assert notice["version"] == "1.6.0" and site.update_row(rollout, "dev-1")["error"] == "PINNED"
    device.update(notice)
    site.wait_rollout(pin, "completed")


def test_a_pin_that_fails_is_halted_and_can_be_set_again(site):
    device = site.device("dev-1", fleet="pumps")
    site.wait_device("dev-1", listening=True)
    site.release("1.5.0")
    pin = site.db.value("SELECT ota.pin_device('dev-1', '1.5.0', 'try')")
    device.wait_notice()
    device.report("FAILED", error="HASH_MISMATCH")
    site.wait_rollout(pin, "halted")
    again = site.db.value("SELECT ota.pin_device('dev-1', '1.5.0', 'try again')")
    device.wait_notice(2)
    device.report("REJECTED")
    site.wait_rollout(again, "halted")
    assert "rejected" in site.rollout(again)["reason"] and site.rollout(pin)["state"] == "superseded"


def test_a_pin_waits_for_a_device_that_is_away(site):
    device = site.device("dev-1", fleet="pumps")
    site.wait_device("dev-1", listening=True)
    device.disconnect()
    site.wait_device("dev-1", connected=False)
    site.release("1.5.0")
    pin = site.db.value("SELECT ota.pin_device('dev-1', '1.5.0', 'try')")
    site.wait_update(pin, "dev-1", "pending")
    device = site.device("dev-1", fleet="pumps")
    device.update(device.wait_notice())
    site.wait_rollout(pin, "completed")


def test_a_pinned_fleet_is_brought_to_its_version(site):
    devices = site.devices(2, fleet="pumps")
    for device in devices:
        site.wait_device(device.client_id, listening=True)
    site.release("1.5.0")
    site.release("1.6.0")
    site.plan("standard", ("some", 50, "1 second"), ("full", 100, "0"), options={"pacing": "none"})
    running = site.start_rollout("pumps", "1.6.0", site.quick_plan(wait="1 hour"))
    wait_for(lambda: any(one.notices() for one in devices), 10, lambda: site.describe(running))
    rollout = site.db.value("SELECT ota.pin_fleet('pumps', '1.5.0', 'certified')")
    assert site.rollout(running)["state"] == "superseded"
    site.update_all(devices, "1.5.0")
    site.wait_rollout(rollout, "completed")
    assert "pinned" in site.db.refused("SELECT ota.start_rollout('pumps', '1.6.0', 'quick')")


class Hub:
    """A gateway and the beacons behind it."""

    def __init__(self, site, name="hub-1", beacons=("beacon-1", "beacon-2"), assign=True):
        self.site = site
        self.name = name
        self.versions = dict.fromkeys(beacons, "1.0.0")
        for beacon in beacons if assign else ():
            site.db.execute("SELECT ota.assign_gateway(%s, %s)", beacon, name)
        self.client = site.client(name, clean=False)
        self.client.subscribe("devices/+/ota/available")
        # The broker hears of a gateway within a second; until then its reports are refused.
        self.wait_accepted()

    def wait_accepted(self):
        def all_known():
            for beacon in self.versions:
                self.report(beacon)
            return all((self.site.device_row(beacon) or {}).get("listening") for beacon in self.versions)

        wait_for(all_known, 10, lambda: self.site.db.rows("SELECT * FROM ota.device"), every=0.3)

    def report(self, beacon, status=None, **members):
        body = {"version": self.versions[beacon], **members}
        if status:
            body["status"] = status
        self.client.publish(f"devices/{beacon}/ota/status", body)

    def notices(self, beacon):
        return [json.loads(payload) for topic, payload, _ in list(self.client.messages) if topic == f"devices/{beacon}/ota/available"]


@pytest.mark.brokers
@pytest.mark.memory
@pytest.mark.parametrize("boots", [True, False], ids=["bootId", "REBOOTING"])
def test_devices_behind_a_gateway_are_updated_one_after_the_other(site, boots):
    hub = Hub(site)
    site.release("1.5.0")
    rollout = site.start_rollout("default", "1.5.0", site.quick_plan(health_timeout="30 seconds"))
    for number in (1, 2):
        wait_for(lambda: sum(len(hub.notices(beacon)) for beacon in hub.versions) == number, 10, lambda: site.describe(rollout))
        beacon = next(one for one in hub.versions if hub.notices(one) and hub.versions[one] == "1.0.0")
        boot = {"bootId": "before"} if boots else {}
        for status in ("DOWNLOADING", "VERIFYING", "APPLYING"):
            hub.report(beacon, status, **boot)
        # It says that it is done, but nobody has seen it reboot.
        hub.versions[beacon] = "1.5.0"
        hub.report(beacon, "SUCCESS", **boot)
        site.wait_update(rollout, beacon, "rebooting")
        hub.report(beacon, "SUCCESS", **boot)
        stays(lambda: site.update_row(rollout, beacon)["state"] == "rebooting" and
              sum(len(hub.notices(one)) for one in hub.versions) == number, 1.5, "no success without a reboot, no second device")
        if not boots:
            hub.report(beacon, "REBOOTING")
        hub.report(beacon, "SUCCESS", **({"bootId": "after"} if boots else {}))
        site.wait_update(rollout, beacon, "succeeded")
    site.wait_rollout(rollout, "completed")
    assert site.device_row("hub-1") is None, "a gateway that is no device is not enrolled"


def test_devices_go_and_come_with_their_gateway(site):
    hub = Hub(site, beacons=("beacon-1",))
    hub.client.disconnect()
    site.wait_device("beacon-1", connected=False, listening=False)
    site.release("1.5.0")
    rollout = site.start_rollout("default", "1.5.0", site.quick_plan())
    stays(lambda: site.update_row(rollout, "beacon-1") is None or site.update_row(rollout, "beacon-1")["state"] == "pending", 1)
    hub.client.reconnect()
    hub.report("beacon-1")
    site.wait_device("beacon-1", connected=True, listening=True)
    site.wait_update(rollout, "beacon-1", "notified")
    # Told, and the gateway vanishes: told again when it is back.
    wait_for(lambda: hub.notices("beacon-1"), 5)
    hub.client.vanish()
    site.wait_device("beacon-1", connected=False)
    hub.client.reconnect()
    hub.report("beacon-1")
    wait_for(lambda: len(hub.notices("beacon-1")) >= 2, 10, lambda: site.describe(rollout))
    assert site.update_row(rollout, "beacon-1")["attempt"] == 1


def test_a_gateway_cannot_speak_for_anothers_device(site):
    Hub(site)
    thief = Hub(site, name="hub-2", beacons=("beacon-3",))
    thief.versions["beacon-1"] = "6.6.6"
    thief.report("beacon-1")
    thief.report("beacon-1", "SUCCESS")
    wait_for(lambda: site.db.rows("SELECT * FROM ota.denied WHERE client = 'hub-2' AND reason LIKE '%%not the gateway%%'"), 10)
    assert site.device_row("beacon-1")["version"] == "1.0.0"
    thief.client.disconnect()
    site.wait_device("beacon-3", connected=False)
    assert site.device_row("beacon-1")["connected"], "nor end its session"
    # Once its devices are given away it is no gateway any more.
    site.db.execute("SELECT ota.assign_gateway('beacon-3', NULL)")
    stranger = site.client("hub-2")
    wait_for(lambda: stranger.publish("devices/beacon-3/ota/status", {"version": "7.7.7"}) and
             site.db.rows("SELECT * FROM ota.denied WHERE client = 'hub-2' AND reason LIKE '%%itself only%%'"), 10, every=0.3)
    assert site.device_row("beacon-3")["version"] == "1.0.0"


def test_a_recall_goes_through_the_gateway(site):
    hub = Hub(site, beacons=("beacon-1",))
    site.release("1.5.0")
    rollout = site.start_rollout("default", "1.5.0", site.quick_plan())
    wait_for(lambda: hub.notices("beacon-1"), 10, lambda: site.describe(rollout))
    site.order("halt", rollout)
    wait_for(lambda: hub.notices("beacon-1")[-1].get("action") == "cancel", 5, lambda: hub.client.messages)
