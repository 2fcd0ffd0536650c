#!/usr/bin/env bash
# Builds earlier states of this repository, for tests of upgrades, and prints what was made:
#
# tests/older.sh plugin    mosquitto_ota.so of the last commit with the first two migrations only: its schema is older
# tests/older.sh package   a Debian package of the first commit that has one and whose migrations are those of today: config, state
#                          and functions are older
#
# They are kept in ~/.cache/mosquitto-ota.  Exit status 77 when the history is not there (a download of the sources, a shallow clone).
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/../scripts/lib.sh"

what=${1:-}
case $what in
plugin | package) ;;
-h | --help | '') ota_help ;;
*) ota_die "unknown argument $what: accepted are plugin and package" ;;
esac
ota_begin

git_here() { git -c safe.directory='*' -C "$OTA_ROOT" "$@"; }

# The numbered files of a commit that are not as they are today.
edited() {
	local blob path
	git_here ls-tree "$1" sql/migrations/ | while read -r _ _ blob path; do
		[ "$(git_here hash-object "$OTA_ROOT/$path" 2>/dev/null)" = "$blob" ] || echo "$path"
	done
}

# The commit that is meant; nothing when it is not there.
find_commit() {
	local commit
	for commit in $(git_here rev-list --reverse HEAD -- sql/migrations 2>/dev/null); do
		if [ "$what" = plugin ]; then
			[ "$(git_here ls-tree "$commit" sql/migrations/ | wc -l)" -gt 2 ] || continue
			commit=$(git_here rev-parse --verify --quiet "$commit^") || return 0
			[ -z "$(edited "$commit")" ] || return 0
		else
			git_here cat-file -e "$commit:package/postinst" 2>/dev/null || continue
			[ -z "$(edited "$commit")" ] || continue
		fi
		echo "$commit"
		return
	done
}

commit=$(find_commit)
if [ -z "$commit" ]; then
	echo "older.sh: the history of this repository is not there, or not far enough" >&2
	exit 77
fi
cache=${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/mosquitto-ota
made=$cache/older-$what-${commit:0:12}-$(dpkg --print-architecture)
mkdir -p "$cache"
exec 8>"$made.lock"
flock 8 # several runs share it
if [ ! -e "$made/done" ]; then
	rm -rf "$made"
	mkdir -p "$made" "$OTA_TMP/source"
	git_here archive "$commit" | tar -x -C "$OTA_TMP/source"
	options=(-DCMAKE_BUILD_TYPE=RelWithDebInfo -DBUILD_TESTING=OFF -DOTA_BUILD_DEVICES=OFF)
	[ "$what" = plugin ] || options+=(-DCMAKE_INSTALL_PREFIX=/usr)
	{
		cmake -S "$OTA_TMP/source" -B "$OTA_TMP/build" "${options[@]}"
		cmake --build "$OTA_TMP/build" -j"$(nproc)"
		if [ "$what" = package ]; then
			cd "$OTA_TMP/build"
			cpack --config CPackConfig.cmake -B "$OTA_TMP/debs"
		fi
	} >"$OTA_TMP/log" 2>&1 || {
		tail -n 40 "$OTA_TMP/log" >&2
		ota_die "commit $commit cannot be built"
	}
	if [ "$what" = plugin ]; then cp "$OTA_TMP/build/mosquitto_ota.so" "$made/"; else cp "$OTA_TMP"/debs/*.deb "$made/"; fi
	touch "$made/done"
fi
ls "$made"/*.so "$made"/*.deb 2>/dev/null || true
