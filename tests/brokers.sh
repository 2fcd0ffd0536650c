#!/usr/bin/env bash
# Gets the brokers this machine can get and prints a table of name and command:
#   2.0.11  the installed one (needed)
#   2.0.21  from bookworm-backports, unpacked into a cache folder
#   2.1.2   from forky, unpacked with its own C library and loader
# Nothing but the first is ever installed: the other releases' package lists live in the cache folder, out of
# the machine's own apt's sight.
#
# tests/brokers.sh [--plain] [--offline]
#   --plain    on standard output only lines `name<TAB>command`
#   --offline  use what the cache has, download nothing
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/../scripts/lib.sh"

plain='' offline=''
for argument in "$@"; do
	case $argument in
	--plain) plain=1 ;;
	--offline) offline=1 ;;
	*) ota_die "unknown argument $argument: accepted are --plain and --offline" ;;
	esac
done

cache=${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/mosquitto-ota/brokers
architecture=$(dpkg --print-architecture)
libraries=usr/lib/$(gcc -print-multiarch 2>/dev/null || printf '%s-linux-gnu' "$(uname -m)")
table='' absent=''

forky_packages="libmosquitto1 libc6 libcjson1 libdlt3 libmicrohttpd12t64 libpicohttpparser1 libssl3t64
	libsystemd0 libwrap0 libgnutls30t64 zlib1g libzstd1 libp11-kit0 libidn2-0 libunistring5 libtasn1-6
	libhogweed6t64 libnettle8t64 libgmp10 libffi8 libedit2 libbsd0 libmd0 libtinfo6"

# apt with its own sources, lists and cache: in_suite suite command...
in_suite() {
	local suite=$1 dir=$cache/apt/$1
	shift
	apt-get -q -o "Dir::Etc::sourcelist=$dir/sources.list" -o Dir::Etc::sourceparts=/dev/null \
		-o Dir::Etc::preferences=/dev/null -o Dir::Etc::preferencesparts=/dev/null \
		-o "Dir::State::lists=$dir/lists" -o "Dir::Cache=$dir/cache" -o APT::Sandbox::User= \
		-o Acquire::Languages=none -o Acquire::Retries=3 -o Debug::NoLocking=1 "$@"
}

# Reads a suite's package list into the cache.
open_suite() {
	local suite=$1 dir=$cache/apt/$1 archive keyring
	archive=$(ota_debian_archive)
	if [ -z "$archive" ]; then # a machine whose lists were never read
		ota_as_root apt-get update -q >&2 || return 1
		archive=$(ota_debian_archive)
	fi
	[ -n "$archive" ] || return 1
	keyring=/usr/share/keyrings/debian-archive-keyring.gpg
	mkdir -p "$dir/lists/partial" "$dir/cache/archives/partial"
	printf 'deb [signed-by=%s] %s %s main\n' "$keyring" "$archive" "$suite" >"$dir/sources.list"
	in_suite "$suite" update >&2
}

# Downloads packages of a suite and unpacks them: unpack suite folder package...
unpack() {
	local suite=$1 target=$2 deb
	shift 2
	mkdir -p "$target.debs"
	(cd "$target.debs" && in_suite "$suite" download "$@" >&2) || return 1
	for deb in "$target.debs"/*.deb; do
		dpkg -x "$deb" "$target" || return 1
	done
	rm -rf "$target.debs"
}

get_backports() {
	local target=$1
	open_suite bookworm-backports || return 1
	unpack bookworm-backports "$target" mosquitto=2.0.21-1~bpo12+1 libmosquitto1=2.0.21-1~bpo12+1 ||
		{ rm -rf "$target" "$target.debs" && unpack bookworm-backports "$target" mosquitto libmosquitto1; } || return 1
	open_suite bookworm || return 1
	unpack bookworm "$target" libwebsockets17
}

get_forky() {
	local target=$1 packages
	# shellcheck disable=SC2206
	packages=($forky_packages)
	open_suite forky || return 1
	unpack forky "$target" mosquitto=2.1.2-3 "${packages[@]}" ||
		{ rm -rf "$target" "$target.debs" && unpack forky "$target" mosquitto "${packages[@]}"; } || return 1
	# forky unpacks into usr/ only; libpicohttpparser1 ships no link under its soname.
	/sbin/ldconfig -n "$target/$libraries"
}

# Prints what a broker command says its version is.
version_of() { { "$@" -h 2>&1 || true; } | sed -n 's/^mosquitto version \([0-9.]*\).*/\1/p' | head -n 1; }

# Adds a line to the table when the command really runs: offer name command...
offer() {
	local name=$1 version
	shift
	version=$(version_of "$@")
	[ -n "$version" ] || return 1
	[ "$version" = "$name" ] || name=$version
	table+="$name"$'\t'"$*"$'\n'
}

# Gets one of the unpacked brokers: unpacked name getter, then runs `broker_command name` for its command.
unpacked() {
	local name=$1 getter=$2 dir=$cache/$1-$architecture.2 command # .2: the second list of packages
	mkdir -p "$cache"
	exec 8>"$cache/.lock"
	flock 8 # several test runs share the cache
	if [ ! -e "$dir/usr/sbin/mosquitto" ]; then
		if [ -n "$offline" ]; then
			absent+="$name: not in the cache and --offline was given"$'\n'
			return 0
		fi
		rm -rf "$dir.new" "$dir.new.debs"
		if ! (set +e && "$getter" "$dir.new") 2>"$cache/$name.log"; then
			absent+="$name: its packages cannot be had here (see $cache/$name.log)"$'\n'
			rm -rf "$dir.new" "$dir.new.debs"
			return 0
		fi
		mv "$dir.new" "$dir"
	fi
	flock -u 8
	command=$(broker_command "$name" "$dir")
	# shellcheck disable=SC2086 # a command line without blanks in its words
	offer "$name" $command || absent+="$name: unpacked in $dir, but it does not run here"$'\n'
}

broker_command() {
	case $1 in
	2.0.*) printf 'env LD_LIBRARY_PATH=%s %s' "$2/$libraries" "$2/usr/sbin/mosquitto" ;;
	*) printf '%s --library-path %s %s' "$(echo "$2/$libraries"/ld-linux-*.so.*)" "$2/$libraries" "$2/usr/sbin/mosquitto" ;;
	esac
}

installed=$(PATH=$PATH:/usr/sbin command -v mosquitto) || ota_die "mosquitto is not installed: apt-get install mosquitto"
offer 2.0.11 "$installed" || ota_die "the installed broker $installed does not run"
unpacked 2.0.21 get_backports
unpacked 2.1.2 get_forky

if [ -n "$plain" ]; then
	printf '%s' "$table"
	[ -z "$absent" ] || printf '%s' "$absent" >&2
else
	printf '%s' "$table" | while IFS=$'\t' read -r name command; do
		printf '%-8s %s\n' "$name" "$command"
	done
	[ -z "$absent" ] || printf '%s' "$absent" | sed 's/^/not available: /'
fi
