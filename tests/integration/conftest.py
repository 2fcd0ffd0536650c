"""Fixtures.  The environment says what is tested:

OTA_BUILD_DIR   the build tree with mosquitto_ota.so (else <repository>/build)
OTA_BROKERS     lines "version<TAB>command", as tests/brokers.sh --plain prints (else the installed broker alone)
OTA_PRELOAD     a library to preload into the broker (libasan, for a build with sanitizers)
OTA_VALGRIND    not empty: run the broker under valgrind
OTA_PG_LOCALE   of the PostgreSQL clusters: C (else), icu:LANGUAGE such as icu:de-DE, or a locale of the C library such as en_US.UTF-8
OTA_PG_SETTINGS their settings, a list of NAME=VALUE without blanks in it
OTA_TIME_FACTOR waits are this many times longer
"""

import os
import pathlib
import shutil
import signal
import sys
import tempfile

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from harness import Postgres, Broker, Fleet, Site  # noqa: E402
from harness.arena import Arena  # noqa: E402
from harness.blocks import BlockSite  # noqa: E402

pytest_plugins = ["harness.durability", "harness.agent_fixtures"]  # their fixtures

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("OTA_BUILD_DIR", ROOT / "build")).resolve()


def brokers():
    """Version: command."""
    table = {}
    for line in os.environ.get("OTA_BROKERS", "").splitlines():
        if line.strip():
            version, command = line.split("\t")
            table[version] = command
    if not table:
        table["2.0.11"] = shutil.which("mosquitto", path=os.environ.get("PATH", "") + ":/usr/sbin") or "mosquitto"
    return table


def _terminate(signum, _frame):
    # An exception, so that every fixture ends what it started.
    raise KeyboardInterrupt(f"signal {signum}")


def pytest_configure(config):
    config.addinivalue_line("markers", "memory: also run under the sanitizers and valgrind")
    config.addinivalue_line("markers", "brokers: run on every broker that is available")
    signal.signal(signal.SIGTERM, _terminate)
    signal.signal(signal.SIGHUP, _terminate)


def pytest_generate_tests(metafunc):
    if "broker_version" in metafunc.fixturenames:
        every = metafunc.definition.get_closest_marker("brokers")
        versions = list(brokers()) if every else list(brokers())[:1]
        metafunc.parametrize("broker_version", versions)


@pytest.fixture(scope="session")
def plugin():
    path = BUILD / "mosquitto_ota.so"
    assert path.exists(), f"{path} is not built: set OTA_BUILD_DIR"
    return path


@pytest.fixture(scope="session")
def session_folder():
    # Not pytest's own: a socket's path may have 107 characters only.
    folder = pathlib.Path(tempfile.mkdtemp(prefix="ota-it."))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres(session_folder):
    server = Postgres(session_folder / "pg", to_disk=False)
    try:
        server.start()
        yield server
    finally:
        server.destroy()


@pytest.fixture
def own_postgres(session_folder, tmp_path):
    """A cluster that the test may stop and kill; not started yet."""
    server = Postgres(session_folder / f"pg-{os.urandom(3).hex()}", to_disk=False)
    yield server
    server.destroy()


@pytest.fixture
def database(postgres):
    base = postgres.create_database()
    yield base
    postgres.drop_database(base)


@pytest.fixture(scope="session")
def schema(postgres, plugin, tmp_path_factory):
    """The name of a database in which a broker has put its schema and of which it has left nothing else.

    A copy of it costs a tenth of what the schema does.  The tests with `bare_site`, `own_site` or a site of their own begin with nothing.
    """
    base = postgres.create_database()
    place = Site(tmp_path_factory.mktemp("schema"), base, _broker_maker(plugin))
    try:
        place.add_broker()
        place.wait_joined()
    finally:
        place.close()
    base.execute("DELETE FROM ota.broker")
    base.close()
    return base.name


def _broker_maker(plugin):
    def make(folder, options, version="2.0.11", extra=(), with_plugin=True):
        table = brokers()
        command = table.get(version) or next(iter(table.values()))
        return Broker(folder, command, plugin, options, version, extra, with_plugin)

    return make


@pytest.fixture
def make_broker(plugin):
    return _broker_maker(plugin)


@pytest.fixture(scope="module", params=list(brokers()))
def block_site(request, plugin, postgres, tmp_path_factory):
    """A broker that serves images in blocks, shared by the tests of a file."""
    base = postgres.create_database()
    site = BlockSite(tmp_path_factory.mktemp("blocks"), base, _broker_maker(plugin))
    try:
        yield site.open(request.param)
        site.close()
    finally:
        for broker in site.brokers:
            if broker.running():
                broker.kill()
        postgres.drop_database(base)


@pytest.fixture(scope="module", params=list(brokers()))
def arena(request, plugin, postgres, tmp_path_factory):
    """One rollout under attack, shared by the tests of a file and checked after each of their attacks."""
    base = postgres.create_database()
    place = Arena(tmp_path_factory.mktemp("arena"), base, _broker_maker(plugin))
    try:
        place.add_broker(version=request.param)
        yield place.open()
        place.close()
    finally:
        for broker in place.brokers:
            if broker.running():
                broker.kill()
        postgres.drop_database(base)


@pytest.fixture
def bare_site(tmp_path, database, make_broker):
    """Database and keys, no broker yet."""
    site = Site(tmp_path, database, make_broker)
    yield site
    site.close()


@pytest.fixture
def site(tmp_path, postgres, schema, make_broker, broker_version):
    """Database with the schema, keys and one broker."""
    base = postgres.create_database(schema)
    place = Site(tmp_path, base, make_broker)
    try:
        place.add_broker(version=broker_version)
        place.wait_joined()
        yield place
    finally:
        try:
            place.close()
        finally:
            postgres.drop_database(base)


@pytest.fixture
def fleet(tmp_path, session_folder):
    """Runs the simulated fleet."""
    runner = Fleet(BUILD / "examples" / "fleet" / "mosquitto_ota_fleet", tmp_path)
    yield runner
    runner.close()
