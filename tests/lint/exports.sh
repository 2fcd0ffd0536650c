#!/usr/bin/env bash
# The plugin exports the three functions a broker looks for, and needs only what every 2.0 and 2.1 build has.
# exports.sh [mosquitto_ota.so]
# shellcheck source=tests/lint/common.sh
. "$(dirname "$0")/common.sh"
plugin=${1:-${OTA_BUILD_DIR:-build}/mosquitto_ota.so}
[ -f "$plugin" ] || {
	echo "$plugin is not built"
	exit 1
}
status=0

exported=$(nm -D --defined-only "$plugin" | awk '{ print $NF }' | sed 's/@.*//' | grep -v '^_\(init\|fini\)$' | sort | xargs)
wanted="mosquitto_plugin_cleanup mosquitto_plugin_init mosquitto_plugin_version"
[ "$exported" = "$wanted" ] || {
	printf 'exported are: %s\nwanted are:   %s\n' "$exported" "$wanted"
	status=1
}

# src/linker.syms of Mosquitto: what plugins find on every build, those without it in 2.0.21 included.
everywhere="broker_publish broker_publish_copy callback_register callback_unregister calloc malloc realloc free strdup
	client_address client_certificate client_clean_session client_id client_keepalive client_protocol
	client_protocol_version client_sub_count client_username kick_client_by_clientid kick_client_by_username log_printf
	property_add_binary property_add_byte property_add_int16 property_add_int32 property_add_string
	property_add_string_pair property_add_varint property_free_all pub_topic_check sub_topic_check topic_matches_sub
	set_username validate_utf8"
# w: weak symbols, of newer brokers, may be missing.
for symbol in $(nm -D --undefined-only "$plugin" | awk '$1 != "w" && $2 ~ /^mosquitto_/ { sub(/@.*/, "", $2); print $2 }'); do
	# shellcheck disable=SC2086
	printf '%s\n' $everywhere | grep -x "${symbol#mosquitto_}" >/dev/null || {
		echo "needs $symbol, which is not on every broker"
		status=1
	}
done

readelf -W -d "$plugin" | grep -q 'BIND_NOW\|FLAGS_1.*NOW' || {
	echo "not linked with -z now"
	status=1
}
readelf -W -l "$plugin" | grep -q GNU_RELRO || {
	echo "not linked with -z relro"
	status=1
}
if readelf -W -l "$plugin" | grep GNU_STACK | grep -q RWE; then
	echo "has an executable stack"
	status=1
fi
exit $status
