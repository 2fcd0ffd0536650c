#!/usr/bin/env bash
# Shell scripts, with what they source.
# shellcheck source=tests/lint/common.sh
. "$(dirname "$0")/common.sh"
# shellcheck disable=SC2046
shellcheck -x -P SCRIPTDIR $(files '*.sh' '.ci/run')
