"""A stage that is told page by page, and what comes between two pages: a halt, a kill, a device that leaves.

Nobody is told after a halt, nobody is lost, nobody counts as told who was not.
"""

import collections

import pytest

from harness import wait_for
from harness.durability import try_start

pytestmark = pytest.mark.usefixtures("plugin")

DEVICES = 900
FIRST_PAGE = 250  # and no other has more, however many the plugin asks for

# Each page but the first takes so long that something can be done meanwhile.
SLOW = f"""
ALTER FUNCTION ota.broker_hand_out(text, integer) RENAME TO whole_hand_out;
CREATE FUNCTION ota.broker_hand_out(i_broker text, i_limit integer)
RETURNS TABLE (device_id text, rollout_id bigint, attempt integer, release_id bigint, label text, deadline_ms bigint,
    fleet text, hardware text, version text, sequence bigint, topic text, again boolean, via text, at_ms bigint, said text)
LANGUAGE sql AS $$
    SELECT * FROM ota.whole_hand_out(i_broker, least(i_limit, {FIRST_PAGE}));
$$;
CREATE FUNCTION public.slow() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.done_device <> '' THEN PERFORM pg_sleep(1); END IF;
    RETURN NEW;
END $$;
GRANT EXECUTE ON FUNCTION public.slow() TO PUBLIC;
CREATE TRIGGER slow BEFORE UPDATE ON ota.hand_out FOR EACH ROW EXECUTE FUNCTION public.slow();
"""


def begin(site, fleet, brokers=1, extra=()):
    """A stage of everybody opens; returns when the first page has been told."""
    site.release("2.0.0", **fleet.image("2.0.0", size=4096))
    runs = [fleet.start(broker, DEVICES // brokers, prefix=f"d{n}", connect_rate=1000, fault="silent=100%")
            for n, broker in enumerate(site.brokers[:brokers])]
    count = DEVICES // brokers * brokers + len(extra)
    wait_for(lambda: site.db.value("SELECT count(*) FROM ota.device WHERE listening") == count, 60,
             lambda: f"{count} devices are listening:\n{runs[0].log()[-1000:]}")
    site.plan("wide", ("first", 50, "0 seconds"), ("full", 100, "0 seconds"), options={"pacing": "none"}, success_threshold=0.5)
    site.db.execute(SLOW)
    rollout = site.start_rollout("default", "2.0.0", "wide", reason="emergency: all of them")
    wait_for(lambda: len(heard(runs)) >= FIRST_PAGE, 30, lambda: site.describe(rollout), every=0.02)
    return runs, rollout


def heard(runs):
    """How often each device has been told of each attempt."""
    return collections.Counter((notice["device"], notice["attempt"]) for run in runs for notice in run.notices() if notice["kind"] == "notice")


def told(site, rollout):
    return set(site.db.column("SELECT device_id FROM ota.device_update WHERE rollout_id = %s AND notified_at IS NOT NULL", rollout))


def noted(site, rollout):
    """Who was told of which attempt, as the audit log says; each once but those that came back without having started."""
    rows = site.db.rows("SELECT device_id, (detail ->> 'attempt')::int AS attempt FROM ota.event"
                        " WHERE kind = 'notified' AND rollout_id = %s AND NOT (detail ->> 'again')::boolean", rollout)
    counted = collections.Counter((row["device_id"], row["attempt"]) for row in rows)
    assert not counted or set(counted.values()) == {1}, counted.most_common(3)
    return set(counted)


def assert_counted(site, rollout):
    """The counters are what the rows say."""
    assert site.db.rows("""
        SELECT s.stage, s.notified, s.in_flight, u.* FROM ota.rollout_stage s,
               LATERAL (SELECT count(x.notified_at) AS told,
                               count(*) FILTER (WHERE x.state IN ('notified', 'downloading', 'verifying', 'applying', 'rebooting')
                                                   OR x.state = 'pending' AND x.granted_at IS NOT NULL) AS flying
                          FROM ota.device_update x WHERE x.rollout_id = s.rollout_id AND x.served_stage = s.stage) u
         WHERE s.rollout_id = %s AND (s.notified, s.in_flight) <> (u.told, u.flying)""", rollout) == []


def all_hear(site, runs, rollout, count=DEVICES, timeout=60):
    wait_for(lambda: len({device for device, _ in heard(runs)}) == count, timeout,
             lambda: f"{len(heard(runs))} notices\n{site.describe(rollout)}\n{site.broker.log()[-2000:]}")
    wait_for(lambda: {device for device, _ in noted(site, rollout)} == {device for device, _ in heard(runs)}, 20,
             "the audit log says who was told")
    assert_counted(site, rollout)
    assert site.db.value("SELECT count(*) FROM ota.hand_out") == 0
    assert site.db.rows("SELECT * FROM ota.verify_audit()") == []


@pytest.mark.brokers
def test_a_halt_between_two_pages(site, fleet):
    runs, rollout = begin(site, fleet)
    site.order("halt", rollout)
    rows = told(site, rollout)
    assert FIRST_PAGE <= len(rows) < DEVICES, len(rows)
    assert_counted(site, rollout)
    assert site.db.value("SELECT count(*) FROM ota.hand_out") == 0
    assert site.db.value("SELECT count(*) FROM ota.device_update WHERE rollout_id = %s AND state = 'pending' AND granted_at IS NULL"
                         " AND ready AND notified_at IS NULL", rollout) == DEVICES - len(rows), "the others wait, without slots"
    wait_for(lambda: site.db.value("SELECT count(*) FROM ota.device_update WHERE rollout_id = %s AND recall", rollout) == 0, 30,
             lambda: site.describe(rollout))
    assert {device for device, _ in heard(runs)} <= rows, "nobody was told who is not in the tables as told"
    assert {device for device, _ in noted(site, rollout)} == rows == told(site, rollout)
    # It goes on: who was told hears of the next attempt, everybody else of the first.
    site.order("resume", rollout)
    site.db.execute("DROP TRIGGER slow ON ota.hand_out")
    wait_for(lambda: len(told(site, rollout)) == DEVICES, 60, lambda: site.describe(rollout))
    all_hear(site, runs, rollout)
    assert {device for device, attempt in noted(site, rollout) if attempt == 2} == rows
    assert {device for device, attempt in noted(site, rollout) if attempt == 1} == {device for device, _ in heard(runs)}
    assert set(heard(runs).values()) == {1}, "nobody twice for one attempt"


def strike_session(site):
    site.db.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'mosquitto_ota%%'"
                    " AND datname = current_database() AND pid <> pg_backend_pid()")


def strike_postgres(site):
    site.cluster.process.kill()  # -9
    site.cluster.process.wait()
    site.db.close()
    wait_for(lambda: try_start(site.cluster), 20, "PostgreSQL starts again", every=0.2)


@pytest.mark.parametrize("strike", [strike_session, strike_postgres])
def test_the_database_is_lost_between_two_pages(own_site, fleet, strike):
    own_site.add_broker()
    runs, rollout = begin(own_site, fleet)
    strike(own_site)
    all_hear(own_site, runs, rollout)
    assert set(heard(runs).values()) == {1}, "nobody twice"


@pytest.mark.brokers
def test_the_broker_is_killed_between_two_pages(site, fleet):
    runs, rollout = begin(site, fleet)
    site.broker.kill()
    before = {device for device, _ in heard(runs)}
    site.broker.start()
    all_hear(site, runs, rollout, timeout=120)
    assert {attempt for _, attempt in heard(runs)} == {1}
    assert {device for device, times in heard(runs).items() if times > 1} <= {(device, 1) for device in before}, "again only who may have lost it"
    assert site.db.value("SELECT count(*) FROM ota.device_update WHERE rollout_id = %s AND state <> 'notified'", rollout) == 0


def test_the_broker_stays_away(site, fleet):
    """Another broker gives the untold back, and serves its own."""
    first = site.broker
    site.add_broker("broker-2")
    runs, rollout = begin(site, fleet, brokers=2)
    assert site.db.value("SELECT broker FROM ota.hand_out") == "broker-1"
    first.kill()
    wait_for(lambda: site.db.value("SELECT count(*) FROM ota.hand_out") == 0, 30, lambda: site.describe(rollout))
    wait_for(lambda: site.db.value("SELECT count(*) FROM ota.device WHERE broker = 'broker-1' AND listening") == 0, 40, "it is given up")
    assert_counted(site, rollout)
    mine = {device for device in told(site, rollout) if device.startswith("d0-")}
    assert FIRST_PAGE <= len(mine) < DEVICES // 2, len(mine)
    assert {device for device, _ in heard(runs[:1])} <= mine
    assert {device for device, _ in heard(runs[1:])} == {device for device in told(site, rollout) if device.startswith("d1-")}
    assert len(heard(runs[1:])) == DEVICES // 2, "the devices of the other broker had slots"
    first.start()
    all_hear(site, runs, rollout, timeout=120)


def test_devices_that_leave_before_their_page(site, fleet):
    away, back = site.device("zz-1"), site.device("zz-2")  # on the last page
    runs, rollout = begin(site, fleet, extra=(away, back))
    away.disconnect()
    back.reboot()
    wait_for(lambda: site.db.value("SELECT count(*) FROM ota.hand_out") == 0, 30, lambda: site.describe(rollout))
    back.wait_notice()
    site.wait_update(rollout, "zz-1", "pending")
    assert not away.notices() and len(back.notices()) == 1
    away.start()
    notice = away.wait_notice()
    assert notice["attempt"] == 1
    assert site.update_row(rollout, "zz-2")["told_session"] == site.device_row("zz-2")["session"]
    for device in (away, back):
        device.update(device.notices()[0])
        site.wait_update(rollout, device.client_id, "succeeded")
    assert_counted(site, rollout)


def test_a_row_that_no_stage_asked_for(site, fleet):
    """Somebody who may write the tables puts a device of another fleet among those that are told next."""
    stranger = site.device("zz-stranger", fleet="others")
    runs, rollout = begin(site, fleet, extra=(stranger,))
    site.db.execute("""
        SELECT set_config('ota.opens', %s, true);
        INSERT INTO ota.device_update (rollout_id, device_id, stage, rank, state, granted_at, served_stage, broker, notified_at, deadline, told_session)
        SELECT h.rollout_id, 'zz-stranger', 1, ota.cohort_rank(h.rollout_id, 'zz-stranger'), 'notified', h.opened_at, 1, h.broker, h.opened_at,
               h.last_deadline, d.session
          FROM ota.hand_out h, ota.device d WHERE d.device_id = 'zz-stranger'""", str(rollout))
    site.wait_update(rollout, "zz-stranger", "cancelled")
    assert site.update_row(rollout, "zz-stranger")["error"] == "NOT_IN_STAGE"
    assert site.events("denied", device="zz-stranger")
    wait_for(lambda: site.db.value("SELECT count(*) FROM ota.hand_out") == 0, 30, lambda: site.describe(rollout))
    wait_for(lambda: len(heard(runs)) == DEVICES, 30, lambda: site.describe(rollout))
    assert not stranger.notices()
