"""Agents of examples/: a broker that refuses the subscription."""

import re

import pytest

from harness import Site, stays, wait_for

pytestmark = pytest.mark.usefixtures("plugin")


@pytest.fixture(scope="module")
def strict(plugin, postgres, tmp_path_factory):
    """A broker that knows devices by their user names."""
    from conftest import _broker_maker

    base = postgres.create_database()
    place = Site(tmp_path_factory.mktemp("strict"), base, _broker_maker(plugin))
    try:
        place.add_broker(device_identity="username")
        yield place
        place.close()
    finally:
        for broker in place.brokers:
            if broker.running():
                broker.kill()
        postgres.drop_database(base)


def test_a_refused_subscription_is_said_and_tried_again(strict, boards, agent_kind):
    """The device's id is not its user name: the broker answers 0x80, until that user is the device's gateway."""
    hub = f"hub-{agent_kind}"
    device = boards(strict.broker, [strict.signer], broker_username=hub)
    device.wait_log("the broker refuses the subscription (0x80), trying again")
    # A device that cannot be told does not pretend to listen, and asks more slowly each time.
    stays(lambda: "report: " not in device.log(), 1, device.log)
    wait_for(lambda: device.log().count("refuses the subscription") == 3, 20, device.log)
    assert strict.device_row(device.device_id) is None
    strict.db.execute("SELECT ota.assign_gateway(%s, %s)", device.device_id, hub)
    wait_for(lambda: "report: IDLE" in device.log() or re.search(r'report: \{.*"IDLE"', device.log()), 30, device.log)
    strict.wait_device(device.device_id, version="1.0.0", listening=True)
