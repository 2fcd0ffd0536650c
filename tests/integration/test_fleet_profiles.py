"""Difficult devices: what the database says of each is what the simulated device has done."""

import pytest

from harness import wait_for

pytestmark = pytest.mark.usefixtures("plugin")

OPEN = ("pending", "notified", "downloading", "verifying", "applying", "rebooting")
MIX = {"seed": 7, "boot_attempts": 3, "chunk": 8192, "slow_rate": 40000, "slow_boot": "300-600", "flaky_every": "400-1200",
       "flaky_stall": "50-200", "flaky_break": 40}
# What the record makes of a device: of an honest one the truth; of the others what a broker can see.
SEEN = {"succeeded": "succeeded", "rolled_back": "rolled_back", "dark": "timed_out",
        "early": "timed_out", "malformed": "timed_out", "version": "rolled_back"}


def listening(site, count):
    wait_for(lambda: site.db.value("SELECT count(*) FROM ota.device WHERE listening") == count, 30,
             lambda: site.db.rows("SELECT device_id, connected, listening FROM ota.device"))


def rollout_to_all(site, fleet, version="2.0.0"):
    """Everybody at once, and no verdict: it is the devices that are looked at."""
    site.release(version, **fleet.image(version))
    site.plan("all", ("some", 50, "0 seconds"), ("all", 100, "0 seconds"), options={"pacing": "none"}, success_threshold=0.01, retries=0,
              health_timeout="5 seconds", download_timeout="15 seconds")
    rollout = site.start_rollout("default", version, "all", "emergency: everybody at once")
    wait_for(lambda: site.db.value("SELECT count(*) FROM ota.device_update WHERE rollout_id = %s", rollout) > 0
             and site.db.value("SELECT count(*) FROM ota.device_update WHERE rollout_id = %s AND state = ANY(%s)", rollout, list(OPEN)) == 0,
             60, lambda: site.describe(rollout))
    return rollout


def recorded(site, rollout):
    return {row["device_id"]: row for row in site.db.rows(
        "SELECT u.device_id, u.state, u.error, d.version FROM ota.device_update u JOIN ota.device d USING (device_id) WHERE u.rollout_id = %s", rollout)}


def test_every_profile_is_recorded_as_it_was(site, fleet):
    run = fleet.start(site.broker, 90, processes=2, mix="flaky=15,slow=15,dies=20,bootloop=10,lies=25", **MIX)
    listening(site, 90)
    rollout = rollout_to_all(site, fleet)
    run.stop()
    rows, record = run.csv(), recorded(site, rollout)
    assert len(rows) == 90 and {row["profile"] for row in rows} == {"good", "flaky", "slow", "dies", "bootloop", "lies"}
    for row in rows:
        lied = row["state"] == "lied"
        assert record[row["id"]]["state"] == SEEN[row["detail"] if lied else row["state"]], (row, record[row["id"]])
        if not lied and row["state"] != "dark":
            assert record[row["id"]]["version"] == row["version_after"], (row, record[row["id"]])
    assert {row["state"] for row in rows if row["profile"] in ("good", "flaky", "slow")} == {"succeeded"}
    assert {row["detail"] for row in rows if row["profile"] == "lies"} == {"early", "version", "other", "malformed"}
    # A report for another device changes nothing of that one, and is on record.
    liars = {row["id"] for row in rows if row["detail"] == "other"}
    denied = site.db.column("SELECT DISTINCT client FROM ota.denied WHERE topic LIKE 'devices/%%/ota/status'")
    assert liars <= set(denied), (liars, denied)
    malformed = {event["device_id"] for event in site.events("malformed")}
    assert {row["id"] for row in rows if row["detail"] == "malformed"} <= malformed
    log = run.log()
    assert "\033" not in log and "rolled back" in log, log[-2000:]


def test_two_clients_with_one_id_are_one_device(site, fleet):
    run = fleet.start(site.broker, 20, mix="clone=40", seed=3, clone_pause="100-400")
    wait_for(lambda: "all 20 devices connected" in run.log(), 30, run.log)
    rollout = rollout_to_all(site, fleet)
    run.stop()
    rows, record = run.csv(), recorded(site, rollout)
    originals = {row["id"] for row in rows if row["profile"] != "clone"}
    assert 0 < len(originals) < 20
    assert set(record) == originals
    assert all(int(row["reconnects"]) > 0 for row in rows if row["profile"] == "clone"), rows
    alone = originals - {row["client_id"] for row in rows if row["profile"] == "clone"}
    assert alone and all(record[device]["state"] == "succeeded" for device in alone), record
    # Of the others nobody can say more than that each ended once, in a way that the table knows.
    counted = site.stages(rollout)[0]
    assert counted["succeeded"] + counted["failed"] == len(originals), counted
