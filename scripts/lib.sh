# shellcheck shell=bash
# Shared by examples/quickstart.sh and tests/*.sh: packages, a private PostgreSQL, brokers, free ports,
# a temporary folder, and a cleanup that stops exactly what was started.
#
# Source it from bash with `set -euo pipefail`; then call ota_begin once.  Names that start with
# ota_ are for callers, with _ota_ internal.

OTA_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
readonly OTA_ROOT
export OTA_ROOT

# What building and running needs, what the tests need on top of it.
# shellcheck disable=SC2034 # read by the scripts that source this file
readonly OTA_PACKAGES_BUILD="gcc make cmake pkg-config libc6-dev libssl-dev libpq-dev libcjson-dev
	mosquitto mosquitto-dev libmosquitto-dev uthash-dev dpkg-dev"
# shellcheck disable=SC2034
readonly OTA_PACKAGES_RUN="$OTA_PACKAGES_BUILD libcurl4-openssl-dev
	postgresql postgresql-client openssl python3-minimal nginx-light"
# shellcheck disable=SC2034
readonly OTA_PACKAGES_TEST="git clang clang-format clang-tidy llvm libcmocka-dev valgrind shellcheck binutils mosquitto-clients
	postgresql-15-plpgsql-check postgresql-15-pgtap libtap-parser-sourcehandler-pgtap-perl python3 python3-pytest python3-pytest-xdist
	python3-paho-mqtt python3-psycopg2 python3-cryptography rauc squashfs-tools dbus-daemon swupdate cpio
	spin pgbouncer haproxy locales"

# What tests/bench/run.sh needs on top of building and running: to measure, to draw, and for the back end that is compared with.
# shellcheck disable=SC2034
readonly OTA_PACKAGES_BENCH="python3 python3-paho-mqtt python3-psycopg2 python3-cryptography valgrind"
# shellcheck disable=SC2034
readonly OTA_PACKAGES_DRAW="python3 python3-matplotlib"
# shellcheck disable=SC2034
readonly OTA_PACKAGES_RIVAL="nodejs npm"

# shellcheck disable=SC2034 # what testing the Debian package needs in addition
readonly OTA_PACKAGES_PACKAGE="debootstrap debian-archive-keyring lintian iproute2"

OTA_TMP=
_ota_started=$(date +%s.%N)
_ota_pids=()
_ota_cleanups=()
_ota_cleaning=
_ota_owner=

# --- output ---------------------------------------------------------------------------------------

_ota_bold='' _ota_dim='' _ota_red='' _ota_green='' _ota_yellow='' _ota_off=''
if [ -t 1 ] && [ -z "${NO_COLOR:-}" ] && [ "${TERM:-dumb}" != dumb ]; then
	_ota_bold=$'\e[1m' _ota_dim=$'\e[2m' _ota_red=$'\e[31m' _ota_green=$'\e[32m'
	_ota_yellow=$'\e[33m' _ota_off=$'\e[0m'
fi

ota_is_terminal() { [ -n "$_ota_off" ]; }

# Seconds since a time that `date +%s.%N` printed, with one decimal.
ota_since() {
	local now
	now=$(date +%s.%N)
	LC_ALL=C awk -v a="$1" -v b="$now" 'BEGIN { printf "%.1f", b - a }'
}

ota_title() { printf '\n%s%s%s\n' "$_ota_bold" "$*" "$_ota_off"; }
ota_say() { printf '  %s\n' "$*"; }
ota_note() { printf '  %s%s%s\n' "$_ota_dim" "$*" "$_ota_off"; }
ota_ok() { printf '  %sok%s    %s\n' "$_ota_green" "$_ota_off" "$*"; }
ota_warn() { printf '  %snote%s  %s\n' "$_ota_yellow" "$_ota_off" "$*"; }
ota_bad() { printf '  %sFAIL%s  %s\n' "$_ota_red" "$_ota_off" "$*"; }
ota_die() {
	printf '%s%s: %s%s\n' "$_ota_red" "${0##*/}" "$*" "$_ota_off" >&2
	exit 1
}

# --- arguments ------------------------------------------------------------------------------------

# Prints the comment at the head of the script, which is its help, and ends it.
ota_help() {
	sed -n '2,/^set/{s/^# \{0,1\}//;/^set/d;p}' "$0"
	exit 0
}

# Ends the script unless a number is in its range: ota_check_number option value least most
ota_check_number() {
	if ! [[ $2 =~ ^[1-9][0-9]{0,8}$ ]] || [ "$2" -lt "$3" ] || [ "$2" -gt "$4" ]; then
		ota_die "$1 $2: accepted are numbers from $3 to $4"
	fi
}

# --- start, processes, cleanup --------------------------------------------------------------------

# Makes the temporary folder $OTA_TMP and arms the cleanup.  Once per script.
ota_begin() {
	_ota_owner=$BASHPID
	OTA_TMP=$(mktemp -d "${TMPDIR:-/tmp}/ota.XXXXXX")
	export OTA_TMP
	chmod 711 "$OTA_TMP" # the postgres user must get through to its own folder
	trap _ota_on_exit EXIT
	trap '_ota_on_signal INT 130' INT
	trap '_ota_on_signal TERM 143' TERM
	trap '_ota_on_signal HUP 129' HUP
}

# Runs a command line at the end, in the reverse order of registration.
ota_at_exit() { _ota_cleanups+=("$1"); }

_ota_on_signal() {
	trap '' INT TERM HUP
	_ota_cleanup
	trap - "$1" EXIT
	kill -s "$1" "$BASHPID"
	exit "$2"
}

_ota_on_exit() {
	local status=$?
	_ota_cleanup
	exit "$status"
}

_ota_cleanup() {
	[ "$_ota_owner" = "$BASHPID" ] && [ -z "$_ota_cleaning" ] || return 0
	_ota_cleaning=1
	set +e
	local i
	for ((i = ${#_ota_pids[@]} - 1; i >= 0; i--)); do
		ota_stop "${_ota_pids[i]}"
	done
	for ((i = ${#_ota_cleanups[@]} - 1; i >= 0; i--)); do
		eval "${_ota_cleanups[i]}"
	done
	[ -z "$OTA_TMP" ] || rm -rf "$OTA_TMP"
}

# Prints a process and everything below it, children last.
ota_tree() {
	local stat rest pid=$1 child
	printf '%s\n' "$pid"
	for stat in /proc/[0-9]*/stat; do
		{ read -r rest <"$stat"; } 2>/dev/null || continue
		child=${rest%% *}
		rest=${rest##*) } # the name in brackets may hold anything
		read -r _ rest _ <<<"$rest"
		[ "$rest" != "$pid" ] || ota_tree "$child"
	done
}

# Stops a process this script started, and its children: TERM (or $2), after 10 s KILL.
ota_stop() {
	local pid=$1 signal=${2:-TERM} tree try one left
	kill -0 "$pid" 2>/dev/null || return 0
	tree=$(ota_tree "$pid")
	kill -s "$signal" "$pid" 2>/dev/null || true
	for ((try = 0; try < 200; try++)); do
		kill -0 "$pid" 2>/dev/null || break
		sleep 0.05
	done
	left=
	for one in $tree; do
		! kill -0 "$one" 2>/dev/null || left="$left $one"
	done
	# shellcheck disable=SC2086 # a list of numbers
	[ -z "$left" ] || kill -s TERM $left 2>/dev/null || true
	for ((try = 0; try < 40 && ${#left} > 0; try++)); do
		tree=
		for one in $left; do
			! kill -0 "$one" 2>/dev/null || tree="$tree $one"
		done
		left=$tree
		[ -z "$left" ] || sleep 0.05
	done
	# shellcheck disable=SC2086
	[ -z "$left" ] || kill -s KILL $left 2>/dev/null || true
	wait "$pid" 2>/dev/null || true
	return 0
}

# Starts a process in the background with its output in a file; its id is in $OTA_PID.  It also ends when
# this script is killed outright.
ota_spawn() {
	local log=$1
	shift
	setpriv --pdeathsig TERM -- "$@" >"$log" 2>&1 </dev/null &
	OTA_PID=$!
	_ota_pids+=("$OTA_PID")
}

# What a log says now, short enough to stand behind a label.
_ota_last_line() { tail -n 1 "$1" 2>/dev/null | tr -cd '[:print:]' | cut -c -48; }

# Runs a long command with its output in a file: ota_run "label" file command...  Returns its status.  It can be
# interrupted at any time, because the shell waits instead of sitting in a foreground child.  A function given as the
# command must say `|| return` itself: `set -e` is off in what an `if` or `||` asks for.
ota_run() {
	local label=$1 log=$2 from pid status=0 spin='.oO' turn=0
	shift 2
	from=$(date +%s.%N)
	ota_is_terminal || printf '  ...   %s\n' "$label"
	"$@" >"$log" 2>&1 </dev/null &
	pid=$!
	_ota_pids+=("$pid")
	while kill -0 "$pid" 2>/dev/null; do
		turn=$((turn + 1))
		if ota_is_terminal; then
			printf '\r\e[K  %s     %s %s%s s  %s%s' "${spin:turn%3:1}" "$label" "$_ota_dim" "$(ota_since "$from")" \
				"$(_ota_last_line "$log")" "$_ota_off"
		elif ((turn % 150 == 0)); then
			printf '        %s, %s s: %s\n' "$label" "$(ota_since "$from")" "$(_ota_last_line "$log")"
		fi
		sleep 0.2
	done
	! ota_is_terminal || printf '\r\e[K'
	wait "$pid" || status=$?
	if [ "$status" = 0 ]; then
		ota_ok "$label $_ota_dim$(ota_since "$from") s$_ota_off"
	else
		ota_bad "$label $_ota_dim$(ota_since "$from") s$_ota_off"
	fi
	return "$status"
}

# Waits until a command succeeds: ota_wait seconds command...
ota_wait() {
	local limit=$1 try
	shift
	for ((try = 0; try < limit * 20; try++)); do
		"$@" >/dev/null 2>&1 && return 0
		sleep 0.05
	done
	return 1
}

# Is something listening on this loopback port?
ota_listening() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# Prints a port nobody listens on.  Below the kernel's range for outgoing connections, so that none of those takes it.
ota_free_port() {
	local port try
	for ((try = 0; try < 200; try++)); do
		port=$((20000 + (RANDOM * 32768 + RANDOM) % 12000))
		ota_listening "$port" || {
			printf '%s\n' "$port"
			return 0
		}
	done
	return 1
}

# --- packages -------------------------------------------------------------------------------------

# Prints those of the named Debian packages that are not installed.
ota_missing_packages() {
	local name
	for name in "$@"; do
		# shellcheck disable=SC2016 # dpkg's own variables
		case $(dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null) in
		installed) ;;
		*) printf '%s ' "$name" ;;
		esac
	done
}

ota_as_root() {
	if [ "$(id -u)" = 0 ]; then
		"$@"
	elif command -v sudo >/dev/null; then
		sudo -- "$@"
	else
		ota_die "packages have to be installed as root and there is no sudo: run as root: apt-get install $*"
	fi
}

# Installs what is missing of the named packages, and nothing when nothing is missing.
ota_install() {
	local missing
	missing=$(ota_missing_packages "$@")
	[ -n "$missing" ] || {
		ota_ok "all Debian packages are there"
		return 0
	}
	command -v apt-get >/dev/null || ota_die "this machine has no apt-get; needed packages: $missing"
	[ "$(id -u)" = 0 ] || ! command -v sudo >/dev/null || sudo -v || ota_die "sudo was refused"
	ota_say "missing Debian packages: $missing"
	# shellcheck disable=SC2086
	if ! ota_run "installing them" "$OTA_TMP/apt.log" \
		ota_as_root bash "$OTA_ROOT/scripts/install_packages.sh" $missing; then
		cat "$OTA_TMP/apt.log" >&2
		ota_die "could not install: $missing"
	fi
}

# The Debian archive this machine uses, for what else is fetched from it.
ota_debian_archive() {
	# shellcheck disable=SC2016 # apt's own variables
	apt-get indextargets --format '$(ORIGIN) $(LABEL) $(CODENAME) $(REPO_URI)' 'Created-By: Packages' |
		awk '$1 == "Debian" && $2 == "Debian" && $3 !~ /-/ { print $4; exit }'
}

# --- build ----------------------------------------------------------------------------------------

# Configures and builds a tree: ota_build folder cmake-option...  Two scripts that share the folder take turns.
ota_build() {
	local dir=$1
	shift
	mkdir -p "$dir"
	(
		flock 9
		cmake -S "$OTA_ROOT" -B "$dir" "$@" && cmake --build "$dir" -j"$(nproc)"
	) 9>"$dir/.lock"
}

# --- PostgreSQL -----------------------------------------------------------------------------------

# Prints the newest PostgreSQL's folder of programs; 15 is the oldest that is accepted.
ota_postgres_bin() {
	local dir best=0 version
	for dir in /usr/lib/postgresql/*/bin; do
		version=${dir#/usr/lib/postgresql/}
		version=${version%/bin}
		[ -x "$dir/initdb" ] && [ "$version" -ge 15 ] 2>/dev/null && [ "$version" -gt "$best" ] && best=$version
	done
	[ "$best" != 0 ] || return 1
	printf '/usr/lib/postgresql/%s/bin\n' "$best"
}

# Runs a program as somebody PostgreSQL accepts: it refuses root.
ota_as_postgres() {
	if [ "$(id -u)" = 0 ]; then
		setpriv --reuid postgres --regid postgres --init-groups -- "$@"
	else
		"$@"
	fi
}

# The arguments of initdb for what OTA_PG_LOCALE asks for: nothing or C; icu:LANGUAGE, such as icu:de-DE; or a locale of the C
# library, such as en_US.UTF-8.  The last one is made in a folder of its own (LOCPATH), as this machine may not have it.
_ota_locale=()
_ota_postgres_locale() {
	local locale=${OTA_PG_LOCALE:-C}
	case $locale in
	C) _ota_locale=(--no-locale) ;;
	icu:?*) _ota_locale=(--locale=C.UTF-8 --locale-provider=icu "--icu-locale=${locale#icu:}") ;;
	*.UTF-8)
		export LOCPATH=$OTA_TMP/locale
		mkdir -p "$LOCPATH"
		[ -d "$LOCPATH/$locale" ] || localedef -i "${locale%.UTF-8}" -f UTF-8 --no-archive "$LOCPATH/$locale" ||
			ota_die "OTA_PG_LOCALE=$locale: localedef does not know it; is the package locales installed?"
		_ota_locale=("--locale=$locale")
		;;
	*) ota_die "OTA_PG_LOCALE=$locale: accepted are C, icu:LANGUAGE and a locale such as en_US.UTF-8" ;;
	esac
}

# Starts a private cluster below $OTA_TMP that listens on a socket in its own folder only; sets PGHOST, PGPORT, PGUSER and OTA_PG_PID.
# OTA_PG_LOCALE, see above, and OTA_PG_SETTINGS, a list of NAME=VALUE without blanks in it, make it one like an operator's.
ota_postgres_start() {
	local bin dir=$OTA_TMP/postgres who=() settings=() one
	bin=$(ota_postgres_bin) || ota_die "no PostgreSQL 15 or newer found in /usr/lib/postgresql"
	mkdir "$dir"
	if [ "$(id -u)" = 0 ]; then
		chown postgres: "$dir"
		who=(--reuid postgres --regid postgres --init-groups)
	fi
	chmod 700 "$dir"
	PGHOST=$dir
	PGPORT=$(ota_free_port)
	PGUSER=postgres
	export PGHOST PGPORT PGUSER
	_ota_postgres_locale
	for one in ${OTA_PG_SETTINGS:-}; do settings+=(-c "$one"); done
	(cd / && ota_as_postgres "$bin/initdb" -D "$dir/data" -U postgres -A trust -E UTF8 "${_ota_locale[@]}" \
		--no-instructions) >"$OTA_TMP/initdb.log" 2>&1 || {
		cat "$OTA_TMP/initdb.log" >&2
		ota_die "initdb failed"
	}
	(
		cd / || exit
		exec setpriv "${who[@]}" --pdeathsig INT -- "$bin/postgres" -D "$dir/data" -k "$dir" -p "$PGPORT" \
			-c listen_addresses= -c max_connections=60 -c timezone=UTC "${settings[@]}"
	) >"$OTA_TMP/postgres.log" 2>&1 </dev/null &
	OTA_PG_PID=$!
	ota_at_exit "ota_stop $OTA_PG_PID INT" # after the brokers that use it
	ota_wait 30 "$bin/pg_isready" -q || {
		cat "$OTA_TMP/postgres.log" >&2
		ota_die "the private PostgreSQL did not start"
	}
}

# psql against the private cluster, quiet, without anybody's .psqlrc: ota_sql database [psql arguments]
ota_sql() {
	local database=$1
	shift
	psql -X -q -v ON_ERROR_STOP=1 -d "$database" "$@"
}

# The same against the database "ota": what a statement gives, columns separated by |; does it give true; its rows as a table.
ota_value() { ota_sql ota -At -c "$1"; }
ota_is_true() { [ "$(ota_value "$1" 2>/dev/null)" = t ]; }
ota_table() { ota_sql ota -P footer=off -P border=1 -c "$1" | sed '/^$/d; s/^/    /'; }

# --- broker ---------------------------------------------------------------------------------------

# Starts a broker: ota_broker_start name <extra-configuration.  Sets OTA_BROKER_PORT and OTA_BROKER_PID.  OTA_BROKER_COMMAND
# names another mosquitto.
ota_broker_start() {
	local name=$1 conf log try extra command
	conf=$OTA_TMP/$name.conf log=$OTA_TMP/$name.log
	read -r -a command <<<"${OTA_BROKER_COMMAND:-$(PATH=$PATH:/usr/sbin command -v mosquitto)}"
	extra=$(cat)
	for ((try = 0; try < 5; try++)); do
		OTA_BROKER_PORT=$(ota_free_port)
		{
			printf 'listener %s 127.0.0.1\nallow_anonymous true\n' "$OTA_BROKER_PORT"
			[ "$(id -u)" != 0 ] || printf 'user root\n' # else it drops to mosquitto, who may not read here
			printf 'log_dest stderr\nlog_timestamp_format %%H:%%M:%%S\n%s\n' "$extra"
		} >"$conf"
		ota_spawn "$log" "${command[@]}" -c "$conf"
		# shellcheck disable=SC2034
		OTA_BROKER_PID=$OTA_PID
		ota_wait 10 _ota_broker_up_or_gone "$OTA_PID" "$OTA_BROKER_PORT" || break
		kill -0 "$OTA_PID" 2>/dev/null && return 0
		grep -q 'Address already in use' "$log" || break
	done
	cat "$log" >&2
	ota_die "the broker $name did not start"
}

_ota_broker_up_or_gone() { ota_listening "$2" || ! kill -0 "$1"; }
