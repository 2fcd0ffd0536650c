#!/usr/bin/env bash
# Includes only point left: base <- rules <- wire <- {gate, store} <- plugin.c, and only the right layers see
# libpq, Mosquitto, OpenSSL and cJSON.
# shellcheck source=tests/lint/common.sh
. "$(dirname "$0")/common.sh"

# Layer and the layers it may include.
allowed() {
	case $1 in
	base) echo base ;;
	rules) echo rules ;; # and ota/base/error.h, see below
	wire) echo base rules wire ;;
	gate) echo base rules wire gate ;;
	store) echo base rules wire store ;;
	ctl) echo base rules wire ctl ;;
	*) echo base rules wire gate store ;;
	esac
}

layer_of() {
	case $1 in
	plugin/plugin.c) echo plugin ;;
	plugin/*/* | include/ota/*/*) echo "$1" | sed -E 's#^(plugin|include/ota)/([^/]+)/.*#\2#' ;;
	*) echo none ;;
	esac
}

status=0
wrong() {
	printf '%s\n' "$*"
	status=1
}

for file in $(files 'plugin/*.c' 'plugin/*.h' 'include/*.h'); do
	layer=$(layer_of "$file")
	while read -r included; do
		target=$(printf '%s' "$included" | sed -nE 's#^ota/([^/]+)/.*#\1#p')
		[ -n "$target" ] || continue
		if [ "$layer" = rules ] && [ "$included" = ota/base/error.h ]; then
			continue
		fi
		case " $(allowed "$layer") " in
		*" $target "*) ;;
		*) wrong "$file ($layer) includes \"$included\"" ;;
		esac
	done < <(sed -nE 's/^[[:space:]]*#[[:space:]]*include[[:space:]]*"([^"]+)".*/\1/p' "$file")
	while read -r included; do
		case $included in
		libpq-fe.h | libpq/* | postgres*) [ "$layer" = store ] ;;
		mosquitto*) [ "$layer" = gate ] || [ "$layer" = ctl ] || [ "$layer" = plugin ] ;;
		openssl/* | cjson/* | cJSON.h) [ "$layer" = wire ] || [ "$layer" = store ] || [ "$layer" = ctl ] ;;
		curl/*) false ;;
		pthread.h | unistd.h | sys/* | fcntl.h | time.h | stdlib.h | errno.h | signal.h | poll.h)
			[ "$layer" != rules ] ;;
		*) true ;;
		esac || wrong "$file ($layer) includes <$included>"
	done < <(sed -nE 's/^[[:space:]]*#[[:space:]]*include[[:space:]]*<([^>]+)>.*/\1/p' "$file")
done

# rules is pure: no allocation, no globals that change.
for file in $(files 'plugin/rules/*.c'); do
	scan -nE '^static [^(=]*;|^static [^c][^(]*= ' "$file" | scan -v 'static const' | sed "s#^#$file:#" |
		nothing_of "variables that keep state in the pure layer" || status=1
done

# The device simulator shares no code with the plugin.
# shellcheck disable=SC2046
scan -nE '#[[:space:]]*include[[:space:]]*"ota/' $(files 'examples/fleet/*') /dev/null |
	nothing_of "the simulated fleet uses the plugin's code" || status=1
exit $status
