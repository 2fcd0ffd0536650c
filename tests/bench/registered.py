"""What a large registry costs: opening stages, the controller's passes, the broker's start."""

import time

from common import BUILD, wait_for
from harness import Fleet, Postgres


def timed(action):
    begin = time.monotonic()
    action()
    return time.monotonic() - begin


def passes(database, seconds):
    """Milliseconds that one pass keeps PostgreSQL busy: everything the plugin asks, over the number of passes."""
    database.execute("SELECT pg_stat_statements_reset()")
    time.sleep(seconds)
    return database.value("""SELECT sum(total_exec_time + total_plan_time) / sum(calls) FILTER (WHERE query ~ 'controller_read')
                               FROM pg_stat_statements WHERE query !~ 'pg_stat_statements'""")


def registry(bench, server, devices):
    with bench.site(postgres=server) as site:
        database = site.db
        database.execute("CREATE EXTENSION pg_stat_statements")
        insert = timed(lambda: database.execute(
            """INSERT INTO ota.device (device_id, fleet, version, hardware, first_seen, last_seen)
               SELECT 'device-' || lpad(n::text, 7, '0'), 'default', '1.0.' || n %% 5, 'rev-' || n %% 3, now(), now()
                 FROM generate_series(1, %s) n""", devices))
        database.execute("VACUUM ANALYZE ota.device")
        idle = passes(database, 3)
        images = Fleet(BUILD / "examples" / "fleet" / "mosquitto_ota_fleet", site.folder / "images")
        site.release("2.0.0", **images.image("2.0.0", size=4096))
        site.plan("wide", ("first", 1, "1 hour"), ("full", 100, "1 hour"), options={"pacing": "none"})
        rollout = site.start_rollout("default", "2.0.0", "wide")
        opened = []
        for stage in (1, 2):
            database.execute("SELECT pg_stat_statements_reset()")
            if stage == 2:
                site.order("advance", rollout)
            wait_for(lambda: site.stages(rollout)[stage - 1]["opened_at"], 300, lambda: site.describe(rollout), every=0.1)
            opened.append(database.value("""SELECT sum(total_exec_time) / 1e3 FROM pg_stat_statements
                                             WHERE query ~ 'controller_(open_stage|eligible)'"""))
            assert site.stages(rollout)[stage - 1]["cohort"] == (devices // 100, devices)[stage - 1]
        running = passes(database, 5)
        update = timed(lambda: database.execute("UPDATE ota.device_update SET from_version = '1.0.9'"))
        update_device = timed(lambda: database.execute("UPDATE ota.device SET attributes = '{\"owner\": 1}'"))
        # With devices that are being told and answer, which is when the tables move.
        with bench.fleet(site, 200, download_delay="1000-6000"):
            busy = passes(database, 5)
            halt = timed(lambda: site.order("halt", rollout))
        images.close()
        start = []
        for _ in range(2):
            site.broker.stop()
            start.append(timed(site.broker.start))
        return {"insert": insert, "idle": idle, "first": opened[0], "full": opened[1], "running": running, "busy": busy,
                "update": update, "update device": update_device, "halt": halt, "start": min(start)}


def run(bench):
    server = Postgres(bench.sub_folder() / "pg")
    with open(server.folder / "data" / "postgresql.conf", "a", encoding="ascii") as conf:
        conf.write("shared_preload_libraries = 'pg_stat_statements'\npg_stat_statements.track_planning = on\n"
                   "max_wal_size = 4GB\nshared_buffers = 512MB\n")
    try:
        server.start()
        base = None
        for devices in (10_000, bench.size(1_000_000, 20_000)):
            result = registry(bench, server, devices)
            base = base or result
            name = f"registered {devices:,}"
            bench.row(f"{name}: UPDATE of all device updates", [result["update"]], "s")
            bench.row(f"{name}: open the last stage (99 % join)", [result["full"]], "s", [result["update"]],
                      "to the UPDATE of as many rows")
            bench.row(f"{name}: open the first stage (1 % join)", [result["first"]], "s", [result["update"]])
            bench.row(f"{name}: a pass, no rollout", [result["idle"]], "ms", [base["idle"]], "to 10,000")
            bench.row(f"{name}: a pass, rollout running", [result["running"]], "ms", [base["running"]], "target 20 ms")
            bench.row(f"{name}: a pass, 200 devices updating, their reports too", [result["busy"]], "ms", [base["busy"]])
            bench.row(f"{name}: halt_rollout", [result["halt"]], "s", [base["halt"]], "to 10,000")
            bench.row(f"{name}: broker start until it listens", [result["start"]], "s", [base["start"]], "to 10,000")
    finally:
        server.destroy()
