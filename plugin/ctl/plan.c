/* Commands whose arguments say which of several things is meant, or in which words it is told. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ota/ctl/commands.h"
#include "ota/ctl/print.h"
#include "ota/ctl/verb.h"

/* LABEL:PERCENT[:WAIT[:hold]] as an object; NULL: it is none. */
static cJSON *make_stage(const char *text)
{
	char *copy = strdup(text);
	char *parts[4] = { copy, NULL, NULL, NULL };
	char *end = NULL;
	cJSON *stage = NULL;
	double percent;

	for (size_t i = 1; copy && i < 4; i++) {
		parts[i] = parts[i - 1] ? strchr(parts[i - 1], ':') : NULL;
		if (parts[i]) {
			*parts[i]++ = '\0';
		}
	}
	if (!copy || !parts[1] || (parts[3] && strcmp(parts[3], "hold") != 0)) {
		goto out;
	}
	/* Digits only: strtod() would also take "nan" and "0x10". */
	percent = strtod(parts[1], &end);
	if (parts[1][strspn(parts[1], "0123456789.%")] != '\0' || end == parts[1]
		|| (*end != '\0' && strcmp(end, "%") != 0)) {
		goto out;
	}
	stage = cJSON_CreateObject();
	(void)cJSON_AddStringToObject(stage, "label", parts[0]);
	(void)cJSON_AddNumberToObject(stage, "percent", percent);
	if (parts[2] && *parts[2]) {
		(void)cJSON_AddStringToObject(stage, "wait", parts[2]);
	}
	if (parts[3]) {
		(void)cJSON_AddTrueToObject(stage, "hold");
	}
out:
	free(copy);
	return stage;
}

static int finish(struct task *task, const char *command, const char *sentence)
{
	cJSON *data = NULL;
	int status = task_ask(task, command, task->members, &data);

	if (status == EXIT_DONE && task->connection->json) {
		print_json(data, false);
	} else if (status == EXIT_DONE) {
		print_sentence(sentence, data, task->members);
	}
	cJSON_Delete(data);
	return status;
}

int plan_define(struct task *task)
{
	cJSON *texts = cJSON_DetachItemFromObjectCaseSensitive(task->members, "stage");
	const bool whole = cJSON_GetObjectItemCaseSensitive(task->members, "stages") != NULL;
	cJSON *stages = NULL;
	const cJSON *item;
	int status = EXIT_USAGE;

	if (whole == (texts != NULL)) {
		(void)task_fail("plan define needs --stage once for each stage, or --stages");
		goto out;
	}
	if (texts) {
		stages = cJSON_AddArrayToObject(task->members, "stages");
		cJSON_ArrayForEach(item, texts) {
			cJSON *stage = make_stage(item->valuestring);

			if (!stage) {
				(void)task_fail(
					"--stage is \"%s\"; accepted is LABEL:PERCENT[:WAIT[:hold]], such as "
					"'canary:1:2 hours'",
					item->valuestring);
				goto out;
			}
			(void)cJSON_AddItemToArray(stages, stage);
		}
	}
	status = finish(task, "define_plan", task->verb->done);
out:
	cJSON_Delete(texts);
	return status;
}

int rollout_start(struct task *task)
{
	return finish(task, "start_rollout",
		cJSON_GetObjectItemCaseSensitive(task->members, "start_at")
			? "rollout {id} of {version} to fleet {fleet} starts at {start_at}; now, if that is past"
			: "rollout {id} of {version} to fleet {fleet} is started");
}

int fleet_quarantine(struct task *task)
{
	const bool after = cJSON_GetObjectItemCaseSensitive(task->members, "failures") != NULL;
	const bool never = cJSON_GetObjectItemCaseSensitive(task->members, "never") != NULL;

	if (after == never) {
		(void)task_fail("fleet quarantine needs --after FAILURES, or --never");
		return EXIT_USAGE;
	}
	cJSON_DeleteItemFromObjectCaseSensitive(task->members, "never");
	return finish(task, "set_quarantine",
		after ? "devices of fleet {fleet} go into quarantine after {failures} failures in a row"
			  : "devices of fleet {fleet} go into quarantine no more");
}

/* How many of these are given. */
static size_t given(const struct task *task, const char *const *members, size_t count)
{
	size_t found = 0;

	for (size_t i = 0; i < count; i++) {
		found += cJSON_GetObjectItemCaseSensitive(task->members, members[i]) ? 1 : 0;
	}
	return found;
}

int fleet_window(struct task *task)
{
	static const char *const of_window[] = { "timezone", "days", "opens", "closes" };
	const size_t count = sizeof(of_window) / sizeof(of_window[0]);
	cJSON *clear = cJSON_DetachItemFromObjectCaseSensitive(task->members, "clear");

	if (given(task, of_window, count) != (clear ? 0 : count)) {
		cJSON_Delete(clear);
		(void)task_fail(
			"fleet window needs --timezone, --days, --opens and --closes, or --clear alone");
		return EXIT_USAGE;
	}
	if (!clear) {
		return finish(task, "set_window",
			"fleet {fleet} may be told from {opens} to {closes} ({timezone}) on {days}");
	}
	cJSON_Delete(clear);
	return finish(task, "clear_windows", "fleet {fleet} may be told at any time");
}

int fleet_url(struct task *task)
{
	const bool given = cJSON_GetObjectItemCaseSensitive(task->members, "template") != NULL;
	const bool clear = cJSON_GetObjectItemCaseSensitive(task->members, "clear") != NULL;

	if (given == clear) {
		(void)task_fail(
			"fleet url needs a template, such as 'https://host/prefix{path}', or --clear");
		return EXIT_USAGE;
	}
	if (!clear) {
		return finish(task, "set_fleet_url", "fleet {fleet} downloads from {template}");
	}
	cJSON_DeleteItemFromObjectCaseSensitive(task->members, "clear");
	return finish(task, "clear_fleet_url", "fleet {fleet} downloads where the manifest says");
}

/* The blackouts, as a table. */
static int list_blackouts(struct task *task)
{
	cJSON *data = NULL;
	int status = task_ask(task, "list_blackouts", task->members, &data);

	if (status == EXIT_DONE && task->connection->json) {
		print_json(data, false);
	} else if (status == EXIT_DONE) {
		print_table(cJSON_GetObjectItemCaseSensitive(data, "blackouts"),
			"id=blackout_id fleet from=from_at until=until_at state reason by=added_by", "none");
	}
	cJSON_Delete(data);
	return status;
}

int fleet_blackout(struct task *task)
{
	static const char *const of_adding[] = { "from_at", "until_at", "all" };
	const cJSON *fleet = cJSON_GetObjectItemCaseSensitive(task->members, "fleet");
	const bool reason = cJSON_GetObjectItemCaseSensitive(task->members, "reason") != NULL;
	const bool all = cJSON_GetObjectItemCaseSensitive(task->members, "all") != NULL;
	const bool add = given(task, of_adding, sizeof(of_adding) / sizeof(of_adding[0])) > 0;

	if (cJSON_GetObjectItemCaseSensitive(task->members, "blackout_id")) {
		if (add || fleet || !reason) {
			(void)task_fail(
				"fleet blackout --remove takes the blackout's number and --reason, nothing else");
			return EXIT_USAGE;
		}
		return finish(task, "remove_blackout", "blackout {blackout_id} is removed");
	}
	if (!add) {
		if (reason) {
			(void)task_fail(
				"fleet blackout --reason goes with --from and --until, or with --remove");
			return EXIT_USAGE;
		}
		return list_blackouts(task);
	}
	if (all == (fleet != NULL)) {
		(void)task_fail("fleet blackout needs a fleet, or --all for every one of them");
		return EXIT_USAGE;
	}
	if (given(task, of_adding, 2) < 2 || !reason) {
		(void)task_fail("fleet blackout needs --from, --until and --reason");
		return EXIT_USAGE;
	}
	cJSON_DeleteItemFromObjectCaseSensitive(task->members, "all");
	return finish(task, "add_blackout",
		all ? "blackout {blackout_id}: no fleet is told from {from_at} to {until_at}"
			: "blackout {blackout_id}: fleet {fleet} is not told from {from_at} to {until_at}");
}
