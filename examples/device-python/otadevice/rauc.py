"""Slots that RAUC looks after: the image is a bundle, `rauc install` writes it, and RAUC's boot loader counts the attempts.

boot.json is only a notebook here: which version is in which slot, and what was going on.  What boots is asked of RAUC.
"""

import hashlib
import json
import pathlib
import subprocess

from . import download
from .problems import UpdateFailed
from .slots import NAMES, Slots


class RaucSlots(Slots):
    """`boot_names` are RAUC's names (bootname= in system.conf) of our slots a and b."""

    def __init__(self, folder, boot_names):
        super().__init__(folder)
        self._boot_names = dict(zip(NAMES, boot_names))
        self._ours = {theirs: ours for ours, theirs in self._boot_names.items()}
        if self.exists():
            self._catch_up()

    # -- RAUC

    @staticmethod
    def _rauc(*arguments):
        done = subprocess.run(["rauc", *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if done.returncode != 0:
            raise OSError(f"rauc {' '.join(arguments)}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def _status(self):
        """(slot that is booted, slot that is booted next, {slot: RAUC's entry})"""
        status = json.loads(self._rauc("status", "--output-format=json"))
        entries = [(name, entry) for slot in status["slots"] for name, entry in slot.items()]
        slots = {self._ours[entry["bootname"]]: entry for _, entry in entries if entry["bootname"] in self._ours}
        primary = [entry["bootname"] for name, entry in entries if name == status["boot_primary"]]
        return self._ours.get(status["booted"]), self._ours.get(primary[0]) if primary else None, slots

    def booted(self):
        slot = self._status()[0]
        if slot is None:
            raise ValueError(f"rauc_slots: RAUC has booted none of {', '.join(self._ours)}")
        return slot

    # -- the notebook

    def _catch_up(self):
        """What has happened while the agent was not there: a boot, a fall-back, a power cut."""
        booted, primary, _ = self._status()
        begun = self.state.get("installing", "")
        if begun and begun in (booted, primary):
            self._save(trial=begun, installing="")  # installed, and the power failed before it was noted
        elif begun:
            self._save(**{"installing": "", begun: None})
        elif self.trial and self.trial not in (booted, primary):
            super().revert()  # the boot loader gave it up
        if booted not in (self.active, self.trial):
            raise ValueError(f"slot {booted} is booted, of which nothing is noted: run bootloader.py provision again")

    def image(self, name):
        return pathlib.Path(self._status()[2][name]["device"])

    def clear_inactive(self):
        if self.state[self.inactive] is not None:
            self._save(**{self.inactive: None})

    def stage(self, part, content, attempts):
        """Hands the verified bundle over and reads back what RAUC made of it.  The attempts are its boot loader's business."""
        name = self.inactive
        self._save(**{"installing": name, "reverted": "", name: content})
        try:
            self._rauc("install", str(part.resolve()))
            if self._status()[1] != name:
                raise OSError(f"rauc does not boot {self._boot_names[name]} next")
        except OSError as error:
            self._save(**{"installing": "", name: None})
            raise UpdateFailed("INSTALL_FAILED", str(error)) from None
        self._save(trial=name, installing="")
        download.forget(self.folder)

    def confirm(self):
        self._rauc("status", "mark-good", "booted")
        super().confirm()

    def revert(self):
        self._rauc("status", "mark-active", "other")
        self._rauc("status", "mark-bad", "booted")
        super().revert()

    def provision(self, image, version, sequence):
        """RAUC's slot is there already; only what is in it gets noted."""
        self.folder.mkdir(parents=True, exist_ok=True)
        data = image.read_bytes()
        booted = self.booted()
        self.state = {name: None for name in NAMES}
        self._save(**{"active": booted, "trial": "", "attempts": 0, "reverted": "", "installing": "", "sequence": sequence,
                      booted: {"version": version, "sha256": hashlib.sha256(data).hexdigest(), "size": len(data),
                               "sequence": sequence}})
