"""The main job: stages, verdicts, and exact cohorts."""

import json

import pytest

from harness import manifest_of, stays, wait_for

pytestmark = pytest.mark.usefixtures("plugin")

FOUR = (("canary", 10, "1 second"), ("early", 30, "1 second"), ("majority", 60, "1 second"), ("full", 100, "1 second"))


def fleet_arguments(site):
    return {"trusted_key": str(next(site.keys.folder.iterdir())), "verify": "manifest"}


@pytest.mark.brokers
def test_good_release_goes_through_four_stages(site, fleet):
    site.plan("four", *FOUR)
    site.release("2.0.0", **fleet.image("2.0.0"))
    run = fleet.start(site.broker, 40, until_version="2.0.0", **fleet_arguments(site))
    wait_for(lambda: site.db.value("SELECT count(*) FROM ota.device WHERE listening AND version = '1.0.0'") == 40, 20,
             lambda: site.db.rows("SELECT * FROM ota.fleet_versions"))
    rollout = site.start_rollout("default", "2.0.0", "four")
    row = site.wait_rollout(rollout, "completed", 60)
    assert row["started_at"] and row["finished_at"]
    stages = site.stages(rollout)
    assert [stage["label"] for stage in stages] == ["canary", "early", "majority", "full"]
    assert [stage["cohort"] for stage in stages] == [4, 12, 24, 40]
    assert all(stage["state"] == "passed" and stage["verdict"] for stage in stages), stages
    for before, after in zip(stages, stages[1:]):
        assert before["closed_at"] <= after["opened_at"]
        assert (before["closed_at"] - before["opened_at"]).total_seconds() >= 1.0
    assert site.db.value("SELECT count(*) FROM ota.device WHERE version = '2.0.0'") == 40
    assert site.db.value("SELECT count(*) FROM ota.device_update WHERE state = 'succeeded' AND rollout_id = %s", rollout) == 40
    wait_for(lambda: site.progress(rollout)[0]["succeeded"] == 40, 5, lambda: site.progress(rollout))
    assert run.wait_end(15) == 0, run.log()
    told = [notice for notice in run.notices()]
    assert len(told) == 40, f"{len(told)} notices for 40 devices"


@pytest.mark.brokers
@pytest.mark.parametrize("behaviour", ["bad", "silent-rollback", "bootloop"])
def test_bad_release_is_halted_in_its_first_stage(site, fleet, behaviour):
    site.plan("four", *FOUR, health_timeout="3 seconds")
    site.release("2.0.0", **fleet.image("2.0.0", behaviour=behaviour))
    run = fleet.start(site.broker, 40, **fleet_arguments(site))
    wait_for(lambda: site.db.value("SELECT count(*) FROM ota.device WHERE listening AND version = '1.0.0'") == 40, 20)
    rollout = site.start_rollout("default", "2.0.0", "four")
    row = site.wait_rollout(rollout, "halted", 30)
    assert row["reason"], row
    stages = site.stages(rollout)
    assert stages[0]["state"] == "halted" and stages[0]["verdict"], stages[0]
    assert all(stage["opened_at"] is None for stage in stages[1:])
    harmed = site.db.column("SELECT device_id FROM ota.device_update WHERE rollout_id = %s AND notified_at IS NOT NULL", rollout)
    assert 1 <= len(harmed) <= 4, harmed
    assert len({json.dumps(notice, sort_keys=True) for notice in run.notices()}) >= 1
    stays(lambda: site.db.value("SELECT count(*) FROM ota.device_update WHERE rollout_id = %s AND stage > 1", rollout) == 0, 1.5)


def test_dark_release_is_halted_by_silence(site, fleet):
    site.plan("four", *FOUR, health_timeout="2 seconds", download_timeout="5 seconds")
    site.release("2.0.0", **fleet.image("2.0.0", behaviour="dark"))
    fleet.start(site.broker, 20, **fleet_arguments(site))
    wait_for(lambda: site.db.value("SELECT count(*) FROM ota.device WHERE listening AND version = '1.0.0'") == 20, 20)
    rollout = site.start_rollout("default", "2.0.0", "four")
    site.wait_rollout(rollout, "halted", 30)
    assert "timed_out" in site.db.column("SELECT DISTINCT state FROM ota.device_update WHERE rollout_id = %s", rollout)


@pytest.mark.memory
def test_notice_holds_what_the_contract_says(site):
    site.quick_plan()
    site.release("1.5.0", releaseNotes="fixes")
    devices = site.devices(2, fleet="pumps")
    for device in devices:
        site.wait_device(device.client_id, listening=True, version="1.0.0", fleet="pumps")
    rollout = site.start_rollout("pumps", "1.5.0", "quick")
    told = wait_for(lambda: next((device for device in devices if device.notices()), None), 10, lambda: site.describe(rollout))
    topic, payload, retained = told.messages[0]
    notice = json.loads(payload)
    assert topic == "fleet/pumps/ota/available" and not retained
    assert list(notice)[:5] == ["version", "url", "sha256", "size", "releaseNotes"]
    assert notice["version"] == "1.5.0" and notice["size"] == 1048576 and notice["releaseNotes"] == "fixes"
    assert notice["rollout"] == rollout and notice["attempt"] == 1 and notice["stage"] == "some"
    assert notice["deadline"].endswith("Z") and "T" in notice["deadline"]
    assert notice["manifest"]["payloadType"] == "application/vnd.mosquitto-ota.manifest+json"
    assert manifest_of(notice)["version"] == "1.5.0"
    told.update(notice)
    site.wait_update(rollout, told.client_id, "succeeded")
    other = next(device for device in devices if device is not told)
    other.update(other.wait_notice())
    site.wait_rollout(rollout, "completed")


def test_ten_thousand_devices_in_exact_nested_cohorts(site):
    site.db.execute("INSERT INTO ota.device (device_id, fleet, version) SELECT 'dev-' || n, 'default', '1.0.0'"
                    " FROM generate_series(1, 10000) n")
    site.release("1.5.0")
    site.plan("wide", ("canary", 1, "1 hour"), ("early", 10, "1 hour"), ("majority", 50, "1 hour"), ("full", 100, "0"))
    rollout = site.start_rollout("default", "1.5.0", "wide")
    chosen = []
    for number, cohort in ((1, 100), (2, 1000), (3, 5000), (4, 10000)):
        wait_for(lambda: (site.stages(rollout)[number - 1]["cohort"] or 0) == cohort, 20, lambda: site.describe(rollout))
        members = set(site.db.column("SELECT device_id FROM ota.device_update WHERE rollout_id = %s AND stage <= %s",
                                     rollout, number))
        assert len(members) == cohort
        assert not chosen or chosen[-1] <= members, "a smaller cohort is inside the larger one"
        chosen.append(members)
        # They are all offline: say for them that they were told and are done, so that there is something to judge.
        site.db.execute("UPDATE ota.device_update SET state = 'succeeded', served_stage = stage, granted_at = now(),"
                        " notified_at = now(), finished_at = now() WHERE rollout_id = %s AND state = 'pending'", rollout)
        if number < 4:
            site.order("advance", rollout)
    # Another rollout meets other canaries, or the same devices would always go first.
    site.wait_rollout(rollout, "completed")
    site.release("1.6.0")
    second = site.start_rollout("default", "1.6.0", "wide")
    wait_for(lambda: site.stages(second)[0]["cohort"] == 100, 20, lambda: site.describe(second))
    again = set(site.db.column("SELECT device_id FROM ota.device_update WHERE rollout_id = %s", second))
    assert len(again & chosen[0]) < 30


def test_preview_is_what_then_happens(site):
    site.db.execute("INSERT INTO ota.device (device_id, fleet, version) SELECT 'dev-' || n, 'default', '1.0.0'"
                    " FROM generate_series(1, 200) n")
    site.release("1.5.0")
    site.plan("two", ("first", 10, "1 hour"), ("full", 100, "0"))
    preview = site.db.rows("SELECT * FROM ota.preview_rollout('default', '1.5.0', 'two')")
    assert len([row for row in preview if row.get("stage") == 1]) == 20, preview[:3]
    rollout = site.start_rollout("default", "1.5.0", "two")
    wait_for(lambda: site.stages(rollout)[0]["cohort"] == 20, 10, lambda: site.describe(rollout))


def test_a_first_stage_of_everybody_is_refused(site):
    site.db.refused("SELECT ota.define_plan('all', %s::jsonb)", '[{"label":"full","percent":100,"wait":"0"}]')
    assert site.db.value("SELECT count(*) FROM ota.plan WHERE plan = 'all'") == 0


BAD_PLANS = {
    "no stages": "[]",
    "shrinking": '[{"label":"a","percent":50,"wait":"1s"},{"label":"b","percent":10,"wait":"1s"}]',
    "percent zero": '[{"label":"a","percent":0,"wait":"1s"},{"label":"b","percent":100,"wait":"1s"}]',
    "beyond 100": '[{"label":"a","percent":10,"wait":"1s"},{"label":"b","percent":101,"wait":"1s"}]',
    "same label": '[{"label":"a","percent":10,"wait":"1s"},{"label":"a","percent":100,"wait":"1s"}]',
    "wait is no interval": '[{"label":"a","percent":10,"wait":"soon"},{"label":"b","percent":100,"wait":"1s"}]',
    "unknown member": '[{"label":"a","percent":10,"wait":"1s","colour":"red"},{"label":"b","percent":100,"wait":"1s"}]',
}


@pytest.mark.parametrize("case", BAD_PLANS, ids=lambda case: case.replace(" ", "-"))
def test_bad_plans_are_refused(site, case):
    site.db.refused("SELECT ota.define_plan('bad', %s::jsonb)", BAD_PLANS[case])
    assert site.db.value("SELECT count(*) FROM ota.plan WHERE plan = 'bad'") == 0


def test_unknown_plan_option_is_refused(site):
    message = site.db.refused("SELECT ota.define_plan('bad', %s::jsonb, options => %s::jsonb)",
                              '[{"label":"a","percent":10,"wait":"1s"},{"label":"b","percent":100,"wait":"1s"}]',
                              '{"speed": 9}')
    assert "speed" in message


def test_slow_start_tells_one_device_first(site):
    site.plan("slow", ("half", 50, "20 seconds"), ("full", 100, "0"))
    site.release("1.5.0")
    devices = site.devices(8)
    wait_for(lambda: site.db.value("SELECT count(*) FROM ota.device WHERE listening AND version = '1.0.0'") == 8, 10)
    rollout = site.start_rollout("default", "1.5.0", "slow")
    wait_for(lambda: sum(bool(device.notices()) for device in devices) == 1, 10, lambda: site.describe(rollout))
    stays(lambda: sum(bool(device.notices()) for device in devices) == 1, 1.5)
    first = next(device for device in devices if device.notices())
    first.update(first.notices()[0])
    wait_for(lambda: sum(bool(device.notices()) for device in devices) >= 2, 10, lambda: site.describe(rollout))


def test_recorded_verdict_has_its_numbers(site):
    site.quick_plan()
    site.release("1.5.0")
    devices = site.devices(2)
    wait_for(lambda: site.db.value("SELECT count(*) FROM ota.device WHERE listening AND version = '1.0.0'") == 2, 10)
    rollout = site.start_rollout("default", "1.5.0", "quick")
    first = wait_for(lambda: next((device for device in devices if device.notices()), None), 10)
    first.fail(first.notices()[0])
    row = site.wait_rollout(rollout, "halted")
    assert any(character.isdigit() for character in row["reason"]), row["reason"]
    update = site.update_row(rollout, first.client_id)
    assert update["state"] == "failed" and update["error"] == "HASH_MISMATCH"


def test_scheduled_rollout_waits_for_its_time(site):
    site.quick_plan()
    site.release("1.5.0")
    devices = site.devices(2)
    wait_for(lambda: site.db.value("SELECT count(*) FROM ota.device WHERE listening AND version = '1.0.0'") == 2, 10)
    rollout = site.db.value("SELECT ota.start_rollout('default', '1.5.0', 'quick', now() + interval '2 seconds', 'later')")
    assert site.rollout(rollout)["state"] == "scheduled"
    stays(lambda: not any(device.notices() for device in devices), 1)
    wait_for(lambda: any(device.notices() for device in devices), 10, lambda: site.describe(rollout))
