#!/bin/bash
# Runs the simulated fleet against a private Mosquitto (no plugin) and a private nginx, and checks
# what the devices did from what they wrote down and from the reports the broker carried.
#
#   selftest.sh [path of mosquitto_ota_fleet]
#
# Exit status: 0 all passed, 1 something failed, 77 a program is missing.
set -u -o pipefail

fleet=${1:-${MOSQUITTO_OTA_FLEET:-mosquitto_ota_fleet}}
PATH=$PATH:/usr/sbin:/sbin
for program in "$fleet" mosquitto nginx openssl mosquitto_pub mosquitto_sub base64; do
	if ! command -v "$program" >/dev/null; then
		echo "selftest: $program is missing" >&2
		exit 77
	fi
done

devices=50
work=$(mktemp -d)
chmod 755 "$work"
mkdir "$work/www" "$work/run"
broker_pid=
nginx_pid=
run_pid=
sub_pid=
failures=0
checks=0

cleanup() {
	for pid in $run_pid $sub_pid $nginx_pid $broker_pid; do
		kill "$pid" 2>/dev/null
	done
	wait 2>/dev/null
	rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 1' INT TERM

check() { # DESCRIPTION EXPECTED ACTUAL
	checks=$((checks + 1))
	if [ "$2" = "$3" ]; then
		echo "ok   $1"
	else
		echo "FAIL $1: expected $2, got $3"
		failures=$((failures + 1))
	fi
}

wait_for() { # SECONDS COMMAND...
	local tries=$(($1 * 20))
	shift
	until "$@" >/dev/null 2>&1; do
		tries=$((tries - 1))
		[ $tries -gt 0 ] || return 1
		sleep 0.05
	done
}

answers() { (exec 3<>"/dev/tcp/127.0.0.1/$1"); } 2>/dev/null
free_port() {
	local port
	while :; do
		port=$((20000 + RANDOM % 10000))
		answers $port || break
	done
	echo $port
}

start_nginx() {
	nginx -c "$work/nginx.conf" -e "$work/run/nginx.err" &
	nginx_pid=$!
	wait_for 5 answers "$http_port"
}

mqtt_port=$(free_port)
http_port=$(free_port)
cat >"$work/mosquitto.conf" <<CONF
listener $mqtt_port 127.0.0.1
allow_anonymous true
max_queued_messages 0
CONF
cat >"$work/nginx.conf" <<CONF
daemon off;
worker_processes 1;
pid $work/run/nginx.pid;
events { worker_connections 512; }
http {
	access_log $work/run/access.log;
	client_body_temp_path $work/run/1; proxy_temp_path $work/run/2; fastcgi_temp_path $work/run/3;
	uwsgi_temp_path $work/run/4; scgi_temp_path $work/run/5;
	server {
		listen 127.0.0.1:$http_port;
		root $work/www;
		location /slow/ { alias $work/www/; limit_rate 40k; }
		location /whole/ { alias $work/www/; max_ranges 0; }
	}
}
CONF
mosquitto -c "$work/mosquitto.conf" >"$work/run/mosquitto.log" 2>&1 &
broker_pid=$!
start_nginx || { echo "selftest: nginx does not start" >&2; cat "$work/run/nginx.err" >&2; exit 1; }
wait_for 5 answers "$mqtt_port" || { echo "selftest: mosquitto does not start" >&2; exit 1; }

# --- keys, images, notices ---------------------------------------------------------------------
openssl genrsa -out "$work/rsa.pem" 2048 2>/dev/null
openssl genrsa -out "$work/foreign.pem" 2048 2>/dev/null
openssl ecparam -name prime256v1 -genkey -noout -out "$work/ec.pem"
openssl ecparam -name secp384r1 -genkey -noout -out "$work/ec384.pem"
openssl genpkey -algorithm ed25519 -out "$work/ed.pem" 2>/dev/null
for key in rsa foreign ec ec384 ed; do
	openssl pkey -in "$work/$key.pem" -pubout -out "$work/$key.pub"
done
image() { # VERSION BEHAVIOUR [SIZE]
	"$fleet" make-image --version "$1" --behaviour "$2" --size "${3:-65536}" "$work/www/$1.bin"
}
image 2.0.0 good
image 2.1.0 bad
image 2.2.0 failrate=300
image 2.3.0 bootloop
image 2.4.0 dark
image 2.5.0 silent-rollback
image 2.6.0 good 400000
image 2.7.0 good
chmod 644 "$work"/www/*

sha_of() { openssl dgst -sha256 -r "$work/www/$1.bin" | cut -d' ' -f1; }
size_of() { stat -c %s "$work/www/$1.bin"; }
url_of() { echo "http://127.0.0.1:$http_port/$1.bin"; }
sign() { # KEY FILE
	if [ "$1" = ed ]; then
		openssl pkeyutl -sign -rawin -inkey "$work/ed.pem" -in "$2" | base64 -w0
	else
		openssl dgst -sha256 -sign "$work/$1.pem" "$2" | base64 -w0
	fi
}
type=application/vnd.mosquitto-ota.manifest+json
manifest() { # VERSION SEQUENCE KEY [VERSION IN THE MANIFEST]
	local body="$work/run/body" text
	text=$(printf '{"schema":1,"version":"%s","sequence":%s,"url":"%s","sha256":"%s","size":%s}' \
		"${4:-$1}" "$2" "$(url_of "$1")" "$(sha_of "$1")" "$(size_of "$1")")
	printf 'DSSEv1 %d %s %d %s' ${#type} $type ${#text} "$text" >"$body"
	printf '{"payloadType":"%s","payload":"%s","signatures":[{"keyid":"hint","sig":"%s"}]}' \
		$type "$(printf %s "$text" | base64 -w0)" "$(sign "$3" "$body")"
}
notice() { # VERSION ROLLOUT ATTEMPT [MORE MEMBERS, each with a leading comma]
	printf '{"version":"%s","url":"%s","sha256":"%s","size":%s,"rollout":%s,"attempt":%s%s}' \
		"$1" "$(url_of "$1")" "$(sha_of "$1")" "$(size_of "$1")" "$2" "$3" "${4:-}"
}
publish() { # FLEET PAYLOAD
	mosquitto_pub -p "$mqtt_port" -q 1 -t "fleet/$1/ota/available" -m "$2"
}

# --- one run of the fleet ----------------------------------------------------------------------
run=
begin() { # NAME COUNT OPTIONS...
	run=$1
	local count=$2
	shift 2
	mosquitto_sub -p "$mqtt_port" -q 1 -t 'devices/+/ota/status' \
		-F '%t %p' >"$work/run/$run.status" 2>/dev/null &
	sub_pid=$!
	sleep 0.2
	"$fleet" -p "$mqtt_port" -f "$run" --prefix "$run" -n "$count" --csv "$work/run/$run.csv" --events "$work/run/$run.events" \
		--notices "$work/run/$run.jsonl" --reports "$work/run/$run.acked" --duration 60 --quiet "$@" &
	run_pid=$!
	wait_for 10 reported "$count" '"IDLE"' || echo "selftest: $run: not everyone reported" >&2
}
reported() { [ "$(grep -c "$2" "$work/run/$run.status")" -ge "$1" ]; }
# Outcomes NAME[,ERROR] in the events
outcomes() { grep -c ",$1" "$work/run/$run.events"; }
have() { [ "$(outcomes "$2")" -ge "$1" ]; }
# The subscriber may be behind the fleet, which has all its acknowledgements before it ends.
all_arrived() { [ "$(wc -l <"$work/run/$run.status")" -ge "$(grep -c '"report":{"version"' "$work/run/$run.acked")" ]; }
finish() {
	kill -TERM "$run_pid" 2>/dev/null
	wait "$run_pid"
	check "$run: the fleet ends cleanly" 0 $?
	run_pid=
	wait_for 5 all_arrived
	kill "$sub_pid"
	wait "$sub_pid" 2>/dev/null
	sub_pid=
	return 0
}
await() { # COUNT OUTCOME
	wait_for "${limit:-20}" have "$1" "$2"
	check "$run: $1 x $2" "$1" "$(outcomes "$2")"
}

# --- the scenarios -----------------------------------------------------------------------------
begin good $devices --trusted-key "$work/rsa.pub" --verify both
update=$(notice 2.0.0 1 1 ",\"signature\":\"$(sign rsa "$work/www/2.0.0.bin")\",\"manifest\":$(manifest 2.0.0 7 rsa)")
publish good "$update"
await $devices SUCCESS,
publish good "$update"
await $devices DUPLICATE,
finish
check "good: nothing else happened" 0 "$(grep -vcE ',(outcome|NOTICE|SUCCESS|DUPLICATE),' "$work/run/good.events")"
check "good: a device's reports in order" "IDLE DOWNLOADING VERIFYING APPLYING REBOOTING SUCCESS SUCCESS" \
	"$(grep 'good-00007/' "$work/run/good.status" | grep -o '"status":"[A-Z_]*"' | cut -d'"' -f4 | xargs)"
check "good: SUCCESS names the new version, the old one and slot b" $devices \
	"$(grep '"SUCCESS"' "$work/run/good.status" | grep '"version":"2.0.0"' |
		grep '"previousVersion":"1.0.0"' | grep '"slot":"b"' | cut -d' ' -f1 | sort -u | wc -l)"
check "good: two boots each" $((2 * devices)) \
	"$(grep -o '"bootId":"[0-9a-f]*"' "$work/run/good.status" | sort -u | wc -l)"
check "good: every acknowledged report reached the broker's subscribers" \
	"$(wc -l <"$work/run/good.status")" "$(grep -c '"report":{"version"' "$work/run/good.acked")"
check "good: every notice is on record" $((2 * devices)) "$(grep -c '"kind":"notice"' "$work/run/good.jsonl")"

begin badhash $devices
publish badhash "$(notice 2.0.0 1 1 | sed "s/$(sha_of 2.0.0)/$(sha_of 2.1.0)/")"
await $devices FAILED,HASH_MISMATCH
publish badhash "$(notice 2.0.0 2 1 | sed 's/"size":65536/"size":65000/')"
await $devices FAILED,SIZE_MISMATCH
publish badhash "$(notice 2.0.0 3 1 | sed 's/"size":65536/"size":70000/')"
await $((2 * devices)) FAILED,SIZE_MISMATCH
publish badhash "$(notice 2.0.0 4 1 | sed 's/2.0.0.bin/missing.bin/')"
await $devices FAILED,DOWNLOAD_FAILED
publish badhash "$(notice 2.0.0 5 1 | sed 's/"sha256":"../"sha256":"/')"
await $devices FAILED,BAD_NOTICE
finish
check "badhash: nobody installed anything" 0 "$(grep -c '"version":"2' "$work/run/badhash.status")"

before=$(wc -l <"$work/run/access.log")
begin badsig $devices --trusted-key "$work/rsa.pub" --trusted-key "$work/ec.pub" --sequence 10
publish badsig "$(notice 2.0.0 1 1 ",\"manifest\":$(manifest 2.0.0 11 foreign)")"
await $devices FAILED,BAD_SIGNATURE
publish badsig "$(notice 2.0.0 2 1)"
await $((2 * devices)) FAILED,BAD_SIGNATURE
publish badsig "$(notice 2.0.0 3 1 ",\"manifest\":$(manifest 2.0.0 9 rsa)")"
await $devices FAILED,SEQUENCE_ROLLBACK
publish badsig "$(notice 2.0.0 4 1 ",\"manifest\":$(manifest 2.0.0 11 rsa 2.0.1)")"
await $devices FAILED,MANIFEST_MISMATCH
check "badsig: refused before any download" "$before" "$(wc -l <"$work/run/access.log")"
publish badsig "$(notice 2.0.0 5 1 ",\"signature\":\"$(sign rsa "$work/www/2.1.0.bin")\"")"
await $((3 * devices)) FAILED,BAD_SIGNATURE
finish
check "badsig: nobody installed anything" 0 "$(grep -c '"version":"2' "$work/run/badsig.status")"

for key in ec ec384 ed; do
	begin "key-$key" 2 --trusted-key "$work/$key.pub" --threshold 1
	publish "key-$key" "$(notice 2.0.0 1 1 ",\"manifest\":$(manifest 2.0.0 11 $key)")"
	await 2 SUCCESS,
	finish
done
begin threshold 2 --trusted-key "$work/ec.pub" --trusted-key "$work/rsa.pub" --threshold 2
publish threshold "$(notice 2.0.0 1 1 ",\"manifest\":$(manifest 2.0.0 11 ec)")"
await 2 FAILED,BAD_SIGNATURE
finish

begin recall $devices --download-delay 4000 --fault ignore-recall=@7
publish recall "$(notice 2.0.0 17 1)"
await $devices NOTICE,
publish recall '{"action":"cancel","rollout":17,"version":"2.0.0"}'
await $((devices - 1)) CANCELLED,
await 1 RECALL,IGNORED
await 1 SUCCESS,
publish recall "$(notice 2.0.0 17 1)"
await $((2 * devices - 1)) NOTICE,
finish
check "recall: recalled devices stayed" 1 "$(outcomes SUCCESS,)"

begin rollback $devices
publish rollback "$(notice 2.1.0 1 1)"
await $devices ROLLED_BACK,HEALTH_CHECK_FAILED
finish
check "rollback: reported with the old version" $devices \
	"$(grep '"ROLLED_BACK"' "$work/run/rollback.status" | grep -c '"version":"1.0.0"')"
check "rollback: the trial boot reported nothing" $((2 * devices)) \
	"$(grep -o '"bootId":"[0-9a-f]*"' "$work/run/rollback.status" | sort -u | wc -l)"

begin failrate $devices
publish failrate "$(notice 2.2.0 1 1)"
wait_for 20 eval "[ \$(( \$(outcomes SUCCESS,) + \$(outcomes ROLLED_BACK,) )) -ge $devices ]"
bad=$(outcomes ROLLED_BACK,)
check "failrate: everyone finished" $devices $((bad + $(outcomes SUCCESS,)))
check "failrate: some fail and most do not ($bad)" yes "$([ "$bad" -gt 3 ] && [ "$bad" -lt 30 ] && echo yes)"
finish

begin bootloop 3 --boot-attempts 4 --boot-delay 50 --health-delay 50
publish bootloop "$(notice 2.3.0 1 1)"
await 3 ROLLED_BACK,BOOT_LOOP
publish bootloop "$(notice 2.5.0 2 1)"
await 3 SILENT_ROLLBACK,
wait_for 5 reported 9 '"IDLE"\|ROLLED_BACK'
publish bootloop "$(notice 2.4.0 3 1)"
await 3 DARK,
finish
check "bootloop: the silent rollback reports the old version" 6 \
	"$(grep '"IDLE"' "$work/run/bootloop.status" | grep -c '"version":"1.0.0"')"

begin faults 8 --persistent --retry-after 1 --fault defer=@1 --fault reject=@2 --fault corrupt=@3 --fault silent=@4 \
	--fault minimal=@5 --fault powercut=@6 --fault dark=@7 --fault flapping=@8 --flap-delay 100-300
publish faults "$(notice 2.0.0 1 1)"
await 1 DEFERRED,BUSY
await 1 REJECTED,DECLINED
await 1 FAILED,HASH_MISMATCH
await 1 SILENT,
await 1 POWERCUT,
await 1 DARK,
await 2 SUCCESS,
publish faults "$(notice 2.0.0 1 1)"
await 3 SUCCESS,
finish
check "faults: the article's device reports four members, twice and in the end SUCCESS" \
	"version status ts version status checks ts" \
	"$(grep 'faults-00005/' "$work/run/faults.status" | head -2 | grep -oE '"(version|status|checks|ts|slot|bootId|attempt)":' | tr -d '":' | xargs)"

begin resume 5 --chunk 100000 --download-retries 20
publish resume "$(notice 2.6.0 1 1 | sed 's#/2.6.0.bin#/slow/2.6.0.bin#')"
sleep 1.5
mapfile -t workers < <(pgrep -P "$nginx_pid")
kill -KILL "$nginx_pid" ${workers[@]+"${workers[@]}"}
wait "$nginx_pid" 2>/dev/null
sleep 0.5
start_nginx
await 5 SUCCESS,
check "resume: a range began inside a chunk" yes \
	"$(awk '/slow/ && $9 == 206 && $10 != 100000 { found = 1 } END { if (found) print "yes" }' "$work/run/access.log")"
finish
begin whole 2 --chunk 20000
publish whole "$(notice 2.0.0 1 1 | sed 's#/2.0.0.bin#/whole/2.0.0.bin#')"
await 2 SUCCESS,
finish

begin slots 3 --slots "$work/run/slots"
publish slots "$(notice 2.0.0 1 1)"
await 3 SUCCESS,
finish
for device in 1 2 3; do
	cmp -s "$work/www/2.0.0.bin" "$work/run/slots/slots-0000$device/b.bin"
	check "slots: device $device has the image in slot b" 0 $?
done
mv "$work/run/slots.status" "$work/run/slots.first"
begin slots 3 --slots "$work/run/slots"
check "slots: a new process boots the new version" 3 "$(grep -c '"version":"2.0.0","status":"IDLE"' "$work/run/slots.status")"
publish slots "$(notice 2.7.0 2 1)"
await 3 SUCCESS,
# Power cut on the trial boot: the next start tries the image again and confirms it.
finish
check "slots: the other slot is active" 3 "$(grep -l '"active":	"a"' "$work"/run/slots/*/boot.json | wc -l)"
begin killed 1 --slots "$work/run/slots" --health-delay 1500
publish killed "$(notice 2.1.0 3 1)"
wait_for 10 grep -q '"state":	"trial"' "$work/run/slots/killed-00001/boot.json"
wait_for 10 grep -q '"attempts":	5' "$work/run/slots/killed-00001/boot.json"
kill -KILL "$run_pid"
wait "$run_pid" 2>/dev/null
run_pid=
kill "$sub_pid"
sub_pid=
check "killed: nothing had been decided" 0 "$(outcomes ROLLED_BACK,)"
"$fleet" -p "$mqtt_port" -f killed --prefix killed -n 1 --events "$work/run/killed.events" --quiet \
	--slots "$work/run/slots" --duration 3
check "killed: killed on trial, rolled back after the restart" 1 "$(outcomes ROLLED_BACK,HEALTH_CHECK_FAILED)"

"$fleet" -p "$mqtt_port" -n 20 --until-version 1.0.0 --quiet --duration 20
check "until-version: reached" 0 $?
"$fleet" -p "$mqtt_port" -n 20 --until-version 9.0.0 --quiet --duration 1 2>/dev/null
check "until-version: not reached" 1 $?

# --- profiles, seed and summary ----------------------------------------------------------------
# What a run decided, without what depends on time: id, profile, detail, versions, state, error.
decided() { cut -d, -f1-8 "$work/run/$1.csv"; }
column() { # RUN PROFILE FIELD: its values, counted
	awk -F, -v p="$2" -v f="$3" 'NR > 1 && $3 == p { print $f }' "$work/run/$1.csv" | sort | uniq -c | awk '{ printf "%s%s %s", s, $2, $1; s = " " }'
}
share_of() { awk -F, -v p="$2" '$3 == p' "$work/run/$1.csv" | wc -l; }
mixed=(--prefix mixed --persistent --seed 7 --mix "flaky=20,slow=20,dies=20,bootloop=10,lies=20" --boot-attempts 3 --chunk 8192
	--slow-rate 40000 --slow-boot 300-600 --flaky-every 300-900 --flaky-stall 50-200 --flaky-break 40)
# All but the first word of a device that lies about another one, and goes on honestly.
ended() { [ "$(grep -E ',(SUCCESS|ROLLED_BACK|DARK|LIE),' "$work/run/$run.events" | grep -cv ',LIE,other')" -ge "$1" ]; }
mixed_run() { # NAME OPTIONS...
	begin "$1" $devices "${mixed[@]}" "${@:2}"
	publish "$1" "$(notice 2.0.0 1 1)"
	wait_for 40 ended $devices
	finish
}
mixed_run mixed
check "mixed: a line for each device" $((devices + 1)) "$(wc -l <"$work/run/mixed.csv")"
for profile in good flaky slow; do
	check "mixed: $profile devices succeed" "succeeded $(share_of mixed $profile)" "$(column mixed $profile 7)"
done
check "mixed: dies goes dark" "dark $(share_of mixed dies)" "$(column mixed dies 7)"
check "mixed: bootloop rolls back" "rolled_back $(share_of mixed bootloop)" "$(column mixed bootloop 7)"
check "mixed: lies ends as it should" "$(awk -F, '$3 == "lies" { print $4 == "other" ? "succeeded" : "lied" }' "$work/run/mixed.csv" | sort | uniq -c | xargs)" \
	"$(awk -F, '$3 == "lies" { print $7 }' "$work/run/mixed.csv" | sort | uniq -c | xargs)"
check "mixed: some of each kind" 6 "$(tail -n +2 "$work/run/mixed.csv" | cut -d, -f3 | sort -u | wc -l)"
check "mixed: transfers broke and were resumed" yes "$(awk -F, '$3 == "flaky" { n += $16 } END { if (n > 0) print "yes" }' "$work/run/mixed.csv")"
check "mixed: nobody else's were" 0 "$(awk -F, 'NR > 1 && $3 != "flaky" { n += $16 } END { print n + 0 }' "$work/run/mixed.csv")"
check "mixed: who succeeded fetched the image" 0 \
	"$(awk -F, '$7 == "succeeded" && $15 < 65536' "$work/run/mixed.csv" | wc -l)"
mixed_run again
check "again: the same seed, the same choices and outcomes" "$(decided mixed)" "$(decided again)"
mixed_run shared --processes 3
check "shared: the same in three processes" "$(decided mixed)" "$(decided shared)"
"$fleet" -p "$mqtt_port" -n $devices "${mixed[@]}" --seed 8 --duration 1 --quiet --csv "$work/run/other.csv"
check "another seed: other choices" yes "$([ "$(cut -d, -f1-4 "$work/run/other.csv")" != "$(cut -d, -f1-4 "$work/run/mixed.csv")" ] && echo yes)"

begin clones 10 --seed 3 --mix clone=40 --clone-pause 100-300
publish clones "$(notice 2.0.0 1 1)"
sleep 3
finish
check "clones: they have the id of a device that is none" 0 \
	"$(awk -F, 'NR > 1 && ($3 == "clone") != ($1 != $2) || seen[$2, $3]++ && $3 == "good"' "$work/run/clones.csv" | wc -l)"
check "clones: all of them were thrown out" 0 "$(awk -F, '$3 == "clone" && $18 < 1' "$work/run/clones.csv" | wc -l)"

for signal in INT TERM HUP; do
	rm -f "$work/run/signal.out" # that of the signal before
	"$fleet" -p "$mqtt_port" -n 20 --processes 2 --csv "$work/run/signal.csv" >"$work/run/signal.out" &
	run_pid=$!
	wait_for 10 grep -q 'all 20 devices connected' "$work/run/signal.out"
	kill "-$signal" $run_pid
	wait $run_pid
	check "SIG$signal: ends well" 0 $?
	run_pid=
	check "SIG$signal: the CSV and the summary are there" "21 1" \
		"$(wc -l <"$work/run/signal.csv") $(grep -c '^  good  *20' "$work/run/signal.out")"
done
check "no colours in a file" 0 "$(grep -c $'\033' "$work/run/signal.out")"
check "the first line says what runs" 1 "$(grep -c '^20 devices, device-00001 to device-00020, fleet default, 2 processes, seed 1: good 100 %' "$work/run/signal.out")"

# A broker that does not answer: the kernel takes the connections, and that is all.
kill -STOP "$broker_pid"
"$fleet" -p "$mqtt_port" -n 3 --connect-timeout 200 --duration 3 >"$work/run/mute.out" 2>&1
kill -CONT "$broker_pid"
check "mute: given up and tried again" yes \
	"$(sed -n 's/.*connections 0 (broken 0, failed \([0-9]*\),.*/\1/p' "$work/run/mute.out" | awk '$1 >= 6 { print "yes" }')"
check "mute: said once" 1 "$(grep -c 'Connection timed out; trying again' "$work/run/mute.out")"

refused() { # OPTION VALUE: refused with both named and what is accepted
	"$fleet" "--$1" "$2" >/dev/null 2>"$work/run/refused"
	check "--$1 '$2' is refused" "2 1" "$? $(grep -cE "^mosquitto_ota_fleet: $1: (\"$2\"|$2) is not accepted; give .{6}" "$work/run/refused")"
}
refused fault nonsense=5%
refused mix good
refused mix bad=10
refused mix good=50
refused mix good=90,flaky=20
refused mix flaky=5,flaky=5
refused mix flaky=5,
refused mix dies=0.55
refused dies-at lunch
refused lies-about weather
refused flaky-break 101
refused slow-rate 0
refused clone-pause 5-1
refused processes 11
refused processes 0
refused bind nowhere
"$fleet" --csv "$work/none/x.csv" 2>"$work/run/refused"
check "a CSV that cannot be written ends it before it begins" "1 1" "$? $(grep -c "csv: cannot write \"$work/none/x.csv\"" "$work/run/refused")"

echo
echo "$checks checks, $failures failed"
[ "$failures" -eq 0 ]
