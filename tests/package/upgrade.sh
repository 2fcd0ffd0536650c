#!/usr/bin/env bash
# Runs in the clean root after inside.sh: an older package is installed and used, and becomes the present one in the middle of a rollout,
# while the database is away.  One TAP line a claim.
# shellcheck disable=SC2317,SC2016 # claims are called by name, some by a shell of their own
set -uo pipefail
exec 2>&1
# shellcheck source=tests/package/claims.sh
. /test/claims.sh
log=/var/log/mosquitto/mosquitto.log
cd /tmp || exit
info=/var/lib/dpkg/info/mosquitto-ota
device() { /usr/share/doc/mosquitto-ota/examples/device.sh "$1" 1.0.0 >/dev/null 2>&1 & }
runs() { sql "SELECT count(*) FROM ota.device WHERE version = '$1'" "$2"; }
report() { mosquitto_pub -q 1 -i "$1" -t "devices/$1/ota/status" -m '{"version":"1.0.0","status":"IDLE","note":"said while PostgreSQL was away"}'; }

runuser -u postgres -- dropdb ota
runuser -u postgres -- createdb --owner mosquitto ota
claim "an older package is installed by dpkg" dpkg -i /test/older.deb
claim "its state directory is the broker's alone" stat_is /var/lib/mosquitto/ota "mosquitto:mosquitto 750"
cp /usr/share/doc/mosquitto-ota/examples/ota.conf /etc/mosquitto/conf.d/
echo '# of the administrator' >>/etc/mosquitto/conf.d/ota.conf
echo '# of the administrator' >>/etc/mosquitto/ota/keys.d/README
service mosquitto restart
claim "the older plugin starts" wait_for mosquitto_ota status
older_functions=$(runuser -u postgres -- psql -XAt ota -c "SELECT value FROM ota.setting WHERE name = 'functions'")
for n in 1 2 3 4; do device "truck-$n"; done
claim "its devices are there" wait_for sql "SELECT count(*) FROM ota.device WHERE listening" 4
mosquitto_ota release sign --key release.key --version 2.0.0 --sequence 2 --url http://localhost/1.1.0.bin --file /var/www/html/1.1.0.bin -o 2.0.0.json >/dev/null
claim "a release is added" mosquitto_ota release add 2.0.0.json
mosquitto_ota plan define halves --stage 'half:50:1 hour' --stage full:100 --options '{"pacing":"none"}' >/dev/null
claim "a rollout is started" mosquitto_ota rollout start default 2.0.0 --plan halves --reason 'before the upgrade'
claim "it has passed half of its fleet" wait_for runs 2.0.0 2

# The database goes away, a device reports: that is in the outbox when the package is exchanged.
service postgresql stop >/dev/null 2>&1
claim "the older plugin has noticed" wait_for grep -q 'PostgreSQL is away' "$log"
for n in 1 2 3 4; do report "probe-$n"; done
pid=$(cat /run/mosquitto/mosquitto.pid)
claim "the present package is installed over it" dpkg -i /tmp/mosquitto-ota_*.deb
cp /tmp/claim.log /tmp/install.log
claim "it says how to change over" grep -q 'to change over: service mosquitto restart' /tmp/install.log
claim "and asks nothing: the administrator's files were left alone" bash -c '! grep -qi "configuration file" /tmp/install.log && grep -q administrator /etc/mosquitto/ota/keys.d/README && grep -q administrator /etc/mosquitto/conf.d/ota.conf'
claim "it restarts nothing" test "$pid" = "$(cat /run/mosquitto/mosquitto.pid)" -a -d "/proc/$pid"
claim "the broker runs on with the older plugin, which needrestart sees" grep -q 'mosquitto_ota.so (deleted)' "/proc/$pid/maps"
claim "and serves on" mosquitto_pub -i probe-5 -t chat/a -m hello
claim "the outbox is kept" bash -c 'test "$(find /var/lib/mosquitto/ota -type f -size +0 | wc -l)" -gt 0'
claim "the state directory is still the broker's alone" stat_is /var/lib/mosquitto/ota "mosquitto:mosquitto 750"
claim "no file of the package is missing or changed, but that one" bash -c 'test "$(dpkg --verify mosquitto-ota | grep -c .)" = 1'

service mosquitto restart
claim "the new plugin serves without the database" wait_for mosquitto_pub -i probe-5 -t chat/a -m hello
service postgresql start >/dev/null 2>&1
claim "and goes on when that is back" wait_for mosquitto_ota status
claim "the functions are the new ones" bash -c "test \"\$(runuser -u postgres -- psql -XAt ota -c \"SELECT value FROM ota.setting WHERE name = 'functions'\")\" != '$older_functions'"
claim "what was reported to the older one is there" wait_for sql "SELECT count(DISTINCT device_id) FROM ota.event WHERE detail->>'note' = 'said while PostgreSQL was away' OR (kind = 'report' AND device_id LIKE 'probe-_')" 4
claim "the rollout is where it was" sql "SELECT state || ' ' || current_stage FROM ota.rollout" 'running 1'
claim "and goes on" mosquitto_ota rollout advance 1 'the upgrade went well'
claim "to its end" wait_for runs 2.0.0 4
claim "which it knows" wait_for sql "SELECT state FROM ota.rollout" completed
claim "the audit log is whole" sql "SELECT count(*) FROM ota.verify_audit()" 0

# What Debian expects of scripts: again and again, and what the administrator has said stays.
claim "configured again, nothing changes" bash -c "sh $info.postinst configure '' && sh $info.postinst configure 0.0.1"
dpkg-statoverride --update --add root mosquitto 0770 /var/lib/mosquitto/ota
claim "another owner that the administrator has chosen stays" bash -c "sh $info.postinst configure 0.0.1 && test \"\$(stat -c %U:%a /var/lib/mosquitto/ota)\" = root:770"
dpkg-statoverride --remove /var/lib/mosquitto/ota
claim "installed again, everything stays" bash -c 'dpkg -i /tmp/mosquitto-ota_*.deb && test -n "$(ls /var/lib/mosquitto/ota)"'
claim "back to the older package, too" dpkg -i /test/older.deb
claim "which keeps the state" bash -c 'test -n "$(ls /var/lib/mosquitto/ota)"'
claim "an aborted removal is taken" sh "$info.postinst" abort-remove
rm /etc/mosquitto/conf.d/ota.conf
service mosquitto restart
# shellcheck disable=SC2046 # a list of numbers
kill $(jobs -p) 2>/dev/null
apt-get purge mosquitto-ota >/dev/null 2>&1
claim "purged, it is gone with its state" bash -c '! test -e /var/lib/mosquitto/ota'
exit $failed
