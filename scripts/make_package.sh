#!/usr/bin/env bash
# Makes the Debian package: mosquitto-ota_<version>_<architecture>.deb in the folder of the project, or in another one.
#
# scripts/make_package.sh [FOLDER]
#
# Missing Debian packages for the build are installed.  OTA_PACKAGE_BUILD names another folder for the build than build-package.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

case ${1:-} in
-h | --help)
	sed -n '2,/^set/{s/^# \{0,1\}//;/^set/d;p}' "$0"
	exit 0
	;;
esac
folder=$(cd "${1:-$OTA_ROOT}" && pwd) || ota_die "$1: accepted is a folder that exists"
build=${OTA_PACKAGE_BUILD:-$OTA_ROOT/build-package}
ota_begin
# shellcheck disable=SC2086 # a list of names
ota_install $OTA_PACKAGES_BUILD
ota_run "build" "$OTA_TMP/build.log" ota_build "$build" -DBUILD_TESTING=OFF -DOTA_BUILD_DEVICES=OFF -DCMAKE_INSTALL_PREFIX=/usr || {
	tail -n 40 "$OTA_TMP/build.log"
	ota_die "the build failed"
}
rm -f "$build"/*.deb
ota_run "package" "$OTA_TMP/package.log" env -C "$build" cpack --config CPackConfig.cmake || {
	cat "$OTA_TMP/package.log"
	ota_die "no package was made"
}
cp "$build"/*.deb "$folder"
ota_say "$folder/$(basename "$build"/*.deb)"
