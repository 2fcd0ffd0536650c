#!/usr/bin/env bash
# Installs, follows the README, upgrades, removes and purges the Debian package in a clean root, with the distribution's own
# Mosquitto as user mosquitto, its ordinary configuration, and its PostgreSQL.
#
# tests/package/run.sh [BUILD FOLDER]
#
# The root is made by debootstrap from the archive that this machine's apt uses, and kept in ~/.cache/mosquitto-ota with the packages
# it needs; each run works on a copy, in namespaces of its own: the ports of this machine are not touched.  Prints TAP lines.
# OTA_PACKAGE_SHELL=1 gives a shell in the root at the end.
# shellcheck disable=SC2016 # scripts for other shells
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/../../scripts/lib.sh"

readonly SUITE=bookworm
build=${1:-$OTA_ROOT/build-package}
cache=${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/mosquitto-ota/root-$SUITE-$(dpkg --print-architecture)
here=$OTA_ROOT/tests/package

[ "$(id -u)" = 0 ] || exec sudo -- env "PATH=$PATH" "HOME=$HOME" "$0" "$@"
ota_begin
root=$OTA_TMP/root
# In memory where there is plenty: unpacking hundreds of packages is slow on a busy disk.
if [ "$(df --output=avail -k /dev/shm 2>/dev/null | tail -n 1)" -gt 4000000 ] && ! findmnt -no OPTIONS /dev/shm | grep -q noexec; then
	memory=$(mktemp -d /dev/shm/ota.XXXXXX)
	ota_at_exit "rm -rf $memory"
	chmod 755 "$memory"
	root=$memory/root
fi

# A command in a root, with the network of this machine: in_root root command...
in_root() {
	local where=$1
	shift
	env -i "HOME=/root" "PATH=/usr/sbin:/usr/bin:/sbin:/bin" LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive \
		${http_proxy:+"http_proxy=$http_proxy"} ${https_proxy:+"https_proxy=$https_proxy"} chroot "$where" "$@"
}

make_root() {
	local archive
	archive=$(ota_debian_archive)
	[ -n "$archive" ] || ota_die "this machine's apt knows no Debian archive: apt-get update"
	rm -rf "$cache.new"
	mkdir -p "$cache.new"
	debootstrap --keyring=/usr/share/keyrings/debian-archive-keyring.gpg --variant=minbase "$SUITE" "$cache.new" "$archive" || return
	# How this machine's apt reaches the archive; the answer to apt's question is yes.
	apt-config dump Acquire::http Acquire::https >"$cache.new/etc/apt/apt.conf.d/90machine"
	printf 'APT::Get::Assume-Yes "true";\nAcquire::Languages "none";\nAPT::Install-Recommends "false";\nAcquire::Retries "3";\n' \
		>"$cache.new/etc/apt/apt.conf.d/91test"
	echo force-unsafe-io >"$cache.new/etc/dpkg/dpkg.cfg.d/test"
	# Without an init system invoke-rc.d starts nothing unless it is told that it may.
	# Mosquitto has to wait for its `service` (see service.sh).
	printf '#!/bin/sh\ntest "$1" != mosquitto || exit 101\n' >"$cache.new/usr/sbin/policy-rc.d"
	chmod 755 "$cache.new/usr/sbin/policy-rc.d"
	in_root "$cache.new" apt-get update -q || return
	rm -rf "$cache"
	mv "$cache.new" "$cache"
}

# The packages that the README's first command needs, into the root's own apt cache: later nothing is downloaded.
fill_cache() {
	local words
	words=$(/usr/bin/python3 "$OTA_ROOT/tests/docs/blocks.py" "$OTA_ROOT/README.md" "package test" |
		sed -n 's/^apt install [^ ]*\.deb //p')
	cp "$deb" "$cache/tmp/"
	# shellcheck disable=SC2086 # a list of names
	in_root "$cache" apt-get install -q --download-only "/tmp/$(basename "$deb")" $words
	rm -f "$cache"/tmp/*.deb
}

copy_root() { cp -a --reflink=auto "$cache" "$root"; }

prepare() {
	mkdir -p "$(dirname "$cache")"
	exec 8>"$cache.lock"
	flock 8 # several runs share it
	[ -e "$cache/var/lib/apt/lists" ] || make_root || return
	fill_cache || return
	copy_root || return
	flock -u 8
}

# --- the packages ---------------------------------------------------------------------------------

[ -e "$build/CPackConfig.cmake" ] || ota_die "$build is no build of this project: scripts/make_package.sh makes one"
mkdir "$OTA_TMP/debs" "$OTA_TMP/newer"
(cd "$build" && cpack --config CPackConfig.cmake -B "$OTA_TMP/debs") >"$OTA_TMP/cpack.log" 2>&1 || {
	cat "$OTA_TMP/cpack.log"
	ota_die "no package was made"
}
deb=$(echo "$OTA_TMP"/debs/*.deb)
# The same again under a higher version, for the upgrade.
version=$(dpkg-deb -f "$deb" Version)
dpkg-deb -R "$deb" "$OTA_TMP/tree"
sed -i "s/^Version: .*/Version: $version+upgrade/" "$OTA_TMP/tree/DEBIAN/control"
dpkg-deb --root-owner-group -b "$OTA_TMP/tree" "$OTA_TMP/newer/" >/dev/null

# And the oldest one that this repository can still build, under a lower version.
if older=$("$OTA_ROOT/tests/older.sh" package 2>"$OTA_TMP/older.log"); then
	mkdir "$OTA_TMP/older"
	dpkg-deb -R "$older" "$OTA_TMP/older/tree"
	sed -i "s/^Version: .*/Version: 0.0.1/" "$OTA_TMP/older/tree/DEBIAN/control"
	dpkg-deb --root-owner-group -b "$OTA_TMP/older/tree" "$OTA_TMP/older/older.deb" >/dev/null
else
	older=''
	printf 'ok - an upgrade from an older package # skip %s\n' "$(tail -n 1 "$OTA_TMP/older.log")"
fi

if found=$(lintian --fail-on error,warning --allow-root "$deb" 2>&1); then
	echo "ok - lintian"
else
	printf 'not ok - lintian\n%s\n' "$found"
fi

ota_run "a clean $SUITE" "$OTA_TMP/root.log" prepare || {
	tail -n 40 "$OTA_TMP/root.log"
	ota_die "no clean root could be made"
}

# --- in the clean root ----------------------------------------------------------------------------

mkdir "$root/test"
cp "$deb" "$root/tmp/"
cp "$OTA_TMP"/newer/*.deb "$root/test/newer.deb"
/usr/bin/python3 "$OTA_ROOT/tests/docs/blocks.py" "$OTA_ROOT/README.md" "package test" >"$root/test/readme.sh"
cp "$here/inside.sh" "$here/upgrade.sh" "$here/claims.sh" "$root/test/"
[ -z "$older" ] || cp "$OTA_TMP/older/older.deb" "$root/test/"
cp "$here/service.sh" "$root/usr/local/sbin/service"
# Its own processes, network (loopback alone), mounts and shared memory; all of it ends with this script.
setpriv --pdeathsig KILL -- unshare --net --pid --mount --ipc --uts --fork --kill-child -- bash -euc '
	root=$1
	mount --make-rprivate /
	mount -t proc proc "$root/proc"
	mount --rbind /dev "$root/dev"
	ip link set lo up
	exec env -i HOME=/root PATH=/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 TERM=dumb DEBIAN_FRONTEND=noninteractive \
		OTA_PACKAGE_SHELL="$2" chroot "$root" bash /test/inside.sh
' bash "$root" "${OTA_PACKAGE_SHELL:-}"
