#include "fleet.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include <mosquitto.h>

#include "client.h"
#include "console.h"
#include "output.h"

enum {
	EVENTS_MAX = 512,
	TICK_MS = 100,
	LOOK_MS = 400
};

static const uint64_t signal_epoll_tag = UINT64_C(1) << 41;
static const uint64_t stop_limit_ms = 3000;

/* A device needs a socket, and one more while it downloads. */
bool fleet_raise_file_limit(const struct options *options)
{
	const uint32_t each = (options->devices + options->processes - 1) / options->processes;
	const rlim_t wanted = (rlim_t)each + options_downloads_each(options) + 64;
	struct rlimit limit = { 0 };

	getrlimit(RLIMIT_NOFILE, &limit);
	if (limit.rlim_cur >= wanted) {
		return true;
	}
	struct rlimit raised = limit;

	raised.rlim_cur = wanted;
	if (raised.rlim_max < wanted) {
		raised.rlim_max = wanted; /* root may */
	}
	if (setrlimit(RLIMIT_NOFILE, &raised) != 0) {
		fprintf(stderr,
			"mosquitto_ota_fleet: devices: %u devices need %llu open files in each process and the "
			"limit is %llu; give more --processes or raise it with ulimit -n\n",
			options->devices, (unsigned long long)wanted, (unsigned long long)limit.rlim_max);
		return false;
	}
	return true;
}

static bool watch_signals(struct fleet *fleet)
{
	struct epoll_event event = { .events = EPOLLIN, .data.u64 = signal_epoll_tag };
	sigset_t signals;

	sigemptyset(&signals);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGHUP);
	sigaddset(&signals, SIGUSR1);
	if (signal(SIGPIPE, SIG_IGN) == SIG_ERR || sigprocmask(SIG_BLOCK, &signals, NULL) != 0) {
		return false;
	}
	fleet->signals = signalfd(-1, &signals, SFD_NONBLOCK | SFD_CLOEXEC);
	return fleet->signals >= 0
		&& epoll_ctl(fleet->epoll, EPOLL_CTL_ADD, fleet->signals, &event) == 0;
}

/* Bytes of memory that the process has now. */
static uint64_t resident(void)
{
	FILE *file = fopen("/proc/self/statm", "r");
	char text[128] = "";
	char *rest = NULL;
	uint64_t pages = 0;

	if (file) {
		if (fgets(text, sizeof(text), file)) {
			(void)strtoull(text, &rest, 10); /* virtual size first, then resident */
			pages = strtoull(rest, NULL, 10);
		}
		fclose(file);
	}
	return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

bool fleet_open(struct fleet *fleet, const struct fleet_setup *setup, size_t number)
{
	const struct options *options = setup->ledger->options;

	*fleet = (struct fleet){
		.options = options,
		.ledger = setup->ledger,
		.board = &setup->ledger->boards[number],
		.console = setup->console,
		.output = setup->output,
		.keyring = setup->keyring,
		.count = setup->ledger->boards[number].count,
		.epoll = -1,
		.signals = -1,
		.started_at = setup->ledger->started_at,
		.tokens_at = common_now_ms(),
		.resident_at_start = resident(),
	};
	fleet->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (fleet->epoll < 0 || !watch_signals(fleet)) {
		perror("mosquitto_ota_fleet: cannot start the event loop");
		return false;
	}
	fleet->downloads = downloads_open(options, fleet->epoll, device_on_download);
	timers_open(&fleet->timers, fleet->count);
	fleet->queue = common_alloc(fleet->count, sizeof(*fleet->queue));
	fleet->devices = common_alloc(fleet->count, sizeof(*fleet->devices));
	for (uint32_t i = 0; i < fleet->count; i++) {
		if (!device_start(&fleet->devices[i], fleet, i)) {
			return false;
		}
		fleet->board->expected -= device_has(&fleet->devices[i], FAULT_OFFLINE);
	}
	fleet->board->started = true;
	return true;
}

void fleet_close(struct fleet *fleet)
{
	fleet->stopping = true;
	for (size_t i = 0; fleet->devices && i < fleet->count; i++) {
		device_stop(&fleet->devices[i]);
	}
	if (fleet->downloads) {
		downloads_close(fleet->downloads);
	}
	timers_close(&fleet->timers);
	free(fleet->queue);
	free(fleet->devices);
	common_free_names(&fleet->names);
	if (fleet->signals >= 0) {
		close(fleet->signals);
	}
	if (fleet->epoll >= 0) {
		close(fleet->epoll);
	}
}

void fleet_queue_connect(struct fleet *fleet, struct device *device)
{
	device->link = LINK_QUEUED;
	if (!device->queued) {
		device->queued = true;
		fleet->queue[(fleet->queue_first + fleet->queue_count++) % fleet->count] = device->index;
	}
}

void fleet_note_connected(struct fleet *fleet, const struct device *device)
{
	struct board *board = fleet->board;

	board->connected++;
	board->greeted += !device->greeted;
	if (board->greeted == board->expected && board->all_connected_ms == 0) {
		board->all_connected_ms = common_now_ms() - fleet->started_at + 1;
	}
}

void fleet_note_failure(struct fleet *fleet, int mosquitto_code)
{
	fleet->board->failed++;
	if (!fleet->complained) {
		fleet->complained = true;
		fprintf(stderr, "mosquitto_ota_fleet: %s:%u: %s; trying again\n", fleet->options->host,
			fleet->options->port,
			mosquitto_code == MOSQ_ERR_ERRNO ? common_error_text(errno)
											 : mosquitto_strerror(mosquitto_code));
	}
}

void fleet_note_refusal(struct fleet *fleet, const char *reason)
{
	if (fleet->board->refused++ == 0) {
		fprintf(stderr, "mosquitto_ota_fleet: the broker says: %s\n", reason);
	}
}

static size_t count_online(const struct fleet *fleet)
{
	size_t online = 0;

	for (size_t i = 0; i < fleet->count; i++) {
		online += fleet->devices[i].link == LINK_ONLINE;
	}
	return online;
}

static void start_connections(struct fleet *fleet, uint64_t now)
{
	const double rate = (double)fleet->options->connect_rate / fleet->options->processes;

	/* At most a twentieth of a second's worth at once, so that a long pause makes no burst. */
	fleet->tokens += (double)(now - fleet->tokens_at) * rate / 1000.0;
	fleet->tokens_at = now;
	if (fleet->tokens > rate / 20.0 + 1.0) {
		fleet->tokens = rate / 20.0 + 1.0;
	}
	while (fleet->queue_count > 0 && fleet->tokens >= 1.0) {
		struct device *device = &fleet->devices[fleet->queue[fleet->queue_first]];

		fleet->queue_first = (fleet->queue_first + 1) % fleet->count;
		fleet->queue_count--;
		device->queued = false;
		if (device->link == LINK_QUEUED) {
			fleet->tokens -= 1.0;
			client_connect(device);
		}
	}
}

/* Keep-alive for a tenth of the fleet at each tick, everyone about once a second. */
static void maintain(struct fleet *fleet)
{
	for (size_t i = 0; i < fleet->count / 10 + 1; i++) {
		client_maintain(&fleet->devices[fleet->maintained]);
		fleet->maintained = (fleet->maintained + 1) % fleet->count;
	}
}

/* Write down how everything stands, for whoever prints it. */
static void look(struct fleet *fleet)
{
	struct board *board = fleet->board;
	struct timespec used = { 0 };
	uint64_t now = resident();
	uint64_t unacked = 0;

	for (size_t i = 0; i < fleet->count; i++) {
		const struct device *device = &fleet->devices[i];
		struct record *record = device->record;
		const char *version = device_version(device);

		record->phase = device->phase;
		record->online = device->link == LINK_ONLINE;
		if (board->version_count == 0 || strcmp(board->versions[record->version], version) != 0) {
			record->version = ledger_version(board, version);
		}
		unacked += device->unacked;
	}
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
	board->unacked = unacked;
	board->bytes = downloads_bytes(fleet->downloads);
	board->cpu_us = (uint64_t)used.tv_sec * 1000000 + (uint64_t)used.tv_nsec / 1000;
	board->resident = now;
	board->grown = now > fleet->resident_at_start ? now - fleet->resident_at_start : 0;
}

/* A link that may just be down when one looks. */
static bool is_unsteady(const struct device *device)
{
	return device_has(device, FAULT_FLAPPING) || device_is(device, PROFILE_FLAKY)
		|| device->fleet->options->profiles.permille[PROFILE_CLONE] > 0;
}

/* Everyone who can connect runs the version, has settled and has been heard by the broker. */
static bool version_reached(const struct fleet *fleet)
{
	size_t settled = 0;

	for (size_t i = 0; i < fleet->count; i++) {
		const struct device *device = &fleet->devices[i];

		if (device->phase == PHASE_OFF || device->phase == PHASE_DARK
			|| device_is(device, PROFILE_CLONE)) {
			continue;
		}
		if (device->phase != PHASE_IDLE || device->unacked > 0
			|| (device->link != LINK_ONLINE && !is_unsteady(device))
			|| strcmp(device_version(device), fleet->options->until_version) != 0) {
			return false;
		}
		settled++;
	}
	return settled > 0;
}

static bool on_signal(struct fleet *fleet)
{
	struct signalfd_siginfo info = { 0 };

	while (read(fleet->signals, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
		if (info.ssi_signo != SIGUSR1) {
			return false;
		}
		if (fleet->console) {
			look(fleet);
			console_table(fleet->console, fleet->ledger);
		}
	}
	return true;
}

/* Wait for events and handle them; false when a signal asks to stop. */
static bool turn(struct fleet *fleet, uint64_t tick)
{
	struct epoll_event events[EVENTS_MAX];
	uint64_t now = common_now_ms();
	uint64_t due = tick;
	uint32_t device = 0;
	enum timer_kind kind = TIMER_KINDS;
	bool going = true;

	due = timers_due(&fleet->timers) < due ? timers_due(&fleet->timers) : due;
	due = downloads_due(fleet->downloads) < due ? downloads_due(fleet->downloads) : due;
	if (fleet->queue_count > 0 && due > now + 2) {
		due = now + 2;
	}
	int count = epoll_wait(fleet->epoll, events, EVENTS_MAX, due > now ? (int)(due - now) : 0);

	for (int i = 0; i < count; i++) {
		uint64_t tag = events[i].data.u64;

		if (tag & signal_epoll_tag) {
			going = on_signal(fleet) && going;
		} else if (tag & download_epoll_tag) {
			downloads_on_socket(fleet->downloads, (int)(tag & INT32_MAX), events[i].events);
		} else if (tag < fleet->count) {
			client_on_events(&fleet->devices[tag], events[i].events);
		}
	}
	now = common_now_ms();
	downloads_on_time(fleet->downloads, now);
	while (!fleet->stopping && timers_next(&fleet->timers, now, &device, &kind)) {
		device_on_timer(&fleet->devices[device], kind);
	}
	return going;
}

/* Reports under way to a broker that is there. */
static bool awaits_acknowledgement(const struct fleet *fleet)
{
	for (size_t i = 0; i < fleet->count; i++) {
		if (fleet->devices[i].link == LINK_ONLINE && fleet->devices[i].unacked > 0) {
			return true;
		}
	}
	return false;
}

/* Begin nothing new and let the broker acknowledge what was said. */
static void settle(struct fleet *fleet)
{
	const uint64_t limit = common_now_ms() + stop_limit_ms;

	fleet->stopping = true;
	for (size_t i = 0; i < fleet->count; i++) {
		device_drop_update(&fleet->devices[i]);
	}
	while (awaits_acknowledgement(fleet) && common_now_ms() < limit) {
		(void)turn(fleet, common_now_ms() + 20);
	}
}

static void leave(struct fleet *fleet)
{
	const uint64_t limit = common_now_ms() + stop_limit_ms;

	for (size_t i = 0; i < fleet->count; i++) {
		struct device *device = &fleet->devices[i];

		if (device->link == LINK_ONLINE) {
			client_disconnect(device);
		}
	}
	while (count_online(fleet) > 0 && common_now_ms() < limit) {
		(void)turn(fleet, common_now_ms() + 20);
	}
}

void fleet_run(struct fleet *fleet)
{
	const uint32_t duration = fleet->options->duration;
	uint64_t tick = common_now_ms() + TICK_MS;
	uint64_t next_look = 0;

	while (turn(fleet, tick)) {
		uint64_t now = common_now_ms();

		start_connections(fleet, now);
		if (now < tick) {
			continue;
		}
		tick = now + TICK_MS;
		maintain(fleet);
		if (now >= next_look) {
			next_look = now + LOOK_MS;
			look(fleet);
		}
		if (fleet->options->until_version) {
			atomic_store(&fleet->board->reached, version_reached(fleet));
		}
		if (fleet->console) {
			console_tick(fleet->console, fleet->ledger);
			if (atomic_load(&fleet->board->reached)) {
				break; /* among several, all wait for all */
			}
		}
		if (duration > 0 && now - fleet->started_at >= (uint64_t)duration * 1000) {
			break;
		}
	}
	settle(fleet);
	look(fleet); /* before the devices leave: it shows who was connected */
	leave(fleet);
}
