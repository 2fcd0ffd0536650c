#!/usr/bin/env bash
# A file can be read in one go: at most 500 lines.  So can the device in C: its README says what counts, and how much there is.
# shellcheck source=tests/lint/common.sh
. "$(dirname "$0")/common.sh"
files '*.c' '*.h' '*.sql' '*.sh' '*.py' '*.cmake' '.ci/*' | while read -r file; do
	lines=$(wc -l <"$file")
	[ "$lines" -le 500 ] || printf '%s: %s lines\n' "$file" "$lines"
done | nothing_of "files longer than 500 lines"

device=examples/device-c
agent=(agent bootctl download journal json link notice platform source source_http)
paths=()
for name in "${agent[@]}"; do
	for path in "$device/$name.c" "$device/$name.h"; do [ ! -f "$path" ] || paths+=("$path"); done
done
# Comments that end in their line, then those that do not, then blank lines.
lines=$(sed -E 's:/\*([^*]|\*[^/])*\*/::g' "${paths[@]}" | sed '\:/\*:,\:\*/:d' | scan -c '[^[:space:]]')
{ [ "$lines" -le 1500 ] || printf '%s\n' "$lines"; } |
	nothing_of "$device: more than 1500 lines without blanks and comments"
