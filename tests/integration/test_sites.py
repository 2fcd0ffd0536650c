"""No more than so many devices of one site at once, and a device of each site and hardware in the canary."""

import threading

import pytest

from harness.postgres import Database

pytestmark = pytest.mark.usefixtures("plugin")


def most_at_once(site, rollout):
    """For each site the largest number of devices that were being updated at the same time, from the database's own times."""
    return {row["site"]: row["most"] for row in site.db.rows("""
        SELECT site, max(n) AS most FROM (
            SELECT u.site, (SELECT count(*) FROM ota.device_update o
                             WHERE o.site = u.site AND o.notified_at <= u.notified_at AND o.finished_at > u.notified_at) AS n
              FROM ota.device_update u WHERE u.rollout_id = %s) x GROUP BY 1""", rollout)}


@pytest.mark.brokers
def test_no_site_has_more_devices_at_once_than_its_cap(site):
    second = site.add_broker("broker-2")
    site.wait_ready(second)
    names = [f"dev-{number:03d}" for number in range(1, 15)]
    for number, name in enumerate(names):
        site.db.execute("SELECT ota.assign_device(%s, 'docks')", name)
        if number < 12:
            site.db.execute("SELECT ota.set_attributes(%s, jsonb_build_object('site', %s::text))", name, ("east", "west", "west")[number % 3])
    devices = [site.device(name, broker=(site.broker, second)[number % 2], hardware="rev-a") for number, name in enumerate(names)]
    for name in names:
        site.wait_device(name, listening=True)
    site.release("1.5.0")
    rollout = site.start_rollout("docks", "1.5.0", site.quick_plan(first=20, options={"max_per_site": 2, "reboot": False}))
    site.update_all(devices, "1.5.0", timeout=60)
    site.wait_rollout(rollout, "completed")
    most = most_at_once(site, rollout)
    assert most["west"] == 2 and most["east"] <= 2 and set(most) == {"east", "west", ""}, most
    canary = site.db.rows("SELECT u.site FROM ota.device_update u WHERE u.rollout_id = %s AND u.stage = 1", rollout)
    assert len(canary) == 3 and {row["site"] for row in canary} >= {"east", "west"}


def test_slots_given_by_several_at_once(site):
    """Two fleets at the same sites, each with a rollout; callers that do not wait for each other."""
    for fleet in ("blue", "green"):
        site.db.execute("INSERT INTO ota.fleet (fleet, max_per_site) VALUES (%s, 3)", fleet)
        site.db.execute("""INSERT INTO ota.device (device_id, fleet, version, connected, listening, broker, attributes)
                           SELECT %s || '-' || n, %s, '1.0.0', true, true, 'nobody', jsonb_build_object('site', 'site-' || n %% 5)
                             FROM generate_series(1, 200) n""", fleet, fleet)
    site.release("1.5.0")
    plan = site.quick_plan(wait="1 hour")
    # The controller, a broker of its own, is one of the callers.
    rollouts = [site.start_rollout(fleet, "1.5.0", plan) for fleet in ("blue", "green")]
    for rollout in rollouts:
        site.wait_event("stage_opened", rollout=rollout)
    wrong = []

    def give(rollout):
        try:
            with Database(site.db.server, site.db.name) as database:
                for _ in range(15):
                    database.value("SELECT ota.controller_grant(%s, 100)", rollout)
                    database.execute("""UPDATE ota.device_update SET granted_at = NULL WHERE (rollout_id, device_id) IN (
                        SELECT rollout_id, device_id FROM ota.device_update WHERE rollout_id = %s AND granted_at IS NOT NULL
                         ORDER BY random() LIMIT 4 FOR UPDATE SKIP LOCKED)""", rollout)
        except Exception as error:  # pylint: disable=broad-exception-caught
            wrong.append(error)

    threads = [threading.Thread(target=give, args=(rollout,)) for rollout in rollouts * 2]
    for thread in threads:
        thread.start()
    looks = 0
    while any(thread.is_alive() for thread in threads):
        loads = site.db.rows("SELECT site, count(*) AS n FROM ota.device_update WHERE granted_at IS NOT NULL GROUP BY 1")
        assert all(row["n"] <= 3 for row in loads), loads
        looks += 1
    for thread in threads:
        thread.join()
    assert not wrong and looks > 3, wrong
    for rollout in rollouts:
        site.db.value("SELECT ota.controller_grant(%s, 100)", rollout)
    assert site.db.value("SELECT count(*) FROM ota.device_update WHERE granted_at IS NOT NULL") == 15


def test_the_brokers_cohort_is_the_previews(site):
    """Each site and model in the canary, the same devices as foretold, whichever broker opens the stage."""
    site.db.execute("""INSERT INTO ota.device (device_id, fleet, version, hardware, attributes)
                       SELECT 'dev-' || n, 'default', '1.0.0', 'rev-' || n % 3, jsonb_build_object('site', 'site-' || n % 20)
                         FROM generate_series(1, 1000) n""")
    site.release("1.5.0")
    plan = site.plan("wide", ("canary", 3, "1 hour"), ("full", 100, "0"))
    foretold = set(site.db.column("SELECT device_id FROM ota.preview_rollout('default', '1.5.0', 'wide') WHERE stage = 1"))
    rollout = site.start_rollout("default", "1.5.0", plan)
    site.wait_event("stage_opened", rollout=rollout)
    drawn = set(site.db.column("SELECT device_id FROM ota.device_update WHERE rollout_id = %s", rollout))
    assert drawn == foretold and len(drawn) == 30
    assert site.db.row("SELECT count(DISTINCT hardware) AS models, count(DISTINCT attributes ->> 'site') AS sites FROM ota.device "
                       "WHERE device_id = ANY (%s)", list(drawn)) == {"models": 3, "sites": 20}
