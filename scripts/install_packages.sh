#!/usr/bin/env bash
# Installs the named Debian packages as root, without letting the servers among them start.
# Run by scripts/lib.sh; several at the same time take turns.
set -euo pipefail

policy=/usr/sbin/policy-rc.d
mark="# written by mosquitto-ota for the time of one installation: $$"

remove_policy() {
	if [ -f "$policy" ] && grep -qxF "$mark" "$policy"; then
		rm -f "$policy"
	fi
}

mkdir -p /run/lock
exec 9>/run/lock/mosquitto-ota-packages.lock
flock 9

trap remove_policy EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
# An existing policy is the administrator's and stays as it is.
if (set -o noclobber && printf '#!/bin/sh\n%s\nexit 101\n' "$mark" >"$policy") 2>/dev/null; then
	chmod 755 "$policy"
fi

export DEBIAN_FRONTEND=noninteractive
options=(-y -q --no-install-recommends -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3)
apt-get update -q -o Acquire::Retries=3 || echo "apt-get update failed, trying with the lists that are there" >&2
apt-get install "${options[@]}" "$@"
