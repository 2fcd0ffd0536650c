#include "ledger.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "common.h"

static const struct {
	const char *name;
	bool ends; /* `outcome` is what becomes of the record */
	enum outcome outcome;
} events[EVENT_COUNT] = {
	[EVENT_NOTICE] = { "NOTICE", false, OUTCOME_IN_PROGRESS },
	[EVENT_DUPLICATE] = { "DUPLICATE", false, OUTCOME_IN_PROGRESS },
	[EVENT_INVALID] = { "INVALID", false, OUTCOME_IN_PROGRESS },
	[EVENT_RECALL] = { "RECALL", false, OUTCOME_IN_PROGRESS },
	[EVENT_CANCELLED] = { "CANCELLED", true, OUTCOME_CANCELLED },
	[EVENT_SUPERSEDED] = { "SUPERSEDED", false, OUTCOME_IN_PROGRESS },
	[EVENT_SUCCESS] = { "SUCCESS", true, OUTCOME_SUCCEEDED },
	[EVENT_FAILED] = { "FAILED", true, OUTCOME_FAILED },
	[EVENT_ROLLED_BACK] = { "ROLLED_BACK", true, OUTCOME_ROLLED_BACK },
	[EVENT_SILENT_ROLLBACK] = { "SILENT_ROLLBACK", true, OUTCOME_ROLLED_BACK },
	[EVENT_REJECTED] = { "REJECTED", true, OUTCOME_REJECTED },
	[EVENT_DEFERRED] = { "DEFERRED", true, OUTCOME_DEFERRED },
	[EVENT_SILENT] = { "SILENT", true, OUTCOME_SILENT },
	[EVENT_POWERCUT] = { "POWERCUT", false, OUTCOME_IN_PROGRESS },
	[EVENT_DARK] = { "DARK", true, OUTCOME_DARK },
	[EVENT_LIE] = { "LIE", true, OUTCOME_LIED },
};

static const char *const outcome_names[OUTCOME_COUNT] = {
	[OUTCOME_NOT_TOLD] = "not told",
	[OUTCOME_IN_PROGRESS] = "in progress",
	[OUTCOME_SUCCEEDED] = "succeeded",
	[OUTCOME_FAILED] = "failed",
	[OUTCOME_ROLLED_BACK] = "rolled_back",
	[OUTCOME_DARK] = "dark",
	[OUTCOME_LIED] = "lied",
	[OUTCOME_REJECTED] = "rejected",
	[OUTCOME_DEFERRED] = "deferred",
	[OUTCOME_CANCELLED] = "cancelled",
	[OUTCOME_SILENT] = "silent",
};

static void *share(size_t count, size_t size)
{
	void *memory =
		mmap(NULL, count * size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	return memory == MAP_FAILED ? NULL : memory;
}

bool ledger_open(struct ledger *ledger, const struct options *options)
{
	const uint32_t processes = options->processes;
	uint32_t first = 0;

	*ledger = (struct ledger){
		.options = options,
		.count = options->devices,
		.processes = processes,
		.records = share(options->devices, sizeof(struct record)),
		.boards = share(processes, sizeof(struct board)),
		.started_at = common_now_ms(),
	};
	if (!ledger->records || !ledger->boards) {
		fprintf(stderr, "mosquitto_ota_fleet: devices: no memory for %u devices: %s\n",
			options->devices, common_error_text(errno));
		ledger_close(ledger);
		return false;
	}
	for (uint32_t i = 0; i < processes; i++) {
		struct board *board = &ledger->boards[i];

		board->first = first;
		board->count = options->devices / processes + (i < options->devices % processes);
		board->expected = board->count; /* until it is known who stays offline */
		first += board->count;
	}
	return true;
}

void ledger_close(struct ledger *ledger)
{
	if (ledger->records) {
		munmap(ledger->records, ledger->count * sizeof(struct record));
	}
	if (ledger->boards) {
		munmap(ledger->boards, ledger->processes * sizeof(struct board));
	}
	*ledger = (struct ledger){ 0 };
}

const char *ledger_event_name(enum event event)
{
	return events[event].name;
}

const char *ledger_outcome_name(enum outcome outcome)
{
	return outcome_names[outcome];
}

static void count_event(struct board *board, enum event event, const char *error)
{
	size_t i = 0;

	while (i < board->event_count
		&& (board->events[i].event != event || strcmp(board->events[i].error, error) != 0)) {
		i++;
	}
	if (i == board->event_count) {
		if (i == LEDGER_EVENTS) {
			return;
		}
		board->events[i] = (struct event_count){ .event = event, .error = error };
		board->event_count++;
	}
	board->events[i].count++;
}

void ledger_note(struct board *board, struct record *record, enum event event, const char *error)
{
	count_event(board, event, error);
	if (events[event].ends) {
		record->outcome = (uint8_t)events[event].outcome;
		record->error = error;
		record->ended_at = common_wall_ms();
	}
}

void ledger_begin(struct record *record, int64_t rollout, uint32_t attempt)
{
	/* Another attempt of the same rollout does not begin its time anew. */
	if (record->told_at == 0 || record->rollout != rollout || rollout == 0) {
		record->told_at = common_wall_ms();
	}
	record->rollout = rollout;
	record->attempt = attempt;
	record->notices++;
	record->outcome = OUTCOME_IN_PROGRESS;
	record->error = "";
	record->ended_at = 0;
}

uint8_t ledger_version(struct board *board, const char *version)
{
	uint32_t at = 0;

	while (at < board->version_count && strcmp(board->versions[at], version) != 0) {
		at++;
	}
	if (at == LEDGER_VERSIONS) {
		at = LEDGER_VERSIONS - 1;
		version = "others";
	}
	(void)snprintf(board->versions[at], sizeof(board->versions[at]), "%s", version);
	board->version_count = at < board->version_count ? board->version_count : at + 1;
	return (uint8_t)at;
}

bool ledger_all_connected(const struct ledger *ledger, uint64_t *after_ms)
{
	*after_ms = 0;
	for (size_t i = 0; i < ledger->processes; i++) {
		const struct board *board = &ledger->boards[i];

		if (board->all_connected_ms == 0 && board->expected > 0) {
			return false;
		}
		*after_ms = board->all_connected_ms > *after_ms ? board->all_connected_ms : *after_ms;
	}
	return *after_ms > 0;
}

bool ledger_has_started(const struct ledger *ledger)
{
	for (size_t i = 0; i < ledger->processes; i++) {
		if (ledger->boards[i].started) {
			return true;
		}
	}
	return false;
}
