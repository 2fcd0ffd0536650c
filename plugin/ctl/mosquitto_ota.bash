# Completion of mosquitto_ota for bash.
# Commands and options are read from the program's own help, so this knows no more and no less than the program.

_mosquitto_ota_commands() {
	# Lines of the list: two blanks, the group or blanks, the command, what it does.
	"$1" --help 2>/dev/null | awk -v group="$2" '
		/^$/ { part++ }
		part == 2 && /^  / {
			first = substr($0, 3, 1) != " " ? $1 : ""
			name = first != "" ? $2 : $1
			if (group == "") print first != "" ? first : name
			else if (first == group) print name
		}' | sort -u
}

_mosquitto_ota_connection() {
	"$1" --help 2>/dev/null | sed -n '/^Connection options/,$p' | grep -oE -- '--[a-z-]+'
}

_mosquitto_ota() {
	local program=${COMP_WORDS[0]} current=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}
	local group="" verb="" words="" groups i=1

	groups=" $(_mosquitto_ota_commands "$program" "" | tr '\n' ' ')"
	# Options before the command, with their values.
	while [ "$i" -lt "$COMP_CWORD" ]; do
		case ${COMP_WORDS[i]} in
		--json | --insecure | --help | --version) ;;
		-*) i=$((i + 1)) ;;
		*) if [ -z "$group" ]; then group=${COMP_WORDS[i]}; elif [ -z "$verb" ]; then verb=${COMP_WORDS[i]}; fi ;;
		esac
		i=$((i + 1))
	done
	case $before in
	--file | --out | -o | --key | --cert | --cafile | --append | --envelope | --signature | --options)
		mapfile -t COMPREPLY < <(compgen -f -- "$current")
		return
		;;
	--capath | --trusted-keys)
		mapfile -t COMPREPLY < <(compgen -d -- "$current")
		return
		;;
	-V | --protocol-version) words="mqttv311 mqttv5" ;;
	--connected) words="true false" ;;
	--days) words="mon tue wed thu fri sat sun" ;;
	--state)
		case $group in
		release) words="submitted verified rejected revoked" ;;
		rollout) words="scheduled running paused halted completed cancelled superseded" ;;
		device) words="pending notified downloading verifying applying rebooting succeeded failed rolled_back timed_out rejected cancelled" ;;
		esac
		;;
	esac
	if [ -n "$words" ]; then
		mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
		return
	fi
	if [ -z "$group" ]; then
		words=$groups
		[[ $current != -* ]] || words="--help --version $(_mosquitto_ota_connection "$program")"
	elif [[ $groups != *" $group "* ]]; then
		return
	else
		words=$(_mosquitto_ota_commands "$program" "$group")
		if [ -z "$words" ] || [ -n "$verb" ]; then # a command of one word, or both are there
			case "$group $verb" in
			"release add" | "release verify")
				if [[ $current != -* ]]; then
					mapfile -t COMPREPLY < <(compgen -f -- "$current")
					return
				fi
				;;
			esac
			[ -n "$words" ] || verb=""
			words="--help $("$program" "$group" ${verb:+"$verb"} --help 2>/dev/null | sed -nE 's/^  (--[a-z-]+) .*/\1/p') $(
				_mosquitto_ota_connection "$program")"
		fi
	fi
	mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
}
complete -F _mosquitto_ota mosquitto_ota
