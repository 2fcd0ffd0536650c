"""A download that survives broken connections, servers that change their mind, and power cuts.

download.part    what has arrived
download.json    of what it is a part: the SHA-256 that it is to have, and the server's validator
"""

import errno
import hashlib
import os
import random

from . import files
from .http_source import SourceBroken, SourceRefused
from .problems import NotNow, UpdateFailed

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_RESERVE = 64 * 1024  # for boot.json and the journal, which must never fail for want of space
_PAUSE_MAX = 60


class Part:
    """The file that grows, and its hash."""

    def __init__(self, folder, sha256, size):
        self.path = folder / "download.part"
        self._about = folder / "download.json"
        self._sha256 = sha256
        self._wanted = size
        about = files.read_json(self._about)
        known = isinstance(about, dict) and about.get("sha256") == sha256 and isinstance(about.get("validator"), str)
        self.validator = about["validator"] if known else ""
        self._file = open(self.path, "r+b" if known and self.path.exists() else "w+b")
        self._hash_what_is_there()
        self.pieced = self.size > 0  # of bytes that came at different times
        if not known:
            self._remember()

    def _hash_what_is_there(self):
        self._digest = hashlib.sha256()
        self.size = 0
        while chunk := self._file.read(1 << 20):
            self._digest.update(chunk)
            self.size += len(chunk)
        if self.size > self._wanted:  # never ours
            self.start_over("")

    def _remember(self):
        files.write_json(self._about, {"sha256": self._sha256, "validator": self.validator})

    def start_over(self, validator):
        """Forget the bytes; `validator` is that of the file which comes now."""
        self._file.seek(0)
        self._file.truncate()
        self._digest = hashlib.sha256()
        self.size = 0
        self.pieced = False
        self.validator = validator
        self._remember()

    def write(self, chunk):
        # Checked before it is written: a server cannot fill the disk.
        if self.size + len(chunk) > self._wanted:
            raise UpdateFailed("SIZE_MISMATCH", f"more than {self._wanted} bytes")
        self._file.write(chunk)
        self._digest.update(chunk)
        self.size += len(chunk)

    def has(self, size):
        return self.size == size

    def digest(self):
        return self._digest.digest()

    def sync(self):
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self):
        try:
            self._file.close()  # flushes what is buffered, which may not fit
        except OSError:
            pass

    def discard(self):
        self.close()
        files.remove(self.path)
        files.remove(self._about)


def forget(folder):
    """Removes what an earlier download left."""
    files.remove(folder / "download.part")
    files.remove(folder / "download.json")


class Download:
    """`patience` is the configuration; `pause(seconds)` waits and may raise to end the download, so may `progress(bytes)`."""

    def __init__(self, source, folder, config, pause, progress):
        self._source = source
        self._folder = folder
        self._config = config
        self._pause = pause
        self._progress = progress

    def fetch(self, url, sha256, size):
        """The file is in download.part, synced, of the right length and hash; returns the path.  Raises UpdateFailed."""
        part = None
        try:
            self._check_room(size)
            part = Part(self._folder, sha256, size)
            self._fill(part, url, size)
            if part.digest().hex() != sha256 and part.pieced:
                # The beginning may be of another file, or the power cut has eaten some of it: once more, whole.
                part.start_over("")
                self._fill(part, url, size)
            if part.digest().hex() != sha256:
                raise UpdateFailed("HASH_MISMATCH", f"it is {part.digest().hex()}")
            part.sync()
            return part.path
        except OSError as error:
            code = "NO_SPACE" if error.errno in _FULL else "SLOT_WRITE_FAILED"
            self._throw_away(part)
            raise UpdateFailed(code, str(error)) from None
        except UpdateFailed as problem:
            # What the network did not deliver may still come; what is wrong must not be kept.
            if problem.code != "DOWNLOAD_FAILED":
                self._throw_away(part)
            raise
        finally:
            if part:
                part.close()

    def _throw_away(self, part):
        if part:
            part.discard()
        else:
            forget(self._folder)

    def _check_room(self, size):
        """Before anything is fetched: a full disk found out at 99 % costs a download."""
        if size > self._config.slot_size:
            raise UpdateFailed("NO_SPACE", f"{size} bytes do not fit into a slot of {self._config.slot_size}")
        disk = os.statvfs(self._folder)
        path = self._folder / "download.part"
        there = path.stat().st_size if path.exists() else 0
        if size - min(there, size) + _RESERVE > disk.f_bavail * disk.f_frsize:
            raise UpdateFailed("NO_SPACE", "the disk is full")

    def _fill(self, part, url, size):
        failures = 0
        at_first = most = part.size
        while part.size < size:
            try:
                self._receive(part, url, size)
            except SourceRefused as problem:
                if part.size > at_first:  # it was good for a while: a new notice has a new one
                    raise NotNow("URL_EXPIRED", 1) from None
                raise UpdateFailed("DOWNLOAD_FAILED", str(problem)) from None
            except SourceBroken as problem:
                # Slow progress is progress; only a row of attempts without any is given up.  Starting over is none.
                failures = 1 if part.size > most else failures + 1
                most = max(most, part.size)
                print(f"download: {problem}; {part.size} of {size} bytes are here", flush=True)
                if failures >= self._config.download_tries:
                    raise UpdateFailed("DOWNLOAD_FAILED", str(problem)) from None
                self._pause(self._back_off(failures))

    def _back_off(self, failures):
        """Seconds: doubling, and never the same for all devices that lost the same server."""
        longest = min(self._config.backoff_ms / 1000 * 2 ** (failures - 1), _PAUSE_MAX)
        return longest * random.uniform(0.5, 1)

    def _receive(self, part, url, size):
        answer = self._source.open(url, part.size, part.validator)
        if answer.total is not None and answer.total != size:
            raise UpdateFailed("SIZE_MISMATCH", f"the server has {answer.total} bytes, {size} are signed")
        if answer.offset == 0:
            if part.size or part.validator != answer.validator:
                part.start_over(answer.validator)  # without ranges, or another file: everything comes again
        elif answer.offset != part.size or part.validator and answer.validator != part.validator:
            part.start_over("")
            raise SourceBroken("another file, or another part of it, than was asked for")
        part.pieced = part.pieced or part.size > 0
        for chunk in answer.chunks:
            part.write(chunk)
            self._progress(part.size)
        if not part.has(size):
            raise SourceBroken("the connection ended early")
