/* Members of a command as parameters of its SQL; see ota/store/command_table.h. */
#pragma once

#include <stddef.h>

#include "ota/base/error.h"
#include "ota/store/command_table.h"

enum {
	COMMAND_SQL_MAX = 1024 /* of a function's call */
};

struct command_call {
	const char *sql; /* the query, or `text` */
	char text[COMMAND_SQL_MAX];
	int count;
	char *values[COMMAND_MEMBERS_MAX]; /* malloc'ed, NULL: null */
};

/*
 * Check the members and make the call.  OTA_ERR_INVALID: the reason names the member, its value and what is accepted; OTA_ERR_NOMEM.
 * `call` is to be cleared in any case.
 */
OTA_MUST_USE enum ota_err command_bind(const struct command *row,
	const struct control_command *command, struct command_call *call, struct ota_why *why);
void command_call_clear(struct command_call *call);
