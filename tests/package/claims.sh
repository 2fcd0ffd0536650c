# shellcheck shell=bash
# What inside.sh and upgrade.sh share.
# shellcheck disable=SC2317,SC2034 # claims are called by name; what failed is read by who includes this

failed=0
# Is a claim true?  claim "what" command...
claim() {
	local what=$1
	shift
	if "$@" >/tmp/claim.log 2>&1; then
		printf 'ok - %s\n' "$what"
	else
		printf 'not ok - %s\n' "$what"
		tail -n 30 /tmp/claim.log | sed 's/^/# /'
		failed=1
	fi
}
# The database says: sql query value
sql() { [ "$(runuser -u postgres -- psql -XAt ota -c "$1")" = "$2" ]; }
stat_is() { [ "$(stat -c '%U:%G %a' "$1")" = "$2" ]; }
owner_of_broker() { [ "$(ps_user "$(cat /run/mosquitto/mosquitto.pid)")" = mosquitto ]; }
ps_user() { stat -c %U "/proc/$1"; }
wait_for() {
	local try
	for ((try = 0; try < 300; try++)); do
		"$@" >/dev/null 2>&1 && return 0
		sleep 0.1
	done
	"$@"
}
no_devices() { ! cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\0' ' ' | grep -q 'ota/available\|device\.sh'; }
listening() { (exec 3<>/dev/tcp/127.0.0.1/1883) 2>/dev/null; }
