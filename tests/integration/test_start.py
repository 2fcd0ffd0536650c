"""Starting: without PostgreSQL, on a fresh, a known and a newer database, and several brokers at once."""

import threading

import pytest

from harness import Site, stays, wait_for

pytestmark = pytest.mark.usefixtures("plugin")


def schema_of(database):
    """Everything that a migration makes, in words."""
    return database.rows("""
        SELECT 'relation' AS what, c.oid::regclass::text AS name, c.relkind::text AS more FROM pg_class c
          WHERE c.relnamespace = 'ota'::regnamespace
        UNION ALL SELECT 'function', p.oid::regprocedure::text, md5(p.prosrc) FROM pg_proc p
          WHERE p.pronamespace = 'ota'::regnamespace
        UNION ALL SELECT 'migration', version::text, name FROM ota.schema_migration ORDER BY 1, 2, 3""")


def test_fresh_database_gets_the_schema_and_the_standard_plan(site):
    relations = site.db.column("SELECT c.relname FROM pg_class c WHERE c.relnamespace = 'ota'::regnamespace")
    for name in ("fleet", "device", "release", "rollout", "rollout_stage", "device_update", "event", "fleet_versions",
                 "rollout_progress", "device_history", "denied"):
        assert name in relations
    plan = site.db.rows("SELECT stage, label, percent::int AS percent, wait::text AS wait FROM ota.plan_stage"
                        " WHERE plan = 'standard' ORDER BY stage")
    assert [(row["label"], row["percent"]) for row in plan] == [("canary", 1), ("early", 10), ("majority", 50), ("full", 100)]
    assert [row["wait"] for row in plan[:3]] == ["02:00:00", "12:00:00", "24:00:00"]


def test_second_start_changes_nothing(site):
    before = schema_of(site.db)
    site.broker.restart()
    site.device("dev-1")  # the store is at work again
    site.wait_device("dev-1", version="1.0.0")
    assert schema_of(site.db) == before


def test_two_brokers_migrate_one_database_at_once(bare_site):
    first = bare_site.add_broker("broker-1", start=False)
    second = bare_site.add_broker("broker-2", start=False)
    starts = [broker.launch() for broker in (first, second)]
    for broker in starts:
        wait_for(broker.listening, 20, lambda: broker.log())
    bare_site.wait_ready()
    for number, broker in enumerate(starts, 1):
        bare_site.device(f"dev-{number}", broker)
        bare_site.wait_device(f"dev-{number}", version="1.0.0", broker=f"broker-{number}")
    assert bare_site.db.value("SELECT count(*) FROM ota.schema_migration WHERE version = 1") == 1


def test_newer_database_is_refused_and_the_broker_serves_on(site):
    site.broker.stop()
    site.db.execute("INSERT INTO ota.schema_migration (version, name) VALUES (9999, 'from the future')")
    site.broker.start()
    line = site.broker.wait_log("9999")[0]
    assert "rror" in line or "refus" in line or "newer" in line, line
    client = site.client("ordinary")
    client.subscribe("chat/#")
    client.publish("chat/a", b"hello")
    wait_for(lambda: client.topics() == ["chat/a"], 5)
    site.device("dev-1")
    stays(lambda: site.device_row("dev-1") is None, 1.5, "a plugin that is too old wrote to a newer database")


def test_start_without_postgresql(tmp_path, own_postgres, make_broker):
    """Everybody else is served, reports are kept, and all is written when PostgreSQL appears."""
    own_postgres.start()
    database = own_postgres.create_database()
    database.close()
    own_postgres.stop()
    site = Site(tmp_path, database, make_broker)
    try:
        broker = site.add_broker(ready=False)
        client = site.client("ordinary")
        client.subscribe("chat/#")
        client.publish("chat/a", b"hello")
        wait_for(lambda: client.topics() == ["chat/a"], 5)
        device = site.device("dev-1")
        device.report("IDLE", error="while-away")
        assert max(broker.ping_seconds() for _ in range(5)) < 0.5
        own_postgres.start()
        site.wait_ready()
        row = site.wait_device("dev-1", 20, version="1.0.0", listening=True)
        assert row["connected"]
        wait_for(lambda: [event for event in site.events("status", "dev-1")
                          if event["detail"].get("error") == "while-away"
                          or "while-away" in str(event["detail"])], 10, lambda: site.events(device="dev-1"))
    finally:
        site.close()
        database.close()


@pytest.mark.memory
def test_reload_and_stop_are_clean(site):
    for _ in range(3):
        site.broker.reload()
    site.device("dev-1")
    site.wait_device("dev-1", version="1.0.0")
    site.broker.restart()


def test_plugin_twice_is_refused_in_words(bare_site):
    options = [f"plugin_opt_{key} {value}" for key, value in bare_site.options().items()]
    broker = bare_site.add_broker(start=False)
    broker.extra = [f"plugin {broker.plugin}", *options]
    broker.launch()
    broker.expect_death = True
    wait_for(lambda: broker.process.poll() is not None, 10, "the broker refuses the second line")
    assert broker.log_lines("twice|already|second|once"), broker.log()


@pytest.mark.memory
def test_state_directory_that_cannot_be_written(bare_site):
    broker = bare_site.add_broker(start=False, state_directory="/proc/nowhere")
    broker.refuses("state_directory", "/proc/nowhere")


def test_a_sound_configuration_starts_on_many_threads_of_clients(site):
    """Connections made at the same time all appear."""
    names = [f"dev-{number}" for number in range(20)]
    devices = [site.device(name, start=False) for name in names]
    threads = [threading.Thread(target=device.start) for device in devices]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wait_for(lambda: site.db.value("SELECT count(*) FROM ota.device WHERE connected AND version = '1.0.0'") == 20, 10,
             lambda: site.db.rows("SELECT device_id, connected, version FROM ota.device"))
