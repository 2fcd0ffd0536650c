"""After a halt devices that run the halted release are returned to the one that the plan names."""

import threading
import time

import pytest

from harness import Database, stays, wait_for

pytestmark = pytest.mark.usefixtures("plugin")


def prepare(site, count=4, **settings):
    """Devices on 1.0.0, 1.5.0 to roll out, and 1.0.1 with a higher sequence to return to."""
    site.release("1.5.0")
    site.release("1.0.1")
    devices = site.devices(count)
    wait_for(lambda: site.db.value("SELECT count(*) FROM ota.device WHERE listening AND version = '1.0.0'") == count, 10)
    options = {"fallback": "1.0.1", **settings.pop("options", {})}
    plan = site.quick_plan(options=options, **settings)
    return devices, site.start_rollout("default", "1.5.0", plan)


def wait_fallback(site, rollout, timeout=10):
    return wait_for(lambda: site.progress(rollout)[0]["fallback"], timeout, lambda: site.describe(rollout))


@pytest.mark.brokers
@pytest.mark.memory
def test_a_halt_brings_devices_back(site):
    devices, rollout = prepare(site)
    told = wait_for(lambda: len(found := [one for one in devices if one.notices()]) == 2 and found, 15, lambda: site.describe(rollout))
    others = [one for one in devices if one not in told]
    told[0].update(told[0].notices()[0])
    told[1].fail(told[1].notices()[0], "NO_GPS")
    reason = site.wait_rollout(rollout, "halted")["reason"]
    fallback = wait_fallback(site, rollout)
    notice = told[0].wait_notice(2)
    assert (notice["version"], notice["rollout"]) == ("1.0.1", fallback)
    row = site.rollout(fallback)
    assert row["reason"] == f"fallback of rollout {rollout}: {reason}" and row["fallback_of"] == rollout
    told[0].update(notice)
    site.wait_rollout(fallback, "completed")
    assert site.rollout(rollout)["state"] == "halted" and site.device_row(told[0].client_id)["version"] == "1.0.1"
    assert not any(one.notices() for one in others) and len(told[1].notices()) == 1, "who does not run it is left alone"
    assert site.events("fallback", rollout=rollout)[0]["detail"]["by"] == "controller"
    # Somebody had been on the way all the time.
    late = others[0]
    late.reboot("1.5.0")
    late.report("SUCCESS")
    notice = late.wait_notice()
    assert (notice["version"], notice["rollout"]) == ("1.0.1", fallback)
    late.update(notice)
    site.wait_update(fallback, late.client_id, "succeeded")


def test_a_fallback_outlives_the_broker(site):
    """Halted while a device applies; the broker is killed, the device comes up on the halted release, and is returned."""
    devices, rollout = prepare(site, wait="1 hour")
    told = wait_for(lambda: [one for one in devices if one.notices()], 15, lambda: site.describe(rollout))[0]
    for status in ("DOWNLOADING", "VERIFYING", "APPLYING"):
        told.report(status)
    site.wait_update(rollout, told.client_id, "applying")
    site.order("halt", rollout, "smoke")
    stays(lambda: site.progress(rollout)[0]["fallback"] is None, 2, "there is nobody to return yet")
    assert site.rollout(rollout)["next_action"].startswith("returns devices to 1.0.1 when one runs 1.5.0")
    for device in devices:
        device.vanish()
    site.broker.kill()
    site.broker.start()
    site.wait_ready()
    told.reboot("1.5.0")
    told.report("SUCCESS")
    notice = told.wait_notice(2, timeout=20)
    assert notice["version"] == "1.0.1" and notice["rollout"] == wait_fallback(site, rollout)
    told.update(notice)
    site.wait_update(notice["rollout"], told.client_id, "succeeded")
    assert f"rollout {notice['rollout']} of fleet \"default\" is active" in site.db.refused("SELECT ota.resume_rollout(%s, 'no')", rollout)


def test_without_a_way_back_it_says_why(site):
    devices, rollout = prepare(site, count=2)
    told = wait_for(lambda: [one for one in devices if one.notices()], 15, lambda: site.describe(rollout))[0]
    told.update(told.notices()[0])
    site.db.execute("SELECT ota.revoke_release('1.0.1', 'burns')")
    site.order("halt", rollout, "smoke")
    assert site.rollout(rollout)["next_action"].startswith("no return to 1.0.1: release 1.0.1 is revoked, not verified: burns;")
    stays(lambda: site.progress(rollout)[0]["fallback"] is None, 2)
    site.release("1.0.2")
    fallback = site.db.value("SELECT ota.start_fallback(%s, 'by hand', '1.0.2')", rollout)
    notice = told.wait_notice(2)
    assert (notice["version"], notice["rollout"]) == ("1.0.2", fallback)
    told.update(notice)
    site.wait_rollout(fallback, "completed")


def test_the_way_back_and_a_revocation_take_turns(site):
    """Both take the release before its rollouts: neither is ended for a deadlock."""
    site.release("1.5.0")
    site.release("1.0.1")
    site.device("dev-001")
    plan = site.quick_plan()
    rollout = site.start_rollout("default", "1.5.0", plan)
    site.wait_rollout(rollout, "running")
    site.order("halt", rollout)
    result = []
    with Database(site.db.server, site.db.name) as revoking, Database(site.db.server, site.db.name) as returning:
        revoking.execute("BEGIN")
        revoking.execute("SELECT 1 FROM ota.release WHERE version = '1.0.1' FOR UPDATE")
        waiting = threading.Thread(target=lambda: result.append(returning.refused("SELECT ota.start_fallback(%s, 'x', '1.0.1')", rollout)))
        waiting.start()
        try:
            wait_for(lambda: site.db.value("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'SELECT ota.start_fallback%%'"
                                           " AND datname = %s", site.db.name) == 1, 10, "it waits for the release")
            revoking.execute("SELECT 1 FROM ota.rollout ORDER BY rollout_id FOR UPDATE NOWAIT")
            revoking.execute("SELECT ota.revoke_release('1.0.1', 'burns')")
        finally:
            revoking.execute("COMMIT")
            waiting.join(20)
    assert result == [f"rollout {rollout} has no way back to 1.0.1: release 1.0.1 is revoked, not verified: burns"]


def test_a_way_back_that_fails_says_why_and_is_tried_again(site):
    """Somebody's own trigger refuses its row: said in the log, the agenda and the audit log, with growing pauses, until it works."""
    devices, rollout = prepare(site, count=2, wait="1 hour")
    told = wait_for(lambda: [one for one in devices if one.notices()], 15, lambda: site.describe(rollout))[0]
    told.update(told.notices()[0])
    site.wait_update(rollout, told.client_id, "succeeded")
    site.db.execute("CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'not on a Friday' USING ERRCODE = '23514'; END $$")
    site.db.execute("CREATE TRIGGER refuse BEFORE INSERT ON ota.rollout FOR EACH ROW WHEN (NEW.fallback_of IS NOT NULL) EXECUTE FUNCTION public.refuse()")
    site.order("halt", rollout, "smoke")
    said = wait_for(lambda: site.db.row("SELECT what, at > now() AS ahead FROM ota.agenda WHERE rollout_id = %s AND what LIKE 'cannot go on: %%'", rollout), 10,
                    lambda: site.describe(rollout))
    assert "not on a Friday" in said["what"] and said["ahead"], said
    # The others are not held up by it.
    other = site.device("dev-other", fleet="other")
    site.wait_device("dev-other", listening=True)
    site.start_rollout("other", "1.0.1", site.quick_plan("plain"))
    other.wait_notice()
    time.sleep(4)
    lines = site.broker.log_lines("cannot go on, tried again in .*not on a Friday")
    assert 2 <= len(lines) <= 4, lines  # after 1, 2 and 4 s
    assert len(site.events("rollout_trouble", rollout=rollout)) == 1, "the same trouble is written down once"
    site.db.execute("DROP TRIGGER refuse ON ota.rollout")
    fallback = wait_fallback(site, rollout, 15)
    assert site.rollout(rollout)["next_action"].startswith(f"rollout {fallback} returns devices")
    assert told.wait_notice(2)["rollout"] == fallback
