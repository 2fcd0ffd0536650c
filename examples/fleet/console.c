#include "console.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common.h"
#include "device.h"
#include "options.h"
#include "profile.h"

enum {
	VERSIONS_MAX = 16
};

static const uint64_t live_interval_ms = 500;
static const uint64_t plain_interval_ms = 5000;

struct version_count {
	const char *version;
	size_t devices;
	size_t online;
};

static const char *const phase_names[PHASE_COUNT] = {
	[PHASE_OFF] = "off",
	[PHASE_IDLE] = "idle",
	[PHASE_WAITING] = "told",
	[PHASE_DOWNLOADING] = "downloading",
	[PHASE_APPLYING] = "applying",
	[PHASE_REBOOTING] = "rebooting",
	[PHASE_DOWN] = "down",
	[PHASE_TRIAL] = "on trial",
	[PHASE_DARK] = "dark",
};

const char *console_phase_name(uint8_t phase)
{
	return phase_names[phase];
}

const char *console_paint(const struct console *console, enum paint paint)
{
	static const char *const codes[PAINT_COUNT] = {
		[PAINT_PLAIN] = "\033[0m",
		[PAINT_GOOD] = "\033[32m",
		[PAINT_BAD] = "\033[31m",
		[PAINT_ODD] = "\033[33m",
		[PAINT_DIM] = "\033[2m",
	};

	return console->colour ? codes[paint] : "";
}

void console_clear(const struct console *console)
{
	if (console->live) {
		fputs("\r\033[K", stdout);
	}
}

void console_open(struct console *console, const struct ledger *ledger)
{
	const struct options *options = ledger->options;
	const char *terminal = getenv("TERM");
	const char *none = getenv("NO_COLOR");
	const char *comma = " ";

	console->quiet = options->quiet;
	console->live = isatty(STDOUT_FILENO) == 1 && terminal && strcmp(terminal, "dumb") != 0;
	console->colour = console->live && !(none && *none);
	console->next = common_now_ms() + live_interval_ms;
	if (console->quiet) {
		return;
	}
	printf("%u devices, %s-%05u to %s-%05u, fleet %s, %u process%s, seed %u:", options->devices,
		options->prefix, options->first, options->prefix, options->first + options->devices - 1,
		options->fleet, options->processes, options->processes == 1 ? "" : "es", options->seed);
	for (int i = 0; i < PROFILE_COUNT; i++) {
		if (options->profiles.permille[i] > 0) {
			printf("%s%s %.4g %%", comma, profile_name((enum profile)i),
				options->profiles.permille[i] / 10.0);
			comma = ", ";
		}
	}
	fputc('\n', stdout);
	fflush(stdout);
}

static const char *version_of(const struct ledger *ledger, size_t process, uint8_t place)
{
	return ledger->boards[process].versions[place];
}

/* Versions in the order they are met; those past VERSIONS_MAX share the last place. */
static size_t count_versions(const struct ledger *ledger, struct version_count *versions)
{
	size_t used = 0;

	for (size_t process = 0; process < ledger->processes; process++) {
		const struct board *board = &ledger->boards[process];

		for (size_t i = board->first; i < board->first + board->count; i++) {
			const char *version = version_of(ledger, process, ledger->records[i].version);
			size_t at = 0;

			while (at < used && strcmp(versions[at].version, version) != 0) {
				at++;
			}
			if (at == VERSIONS_MAX) {
				at = VERSIONS_MAX - 1;
				versions[at].version = "others";
			} else if (at == used) {
				versions[used++] = (struct version_count){ .version = version };
			}
			versions[at].devices++;
			versions[at].online += ledger->records[i].online;
		}
	}
	return used;
}

static enum paint paint_of_phase(size_t phase)
{
	if (phase == PHASE_DARK) {
		return PAINT_BAD;
	}
	return phase == PHASE_IDLE || phase == PHASE_OFF ? PAINT_PLAIN : PAINT_ODD;
}

static void print_line(const struct console *console, const struct ledger *ledger)
{
	struct version_count versions[VERSIONS_MAX] = { { 0 } };
	size_t phases[PHASE_COUNT] = { 0 };
	size_t used = count_versions(ledger, versions);
	size_t online = 0;

	for (size_t i = 0; i < ledger->count; i++) {
		phases[ledger->records[i].phase]++;
		online += ledger->records[i].online;
	}
	printf("%5.1f s  %zu/%zu connected |", (double)(common_now_ms() - ledger->started_at) / 1000.0,
		online, ledger->count);
	for (size_t i = 0; i < PHASE_COUNT; i++) {
		if (phases[i] > 0) {
			enum paint paint = paint_of_phase(i);

			printf(" %s%s %zu%s", paint == PAINT_PLAIN ? "" : console_paint(console, paint),
				phase_names[i], phases[i],
				paint == PAINT_PLAIN ? "" : console_paint(console, PAINT_PLAIN));
		}
	}
	fputs(" |", stdout);
	for (size_t i = 0; i < used; i++) {
		printf(" %s: %zu", versions[i].version, versions[i].devices);
	}
}

void console_tick(struct console *console, const struct ledger *ledger)
{
	const uint64_t now = common_now_ms();
	uint64_t after_ms = 0;

	if (console->quiet) {
		return;
	}
	if (!console->announced && ledger_all_connected(ledger, &after_ms)) {
		uint64_t expected = 0;

		for (size_t i = 0; i < ledger->processes; i++) {
			expected += ledger->boards[i].expected;
		}
		console->announced = true;
		console_clear(console);
		printf("all %" PRIu64 " devices connected after %.2f s\n", expected,
			(double)after_ms / 1000.0);
		fflush(stdout);
	}
	if (now < console->next) {
		return;
	}
	console->next = now + (console->live ? live_interval_ms : plain_interval_ms);
	console_clear(console);
	/* A line that is wrapped could not be rewritten: the terminal cuts it instead. */
	fputs(console->live ? "\033[?7l" : "", stdout);
	print_line(console, ledger);
	fputs(console->live ? "\033[?7h" : "\n", stdout);
	fflush(stdout);
}

/* The boards of all processes, added up; the same event of two of them is one line. */
static void add_boards(const struct ledger *ledger, struct board *sum)
{
	for (size_t i = 0; i < ledger->processes; i++) {
		const struct board *board = &ledger->boards[i];

		sum->connected += board->connected;
		sum->lost += board->lost;
		sum->failed += board->failed;
		sum->refused += board->refused;
		sum->resumed += board->resumed;
		sum->bytes += board->bytes;
		sum->unacked += board->unacked;
		sum->resident += board->resident;
		sum->grown += board->grown;
		sum->cpu_us += board->cpu_us;
		for (size_t e = 0; e < board->event_count; e++) {
			const struct event_count *one = &board->events[e];
			size_t at = 0;

			while (at < sum->event_count
				&& (sum->events[at].event != one->event
					|| strcmp(sum->events[at].error, one->error) != 0)) {
				at++;
			}
			if (at == LEDGER_EVENTS) {
				continue;
			}
			if (at == sum->event_count) {
				sum->events[sum->event_count++] =
					(struct event_count){ .event = one->event, .error = one->error };
			}
			sum->events[at].count += one->count;
		}
	}
}

void console_table(const struct console *console, const struct ledger *ledger)
{
	struct board *sum = common_alloc(1, sizeof(*sum));
	struct version_count versions[VERSIONS_MAX] = { { 0 } };
	size_t used = count_versions(ledger, versions);
	const double devices = (double)ledger->count;

	add_boards(ledger, sum);
	console_clear(console);
	print_line(console, ledger);
	printf("\n\n  %-24s %10s %10s\n", "version", "devices", "connected");
	for (size_t i = 0; i < used; i++) {
		printf(
			"  %-24s %10zu %10zu\n", versions[i].version, versions[i].devices, versions[i].online);
	}
	if (sum->event_count > 0) {
		printf("\n  %-24s %10s  %s\n", "event", "count", "error");
	}
	for (size_t i = 0; i < sum->event_count; i++) {
		printf("  %-24s %10" PRIu64 "%s%s\n", ledger_event_name(sum->events[i].event),
			sum->events[i].count, *sum->events[i].error ? "  " : "", sum->events[i].error);
	}
	printf("\n  connections %" PRIu64 " (broken %" PRIu64 ", failed %" PRIu64 ", refused %" PRIu64
		   "), downloaded %" PRIu64 " bytes (resumed %" PRIu64 " times),\n"
		   "  reports not acknowledged %" PRIu64 "\n",
		sum->connected, sum->lost, sum->failed, sum->refused, sum->bytes, sum->resumed,
		sum->unacked);
	printf("  memory %.1f MB (%.1f KB a device), processor time %.2f s (%.2f ms a device)\n",
		(double)sum->resident / 1e6, (double)sum->grown / 1e3 / devices, (double)sum->cpu_us / 1e6,
		(double)sum->cpu_us / 1e3 / devices);
	fflush(stdout);
	free(sum);
}
