"""One device's way through an update: what counts as success, what as failure, and what as neither."""

import time

import pytest

from harness import stays, wait_for

pytestmark = pytest.mark.usefixtures("plugin")


class Told:
    """A running rollout, and the device that was told first."""

    def __init__(self, site, devices=2, wait="20 seconds", **settings):
        self.site = site
        options = {"early_halt": False, **settings.pop("options", {})}
        site.quick_plan(wait=wait, options=options, **settings)
        site.release("1.5.0")
        self.devices = site.devices(devices)
        wait_for(lambda: site.db.value("SELECT count(*) FROM ota.device WHERE listening AND version = '1.0.0'") == devices, 10)
        self.rollout = site.start_rollout("default", "1.5.0", "quick")
        self.device = wait_for(lambda: next((one for one in self.devices if one.notices()), None), 10,
                               lambda: site.describe(self.rollout))
        self.notice = self.device.notices()[0]

    def row(self):
        return self.site.update_row(self.rollout, self.device.client_id)

    def wait(self, *states, timeout=15):
        return self.site.wait_update(self.rollout, self.device.client_id, states, timeout)

    def report(self, status, **members):
        self.device.report(status, attempt=self.notice["attempt"], **members)


@pytest.fixture
def told(site):
    return Told(site)


@pytest.mark.memory
def test_every_step_is_in_the_table(told):
    for status, state in (("DOWNLOADING", "downloading"), ("VERIFYING", "verifying"), ("APPLYING", "applying"),
                          ("REBOOTING", "rebooting")):
        told.report(status)
        told.wait(state)
    told.device.reboot("1.5.0")
    told.device.report("SUCCESS")
    row = told.wait("succeeded")
    assert row["finished_at"] and row["notified_at"] and row["attempt"] == 1


def test_who_speaks_only_at_the_end_is_told_again_after_its_reboot_and_succeeds(told):
    """Its health check takes longer than the moment in which a device that is back may show that it has started."""
    told.device.reboot("1.5.0")
    assert told.device.wait_notice(2)["attempt"] == told.notice["attempt"]
    told.report("SUCCESS")
    told.wait("succeeded")


@pytest.mark.parametrize("status", ["success", "Success"])
def test_success_in_any_letter_case(told, status):
    told.device.install(told.notice)
    told.device.report(status)
    told.wait("succeeded")


def test_a_device_that_only_knows_the_first_members(told):
    """It reports nothing until it is done, and then only version and status."""
    told.device.reboot("1.5.0")
    told.device.publish(told.device.status_topic, {"version": "1.5.0", "status": "SUCCESS"})
    told.wait("succeeded")


def test_success_before_the_reboot_is_not_believed(told):
    told.report("DOWNLOADING")
    told.report("APPLYING")
    told.device.report("SUCCESS", version="1.5.0")
    stays(lambda: told.row()["state"] != "succeeded", 1.5, lambda: told.row())
    told.device.reboot("1.5.0")
    told.device.report("SUCCESS")
    told.wait("succeeded")


def test_success_without_a_reboot_where_none_is_needed(site):
    told = Told(site, options={"reboot": False})
    told.report("DOWNLOADING")
    told.device.version = "1.5.0"
    told.report("SUCCESS")
    told.wait("succeeded")


def test_success_with_another_version_is_not_believed(told):
    told.device.install(told.notice)
    told.device.report("SUCCESS", version="1.4.9")
    stays(lambda: told.row()["state"] != "succeeded", 1, lambda: told.row())


def test_old_version_after_applying_is_rolled_back(told):
    told.report("DOWNLOADING")
    told.report("APPLYING")
    told.device.reboot()
    told.device.report("IDLE")
    told.wait("rolled_back")


def test_rolled_back_by_its_own_word(told):
    told.report("APPLYING")
    told.device.reboot()
    told.device.report("ROLLED_BACK", error="HEALTH_CHECK")
    row = told.wait("rolled_back")
    assert row["error"] == "HEALTH_CHECK"


def test_failed_keeps_its_error(told):
    told.device.fail(told.notice, "NO_SPACE")
    row = told.wait("failed")
    assert row["error"] == "NO_SPACE" and row["finished_at"]


def test_silence_after_the_notice_times_out(site):
    told = Told(site, download_timeout="1 second", health_timeout="1 second")
    row = told.wait("timed_out")
    assert row["finished_at"]


def test_silence_after_the_reboot_times_out_by_the_health_timeout(site):
    told = Told(site, download_timeout="1 hour", health_timeout="1 second")
    told.report("DOWNLOADING")
    told.report("APPLYING")
    told.report("REBOOTING")
    told.device.vanish()
    told.wait("timed_out")


def test_a_device_that_downloads_slowly_is_not_timed_out_by_the_health_timeout(site):
    told = Told(site, download_timeout="1 hour", health_timeout="1 second")
    told.report("DOWNLOADING", progress=10)
    told.wait("downloading")
    stays(lambda: told.row()["state"] == "downloading", 2.5, lambda: told.row())


def test_many_boots_are_a_boot_loop(told):
    told.report("APPLYING")
    told.report("REBOOTING")
    for _ in range(12):
        told.device.reboot()
        time.sleep(0.3)  # the broker takes what comes and goes within a moment for one visit
        if told.row()["state"] == "failed":
            break
    row = told.wait("failed")
    assert row["error"] == "BOOT_LOOP"


def test_rejected_is_never_asked_again(told):
    told.report("REJECTED", error="PINNED_BY_USER")
    row = told.wait("rejected")
    assert row["error"] == "PINNED_BY_USER"
    told.device.reboot()
    told.device.report("IDLE")
    stays(lambda: len(told.device.notices()) == 1, 2)
    assert told.site.rollout(told.rollout)["state"] == "running"


def test_deferred_is_asked_again_after_its_time(told):
    told.report("DEFERRED", retryAfter=1)
    again = told.device.wait_notice(2, 10)
    assert again["version"] == "1.5.0"
    assert told.site.stages(told.rollout)[0]["failed"] == 0, "waiting is not a failure"
    told.device.update(again)
    told.wait("succeeded")


def test_retry_after_a_failure(site):
    told = Told(site, retries=1)
    told.device.fail(told.notice)
    again = told.device.wait_notice(2, 15)
    assert again["attempt"] == 2
    told.device.update(again)
    row = told.wait("succeeded")
    assert row["attempt"] == 2


def test_no_retry_without_retries(site):
    told = Told(site, devices=4, success_threshold=0.5)
    told.device.fail(told.notice)
    told.wait("failed")
    stays(lambda: len(told.device.notices()) == 1, 1.5)


def test_late_report_of_an_old_attempt_changes_nothing(site):
    told = Told(site, retries=1)
    told.device.fail(told.notice)
    told.device.wait_notice(2, 15)
    told.device.report("FAILED", error="LATE", attempt=1)
    stays(lambda: told.row()["state"] in ("notified", "pending"), 1, lambda: told.row())


def test_operator_retries_one_device(site):
    told = Told(site, devices=4, success_threshold=0.5)
    told.device.fail(told.notice)
    told.wait("failed")
    told.site.db.execute("SELECT ota.retry_device(%s, %s, 'fixed the card')", told.rollout, told.device.client_id)
    again = told.device.wait_notice(2, 15)
    told.device.update(again)
    told.wait("succeeded")


def test_duplicate_reports_change_nothing(told):
    told.device.install(told.notice)
    for _ in range(5):
        told.device.report("SUCCESS")
    told.wait("succeeded")
    stage = told.site.stages(told.rollout)[0]
    assert stage["succeeded"] == 1 and stage["failed"] == 0


def test_unsolicited_success_is_only_a_version(site):
    """A device that nobody told reports an update: that is a report, not a result of the rollout."""
    told = Told(site, devices=2)
    other = next(one for one in told.devices if one is not told.device)
    other.reboot("9.9.9")
    other.report("SUCCESS")
    site.wait_device(other.client_id, version="9.9.9")
    assert site.stages(told.rollout)[0]["succeeded"] == 0


def test_device_already_on_the_version_is_not_told(site):
    site.quick_plan()
    site.release("1.5.0")
    updated = site.device("dev-new", version="1.5.0")
    others = site.devices(2)
    wait_for(lambda: site.db.value("SELECT count(*) FROM ota.device WHERE listening AND version IS NOT NULL") == 3, 10)
    rollout = site.start_rollout("default", "1.5.0", "quick")
    site.update_all(others, "1.5.0")
    site.wait_rollout(rollout, "completed")
    assert updated.notices() == []


def test_late_device_is_served_by_the_last_open_stage(site):
    """It was away during its stage; it neither blocked nor failed it, and is told when it comes."""
    site.quick_plan(wait="1 second", first=50)
    site.release("1.5.0")
    devices = site.devices(3)
    away = site.device("dev-away")
    wait_for(lambda: site.db.value("SELECT count(*) FROM ota.device WHERE listening AND version = '1.0.0'") == 4, 10)
    away.disconnect()
    site.wait_device("dev-away", connected=False)
    rollout = site.start_rollout("default", "1.5.0", "quick")
    site.update_all(devices, "1.5.0")
    wait_for(lambda: site.stages(rollout)[1]["opened_at"], 15, lambda: site.describe(rollout))
    assert site.update_row(rollout, "dev-away") is None or site.update_row(rollout, "dev-away")["state"] == "pending"
    away.reboot()
    away.report("IDLE")
    away.update(away.wait_notice(1, 15))
    site.wait_update(rollout, "dev-away", "succeeded")


def test_device_that_appears_during_the_rollout(site):
    site.quick_plan(wait="1 second")
    site.release("1.5.0")
    devices = site.devices(2)
    wait_for(lambda: site.db.value("SELECT count(*) FROM ota.device WHERE listening AND version = '1.0.0'") == 2, 10)
    rollout = site.start_rollout("default", "1.5.0", "quick")
    site.update_all(devices, "1.5.0")
    new = site.device("dev-new")
    new.update(new.wait_notice(1, 20))
    site.wait_update(rollout, "dev-new", "succeeded")


def test_anti_rollback_by_sequence(site):
    """A device that ran sequence 20 is never given sequence 10, whatever the version text says."""
    site.quick_plan()
    site.release("3.0.0", sequence=10)
    site.release("2.0.0", sequence=20)
    site.db.execute("INSERT INTO ota.device (device_id, fleet, version, sequence) VALUES ('dev-1', 'default', '2.0.0', 20),"
                    " ('dev-2', 'default', '2.0.0', 20), ('dev-3', 'default', '1.0.0', 1), ('dev-4', 'default', '1.0.0', 1)")
    devices = [site.device("dev-1", version="2.0.0"), site.device("dev-2", version="2.0.0")]
    for device in devices:
        site.wait_device(device.client_id, listening=True)
    try:
        site.start_rollout("default", "3.0.0", "quick")
    except Exception:
        return
    stays(lambda: not any(device.notices() for device in devices), 2.5)
