"""A Mosquitto with the plugin."""

import os
import pathlib
import re
import shlex
import signal
import socket
import subprocess
import time

from .process import die_with_parent, free_port, stop, wait_for

# What only ever appears in a log when memory was handled wrongly.
_DAMAGE = re.compile(r"AddressSanitizer|LeakSanitizer|ThreadSanitizer|runtime error:|ERROR SUMMARY: [1-9]"
                     r"|free\(\): |corrupted |stack smashing|buffer overflow detected")


class Broker:
    """One broker process with its own folder, port and configuration.

    `options` are plugin_opt_* without the prefix; a value of None leaves an option out.  `extra` are further lines of
    the configuration.
    """

    def __init__(self, folder, command, plugin, options, version="2.0.11", extra=(), with_plugin=True):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.command = shlex.split(command)
        self.version = version
        self.plugin = plugin
        self.options = dict(options)
        self.extra = list(extra)
        self.with_plugin = with_plugin
        self.port = free_port()
        self.log_path = self.folder / "broker.log"
        self.process = None
        self.expect_death = False
        self.runs = 0

    # -- configuration and start

    def write_conf(self):
        lines = [f"listener {self.port} 127.0.0.1", "allow_anonymous true", "log_dest stderr", "log_type all",
                 "log_timestamp_format %H:%M:%S", "set_tcp_nodelay true", "sys_interval 1"]
        if os.geteuid() == 0:
            lines.append("user root")
        if self.with_plugin:
            lines.append(f"plugin {self.plugin}")
            lines += [f"plugin_opt_{key} {value}" for key, value in self.options.items() if value is not None]
        path = self.folder / "mosquitto.conf"
        path.write_text("\n".join(lines + self.extra) + "\n")
        return path

    def _wrapped(self, conf):
        """The command line and environment, with a memory checker around the broker when asked for."""
        environment = dict(os.environ)
        command = [*self.command, "-c", str(conf)]
        report = self.folder / f"memory.{self.runs}"
        if os.environ.get("OTA_PRELOAD"):
            environment["LD_PRELOAD"] = os.environ["OTA_PRELOAD"]
            here = pathlib.Path(__file__).parent
            environment["ASAN_OPTIONS"] = f"detect_leaks=1:abort_on_error=0:exitcode=99:log_path={report}"
            environment["LSAN_OPTIONS"] = f"suppressions={here / 'leaks.supp'}:print_suppressions=0"
            environment["UBSAN_OPTIONS"] = f"print_stacktrace=1:log_path={report}"
        if os.environ.get("OTA_VALGRIND"):
            here = pathlib.Path(__file__).parent
            command = ["valgrind", "--quiet", "--error-exitcode=99", "--leak-check=full", "--keep-debuginfo=yes",
                       "--errors-for-leak-kinds=definite", f"--suppressions={here / 'valgrind.supp'}",
                       f"--log-file={report}.valgrind", *command]
        return command, environment

    def launch(self):
        """Starts the process without waiting for its port."""
        assert not self.running(), "the broker is running already"
        self.runs += 1
        command, environment = self._wrapped(self.write_conf())
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(command, cwd=self.folder, env=environment, stdin=subprocess.DEVNULL,
                                            stdout=log, stderr=log, preexec_fn=die_with_parent(signal.SIGKILL))
        self.expect_death = False
        return self

    def start(self):
        for attempt in range(3):
            self.launch()
            wait_for(lambda: self.listening() or self.process.poll() is not None, 20, "the broker listens")
            if self.process.poll() is None:
                return self
            if "Address already in use" not in self.log():
                break
            self.port = free_port()
        raise AssertionError(f"the broker ended with {self.process.returncode}:\n{self.log()}")

    def refuses(self, *words):
        """Starts it, expects it to end by itself with one clear line that holds all the words; returns the line."""
        self.launch()
        self.expect_death = True
        wait_for(lambda: self.process.poll() is not None, 15, "the broker refuses to start")
        self.check_memory()
        status = self.process.returncode
        assert status > 0 and status != 99, f"exit status {status}:\n{self.log()}"
        lines = [line for line in self.log().splitlines() if all(word in line for word in words)]
        assert lines, f"no line with {words}:\n{self.log()}"
        return lines[0]

    def listening(self):
        with socket.socket() as probe:
            probe.settimeout(1)
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    # -- what it said

    def log(self):
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def log_lines(self, pattern):
        return [line for line in self.log().splitlines() if re.search(pattern, line)]

    def wait_log(self, pattern, timeout=10):
        return wait_for(lambda: self.log_lines(pattern), timeout,
                        lambda: f"a log line like {pattern!r}; the log:\n{self.log()[-4000:]}")

    # -- signals and the end

    def running(self):
        return self.process is not None and self.process.poll() is None

    def reload(self):
        self.process.send_signal(signal.SIGHUP)

    def kill(self):
        """As after a power cut."""
        self.expect_death = True
        self.process.kill()
        self.process.wait()

    def stop(self):
        """An orderly end; fails when the broker crashed, hung or left a memory report."""
        if self.process is None:
            return
        if self.running():
            status = stop(self.process, signal.SIGTERM, 20)
            # 2.1 leaves by the signal's own number when built so; everything else is a crash.
            assert status in (0, -signal.SIGTERM), f"exit status {status}\n{self.log()[-4000:]}\n{self.memory_report()}"
            self.process = None
        elif not self.expect_death:
            raise AssertionError(f"the broker died with {self.process.returncode}\n{self.log()[-4000:]}\n"
                                 f"{self.memory_report()}")
        self.check_memory()

    def restart(self):
        self.stop()
        self.start()

    def memory_report(self):
        return "\n".join(path.read_text(errors="replace") for path in sorted(self.folder.glob("memory.*"))
                         if path.stat().st_size)

    def check_memory(self):
        report = self.memory_report()
        assert not report, report
        found = _DAMAGE.search(self.log())
        assert not found, self.log()[max(0, found.start() - 1000):]

    # -- a raw client's view

    def ping_seconds(self):
        """How long the broker takes to answer a PINGREQ on a fresh connection."""
        with socket.create_connection(("127.0.0.1", self.port), 5) as client:
            name = b"ping-%d" % time.monotonic_ns()
            body = b"\x00\x04MQTT\x04\x02\x00\x3c" + len(name).to_bytes(2, "big") + name
            client.sendall(bytes([0x10, len(body)]) + body)
            assert client.recv(4)[:2] == b"\x20\x02"
            begin = time.monotonic()
            client.sendall(b"\xc0\x00")
            assert client.recv(2) == b"\xd0\x00"
            taken = time.monotonic() - begin
            client.sendall(b"\xe0\x00")
            return taken
