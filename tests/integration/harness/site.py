"""A database, brokers on it, the keys they trust, and an operator's hands."""

import hashlib
import json

from .device import Client, Device
from .process import wait_for
from .signing import Keys, Signer, envelope


class Site:
    def __init__(self, folder, database, make_broker, signer=None):
        self.folder = folder
        self.db = database
        self.keys = Keys(folder / "keys.d")
        self.signer = signer or Signer("p256")
        self.keys.trust(self.signer)
        self._make_broker = make_broker
        self.brokers = []
        self._clients = []
        self._sequence = 0

    # -- brokers

    def options(self, name="broker-1", **changed):
        options = {
            "database": self.db.conninfo,
            "trusted_keys": self.keys.folder,
            "state_directory": self.folder / f"state-{name}",
            "broker_name": name,
            "acl_other_topics": "allow",
        }
        options.update(changed)
        return options

    def add_broker(self, name="broker-1", start=True, ready=True, version="2.0.11", extra=(), with_plugin=True,
                   **options):
        (self.folder / f"state-{name}").mkdir(exist_ok=True)
        broker = self._make_broker(self.folder / name, self.options(name, **options), version, extra, with_plugin)
        self.brokers.append(broker)
        if start:
            broker.start()
            if ready:
                self.wait_ready(broker)
        return broker

    @property
    def broker(self):
        return self.brokers[0]

    def schema_ready(self):
        """The plugin has put its tables, functions and views into the database."""
        return self.db.value("SELECT to_regclass('ota.denied') IS NOT NULL AND to_regclass('ota.device_history') IS NOT NULL"
                             " AND to_regproc('ota.start_rollout') IS NOT NULL")

    def wait_ready(self, broker=None):
        # A few seconds; on a machine that is busy with other things it takes what it takes, and nothing is claimed of it.
        wait_for(self.schema_ready, 60,
                 lambda: f"the schema is there; the broker's log:\n{(broker or self.broker).log()[-4000:]}")

    def wait_joined(self):
        """The first broker is connected to the database and has made itself known there."""
        wait_for(lambda: self.db.value("SELECT EXISTS (SELECT FROM ota.broker)"), 60, self.broker.log)

    def close(self):
        """Ends clients and brokers; the first thing wrong with a broker is raised at the end."""
        problem = None
        for client in self._clients:
            try:
                client.disconnect()
            except Exception:  # the broker may be gone; it is judged below
                pass
        for broker in self.brokers:
            try:
                broker.stop()
            except AssertionError as error:
                problem = problem or error
        if problem:
            raise problem

    # -- clients

    def device(self, device_id, broker=None, start=True, **options):
        device = Device(broker or self.broker, device_id, **options)
        self._clients.append(device)
        return device.start() if start else device

    def devices(self, count, prefix="dev", **options):
        return [self.device(f"{prefix}-{index:03d}", **options) for index in range(1, count + 1)]

    def listening_devices(self, fleet, count, version="1.0.0"):
        """Devices of a fleet, as soon as the record has all of them."""
        devices = self.devices(count, fleet=fleet, version=version)
        wait_for(lambda: self.db.value("SELECT count(*) FROM ota.device WHERE fleet = %s AND listening AND version = %s", fleet, version)
                 == count, 10, lambda: self.db.rows("SELECT * FROM ota.device"))
        return devices

    def client(self, client_id, broker=None, connect=True, **options):
        client = Client(broker or self.broker, client_id, **options)
        self._clients.append(client)
        return client.connect() if connect else client

    def update_all(self, devices, version, timeout=30):
        """Every device updates as soon as it is told, until all run the version."""

        def one_more():
            for device in devices:
                told = [notice for notice in device.notices() if notice["version"] == version]
                if device.version != version and told:
                    device.update(told[-1])
            return all(device.version == version for device in devices)

        wait_for(one_more, timeout, lambda: f"updated are {[one.client_id for one in devices if one.version == version]}\n"
                                            + "\n".join(broker.log()[-2000:] for broker in self.brokers))

    # -- an operator's hands

    def sequence(self):
        self._sequence += 1
        return self._sequence

    def manifest(self, version, **members):
        body = {
            "schema": 1, "version": version, "sequence": members.pop("sequence", None) or self.sequence(),
            "url": f"https://cdn.example.com/firmware/{version}.bin",
            "sha256": hashlib.sha256(version.encode()).hexdigest(), "size": 1048576,
        }
        body.update(members)
        return {name: value for name, value in body.items() if value is not None}

    def submit(self, document):
        return self.db.value("SELECT ota.add_release(%s::jsonb)", json.dumps(document))

    def release(self, version, signers=None, wait="verified", **members):
        """Signs and submits a release and waits until the broker has judged it."""
        document = envelope(self.manifest(version, **members), *(signers or [self.signer]))
        release = self.submit(document)
        if wait:
            self.wait_release(release, wait)
        return release

    def release_row(self, release):
        return self.db.row("SELECT * FROM ota.release WHERE release_id = %s", release)

    def wait_release(self, release, state="verified"):
        wait_for(lambda: self.release_row(release)["state"] != "submitted", 15,
                 lambda: f"release {release} is judged; the log:\n{self.broker.log()[-3000:]}")
        row = self.release_row(release)
        assert row["state"] == state, row
        return row

    def plan(self, name, *stages, **settings):
        """A plan of (label, percent, wait[, min_devices]) stages."""
        body = []
        for label, percent, wait, *more in stages:
            stage = {"label": label, "percent": percent, "wait": wait}
            if more:
                stage["min_devices"] = more[0]
            body.append(stage)
        if "options" in settings:
            settings["options"] = json.dumps(settings["options"])
        names = "".join(f", {key} => %s" for key in settings)
        self.db.execute(f"SELECT ota.define_plan(%s, %s::jsonb{names})", name, json.dumps(body), *settings.values())
        return name

    def quick_plan(self, name="quick", wait="1 second", first=50, **settings):
        """Two stages: some devices first, then everybody.  Told all at once unless a test says otherwise."""
        options = {"pacing": "none", **settings.pop("options", {})}
        return self.plan(name, ("some", first, wait), ("full", 100, wait), options=options, **settings)

    def start_rollout(self, fleet, version, plan, reason="integration test"):
        return self.db.value("SELECT ota.start_rollout(%s, %s, %s, reason => %s)", fleet, version, plan, reason)

    def order(self, what, rollout, reason="integration test"):
        """pause, resume, halt, cancel or advance."""
        self.db.execute(f"SELECT ota.{what}_rollout(%s, %s)", rollout, reason)

    # -- what the record says

    def device_row(self, device_id):
        return self.db.row("SELECT * FROM ota.device WHERE device_id = %s", device_id)

    def wait_device(self, device_id, timeout=10, **expected):
        def holds():
            row = self.device_row(device_id)
            return row and all(row[name] == value for name, value in expected.items()) and row

        return wait_for(holds, timeout, lambda: f"{device_id} has {expected}; it has {self.device_row(device_id)};"
                                                f" the log:\n{self.broker.log()[-2000:]}")

    def rollout(self, rollout):
        return self.db.row("SELECT * FROM ota.rollout WHERE rollout_id = %s", rollout)

    def stages(self, rollout):
        return self.db.rows("SELECT * FROM ota.rollout_stage WHERE rollout_id = %s ORDER BY stage", rollout)

    def progress(self, rollout):
        return self.db.rows("SELECT * FROM ota.rollout_progress WHERE rollout_id = %s", rollout)

    def wait_rollout(self, rollout, state, timeout=20):
        wait_for(lambda: self.rollout(rollout)["state"] == state, timeout, lambda: self.describe(rollout))
        return self.rollout(rollout)

    def update_row(self, rollout, device_id):
        return self.db.row("SELECT * FROM ota.device_update WHERE rollout_id = %s AND device_id = %s", rollout, device_id)

    def wait_update(self, rollout, device_id, state, timeout=15):
        states = (state,) if isinstance(state, str) else state

        def reached():
            row = self.update_row(rollout, device_id)
            return row and row["state"] in states and row

        return wait_for(reached, timeout, lambda: f"{device_id} is {states}: {self.update_row(rollout, device_id)}\n"
                                                  f"{self.describe(rollout)}")

    def events(self, kind=None, device=None, rollout=None):
        return self.db.rows("SELECT * FROM ota.event WHERE (%s IS NULL OR kind = %s) AND (%s IS NULL OR device_id = %s)"
                            " AND (%s IS NULL OR rollout_id = %s) ORDER BY event_id",
                            kind, kind, device, device, rollout, rollout)

    def wait_event(self, kind=None, device=None, rollout=None, timeout=10):
        return wait_for(lambda: self.events(kind, device, rollout), timeout,
                        lambda: f"an event {kind} of {device}; there are {[e['kind'] for e in self.events()][-40:]}")

    def describe(self, rollout):
        """Everything a person would look at when a rollout does not do what it should."""
        states = self.db.rows("SELECT stage, state, count(*) FROM ota.device_update WHERE rollout_id = %s"
                              " GROUP BY 1, 2 ORDER BY 1, 2", rollout)
        logs = "\n".join(broker.log()[-1500:] for broker in self.brokers)
        return (f"rollout {self.rollout(rollout)}\nstages {self.stages(rollout)}\nupdates "
                f"{[tuple(row.values()) for row in states]}\n{logs}")
