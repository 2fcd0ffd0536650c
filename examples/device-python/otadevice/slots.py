"""Two slots for firmware, and the boot control that says which one boots.

boot.json is what a boot loader keeps in its environment (U-Boot: bootcount and BOOT_ORDER; RAUC and the Raspberry Pi's
tryboot have the same under other names):

active     the slot that is known to be good
trial      a slot that is to be tried, or ""
attempts   boots that the trial has left
reverted   a trial that was given up, or ""; until the next update begins
sequence   of the newest manifest that was confirmed: nothing older is installed
a, b       what is in them: version, sha256, size, sequence; null: nothing.  image_sha256, when it differs from that of the
           file that was downloaded (swupdate.py)

Every change is one atomic replacement of that file, so a power cut finds the state before it or after it.
"""

import hashlib
import os

from . import files

NAMES = ("a", "b")


class Slots:
    def __init__(self, folder):
        self.folder = folder
        self._path = folder / "boot.json"
        self.state = files.read_json(self._path)

    def exists(self):
        return self.state is not None

    def _save(self, **changes):
        state = {**self.state, **changes}
        files.write_json(self._path, state)
        self.state = state  # only what is on the disk counts

    # -- what is there

    @property
    def active(self):
        return self.state["active"]

    @property
    def trial(self):
        return self.state["trial"]

    def booted(self):
        """The slot this very process was booted from; the boot loader says it."""
        return os.environ.get("OTA_SLOT", self.active)

    @property
    def inactive(self):
        return "b" if self.active == "a" else "a"

    def image(self, name):
        return self.folder / f"slot-{name}.img"

    def content(self, name):
        return self.state[name]

    def is_whole(self, name):
        """Is the image in this slot the one that boot control describes?"""
        content = self.state[name]
        if content is None:
            return False
        digest = hashlib.sha256()
        try:
            with open(self.image(name), "rb") as file:
                while chunk := file.read(1 << 20):
                    digest.update(chunk)
        except OSError:
            return False
        return digest.hexdigest() == content.get("image_sha256", content["sha256"])

    # -- the agent's part

    def forget_reverted(self):
        """Another update begins: the last one's end must not be taken for its own."""
        if self.state["reverted"]:
            self._save(reverted="")

    def clear_inactive(self):
        """Nothing may boot the inactive slot from now on; its space is free."""
        if self.state[self.inactive] is not None:
            self._save(**{self.inactive: None})
        files.remove(self.image(self.inactive))

    def stage(self, part, content, attempts):
        """Puts a verified, synced file into the inactive slot and marks it for trial, in this order."""
        name = self.inactive
        os.rename(part, self.image(name))
        files.sync_folder(self.folder)
        self._save(**{"trial": name, "attempts": attempts, "reverted": "", name: content})

    def confirm(self):
        """The trial is good: it is the active slot from now on, and nothing older than it is welcome."""
        name = self.trial
        self._save(active=name, trial="", attempts=0, sequence=max(self.state["sequence"], self.state[name]["sequence"]))

    def revert(self):
        """The trial is given up: the next boot takes the active slot."""
        self._save(trial="", attempts=0, reverted=self.trial)

    # -- the boot loader's part

    def choose(self):
        """The slot to boot now; a trial's attempt is counted before it runs, so that a crash counts.  None: no slot is whole."""
        if self.trial:
            if self.state["attempts"] > 0 and self.is_whole(self.trial):
                self._save(attempts=self.state["attempts"] - 1)
                return self.trial
            self.revert()
        if self.is_whole(self.active):
            return self.active
        if self.is_whole(self.inactive):
            self._save(active=self.inactive)  # or the next update would overwrite what runs
            return self.active
        return None

    def provision(self, image, version, sequence):
        """The factory's part: the first firmware."""
        data = image.read_bytes()
        self.folder.mkdir(parents=True, exist_ok=True)
        files.write_atomically(self.image("a"), data)
        self.state = {}
        content = {"version": version, "sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "sequence": sequence}
        self._save(active="a", trial="", attempts=0, reverted="", sequence=sequence, a=content, b=None)
