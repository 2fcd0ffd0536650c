"""How many devices a bad release harms before it is stopped; and that a release with a few failures still arrives."""

import time

from common import wait_for

STAGES = (("canary", 1, "2 seconds"), ("early", 10, "2 seconds"), ("majority", 50, "2 seconds"), ("full", 100, "2 seconds"))


def deadly(bench, devices, behaviour):
    """A release that no device survives: seconds to the halt, devices told."""
    with bench.site() as site, bench.fleet(site, devices) as run:
        image = run.runner.image("2.0.0", behaviour, size=4096)
        site.release("2.0.0", **image)
        site.plan("careful", *STAGES, health_timeout="3 seconds", download_timeout="30 seconds")
        begin = time.monotonic()
        rollout = site.start_rollout("default", "2.0.0", "careful")
        site.wait_rollout(rollout, "halted", 120)
        taken = time.monotonic() - begin
        time.sleep(1)
        told = {notice["device"] for notice in run.notices() if notice["kind"] == "notice"}
        assert told and len(told) == site.db.value(
            "SELECT count(*) FROM ota.device_update WHERE rollout_id = %s AND notified_at IS NOT NULL", rollout)
        return taken, len(told)


def middling(bench, devices, permille):
    """A release that fails on a few devices: seconds to completion, devices that run it, devices that failed."""
    with bench.site() as site, bench.fleet(site, devices) as run:
        image = run.runner.image("2.0.0", "bad", failrate=permille, size=4096)
        site.release("2.0.0", **image)
        site.plan("careful", *STAGES, health_timeout="30 seconds", download_timeout="60 seconds")
        begin = time.monotonic()
        rollout = site.start_rollout("default", "2.0.0", "careful")
        wait_for(lambda: site.rollout(rollout)["state"] not in ("scheduled", "running"), 600,
                 lambda: site.describe(rollout), every=0.5)
        taken = time.monotonic() - begin
        assert site.rollout(rollout)["state"] == "completed", site.describe(rollout)

        def finished():
            return site.db.row("SELECT count(*) FILTER (WHERE state = 'succeeded') AS ok, count(*) FILTER (WHERE state IN"
                               " ('failed', 'rolled_back', 'timed_out')) AS bad, count(*) AS n FROM ota.device_update"
                               " WHERE rollout_id = %s", rollout)

        wait_for(lambda: finished()["ok"] + finished()["bad"] == devices, 120, lambda: site.describe(rollout), every=0.5)
        return taken, finished()["ok"], finished()["bad"]


def run(bench):
    devices = bench.size(10_000, 200)
    for behaviour in ("dark", "bootloop", "bad"):
        results = [deadly(bench, devices, behaviour) for _ in range(bench.rounds)]
        bench.row(f"harm, every device {behaviour}: told", [one[1] for one in results], "devices",
                  note=f"of {devices:,}; target 6")
        bench.row(f"harm, every device {behaviour}: until halted", [one[0] for one in results], "s")
    results = [middling(bench, devices, 10) for _ in range(1)]
    bench.row("harm, 1 % fail: until completed", [one[0] for one in results], "s", note=f"of {devices:,} devices")
    bench.row("harm, 1 % fail: failed", [one[2] for one in results], "devices")
