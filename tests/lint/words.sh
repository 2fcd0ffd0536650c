#!/usr/bin/env bash
# Nothing left undone in the sources, and nothing of anybody's machine.
# shellcheck source=tests/lint/common.sh
. "$(dirname "$0")/common.sh"
status=0
files '*' | grep -vE '^(LICENSE|tests/lint/words\.sh|tests/fuzz/corpus/)' >"${TMPDIR:-/tmp}/ota-words.$$"
trap 'rm -f "${TMPDIR:-/tmp}/ota-words.$$"' EXIT
in_files() { tr '\n' '\0' <"${TMPDIR:-/tmp}/ota-words.$$" | xargs -0 grep -nIE "$@" || true; } # xargs: 123 when a grep found nothing
in_files '\b(TODO|FIXME|XXX|HACK)\b|not implemented' | nothing_of "promises" || status=1
in_files '/(home|root|work)/[a-z]' | nothing_of "somebody's machine" || status=1
in_files '[[:blank:]]+$' | scan -vE '\.md:[0-9]+:' | nothing_of "blanks at the end of lines" || status=1
exit $status
