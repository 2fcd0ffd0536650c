#!/usr/bin/env bash
# The whole thing on one machine, in a few minutes: builds the plugin, starts a private PostgreSQL, a Mosquitto with the
# plugin and a file server, signs two releases, and takes a simulated fleet of real MQTT clients with A/B slots through a
# staged rollout of the good release and a halt of the bad one.
#
# examples/quickstart.sh [--devices N] [--keep]
#   --devices N  how many devices, 200 to 5000 (240)
#   --keep       leave everything running until Enter is pressed, to look around with psql
#
# Missing Debian packages are installed; everything else stays in a temporary folder and ends with the script.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/../scripts/lib.sh"

devices=240 keep=''
while [ $# -gt 0 ]; do
	case $1 in
	--devices)
		ota_check_number --devices "${2:-}" 200 5000
		devices=$2
		shift
		;;
	--keep) keep=1 ;;
	--help | -h) ota_help ;;
	*) ota_die "unknown argument $1: accepted are --devices N, --keep and --help" ;;
	esac
	shift
done

readonly GOOD=2.0.0 BAD=2.1.0 FLEET=field
build=${OTA_QUICKSTART_BUILD:-$OTA_ROOT/build}

# --- the file server ------------------------------------------------------------------------------

start_file_server() {
	local user=
	mkdir -p "$OTA_TMP/www" "$OTA_TMP/nginx"
	http_port=$(ota_free_port)
	[ "$(id -u)" != 0 ] || user='user root;'
	cat >"$OTA_TMP/nginx/conf" <<-CONF
		daemon off; $user worker_processes 1; pid $OTA_TMP/nginx/pid; error_log $OTA_TMP/nginx/log warn;
		events { worker_connections 1024; }
		http {
			access_log off; sendfile on; keepalive_timeout 5;
			client_body_temp_path $OTA_TMP/nginx/body; proxy_temp_path $OTA_TMP/nginx/proxy;
			fastcgi_temp_path $OTA_TMP/nginx/fastcgi; uwsgi_temp_path $OTA_TMP/nginx/uwsgi;
			scgi_temp_path $OTA_TMP/nginx/scgi;
			server { listen 127.0.0.1:$http_port; root $OTA_TMP/www; }
		}
	CONF
	ota_spawn "$OTA_TMP/nginx/output" "$(PATH=$PATH:/usr/sbin command -v nginx)" -c "$OTA_TMP/nginx/conf" \
		-p "$OTA_TMP/nginx" -e "$OTA_TMP/nginx/log"
	ota_wait 10 ota_listening "$http_port" || ota_die "the file server did not start: $(cat "$OTA_TMP/nginx/log")"
}

# --- releases -------------------------------------------------------------------------------------

# The manifest of an image: manifest version sequence notes
manifest() {
	local file=$OTA_TMP/www/$1.bin
	printf '{"schema":1,"version":"%s","sequence":%d,"url":"http://127.0.0.1:%s/%s.bin","sha256":"%s","size":%d,' \
		"$1" "$2" "$http_port" "$1" "$(sha256sum "$file" | cut -d ' ' -f 1)" "$(stat -c %s "$file")"
	printf '"fleets":["%s"],"minVersion":"1.0.0","releaseNotes":"%s"}' "$FLEET" "$3"
}

# Wraps a file into a signed DSSE envelope, with nothing but openssl: sign_manifest file
sign_manifest() {
	local type=application/vnd.mosquitto-ota.manifest+json keyid
	keyid=$(openssl pkey -pubin -in "$OTA_TMP/keys.d/release.pem" -outform DER | sha256sum | cut -d ' ' -f 1)
	{
		printf 'DSSEv1 %d %s %d ' "${#type}" "$type" "$(stat -c %s "$1")"
		cat "$1"
	} >"$1.pae" # what is signed
	openssl dgst -sha256 -sign "$OTA_TMP/release.key" -out "$1.sig" "$1.pae"
	printf '{"payloadType":"%s","payload":"%s","signatures":[{"keyid":"%s","sig":"%s"}]}' \
		"$type" "$(base64 -w 0 "$1")" "$keyid" "$(base64 -w 0 "$1.sig")"
}

# Makes an image, signs it and submits it: release version sequence behaviour notes
release() {
	local id
	"$build/examples/fleet/mosquitto_ota_fleet" make-image --version "$1" --behaviour "$3" --size 65536 "$OTA_TMP/www/$1.bin"
	manifest "$1" "$2" "$4" >"$OTA_TMP/$1.json"
	sign_manifest "$OTA_TMP/$1.json" >"$OTA_TMP/$1.dsse"
	id=$(ota_sql ota -At -v envelope="$(cat "$OTA_TMP/$1.dsse")" <<<"SELECT ota.add_release(:'envelope'::jsonb)")
	ota_wait 15 ota_is_true "SELECT state <> 'submitted' FROM ota.release WHERE release_id = $id" ||
		ota_die "nobody verified release $1"
	ota_say "release $1 ($3): $(ota_value "SELECT state || coalesce(': ' || reason, '') FROM ota.release WHERE release_id = $id")"
}

# --- watching a rollout ---------------------------------------------------------------------------

full='#' empty='.'
if [ "$(locale charmap 2>/dev/null)" = UTF-8 ]; then full='█' empty='░'; fi

# A bar of 30 cells: bar done of
bar() {
	local cells=30 filled=0 i text=''
	[ "$2" -le 0 ] || filled=$(($1 * cells / $2))
	((filled <= cells)) || filled=$cells
	for ((i = 0; i < cells; i++)); do
		if ((i < filled)); then text+=$full; else text+=$empty; fi
	done
	printf '%s' "$text"
}

# One line a stage: label|stage state|devices of the stage|finished well|failed|told and busy
stages() {
	ota_value "
		SELECT s.label, s.state, coalesce(s.cohort, 0) - coalesce(lag(s.cohort) OVER (ORDER BY s.stage), 0),
		       count(u.*) FILTER (WHERE u.state = 'succeeded'),
		       count(u.*) FILTER (WHERE u.state IN ('failed', 'rolled_back', 'timed_out')),
		       count(u.*) FILTER (WHERE u.state IN ('notified', 'downloading', 'verifying', 'applying', 'rebooting'))
		FROM ota.rollout_stage s
		LEFT JOIN ota.device_update u ON u.rollout_id = s.rollout_id AND u.stage = s.stage
		WHERE s.rollout_id = $1 GROUP BY s.stage, s.label, s.state, s.cohort ORDER BY s.stage"
}

draw() {
	local rows=$1 label state size good bad busy
	while IFS='|' read -r label state size good bad busy; do
		printf '  %-10s %s%s%s %4s/%-4s ok  %3s failed  %3s busy  %s\e[K\n' "$label" "$_ota_green" "$(bar "$good" "$size")" \
			"$_ota_off" "$good" "$size" "$bad" "$busy" "$state"
	done <<<"$rows"
}

# Shows a rollout until it ends: watch rollout seconds.  Redrawn on a terminal; otherwise a line for each change of a
# stage, and every two seconds.
watch() {
	local rows before='' next='' state end=$((SECONDS + $2)) lines=0 stage_states said=0
	while :; do
		rows=$(stages "$1")
		IFS='|' read -r state next < <(ota_value "SELECT state, coalesce(next_action, '') FROM ota.rollout_progress
			WHERE rollout_id = $1 ORDER BY stage DESC NULLS LAST LIMIT 1")
		if ota_is_terminal; then
			((lines == 0)) || printf '\e[%dA' "$lines"
			draw "$rows"
			printf '  %s%s  %s%s\e[K\n' "$_ota_dim" "$state" "$next" "$_ota_off"
			lines=$(($(wc -l <<<"$rows") + 1))
		elif stage_states="$state $(cut -d '|' -f 2 <<<"$rows" | xargs)" && { [ "$stage_states" != "$before" ] ||
			((SECONDS >= said + 2)); }; then
			awk -F '|' -v at="$(ota_since "$_ota_started")" -v state="$state" '
				{ if ($2 != "waiting") text = text sprintf("  %s %s/%s ok", $1, $4, $3) ($5 > 0 ? ", " $5 " failed" : "") }
				END { printf "  %6.1f s  %-10s%s\n", at, state, text }' <<<"$rows"
			before=$stage_states said=$SECONDS
		fi
		case $state in
		completed | halted | cancelled | superseded) break ;;
		esac
		((SECONDS < end)) || {
			ota_warn "rollout $1 is still $state after $2 s"
			return 1
		}
		sleep 0.4
	done
}

# --- the story ------------------------------------------------------------------------------------

ota_begin
ota_title "Packages and build"
# shellcheck disable=SC2086 # a list of names
ota_install $OTA_PACKAGES_RUN
ota_run "build the plugin and the simulated devices" "$OTA_TMP/build.log" ota_build "$build" -DBUILD_TESTING=OFF || {
	tail -n 40 "$OTA_TMP/build.log"
	ota_die "the build failed"
}
from=$(date +%s.%N)

ota_title "A private PostgreSQL, a file server, a key, and Mosquitto with the plugin"
ota_postgres_start
createdb ota
ota_ok "PostgreSQL on a socket in $PGHOST"
start_file_server
ota_ok "file server on 127.0.0.1:$http_port"
mkdir "$OTA_TMP/keys.d" "$OTA_TMP/state"
openssl genpkey -quiet -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$OTA_TMP/release.key" 2>/dev/null ||
	openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$OTA_TMP/release.key" 2>/dev/null
openssl pkey -in "$OTA_TMP/release.key" -pubout -out "$OTA_TMP/keys.d/release.pem"
ota_broker_start mosquitto <<CONF
max_queued_messages 1000
plugin $build/mosquitto_ota.so
plugin_opt_database host=$PGHOST port=$PGPORT user=$PGUSER dbname=ota
plugin_opt_trusted_keys $OTA_TMP/keys.d
plugin_opt_state_directory $OTA_TMP/state
plugin_opt_broker_name demo
plugin_opt_acl_other_topics allow
CONF
ota_ok "Mosquitto on 127.0.0.1:$OTA_BROKER_PORT"
ota_wait 20 ota_is_true "SELECT to_regclass('ota.denied') IS NOT NULL AND to_regclass('ota.device_history') IS NOT NULL" || {
	tail -n 20 "$OTA_TMP/mosquitto.log"
	ota_die "the plugin did not set up its database"
}

ota_title "$devices devices with A/B slots, all on 1.0.0"
ota_spawn "$OTA_TMP/fleet.log" "$build/examples/fleet/mosquitto_ota_fleet" -p "$OTA_BROKER_PORT" -n "$devices" -f "$FLEET" \
	--version 1.0.0 --trusted-key "$OTA_TMP/keys.d/release.pem" --verify manifest --slots "$OTA_TMP/devices" \
	--health-deadline 3000
ota_wait 30 ota_is_true "SELECT count(*) = $devices FROM ota.device WHERE connected AND version = '1.0.0' AND fleet = '$FLEET'" || {
	tail -n 20 "$OTA_TMP/fleet.log" "$OTA_TMP/mosquitto.log"
	ota_die "not all devices reported"
}
ota_ok "all have reported"

ota_title "Two signed releases and a plan"
release "$GOOD" 20 good "better radio"
release "$BAD" 21 mixed "new scheduler"
ota_value "SELECT ota.define_plan('demo', '[
	{\"label\": \"canary\",   \"percent\": 5,   \"wait\": \"4 seconds\"},
	{\"label\": \"early\",    \"percent\": 20,  \"wait\": \"4 seconds\"},
	{\"label\": \"majority\", \"percent\": 50,  \"wait\": \"4 seconds\"},
	{\"label\": \"full\",     \"percent\": 100, \"wait\": \"4 seconds\"}]',
	success_threshold => 0.95, health_timeout => '4 seconds', download_timeout => '30 seconds')" >/dev/null
ota_ok "plan demo: canary 5 %, early 20 %, majority 50 %, full 100 %"

ota_title "Rollout of $GOOD: the good one"
good=$(ota_value "SELECT ota.start_rollout('$FLEET', '$GOOD', 'demo', reason => 'better radio for everybody')")
watch "$good" 120
[ "$(ota_value "SELECT state FROM ota.rollout WHERE rollout_id = $good")" = completed ] || {
	tail -n 20 "$OTA_TMP/mosquitto.log"
	ota_die "the good release did not reach everybody"
}
ota_ok "completed: $(ota_value "SELECT count(*) FROM ota.device WHERE version = '$GOOD'") of $devices devices run $GOOD"

ota_title "Rollout of $BAD: the bad one"
bad=$(ota_value "SELECT ota.start_rollout('$FLEET', '$BAD', 'demo', reason => 'new scheduler')")
watch "$bad" 60
[ "$(ota_value "SELECT state FROM ota.rollout WHERE rollout_id = $bad")" = halted ] || {
	tail -n 20 "$OTA_TMP/mosquitto.log"
	ota_die "the bad release was not halted"
}
harmed=$(ota_value "SELECT count(*) FROM ota.device_update WHERE rollout_id = $bad AND notified_at IS NOT NULL")
ota_ok "halted in its first stage: $harmed of $devices devices were told of $BAD"

ota_title "What an operator asks in psql"
ota_say "why was it halted?"
ota_table "SELECT rollout_id, state, reason FROM ota.rollout WHERE rollout_id = $bad"
ota_say "what runs where?  (ota.fleet_versions)"
ota_table "SELECT * FROM ota.fleet_versions ORDER BY fleet, version"
ota_say "how far are the rollouts?  (ota.rollout_progress)"
ota_table "SELECT rollout_id, version, state, label, targeted, cohort, notified, succeeded, failed, success_rate
	FROM ota.rollout_progress ORDER BY rollout_id, stage"
device=$(ota_value "SELECT device_id FROM ota.device_update WHERE rollout_id = $bad AND state IN ('rolled_back', 'failed', 'timed_out')
	ORDER BY finished_at LIMIT 1")
ota_say "what happened to ${device:-nobody}?  (ota.device_history)"
ota_table "SELECT to_char(h.at, 'HH24:MI:SS.MS') AS at, h.kind, h.version, h.rollout_id AS rollout,
		concat_ws(', ', h.detail ->> 'status', h.detail ->> 'error', '-> ' || (h.detail ->> 'to'), h.detail ->> 'why',
			h.detail ->> 'topic') AS detail
	FROM ota.device_history h WHERE h.device_id = '$device' AND (h.rollout_id = $bad OR h.rollout_id IS NULL)
	ORDER BY h.at, h.event_id"
printf '\n'
ota_ok "done in $(ota_since "$from") s after the build"

if [ -n "$keep" ]; then
	printf '\n  psql "host=%s port=%s user=%s dbname=ota"\n  mosquitto_sub -p %s -t %s -v\n' \
		"$PGHOST" "$PGPORT" "$PGUSER" "$OTA_BROKER_PORT" "'\$SYS/broker/ota/#'"
	read -r -p "  Enter ends everything. " _ || true
fi
