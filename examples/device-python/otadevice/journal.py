"""What the agent must remember over a power cut: the update at hand, or the outcome of the last one.

step      "working": begun, not decided; "done": decided
notice    as it came: after a power cut it is verified again, nothing is believed because it was once checked
slot      where the new firmware goes
status, error, checks    the outcome
acknowledged             the broker has it
"""

from . import files


class Journal:
    def __init__(self, folder):
        self._path = folder / "update.json"
        self.entry = files.read_json(self._path)
        if not isinstance(self.entry, dict):
            self.entry = None

    def begin(self, payload, key, attempt, slot, previous):
        self._write({"step": "working", "notice": payload.decode(), "key": key, "attempt": attempt, "slot": slot,
                     "previousVersion": previous, "error": ""})

    def note(self, **changes):
        self._write({**self.entry, **changes})

    def forget(self):
        files.remove(self._path)
        self.entry = None

    def is_working(self):
        return self.entry is not None and self.entry["step"] == "working"

    def is_untold(self):
        """There is an outcome that the broker has not acknowledged."""
        return self.entry is not None and self.entry["step"] == "done" and not self.entry["acknowledged"]

    def has(self, key):
        return self.entry is not None and self.entry["key"] == key

    def _write(self, entry):
        """Raises OSError when it cannot be kept; what is known is known all the same."""
        self.entry = entry
        files.write_json(self._path, entry)
