"""Operators at the broker: commands on $CONTROL/ota/v1 and their answers."""

import itertools
import json
import subprocess

from .process import wait_for

TOPIC = "$CONTROL/ota/v1"
RESPONSE = "$CONTROL/ota/v1/response"


def password_file(path, *users):
    """A password_file; every password is "unused", which is what the harness's clients send."""
    path.write_text("".join(f"{user}:unused\n" for user in users))
    subprocess.run(["mosquitto_passwd", "-U", path], check=True)
    path.chmod(0o644)
    return path


class Operator:
    """One user with a connection of his own; subscribed to nothing."""

    _numbers = itertools.count(1)

    def __init__(self, site, user, client_id=None):
        self.client = site.client(client_id or f"operator-{user}", username=user)

    def answers(self):
        return [json.loads(payload) for topic, payload, _ in list(self.client.messages) if topic == RESPONSE]

    def send(self, *commands):
        """Sends commands as they are and returns the whole answer."""
        return self.send_raw(json.dumps({"commands": commands}))

    def send_raw(self, payload, timeout=10):
        before = len(self.answers())
        self.client.publish(TOPIC, payload)
        wait_for(lambda: len(self.answers()) > before, timeout, "the broker answers a command")
        return self.answers()[before]["responses"]

    def _one(self, command, members):
        number = f"c-{next(self._numbers)}"
        responses = self.send({"command": command, "correlationData": number, **members})
        assert len(responses) == 1
        assert responses[0]["command"] == command and responses[0]["correlationData"] == number
        return responses[0]

    def ask(self, command, **members):
        response = self._one(command, members)
        assert "error" not in response, response
        return response["data"]

    def refused(self, command, **members):
        response = self._one(command, members)
        assert "data" not in response, response
        return response["error"]
