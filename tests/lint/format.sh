#!/usr/bin/env bash
# C files look as .clang-format says.
# shellcheck source=tests/lint/common.sh
. "$(dirname "$0")/common.sh"
# shellcheck disable=SC2046
clang-format --dry-run -Werror $(files '*.c' '*.h') 2>&1 | scan -E 'error:' | head -40 |
	nothing_of "not formatted; run clang-format -i on these"
