"""From an operator's command to the first notice at a device."""

import time

from common import wait_for


def run(bench):
    started = []
    advanced = []
    halted = []
    with bench.site() as site:
        devices = site.devices(10)
        site.plan("steps", ("first", 10, "1 hour"), ("full", 100, "1 hour"), options={"pacing": "none"}, success_threshold=0.5)
        heard = {}

        def listen(device):
            inner = device._mqtt.on_message

            def note(*arguments):
                heard.setdefault(device.client_id, []).append(time.time())
                inner(*arguments)

            device._mqtt.on_message = note

        def first(command):
            heard.clear()
            begin = time.time()
            command()
            wait_for(lambda: heard, 10, "a message at a device", every=0.001)
            return (min(times[0] for times in heard.values()) - begin) * 1e3

        for device in devices:
            listen(device)
        for n in range(bench.size(15, 2, 25)):
            version = f"2.0.{n}"
            site.release(version)
            rollout = []
            time.sleep(0.3 + 0.037 * n % 0.5)  # not in step with the controller's passes
            started.append(first(lambda: rollout.append(site.start_rollout("default", version, "steps"))))
            time.sleep(0.4 + 0.053 * n % 0.5)
            advanced.append(first(lambda: site.order("advance", rollout[0])))
            time.sleep(0.4)
            halted.append(first(lambda: site.order("halt", rollout[0])))
    bench.row("command: start_rollout to the first notice", started, "ms", note="target 150 ms")
    bench.row("command: advance_rollout to the first notice", advanced, "ms", note="target 150 ms")
    bench.row("command: halt_rollout to the first recall", halted, "ms")
