"""A stage of many connected devices that nothing limits: each is told once, what says so is in the audit log, and a halt still stops it."""

import collections

from harness import wait_for

DEVICES = 1200  # several claims, of which the later ones are large


def begin(site, fleet, **options):
    site.release("2.0.0", **fleet.image("2.0.0", size=4096))
    run = fleet.start(site.broker, DEVICES, connect_rate=1000, **options)
    wait_for(lambda: site.db.value("SELECT count(*) FROM ota.device WHERE listening") == DEVICES, 60,
             lambda: f"{DEVICES} devices are listening:\n{run.log()[-1000:]}")
    site.plan("wide", ("first", 1, "0 seconds"), ("full", 100, "0 seconds"), options={"pacing": "none"}, success_threshold=0.5)
    rollout = site.start_rollout("default", "2.0.0", "wide")
    wait_for(lambda: len(run.notices()) >= DEVICES // 100, 30, lambda: site.describe(rollout))
    return run, rollout


def test_each_is_told_once(site, fleet):
    run, rollout = begin(site, fleet, fault="silent=100%")
    site.order("advance", rollout)
    wait_for(lambda: len(run.notices()) >= DEVICES, 60, lambda: f"{len(run.notices())} notices\n{site.describe(rollout)}")
    heard = collections.Counter(notice["device"] for notice in run.notices())
    assert len(heard) == DEVICES and set(heard.values()) == {1}, heard.most_common(3)
    # Nobody had to wait for a turn: the slot came with the row.
    assert site.db.value("SELECT count(*) FROM ota.device_update u JOIN ota.rollout_stage s USING (rollout_id, stage)"
                         " WHERE u.rollout_id = %s AND u.stage = 2 AND u.granted_at IS DISTINCT FROM s.opened_at", rollout) == 0
    stages = site.stages(rollout)
    assert sum(stage["notified"] for stage in stages) == sum(stage["in_flight"] for stage in stages) == DEVICES, stages
    rows = site.db.rows("SELECT device_id, detail FROM ota.event WHERE kind = 'notified' AND rollout_id = %s", rollout)
    assert len({row["device_id"] for row in rows}) == len(rows) == DEVICES
    assert {(row["detail"]["attempt"], row["detail"]["again"]) for row in rows} == {(1, False)}
    assert site.db.rows("SELECT * FROM ota.verify_audit()") == []


def test_a_halt_stops_it(site, fleet):
    run, rollout = begin(site, fleet, fault="silent=100%")
    site.order("advance", rollout)
    wait_for(lambda: site.stages(rollout)[1]["opened_at"], 30, lambda: site.describe(rollout), every=0.005)
    site.order("halt", rollout)
    told = site.db.column("SELECT device_id FROM ota.device_update WHERE rollout_id = %s AND notified_at IS NOT NULL", rollout)
    slots = "SELECT count(*) FROM ota.device_update WHERE rollout_id = %s AND state = 'pending' AND granted_at IS NOT NULL"
    assert site.db.value(slots, rollout) == 0, "slots that were not used are taken back"
    site.broker.wait_log("halt")
    wait_for(lambda: site.db.value("SELECT count(*) FROM ota.device_update WHERE rollout_id = %s AND recall", rollout) == 0, 30,
             lambda: site.describe(rollout))
    heard = {notice["device"] for notice in run.notices() if notice["kind"] == "notice"}
    assert heard <= set(told), "nobody was told who is not in the tables as told"
    assert site.db.value("SELECT count(*) FROM ota.device_update WHERE rollout_id = %s AND notified_at IS NOT NULL", rollout) == len(told)
