/*
 * table - uthash, told to report a lack of memory instead of ending the broker.
 *
 * After HASH_ADD_* the item's handle has a NULL `tbl` when there was no memory; such an item is in no table.
 * Thread: the caller's.
 */
#pragma once

#define HASH_NONFATAL_OOM 1
/* Jenkins's one-at-a-time; the default one falls through cases, which clang warns about. */
#define HASH_FUNCTION HASH_OAT
#include <uthash.h>
#include <utlist.h>
