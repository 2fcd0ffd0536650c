"""A board with RAUC: the real program and its service on a private D-Bus, files for partitions, a script for the boot loader."""

import pathlib
import shutil
import subprocess

from . import agents

# What RAUC asks of a boot loader it does not know (bootloader-custom-backend), and what this one does at a boot.
_BACKEND = """cd "$(dirname "$0")" || exit 1
primary() {
	wanted=$(cat primary)
	if [ "$(cat "left.$wanted" 2>/dev/null)" = 0 ]; then
		[ "$wanted" = A ] && echo B || echo A
	else
		echo "$wanted"
	fi
}
echo "$*" >>backend.log
case $1 in
get-primary) primary ;;
set-primary) echo "$2" >primary; echo 2 >"left.$2" ;;
get-state) [ "$(cat "left.$2" 2>/dev/null)" = 0 ] && echo bad || echo good ;;
set-state) if [ "$3" = good ]; then rm -f "left.$2"; else echo 0 >"left.$2"; fi ;;
boot) # counts a trial's attempt before it runs
	slot=$(primary)
	if [ -e "left.$slot" ]; then echo $(($(cat "left.$slot") - 1)) >"left.$slot"; fi
	echo "$slot" ;;
esac
"""

_BOARD = """. {folder}/board.env
command=$1
shift
start() {{ # slot
	rm -f "$DBUS_SOCKET"
	dbus-daemon --config-file={folder}/bus.conf --nofork &
	bus=$!
	while [ ! -S "$DBUS_SOCKET" ]; do sleep 0.02; done
	rauc --conf={folder}/system.conf --override-boot-slot="$1" service &
	service=$!
	until rauc status >/dev/null 2>&1; do sleep 0.05; done
}}
stop() {{ kill "$service" "$bus"; wait; }}
case $command in
provision)
	start A
	{agent_boot} provision "$@"
	result=$?
	stop
	exit $result ;;
run)
	shift 2
	while :; do
		slot=$({folder}/backend.sh boot)
		echo "boot: slot $slot"
		start "$slot"
		OTA_IMAGE={folder}/slots/$slot.img "$@"
		stop
		sleep 0.05
	done ;;
esac
"""

_CONF = """[system]
compatible=p-100
bootloader=custom
mountprefix={folder}/mnt
statusfile={folder}/rauc.status
[handlers]
bootloader-custom-backend={folder}/backend.sh
[keyring]
path={folder}/cert.pem
[slot.rootfs.0]
device={folder}/slots/A.img
type=raw
bootname=A
[slot.rootfs.1]
device={folder}/slots/B.img
type=raw
bootname=B
"""

_BUS = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>system</type><listen>unix:path={socket}</listen><auth>EXTERNAL</auth>
<policy context="default"><allow own="*"/><allow user="*"/><allow send_destination="*"/><allow receive_sender="*"/></policy>
</busconfig>
"""


def usable():
    """Are the programs there, and may a squashfs be mounted from a file?  RAUC mounts the bundle."""
    if not all(shutil.which(name) for name in ("rauc", "mksquashfs", "dbus-daemon", "mount", "losetup")):
        return False
    return subprocess.run(["losetup", "-f"], capture_output=True).returncode == 0 and pathlib.Path("/dev/loop-control").exists()


def certificate(folder, name):
    """A self-signed certificate; returns (certificate, key)."""
    paths = folder / f"{name}.pem", folder / f"{name}.key"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}", "-days", "2",
                    "-out", paths[0], "-keyout", paths[1]], check=True, capture_output=True)
    return paths


def make_bundle(folder, signer, version, behaviour="good", size=100_000):
    """A bundle as its maker would build it, with rauc; returns its bytes and the image inside."""
    content = folder / f"content-{version}"
    content.mkdir()
    image = agents.make_image(version, behaviour, size)
    (content / "rootfs.img").write_bytes(image)
    (content / "manifest.raucm").write_text(f"[update]\ncompatible=p-100\nversion={version}\n[bundle]\nformat=plain\n"
                                            "[image.rootfs]\nfilename=rootfs.img\n")
    bundle = folder / f"{version}.raucb"
    subprocess.run(["rauc", f"--cert={signer[0]}", f"--key={signer[1]}", "bundle", content, bundle], check=True, capture_output=True)
    return bundle.read_bytes(), image


class RaucBoard(agents.AgentDevice):
    """As AgentDevice, but what boots is decided by RAUC and by the boot loader that it talks to."""

    def __init__(self, folder, broker, device_id, keys, signer, **settings):
        super().__init__(agents.commands("python", None), folder, broker, device_id, keys, installer="rauc", **settings)
        place = self.folder / "rauc"
        (place / "slots").mkdir(parents=True)
        (place / "mnt").mkdir()
        self.place = place
        for name in "AB":
            (place / "slots" / f"{name}.img").write_bytes(agents.make_image("1.0.0") if name == "A" else bytes(200_000))
        (place / "primary").write_text("A\n")
        shutil.copy(signer[0], place / "cert.pem")
        socket = f"/tmp/ota-{self.device_id}.bus"  # a socket's path may have 107 characters only
        (place / "system.conf").write_text(_CONF.format(folder=place))
        (place / "bus.conf").write_text(_BUS.format(socket=socket))
        (place / "board.env").write_text(f"DBUS_SOCKET={socket}\nexport DBUS_SYSTEM_BUS_ADDRESS=unix:path={socket}\n")
        self._script("rauc/backend.sh", _BACKEND)
        agent_boot = " ".join(str(part) for part in self.boot_command)
        self.boot_command = [self._script("board.sh", _BOARD.format(folder=place, agent_boot=agent_boot))]
        self.socket = pathlib.Path(socket)

    def power_cut(self):
        super().power_cut()
        self.socket.unlink(missing_ok=True)
        subprocess.run(["umount", "-q", "-l", self.place / "mnt" / "bundle"], capture_output=True)  # the power takes mounts, too

    def primary(self):
        """What the boot loader would boot."""
        return subprocess.run([self.place / "backend.sh", "get-primary"], check=True, capture_output=True, text=True).stdout.strip()

    def partition(self, name):
        return (self.place / "slots" / f"{name}.img").read_bytes()
