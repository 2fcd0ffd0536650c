"""What devices cost by being there: a storm of connections, and the memory of a connected device."""

from common import Listeners, resident, wait_for

TOPIC = "devices/{}/ota/available"


def arrive(bench, devices, plugin):
    """Connections with their subscriptions a second; bytes of the broker for each."""
    if not plugin:
        with bench.plain_broker() as broker:
            before = resident(broker.process.pid)
            with Listeners(broker, devices, TOPIC) as listeners:
                return devices / listeners.ready, (resident(broker.process.pid) - before) / devices
    with bench.site() as site:
        before = resident(site.broker.process.pid)
        with Listeners(site.broker, devices, TOPIC) as listeners:
            wait_for(lambda: site.db.value("SELECT count(*) FROM ota.device WHERE listening") >= devices, 120, every=0.2)
            return devices / listeners.ready, (resident(site.broker.process.pid) - before) / devices


def run(bench):
    devices = bench.size(15_000, 500)
    results = {False: [], True: []}
    for turn in range(bench.size(5, 1)):
        for plugin in (False, True) if turn % 2 == 0 else (True, False):
            results[plugin].append(arrive(bench, devices, plugin))
    rates, sizes = ({plugin: [one[i] for one in some] for plugin, some in results.items()} for i in (0, 1))
    bench.row("connect: connected and subscribed, without plugin", rates[False], "devices/s", note=f"{devices:,} devices")
    bench.row("connect: connected and subscribed, with plugin", rates[True], "devices/s", rates[False], "target 0.95")
    bench.row("connect: the broker's memory, without plugin", sizes[False], "bytes/device")
    bench.row("connect: the broker's memory, with plugin", sizes[True], "bytes/device", sizes[False])
