"""The agent: from a notice to SUCCESS, or back.

    told -> verified -> DOWNLOADING -> VERIFYING -> APPLYING -> REBOOTING -> (boot loader) -> checked -> SUCCESS
                                                                                          \\-> reverted -> ROLLED_BACK

The power may fail between any two lines of this file.  What was going on is in the journal (update.json), what boots is in
boot control (boot.json); after_boot() reads both and goes on.
"""

import contextlib
import datetime
import os
import time

from . import board, download, signatures
from .http_source import HttpSource
from .journal import Journal
from .link import CONNECTED, Link
from .notice import BadNotice, parse
from .problems import NotNow, Recalled, Superseded, UpdateFailed

_ACK_SECONDS = 5
_CONNECT_SECONDS = 10


@contextlib.contextmanager
def suppress_full_disk():
    """An outcome that cannot be written down is told all the same."""
    try:
        yield
    except OSError as error:
        print(f"journal: {error}", flush=True)


class Agent:
    def __init__(self, config, slots):
        self._config = config
        self._slots = slots
        self._keys = [signatures.load_key(path) for path in config.trusted_key]
        self._running = slots.booted()
        self._journal = Journal(config.state_directory)
        self._link = Link(config)
        self._boot_id = os.urandom(8).hex()
        self._last = None  # the last report of the update at hand
        self._said_in = 0  # the connection that has heard from us
        self._quarter = 0

    def run(self):
        self._link.start()
        self._after_boot()
        while True:
            event = self._link.next_event(5)  # not for ever: Python sees a signal that comes just before the wait only after it
            if event is not None:
                self._handle(event)

    # -- reports

    def _report(self, status, wait=0, **members):
        entry = self._journal.entry or {}
        body = {"version": self._slots.content(self._running)["version"], "status": status, "slot": self._running,
                "bootId": self._boot_id, "ts": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")}
        if self._config.hardware:
            body["hardware"] = self._config.hardware
        if entry.get("attempt") is not None:
            body["attempt"] = entry["attempt"]
        body.update({name: value for name, value in members.items() if value})
        self._last = (status, members)
        self._said_in = self._link.session
        print(f"report: {status} {members or ''}", flush=True)
        return self._link.report(body, wait)

    def _report_outcome(self):
        entry = self._journal.entry
        if self._report(entry["status"], _ACK_SECONDS, error=entry["error"], checks=entry["checks"],
                        previousVersion=entry["previousVersion"]):
            with suppress_full_disk():
                self._journal.note(acknowledged=True)

    def _finish(self, status, error="", checks=None):
        """The outcome is on the disk before it is told, so it is told in the end."""
        with suppress_full_disk():
            self._journal.note(step="done", status=status, error=error, checks=checks or {}, acknowledged=False)
        self._report_outcome()

    def _greet(self):
        """A new connection: what is going on here?"""
        if self._said_in != self._link.session:
            self._say_again()

    def _say_again(self):
        if self._journal.is_untold():
            self._report_outcome()
        elif self._journal.is_working() and self._last:
            status, members = self._last
            self._report(status, **members)
        elif not self._journal.is_working():
            self._report("IDLE")

    # -- events

    def _handle(self, event):
        if event is CONNECTED:
            self._greet()
            return
        try:
            notice = parse(event)
        except BadNotice as problem:
            print(f"notice: {problem}", flush=True)
            self._report("FAILED", error="BAD_NOTICE", attempt=problem.attempt)
            return
        if notice.recall:
            # Nothing is being worked on.  The same attempt may be ordered again later.
            if self._journal.entry and self._journal.entry["key"][0] == notice.rollout:
                self._journal.forget()
        elif self._journal.has(notice.key()):
            self._repeat()
        else:
            self._take_up(event, notice)

    def _repeat(self):
        """The same notice again: the broker has not heard us."""
        if self._journal.is_working():
            self._say_again()
        else:
            self._report_outcome()

    def _poll(self, seconds=0):
        """During a download: looks after the connection, and notices what changes the plan."""
        end = time.monotonic() + seconds
        while True:
            event = self._link.next_event(max(end - time.monotonic(), 0))
            if event is None:
                return
            if event is CONNECTED:
                self._greet()
                continue
            try:
                notice = parse(event)
            except BadNotice:
                continue
            if notice.recall and self._journal.entry["key"][0] in (notice.rollout, notice.version):
                raise Recalled
            if not notice.recall:
                if not self._journal.has(notice.key()):
                    raise Superseded(event)
                self._say_again()

    # -- an update, until the reboot

    def _take_up(self, payload, notice):
        running = self._slots.content(self._running)
        try:
            self._slots.forget_reverted()
            self._journal.begin(payload, notice.key(), notice.attempt, self._slots.inactive, running["version"])
        except OSError as error:
            print(f"update to {notice.version}: {error}", flush=True)
            self._report("FAILED", _ACK_SECONDS, error="NO_SPACE", attempt=notice.attempt)
            self._journal.forget()  # an update that would be forgotten at the next boot is not begun
            return
        if (running["version"], running["sha256"]) == (notice.version, notice.sha256):
            self._finish("SUCCESS")
        else:
            self._work(notice)

    def _work(self, notice):
        self._quarter = 0
        try:
            sequence = self._verify(notice)
            board.check_ready(self._config)
            self._slots.clear_inactive()  # not before: a forged notice must not cost the image to fall back to
            self._report("DOWNLOADING")
            path = self._fetch(notice)
            self._report("VERIFYING")
            if notice.signature:
                signatures.verify_artifact(self._keys, notice.signature, bytes.fromhex(notice.sha256))
            board.check_ready(self._config)  # it may have become busy meanwhile
            self._poll()
            self._install(notice, path, sequence)
        except UpdateFailed as problem:
            print(f"update to {notice.version}: {problem}", flush=True)
            if problem.code in ("BAD_SIGNATURE", "INSTALL_FAILED"):
                download.forget(self._config.state_directory)
            self._finish("FAILED", problem.code)
        except NotNow as reason:
            # What has been downloaded is kept for the next attempt.
            self._report("DEFERRED", error=reason.code, retryAfter=reason.seconds or self._config.defer_seconds)
            self._journal.forget()
        except Recalled:
            download.forget(self._config.state_directory)
            self._journal.forget()
            self._report("IDLE")
        except Superseded as other:
            self._journal.forget()
            self._link.put_back(other.payload)

    def _verify(self, notice):
        """Everything that can be known before a byte is fetched; returns the sequence number."""
        policy = self._config.signature
        if policy != "artifact" and notice.manifest is None or policy != "manifest" and not notice.signature:
            raise UpdateFailed("BAD_SIGNATURE", f"not signed as \"signature {policy}\" asks for")
        if notice.manifest is None:
            return self._slots.state["sequence"]
        manifest = signatures.open_envelope(self._keys, notice.manifest)
        return signatures.check_manifest(manifest, notice, self._slots.state["sequence"], self._config.hardware,
                                         self._config.fleet)

    def _fetch(self, notice):
        def progress(received):
            self._poll()
            quarter = 4 * received // notice.size
            if quarter > self._quarter:
                self._quarter = quarter
                self._report("DOWNLOADING", progress=25 * quarter)

        source = HttpSource(self._config.stall_seconds, self._config.download_cafile)
        job = download.Download(source, self._config.state_directory, self._config, self._poll, progress)
        return job.fetch(notice.url, notice.sha256, notice.size)

    def _install(self, notice, path, sequence):
        """From here on a recall comes too late."""
        self._report("APPLYING")
        content = {"version": notice.version, "sha256": notice.sha256, "size": notice.size, "sequence": sequence}
        try:
            self._slots.stage(path, content, self._config.boot_attempts)
        except OSError as error:
            raise UpdateFailed("SLOT_WRITE_FAILED", str(error)) from None
        self._report("REBOOTING", _ACK_SECONDS)
        self._link.stop()
        board.reboot()

    # -- after a boot

    def _after_boot(self):
        """Where were we?  Decided from what runs and from what is on the disk, never from what was last said."""
        entry = self._journal.entry
        if self._journal.is_untold() and entry["status"] == "SUCCESS":
            if parse(entry["notice"].encode()).version != self._slots.content(self._running)["version"]:
                self._finish("ROLLED_BACK", "BOOT_LOOP")  # good once, and lost before it was told
        if not self._journal.is_working():
            return
        if self._running == entry["slot"]:
            self._judge_trial()
        elif self._slots.state["reverted"] == entry["slot"]:
            # The boot loader gave the trial up, unless we did and wrote down why.
            self._finish("ROLLED_BACK", entry["error"] or "BOOT_LOOP")
        elif self._slots.trial == entry["slot"]:
            board.reboot()  # marked, not booted
        else:
            self._link.wait_connected(_CONNECT_SECONDS)  # not needed, but then somebody sees what goes on
            self._work(parse(entry["notice"].encode()))

    def _judge_trial(self):
        if self._slots.trial != self._running:
            self._finish("SUCCESS")  # confirmed, and the power failed before it was told
            return
        checks = board.check_health(self._config, self._slots, self._running, self._link.is_connected)
        if all(checks.values()):
            self._slots.confirm()
            self._finish("SUCCESS", checks=checks)
            return
        print(f"health: {checks}", flush=True)
        self._journal.note(error="HEALTH_CHECK_FAILED")
        self._slots.revert()
        self._link.stop()
        board.reboot()
