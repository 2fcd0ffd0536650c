"""What the integration tests are made of: private servers, keys, devices and waiting."""

from .broker import Broker
from .device import Client, Device, manifest_of, those_told
from .fleet import Fleet
from .postgres import Database, Postgres
from .process import free_port, stays, wait_for
from .signing import KINDS, Keys, Signer, envelope, pae
from .site import Site
from .storm import Storm

__all__ = ["Broker", "Client", "Database", "Device", "Fleet", "KINDS", "Keys", "Postgres", "Signer", "Site", "Storm",
           "envelope", "free_port", "manifest_of", "pae", "stays", "those_told", "wait_for"]
