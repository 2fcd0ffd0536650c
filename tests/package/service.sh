#!/bin/sh
# `service`, in a root without systemd: does with Mosquitto what its unit file says (Debian's init script for it does not get
# past the pid file since the broker gives up root first), and leaves everything else to the real one.
unit=/lib/systemd/system/mosquitto.service
pid=/run/service.mosquitto.pid

listening() { bash -c 'exec 3<>/dev/tcp/127.0.0.1/1883' 2>/dev/null; }

[ "$1" = mosquitto ] || exec /usr/sbin/service "$@"
case $2 in
stop | restart)
	if [ -e $pid ]; then
		kill "$(cat $pid)" 2>/dev/null
		while kill -0 "$(cat $pid)" 2>/dev/null; do sleep 0.1; done
		rm -f $pid
	fi
	;;
esac
case $2 in
start | restart)
	sed -n 's/^ExecStartPre=//p' $unit | sh || exit
	# shellcheck disable=SC2046 # a command line
	setsid $(sed -n 's/^ExecStart=//p' $unit) >/tmp/mosquitto.out 2>&1 </dev/null &
	echo $! >$pid
	# Type=notify: a start lasts until the broker is ready.
	while ! listening; do
		if ! kill -0 "$(cat $pid)" 2>/dev/null; then
			echo "mosquitto does not start:" >&2
			cat /tmp/mosquitto.out /var/log/mosquitto/mosquitto.log >&2
			exit 1
		fi
		sleep 0.1
	done
	;;
esac
