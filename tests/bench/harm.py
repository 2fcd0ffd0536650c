"""How many devices a bad release harms before it is stopped, beside telling each stage at once and judging after the wait; whether a
release in which a few fail still arrives; and what the care costs in time when nothing is wrong."""

import contextlib
import json
import subprocess
import time

from common import BUILD, wait_for
from targets import RATES

SHARES = (("canary", 1), ("early", 10), ("majority", 50), ("full", 100))
# The standard plan waits 2, 12 and 24 hours.  A device takes 0.13 s here; for one that takes fifteen minutes these waits are as long.
WAITS = ("1 second", "6.3 seconds", "12.7 seconds", "0")
SHORT = ("0.5 seconds", "0.5 seconds", "0.5 seconds", "0")
FAILED = "('failed', 'rolled_back', 'timed_out')"
IN_FLIGHT = "('notified', 'downloading', 'verifying', 'applying', 'rebooting')"
CAREFUL, AT_ONCE = "careful", "at_once"


class Ground:
    """A fleet that is connected, and one rollout after the other in it, each with a cohort of its own."""

    def __init__(self, site, run, devices, waits, health):
        self.site, self.run, self.devices = site, run, devices
        self.number = 0
        self.begin = 0  # of the present rollout's notices in their file
        site.db.execute("SELECT ota.set_quarantine('default', NULL, 'the same devices fail each time')")
        limits = {"health_timeout": health, "download_timeout": "30 seconds"}
        for each, name in ((SHORT, ""), (waits, "_timed")):
            stages = [(*share, wait) for share, wait in zip(SHARES, each)]
            site.plan(CAREFUL + name, *stages, **limits)
            site.plan(AT_ONCE + name, *stages, options={"pacing": "none", "early_halt": False}, **limits)

    def roll_out(self, plan, behaviour="good", permille=None):
        """Until the rollout has ended and no device is under way: its row, seconds to the end, devices told, devices harmed."""
        self.number += 1
        version = f"2.{self.number}.0"
        self.begin = self.run.notices_path.stat().st_size if self.run.notices_path.exists() else 0
        self.site.release(version, **self.run.runner.image(version, behaviour, failrate=permille, size=4096))
        begin = time.monotonic()
        rollout = self.site.start_rollout("default", version, plan)
        wait_for(lambda: self.site.rollout(rollout)["state"] not in ("scheduled", "running"), 300, lambda: self.site.describe(rollout))
        taken = time.monotonic() - begin
        count = "SELECT count(*) FROM ota.device_update WHERE rollout_id = %s AND state IN "
        wait_for(lambda: self.site.db.value(count + IN_FLIGHT, rollout) == 0, 120, lambda: self.site.describe(rollout), every=0.1)
        harmed = self.site.db.value(count + FAILED, rollout)
        # What the devices heard is the same as what is on record.
        wait_for(lambda: len(self._heard(rollout)) == self._told(rollout), 10,
                 lambda: f"{len(self._heard(rollout))} heard of it, {self._told(rollout)} are on record")
        told = self._told(rollout)
        assert harmed <= told, f"{told} are on record, {harmed} harmed"
        return self.site.rollout(rollout), taken, told, harmed

    def _told(self, rollout):
        """Not those whom the halt has overtaken between the claim and the broker: they were not told, which is on record a moment later."""
        return self.site.db.value("SELECT count(*) FROM ota.device_update u WHERE u.rollout_id = %s AND u.notified_at IS NOT NULL AND NOT EXISTS ("
                                  "SELECT FROM ota.event e WHERE e.device_id = u.device_id AND e.rollout_id = u.rollout_id AND e.kind = 'undelivered')",
                                  rollout)

    def _heard(self, rollout):
        with open(self.run.notices_path, encoding="utf-8") as file:
            file.seek(self.begin)
            notices = [json.loads(line) for line in file if line.endswith("\n")]  # the last one may be half written
        return {notice["device"] for notice in notices if notice["kind"] == "notice" and notice["rollout"] == rollout}


@contextlib.contextmanager
def ground(bench, devices, health="3 seconds"):
    with bench.site() as site, bench.fleet(site, devices) as run:
        yield Ground(site, run, devices, bench.size(WAITS, SHORT), health)


def rates(bench, devices):
    """Devices harmed when a share of the devices fails, in turns with telling at once; each round draws other devices."""
    with ground(bench, devices) as here:
        for rate in bench.size(RATES, (100,)):
            harmed = {CAREFUL: [], AT_ONCE: []}
            for _ in range(bench.rounds):
                for plan, found in harmed.items():
                    row, _, _, bad = here.roll_out(plan, "bad", rate * 10)
                    assert row["state"] == "halted", row
                    found.append(bad)
            bench.row(f"harm {rate} %: harmed, told at once", harmed[AT_ONCE], "devices", note=f"of {devices:,}")
            bench.row(f"harm {rate} %: harmed", harmed[CAREFUL], "devices", harmed[AT_ONCE])


def deaths(bench, devices):
    """Firmware that no device survives, in the two ways that say nothing of themselves."""
    for behaviour in bench.size(("dark", "bootloop"), ("dark",)):
        told, taken = [], []
        with ground(bench, devices) as here:
            for _ in range(bench.size(1, 1, 3)):
                row, seconds, count, _ = here.roll_out(CAREFUL, behaviour)
                assert row["state"] == "halted", row
                told.append(count)
                taken.append(seconds)
        bench.row(f"harm, every device {behaviour}: told", told, "devices", note=f"of {devices:,}")
        bench.row(f"harm, every device {behaviour}: until halted", taken, "s")


def good(bench, devices):
    """A release that is good, and one that fails on 1 %: time, and whether it is halted."""
    taken = {CAREFUL: [], AT_ONCE: []}
    halts = {CAREFUL: 0, AT_ONCE: 0}
    few = {CAREFUL: [], AT_ONCE: []}
    # Thousands that boot at the same time take longer than three seconds on a small machine, with nothing wrong.
    with ground(bench, devices, "30 seconds") as here:
        for _ in range(bench.size(3, 1, 5)):
            for plan, found in taken.items():
                row, seconds, told, harmed = here.roll_out(plan + "_timed")
                assert row["state"] == "completed" and told == devices and harmed == 0, (row, told, harmed)
                arrived = here.site.db.value("SELECT count(*) FROM ota.device WHERE version = %s", f"2.{here.number}.0")
                assert arrived == devices, f"{arrived} of {devices} devices run the release"
                found.append(seconds)
        pairs = bench.size(3, 1, 5)
        for _ in range(pairs):
            for plan, found in few.items():
                row, seconds, _, _ = here.roll_out(plan, "bad", 10)
                halts[plan] += row["state"] == "halted"
                found.append(seconds)
    bench.row("harm none: told at once, until completed", taken[AT_ONCE], "s", note=f"{devices:,} devices, waits of {', '.join(bench.size(WAITS, SHORT)[:3])}")
    bench.row("harm none: slow start, until completed", taken[CAREFUL], "s", taken[AT_ONCE])
    bench.row("harm 1 %: told at once, until the end", few[AT_ONCE], "s")
    bench.row("harm 1 %: slow start and early halt, until the end", few[CAREFUL], "s", few[AT_ONCE])
    bench.row(f"harm 1 %: halted, told at once, of {pairs} rollouts", [halts[AT_ONCE]], "rollouts")
    bench.row(f"harm 1 %: halted, of {pairs} rollouts", [halts[CAREFUL]], "rollouts")


def played(bench):
    """False halts are too rare to be waited for: the same rules, without devices."""
    count = bench.size(5000, 100, 50_000)
    done = subprocess.run([BUILD / "tests" / "bench" / "harm_model", str(count), "10"], stdout=subprocess.PIPE, check=True)
    found = json.loads(done.stdout)
    assert found["rollouts"] == count, found
    bench.row(f"harm 1 %: halted, told at once, of {count:,} played", [found["halted_at_once"]], "rollouts")
    bench.row(f"harm 1 %: halted, of {count:,} played", [found["halted"]], "rollouts")


def run(bench):
    devices = bench.size(10_000, 200)
    rates(bench, devices)
    deaths(bench, devices)
    good(bench, devices)
    played(bench)
