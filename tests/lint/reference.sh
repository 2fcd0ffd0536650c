#!/usr/bin/env bash
# The reference pages say what the code and the database say, and every function, table, view and column has a COMMENT.
# shellcheck source=tests/lint/common.sh
. "$(dirname "$0")/common.sh"
[ -x "${OTA_BUILD_DIR:-build}/tests/ota_reference" ] || {
	echo "${OTA_BUILD_DIR:-build}/tests/ota_reference is not built"
	exit 1
}
scripts/make_reference.sh --check
