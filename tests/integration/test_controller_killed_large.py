"""Three brokers, 30,000 devices, and the broker that controls killed in every state of a rollout: what comes out is what comes out undisturbed.

The devices are real clients that download, reboot and report; one in a hundred finds the firmware bad and rolls back, always the same ones.
Takes 12 minutes on two processors, more on a busy machine; OTA_TAKEOVER_DEVICES makes it smaller.
"""

import collections
import os
import time

import pytest

from harness import wait_for
from harness.durability import only_long
from harness.takeover import ORDERED, STATES, approve, leading_broker, taken_over

pytestmark = [pytest.mark.usefixtures("plugin"), only_long]

DEVICES = int(os.environ.get("OTA_TAKEOVER_DEVICES", "30000"))
EACH = DEVICES // 3
PERCENT = (10, 40, 100)
QUIET = ("log_type none", "log_type error", "log_type warning", "log_type notice", "max_connections -1")
LONG_WAIT = 600
# A stage of real devices has no moment at which all have succeeded: the end of its wait is what comes before the verdict.
CONDITIONS = {**STATES, "verdict due": "SELECT state <> 'waiting' AND wait_until - now() < interval '0.5 seconds'"
                                       " FROM ota.rollout_stage WHERE rollout_id = %(id)s AND stage = 1"}


def kill_controller(site):
    """kill -9 of the broker that controls, with all of its devices; it comes back when another one has taken over."""
    found, broker = leading_broker(site)
    begin = time.monotonic()
    broker.kill()
    taken_over(site, found)
    seconds = time.monotonic() - begin
    broker.start()
    return f"{found['broker']} killed, taken over after {seconds:.1f} s"


def settled(site, runs):
    """Everybody is back and has nothing left to say."""
    wait_for(lambda: site.db.value("SELECT count(*) FROM ota.device WHERE listening") == DEVICES, LONG_WAIT,
             lambda: f"{site.db.rows('SELECT broker, connected, listening, count(*) FROM ota.device GROUP BY 1, 2, 3')}\n"
             + "\n".join(run.log()[-500:] for run in runs), every=0.5)


def drawn(site, rollout):
    """How many devices are in another stage than the order of the draw says."""
    sizes = [-(-DEVICES * percent // 100) for percent in PERCENT]
    return site.db.value(
        "WITH expected AS (SELECT device_id, CASE WHEN place <= %s THEN 1 WHEN place <= %s THEN 2 ELSE 3 END AS stage FROM ("
        "SELECT device_id, row_number() OVER (ORDER BY ota.cohort_rank(%s, device_id), device_id) AS place FROM ota.device) ranked)"
        " SELECT count(*) FROM expected e FULL JOIN (SELECT device_id, stage FROM ota.device_update WHERE rollout_id = %s) u"
        " USING (device_id, stage) WHERE e.stage IS NULL OR u.device_id IS NULL OR e.device_id IS NULL", *sizes[:2], rollout, rollout)


COUNTS = ("SELECT jsonb_object_agg(key, n) FROM (SELECT stage || ' ' || state AS key, count(*) AS n FROM ota.device_update"
          " WHERE rollout_id = %s GROUP BY 1) c")


def differences(site, rollout, version, state, bad):
    """What is not as it would be undisturbed: who is in which stage, how each ended, what the stages count, what runs where.

    `bad`: who rolled back undisturbed; None: nothing is known yet.  Returns the differences, and who rolled back.
    """
    def value(sql, *more):
        return site.db.value(sql, rollout, *more)

    rolled_back = set(site.db.column("SELECT device_id FROM ota.device_update WHERE rollout_id = %s AND state = 'rolled_back'", rollout))
    bad = bad or rolled_back
    # A device whose recall came too late has updated, and its row stays cancelled: that is so without a kill, too.
    ends = ["succeeded", "rolled_back"] + (["cancelled"] if state == "halted" else [])
    numbers = {
        "in another stage than drawn": drawn(site, rollout),
        "rolled back, or not, unlike undisturbed": len(rolled_back ^ bad),
        "ended in another way": value("SELECT count(*) FROM ota.device_update WHERE rollout_id = %s AND state <> ALL(%s)", ends),
        "run another version": value("SELECT count(*) FROM ota.device_update u JOIN ota.device d USING (device_id) WHERE u.rollout_id = %s"
                                     " AND (u.state <> 'rolled_back') <> (d.version = %s)", version),
        "stages not passed": value("SELECT count(*) FROM ota.rollout_stage WHERE rollout_id = %s AND state <> 'passed'"),
        # A device counts in the stage that was open when it was told.
        "stages that count wrongly": value(
            "SELECT count(*) FROM ota.rollout_stage s, LATERAL (SELECT count(*) FILTER (WHERE u.stage = s.stage) AS added,"
            " count(*) FILTER (WHERE u.served_stage = s.stage AND u.state = 'succeeded') AS succeeded,"
            " count(*) FILTER (WHERE u.served_stage = s.stage AND u.state = 'rolled_back') AS failed"
            " FROM ota.device_update u WHERE u.rollout_id = s.rollout_id) n WHERE s.rollout_id = %s"
            " AND (s.added, s.succeeded, s.failed, s.in_flight) IS DISTINCT FROM (n.added, n.succeeded, n.failed, 0::bigint)"),
        "told before the verdict of the stage before": value(
            "SELECT count(*) FROM ota.device_update u JOIN ota.rollout_stage s ON s.rollout_id = u.rollout_id AND s.stage = u.stage - 1"
            " WHERE u.rollout_id = %s AND u.notified_at < s.closed_at"),
    }
    return [f"{state}: {number} {what}" for what, number in numbers.items() if number], bad


def test_controller_killed_in_every_state_of_a_large_rollout(bare_site, fleet):
    site = bare_site
    for name in ("broker-1", "broker-2", "broker-3"):
        site.add_broker(name, extra=QUIET)
    limits = {"options": {"pacing": "none"}, "health_timeout": "4 minutes", "download_timeout": "20 minutes"}
    stages = [("some", PERCENT[0], "5 seconds"), ("more", PERCENT[1], "2 seconds"), ("full", PERCENT[2], "1 second")]
    site.plan("large", *stages, **limits)
    site.plan("held", *stages, **{**limits, "options": {"pacing": "none", "approval": True}})
    runs = [fleet.start(broker, EACH, first=1 + number * EACH, connect_rate=1000, max_downloads=200, notices=None, keepalive=120,
                        download_delay="50-1000", health_deadline=600000, seed=1, fault="minimal=60%") for number, broker in enumerate(site.brokers)]
    settled(site, runs)
    site.db.execute("SELECT ota.set_quarantine('default', NULL, 'the same devices fail each time')")
    bad, problems, numbers = None, [], {}
    for number, state in enumerate([None, *CONDITIONS, *ORDERED]):
        version = f"2.{number}.0"
        site.release(version, **fleet.image(version, "bad", failrate=10, size=4096))
        begin = time.monotonic()
        rollout = site.start_rollout("default", version, "held" if state == "held" else "large")
        numbers[rollout] = state
        happened = "undisturbed"
        if state in CONDITIONS:
            wait_for(lambda: site.db.value(CONDITIONS[state].replace("%(id)s", str(rollout))), LONG_WAIT, lambda: f"{state}: {site.describe(rollout)}")
            happened = kill_controller(site)
        elif state in ("paused", "halted"):
            wait_for(lambda: site.db.value(STATES["in flight"].replace("%(id)s", str(rollout))), LONG_WAIT, lambda: site.describe(rollout))
            site.order("halt" if state == "halted" else "pause", rollout)
            happened = kill_controller(site)
            site.order("resume", rollout)
        elif state == "held":
            for stage in (1, 2):
                wait_for(lambda: site.stages(rollout)[stage - 1]["state"] == "held", LONG_WAIT, lambda: site.describe(rollout))
                happened = kill_controller(site)
                approve(site, rollout)
        site.wait_rollout(rollout, "completed", LONG_WAIT)
        took = time.monotonic() - begin
        wait_for(lambda: site.db.value("SELECT count(*) FROM ota.device_update WHERE rollout_id = %s AND state IN ('pending', 'notified',"
                                       " 'downloading', 'verifying', 'applying', 'rebooting')", rollout) == 0, LONG_WAIT, lambda: site.describe(rollout))
        settled(site, runs)
        found, bad = differences(site, rollout, version, state, bad)
        problems += found
        print(f"{state or '-'}: {took:.0f} s, {happened}; {site.db.value(COUNTS, rollout)}; {found or 'as undisturbed'}", flush=True)
    # The devices' own view: nobody has taken up an attempt twice.
    taken = collections.Counter((event["device"], event["rollout"], event["attempt"]) for run in runs for event in run.events()
                                if event["outcome"] == "NOTICE")
    twice = {numbers[int(key[1])] for key, times in taken.items() if times > 1}
    assert not problems and not twice, (problems, twice, [key for key, times in taken.items() if times > 1][:5])
    assert 0 < len(bad) < DEVICES / 20, len(bad)
