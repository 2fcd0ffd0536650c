#!/usr/bin/env bash
# Runs in the clean root, see run.sh: one TAP line a claim.
# shellcheck disable=SC2317,SC2016 # claims are called by name, some by a shell of their own
set -uo pipefail
exec 2>&1

# shellcheck source=tests/package/claims.sh
. /test/claims.sh
log=/var/log/mosquitto/mosquitto.log
library=$(echo /usr/lib/*-linux-gnu)

cd /tmp || exit
begun=$SECONDS
bash -euo pipefail -c '. /test/readme.sh; kill $(jobs -p)' >/tmp/readme.log 2>&1
status=$?
if [ "$status" = 0 ]; then
	echo "ok - the README, from apt install to the first finished rollout"
else
	echo "not ok - the README, from apt install to the first finished rollout: exit status $status"
	tail -n 40 /tmp/readme.log | sed 's/^/# /'
	tail -n 20 "$log" | sed 's/^/# /'
	failed=1
fi
echo "# it took $((SECONDS - begun)) s"
claim "all ten devices run 1.1.0" sql "SELECT count(*) FROM ota.device WHERE version = '1.1.0'" 10
claim "the rollout is completed" sql "SELECT state FROM ota.rollout" completed
claim "by the operator" sql "SELECT created_by FROM ota.rollout" operator
claim "watch said so" grep -q '^rollout 1 completed stage=full succeeded=10 failed=0' /tmp/readme.log
claim "the devices end when they are told to" wait_for no_devices
claim "the broker runs as mosquitto" owner_of_broker
claim "with its ordinary configuration" grep -q '^include_dir /etc/mosquitto/conf.d' /etc/mosquitto/mosquitto.conf
claim "the state directory is the broker's alone" stat_is /var/lib/mosquitto/ota "mosquitto:mosquitto 750"
claim "the outbox is in it" test -n "$(ls /var/lib/mosquitto/ota)"
claim "no file of the package is missing or changed" bash -c 'test -z "$(dpkg --verify mosquitto-ota)"'
claim "every file has its place: plugin" test -f "$library/mosquitto_ota.so"
claim "every file has its place: module of mosquitto_ctrl" test -f "$library/mosquitto_ctrl_ota.so"
claim "every file has its place: man page" test -f /usr/share/man/man1/mosquitto_ota.1.gz
claim "every file has its place: man page of the plugin" test -f /usr/share/man/man7/mosquitto_ota.7.gz
claim "every file has its place: completion" test -f /usr/share/bash-completion/completions/mosquitto_ota
claim "every file has its place: SQL" test -f /usr/share/mosquitto-ota/sql/install.sql
claim "the example is not active by itself" bash -c '! grep -q ota.conf /var/lib/dpkg/info/mosquitto-ota.conffiles'
claim "the log has no error" bash -c "! grep -iE 'error|warning' $log"

claim "mosquitto_ctrl finds its module" mosquitto_ctrl -u operator -P change-me ota status
claim "and passes its exit status on" bash -c 'mosquitto_ctrl -u operator -P wrong ota status; test $? = 13'

# An upgrade restarts nothing, and says what to do; files of the administrator stay.
pid=$(cat /run/mosquitto/mosquitto.pid)
echo '# mine' >>/etc/mosquitto/ota/keys.d/README
apt-get install /test/newer.deb >/tmp/upgrade.log 2>&1
claim "an upgrade is installed" bash -c '[[ $(dpkg-query -W -f "\${Version}" mosquitto-ota) == *+upgrade ]]'
claim "it says how to change over" grep -q 'to change over: service mosquitto restart' /tmp/upgrade.log
claim "it restarts nothing" test "$pid" = "$(cat /run/mosquitto/mosquitto.pid)" -a -d "/proc/$pid"
claim "the running broker goes on" mosquitto_ota status
claim "a changed conffile stays" grep -q '^# mine' /etc/mosquitto/ota/keys.d/README
service mosquitto restart >/dev/null 2>&1
claim "the new plugin starts" wait_for mosquitto_ota status
claim "the record is still there" sql "SELECT count(*) FROM ota.device WHERE version = '1.1.0'" 10

# Removing warns, keeps the state, the keys and the database.
apt-get remove mosquitto-ota >/tmp/remove.log 2>&1
claim "removing warns of the configuration" grep -q 'WARNING: /etc/mosquitto/conf.d/ota.conf still loads the plugin' /tmp/remove.log
claim "removing removes the plugin" bash -c "! test -e $library/mosquitto_ota.so"
claim "removing keeps the outbox" test -n "$(ls /var/lib/mosquitto/ota)"
claim "removing keeps the keys" test -f /etc/mosquitto/ota/keys.d/release.pem
claim "the broker that runs goes on" listening
rm /etc/mosquitto/conf.d/ota.conf
service mosquitto restart >/dev/null 2>&1
claim "Mosquitto starts without the plugin" wait_for listening
# Installing again finds everything.
apt-get install /tmp/mosquitto-ota_*.deb >/tmp/again.log 2>&1
claim "installing again keeps the state" test -n "$(ls /var/lib/mosquitto/ota)"
cp /usr/share/doc/mosquitto-ota/examples/ota.conf /etc/mosquitto/conf.d/
service mosquitto restart >/dev/null 2>&1
claim "and works" wait_for mosquitto_ota status
rm /etc/mosquitto/conf.d/ota.conf
service mosquitto restart >/dev/null 2>&1
apt-get purge mosquitto-ota >/tmp/purge.log 2>&1
claim "purging removes the outbox" bash -c '! test -e /var/lib/mosquitto/ota'
claim "purging keeps the administrator's keys" test -f /etc/mosquitto/ota/keys.d/release.pem
claim "purging leaves nothing else" bash -c '! dpkg-query -W -f "\${Status}" mosquitto-ota 2>/dev/null | grep -q installed'
claim "the database is untouched" sql "SELECT count(*) FROM ota.rollout" 1
claim "Mosquitto still runs" wait_for listening

[ ! -e /test/older.deb ] || bash /test/upgrade.sh || failed=1

echo "# all claims were looked at"
[ -z "${OTA_PACKAGE_SHELL:-}" ] || bash -i </dev/tty >/dev/tty 2>&1
exit $failed
