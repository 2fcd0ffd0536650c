#include "summary.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common.h"
#include "device.h"
#include "options.h"
#include "profile.h"

/* What the table counts; those from `COLUMN_OPTIONAL` on are left out when there is none. */
enum column {
	COLUMN_DEVICES,
	COLUMN_TOLD,
	COLUMN_SUCCEEDED,
	COLUMN_OPTIONAL,
	COLUMN_FAILED = COLUMN_OPTIONAL,
	COLUMN_ROLLED_BACK,
	COLUMN_DARK,
	COLUMN_LIED,
	COLUMN_DECLINED, /* rejected, deferred, recalled, silent: nothing was installed */
	COLUMN_UNDER_WAY,
	COLUMN_COUNT
};

static const struct {
	const char *head;
	int width;
	enum paint paint; /* when it is not zero */
} columns[COLUMN_COUNT] = {
	[COLUMN_DEVICES] = { "devices", 8, PAINT_PLAIN },
	[COLUMN_TOLD] = { "told", 8, PAINT_PLAIN },
	[COLUMN_SUCCEEDED] = { "succeeded", 10, PAINT_GOOD },
	[COLUMN_FAILED] = { "failed", 8, PAINT_BAD },
	[COLUMN_ROLLED_BACK] = { "rolled back", 12, PAINT_BAD },
	[COLUMN_DARK] = { "went dark", 10, PAINT_BAD },
	[COLUMN_LIED] = { "lied", 6, PAINT_BAD },
	[COLUMN_DECLINED] = { "not begun", 10, PAINT_ODD },
	[COLUMN_UNDER_WAY] = { "under way", 10, PAINT_ODD },
};

static const enum column column_of[OUTCOME_COUNT] = {
	[OUTCOME_NOT_TOLD] = COLUMN_COUNT,
	[OUTCOME_IN_PROGRESS] = COLUMN_UNDER_WAY,
	[OUTCOME_SUCCEEDED] = COLUMN_SUCCEEDED,
	[OUTCOME_FAILED] = COLUMN_FAILED,
	[OUTCOME_ROLLED_BACK] = COLUMN_ROLLED_BACK,
	[OUTCOME_DARK] = COLUMN_DARK,
	[OUTCOME_LIED] = COLUMN_LIED,
	[OUTCOME_REJECTED] = COLUMN_DECLINED,
	[OUTCOME_DEFERRED] = COLUMN_DECLINED,
	[OUTCOME_CANCELLED] = COLUMN_DECLINED,
	[OUTCOME_SILENT] = COLUMN_DECLINED,
};

struct row {
	uint64_t numbers[COLUMN_COUNT];
	uint64_t *times; /* of those that succeeded, ms; room for every device of the row */
	size_t time_count;
	uint64_t bytes;
	uint64_t lost;
};

static uint64_t duration_ms(const struct record *record)
{
	return record->ended_at > record->told_at ? record->ended_at - record->told_at : 0;
}

static void add(struct row *row, const struct record *record)
{
	enum column column = column_of[record->outcome];

	row->numbers[COLUMN_DEVICES]++;
	row->numbers[COLUMN_TOLD] += record->notices > 0;
	if (column < COLUMN_COUNT) {
		row->numbers[column]++;
	}
	if (record->outcome == OUTCOME_SUCCEEDED) {
		row->times[row->time_count++] = duration_ms(record);
	}
	row->bytes += record->bytes;
	row->lost += record->lost;
}

static int compare_times(const void *a, const void *b)
{
	const uint64_t *one = a;
	const uint64_t *other = b;

	return (*one > *other) - (*one < *other);
}

/* The nearest rank: `permille` of the times are not above it. */
static void print_time(const struct row *row, uint32_t permille)
{
	if (row->time_count == 0) {
		printf("  %9s", "-");
		return;
	}
	size_t rank = (row->time_count * permille + 999) / 1000;

	printf("  %7.2f s", (double)row->times[rank - 1] / 1000.0);
}

static void print_row(
	const struct console *console, const char *name, struct row *row, const struct row *all)
{
	qsort(row->times, row->time_count, sizeof(*row->times), compare_times);
	printf("  %-9s", name);
	for (int i = 0; i < COLUMN_COUNT; i++) {
		bool coloured = columns[i].paint != PAINT_PLAIN && row->numbers[i] > 0;

		if (i >= COLUMN_OPTIONAL && all->numbers[i] == 0) {
			continue;
		}
		printf("%s%*" PRIu64 "%s", coloured ? console_paint(console, columns[i].paint) : "",
			columns[i].width, row->numbers[i], coloured ? console_paint(console, PAINT_PLAIN) : "");
	}
	print_time(row, 500);
	print_time(row, 950);
	print_time(row, 1000);
	printf("  %11.2f  %10" PRIu64 "\n", (double)row->bytes / 1e6, row->lost);
}

static void print_head(const struct row *all)
{
	printf("\n  %-9s", "profile");
	for (int i = 0; i < COLUMN_COUNT; i++) {
		if (i < COLUMN_OPTIONAL || all->numbers[i] > 0) {
			printf("%*s", columns[i].width, columns[i].head);
		}
	}
	printf("  %9s  %9s  %9s  %11s  %10s\n", "median", "p95", "max", "MB fetched", "reconnects");
}

void summary_print(const struct console *console, const struct ledger *ledger)
{
	struct row *rows = common_alloc(PROFILE_COUNT, sizeof(*rows));
	struct row all = { .numbers = { 0 } };
	size_t used = 0;

	for (int i = 0; i < PROFILE_COUNT; i++) {
		rows[i].times = common_alloc(ledger->count, sizeof(*rows[i].times));
	}
	all.times = common_alloc(ledger->count, sizeof(*all.times));
	for (size_t i = 0; i < ledger->count; i++) {
		add(&rows[ledger->records[i].profile], &ledger->records[i]);
		add(&all, &ledger->records[i]);
	}
	console_clear(console);
	print_head(&all);
	for (int i = 0; i < PROFILE_COUNT; i++) {
		if (rows[i].numbers[COLUMN_DEVICES] > 0) {
			print_row(console, profile_name((enum profile)i), &rows[i], &all);
			used++;
		}
		free(rows[i].times);
	}
	if (used > 1) {
		print_row(console, "all", &all, &all);
	}
	free(all.times);
	free(rows);
	fputc('\n', stdout);
	console_table(console, ledger);
}

/* `state`: how its last update ended, or, while it goes on, the phase it is in. */
static const char *state_of(const struct record *record)
{
	if (record->outcome == OUTCOME_NOT_TOLD) {
		return "idle";
	}
	if (record->outcome == OUTCOME_IN_PROGRESS) {
		return record->phase == PHASE_TRIAL ? "trial" : console_phase_name(record->phase);
	}
	return ledger_outcome_name((enum outcome)record->outcome);
}

static const char *detail_of(const struct record *record)
{
	if (record->profile == PROFILE_DIES) {
		return death_name((enum death)record->detail);
	}
	return record->profile == PROFILE_LIES ? lie_name((enum lie)record->detail) : "";
}

static void write_moment(FILE *file, uint64_t wall_ms)
{
	char text[COMMON_TIME_SIZE] = "";

	if (wall_ms > 0) {
		common_format_moment(wall_ms, text, sizeof(text));
	}
	fprintf(file, ",%s", text);
}

static void write_device(
	FILE *file, const struct ledger *ledger, const struct board *board, size_t at)
{
	const struct options *options = ledger->options;
	const struct record *record = &ledger->records[at];
	const uint32_t number = options->first + (uint32_t)at;
	char id[OPTIONS_ID_SIZE] = "";
	char client[OPTIONS_ID_SIZE] = "";

	options_device_id(options, number, id, sizeof(id));
	options_device_id(options,
		record->profile == PROFILE_CLONE ? options_cloned(options, number) : number, client,
		sizeof(client));
	fprintf(file, "%s,%s,%s,%s,%s,%s,%s,%s", id, client,
		profile_name((enum profile)record->profile), detail_of(record),
		board->versions[record->before], board->versions[record->version], state_of(record),
		record->error ? record->error : "");
	if (record->notices > 0) {
		fprintf(file, ",%" PRId64 ",%" PRIu32 ",%" PRIu32, record->rollout, record->attempt,
			record->notices);
	} else {
		fputs(",,,0", file);
	}
	write_moment(file, record->told_at);
	write_moment(file, record->ended_at);
	if (record->ended_at > 0 && record->told_at > 0) {
		fprintf(file, ",%" PRIu64, duration_ms(record));
	} else {
		fputc(',', file);
	}
	fprintf(file, ",%" PRIu64 ",%" PRIu32 ",%" PRIu32 ",%" PRIu32 ",%" PRIu32 "\n", record->bytes,
		record->resumed, record->connections, record->lost, record->reports);
}

bool summary_write_csv(const struct ledger *ledger, FILE *file)
{
	fputs("id,client_id,profile,detail,version_before,version_after,state,error,rollout,attempt,"
		  "notices,told_at,ended_at,update_ms,bytes,resumed,connections,reconnects,reports\n",
		file);
	for (size_t process = 0; process < ledger->processes; process++) {
		const struct board *board = &ledger->boards[process];

		for (size_t i = board->first; i < board->first + board->count; i++) {
			write_device(file, ledger, board, i);
		}
	}
	return fflush(file) == 0 && ferror(file) == 0;
}
