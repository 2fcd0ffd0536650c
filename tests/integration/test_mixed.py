"""Brokers with plugins of different versions on one database: what an upgrade one broker after the other goes through."""

import subprocess

import pytest

from conftest import ROOT
from harness import stays, wait_for

pytestmark = pytest.mark.usefixtures("plugin")


@pytest.fixture(scope="session")
def older_plugin():
    """A plugin that knows only the first two migrations."""
    done = subprocess.run([ROOT / "tests" / "older.sh", "plugin"], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode == 77:
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_an_older_broker_beside_newer_ones(bare_site, older_plugin, plugin):
    """Two brokers with the older plugin serve devices; one is upgraded.  The other one is sent away from the database: it goes on with
    its clients, keeps what its devices report, tells nobody anything, and says what to do.  Upgraded, it brings everything along."""
    site, db = bare_site, bare_site.db
    new_plugin = plugin
    brokers = []
    for name in ("hamburg", "munich"):
        broker = site.add_broker(name, start=False)
        broker.plugin = older_plugin
        broker.options.pop("offline_serve_seconds", None)
        broker.start()
        brokers.append(broker)
    hamburg, munich = brokers
    wait_for(lambda: db.value("SELECT to_regclass('ota.schema_migration') IS NOT NULL") and
             db.value("SELECT max(version) FROM ota.schema_migration") == 2, 20, hamburg.log)
    north = site.devices(3, prefix="north", broker=hamburg)
    south = site.devices(3, prefix="south", broker=munich)
    wait_for(lambda: db.value("SELECT count(*) FROM ota.device WHERE listening") == 6, 15)
    site.release("2.0.0")
    # It stands in its first stage when the upgrade begins.
    plan = site.plan("halves", ("half", 50, "1 hour"), ("all", 100, "0 s"), options={"pacing": "none", "reboot": False})
    rollout = site.start_rollout("default", "2.0.0", plan)
    wait_for(lambda: sum(bool(one.notices()) for one in north + south) == 3, 15, lambda: site.describe(rollout))
    told = [one for one in north + south if one.notices()]

    hamburg.plugin = new_plugin
    hamburg.restart()
    for device in north:
        device.reconnect()
        device.subscribe(device.topic)
    wait_for(lambda: db.value("SELECT max(version) FROM ota.schema_migration") > 2, 40, lambda: hamburg.log()[-3000:])
    # The older one is sent away at once, before it stumbles over functions that are not its own.
    munich.wait_log("PostgreSQL is away: connection lost: .*; reports are kept in", 20)
    assert not munich.log_lines("does not exist|SQLSTATE"), munich.log()
    wait_for(lambda: hamburg.log_lines("this broker controls the rollouts"), 20, hamburg.log)

    # Its clients are served, its devices' reports acknowledged and kept.
    probe = site.client("probe", broker=munich)
    probe.subscribe("chat/#")
    probe.publish("chat/a", b"hello")
    wait_for(lambda: probe.topics() == ["chat/a"], 5)
    for device in told:
        device.update(device.notices()[0])
    site.order("advance", rollout, "the upgrade is on the way")
    for device in [one for one in north if one not in told]:
        device.update(device.wait_notice(timeout=20))
    late = [one for one in south if one not in told]
    stays(lambda: not any(one.notices() for one in late), 2, "who is behind the older broker is told of nothing new")
    assert all(site.update_row(rollout, one.client_id)["state"] != "succeeded" for one in south), "nor is there news of it"

    munich.plugin = new_plugin
    munich.restart()
    for device in south:
        device.reconnect()
        device.subscribe(device.topic)
        device.report()
    for device in late:
        device.update(device.wait_notice(timeout=20))
    site.wait_rollout(rollout, "completed", 30)
    wait_for(lambda: [row["state"] for row in db.rows("SELECT state FROM ota.device_update WHERE rollout_id = %s", rollout)] == ["succeeded"] * 6, 20,
             lambda: site.describe(rollout))
    assert db.rows("SELECT * FROM ota.verify_audit()") == []


def test_an_older_plugin_leaves_newer_functions_alone(site, broker_version):
    """The same tables, and the functions of a newer plugin: whoever connects again does not take them back."""
    db = site.db
    site.broker.stop()
    db.execute("CREATE OR REPLACE FUNCTION ota.version_valid(version text) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE AS 'SELECT true'")
    db.execute("UPDATE ota.setting SET value = CASE name WHEN 'functions' THEN 'another' ELSE '99.0.0' END WHERE name IN ('functions', 'functions_of')")
    site.broker.start()
    site.broker.wait_log("using the functions and views of plugin 99.0.0; this one is .*: upgrade it")
    site.device("dev-1")
    site.wait_device("dev-1", version="1.0.0")
    assert db.value("SELECT ota.version_valid('nonsense')") and db.value("SELECT value FROM ota.setting WHERE name = 'functions'") == "another"
    # Those of an older one, or of one that nobody knows, are replaced.
    for known in ("0.0.1", None):
        site.broker.stop()
        db.execute("DELETE FROM ota.setting WHERE name = 'functions_of'")
        if known:
            db.execute("INSERT INTO ota.setting VALUES ('functions_of', %s)", known)
        db.execute("UPDATE ota.setting SET value = 'another' WHERE name = 'functions'")
        site.broker.start()
        wait_for(lambda: db.value("SELECT value FROM ota.setting WHERE name = 'functions'") != "another", 15, site.broker.log)
        assert not db.value("SELECT ota.version_valid('nonsense')")
        assert db.value("SELECT value FROM ota.setting WHERE name = 'functions_of'") not in (None, "0.0.1")


def test_a_plugin_that_is_sent_away_says_why(site):
    """From this version on: not only that its session has ended, but that the database is too new for it, once."""
    site.db.execute("INSERT INTO ota.schema_migration (version, name) VALUES (9999, 'from the future')")
    assert site.db.value("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'mosquitto_ota broker-1'") == 1
    site.broker.wait_log(r"PostgreSQL is away: the database has schema version 9999, this plugin knows up to \d+: upgrade the plugin", 15)
    device = site.device("dev-1")
    stays(lambda: site.device_row("dev-1") is None, 2)
    assert len(site.broker.log_lines("9999")) == 1 and len(site.broker.log_lines("PostgreSQL is away")) <= 2
    device.report("IDLE")
    site.db.execute("DELETE FROM ota.schema_migration WHERE version = 9999")
    site.wait_device("dev-1", timeout=20, version="1.0.0")
    site.broker.wait_log("PostgreSQL is back")
