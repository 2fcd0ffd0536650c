"""Keys and signatures, made outside the project's own code: `cryptography` and the openssl command line."""

import base64
import hashlib
import json
import pathlib
import subprocess

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

PAYLOAD_TYPE = "application/vnd.mosquitto-ota.manifest+json"

# Name: what makes the private key.
KINDS = {
    "rsa2048": lambda: rsa.generate_private_key(65537, 2048),
    "rsa3072": lambda: rsa.generate_private_key(65537, 3072),
    "p256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "p384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "ed25519": ed25519.Ed25519PrivateKey.generate,
}


class Signer:
    """One private key; `pss` chooses RSA-PSS instead of PKCS#1 v1.5."""

    def __init__(self, kind="p256", pss=False, key=None):
        self.kind = kind
        self.pss = pss
        self.key = key or KINDS[kind]()

    def public_pem(self):
        return self.key.public_key().public_bytes(serialization.Encoding.PEM,
                                                  serialization.PublicFormat.SubjectPublicKeyInfo)

    def private_pem(self):
        return self.key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                      serialization.NoEncryption())

    def keyid(self):
        der = self.key.public_key().public_bytes(serialization.Encoding.DER,
                                                 serialization.PublicFormat.SubjectPublicKeyInfo)
        return hashlib.sha256(der).hexdigest()

    def sign(self, message):
        if isinstance(self.key, ed25519.Ed25519PrivateKey):
            return self.key.sign(message)
        if isinstance(self.key, ec.EllipticCurvePrivateKey):
            return self.key.sign(message, ec.ECDSA(hashes.SHA256()))
        if self.pss:
            return self.key.sign(message, padding.PSS(padding.MGF1(hashes.SHA256()), 32), hashes.SHA256())
        return self.key.sign(message, padding.PKCS1v15(), hashes.SHA256())

    def sign_file_with_openssl(self, path):
        """The detached artifact signature as operators make it: openssl dgst -sha256 -sign."""
        path = pathlib.Path(path)
        key = path.with_suffix(".key")
        key.write_bytes(self.private_pem())
        signature = path.with_suffix(".sig")
        subprocess.run(["openssl", "dgst", "-sha256", "-sign", key, "-out", signature, path], check=True)
        return signature.read_bytes()


def pae(payload_type, payload):
    """DSSE v1 pre-authentication encoding."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def envelope(manifest, *signers, payload_type=PAYLOAD_TYPE, url_safe=False, keyids=True):
    """A DSSE envelope over a manifest: a dict, or bytes to be signed as they are."""
    payload = manifest if isinstance(manifest, bytes) else json.dumps(manifest).encode()
    encode = base64.urlsafe_b64encode if url_safe else base64.b64encode
    signatures = []
    for signer in signers:
        entry = {"sig": encode(signer.sign(pae(payload_type, payload))).decode()}
        if keyids:
            entry["keyid"] = signer.keyid()
        signatures.append(entry)
    return {"payloadType": payload_type, "payload": encode(payload).decode(), "signatures": signatures}


class Keys:
    """The folder of trusted public keys of a broker."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)

    def trust(self, signer, name=None):
        path = self.folder / (name or f"{signer.keyid()[:16]}.pem")
        path.write_bytes(signer.public_pem())
        return path
