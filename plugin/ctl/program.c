/* The program behind both ways in: mosquitto_ota and mosquitto_ctrl ota. */
#include "ota/ctl/program.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ota/ctl/print.h"
#include "ota/ctl/verb.h"

enum {
	MESSAGE_SIZE = 4096
};

const char *program_usage = "mosquitto_ota [connection options]";

int task_fail(const char *format, ...)
{
	char line[MESSAGE_SIZE];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	/* The broker's words may quote a name that steers terminals. */
	for (char *at = line; *at; at++) {
		if ((unsigned char)*at < 0x20 || *at == 0x7f) {
			*at = '?';
		}
	}
	(void)fflush(stdout);
	(void)fprintf(stderr, "mosquitto_ota: %s\n", line);
	return EXIT_NOT_DONE;
}

enum ota_err task_try(
	struct task *task, const char *command, const cJSON *members, cJSON **data, char **error)
{
	cJSON *request = cJSON_Duplicate(members, true);
	struct answer answer = { 0 };
	struct ota_why why = { "" };
	enum ota_err err = OTA_ERR_NOMEM;

	*error = NULL;
	if (!request || !cJSON_AddStringToObject(request, "command", command)) {
		ota_why_set(&why, "out of memory");
	} else {
		err = task->session ? OTA_OK : session_open(task->connection, &task->session, &why);
	}
	if (!err) {
		err = session_ask(task->session, request, &answer, &why);
	}
	if (!err) {
		*data = answer.data;
	} else {
		*error = answer.error ? answer.error : strdup(why.text);
	}
	cJSON_Delete(request);
	return err;
}

int task_ask(struct task *task, const char *command, const cJSON *members, cJSON **data)
{
	char *error;
	int status = EXIT_DONE;

	if (task_try(task, command, members, data, &error) != OTA_OK) {
		status = task_fail("%s", error ? error : "out of memory");
	}
	free(error);
	return status;
}

static int run_plain(struct task *task)
{
	const struct verb *verb = task->verb;
	cJSON *data = NULL;
	int status = task_ask(task, verb->command, task->members, &data);

	if (status != EXIT_DONE) {
		return status;
	}
	if (task->connection->json) {
		print_json(data, false);
	} else if (verb->done) {
		print_sentence(verb->done, data, task->members);
	} else if (verb->list) {
		print_table(cJSON_GetObjectItemCaseSensitive(data, verb->list), verb->columns, "none");
	} else {
		print_object(data);
	}
	cJSON_Delete(data);
	return EXIT_DONE;
}

/* The verbs of a group; NULL: of all. */
static void print_verbs(const char *group)
{
	size_t count = 0;
	const struct verb *verbs = verb_table(&count);

	for (size_t i = 0; i < count; i++) {
		if (!group || strcmp(verbs[i].group, group) == 0) {
			(void)printf("  %-8s%-12s %s\n", verbs[i].group, verbs[i].name, verbs[i].summary);
		}
	}
}

static void print_help(void)
{
	(void)printf("usage: %s <command> [arguments]\n\n"
				 "Firmware updates of device fleets, by the broker that the devices are connected "
				 "to.\n\n",
		program_usage);
	print_verbs(NULL);
	(void)printf(
		"\n<command> --help tells a command's arguments, with an example.\n\n%s", connection_help);
}

/* The verbs of a group, or all groups, for an error. */
static void list_accepted(const char *group, char *out, size_t size)
{
	size_t count = 0;
	const struct verb *verbs = verb_table(&count);
	const char *last = "";
	size_t used = 0;

	out[0] = '\0';
	for (size_t i = 0; i < count; i++) {
		const char *word = group ? verbs[i].name : *verbs[i].group ? verbs[i].group : verbs[i].name;
		size_t length = strlen(word);

		if ((group && strcmp(verbs[i].group, group) != 0) || strcmp(word, last) == 0
			|| used + length + 3 > size) {
			continue;
		}
		if (used > 0) {
			memcpy(out + used, ", ", 2);
			used += 2;
		}
		memcpy(out + used, word, length + 1);
		used += length;
		last = word;
	}
}

static bool is_group(const char *word)
{
	size_t count = 0;
	const struct verb *verbs = verb_table(&count);

	for (size_t i = 0; i < count; i++) {
		if (*verbs[i].group && strcmp(verbs[i].group, word) == 0) {
			return true;
		}
	}
	return false;
}

/* The verb at argv[*at], moving on behind it; NULL: said why there is none. */
static const struct verb *choose(int argc, char **argv, int *at)
{
	char accepted[300];
	const char *word = argv[*at];
	const struct verb *verb = verb_find("", word);

	(*at)++;
	if (verb) {
		return verb;
	}
	if (!is_group(word)) {
		list_accepted(NULL, accepted, sizeof(accepted));
		(void)task_fail("unknown command \"%s\"; accepted are %s", word, accepted);
		return NULL;
	}
	list_accepted(word, accepted, sizeof(accepted));
	if (*at >= argc || argv[*at][0] == '-') {
		(void)task_fail("%s needs one of: %s", word, accepted);
		return NULL;
	}
	verb = verb_find(word, argv[*at]);
	if (!verb) {
		(void)task_fail("unknown command \"%s %s\"; accepted are %s", word, argv[*at], accepted);
	}
	(*at)++;
	return verb;
}

/* Options before the command.  *at: the command.  EXIT_DONE and *at beyond argc: nothing is left to do. */
static int take_options(
	struct connection *connection, int argc, char **argv, int *at, struct ota_why *why)
{
	while (*at < argc && argv[*at][0] == '-') {
		int used = 1;
		enum ota_err err;

		if (strcmp(argv[*at], "--help") == 0) {
			print_help();
			*at = argc + 1;
			return EXIT_DONE;
		}
		if (strcmp(argv[*at], "--version") == 0) {
			(void)printf("mosquitto_ota %s\n", OTA_VERSION);
			*at = argc + 1;
			return EXIT_DONE;
		}
		err = connection_option(connection, argc - *at, argv + *at, &used, why);
		if (err == OTA_ERR_NOT_FOUND) {
			ota_why_set(why, "unknown option %s; accepted are those of --help", argv[*at]);
		}
		if (err) {
			return EXIT_USAGE;
		}
		*at += used;
	}
	return EXIT_DONE;
}

int program_run(struct connection *connection, int argc, char **argv)
{
	struct ota_why why = { "" };
	struct task task = { .connection = connection };
	int at = 0;
	int status = take_options(connection, argc, argv, &at, &why);
	enum ota_err err;

	if (status != EXIT_DONE) {
		(void)task_fail("%s", why.text);
		return status;
	}
	if (at > argc) {
		return EXIT_DONE;
	}
	if (at == argc) {
		(void)task_fail("there is no command; --help lists them");
		return EXIT_USAGE;
	}
	if (strcmp(argv[at], "help") == 0) { /* as the other modules of mosquitto_ctrl have it */
		print_help();
		return EXIT_DONE;
	}
	if (at + 1 < argc && is_group(argv[at]) && strcmp(argv[at + 1], "--help") == 0) {
		(void)printf("usage: %s %s <command> [arguments]\n\n", program_usage, argv[at]);
		print_verbs(argv[at]);
		(void)printf(
			"\n%s <command> --help tells a command's arguments, with an example.\n", argv[at]);
		return EXIT_DONE;
	}
	task.verb = choose(argc, argv, &at);
	if (!task.verb) {
		return EXIT_USAGE;
	}
	err = verb_arguments(task.verb, connection, argc - at, argv + at, &task.members, &why);
	if (err == OTA_ERR_NOT_FOUND) {
		verb_help(task.verb);
		return EXIT_DONE;
	}
	if (err) {
		(void)task_fail("%s", why.text);
		return EXIT_USAGE;
	}
	status = task.verb->run ? task.verb->run(&task) : run_plain(&task);
	session_close(task.session);
	cJSON_Delete(task.members);
	if (fflush(stdout) != 0 || ferror(stdout)) {
		return task_fail("the output cannot be written");
	}
	return status;
}
