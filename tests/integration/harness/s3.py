"""A bucket: AWS Signature Version 4 written down a second time, and a server that verifies it (a fork of s3rver, from npm; the original does not).

OTA_S3RVER names a folder with its node_modules in it; else it is fetched into the build tree once, where npm and a registry can be
reached.
"""

import datetime
import hashlib
import hmac
import json
import os
import pathlib
import shutil
import signal
import subprocess
import urllib.parse
import urllib.request

from .process import die_with_parent, free_port, stop, wait_for

PACKAGE, VERSION = "@20minutes/s3rver", "4.0.4"
KEY_ID = SECRET = "S3RVER"  # the only ones that it knows
REGION = "eu-central-1"


def presign(url, key_id, secret, region, seconds, method="GET", at=None):
    """AWS, "Authenticating Requests: Using Query Parameters (AWS Signature Version 4)"."""
    at = at or datetime.datetime.now(datetime.timezone.utc)
    parts = urllib.parse.urlsplit(url)
    stamp = at.strftime("%Y%m%dT%H%M%SZ")
    scope = f"{stamp[:8]}/{region}/s3/aws4_request"
    query = urllib.parse.urlencode(sorted({
        "X-Amz-Algorithm": "AWS4-HMAC-SHA256", "X-Amz-Credential": f"{key_id}/{scope}", "X-Amz-Date": stamp,
        "X-Amz-Expires": str(seconds), "X-Amz-SignedHeaders": "host"}.items()), quote_via=urllib.parse.quote, safe="-._~")
    path = urllib.parse.quote(urllib.parse.unquote(parts.path), safe="/-._~")
    request = "\n".join([method, path, query, f"host:{parts.netloc}", "", "host", "UNSIGNED-PAYLOAD"])
    text = "\n".join(["AWS4-HMAC-SHA256", stamp, scope, hashlib.sha256(request.encode()).hexdigest()])
    key = f"AWS4{secret}".encode()
    for part in (*scope.split("/"), text):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return f"{url}?{query}&X-Amz-Signature={key.hex()}"


def signed_at(url):
    """When a pre-signed URL was signed, and for how many seconds."""
    query = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(url).query))
    at = datetime.datetime.strptime(query["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=datetime.timezone.utc)
    return at, int(query["X-Amz-Expires"])


def find(build):
    """The folder with s3rver, or why there is none, as a text."""
    given = os.environ.get("OTA_S3RVER")
    folder = pathlib.Path(given or build / "s3rver")
    if (folder / "node_modules" / PACKAGE).exists():
        return folder
    if given:
        return f"OTA_S3RVER={given} has no node_modules/{PACKAGE}"
    if not shutil.which("node") or not shutil.which("npm"):
        return "node and npm are not installed"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        done = subprocess.run(["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", folder, f"{PACKAGE}@{VERSION}"],
                              capture_output=True, text=True, timeout=180, check=False)
    except subprocess.TimeoutExpired:
        return f"npm has not brought {PACKAGE}@{VERSION} in 180 s"
    if done.returncode != 0 or not (folder / "node_modules" / PACKAGE).exists():
        return f"npm cannot bring {PACKAGE}@{VERSION}: {(done.stderr or done.stdout).strip()[-300:]}"
    return folder


# The server takes a request without a signature for one by the owner; a private bucket gives nothing to strangers.
_REFUSE = """
server.middleware.unshift((context, next) => {
  if ('authorization' in context.headers || 'X-Amz-Algorithm' in context.query) return next();
  context.status = 403;
  context.type = 'application/xml';
  context.body = '<?xml version="1.0" encoding="UTF-8"?>\\n<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>';
});
"""


class Bucket:
    """One private bucket, `firmware`, on a server of its own."""

    def __init__(self, package, folder):
        self.port = free_port()
        self.origin = f"http://127.0.0.1:{self.port}"
        self.log_path = folder / "s3rver.log"
        options = {"address": "127.0.0.1", "port": self.port, "directory": str(folder / "data"), "vhostBuckets": False,
                   "configureBuckets": [{"name": "firmware"}]}
        program = (f"const S3rver = require({json.dumps(str(package / 'node_modules' / PACKAGE))});"
                   f" const server = new S3rver({json.dumps(options)}); {_REFUSE} server.run().then(() => console.log('listening'));")
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(["node", "-e", program], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            preexec_fn=die_with_parent(signal.SIGKILL))
        wait_for(lambda: b"listening" in self.log_path.read_bytes(), 30, lambda: self.log_path.read_text())

    def put(self, path, data):
        url = presign(f"{self.origin}/firmware{path}", KEY_ID, SECRET, REGION, 60, "PUT")
        with urllib.request.urlopen(urllib.request.Request(url, data, method="PUT"), timeout=10) as answer:
            assert answer.status == 200

    def close(self):
        stop(self.process, signal.SIGKILL)  # it keeps no promise about its end
