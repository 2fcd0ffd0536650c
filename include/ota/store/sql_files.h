/*
 * sql_files - the SQL of sql/, embedded at build time.
 *
 * Order: migrations, functions, views; by name inside each folder.
 * Thread: any (constant data).
 */
#pragma once

#include <stddef.h>

struct sql_file {
	const char *name; /* path below sql/, such as "migrations/0001_schema.sql" */
	const char *text; /* whole file, zero-terminated */
};

extern const struct sql_file sql_files[];
extern const size_t sql_files_count;
