"""Brokers behind a real PgBouncer."""

import re
import time

import pytest

from harness import Storm, stays, wait_for
from harness.durability import all_listening, assert_exactly_once, serves
from harness.pgbouncer import PgBouncer

pytestmark = pytest.mark.usefixtures("plugin")

@pytest.fixture
def bouncer(own_site, tmp_path):
    """Makes PgBouncers in front of the site's database."""
    made = []

    def make(mode="session", **settings):
        made.append(PgBouncer(tmp_path / f"bouncer-{len(made)}", own_site.cluster, own_site.db.name, mode, **settings))
        return made[-1].start()

    yield make
    for one in made:
        one.close()


def controllers(site):
    return site.db.value("SELECT count(*)::int FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 1"
                         " AND objid::bigint = hashtext('ota.controller')::bigint & 4294967295"
                         " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())")


def test_rollout_through_pgbouncer_that_is_killed(own_site, bouncer):
    """Names and lead go with the pooler's sessions and come back with them; no report is lost or doubled."""
    site, pool = own_site, bouncer()
    brokers = [site.add_broker(name, database=pool.conninfo) for name in ("broker-1", "broker-2")]
    site.quick_plan(wait="0.2 seconds")
    site.release("1.5.0")
    devices = [site.device(f"dev-{number}", brokers[number % 2]) for number in range(6)]
    all_listening(site, 6)
    wait_for(lambda: controllers(site) == 1, 10)
    rollout = site.start_rollout("default", "1.5.0", "quick")
    with Storm(brokers[0], 3, pause=0.01) as storm:
        wait_for(lambda: any(device.notices() for device in devices), 10, lambda: site.describe(rollout))
        pool.kill()
        wait_for(lambda: controllers(site) == 0, 10)
        for broker in brokers:
            broker.wait_log("PostgreSQL is away")
            serves(broker)
        pool.start()
        wait_for(lambda: controllers(site) == 1, 20, brokers[0].log)
        site.update_all(devices, "1.5.0", 40)
        site.wait_rollout(rollout, "completed", 40)
    assert_exactly_once(site, storm)
    assert all(len(device.notices()) == 1 for device in devices)
    # The channel is listened to again: without it the next look is a second away.
    begin = time.monotonic()
    for number in range(5):
        site.release(f"2.0.{number}")
    assert time.monotonic() - begin < 4, "NOTIFY does not come through"
    for broker in brokers:
        assert len(broker.log_lines("PostgreSQL is away")) == 1 and len(broker.log_lines("PostgreSQL is back")) == 1
        assert not broker.log_lines("pooler"), broker.log_lines("pooler")


def test_killed_broker_lets_go_through_pgbouncer(own_site, bouncer):
    """Its session returns to the pool: server_reset_query takes its name and the lead from it."""
    site, pool = own_site, bouncer()
    first = site.add_broker("broker-1", database=pool.conninfo)
    first.wait_log("controls the rollouts")
    second = site.add_broker("broker-2", database=pool.conninfo)
    first.kill()
    second.wait_log("controls the rollouts", 5)
    assert controllers(site) == 1
    first.start()
    site.device("dev-1", first)
    site.wait_device("dev-1", listening=True, broker="broker-1")
    assert not first.log_lines("another broker is connected")


def test_startup_parameters_that_pgbouncer_refuses(own_site, bouncer):
    site, pool = own_site, bouncer()
    refused = site.add_broker("broker-1", ready=False, database=pool.conninfo + " options='-c geqo=off'")
    refused.wait_log("PostgreSQL is away: .*options")
    refused.stop()
    site.brokers.remove(refused)
    allowed = site.add_broker("broker-2", database=bouncer(ignore_startup_parameters="options").conninfo + " options='-c geqo=off'")
    site.device("dev-1", allowed)
    site.wait_device("dev-1", listening=True)


@pytest.mark.parametrize("mode", ["transaction", "statement"])
def test_sessions_that_are_shared_are_refused(own_site, bouncer, mode):
    """One line, nothing is written, reports are kept until the pool is as it has to be."""
    site, pool = own_site, bouncer(mode)
    brokers = [site.add_broker(f"broker-{number}", ready=False, database=pool.conninfo) for number in (1, 2)]
    device = site.device("dev-1", brokers[0], start=False)
    device.connect()
    device.report("IDLE", n=1)
    for broker in brokers:
        lines = broker.wait_log("PostgreSQL is away: .*pool_mode = session", 15)
        serves(broker)
        assert len(lines) == 1 and len(broker.log_lines("PostgreSQL is away")) == 1, lines
    stays(lambda: site.db.value("SELECT to_regnamespace('ota') IS NULL"), 1)
    pool.kill()
    pool.conf = re.sub("pool_mode = .*", "pool_mode = session", pool.conf)
    pool.start()
    wait_for(site.schema_ready, 30, brokers[0].log)
    wait_for(lambda: site.db.value("SELECT count(*) FROM ota.event WHERE kind = 'status'") == 1, 20, brokers[0].log)


def test_pool_that_shares_its_sessions_later(own_site, bouncer):
    """The mode is changed under a running broker: it notices before it writes another batch into somebody's session."""
    site, pool = own_site, bouncer()
    brokers = [site.add_broker(name, database=pool.conninfo) for name in ("broker-1", "broker-2")]
    all_listening(site, 0)
    pool.kill()
    pool.conf = re.sub("pool_mode = .*", "pool_mode = transaction", pool.conf)
    pool.start()
    for broker in brokers:
        wait_for(lambda broker=broker: broker.log_lines("PostgreSQL is away"), 15, broker.log)
    wait_for(lambda: controllers(site) <= 1, 10)
    stays(lambda: not any(broker.log_lines("PostgreSQL is back") for broker in brokers), 3)
