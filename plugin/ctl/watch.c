/* rollout watch: bars on a terminal, lines in a pipe, JSON for scripts. */
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ota/base/clock.h"
#include "ota/ctl/commands.h"
#include "ota/ctl/draw.h"
#include "ota/ctl/print.h"
#include "ota/ctl/verb.h"
#include "ota/wire/control.h"

enum {
	SAMPLES = 64, /* for the rate */
	LINE_SIZE = 512,
	RECONNECT_MS = 1000,
	RATE_MS = 60000,
	PATIENCE_MS =
		600000, /* the broker answers nobody while a stage opens, which may take ten minutes */
};

struct watch {
	char last[LINE_SIZE]; /* what was said last, so that only news is */
	int drawn;            /* lines on the terminal */
	int64_t answered_ms;  /* monotonic; 0: not yet */
	struct {
		int64_t at;
		int64_t finished;
	} samples[SAMPLES];
	size_t count;
};

/* Devices that finished in a minute, over the last minute. */
static double rate_of(struct watch *watch, int64_t finished)
{
	int64_t now = clock_mono_ms();
	size_t first = watch->count > SAMPLES - 1 ? watch->count - (SAMPLES - 1) : 0;

	watch->samples[watch->count % SAMPLES].at = now;
	watch->samples[watch->count % SAMPLES].finished = finished;
	while (first < watch->count && now - watch->samples[first % SAMPLES].at > RATE_MS) {
		first++;
	}
	watch->count++;
	if (now - watch->samples[first % SAMPLES].at < RECONNECT_MS) {
		return 0;
	}
	return (double)(finished - watch->samples[first % SAMPLES].finished) * RATE_MS
		/ (double)(now - watch->samples[first % SAMPLES].at);
}

/* One line of figures; also tells whether anything is new. */
static void describe(const cJSON *data, char line[LINE_SIZE])
{
	char label[PRINT_CELL_SIZE];
	char words[PRINT_CELL_SIZE];
	const bool ended = cJSON_IsString(cJSON_GetObjectItemCaseSensitive(data, "finished_at"));

	(void)print_cell(cJSON_GetObjectItemCaseSensitive(data, "label"), label);
	(void)print_cell(
		cJSON_GetObjectItemCaseSensitive(data, ended ? "reason" : "next_action"), words);
	(void)snprintf(line, LINE_SIZE,
		"rollout %" PRId64 " %s stage=%.40s succeeded=%" PRId64 " failed=%" PRId64 " busy=%" PRId64
		" cohort=%" PRId64 ": %.120s",
		member_number(data, "id"), member_text(data, "state"), *label ? label : "-",
		member_number(data, "succeeded"), member_number(data, "failed"),
		member_number(data, "in_progress"), member_number(data, "cohort"), words);
}

static void show(struct watch *watch, const struct task *task, const cJSON *data)
{
	double rate = rate_of(watch, member_number(data, "succeeded") + member_number(data, "failed"));
	char line[LINE_SIZE];

	describe(data, line);
	if (print_terminal() && !task->connection->json) {
		if (watch->drawn > 0) {
			(void)printf("\033[%dA\033[J", watch->drawn);
		}
		watch->drawn = draw_rollout(data, rate);
	} else if (strcmp(line, watch->last) != 0) {
		if (task->connection->json) {
			print_json(data, true);
		} else {
			(void)printf("%s (%.1f a minute)\n", line, rate);
		}
	}
	memcpy(watch->last, line, sizeof(line));
	(void)fflush(stdout);
}

/* The connection was there and is lost: try again, as long as an answer is waited for. */
static int reconnect(struct task *task)
{
	const int64_t deadline = clock_mono_ms() + task->connection->timeout_s * INT64_C(1000);
	struct ota_why why = { "" };

	(void)fprintf(stderr, "mosquitto_ota: the connection is lost, connecting again\n");
	session_close(task->session);
	task->session = NULL;
	while (session_open(task->connection, &task->session, &why) != OTA_OK) {
		if (clock_mono_ms() >= deadline) {
			return task_fail("%s", why.text);
		}
		(void)poll(NULL, 0, RECONNECT_MS);
	}
	return EXIT_DONE;
}

/* Not an answer, and none that stays so: the broker is busy, or has no database at the moment. */
static bool passes_by(enum ota_err err, const char *error)
{
	return err == OTA_ERR_TIMEOUT
		|| (err == OTA_ERR_DENIED && error
			&& strncmp(error, CONTROL_NO_DATABASE, strlen(CONTROL_NO_DATABASE)) == 0);
}

/* One look.  Whoever watches is not sent away because a look in the middle of the rollout has failed; the first one has to succeed. */
static int look(struct watch *watch, struct task *task, const cJSON *members, cJSON **data)
{
	bool told = false;

	for (;;) {
		char *error = NULL;
		enum ota_err err = task_try(task, "show_rollout", members, data, &error);
		const int64_t now = clock_mono_ms();

		if (!err) {
			if (told) {
				(void)fprintf(stderr, "mosquitto_ota: the broker answers again\n");
			}
			watch->answered_ms = now;
			free(error);
			return EXIT_DONE;
		}
		if (watch->answered_ms == 0 || !passes_by(err, error)
			|| now - watch->answered_ms >= PATIENCE_MS) {
			(void)task_fail("%s", error ? error : "out of memory");
			free(error);
			return EXIT_NOT_DONE;
		}
		if (!told) {
			(void)fprintf(stderr, "mosquitto_ota: %s; still watching\n",
				err == OTA_ERR_TIMEOUT
					? "no answer at the moment, as while a stage of very many devices opens"
					: error);
			told = true;
			watch->drawn = 0; /* the next picture goes below */
		}
		free(error);
		if (session_wait(task->session, RECONNECT_MS) != OTA_OK && reconnect(task) != EXIT_DONE) {
			return EXIT_NOT_DONE;
		}
	}
}

int rollout_watch(struct task *task)
{
	const cJSON *interval = cJSON_GetObjectItemCaseSensitive(task->members, "interval");
	const double seconds = interval ? interval->valuedouble : 1;
	cJSON *members = cJSON_CreateObject();
	struct watch *watch = calloc(1, sizeof(*watch));
	int status = EXIT_NOT_DONE;

	if (seconds < 0.1 || seconds > 3600) {
		(void)task_fail("--interval is %g; accepted are 0.1 to 3600 seconds", seconds);
		status = EXIT_USAGE;
		goto out;
	}
	(void)cJSON_AddItemToObject(members, "id",
		cJSON_Duplicate(cJSON_GetObjectItemCaseSensitive(task->members, "id"), true));
	/* Counting them means reading every device of the rollout, each time. */
	(void)cJSON_AddFalseToObject(members, "errors");
	while (watch) {
		cJSON *data = NULL;
		char state[PRINT_CELL_SIZE];

		if (look(watch, task, members, &data) != EXIT_DONE) {
			break;
		}
		show(watch, task, data);
		(void)print_cell(cJSON_GetObjectItemCaseSensitive(data, "state"), state);
		cJSON_Delete(data);
		if (strcmp(state, "completed") == 0) {
			status = EXIT_DONE;
			break;
		}
		if (strcmp(state, "halted") == 0 || strcmp(state, "cancelled") == 0
			|| strcmp(state, "superseded") == 0) {
			break;
		}
		if (session_wait(task->session, (int)(seconds * 1000)) != OTA_OK
			&& reconnect(task) != EXIT_DONE) {
			break;
		}
	}
out:
	free(watch);
	cJSON_Delete(members);
	return status;
}
