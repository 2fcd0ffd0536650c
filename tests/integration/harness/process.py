"""Child processes that die with the test run, and waiting for conditions."""

import ctypes
import itertools
import os
import random
import signal
import socket
import time

_LIBC = ctypes.CDLL(None, use_errno=True)
_PR_SET_PDEATHSIG = 1


def die_with_parent(signum=signal.SIGTERM):
    """A preexec_fn: the child gets `signum` when the test process ends, however that happens."""

    def arm():
        _LIBC.prctl(_PR_SET_PDEATHSIG, signum, 0, 0, 0)

    return arm


def wait_for(condition, timeout=10.0, what=None, every=0.05):
    """Waits until `condition()` is true and returns its value; fails with `what` after `timeout` seconds.

    `what` may be a function: it is called for the message, so that it can show the last state.
    """
    timeout *= float(os.environ.get("OTA_TIME_FACTOR", "1"))
    end = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            text = what() if callable(what) else what
            raise AssertionError(f"not within {timeout:g} s: {text or condition!r}")
        time.sleep(every)


def stays(condition, seconds, what=None, every=0.1):
    """Fails as soon as `condition()` is false within `seconds`."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert condition(), what() if callable(what) else what or "the condition did not hold"
        time.sleep(every)


_ports = itertools.count(random.randrange(0, 12000))


def free_port():
    """A loopback port nobody uses, below the kernel's range for outgoing connections."""
    while True:
        port = 20000 + next(_ports) % 12000
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue


def stop(process, signum=signal.SIGTERM, timeout=15):
    """Ends a Popen object and returns its exit status."""
    if process.poll() is None:
        process.send_signal(signum)
        try:
            process.wait(timeout * float(os.environ.get("OTA_TIME_FACTOR", "1")))
        except Exception:
            process.kill()
            process.wait()
            raise AssertionError(f"process {process.args} did not end after signal {signum}")
    return process.returncode
