#!/bin/sh
# A device in fifty lines: hears of an update, downloads and checks it, "reboots" into it, and reports.  For trying things
# out, and for reading: the protocol needs nothing more.
#
# device.sh ID [VERSION [OPTION OF mosquitto_pub]...]
#
# Runs until it is ended; VERSION (1.0.0) is what it runs first.  Needs mosquitto-clients, jq and curl.
set -eu

[ $# -ge 1 ] || {
	echo "usage: device.sh ID [VERSION [OPTION OF mosquitto_pub]...]" >&2
	exit 2
}
id=$1
version=${2:-1.0.0}
[ $# -lt 2 ] || shift
shift
image=$(mktemp)
child=
trap '[ -z "$child" ] || kill "$child"; rm -f "$image" "$image.notice"' EXIT
trap 'exit 0' INT TERM

# Publishes reports, one a line, in one session; again, when the broker is away: report LINES [OPTION]...
report() {
	lines=$1
	shift
	until printf '%s\n' "$lines" | mosquitto_pub "$@" -i "$id" -q 1 -t "devices/$id/ota/status" -l; do sleep 2; done
}

# Sets $notice to the next message.  The session that listens for it is also the sign that the device is there.
listen() {
	notice=
	while [ -z "$notice" ]; do
		mosquitto_sub "$@" -i "$id" -q 1 -t "devices/$id/ota/available" -C 1 >"$image.notice" &
		child=$! # not in the foreground: a signal would wait for the message
		wait "$child" || sleep 2
		child=
		notice=$(cat "$image.notice")
	done
}

status() { printf '{"version":"%s","status":"%s"}\n' "$version" "$1"; }

report "$(status IDLE)" "$@"
while :; do
	listen "$@"
	[ "$(printf '%s' "$notice" | jq -r .action)" != cancel ] || continue
	told=$(printf '%s' "$notice" | jq -r .version)
	echo "$id: $version, told of $told"
	report "$(status DOWNLOADING)" "$@"
	if ! curl -fsS --proto '=http,https' -o "$image" "$(printf '%s' "$notice" | jq -r .url)"; then
		report "$(printf '{"version":"%s","status":"FAILED","error":"DOWNLOAD_FAILED"}' "$version")" "$@"
		continue
	fi
	if ! printf '%s  %s\n' "$(printf '%s' "$notice" | jq -r .sha256)" "$image" | sha256sum --check --status; then
		report "$(printf '{"version":"%s","status":"FAILED","error":"HASH_MISMATCH"}' "$version")" "$@"
		continue
	fi
	report "$(status APPLYING && status REBOOTING)" "$@"
	version=$told # the next session runs the new firmware
	report "$(status SUCCESS)" "$@"
	echo "$id: runs $version"
done
