/*
 * table - uthash, told to report a lack of memory instead of ending the broker.
 *
 * After HASH_ADD_* the item's handle has a NULL `tbl` when there was no memory; such an item is in no table.
 * Thread: the caller's.
 */
#pragma once

#define HASH_NONFATAL_OOM 1
#include <uthash.h>
#include <utlist.h>
