"""Pins: one device goes at once, a fleet in stages, and backwards only by a manifest with a higher sequence."""

import pytest

from harness import stays, those_told, wait_for

pytestmark = pytest.mark.usefixtures("plugin")


def test_a_device_at_once_and_a_fleet_in_stages(site):
    devices = site.listening_devices("pumps", 6)
    site.release("1.4.0")
    site.release("1.5.0")
    site.plan("careful", ("half", 50, "1 hour"), ("all", 100, "0 s"))  # slow start: one device first
    rollout = site.db.value("SELECT ota.pin_fleet('pumps', '1.5.0', 'certified', 'careful')")
    wait_for(lambda: len(those_told(devices)) == 1, 15, lambda: site.describe(rollout))
    drawn = site.db.column("SELECT device_id FROM ota.device_update WHERE rollout_id = %s", rollout)
    assert len(drawn) == 3
    single = next(device for device in devices if device.client_id not in drawn)
    pin = site.db.value("SELECT ota.pin_device(%s, '1.4.0', 'needed in the lab')", single.client_id)
    notice = single.wait_notice(timeout=5)
    assert (notice["version"], notice["rollout"], notice["stage"]) == ("1.4.0", pin, "pin")
    # Its own pin goes before its fleet's; the fleet goes on in its stages.
    single.update(notice)
    site.wait_rollout(pin, "completed")
    canaries = [device for device in devices if device.client_id in drawn]
    others = [device for device in devices if device is not single]
    site.update_all(canaries, "1.5.0")
    stays(lambda: len(those_told(others)) == 3, 2, "half of the fleet is told, no more")
    assert site.rollout(rollout)["state"] == "running" and site.device_row(single.client_id)["version"] == "1.4.0"
    site.order("advance", rollout, "they are well")
    site.update_all(others, "1.5.0")
    site.wait_rollout(rollout, "completed")
    assert len(single.notices()) == 1, "the pinned device is told of nothing else"
    # Nothing else goes to either of them.
    site.release("1.6.0")
    code, message, hint = site.db.refusal("SELECT ota.start_rollout('pumps', '1.6.0', 'careful')")
    assert code == "55000" and message == 'fleet "pumps" is pinned to 1.5.0' and "Unpin" in hint
    # The version that they run already needs no rollout.
    assert site.db.value("SELECT ota.pin_device(%s, '1.4.0', 'still')", single.client_id) is None


@pytest.mark.parametrize("what", ["device", "fleet"])
def test_back_only_by_a_higher_sequence(site, what):
    devices = site.listening_devices("pumps", 2)
    site.release("1.0.0", sequence=10)
    site.release("2.0.0", sequence=20)
    plan = site.quick_plan(wait="0 s")
    site.wait_rollout(site.start_rollout("pumps", "2.0.0", plan), "running")
    site.update_all(devices, "2.0.0")
    for device in devices:
        site.wait_device(device.client_id, version="2.0.0", sequence=20)

    def pin(version):
        return (("SELECT ota.pin_device('dev-001', %s, 'crashes')", version) if what == "device"
                else ("SELECT ota.pin_fleet('pumps', %s, 'crashes', 'quick')", version))

    code, message, hint = site.db.refusal(*pin("1.0.0"))
    assert code == "55000" and "has run sequence 20, the release has 10" in message, message
    assert "higher sequence" in hint or "sequence above 20" in hint, hint
    assert "sign the old binary as a new release" in hint
    assert site.device_row("dev-001")["pinned_version"] is None and not site.db.value("SELECT pinned_version FROM ota.fleet WHERE fleet = 'pumps'")
    # The old binary again, signed as a release of its own.
    old = site.manifest("1.0.0", sequence=10)
    site.release("1.0.1", sequence=21, url=old["url"], sha256=old["sha256"])
    rollout = site.db.value(*pin("1.0.1"))
    concerned = devices[:1] if what == "device" else devices
    site.update_all(concerned, "1.0.1")
    site.wait_rollout(rollout, "completed")
    assert [device.version for device in devices] == ["1.0.1", "2.0.0" if what == "device" else "1.0.1"]
    assert devices[0].notices()[-1]["url"] == old["url"]
    # And again forwards the same way: 2.0.0 has become too old for who went back.
    code, message, _ = site.db.refusal("SELECT ota.pin_device('dev-001', '2.0.0', 'and forth')")
    assert code == "55000" and "has run sequence 21, the release has 20" in message
