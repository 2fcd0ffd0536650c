"""The audit log at size: years of rows in months, chained by the plugin's own function, then the questions that people ask.

    OTA_AUDIT_ROWS=20000000 tests/bench/run.sh audit

A million rows need about 0.5 GB while it runs.
"""

import os
import re
import time

from common import ROOT

DEVICES = 10_000
BATCH = 20_000
QUESTIONS = (
    ("the last 20 events of a device", "SELECT * FROM ota.device_history WHERE device_id = 'device-4711' ORDER BY at DESC LIMIT 20"),
    ("a device's last day", "SELECT * FROM ota.device_history WHERE device_id = 'device-4711' AND at > now() - interval '1 day' ORDER BY at"),
    ("what was denied on the last day", "SELECT * FROM ota.denied WHERE at > now() - interval '1 day' ORDER BY at"),
    ("the last 100 events of a rollout", "SELECT * FROM ota.event WHERE rollout_id = 70 ORDER BY at DESC LIMIT 100"),
    ("the last 100 events of all", "SELECT * FROM ota.event ORDER BY event_id DESC LIMIT 100"),
    ("the last 100 of a device by number", "SELECT * FROM ota.event WHERE device_id = 'device-4711' ORDER BY event_id DESC LIMIT 100"),
    ("one row of a chain", "SELECT * FROM ota.event WHERE chain = 1 AND position = 1234567"),
)


def fill(database, rows, months):
    """Three brokers take turns; each device reports in turn, one event in a hundred is a refusal, one in twenty of a rollout."""
    for month in range(months):
        database.execute("SELECT ota.event_month_add(date_trunc('month', now() AT TIME ZONE 'UTC') - %s * interval '1 month') WHERE %s > 0", month, month)
    begin = time.time()
    for first in range(0, rows, BATCH):
        database.execute("""
            SELECT ota.event_append('broker-' || %s::int / %s::int %% 3 + 1,
                   array_agg((extract(epoch FROM now() - (%s - n) * (%s * interval '1 month' / %s)) * 1000)::bigint ORDER BY n),
                   array_agg('device-' || n * 7919 %% %s ORDER BY n), array_agg(CASE WHEN n %% 20 = 0 THEN n * 100 / %s END ORDER BY n),
                   array_agg(CASE WHEN n %% 100 = 99 THEN 'denied' ELSE 'status' END ORDER BY n),
                   array_agg('{"version":"1.4.2","status":"IDLE","checks":{"mqttConnected":true,"gpsLock":true},"ts":"2026-01-31T02:10:04Z"}'::text))
              FROM generate_series(%s::bigint, %s) AS n""", first, BATCH, rows, months - 1, rows, DEVICES, rows, first, min(first + BATCH, rows) - 1)
    return rows / (time.time() - begin)


def plan(database, question):
    return [line["QUERY PLAN"] for line in database.rows("EXPLAIN (ANALYZE, BUFFERS, COSTS OFF, SUMMARY ON) " + question)]


def run(bench):
    rows = int(os.environ.get("OTA_AUDIT_ROWS", bench.size(300_000, 40_000, 2_000_000)))
    months = max(5, min(12, rows // 1_000_000))
    database = bench.postgres.create_database()
    try:
        bench.postgres._run("psql", "-X", "-q", "-h", bench.postgres.folder, "-p", str(bench.postgres.port), "-U", "postgres", "-d", database.name, "-f", ROOT / "sql" / "install.sql")
        bench.row("audit: rows written and chained", [fill(database, rows, months)], "rows/s", note=f"{rows:,} in {months} months")
        database.execute("VACUUM ANALYZE ota.event")
        size = database.value("SELECT sum(pg_total_relation_size(inhrelid)) FROM pg_inherits WHERE inhparent = 'ota.event'::regclass")
        bench.row("audit: size of a row with its indexes", [float(size) / rows], "bytes")
        for name, question in QUESTIONS:
            first = plan(database, question)
            again = plan(database, question)
            if not bench.quick:
                print(f"\n-- {name}\n{question};\n" + "\n".join(first), flush=True)
            took = [float(re.search(r"Execution Time: ([0-9.]+)", "\n".join(lines)).group(1)) for lines in (first, again)]
            bench.row(f"audit: {name}", took, "ms", note="at first, again")
        begin = time.time()
        wrong = database.rows("SELECT * FROM ota.verify_audit()")
        assert not wrong, wrong[:5]
        bench.row("audit: verify_audit()", [rows / (time.time() - begin)], "rows/s", note="one processor")
        begin = time.time()
        head = database.row("SELECT name, position - 1000 AS position FROM ota.event_chain WHERE broker = 'broker-1'")
        assert not database.rows("SELECT * FROM ota.verify_audit(%s, %s)", head["name"], head["position"])
        bench.row("audit: verify_audit() of the last 1000 rows of a chain", [(time.time() - begin) * 1000], "ms")
        database.execute("SELECT ota.set_retention('40 days', 'bench')")
        longest, calls, begin = 0, 0, time.time()
        while True:
            one = time.time()
            done = database.row("SELECT * FROM ota.controller_audit_upkeep()")
            longest, calls = max(longest, time.time() - one), calls + 1
            if not done["more"]:
                break
        if calls:
            bench.row("audit: dropping months, all", [time.time() - begin], "s", note=f"{calls} calls, the longest {longest * 1000:.0f} ms")
            assert not database.rows("SELECT * FROM ota.verify_audit()")
    finally:
        bench.postgres.drop_database(database)
