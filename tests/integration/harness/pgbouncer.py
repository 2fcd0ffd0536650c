"""A PgBouncer of its own between a broker and a private PostgreSQL."""

import os
import pwd
import shutil
import signal
import subprocess

import psycopg2

from .process import die_with_parent, free_port, stop, wait_for


class PgBouncer:
    """Listens on loopback; `settings` are further lines of [pgbouncer]."""

    def __init__(self, folder, server, database, mode="session", **settings):
        self.program = shutil.which("pgbouncer", path=os.environ.get("PATH", "") + ":/usr/sbin")
        assert self.program, "pgbouncer is not installed"
        self.folder = folder
        self.folder.mkdir(mode=0o755, parents=True)
        self.server = server
        self.database = database
        self.port = free_port()
        self.process = None
        self._identity = {}
        if os.geteuid() == 0:  # it refuses root
            account = pwd.getpwnam("postgres")
            self._identity = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": [account.pw_gid]}
        lines = {"listen_addr": "127.0.0.1", "listen_port": self.port, "unix_socket_dir": "", "auth_type": "any",
                 "pool_mode": mode, "default_pool_size": 20, "min_pool_size": 0, **settings}
        self.conf = (f"[databases]\n{database} = host={server.folder} port={server.port} user=postgres dbname={database}\n"
                     "[pgbouncer]\n" + "".join(f"{key} = {value}\n" for key, value in lines.items()))

    @property
    def conninfo(self):
        return f"host=127.0.0.1 port={self.port} user=postgres dbname={self.database}"

    def start(self):
        # Where the user it runs as may read: the folder of the test is not.
        path = self.server.folder / f"pgbouncer-{self.port}.ini"
        path.write_text(self.conf)
        path.chmod(0o644)
        with open(self.folder / "pgbouncer.log", "ab") as log:
            self.process = subprocess.Popen([self.program, path], cwd="/", stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            preexec_fn=die_with_parent(signal.SIGKILL), **self._identity)
        wait_for(self.ready, 10, lambda: f"PgBouncer answers: {self.log()}")
        return self

    def ready(self):
        try:
            psycopg2.connect(self.conninfo).close()
            return True
        except psycopg2.OperationalError:
            return False

    def log(self):
        return (self.folder / "pgbouncer.log").read_text()[-3000:]

    def kill(self):
        stop(self.process, signal.SIGKILL)

    def close(self):
        if self.process and self.process.poll() is None:
            stop(self.process, signal.SIGTERM)
