"""Databases that are not like those of the other tests: an operator's settings, another encoding."""

import pathlib

import pytest

from harness import Database, Site, wait_for
from harness.control import Operator, password_file

pytestmark = pytest.mark.usefixtures("plugin")

# What an operator's database may say: each changes what a statement means, or how a value is written.
SETTINGS = {
    "datestyle": "German, DMY", "intervalstyle": "iso_8601", "timezone": "Asia/Kolkata", "standard_conforming_strings": "off",
    "default_transaction_isolation": "serializable", "bytea_output": "escape", "extra_float_digits": "-3", "array_nulls": "off",
    "quote_all_identifiers": "on", "search_path": "nowhere", "client_min_messages": "debug1",
}


PLAIN = "LOCALE_PROVIDER libc LC_COLLATE 'C' LC_CTYPE 'C'"
GERMAN = "LOCALE_PROVIDER icu ICU_LOCALE 'de-DE'"
SQL = pathlib.Path(__file__).resolve().parents[2] / "sql"
BYTES = """SELECT c.relname AS name, c.relfilenode AS file FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid AND c.relkind = 'i'
    JOIN pg_opclass o ON o.oid = ANY (i.indclass) AND o.opcname = 'text_pattern_ops' AND c.relnamespace = 'ota'::regnamespace ORDER BY 1"""


def one_rollout(site, devices):
    site.quick_plan()
    site.release("1.5.0")
    wait_for(lambda: site.db.value("SELECT count(*) FROM ota.device WHERE listening") == len(devices), 10)
    rollout = site.start_rollout("default", "1.5.0", "quick")
    site.update_all(devices, "1.5.0")
    site.wait_rollout(rollout, "completed")
    return rollout


def test_settings_of_the_database(bare_site):
    site, db = bare_site, bare_site.db
    for name, value in SETTINGS.items():
        db.execute(f"ALTER DATABASE {db.name} SET {name} = {value!r}" if name != "datestyle" else f"ALTER DATABASE {db.name} SET datestyle = {value}")
    db.close()
    users = password_file(site.folder / "users", "alice")
    site.add_broker(control_users="alice", extra=[f"password_file {users}", "allow_anonymous true"])
    alice = Operator(site, "alice")
    # What this program reads itself comes as it can read it.
    site.db = Database(db.server, db.name)
    site.db.conninfo += " options='-c intervalstyle=postgres'"
    assert db.value("SHOW intervalstyle") == "iso_8601" and db.value("SHOW standard_conforming_strings") == "off"
    assert db.refusal("SELECT ota.assign_device('$dev', 'default')")[0] == "22023", "what a name is does not change"
    assert db.refusal("INSERT INTO ota.fleet (fleet) VALUES ('$x')")[0] == "23514"
    rollout = one_rollout(site, site.devices(4))
    plan = alice.ask("show_plan", plan="quick")
    assert (plan["health_timeout"], plan["stages"][0]["wait"]) == ("00:01:00", "00:00:01")
    assert alice.ask("show_rollout", id=rollout)["started_at"].startswith("20")
    db.execute("SELECT ota.set_retention('1 year 2 months 3 days', 'integration test')")
    assert db.value("SELECT count(*) FROM ota.event_parts() WHERE until > since") > 2
    assert db.rows("SELECT * FROM ota.controller_audit_upkeep(now())") is not None
    assert db.rows("SELECT * FROM ota.verify_audit()") == []
    site.db.close()


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
def test_encoding_of_the_database(postgres, tmp_path, make_broker, encoding):
    """UTF-8 is what is supported.  What is ASCII works all the same, and what cannot be stored holds nobody else up."""
    site = Site(tmp_path, postgres.create_like(f"ENCODING '{encoding}' {PLAIN}"), make_broker)
    try:
        broker = site.add_broker()
        broker.wait_log(f"the database's encoding is {encoding}, not UTF8")
        site.device("設備-1").report("IDLE", note="設")
        devices = site.devices(2)
        devices[0].report("FAILED", error="größe", note="ü")
        broker.wait_log("event of device .*cannot be stored and is left out")
        one_rollout(site, devices)
        assert site.db.rows("SELECT * FROM ota.verify_audit()") == []
    finally:
        site.close()
        postgres.drop_database(site.db)


def before_migration_7(db):
    """All that sql/install.sql did when there were six migrations."""
    files = [line.split()[1] for line in (SQL / "install.sql").read_text().splitlines() if line.startswith("\\ir ")]
    db.execute("SET check_function_bodies = off")
    for file in files:
        if not file.startswith("migrations/0007"):
            db.execute((SQL / file).read_text())
    # What came later.
    db.execute("DROP TABLE ota.hand_out CASCADE")
    db.execute("DELETE FROM ota.schema_migration WHERE version > 7")
    db.close()


def test_a_database_that_compares_bytes_keeps_its_indexes(postgres, tmp_path, make_broker):
    site = Site(tmp_path, postgres.create_like(f"ENCODING 'UTF8' {PLAIN}"), make_broker)
    try:
        site.add_broker()
        site.wait_joined()
        assert site.db.rows(BYTES) == []
    finally:
        site.close()
        postgres.drop_database(site.db)


def test_ids_are_looked_up_by_bytes_in_any_language(postgres, tmp_path, make_broker):
    """An upgrade of a database whose collation is German; what was built beforehand is taken as it is."""
    db = postgres.create_like(f"ENCODING 'UTF8' {GERMAN}")
    site = Site(tmp_path, db, make_broker)
    try:
        before_migration_7(db)
        db.execute("INSERT INTO ota.device (device_id) SELECT 'old-' || n FROM generate_series(1, 500) n")
        db.execute("SELECT ota.event_append(NULL, NULL, ARRAY['old-1'], ARRAY[NULL::bigint], ARRAY['test'], ARRAY['{}'])")
        # docs/design/audit.md
        for statement in db.column("SELECT format('CREATE INDEX CONCURRENTLY ON ota.%%I (device_id text_pattern_ops, at)"
                                   " WHERE device_id IS NOT NULL', name) FROM ota.event_parts() WHERE %s = 1", 1):
            db.execute(statement)
        prepared = db.rows(BYTES)
        assert len(prepared) == db.value("SELECT count(*) FROM ota.event_parts()") > 2
        site.add_broker()
        wait_for(lambda: db.value("SELECT max(version) FROM ota.schema_migration") > 7, 20, "the schema is upgraded")
        after = db.rows(BYTES)
        assert [one for one in after if one in prepared] == prepared
        assert {one["name"] for one in after if one not in prepared} == {"device_id_bytes", "device_update_open", "event_other_device_id_at_idx"}
        db.execute("ANALYZE ota.device")
        plan = "\n".join(db.column("EXPLAIN SELECT * FROM ota.device WHERE device_id = 'old-7'"))
        assert "device_id_bytes" in plan, plan
        plan = "\n".join(db.column("EXPLAIN SELECT * FROM ota.device WHERE device_id > 'old-7' ORDER BY device_id LIMIT 2"))
        assert "device_pkey" in plan, plan
        # In the order of bytes Z would come before a.
        one_rollout(site, [site.device(name) for name in ("a-1", "Z-1", "A_1", "b")])
        assert db.column("SELECT device_id FROM ota.device WHERE broker IS NOT NULL ORDER BY device_id") == ["A_1", "a-1", "b", "Z-1"]
        assert db.value("SELECT count(*) FROM ota.device_history WHERE device_id = 'old-1'") == 1
        assert db.rows("SELECT * FROM ota.verify_audit()") == []
    finally:
        site.close()
        postgres.drop_database(db)
