"""The audit log: an older installation's, its months, and what shows that somebody has been at it."""

import pathlib

import pytest

from harness import wait_for

SQL = pathlib.Path(__file__).resolve().parents[2] / "sql"


def older_schema(db, *migrations):
    for name in migrations or ("0001_schema.sql", "0002_standard_plan.sql"):
        db.execute((SQL / "migrations" / name).read_text())


@pytest.mark.parametrize("prepared", [False, True], ids=["as it is", "index made beforehand"])
def test_an_older_log_keeps_its_rows_and_numbers(bare_site, prepared):
    db = bare_site.db
    older_schema(db)
    db.execute("INSERT INTO ota.event (at, broker, device_id, rollout_id, kind, detail)"
               " SELECT now() - n * interval '1 hour', 'broker-1', 'old-' || n %% 10, n %% 3, CASE WHEN n %% 50 = 0 THEN 'denied' ELSE 'status' END,"
               " jsonb_build_object('n', n) FROM generate_series(1, 5000) n WHERE %s = 1", 1)
    db.execute("INSERT INTO ota.event (at, kind) VALUES (now() + interval '2 years', 'ahead of its time'), ('1999-01-01', 'behind')")
    before = db.rows("SELECT * FROM ota.event ORDER BY event_id")
    if prepared:
        db.execute("CREATE UNIQUE INDEX CONCURRENTLY event_before_pkey ON ota.event (event_id, at)")
    bare_site.add_broker()
    wait_for(lambda: db.value("SELECT count(*) FROM ota.event WHERE kind = 'broker_started'") == 1, 10, "the broker has started")
    columns = ", ".join(before[0])
    assert db.rows(f"SELECT {columns} FROM ota.event WHERE position IS NULL ORDER BY event_id") == before
    first = db.row("SELECT min(event_id) AS least, count(*) AS n FROM ota.event WHERE position IS NOT NULL")
    assert first["least"] == before[-1]["event_id"] + 1 and first["n"] >= 1
    assert db.value("SELECT tableoid::regclass::text FROM ota.event WHERE kind = 'ahead of its time'") == "ota.event_other"
    device = bare_site.device("old-1")
    device.report("IDLE")
    bare_site.wait_device("old-1", listening=True)
    story = db.rows("SELECT at, event_id FROM ota.device_history WHERE device_id = 'old-1' ORDER BY at")
    assert len(story) > 500 and story == sorted(story, key=lambda row: (row["at"], row["event_id"]))
    assert db.value("SELECT count(*) FROM ota.denied WHERE at > now() - interval '1 year'") == 100


def test_a_view_of_somebody_elses_stops_the_upgrade(bare_site):
    db = bare_site.db
    older_schema(db)
    db.execute("CREATE VIEW public.mine AS SELECT count(*) FROM ota.event")
    broker = bare_site.add_broker(ready=False)
    broker.wait_log("mine would go on reading the old one")
    assert db.value("SELECT max(version) FROM ota.schema_migration") == 2
    db.execute("DROP VIEW public.mine")
    bare_site.wait_ready()
    assert db.value("SELECT count(*) FROM pg_inherits WHERE inhparent = 'ota.event'::regclass") >= 3
