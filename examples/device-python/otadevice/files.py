"""Files that are whole after a power cut: either the old content or the new one, never a part."""

import contextlib
import json
import os


def sync_folder(folder):
    """Brings names (creations, renames) to the disk; the content of files is fsync's business."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_atomically(path, data):
    """A new file, synced, takes the old one's name."""
    fresh = path.with_name(path.name + ".tmp")
    with open(fresh, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.rename(fresh, path)
    sync_folder(path.parent)


def write_json(path, value):
    write_atomically(path, json.dumps(value, indent=1).encode() + b"\n")


def read_json(path):
    """The value; None when there is no such file or it is not JSON."""
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None


def remove(path):
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
