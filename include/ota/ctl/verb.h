/*
 * verb - the commands of the program: their arguments, help, and how their answers are shown.
 *
 * Thread: main; the table is static.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include <cjson/cJSON.h>

#include "ota/base/error.h"
#include "ota/ctl/options.h"
#include "ota/ctl/session.h"

enum {
	VERB_ARGUMENTS_MAX = 16,
	/* Exit statuses. */
	EXIT_DONE = 0,
	EXIT_NOT_DONE = 1,
	EXIT_USAGE = 2,
};

enum argument_kind {
	ARGUMENT_TEXT = 0,
	ARGUMENT_INTEGER,
	ARGUMENT_NUMBER,
	ARGUMENT_BOOLEAN, /* true or false */
	ARGUMENT_FLAG,    /* takes no value */
	ARGUMENT_LIST,    /* a,b,c as a list of texts */
	ARGUMENT_JSON,
	ARGUMENT_REPEATED, /* may be given several times: a list of texts */
};

struct argument {
	const char *name;   /* "--plan"; a positional one can be given either way */
	const char *member; /* of the command */
	enum argument_kind kind;
	bool positional;
	bool required;
	const char *help;
};

struct task;

struct verb {
	const char *group; /* "" for a command of one word */
	const char *name;
	const char *command; /* on the control topic */
	const char *summary;
	const char *example; /* without the program's name and connection options */
	const char *list; /* member of the answer that is a table; NULL: the whole is shown as fields */
	const char *columns;
	const char *done;              /* a sentence with {members}; NULL: the answer is shown */
	int (*run)(struct task *task); /* NULL: send the command, show the answer */
	struct argument arguments[VERB_ARGUMENTS_MAX];
};

/* What one run is about. */
struct task {
	const struct verb *verb;
	const struct connection *connection;
	cJSON *members;          /* the arguments given */
	struct session *session; /* opened when first needed */
};

const struct verb *verb_table(size_t *count);
const struct verb *verb_find(const char *group, const char *name);

/*
 * Read the arguments after the verb into an object; connection options may stand among them.  OTA_ERR_INVALID: with the reason;
 * OTA_ERR_NOT_FOUND: help was asked for.
 */
OTA_MUST_USE enum ota_err verb_arguments(const struct verb *verb, struct connection *connection,
	int argc, char **argv, cJSON **members, struct ota_why *why);

void verb_help(const struct verb *verb);

/*
 * Send `command` with these members (which stay the caller's).  OTA_OK: *data is the caller's.  Else *error says why not and is the caller's
 * (NULL: no memory): OTA_ERR_DENIED in the broker's own words, OTA_ERR_TIMEOUT no answer, OTA_ERR_UNAVAILABLE no connection.
 */
OTA_MUST_USE enum ota_err task_try(
	struct task *task, const char *command, const cJSON *members, cJSON **data, char **error);
/* The same.  Errors are printed.  EXIT_DONE: *data is the caller's. */
int task_ask(struct task *task, const char *command, const cJSON *members, cJSON **data);

/* "error: ..." on standard error; returns EXIT_NOT_DONE. */
int task_fail(const char *format, ...) OTA_PRINTF(1, 2);
