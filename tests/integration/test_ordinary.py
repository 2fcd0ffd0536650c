"""Mosquitto's ordinary behaviour is untouched: the same play on a broker with the plugin and on one without, packet by packet."""

import datetime
import ipaddress
import json
import os
import pathlib
import subprocess

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from conftest import brokers
from harness import free_port
from harness.control import password_file
from harness.ordinary import Play

pytestmark = [pytest.mark.usefixtures("plugin"), pytest.mark.brokers]

ACL = """topic readwrite ord/#
topic readwrite open/#
topic read $SYS/#
topic write hidden/#
topic read forbidden/#
topic readwrite devices/#
topic readwrite fleet/#
topic readwrite top

user alice
topic readwrite ord/#
topic readwrite open/#
topic read #
topic write hidden/#
topic readwrite devices/#
topic readwrite fleet/#
pattern readwrite users/%u/#
pattern write users/%c/#
"""


def certificate(folder, name, issuer=None):
    """A key and a certificate of a little authority; returns their paths, the certificate first."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime(2020, 1, 1)
    signer = issuer or (subject, key)
    body = (x509.CertificateBuilder().subject_name(subject).issuer_name(signer[0]).public_key(key.public_key())
            .serial_number(x509.random_serial_number()).not_valid_before(now).not_valid_after(now.replace(year=2120))
            .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), True)
            .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
            .sign(signer[1], hashes.SHA256()))
    paths = folder / f"{name}.crt", folder / f"{name}.key"
    paths[0].write_bytes(body.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL,
                                           serialization.NoEncryption()))
    return paths, (subject, key)


def no_acl(_folder, _command):
    return [], {}, {}


def acl_file(folder, _command):
    (folder / "acl").write_text(ACL)
    users = password_file(folder / "users", "alice")
    return [f"acl_file {folder / 'acl'}", f"password_file {users}", "allow_anonymous false"], \
        {"username": "alice", "password": "unused"}, {"acl_other_topics": "defer"}


def acl_file_anonymous(folder, _command):
    (folder / "acl").write_text(ACL)
    return [f"acl_file {folder / 'acl'}"], {}, {"acl_other_topics": "defer"}


def dynamic_security(folder, command):
    """Its line comes after the plugin's, as the documentation says."""
    library = pathlib.Path("/usr/lib/x86_64-linux-gnu/mosquitto_dynamic_security.so")
    for word in command.split():
        if ".cache" in word and "/usr/" in word:
            library = next(pathlib.Path(word.split("=")[-1].split("/usr/")[0]).rglob("mosquitto_dynamic_security.so"))
    config = folder / "dynamic-security.json"
    subprocess.run(["mosquitto_ctrl", "dynsec", "init", config, "alice", "unused"], check=True, stdout=subprocess.DEVNULL)
    body = json.loads(config.read_text())
    body["defaultACLAccess"].update(publishClientSend=True, publishClientReceive=True, subscribe=True, unsubscribe=True)
    body["roles"].append({"rolename": "ordinary", "acls": [
        {"acltype": kind, "topic": topic, "priority": 1, "allow": False} for kind, topic in (
            ("publishClientSend", "forbidden/#"), ("subscribePattern", "forbidden/#"), ("publishClientReceive", "hidden/#"))]})
    body["clients"][0]["roles"].append({"rolename": "ordinary", "priority": 1})
    config.write_text(json.dumps(body))
    return [f"plugin {library}", f"plugin_opt_config_file {config}", "allow_anonymous false"], \
        {"username": "alice", "password": "unused"}, {"acl_other_topics": "defer"}


def certificates(folder, _command):
    (_, authority) = certificate(folder, "authority")
    server, _ = certificate(folder, "server", authority)
    client, _ = certificate(folder, "alice", authority)
    (folder / "acl").write_text(ACL)
    return [f"cafile {folder / 'authority.crt'}", f"certfile {server[0]}", f"keyfile {server[1]}", "require_certificate true",
            "use_identity_as_username true", f"acl_file {folder / 'acl'}"], \
        {"tls": {"ca": folder / "authority.crt", "client": client}}, {"acl_other_topics": "defer"}


def websockets(_folder, command):
    # libwebsockets, which 2.0 uses, binds to interfaces and not to addresses.
    port = free_port()
    return [f"listener {port} {'lo' if '2.1' not in command else '127.0.0.1'}", "protocol websockets"], {"websockets": port}, {}


@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize("setting", [no_acl, acl_file, acl_file_anonymous, dynamic_security, certificates, websockets],
                         ids=lambda setting: setting.__name__.replace("_", "-"))
def test_the_same_play(bare_site, broker_version, make_broker, setting, version):
    first = broker_version == next(iter(brokers()))
    if not os.environ.get("OTA_LONG") and not (version == 5 and (first or broker_version.startswith("2.1")) or first and setting is no_acl):
        pytest.skip("OTA_LONG=1 plays it with every version of MQTT on every broker")
    records = []
    for with_plugin in (False, True):
        folder = bare_site.folder / ("with" if with_plugin else "without")
        folder.mkdir()
        extra, play, options = setting(folder, brokers()[broker_version])
        broker = bare_site.add_broker(f"broker-{with_plugin}", version=broker_version, with_plugin=with_plugin, ready=False,
                                      extra=["persistence true", f"persistence_location {folder}/", *extra], **options)
        if with_plugin:
            bare_site.wait_ready(broker)
        records.append(Play(broker, version, **play).perform())
        broker.stop()
    without, with_it = records
    assert len(without) > 200, without
    for number, (left, right) in enumerate(zip(without, with_it)):
        scene = [line for line in without[:number + 1] if line.startswith("-- ")][-1]
        assert left == right, f"{scene}\nwithout: {without[number - 3:number + 4]}\nwith:    {with_it[number - 3:number + 4]}"
    assert len(without) == len(with_it)
    # Nobody became a device by it.
    assert bare_site.db.value("SELECT count(*) FROM ota.device") == 0
