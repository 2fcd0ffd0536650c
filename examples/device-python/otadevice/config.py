"""The configuration file: one setting a line, a name and its value, as in mosquitto.conf.

The agent in C reads the same file.  device.conf.example explains every setting.
"""

import dataclasses
import pathlib


class ConfigError(Exception):
    """Says which line of which file is wrong, and what is accepted."""


@dataclasses.dataclass
class Config:
    device_id: str = ""
    state_directory: pathlib.Path = pathlib.Path()
    fleet: str = ""
    hardware: str = ""
    broker_host: str = "localhost"
    broker_port: int = 1883
    broker_cafile: str = ""
    broker_username: str = ""
    broker_password_file: str = ""
    trusted_key: list = dataclasses.field(default_factory=list)
    signature: str = "manifest"
    download_cafile: str = ""
    download_tries: int = 8
    backoff_ms: int = 1000
    stall_seconds: int = 20
    slot_size: int = 1 << 30
    boot_attempts: int = 3
    watchdog_seconds: int = 120
    restart_ms: int = 1000
    health: list = dataclasses.field(default_factory=list)  # (name, command)
    health_seconds: int = 50
    battery_file: str = ""
    battery_min: int = 30
    busy_file: str = ""
    defer_seconds: int = 300
    installer: str = "files"
    rauc_slots: str = "A B"
    swupdate_command: str = "swupdate -e stable,{slot} -i {bundle}"

    @property
    def status_topic(self):
        return f"devices/{self.device_id}/ota/status"

    @property
    def notice_topic(self):
        # The fleet's topic also enrols a device that the broker does not know yet.
        return f"fleet/{self.fleet}/ota/available" if self.fleet else f"devices/{self.device_id}/ota/available"


_POLICIES = ("manifest", "artifact", "both")
_INSTALLERS = ("files", "rauc", "swupdate")


def _health(value):
    name, _, command = value.partition(" ")
    if not name or not command.strip():
        raise ValueError("accepted is a name and a program, as in: health gpsLock /usr/lib/ota-device/gps-lock")
    return name, command.strip()


def _number(value):
    # int() would also take "1_000", " 5" and digits of other scripts.
    if not value.isascii() or not value.isdigit() or len(value) > 12:
        raise ValueError("accepted is a whole number")
    return int(value)


def _set(config, name, value):
    if name not in {field.name for field in dataclasses.fields(config)}:
        raise ValueError("unknown setting; see device.conf.example for all of them")
    if not value:
        raise ValueError("a value is missing")
    current = getattr(config, name)
    if name == "health":
        current.append(_health(value))
    elif isinstance(current, list):
        current.append(value)
    elif isinstance(current, int):
        setattr(config, name, _number(value))
    else:
        setattr(config, name, type(current)(value))


def _check(config):
    if not config.device_id or any(letter in config.device_id for letter in "/+#"):
        raise ValueError("device_id: needed, without / + and #")
    if config.state_directory == pathlib.Path():
        raise ValueError("state_directory: needed")
    if config.signature not in _POLICIES:
        raise ValueError(f"signature {config.signature}: accepted are {', '.join(_POLICIES)}")
    if config.installer not in _INSTALLERS:
        raise ValueError(f"installer {config.installer}: accepted are {', '.join(_INSTALLERS)}")
    if len(set(config.rauc_slots.split())) != 2:
        raise ValueError("rauc_slots: accepted are two different names")
    if not config.trusted_key:
        # A device without a key would install whatever a broken-into broker offers.
        raise ValueError("trusted_key: needed, a PEM public key")
    if not 1 <= config.broker_port <= 65535:
        raise ValueError("broker_port: accepted are 1 to 65535")
    for name in ("download_tries", "boot_attempts", "health_seconds", "stall_seconds"):
        if getattr(config, name) < 1:
            raise ValueError(f"{name}: at least 1")


def load(path):
    """Reads a configuration file; raises ConfigError."""
    config = Config()
    try:
        lines = pathlib.Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from None
    for number, line in enumerate(lines, 1):
        name, value = (*line.split(maxsplit=1), "", "")[:2]
        if not name or name.startswith("#"):
            continue
        try:
            _set(config, name, value.strip())
        except ValueError as error:
            raise ConfigError(f"{path}, line {number}: {name} \"{value.strip()}\": {error}") from None
    try:
        _check(config)
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from None
    return config
