"""How far a bad release gets in a fleet of real clients before it is stopped, and that a fairly good one arrives."""

from harness import wait_for

FAILED = ("failed", "rolled_back", "timed_out")


def release_image(site, fleet, version, behaviour, failrate=None):
    site.release(version, **fleet.image(version, behaviour, failrate, size=4096))


def start_fleet(site, fleet, devices):
    run = fleet.start(site.broker, devices)
    wait_for(lambda: site.db.value("SELECT count(*) FROM ota.device WHERE listening") == devices, 30,
             lambda: f"{devices} devices are listening:\n{run.log()[-1000:]}")
    return run


def test_a_release_that_kills_every_device_harms_six_at_most(site, fleet):
    release_image(site, fleet, "2.0.0", "dark")
    run = start_fleet(site, fleet, 200)
    # A first stage of 100 devices, as the canary of a fleet of 10,000.
    site.plan("careful", ("canary", 50, "2 seconds"), ("full", 100, "2 seconds"), health_timeout="3 seconds",
              download_timeout="30 seconds")
    rollout = site.start_rollout("default", "2.0.0", "careful")
    site.wait_rollout(rollout, "halted", 50)
    told = {notice["device"] for notice in run.notices() if notice["kind"] == "notice"}
    assert 1 <= len(told) <= 6, sorted(told)
    rows = site.db.rows("SELECT device_id, state FROM ota.device_update WHERE rollout_id = %s AND notified_at IS NOT NULL",
                        rollout)
    assert {row["device_id"] for row in rows} == told
    stages = site.stages(rollout)
    assert [stage["state"] for stage in stages] == ["halted", "waiting"]
    assert stages[0]["cohort"] == 100 and stages[0]["failed"] >= 1 and stages[0]["succeeded"] == 0, stages


def test_a_release_that_fails_on_one_device_in_a_hundred_reaches_the_others(site, fleet):
    release_image(site, fleet, "2.0.0", "bad", failrate=10)
    run = start_fleet(site, fleet, 200)
    site.plan("careful", ("canary", 10, "1 second"), ("majority", 50, "1 second"), ("full", 100, "1 second"),
              health_timeout="20 seconds", download_timeout="30 seconds")
    rollout = site.start_rollout("default", "2.0.0", "careful")
    site.wait_rollout(rollout, "completed", 50)

    def states():
        return {row["state"]: row["n"] for row in site.db.rows(
            "SELECT state, count(*)::int AS n FROM ota.device_update WHERE rollout_id = %s GROUP BY 1", rollout)}

    wait_for(lambda: sum(n for state, n in states().items() if state in (*FAILED, "succeeded")) == 200, 30,
             lambda: site.describe(rollout))
    rolled_back = {line["device"] for line in run.events() if line["outcome"] == "ROLLED_BACK"}
    assert rolled_back, "the image fails on nobody: this test shows nothing"
    assert states() == {"succeeded": 200 - len(rolled_back), "rolled_back": len(rolled_back)}
    assert site.db.value("SELECT count(*) FROM ota.device WHERE version = '2.0.0'") == 200 - len(rolled_back)
