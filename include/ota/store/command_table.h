/*
 * command_table - every command: its name, its members, and the SQL it stands for.
 *
 * Thread: any; the table is static.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "ota/wire/control.h"

enum command_type {
	COMMAND_TEXT = 0,
	COMMAND_INTEGER, /* -(2^53 - 1) to 2^53 - 1 */
	COMMAND_LIMIT,   /* 1 to COMMAND_LIMIT_MAX */
	COMMAND_NUMBER,
	COMMAND_BOOLEAN,
	COMMAND_JSON,   /* an object or a list, as jsonb */
	COMMAND_BASE64, /* as bytea */
	COMMAND_TEXTS,  /* a list of texts, as text[] */
	COMMAND_RELEASE_STATE,
	COMMAND_ROLLOUT_STATE,
	COMMAND_UPDATE_STATE, /* of a device's update */
};

enum {
	COMMAND_MEMBERS_MAX = 10,
	COMMAND_LIMIT_MAX = 1000
};

struct command_member {
	const char *name; /* NULL: the list ends before */
	const char *sql;  /* its SQL type */
	enum command_type type;
	bool required;
};

/*
 * A command is either a function of the schema ota, called with the members that were given (so that the function's defaults hold), or
 * a query, whose parameters are the members in their order, null when absent, and which gives one JSON object or no row.
 */
struct command {
	const char *name;
	const char *function; /* also the file sql/functions/<function>.sql */
	const char *result;   /* function: the name of its value in the answer; NULL: it has none */
	const char *query;
	const char *
		missing; /* query: what there is none of when it gives no row, before the first member's value */
	struct command_member members[COMMAND_MEMBERS_MAX];
};

/* All rows; of two with one name (overloaded functions) the first whose first member is given is meant, else the last. */
const struct command *command_table(size_t *count);

/* The row that is meant; NULL: there is no such command. */
const struct command *command_find(const struct control_command *command);
