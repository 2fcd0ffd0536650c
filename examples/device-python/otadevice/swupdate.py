"""Slots that SWUpdate writes: the image is a .swu, and SWUpdate's sw-description says where its parts go.

SWUpdate installs and does not keep a record of slots: what boots is in boot.json, as with plain files.  When sw-description
sets variables of U-Boot instead, replace choose() and booted() by what asks U-Boot.
"""

import hashlib
import os
import shlex
import subprocess
import tempfile

from . import download
from .problems import UpdateFailed
from .slots import Slots


class SwupdateSlots(Slots):
    """`command` is the command line of SWUpdate; {slot} and {bundle} in it stand for a or b, and for the .swu."""

    def __init__(self, folder, command):
        super().__init__(folder)
        self._command = shlex.split(command)

    def clear_inactive(self):
        """SWUpdate's raw handler writes into what is there: the file stays, empty.  (A partition would stay as it is.)"""
        if self.state[self.inactive] is not None:
            self._save(**{self.inactive: None})
        with open(self.image(self.inactive), "wb"):
            pass

    def stage(self, part, content, attempts):
        name = self.inactive
        command = [word.format(slot=name, bundle=part.resolve()) for word in self._command]
        with tempfile.TemporaryDirectory() as folder:  # SWUpdate leaves files and sockets behind
            done = subprocess.run(command, env={**os.environ, "TMPDIR": folder}, stdin=subprocess.DEVNULL, capture_output=True,
                                  text=True, errors="replace")
        # Before 2024.12 SWUpdate exits with 1 after some installations of a small .swu (Debian 12: every tenth): all of it is sent
        # before the installer has begun, and the sender takes "idle" for its end.  What the installer says counts.
        if done.returncode != 0 and "SWUPDATE successful" not in done.stdout:
            raise UpdateFailed("INSTALL_FAILED", f"{command[0]}: {(done.stderr or done.stdout).strip()[-500:]}")
        # The slot is read back and synced: what boots is what has been written, not what was in the .swu.
        digest = hashlib.sha256()
        with open(self.image(name), "r+b") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
            if not file.tell():
                raise UpdateFailed("INSTALL_FAILED", f"sw-description has written nothing into slot {name}")
            os.fsync(file.fileno())
        self._save(**{"trial": name, "attempts": attempts, "reverted": "",
                      name: {**content, "image_sha256": digest.hexdigest()}})
        download.forget(self.folder)
