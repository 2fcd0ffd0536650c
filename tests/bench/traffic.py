"""Traffic on other people's topics, with the plugin and without it."""

from common import cpu_seconds, load

TOPIC = "sensors/building-7/room-12/temperature"
PAYLOAD = '{"value":21.5,"unit":"C","ts":"2026-01-31T02:10:04Z"}'


def relay(broker, subscribers, messages, qos):
    """Messages a second, and the broker thread's microseconds for each."""
    load("relay", broker.port, subscribers, max(10, messages // 20), qos, 100, TOPIC, PAYLOAD)
    before = cpu_seconds(broker.process)
    done = load("relay", broker.port, subscribers, messages, qos, 100, TOPIC, PAYLOAD)
    return messages / done["seconds"], (cpu_seconds(broker.process) - before) / messages * 1e6


def run(bench):
    """Both brokers run all the time and take turns, so that what else the machine does meets both alike."""
    cases = [(subscribers, qos) for subscribers in (1, 100) for qos in (0, 1)]
    results = {(case, plugin): [] for case in cases for plugin in (False, True)}
    for _ in range(bench.size(3, 1)):
        with bench.site() as site, bench.plain_broker() as plain:
            for case in cases:
                messages = bench.size(40_000, 5_000) if case[0] == 1 else bench.size(1_200, 200)
                for turn in range(bench.size(6, 1)):
                    for plugin in (False, True) if turn % 2 == 0 else (True, False):
                        broker = site.broker if plugin else plain
                        results[case, plugin].append(relay(broker, case[0], messages, case[1]))
    for case in cases:
        name = f"traffic 1 to {case[0]}, QoS {case[1]}"
        for what, unit, i in (("throughput", "messages/s", 0), ("broker thread", "µs/message", 1)):
            base = [one[i] for one in results[case, False]]
            bench.row(f"{name}: {what}, without plugin", base, unit)
            bench.row(f"{name}: {what}, with plugin", [one[i] for one in results[case, True]], unit, base,
                      "target 0.97" if i == 0 else "")
