"""Signatures, checked on the device with keys pinned into it: the broker is not asked whom to trust.

Two kinds: a DSSE envelope over the manifest, and a detached signature over the file, as made by
openssl dgst -sha256 -sign.
"""

import base64
import datetime
import json
import pathlib
import re

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils

from .notice import is_sha256, number
from .problems import UpdateFailed

PAYLOAD_TYPE = "application/vnd.mosquitto-ota.manifest+json"


def load_key(path):
    """A PEM public key; raises ValueError with what is accepted."""
    accepted = f"trusted_key {path}: accepted are PEM public keys: RSA from 2048 bits, ECDSA P-256 or P-384, Ed25519"
    try:
        key = serialization.load_pem_public_key(pathlib.Path(path).read_bytes())
    except (OSError, ValueError) as error:
        raise ValueError(f"{accepted} ({error})") from None
    good = (isinstance(key, ed25519.Ed25519PublicKey)
            or isinstance(key, rsa.RSAPublicKey) and key.key_size >= 2048
            or isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in ("secp256r1", "secp384r1"))
    if not good:
        raise ValueError(accepted)
    return key


def _ways(key):
    """The argument lists with which this kind of key verifies a SHA-256, signature and message aside."""
    digest = utils.Prehashed(hashes.SHA256())
    if isinstance(key, rsa.RSAPublicKey):
        yield padding.PKCS1v15(), digest
        # The salt's length is the signer's choice; old versions of the library cannot guess it.
        for length in (32, padding.calculate_max_pss_salt_length(key, hashes.SHA256())):
            yield padding.PSS(padding.MGF1(hashes.SHA256()), length), digest
    elif isinstance(key, ec.EllipticCurvePublicKey):
        yield (ec.ECDSA(digest),)


def _sha256(message):
    digest = hashes.Hash(hashes.SHA256())
    digest.update(message)
    return digest.finalize()


def _verifies(key, signature, sha256, message=None):
    # Ed25519 hashes for itself and cannot take a hash; without the message it signs nothing here.
    if isinstance(key, ed25519.Ed25519PublicKey):
        attempts = [] if message is None else [(message,)]
    else:
        attempts = [(sha256, *way) for way in _ways(key)]
    for arguments in attempts:
        try:
            key.verify(signature, *arguments)
            return True
        except InvalidSignature:
            pass
    return False


def verify_artifact(keys, signature, sha256):
    """The detached signature over a file that is known by its SHA-256 (bytes)."""
    if not any(_verifies(key, signature, sha256) for key in keys):
        raise UpdateFailed("BAD_SIGNATURE", "no pinned key signed the file")


def _decode(text):
    """Base64, standard or URL-safe, padded or not: DSSE allows both."""
    return base64.b64decode(text.replace("-", "+").replace("_", "/") + "=" * (-len(text) % 4), validate=True)


def open_envelope(keys, envelope):
    """The manifest inside, parsed from exactly the bytes that were verified."""
    try:
        payload = _decode(envelope["payload"])
        kind = envelope["payloadType"]
        signatures = [_decode(entry["sig"]) for entry in envelope["signatures"][:32]]
    except (KeyError, TypeError, ValueError, AttributeError):
        raise UpdateFailed("BAD_SIGNATURE", "the manifest is not a DSSE envelope") from None
    if kind != PAYLOAD_TYPE:
        raise UpdateFailed("BAD_SIGNATURE", f"the envelope holds {kind!r}")
    message = b"DSSEv1 %d %s %d %s" % (len(kind), kind.encode(), len(payload), payload)
    if not any(_verifies(key, one, _sha256(message), message) for one in signatures for key in keys):
        raise UpdateFailed("BAD_SIGNATURE", "no pinned key signed the manifest")
    try:
        manifest = json.loads(payload)
    except (ValueError, RecursionError):
        manifest = None
    if not isinstance(manifest, dict) or manifest.get("schema") != 1:
        raise UpdateFailed("MANIFEST_MISMATCH", "not a manifest of schema 1")
    return manifest


def _time(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00").replace("z", "+00:00"))


def _path(url):
    """What of a URL is signed."""
    match = re.match(r"https?://[^/?#]*(/[^?#]*)", url) if isinstance(url, str) else None
    return match[1] if match else None


def _is_place_of(told, signed):
    """A fleet may have a server or a bucket of its own: another host, something before the path, a query behind it."""
    path = _path(signed)
    return path is not None and (_path(told) or "").endswith(path)


def check_manifest(manifest, notice, sequence, hardware, fleet):
    """Is the manifest about this notice, for this device, now, and not older than what ran here?  Returns its sequence."""
    same = (is_sha256(manifest.get("sha256")) and manifest["sha256"].lower() == notice.sha256
            and all(manifest.get(name) == getattr(notice, name) for name in ("version", "size"))
            and _is_place_of(notice.url, manifest.get("url")))
    if not same or not number(manifest.get("sequence")):
        raise UpdateFailed("MANIFEST_MISMATCH", "the notice and the signed manifest differ")
    if manifest["sequence"] < sequence:
        raise UpdateFailed("SEQUENCE_ROLLBACK", f"sequence {manifest['sequence']} after {sequence}")
    for name in ("hardware", "fleets"):
        if name in manifest and not isinstance(manifest[name], list):  # "in" would look for a part of a text
            raise UpdateFailed("MANIFEST_MISMATCH", f"{name} is not a list")
    if "hardware" in manifest and hardware not in manifest["hardware"]:
        raise UpdateFailed("WRONG_HARDWARE", f"for {manifest['hardware']}")
    if fleet and "fleets" in manifest and fleet not in manifest["fleets"]:
        raise UpdateFailed("WRONG_FLEET", f"for {manifest['fleets']}")
    now = datetime.datetime.now(datetime.timezone.utc)
    try:
        if "expires" in manifest and now >= _time(manifest["expires"]):
            raise UpdateFailed("EXPIRED", manifest["expires"])
        if "notBefore" in manifest and now < _time(manifest["notBefore"]):
            raise UpdateFailed("NOT_YET_VALID", manifest["notBefore"])
    except (ValueError, TypeError, AttributeError):
        raise UpdateFailed("MANIFEST_MISMATCH", "a time that is none") from None
    return manifest["sequence"]
