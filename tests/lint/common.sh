# shellcheck shell=bash
# Shared by the checks in this folder: each prints what is wrong and ends non-zero, or prints nothing.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

# The project's own files, those not committed yet included: files pattern...
files() { git ls-files --cached --others --exclude-standard -- "$@" | sort -u | while read -r one; do [ ! -f "$one" ] || printf '%s\n' "$one"; done; }

# grep, for which finding nothing is no error.
scan() { grep "$@" || [ $? = 1 ]; }

# Fails with a line for the reader when standard input is not empty: nothing_of "what is wrong"
nothing_of() {
	local found
	found=$(cat)
	[ -z "$found" ] && return 0
	printf '%s:\n%s\n' "$1" "$found"
	return 1
}
