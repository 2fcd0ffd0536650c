"""rollout watch: on a terminal of 80 columns and of other sizes, in a pipe, with a million devices."""

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import termios
import threading
import time

import psycopg2
import pytest

from conftest import BUILD
from harness import Site, wait_for
from harness.control import password_file
from harness.durability import only_long

pytestmark = pytest.mark.usefixtures("plugin")
PROGRAM = BUILD / "plugin" / "ctl" / "mosquitto_ota"
MILLION = 1_000_000
CONTROL = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


class Screen:
    """A terminal of some size with the program on it."""

    def __init__(self, office, *words, columns=80, rows=24, colour=False):
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        environment = {**os.environ, "XDG_CONFIG_HOME": str(office.folder), "TERM": "xterm"}
        environment.pop("NO_COLOR", None)
        if not colour:
            environment["NO_COLOR"] = "1"
        self.bytes = b""
        self.process = subprocess.Popen([PROGRAM, *map(str, words)], env=environment, stdin=subprocess.DEVNULL, stdout=slave,
                                        stderr=subprocess.STDOUT)
        os.close(slave)
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self):
        while True:
            try:
                some = os.read(self.master, 65536)
            except OSError:
                return
            if not some:
                return
            self.bytes += some

    def wait(self, timeout=30):
        status = self.process.wait(timeout)
        self._reader.join(10)
        os.close(self.master)
        return status

    def pictures(self):
        """What was drawn, a list of lines for each time, without colours and without what was told between them."""
        parts = re.split(r"\x1b\[\d+A\x1b\[J|mosquitto_ota: [^\n]*\n", self.bytes.decode())
        return [CONTROL.sub("", part).replace("\r", "").splitlines() for part in parts if part] or [[]]


@pytest.fixture
def office(bare_site):
    users = password_file(bare_site.folder / "users", "alice")
    bare_site.add_broker(extra=[f"password_file {users}"], control_users="alice")
    (bare_site.folder / "mosquitto_ota").write_text(f"-h 127.0.0.1\n-p {bare_site.broker.port}\n-u alice\n-P unused\n")
    return bare_site


def big_rollout(office, fleet="warehouse"):
    """A paused rollout that stands in the middle of a million devices; the controller leaves it alone."""
    office.release("10.20.30-rc.1+build.20260131")
    office.db.execute("INSERT INTO ota.fleet (fleet) VALUES (%s)", fleet)
    office.db.execute("INSERT INTO ota.device (device_id, fleet, version) VALUES ('one', %s, '1.0.0')", fleet)
    office.plan("big", ("Versuchsgeräte für alle", 1, "2 hours"), ("early", 10, "12 hours"), ("majority", 50, "1 day"), ("full", 100, "0"))
    rollout = office.start_rollout(fleet, "10.20.30-rc.1+build.20260131", "big", "a reason of many words, so that it does not fit " * 3)
    # Not as soon as it runs: a paused rollout opens no stage.
    wait_for(lambda: office.stages(rollout)[0]["state"] == "open", 20, lambda: office.describe(rollout))
    office.order("pause", rollout, "a reason of many words, so that it does not fit into one line of any terminal " * 3)
    for stage, label_state, added, good, bad, busy in ((1, "passed", 10_000, 9_990, 10, 0), (2, "passed", 90_000, 89_000, 1_000, 0),
                                                      (3, "passed", 400_000, 390_000, 9_000, 1_000), (4, "open", 500_000, 250_000, 1_234, 100_000)):
        office.db.execute("UPDATE ota.rollout_stage SET state = %s, added = %s, succeeded = %s, failed = %s, in_flight = %s, eligible = %s,"
                          " cohort = (SELECT coalesce(sum(added), 0) FROM ota.rollout_stage o WHERE o.rollout_id = %s AND o.stage < %s) + %s"
                          " WHERE rollout_id = %s AND stage = %s", label_state, added, good, bad, busy, MILLION, rollout, stage, added,
                          rollout, stage)
    office.db.execute("UPDATE ota.rollout SET current_stage = 4, next_action = 'close stage full', next_at = now() + interval '112 minutes 30 s'"
                      " WHERE rollout_id = %s", rollout)
    return rollout


def end(office, rollout, state):
    office.order("cancel" if state == "cancelled" else "halt", rollout, "enough was seen")


def check_picture(lines, columns, rows, rollout):
    """What a look shows on a terminal of that size, before the end."""
    assert lines[0].startswith(f"rollout {rollout}: 10.20.30-rc.1") and lines[0].endswith(", paused"), lines
    bars = [line for line in lines if re.search(r"passed|open", line)]
    if rows > 20:
        assert len(bars) == 4 and bars[0].startswith("  Versuchsgerä"), bars
        assert re.search(r"early +passed", bars[1]) and re.search(r"full +open", bars[3])
    else:
        assert len(bars) == 2 and "full" in bars[-1], bars  # the open one is always there
    if columns >= 80:
        assert "250000/500000 ok 1234 failed 100000 busy" in bars[-1], bars
        bar = re.search(r"\[([#x.]+)\]", bars[-1])[1]
        assert len(bar) >= 8 and abs(bar.count("#") - len(bar) / 2) <= 1, bar
        assert any("next: " in line and re.search(r"in 1 h 5[12] min", line) for line in lines), lines


def test_a_million_devices_on_a_terminal(office):
    rollout = big_rollout(office)
    screens = {size: Screen(office, "rollout", "watch", rollout, "--interval", "0.3", columns=size[0], rows=size[1])
               for size in ((80, 24), (60, 24), (40, 24), (200, 50), (80, 6))}
    wait_for(lambda: all(len(screen.pictures()) > 2 for screen in screens.values()), 40, lambda: screens[80, 24].bytes)
    end(office, rollout, "halted")
    for (columns, rows), screen in screens.items():
        assert screen.wait() == 1
        pictures = screen.pictures()
        for lines in pictures:
            assert all(len(line) < columns for line in lines) and len(lines) < rows, lines
        check_picture(pictures[0], columns, rows, rollout)
        assert pictures[-1][0].endswith(", halted") and any("enough was seen" in line for line in pictures[-1])


def test_numbers_of_every_length_stay_in_their_columns(office):
    """On 80 columns, up to a million in each place: no line wraps, there is a bar, and the figures of the stages stand below each other."""
    rollout = big_rollout(office)
    screen = Screen(office, "rollout", "watch", rollout, "--interval", "0.1")
    for number in (0, 7, 10, 99, 100, 1000, 54_321, 99_999, 100_000, 999_999, MILLION):
        office.db.execute("UPDATE ota.rollout_stage SET added = 2 * %s, succeeded = %s, failed = %s, rejected = 0, in_flight = %s, cohort = %s"
                          " WHERE rollout_id = %s AND stage = 4", number, number, number, number, 500_000 + number, rollout)
        wanted = re.compile(rf"full +open +.* {number}/{2 * number} +ok +{number} failed +{number} busy$")
        wait_for(lambda: any(wanted.search(line) for line in screen.pictures()[-1]), 20, lambda: f"{number}: {screen.pictures()[-2:]}")
    end(office, rollout, "halted")
    assert screen.wait() == 1
    widest = 0
    for lines in screen.pictures():
        assert all(len(line) < 80 for line in lines), lines
        bars = [line for line in lines if " busy" in line]
        for word in (" ok ", " failed ", " busy"):
            assert len({line.index(word) for line in bars}) == 1, lines
        assert len(bars) == 4 and all(re.search(r"\[[#x.]{4,}\]", line) for line in bars), lines
        widest = max(widest, *map(len, bars))
    assert widest >= 75, "the largest numbers need almost all of it"


def looks_in_bulk(office, rollout):
    """One look of all there is to see, as soon as it is answered: nobody is while a stage opens, and a busy machine may take too long."""
    def look():
        begin = time.monotonic()
        shown = subprocess.run([PROGRAM, "rollout", "show", str(rollout), "--json", "--timeout", "30"], capture_output=True, text=True,
                               env={**os.environ, "XDG_CONFIG_HOME": str(office.folder)})
        assert shown.returncode == 0 or re.search("PostgreSQL is |took longer than", shown.stderr), shown.stderr
        return shown.returncode == 0 and (json.loads(shown.stdout), time.monotonic() - begin)

    return wait_for(look, 300, lambda: office.describe(rollout))


def report_in_bulk(office, rollout, stage, change):
    """What a stage's devices say, some thousands in a transaction, as the plugin writes it."""
    for first in range(0, MILLION, 20_000):
        office.db.execute(f"UPDATE ota.device_update SET {change} WHERE rollout_id = %s AND stage = %s AND device_id > %s AND device_id <= %s",
                          rollout, stage, f"tracker-{first:07}", f"tracker-{first + 20_000:07}")


@only_long
def test_a_million_devices_really_there(office):
    """Rows for a million devices, and for each of them its part in a rollout that runs to its end through four stages; only what devices
    report is put into the tables by the test."""
    db = office.db
    db.execute("INSERT INTO ota.fleet (fleet) VALUES ('warehouse')")
    db.execute("INSERT INTO ota.device (device_id, fleet, version, hardware, attributes) SELECT 'tracker-' || to_char(n, 'FM0000000'), 'warehouse', '1.0.0',"
               " 'rev-' || n %% 3, jsonb_build_object('site', 'site-' || n %% 200) FROM generate_series(1, %s) n", MILLION)
    db.execute("VACUUM ANALYZE ota.device")
    office.release("2.0.0")
    # Nobody is there, so a stage without a wait would be over at once: an operator ends each.
    plan = office.plan("big", *((label, percent, "1 hour") for label, percent in (("canary", 1), ("early", 10), ("majority", 50), ("full", 100))))
    rollout = office.start_rollout("warehouse", "2.0.0", plan)
    office.wait_rollout(rollout, "running", 120)
    look, _ = looks_in_bulk(office, rollout)  # whoever watches has to be answered once
    screen = Screen(office, "rollout", "watch", rollout)
    pipe = subprocess.Popen([PROGRAM, "rollout", "watch", str(rollout), "--json"], text=True, stdin=subprocess.DEVNULL,
                            env={**os.environ, "XDG_CONFIG_HOME": str(office.folder)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    looks, told = [], []
    readers = [threading.Thread(target=lambda: looks.extend(json.loads(line) for line in pipe.stdout)),
               threading.Thread(target=lambda: told.extend(pipe.stderr))]
    for reader in readers:
        reader.start()
    before = 0
    for number, cohort in enumerate((MILLION // 100, MILLION // 10, MILLION // 2, MILLION), 1):
        wait_for(lambda: (stage := office.stages(rollout)[number - 1])["state"] == "open" and stage["cohort"] == cohort, 600,
                 lambda: office.describe(rollout))
        report_in_bulk(office, rollout, number, "state = 'notified', notified_at = now(), served_stage = stage")
        look, seconds = looks_in_bulk(office, rollout)
        print(f"stage {number}: a look of all takes {seconds:.2f} s")
        assert look["in_progress"] == cohort - before and look["succeeded"] + look["failed"] == before, look
        # One in a thousand fails.
        report_in_bulk(office, rollout, number, "state = CASE WHEN rank %% 1000 = 0 THEN 'failed' ELSE 'succeeded' END, finished_at = now(),"
                                                " error = CASE WHEN rank %% 1000 = 0 THEN 'HASH_MISMATCH' END")
        look, seconds = looks_in_bulk(office, rollout)
        print(f"stage {number}: a look of all takes {seconds:.2f} s")
        assert look["in_progress"] == 0 and look["succeeded"] + look["failed"] == cohort, look
        assert look["errors"] == [{"state": "failed", "error": "HASH_MISMATCH", "devices": look["failed"]}], look
        office.order("advance", rollout)
        before = cohort
    assert screen.wait(600) == 0 and pipe.wait(60) == 0, told
    for reader in readers:
        reader.join()
    pictures = screen.pictures()
    for lines in pictures:
        assert all(len(line) < 80 for line in lines) and len(lines) < 24, lines
    assert pictures[-1][0] == f"rollout {rollout}: 2.0.0 to fleet warehouse, completed"
    truth = db.row("SELECT count(*) AS all, count(*) FILTER (WHERE state = 'succeeded') AS good, count(*) FILTER (WHERE state = 'failed') AS bad"
                   " FROM ota.device_update WHERE rollout_id = %s", rollout)
    assert truth["all"] == MILLION and truth["bad"] > MILLION // 2000
    last = looks[-1]
    assert (last["state"], last["targeted"], last["succeeded"], last["failed"], last["in_progress"]) == (
        "completed", MILLION, truth["good"], truth["bad"], 0)
    assert sum(stage["added"] for stage in last["stages"]) == MILLION
    assert any(f"/{MILLION // 2} ok" in line for lines in pictures for line in lines)
    succeeded = [look["succeeded"] for look in looks]
    assert succeeded == sorted(succeeded) and len(looks) > 8, "it has been seen growing"


def test_colours_and_redrawing(office):
    rollout = big_rollout(office)
    screen = Screen(office, "rollout", "watch", rollout, "--interval", "0.2", colour=True)
    wait_for(lambda: len(screen.pictures()) > 2, 20, lambda: screen.bytes)
    end(office, rollout, "cancelled")
    assert screen.wait() == 1
    text = screen.bytes.decode()
    assert "\x1b[32mpassed" in text and "\x1b[0m" in text
    # Each picture takes the place of the one before: as many lines up as were drawn.
    ups = {int(number) for number in re.findall(r"\x1b\[(\d+)A", text)}
    assert ups == {len(screen.pictures()[0])}, ups


def test_in_a_pipe(office):
    rollout = big_rollout(office)
    environment = {**os.environ, "XDG_CONFIG_HOME": str(office.folder)}
    runs = [subprocess.Popen([PROGRAM, "rollout", "watch", str(rollout), "--interval", "0.2", *more], env=environment, text=True,
                             stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for more in ((), ("--json",))]
    time.sleep(2)
    end(office, rollout, "halted")
    plain, looks = [run.communicate(timeout=30) for run in runs]
    assert [run.returncode for run in runs] == [1, 1] and not plain[1] and not looks[1]
    lines = plain[0].splitlines()
    assert lines[0].startswith(f"rollout {rollout} paused stage=full succeeded=738990 failed=11244 busy=101000 cohort=1000000: "), lines
    assert lines[-1].startswith(f"rollout {rollout} halted ") and "enough was seen" in lines[-1] and "\x1b" not in plain[0]
    assert len(lines) <= 4, lines  # only news
    looks = [json.loads(line) for line in looks[0].splitlines()]
    assert looks[0]["state"] == "paused" and looks[0]["stages"][3]["succeeded"] == 250_000 and looks[-1]["state"] == "halted"
    assert looks[0]["targeted"] == MILLION and looks[0]["errors"] == []


def test_a_look_does_not_read_the_devices(office):
    """A look costs with a million devices what it costs with ten: the counters of the stages are enough."""
    rollout = big_rollout(office)
    office.db.execute("INSERT INTO ota.device_update (rollout_id, device_id, stage, rank) SELECT %s, 'd' || n, 4, n FROM generate_series(1, 20000) n",
                      rollout)
    office.db.execute("VACUUM ANALYZE ota.device_update")
    reads = "SELECT coalesce(sum(seq_tup_read + idx_tup_fetch), 0) FROM pg_stat_user_tables WHERE relname = 'device_update'"
    time.sleep(1.5)  # statistics arrive with a delay
    before = office.db.value(reads)
    screen = Screen(office, "rollout", "watch", rollout, "--interval", "0.1")
    wait_for(lambda: len(screen.pictures()) > 10, 30, lambda: screen.bytes)
    screen.process.terminate()
    screen.wait()
    time.sleep(1.5)
    looks = len(screen.pictures())
    assert office.db.value(reads) - before < 20_000 * looks / 3


def test_a_look_that_fails_ends_no_watch(tmp_path, own_postgres, make_broker):
    """The broker does not answer, as while a stage of a million devices opens, then has no database: who watches is told, and sees the end."""
    own_postgres.start()
    site = Site(tmp_path, own_postgres.create_database(), make_broker)
    try:
        site.add_broker(extra=[f"password_file {password_file(site.folder / 'users', 'alice')}"], control_users="alice")
        (site.folder / "mosquitto_ota").write_text(f"-h 127.0.0.1\n-p {site.broker.port}\n-u alice\n-P unused\n")
        rollout = big_rollout(site)
        watch = subprocess.Popen([PROGRAM, "rollout", "watch", str(rollout), "--timeout", "2", "--interval", "0.2"], text=True,
                                 stdin=subprocess.DEVNULL, env={**os.environ, "XDG_CONFIG_HOME": str(site.folder)},
                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        said, told = [], []
        readers = [threading.Thread(target=lambda stream=stream, kept=kept: kept.extend(stream))
                   for stream, kept in ((watch.stdout, said), (watch.stderr, told))]
        for reader in readers:
            reader.start()
        wait_for(lambda: said, 10, lambda: told)
        with psycopg2.connect(site.db.conninfo) as holder:
            holder.cursor().execute("LOCK TABLE ota.rollout_stage")
            wait_for(lambda: any("no answer at the moment" in line and "still watching" in line for line in told), 20, lambda: told)
        holder.close()
        wait_for(lambda: any("answers again" in line for line in told), 30, lambda: told)
        site.db.close()
        own_postgres.stop()
        wait_for(lambda: any("PostgreSQL is away" in line and "still watching" in line for line in told), 30, lambda: told)
        own_postgres.start()
        wait_for(lambda: sum("answers again" in line for line in told) == 2, 60, lambda: told)
        end(site, rollout, "halted")
        assert watch.wait(60) == 1
        for reader in readers:
            reader.join()
        assert "halted" in said[-1], said
    finally:
        site.close()
