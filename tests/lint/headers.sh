#!/usr/bin/env bash
# Every header opens with its purpose and is guarded by #pragma once; every source includes its own header first.
# shellcheck source=tests/lint/common.sh
. "$(dirname "$0")/common.sh"
{
	for file in $(files 'include/*.h' 'plugin/*.h' 'examples/*.h'); do
		head -n 1 "$file" | grep -q '^/\*' || printf '%s: does not open with a comment\n' "$file"
		grep -q '^#pragma once$' "$file" || printf '%s: no #pragma once\n' "$file"
	done
	for file in $(files 'plugin/*/*.c'); do
		own=include/ota/$(basename "$(dirname "$file")")/$(basename "$file" .c).h
		[ -f "$own" ] || continue
		first=$(sed -nE 's/^#include "([^"]+)".*/\1/p;/^#include </{s/.*/system/p}' "$file" | head -n 1)
		[ "include/$first" = "$own" ] || printf '%s: the first include is not its own header\n' "$file"
	done
} | nothing_of "headers"
