#include "ota/store/command.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ota/store/command_table.h"
#include "ota/wire/change.h"
#include "ota/wire/json.h"

#include "command_bind.h"

enum {
	REQUESTS_A_TURN = 4, /* events and deadlines come between */
	TRIES = 3,           /* after deadlocks */
	ERROR_MAX = sizeof(struct pg_error) + 8
};

struct commands {
	struct queue *waiting; /* of struct control_request */
	struct queue *changes;
	struct change *unsent; /* an answer that the gate had no room for */
	_Atomic enum commands_state state;
};

static void free_request(void *request)
{
	control_request_free(request);
}

struct commands *commands_new(struct queue *changes)
{
	struct commands *commands = calloc(1, sizeof(*commands));

	if (commands) {
		commands->changes = changes;
		commands->waiting = queue_new(COMMANDS_WAITING_MAX);
		if (!commands->waiting) {
			free(commands);
			commands = NULL;
		}
	}
	return commands;
}

void commands_free(struct commands *commands)
{
	if (!commands) {
		return;
	}
	queue_free(commands->waiting, free_request);
	change_free(commands->unsent);
	free(commands);
}

enum ota_err commands_push(struct commands *commands, struct control_request *request)
{
	switch (atomic_load(&commands->state)) {
	case COMMANDS_AWAY:
		return OTA_ERR_UNAVAILABLE;
	case COMMANDS_BUSY:
		return OTA_ERR_CONFLICT;
	case COMMANDS_TAKEN:
		break;
	}
	return queue_push(commands->waiting, request) ? OTA_OK : OTA_ERR_FULL;
}

/* The answers to a request, empty then; NULL: no memory.  Who published an update is sent none, but the gate is told. */
static struct change *change_of(struct control_request *request, struct control_answers *answers)
{
	struct change *change = change_new(request->topic ? CHANGE_PUSHED : CHANGE_RESPONSE);

	if (!change) {
		control_answers_free(answers);
		return NULL;
	}
	change->device = request->client;
	request->client = NULL;
	if (request->topic) {
		change->topic = request->topic;
		request->topic = NULL;
		change->text = answers->error;
		answers->error = NULL;
		control_answers_free(answers);
		return change;
	}
	change->text = control_answers_end(answers);
	if (!change->text) {
		change_free(change);
		return NULL;
	}
	return change;
}

/* Hand the answers over. */
static void answer(
	struct commands *commands, struct control_request *request, struct control_answers *answers)
{
	struct change *change = change_of(request, answers);

	if (change && !queue_push(commands->changes, change)) {
		change_free(commands->unsent);
		commands->unsent = change;
	}
}

/* False: the gate has still no room. */
static bool send_unsent(struct commands *commands)
{
	if (commands->unsent && queue_push(commands->changes, commands->unsent)) {
		commands->unsent = NULL;
	}
	return !commands->unsent;
}

void commands_set_state(struct commands *commands, enum commands_state state)
{
	struct control_request *request;

	atomic_store(&commands->state, state);
	while (state != COMMANDS_TAKEN && (request = queue_pop(commands->waiting)) != NULL) {
		struct control_answers answers = { 0 };

		for (size_t n = 0; n < request->count; n++) {
			control_answer_error(&answers, request->commands[n].name,
				request->commands[n].correlation,
				state == COMMANDS_BUSY ? CONTROL_BUSY : CONTROL_AWAY, NULL);
		}
		answer(commands, request, &answers);
		control_request_free(request);
	}
	(void)send_unsent(commands);
}

/* Every statement of the transaction acts for this user, and none for long. */
static enum ota_err begin(struct pg *pg, const char *user, struct ota_why *why)
{
	const char *values[] = { user };
	enum ota_err err = pg_script(pg, "BEGIN", why);

	return err ? err
			   : pg_exec(pg,
				   "SELECT set_config('ota.actor', $1, true), set_config('statement_timeout', "
				   "'10s', true), set_config('lock_timeout', '3s', true)",
				   1, values, NULL, why);
}

/* One transaction; *result is set on OTA_OK.  After an error of the statement the transaction is undone. */
static enum ota_err transact(struct pg *pg, const char *user, const struct command_call *call,
	PGresult **result, struct ota_why *why)
{
	struct ota_why ignored;
	enum ota_err err = begin(pg, user, why);

	pg->error.state[0] = '\0';
	if (!err) {
		err = pg_exec(pg, call->sql, call->count, (const char *const *)call->values, result, why);
	}
	if (!err) {
		err = pg_script(pg, "COMMIT", why);
		if (err) {
			PQclear(*result);
			*result = NULL;
		}
	}
	if (err && pg->connection) {
		struct pg_error kept = pg->error;

		(void)!pg_script(pg, "ROLLBACK", &ignored);
		pg->error = kept;
	}
	return err;
}

/* What is accepted instead of a text that PostgreSQL cannot read as a value of this type; NULL: another type. */
static const char *accepted_time(const char *sql)
{
	return strcmp(sql, "timestamptz") == 0 ? "a time such as 2026-12-20 00:00+01"
		: strcmp(sql, "interval") == 0     ? "a span of time such as 2 hours"
		: strcmp(sql, "time") == 0         ? "a time of day such as 02:00"
										   : NULL;
}

/* PostgreSQL's own words for a time that it cannot read say what is wrong; not where it stands, nor what is right. */
static void tell_time(const struct command *row, const struct control_command *command,
	const struct pg_error *error, char *text, size_t size)
{
	for (size_t i = 0; i < COMMAND_MEMBERS_MAX && row->members[i].name; i++) {
		const cJSON *item = json_member(command->members, row->members[i].name);
		const char *accepted = accepted_time(row->members[i].sql);
		char shown[JSON_DESCRIBE_SIZE];

		if (accepted && cJSON_IsString(item) && strstr(error->message, item->valuestring)) {
			(void)snprintf(text, size, "member \"%s\" is %s; accepted is %s (%s)",
				row->members[i].name, json_describe(item, shown), accepted, error->message);
			return;
		}
	}
	(void)snprintf(text, size,
		"%s. Accepted are times such as 2026-12-20 00:00+01, spans such as 2 hours, times of day such as 02:00",
		error->message);
}

static void answer_sql_error(struct control_answers *answers, const struct command *row,
	const struct control_command *command, const struct pg_error *error, const struct ota_why *why)
{
	char text[ERROR_MAX];

	if (!error->state[0]) {
		control_answer_error(answers, command->name, command->correlation, why->text, NULL);
		return;
	}
	if (strcmp(error->state, "57014") == 0) {
		(void)snprintf(text, sizeof(text), "the command took longer than %d s: nothing was done",
			COMMAND_STATEMENT_MS / 1000);
	} else if (!error->hint[0]
		&& (strcmp(error->state, "22007") == 0 || strcmp(error->state, "22008") == 0)) {
		tell_time(row, command, error, text, sizeof(text));
	} else {
		(void)snprintf(
			text, sizeof(text), "%s%s%s", error->message, error->hint[0] ? ". " : "", error->hint);
	}
	control_answer_error(answers, command->name, command->correlation, text, error->state);
}

static void answer_result(struct control_answers *answers, const struct command *row,
	const struct control_command *command, const struct command_call *call, const PGresult *result)
{
	const char *data = PQntuples(result) > 0 ? pg_text(result, 0, 0) : NULL;
	struct ota_why why;

	if (!data) {
		ota_why_set(&why, "there is no %s %s; accepted is one that list_%ss names",
			row->missing ? row->missing : row->name, call->values[0] ? call->values[0] : "",
			row->missing ? row->missing : row->name);
		control_answer_error(answers, command->name, command->correlation, why.text, "P0002");
	} else if (strlen(data) > CONTROL_ANSWER_MAX) {
		ota_why_set(&why,
			"the answer has %zu bytes; at most %d are sent: ask for fewer with \"limit\"",
			strlen(data), CONTROL_ANSWER_MAX);
		control_answer_error(answers, command->name, command->correlation, why.text, NULL);
	} else {
		control_answer_data(answers, command->name, command->correlation, data);
	}
}

/* Carry out one command.  An error: the connection is gone; the command is answered all the same. */
static enum ota_err carry_out(struct pg *pg, const char *user,
	const struct control_command *command, struct control_answers *answers, struct ota_why *why)
{
	const struct command *row = command_find(command);
	struct command_call call = { 0 };
	struct ota_why reason = { "" };
	PGresult *result = NULL;
	enum ota_err err;

	if (!row) {
		ota_why_set(&reason,
			"there is no command \"%.64s\"; accepted are the operators' functions of SQL, such as "
			"start_rollout, and status, audit, list_ and show_ with releases, plans, rollouts, "
			"devices or fleets",
			command->name);
		control_answer_error(answers, command->name, command->correlation, reason.text, NULL);
		return OTA_OK;
	}
	err = command_bind(row, command, &call, &reason);
	if (err) {
		control_answer_error(answers, command->name, command->correlation, reason.text, NULL);
		command_call_clear(&call);
		return OTA_OK;
	}
	for (int i = 0; i < TRIES; i++) {
		err = transact(pg, user, &call, &result, &reason);
		if (err != OTA_ERR_CONFLICT || strcmp(pg->error.state, "55P03") == 0) {
			break;
		}
	}
	if (!err) {
		answer_result(answers, row, command, &call, result);
		PQclear(result);
	} else if (pg->connection) {
		answer_sql_error(answers, row, command, &pg->error, &reason);
		err = OTA_OK;
	} else {
		*why = reason;
		control_answer_error(answers, command->name, command->correlation,
			CONTROL_NO_DATABASE
			"went away meanwhile: look whether the command was carried out, then try again",
			NULL);
	}
	command_call_clear(&call);
	return err;
}

enum ota_err commands_work(
	struct commands *commands, struct pg *pg, bool *more, struct ota_why *why)
{
	enum ota_err err = OTA_OK;

	for (int i = 0; !err && i < REQUESTS_A_TURN && send_unsent(commands); i++) {
		struct control_request *request = queue_pop(commands->waiting);
		struct control_answers answers = { 0 };

		if (!request) {
			break;
		}
		for (size_t n = 0; n < request->count; n++) {
			const struct control_command *command = &request->commands[n];

			if (err) {
				control_answer_error(&answers, command->name, command->correlation,
					CONTROL_NO_DATABASE "went away: nothing was done", NULL);
			} else {
				err = carry_out(pg, request->user, command, &answers, why);
			}
		}
		answer(commands, request, &answers);
		control_request_free(request);
	}
	*more = queue_length(commands->waiting) > 0 && !commands->unsent;
	return err;
}
