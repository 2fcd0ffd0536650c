/* Plans, windows and blackouts: commands whose arguments say which of several things is meant. */
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
	percent = strtod(parts[1], &end);
	if (end == parts[1] || (*end != '\0' && strcmp(end, "%") != 0)) {
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

int fleet_window(struct task *task)
{
	cJSON *clear = cJSON_DetachItemFromObjectCaseSensitive(task->members, "clear");

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
	const cJSON *reason = cJSON_GetObjectItemCaseSensitive(task->members, "reason");
	const bool all = cJSON_GetObjectItemCaseSensitive(task->members, "all") != NULL;
	bool add = false;

	for (size_t i = 0; i < sizeof(of_adding) / sizeof(of_adding[0]); i++) {
		add = add || cJSON_GetObjectItemCaseSensitive(task->members, of_adding[i]);
	}
	if (cJSON_GetObjectItemCaseSensitive(task->members, "blackout_id")) {
		if (add || fleet) {
			(void)task_fail(
				"fleet blackout --remove takes the blackout's number and --reason only");
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
	cJSON_DeleteItemFromObjectCaseSensitive(task->members, "all");
	return finish(task, "add_blackout",
		all ? "blackout {blackout_id}: no fleet is told from {from_at} to {until_at}"
			: "blackout {blackout_id}: fleet {fleet} is not told from {from_at} to {until_at}");
}
