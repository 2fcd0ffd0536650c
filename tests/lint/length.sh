#!/usr/bin/env bash
# A file can be read in one go: at most 500 lines.
# shellcheck source=tests/lint/common.sh
. "$(dirname "$0")/common.sh"
files '*.c' '*.h' '*.sql' '*.sh' '*.py' '*.cmake' '.ci/*' | while read -r file; do
	lines=$(wc -l <"$file")
	[ "$lines" -le 500 ] || printf '%s: %s lines\n' "$file" "$lines"
done | nothing_of "files longer than 500 lines"
