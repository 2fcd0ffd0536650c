"""A private PostgreSQL cluster and databases in it."""

import itertools
import os
import pathlib
import pwd
import shutil
import signal
import subprocess

import psycopg2
import psycopg2.extras

from .process import die_with_parent, stop, wait_for


def _bin_dir():
    versions = [
        (int(path.parent.name), path)
        for path in pathlib.Path("/usr/lib/postgresql").glob("*/bin")
        if path.parent.name.isdigit() and (path / "initdb").exists()
    ]
    assert versions and max(versions)[0] >= 15, "PostgreSQL 15 or newer is not installed"
    return max(versions)[1]


def _locale(wanted, folder):
    """initdb's arguments and the environment for what OTA_PG_LOCALE asks for, as scripts/lib.sh reads it."""
    if wanted in ("", "C"):
        return ["--no-locale"], {}
    if wanted.startswith("icu:"):
        return ["--locale=C.UTF-8", "--locale-provider=icu", f"--icu-locale={wanted[4:]}"], {}
    name, dot, charset = wanted.partition(".")
    assert (dot, charset) == (".", "UTF-8"), f"OTA_PG_LOCALE={wanted}: accepted are C, icu:LANGUAGE and a locale such as en_US.UTF-8"
    if not (folder / wanted).exists():
        folder.mkdir(exist_ok=True)
        folder.chmod(0o755)
        subprocess.run(["localedef", "-i", name, "-f", "UTF-8", "--no-archive", folder / wanted], check=True)
    return [f"--locale={wanted}"], {"LOCPATH": str(folder)}


class Postgres:
    """One cluster, on a socket in its own folder only.  OTA_PG_LOCALE and OTA_PG_SETTINGS say what it is like, see conftest.py.

    Without `to_disk` nothing waits for the disk: what was committed survives every end of PostgreSQL's processes, as the kernel has
    it, and the machine's end is no test.
    """

    def __init__(self, folder, to_disk=True, locale=None):
        self.bin = _bin_dir()
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(mode=0o700)
        self._settings = [] if to_disk else ["-c", "fsync=off"]
        self._settings += [word for one in os.environ.get("OTA_PG_SETTINGS", "").split() for word in ("-c", one)]
        wanted = os.environ.get("OTA_PG_LOCALE", "") if locale is None else locale
        how, environment = _locale(wanted, self.folder.parent / "locale")
        self._environment = {**os.environ, **environment}
        self.port = 5432  # names the socket; nothing listens on TCP
        self._identity = {}
        if os.geteuid() == 0:  # PostgreSQL refuses root
            account = pwd.getpwnam("postgres")
            self._identity = {
                "user": account.pw_uid, "group": account.pw_gid, "extra_groups": [account.pw_gid]
            }
            os.chown(self.folder, account.pw_uid, account.pw_gid)
        self.process = None
        self._names = itertools.count(1)
        self._run("initdb", "-D", self.folder / "data", "-U", "postgres", "-A", "trust",
                  "-E", "UTF8", *how, "--no-sync")

    def _run(self, program, *arguments):
        done = subprocess.run([self.bin / program, *arguments], cwd="/", stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, env=self._environment, **self._identity)
        assert done.returncode == 0, done.stdout.decode()

    def start(self):
        log = open(self.folder / "log", "ab")
        self.process = subprocess.Popen(
            [self.bin / "postgres", "-D", self.folder / "data", "-k", self.folder, "-p", str(self.port),
             "-c", "listen_addresses=", "-c", "max_connections=60", "-c", "timezone=UTC", *self._settings],
            cwd="/", env=self._environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            preexec_fn=die_with_parent(signal.SIGINT), **self._identity)
        log.close()
        wait_for(lambda: self.ready() or self.process.poll() is not None, 30, "PostgreSQL accepts connections")
        assert self.process.poll() is None, f"PostgreSQL ended:\n{(self.folder / 'log').read_text()[-2000:]}"

    def ready(self):
        try:
            psycopg2.connect(self.conninfo("postgres")).close()
            return True
        except psycopg2.OperationalError:
            return False

    def stop(self):
        """An orderly end that breaks the connections."""
        stop(self.process, signal.SIGINT)

    def kill(self):
        """As after a power cut: the next start recovers from the log."""
        stop(self.process, signal.SIGQUIT)

    def destroy(self):
        if self.process:
            stop(self.process, signal.SIGQUIT)
        shutil.rmtree(self.folder, ignore_errors=True)

    def conninfo(self, database):
        return f"host={self.folder} port={self.port} user=postgres dbname={database}"

    def create_database(self, template="template1"):
        name = f"ota_{next(self._names)}"
        with Database(self, "postgres") as admin:
            admin.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return Database(self, name)

    def create_like(self, how):
        """An empty database with an encoding, a collation or the like of its own."""
        name = f"ota_{next(self._names)}"
        with Database(self, "postgres") as admin:
            admin.execute(f"CREATE DATABASE {name} TEMPLATE template0 {how}")
        return Database(self, name)

    def drop_database(self, database):
        database.close()
        with Database(self, "postgres") as admin:
            admin.execute(f"DROP DATABASE IF EXISTS {database.name} WITH (FORCE)")


class Database:
    """One database; each statement is its own transaction."""

    def __init__(self, server, name):
        self.server = server
        self.name = name
        self.conninfo = server.conninfo(name)
        self._connection = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        if self._connection:
            self._connection.close()
        self._connection = None

    def _cursor(self):
        if self._connection is None or self._connection.closed:
            self._connection = psycopg2.connect(self.conninfo)
            self._connection.autocommit = True
        return self._connection.cursor(cursor_factory=psycopg2.extras.RealDictCursor)

    def execute(self, sql, *values):
        try:
            with self._cursor() as cursor:
                cursor.execute(sql, values or None)
                return [dict(row) for row in cursor.fetchall()] if cursor.description else []
        except (psycopg2.OperationalError, psycopg2.InterfaceError):
            if self._connection is None or self._connection.closed:
                self._connection = None
            raise

    rows = execute

    def row(self, sql, *values):
        rows = self.execute(sql, *values)
        assert len(rows) <= 1, f"{len(rows)} rows: {sql}"
        return rows[0] if rows else None

    def value(self, sql, *values):
        row = self.row(sql, *values)
        return next(iter(row.values())) if row else None

    def column(self, sql, *values):
        return [next(iter(row.values())) for row in self.execute(sql, *values)]

    def refusal(self, sql, *values):
        """Runs a statement that the database must refuse with its own words; returns (code, message, hint)."""
        try:
            self.execute(sql, *values)
        except psycopg2.Error as error:
            assert error.pgcode and error.diag.message_primary, error  # not a broken connection
            assert not error.pgcode.startswith(("42601", "42703", "42883", "XX")), f"a mistake in the SQL: {error}"
            return error.pgcode, error.diag.message_primary, error.diag.message_hint or ""
        raise AssertionError(f"was accepted: {sql} {values}")

    def refused(self, sql, *values):
        """The same; returns the message."""
        return self.refusal(sql, *values)[1]
