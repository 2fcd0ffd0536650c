# Completion of mosquitto_ota for bash.
# The options of a command are read from its own help.

_mosquitto_ota() {
	local current=${COMP_WORDS[COMP_CWORD]} group="" verb="" words="" i=1

	# Options before the command, with their values.
	while [ "$i" -lt "$COMP_CWORD" ]; do
		case ${COMP_WORDS[i]} in
		--json | --insecure) ;;
		-*) i=$((i + 1)) ;;
		*) if [ -z "$group" ]; then group=${COMP_WORDS[i]}; elif [ -z "$verb" ]; then verb=${COMP_WORDS[i]}; fi ;;
		esac
		i=$((i + 1))
	done
	case ${COMP_WORDS[COMP_CWORD - 1]} in
	--file | --out | -o | --key | --cert | --cafile | --append | --envelope | --signature | --options)
		mapfile -t COMPREPLY < <(compgen -f -- "$current")
		return
		;;
	--capath | --trusted-keys)
		mapfile -t COMPREPLY < <(compgen -d -- "$current")
		return
		;;
	esac
	case $group in
	"") words="release plan rollout device fleet audit status" ;;
	release) words="sign verify add list show revoke" ;;
	plan) words="list show define" ;;
	rollout) words="preview start list show watch pause resume halt cancel advance fallback" ;;
	device) words="list show assign gateway set pin unpin retry" ;;
	fleet) words="list show pin unpin window limit blackout" ;;
	audit | status) verb=$group group="" ;;
	esac
	if [ -n "$verb" ]; then
		case "$group $verb" in
		"release add" | "release verify")
			if [[ $current != -* ]]; then
				mapfile -t COMPREPLY < <(compgen -f -- "$current")
				return
			fi
			;;
		esac
		# shellcheck disable=SC2086
		words=$("${COMP_WORDS[0]}" $group "$verb" --help 2>/dev/null | sed -nE 's/^  (--[a-z-]+) .*/\1/p')
	elif [[ $current == -* ]]; then
		words="--help --version --host --port --username --pw --id --cafile --capath --cert --key --tls-version --insecure --options --timeout --json"
	fi
	mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
}
complete -F _mosquitto_ota mosquitto_ota
