"""What the broker says: an update, or that one is taken back.  Nothing in here is trusted yet."""

import base64
import binascii
import dataclasses
import json
import re
import string

_HEX = frozenset(string.hexdigits)
_VERSION = re.compile(r"[0-9A-Za-z.+_-]{1,128}")
_SIZE_MAX = 1 << 53  # beyond it a JSON number is not exact


class BadNotice(Exception):
    def __init__(self, why, rollout=None, attempt=None):
        super().__init__(why)
        self.rollout = rollout
        self.attempt = attempt


@dataclasses.dataclass
class Notice:
    recall: bool
    version: str
    url: str = ""
    sha256: str = ""
    size: int = 0
    signature: bytes = b""  # of the file; empty: none
    manifest: dict = None  # DSSE envelope, not verified
    rollout: int = None
    attempt: int = None

    def key(self):
        """The same key again is the same notice, heard twice."""
        return [self.rollout, self.attempt] if self.rollout is not None else [self.version, self.sha256]


def number(value, least=0, most=_SIZE_MAX):
    """A whole number in its bounds?  (JSON's true is an int for Python.)"""
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def is_sha256(value):
    return isinstance(value, str) and len(value) == 64 and set(value) <= _HEX


def _fill(notice, body):
    for name in ("url", "sha256", "size"):
        setattr(notice, name, body.get(name))
    if not isinstance(notice.url, str) or not notice.url.startswith(("http://", "https://")) or not notice.url.isascii():
        raise BadNotice("url is not an http or https address")
    if not is_sha256(notice.sha256):
        raise BadNotice("sha256 is not 64 hexadecimal digits")
    notice.sha256 = notice.sha256.lower()
    if not number(notice.size, least=1):
        raise BadNotice("size is not a number of bytes")
    if body.get("signature") is not None:
        try:
            notice.signature = base64.b64decode(body["signature"], validate=True)
        except (TypeError, ValueError, binascii.Error):
            raise BadNotice("signature is not base64") from None
    notice.manifest = body.get("manifest")


def parse(payload):
    """bytes -> Notice; raises BadNotice."""
    try:
        body = json.loads(payload.decode())  # json would take UTF-16 bytes, too
    except (ValueError, RecursionError):
        raise BadNotice("not JSON") from None
    if not isinstance(body, dict):
        raise BadNotice("not a JSON object")
    rollout, attempt = body.get("rollout"), body.get("attempt")
    for value in (rollout, attempt):
        if value is not None and not number(value):
            raise BadNotice("rollout and attempt are whole numbers")
    action, version = body.get("action", "update"), body.get("version")
    try:
        if not isinstance(version, str) or not _VERSION.fullmatch(version):
            raise BadNotice("version is missing or is not a version")
        notice = Notice(action == "cancel", version, rollout=rollout, attempt=attempt)
        if action == "update":
            _fill(notice, body)
        elif action != "cancel":
            raise BadNotice("action is unknown")
    except BadNotice as problem:
        raise BadNotice(str(problem), rollout, attempt) from None
    return notice
