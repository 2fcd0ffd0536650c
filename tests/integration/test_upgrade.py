"""A database that an earlier plugin has left in the middle of its work: the next one upgrades it and goes on."""

import gzip
import pathlib
import subprocess

import pytest

from harness import envelope, stays, wait_for

pytestmark = pytest.mark.usefixtures("plugin")

# All of sql/ as it was released with the migrations 1 and 2, in the order in which it is applied.
OLDER = pathlib.Path(__file__).parent / "older" / "schema-2.sql.gz"
INSTALL = pathlib.Path(__file__).resolve().parents[2] / "sql" / "install.sql"
COUNT = 10

# What a schema consists of; the rows of the audit log from before are in a table that a fresh one has not.
SCHEMA = """
    SELECT 'function' AS kind, p.oid::regprocedure::text AS name,
           CASE WHEN p.prokind = 'f' THEN pg_get_functiondef(p.oid) END || coalesce(p.proacl::text, '') AS what
      FROM pg_proc p WHERE p.pronamespace = 'ota'::regnamespace
    UNION ALL
    SELECT 'column', c.relname || '.' || a.attname, format('%s %s %s %s', format_type(a.atttypid, a.atttypmod), a.attnotnull,
           pg_get_expr(d.adbin, d.adrelid), col_description(c.oid, a.attnum))
      FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
      LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
     WHERE c.relnamespace = 'ota'::regnamespace AND c.relkind IN ('r', 'p', 'v') AND c.relname !~ '^event_(before|[0-9])'
    UNION ALL
    SELECT 'view', c.relname, pg_get_viewdef(c.oid) FROM pg_class c WHERE c.relnamespace = 'ota'::regnamespace AND c.relkind = 'v'
    UNION ALL
    SELECT 'index', i.indexname, i.indexdef FROM pg_indexes i WHERE i.schemaname = 'ota' AND i.tablename !~ '^event_(before|[0-9])'
    UNION ALL
    SELECT 'trigger', t.tgrelid::regclass || ' ' || t.tgname, pg_get_triggerdef(t.oid)
      FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
     WHERE c.relnamespace = 'ota'::regnamespace AND NOT t.tgisinternal AND c.relname !~ '^event_(before|[0-9])'
    UNION ALL
    SELECT 'constraint', c.conrelid::regclass || ' ' || c.conname, pg_get_constraintdef(c.oid)
      FROM pg_constraint c JOIN pg_class t ON t.oid = c.conrelid
     WHERE c.connamespace = 'ota'::regnamespace AND t.relname !~ '^event_(before|[0-9])'
    ORDER BY 1, 2"""


def older_site(site):
    """Ten devices, a rollout in the second of three stages: three succeeded, two are told, one waits with a slot, four are to come."""
    db = site.db
    db.execute(gzip.decompress(OLDER.read_bytes()).decode())
    db.execute("SELECT ota.broker_hello('broker-1', '0.1.0', true)")
    db.execute("INSERT INTO ota.fleet (fleet) VALUES ('default') ON CONFLICT DO NOTHING")
    db.execute("INSERT INTO ota.device (device_id, fleet, version, connected, listening, broker, session, last_seen, attributes)"
               " SELECT 'dev-' || to_char(n, 'FM000'), 'default', '1.0.0', true, true, 'broker-1', 1, now(), jsonb_build_object('site', 'site-' || n %% 2)"
               " FROM generate_series(1, %s) n", COUNT)
    release = site.submit(envelope(site.manifest("2.0.0"), site.signer))
    db.execute("SELECT ota.broker_release_verdict('broker-1', %s, true, NULL, %s, NULL, NULL, NULL, NULL, NULL, NULL)", release, site.signer.keyid())
    site.plan("three", ("a", 30, "0 s"), ("b", 60, "1 s"), ("c", 100, "1 s"), options={"pacing": "none"})
    rollout = site.start_rollout("default", "2.0.0", "three")
    db.execute("SELECT ota.rollout_step(%s, 'start', NULL, 'controller')", rollout)
    db.execute("SELECT ota.controller_open_stage(%s, 1, 10, 3)", rollout)
    db.execute("SELECT ota.controller_grant(%s, 3)", rollout)
    updated = [row["device_id"] for row in db.rows("SELECT * FROM ota.broker_claim('broker-1', 3)")]
    db.execute("UPDATE ota.device SET version = '2.0.0', sequence = 1 WHERE device_id = ANY (%s)", updated)
    db.execute("UPDATE ota.device_update SET state = 'succeeded', finished_at = now(), deadline = NULL WHERE device_id = ANY (%s)", updated)
    db.execute("SELECT ota.controller_close_stage(%s, 1, 'passed', 'good')", rollout)
    db.execute("SELECT ota.controller_open_stage(%s, 2, 10, 6)", rollout)
    db.execute("SELECT ota.controller_grant(%s, 3)", rollout)
    told = [row["device_id"] for row in db.rows("SELECT * FROM ota.broker_claim('broker-1', 2)")]
    assert len(updated) == 3 and len(told) == 2
    return rollout, updated, told


def test_a_rollout_goes_on_over_an_upgrade(bare_site):
    site, db = bare_site, bare_site.db
    rollout, updated, told = older_site(site)
    before = db.rows("SELECT event_id, at, broker, device_id, rollout_id, kind, detail FROM ota.event ORDER BY event_id")
    counters = "SELECT stage, state, cohort, added, notified, succeeded, failed FROM ota.rollout_stage WHERE rollout_id = %s ORDER BY stage"
    stages = db.rows(counters, rollout)
    assert len(before) > 5 and [stage["state"] for stage in stages] == ["passed", "open", "waiting"], (before, stages)

    site.add_broker()
    wait_for(lambda: db.value("SELECT max(version) FROM ota.schema_migration") > 2, 20, "the schema is upgraded")
    assert db.rows(counters, rollout) == stages, "while nobody is there no stage changes"
    devices = [site.device(f"dev-{n:03d}", version="2.0.0" if f"dev-{n:03d}" in updated else "1.0.0") for n in range(1, COUNT + 1)]
    for device in devices:
        if device.client_id in told:  # it has its notice from before
            device.update({"version": "2.0.0", "attempt": 1})
    site.update_all([device for device in devices if device.client_id not in updated + told], "2.0.0", 40)
    site.wait_rollout(rollout, "completed", 30)
    assert [stage["cohort"] for stage in site.stages(rollout)] == [3, 6, 10]
    assert db.value("SELECT count(*) FROM ota.device_update WHERE rollout_id = %s AND state = 'succeeded'", rollout) == COUNT
    assert {device.client_id for device in devices if not device.notices()} == set(updated + told), "who had been told before is not told again"
    assert all(site.update_row(rollout, one)["attempt"] == 1 for one in told), "nor in another attempt"
    assert db.rows("SELECT event_id, at, broker, device_id, rollout_id, kind, detail FROM ota.event WHERE position IS NULL ORDER BY event_id") == before
    assert db.rows("SELECT * FROM ota.verify_audit()") == []
    # A halt with what the upgrade brought: the plan of before has no fallback, a new release goes out by the same plan.
    site.release("2.1.0")
    again = site.start_rollout("default", "2.1.0", "three")
    site.wait_rollout(again, "running")
    site.order("halt", again)
    assert site.rollout(again)["next_action"] == "waits for ota.resume_rollout or ota.cancel_rollout"
    stays(lambda: site.rollout(rollout)["state"] == "superseded", 0.5)


def test_an_upgraded_schema_is_a_fresh_one(bare_site, postgres):
    older_site(bare_site)
    bare_site.add_broker()
    wait_for(lambda: bare_site.db.value("SELECT max(version) FROM ota.schema_migration") > 2, 20, "the schema is upgraded")
    fresh = postgres.create_database()
    try:
        subprocess.run(["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", fresh.conninfo, "-f", INSTALL], check=True, stdout=subprocess.DEVNULL,
                       env={"PATH": "/usr/bin:/bin", "PGOPTIONS": "-c client_min_messages=warning"})
        expected, found = ({(row["kind"], row["name"]): row["what"] for row in db.rows(SCHEMA)} for db in (fresh, bare_site.db))
        assert len(expected) > 300
        assert {name: (found.get(name), expected.get(name)) for name in expected.keys() | found.keys()
                if found.get(name, "") != expected.get(name, "")} == {}
    finally:
        postgres.drop_database(fresh)
