/*
 * command - operators' commands, each one SQL statement; see ota/wire/control.h for their shape.
 *
 * Broker's thread: commands_push().  Store's thread: all else.  Between the two is a bounded queue.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "ota/base/error.h"
#include "ota/base/queue.h"
#include "ota/store/pg.h"
#include "ota/wire/control.h"

enum {
	COMMANDS_WAITING_MAX = 64,   /* requests */
	COMMAND_STATEMENT_MS = 10000 /* PostgreSQL ends a command's statement then */
};

struct commands;

enum commands_state {
	COMMANDS_TAKEN = 0,
	COMMANDS_AWAY, /* the database is away */
	COMMANDS_BUSY, /* the controller opens a stage of many devices, which may take minutes */
};

/* Answers go into `changes`, as CHANGE_RESPONSE.  NULL: no memory.  Requests left over are freed unanswered. */
OTA_MUST_USE struct commands *commands_new(struct queue *changes);
void commands_free(struct commands *commands);

/*
 * Take a request, which belongs to the queue on OTA_OK only.  OTA_ERR_UNAVAILABLE: the database is away; OTA_ERR_CONFLICT: it is busy;
 * OTA_ERR_FULL: too many wait.
 */
OTA_MUST_USE enum ota_err commands_push(struct commands *commands, struct control_request *request);

/* Are requests taken?  While they are not, they are refused with the reason, those that wait too. */
void commands_set_state(struct commands *commands, enum commands_state state);

/*
 * Carry out a few requests, each command in a transaction of its own, in the name of its user (ota.actor).  What a command's statement
 * says is answered and no error here.  OTA_ERR_UNAVAILABLE, OTA_ERR_TIMEOUT: the connection is gone.  *more: others wait.
 */
OTA_MUST_USE enum ota_err commands_work(
	struct commands *commands, struct pg *pg, bool *more, struct ota_why *why);
