"""The simulated fleet and the file server its firmware comes from."""

import csv
import hashlib
import json
import os
import pathlib
import shutil
import signal
import subprocess

from .process import die_with_parent, free_port, stop, wait_for


class FileServer:
    """A private nginx on loopback that serves one folder, ranges included."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.files = self.folder / "www"
        self.files.mkdir(parents=True)
        self.port = free_port()
        self.process = None

    def start(self):
        program = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin")
        assert program, "nginx-light is not installed"
        conf = self.folder / "nginx.conf"
        temporary = "\n".join(f"{name}_temp_path {self.folder}/{name};"
                              for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        user = "user root;" if os.geteuid() == 0 else ""
        conf.write_text(f"""
daemon off; {user} worker_processes 1; pid {self.folder}/pid; error_log {self.folder}/log warn;
events {{ worker_connections 1024; }}
http {{ {temporary}
{self.site()} }}
""")
        # QUIT would wait for kept connections; TERM ends the workers too.
        self.process = subprocess.Popen([program, "-c", str(conf), "-p", str(self.folder), "-e", str(self.folder / "log")],
                                        stdin=subprocess.DEVNULL, preexec_fn=die_with_parent(signal.SIGTERM))
        return self

    def site(self):
        """What is inside http {}."""
        return ("access_log off; sendfile on; keepalive_timeout 5;"
                f" server {{ listen 127.0.0.1:{self.port}; root {self.files}; }}")

    def url(self, name):
        return f"http://127.0.0.1:{self.port}/{name}"

    def close(self):
        if self.process:
            stop(self.process)


class Fleet:
    """Runs of mosquitto_ota_fleet."""

    def __init__(self, program, folder):
        self.program = program
        self.folder = pathlib.Path(folder) / "fleet"
        self.server = None
        self.runs = []

    def image(self, version, behaviour="good", failrate=None, size=65536):
        """Makes a firmware image on the file server; returns the manifest members url, sha256, size."""
        if self.server is None:
            self.server = FileServer(self.folder).start()
        path = self.server.files / f"{version}.bin"
        command = [self.program, "make-image", "--version", version, "--behaviour", behaviour, "--size", str(size)]
        if failrate is not None:
            command += ["--failrate", str(failrate)]
        subprocess.run([*command, path], check=True)
        data = path.read_bytes()
        return {"url": self.server.url(path.name), "sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}

    def start(self, broker, devices, fleet="default", **options):
        """Starts simulated devices; options as on the command line, with _ for -; lists repeat an option, None leaves one out."""
        self.folder.mkdir(parents=True, exist_ok=True)
        number = len(self.runs) + 1
        run = Run(self.folder, number)
        quick = {"download_delay": "10-50", "apply_delay": "10-30", "boot_delay": "20-80", "health_delay": "10-50"}
        command = [self.program, "-p", str(broker.port), "-n", str(devices), "-f", fleet, "--events", run.events_path,
                   "--csv", run.csv_path]
        for name, value in {"notices": run.notices_path, **quick, **options}.items():
            if value is None:
                continue
            option = "--" + name.replace("_", "-")
            for one in value if isinstance(value, (list, tuple)) else [value]:
                command += [option] if one is True else [option, str(one)]
        with open(run.log_path, "wb") as log:
            run.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                           preexec_fn=die_with_parent(signal.SIGTERM))
        self.runs.append(run)
        return run

    def close(self):
        for run in self.runs:
            run.stop()
        if self.server:
            self.server.close()


class Run:
    def __init__(self, folder, number):
        self.notices_path = folder / f"notices.{number}.jsonl"
        self.events_path = folder / f"events.{number}.csv"
        self.csv_path = folder / f"run.{number}.csv"
        self.log_path = folder / f"log.{number}"
        self.process = None

    def stop(self):
        if self.process:
            stop(self.process, signal.SIGTERM)

    def notices(self):
        """What the devices received, as the program wrote it down."""
        if not self.notices_path.exists():
            return []
        lines = self.notices_path.read_text().split("\n")
        return [json.loads(line) for line in lines[:-1]]  # the last one may be half written

    def events(self):
        """What happened to each update, one line each, as it came."""
        with open(self.events_path, newline="") as file:
            return list(csv.DictReader(file))

    def csv(self):
        """One line for each device, once the run has ended."""
        with open(self.csv_path, newline="") as file:
            return list(csv.DictReader(file))

    def log(self):
        return self.log_path.read_text(errors="replace")

    def wait_end(self, timeout=30):
        wait_for(lambda: self.process.poll() is not None, timeout, lambda: f"the fleet ends:\n{self.log()[-2000:]}")
        return self.process.returncode
