#!/usr/bin/env bash
# Three brokers behind HAProxy, PostgreSQL with a streaming standby, and a simulated fleet: during a rollout one broker is killed and
# the database fails over; then the broker comes back.  At the end the result is checked; the exit status says how that went.
#
# examples/cluster/run.sh [--devices N]
#   --devices N  how many devices, 60 to 5000 (300)
#
# Missing Debian packages are installed; everything else stays in a temporary folder and ends with the script.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/../../scripts/lib.sh"

devices=300
while [ $# -gt 0 ]; do
	case $1 in
	--devices)
		ota_check_number --devices "${2:-}" 60 5000
		devices=$2
		shift
		;;
	--help | -h) ota_help ;;
	*) ota_die "unknown argument $1: accepted are --devices N and --help" ;;
	esac
	shift
done

readonly HERE=$OTA_ROOT/examples/cluster VERSION=2.0.0 FLEET=field
build=${OTA_QUICKSTART_BUILD:-$OTA_ROOT/build}

# --- PostgreSQL with a standby --------------------------------------------------------------------

start_standby() {
	local bin dir=$OTA_TMP/standby who=()
	bin=$(ota_postgres_bin)
	mkdir "$dir"
	if [ "$(id -u)" = 0 ]; then
		chown postgres: "$dir"
		who=(--reuid postgres --regid postgres --init-groups)
	fi
	chmod 700 "$dir"
	standby_port=$(ota_free_port)
	(cd / && ota_as_postgres "$bin/pg_basebackup" -D "$dir/data" -h "$PGHOST" -p "$PGPORT" -U postgres -R -c fast) \
		>"$OTA_TMP/basebackup.log" 2>&1 || ota_die "no standby: $(cat "$OTA_TMP/basebackup.log")"
	(
		cd / || exit
		exec setpriv "${who[@]}" --pdeathsig INT -- "$bin/postgres" -D "$dir/data" -k "$dir" -p "$standby_port" \
			-c listen_addresses= -c max_connections=60 -c timezone=UTC
	) >"$OTA_TMP/standby.log" 2>&1 </dev/null &
	standby_pid=$!
	ota_at_exit "ota_stop $standby_pid INT"
	ota_wait 30 "$bin/pg_isready" -q -h "$dir" -p "$standby_port" || ota_die "the standby did not start: $(tail -n 3 "$OTA_TMP/standby.log")"
	# What is committed is on both: nothing that a device was acknowledged for is lost with the primary.
	ota_sql postgres -c "ALTER SYSTEM SET synchronous_standby_names = '*'" -c "SELECT pg_reload_conf()" >/dev/null
	ota_wait 20 is_replicated || ota_die "the standby does not follow"
}
is_replicated() { [ "$(ota_sql postgres -At -c "SELECT sync_state FROM pg_stat_replication")" = sync ]; }

# --- brokers and HAProxy --------------------------------------------------------------------------

broker_conf() {
	sed -e "s|@PLUGIN@|$build/mosquitto_ota.so|" -e "s|@DBHOSTS@|$1|" -e "s|@DBPORTS@|$2|" -e "s|@KEYS@|$OTA_TMP/keys.d|" \
		-e "s|@NAME@|broker-$3|" -e "s|@STATE@|$OTA_TMP/state-$3|" "$HERE/broker.conf"
}

start_haproxy() {
	mqtt_port=$(ota_free_port)
	sed -e "s|@HOST@|127.0.0.1|" -e "s|@PORT@|$mqtt_port|" -e "s|@BROKER1@|${ports[1]}|" -e "s|@BROKER2@|${ports[2]}|" \
		-e "s|@BROKER3@|${ports[3]}|" "$HERE/haproxy.cfg" >"$OTA_TMP/haproxy.cfg"
	ota_spawn "$OTA_TMP/haproxy.log" "$(PATH=$PATH:/usr/sbin command -v haproxy)" -db -f "$OTA_TMP/haproxy.cfg"
	ota_wait 10 ota_listening "$mqtt_port" || ota_die "HAProxy did not start: $(cat "$OTA_TMP/haproxy.log")"
}

# --- a signed release -----------------------------------------------------------------------------

start_file_server() {
	http_port=$(ota_free_port)
	mkdir "$OTA_TMP/www"
	ota_spawn "$OTA_TMP/www.log" python3 -m http.server -b 127.0.0.1 -d "$OTA_TMP/www" "$http_port"
	ota_wait 10 ota_listening "$http_port" || ota_die "the file server did not start"
}

release() {
	local file=$OTA_TMP/www/$VERSION.bin type=application/vnd.mosquitto-ota.manifest+json keyid body=$OTA_TMP/manifest
	"$build/examples/fleet/mosquitto_ota_fleet" make-image --version "$VERSION" --size 4096 "$file"
	printf '{"schema":1,"version":"%s","sequence":20,"url":"http://127.0.0.1:%s/%s.bin","sha256":"%s","size":%d,"fleets":["%s"]}' \
		"$VERSION" "$http_port" "$VERSION" "$(sha256sum "$file" | cut -d ' ' -f 1)" "$(stat -c %s "$file")" "$FLEET" >"$body"
	keyid=$(openssl pkey -pubin -in "$OTA_TMP/keys.d/release.pem" -outform DER | sha256sum | cut -d ' ' -f 1)
	{
		printf 'DSSEv1 %d %s %d ' "${#type}" "$type" "$(stat -c %s "$body")"
		cat "$body"
	} >"$body.pae"
	openssl dgst -sha256 -sign "$OTA_TMP/release.key" -out "$body.sig" "$body.pae"
	printf '{"payloadType":"%s","payload":"%s","signatures":[{"keyid":"%s","sig":"%s"}]}' "$type" "$(base64 -w 0 "$body")" \
		"$keyid" "$(base64 -w 0 "$body.sig")" >"$body.dsse"
	ota_sql ota -At -v envelope="$(cat "$body.dsse")" <<<"SELECT ota.add_release(:'envelope'::jsonb)" >/dev/null
	ota_wait 15 ota_is_true "SELECT state = 'verified' FROM ota.release" || ota_die "nobody verified the release"
}

# --- watching -------------------------------------------------------------------------------------

# A line with what the database says now; while it is away, that.
show() {
	local line
	line=$(ota_value "SELECT format('%-10s %s of $devices updated, %s busy, %s failed;  devices at %s', r.state,
		(SELECT count(*) FROM ota.device_update WHERE rollout_id = r.rollout_id AND state = 'succeeded'),
		(SELECT sum(in_flight) FROM ota.rollout_stage WHERE rollout_id = r.rollout_id),
		(SELECT sum(failed) FROM ota.rollout_stage WHERE rollout_id = r.rollout_id),
		(SELECT string_agg(broker || ': ' || n, ', ' ORDER BY broker) FROM (SELECT broker, count(*) AS n FROM ota.device
			WHERE connected GROUP BY 1) b)) FROM ota.rollout r" 2>/dev/null) || line='the database is away'
	printf '  %6s s  %s\n' "$(ota_since "$from")" "$line"
}

# Shows a line a second until a statement is true: until seconds statement
until_true() {
	local end=$((SECONDS + $1))
	while ! ota_is_true "$2"; do
		show
		((SECONDS < end)) || {
			tail -n 5 "$OTA_TMP"/broker-*.log
			ota_die "not within $1 s: $2"
		}
		sleep 1
	done
	show
}

succeeded() { printf "SELECT count(*) >= %d FROM ota.device_update WHERE state = 'succeeded'" "$1"; }

# --- the story ------------------------------------------------------------------------------------

ota_begin
ota_title "Packages and build"
# shellcheck disable=SC2086 # a list of names
ota_install $OTA_PACKAGES_RUN haproxy
ota_run "build the plugin and the simulated devices" "$OTA_TMP/build.log" ota_build "$build" -DBUILD_TESTING=OFF || {
	tail -n 40 "$OTA_TMP/build.log"
	ota_die "the build failed"
}
from=$(date +%s.%N)

ota_title "PostgreSQL and its standby, three brokers, HAProxy"
ota_postgres_start
createdb ota
start_standby
primary_pid=$OTA_PG_PID hosts=$PGHOST,$OTA_TMP/standby dbports=$PGPORT,$standby_port
# From here on psql finds whichever takes writes, as the brokers do.
export PGHOST=$hosts PGPORT=$dbports PGTARGETSESSIONATTRS=read-write
mkdir "$OTA_TMP/keys.d"
openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$OTA_TMP/release.key" 2>/dev/null
openssl pkey -in "$OTA_TMP/release.key" -pubout -out "$OTA_TMP/keys.d/release.pem"
ports=() pids=()
for n in 1 2 3; do
	mkdir "$OTA_TMP/state-$n"
	ota_broker_start "broker-$n" < <(broker_conf "$hosts" "$dbports" "$n")
	ports[n]=$OTA_BROKER_PORT pids[n]=$OTA_BROKER_PID
done
ota_wait 20 ota_is_true "SELECT count(*) = 3 FROM ota.broker" || ota_die "not all brokers are there: $(tail -n 3 "$OTA_TMP"/broker-*.log)"
start_haproxy
start_file_server
ota_ok "devices connect to HAProxy on 127.0.0.1:$mqtt_port"

ota_title "$devices devices, a signed release"
ota_spawn "$OTA_TMP/fleet.log" "$build/examples/fleet/mosquitto_ota_fleet" -p "$mqtt_port" -n "$devices" -f "$FLEET" -k 5 \
	--trusted-key "$OTA_TMP/keys.d/release.pem" --verify manifest --notices "$OTA_TMP/notices"
ota_wait 30 ota_is_true "SELECT count(*) = $devices FROM ota.device WHERE listening" || ota_die "not all devices are there: $(tail -n 3 "$OTA_TMP/fleet.log")"
release
ota_value "SELECT ota.define_plan('demo', '[{\"label\": \"canary\", \"percent\": 10, \"wait\": \"2 seconds\"},
	{\"label\": \"half\", \"percent\": 50, \"wait\": \"2 seconds\"}, {\"label\": \"full\", \"percent\": 100, \"wait\": \"2 seconds\"}]',
	max_in_flight => $((devices / 10)), options => '{\"pacing\": \"none\"}')" >/dev/null
ota_value "SELECT ota.start_rollout('$FLEET', '$VERSION', 'demo', reason => 'a demo')" >/dev/null

ota_title "The rollout"
until_true 40 "$(succeeded $((devices / 5)))"
ota_warn "broker-2 is killed"
disown "${pids[2]}" # bash would say that it was killed
ota_stop "${pids[2]}" KILL
until_true 60 "$(succeeded $((devices * 6 / 10)))"
ota_warn "the primary PostgreSQL is killed; its standby is promoted three seconds later"
ota_stop "$primary_pid" QUIT
for n in 1 2 3; do
	show
	sleep 1
done
PGTARGETSESSIONATTRS=any psql -X -q -h "$OTA_TMP/standby" -p "$standby_port" -d postgres -At -c "SELECT pg_promote()" >/dev/null
until_true 90 "SELECT state IN ('completed', 'halted', 'cancelled') FROM ota.rollout"
until_true 40 "SELECT count(*) = 0 FROM ota.device WHERE connected AND broker = 'broker-2'"
ota_warn "broker-2 comes back: what it had acknowledged and not written yet is in its outbox"
ota_spawn "$OTA_TMP/broker-2-again.log" "$(PATH=$PATH:/usr/sbin command -v mosquitto)" -c "$OTA_TMP/broker-2.conf"
# The last stage passes when nine of ten have finished; those on their way still do.
until_true 40 "$(succeeded "$devices")"
until_true 20 "SELECT count(*) = 3 FROM ota.broker WHERE alive_at > now() - interval '10 seconds'"

ota_title "What an operator asks"
ota_say "how did it go?  (ota.rollout_progress)"
ota_table "SELECT version, state, label, targeted, cohort, notified, succeeded, failed FROM ota.rollout_progress ORDER BY stage"
ota_say "which brokers were lost, and what else happened?  (ota.event)"
ota_table "SELECT to_char(at, 'HH24:MI:SS') AS at, kind, broker, left(detail::text, 90) AS detail FROM ota.event
	WHERE kind IN ('broker_lost', 'stage_opened', 'stage_passed', 'rollout') ORDER BY event_id"
twice=$(grep -o '"device":"[^"]*"' "$OTA_TMP/notices" | sort | uniq -c | awk '$1 > 1' | wc -l)
ota_say "told more than once, because they came back without having begun: $twice of $devices"

ota_title "Checks"
failed=0
check() {
	if ota_is_true "$2"; then ota_ok "$1"; else
		ota_bad "$1"
		failed=1
	fi
}
check "the rollout is completed" "SELECT state = 'completed' FROM ota.rollout"
check "every device runs $VERSION" "SELECT count(*) = $devices FROM ota.device WHERE version = '$VERSION'"
check "every device succeeded, once, at the first attempt" \
	"SELECT count(*) = $devices FROM ota.device_update WHERE state = 'succeeded' AND attempt = 1 AND attempts_failed = 0"
check "the counters are what the rows add up to" "SELECT sum(succeeded) = $devices AND sum(failed) = 0 AND sum(in_flight) = 0 FROM ota.rollout_stage"
printf '\n'
[ "$failed" = 0 ] || ota_die "the cluster did not do what it should"
ota_ok "done in $(ota_since "$from") s after the build"
