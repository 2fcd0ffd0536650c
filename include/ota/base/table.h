/*
 * table - uthash, told to report a lack of memory instead of ending the broker.
 *
 * After HASH_ADD_* the item's handle has a NULL `tbl` when there was no memory; such an item is in no table.
 * Thread: the caller's.
 */
#pragma once

#include "ota/base/keyhash.h"

#define HASH_NONFATAL_OOM 1
/* Keyed: clients choose their ids, and would choose those that share a place. */
#define HASH_FUNCTION(key, length, hash) ((hash) = (unsigned)keyhash((key), (length)))
#include <uthash.h>
#include <utlist.h>
