"""The database's roles: a broker that is no owner, an operator without rights to any table."""

import pytest

from harness import wait_for

pytestmark = pytest.mark.usefixtures("plugin")


@pytest.fixture
def logins(site):
    """Logins of this test: a broker, an operator, a viewer; the schema is there, installed by its owner."""
    names = {role: f"{role}_{site.db.name}" for role in ("plugin", "operator", "viewer")}
    for role, name in names.items():
        site.db.execute(f"CREATE ROLE {name} LOGIN IN ROLE ota_{role}")
    yield {role: site.db.conninfo.replace("user=postgres", f"user={name}") for role, name in names.items()}
    site.close()
    site.brokers.clear()
    for name in names.values():
        site.db.execute(f"DROP ROLE {name}")


def by(site, conninfo):
    """From here on the site's own statements are those of this login."""
    site.db.close()
    site.db.conninfo = conninfo


@pytest.mark.parametrize("installed", ["by the plugin", "by hand"])
def test_a_broker_without_rights_to_tables_runs_a_rollout(site, logins, installed):
    if installed == "by hand":
        site.db.execute("DELETE FROM ota.setting WHERE name = 'functions'")
    site.broker.options["database"] = logins["plugin"]
    site.broker.restart()
    if installed == "by hand":
        site.broker.wait_log("the owner of schema ota has installed")
    owner = site.db.conninfo
    by(site, logins["operator"])
    site.quick_plan(wait="1 second")
    site.release("1.5.0")
    devices = site.devices(4)
    wait_for(lambda: site.db.value("SELECT count(*) FROM ota.device WHERE listening AND version = '1.0.0'") == 4, 10)
    rollout = site.start_rollout("default", "1.5.0", "quick")
    site.update_all(devices, "1.5.0")
    site.wait_rollout(rollout, "completed")
    started = [event for event in site.events("rollout", rollout=rollout) if event["detail"].get("event") == "create"]
    assert started[0]["detail"]["by"].startswith("operator_"), "the audit names who logged in"
    assert "permission denied" not in site.broker.log()
    assert "permission denied" in site.db.refused("UPDATE ota.release SET state = 'verified'")
    assert "permission denied" in site.db.refused("SELECT ota.broker_alive('broker-1')")
    by(site, logins["viewer"])
    assert site.progress(rollout)[0]["state"] == "completed"
    assert "permission denied" in site.db.refused("SELECT ota.halt_rollout(%s, 'x')", rollout)
    by(site, owner)


def test_a_stolen_operators_login_moves_no_firmware_of_its_own(site, logins):
    """It may start what is signed; it can neither sign nor say that something is."""
    owner = site.db.conninfo
    by(site, logins["operator"])
    for statement in ("INSERT INTO ota.release (version, sequence, url, sha256, size, state) VALUES ('6.6.6', 6, 'x', 'x', 1, 'verified')",
                      "UPDATE ota.device SET pinned_version = NULL, sequence = 0",
                      "INSERT INTO ota.device_update (rollout_id, device_id, stage, rank) VALUES (1, 'dev-1', 1, 0)",
                      "UPDATE ota.rollout_stage SET percent = 100",
                      "DELETE FROM ota.event",
                      "CREATE FUNCTION ota.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
                      "ALTER TABLE ota.device_update DISABLE TRIGGER ALL",
                      "SELECT ota.broker_release_verdict('broker-1', 1, true, NULL, 'me', NULL, NULL, NULL, NULL, NULL, NULL)"):
        assert any(word in site.db.refused(statement) for word in ("permission denied", "must be owner")), statement
    by(site, owner)
