"""Traffic on other people's topics, with the plugin and without it.

What else a shared machine does changes within seconds, by more than a plugin costs.  So both brokers run all the time and take turns of
a few hundredths of a second, hundreds of them; what is compared is each turn with its neighbour.  The brokers' threads share one processor and
the load generators another one, because where the scheduler puts two busy threads makes a difference of up to a half.
"""

import os

from common import Turns, cpu_seconds

TOPIC = "sensors/building-7/room-12/temperature"
PAYLOAD = '{"value":21.5,"unit":"C","ts":"2026-01-31T02:10:04Z"}'


def turn(broker, turns):
    """Messages a second, and the broker thread's microseconds for each."""
    before = cpu_seconds(broker.process)
    done = turns.turn()
    return turns.messages / done["seconds"], (cpu_seconds(broker.process) - before) / turns.messages * 1e6


def apart(brokers, clients):
    """Brokers on one processor, their clients on another."""
    processors = sorted(os.sched_getaffinity(0))
    if len(processors) > 1:
        for processes, processor in ((brokers, processors[0]), (clients, processors[1])):
            for process in processes:
                os.sched_setaffinity(process.pid, {processor})


def run(bench):
    cases = [(subscribers, qos) for subscribers in (1, 100) for qos in (0, 1)]
    results = {(case, plugin): [] for case in cases for plugin in (False, True)}
    for _ in range(bench.size(3, 1)):
        with bench.site() as site, bench.plain_broker() as plain:
            for case in cases:
                messages = 4_000 if case[0] == 1 else 100
                with Turns(plain.port, case[0], messages, case[1], TOPIC, PAYLOAD) as without, \
                        Turns(site.broker.port, case[0], messages, case[1], TOPIC, PAYLOAD) as with_plugin:
                    apart((plain.process, site.broker.process), (without.process, with_plugin.process))
                    for i in range(bench.size(200, 3)):
                        for plugin in (False, True) if i % 2 == 0 else (True, False):
                            one = turn(site.broker, with_plugin) if plugin else turn(plain, without)
                            results[case, plugin].append(one)
    for case in cases:
        name = f"traffic 1 to {case[0]}, QoS {case[1]}"
        for what, unit, i in (("throughput", "messages/s", 0), ("broker thread", "µs/message", 1)):
            base = [one[i] for one in results[case, False]]
            bench.row(f"{name}: {what}, without plugin", base, unit)
            bench.row(f"{name}: {what}, with plugin", [one[i] for one in results[case, True]], unit, base,
                      "target 0.98" if i == 0 else "")
