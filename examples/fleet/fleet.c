#include "fleet.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <mosquitto.h>

#include "client.h"
#include "output.h"

enum {
	EVENTS_MAX = 512,
	TICK_MS = 100
};

static const uint64_t signal_epoll_tag = UINT64_C(1) << 41;
static const uint64_t stop_limit_ms = 3000;

/* A device needs a socket, and one more while it downloads. */
static bool raise_file_limit(const struct options *options)
{
	const rlim_t wanted = (rlim_t)options->devices + options->max_downloads + 64;
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
			"mosquitto_ota_fleet: devices: %u devices need %llu open files and the limit is %llu; "
			"raise it with ulimit -n\n",
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
	sigaddset(&signals, SIGUSR1);
	if (signal(SIGPIPE, SIG_IGN) == SIG_ERR || sigprocmask(SIG_BLOCK, &signals, NULL) != 0) {
		return false;
	}
	fleet->signals = signalfd(-1, &signals, SFD_NONBLOCK | SFD_CLOEXEC);
	return fleet->signals >= 0
		&& epoll_ctl(fleet->epoll, EPOLL_CTL_ADD, fleet->signals, &event) == 0;
}

bool fleet_open(struct fleet *fleet, const struct options *options)
{
	*fleet = (struct fleet){
		.options = options,
		.count = options->devices,
		.epoll = -1,
		.signals = -1,
		.random = options->seed,
		.started_at = common_now_ms(),
	};
	fleet->tokens_at = fleet->started_at;
	fleet->output = output_open(options);
	if (!fleet->output || !raise_file_limit(options)) {
		return false;
	}
	fleet->keyring = options->keys.count ? keyring_load(&options->keys) : NULL;
	if (options->keys.count && !fleet->keyring) {
		return false;
	}
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
		fleet->expected += !device_has(&fleet->devices[i], FAULT_OFFLINE);
	}
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
	output_close(fleet->output);
	keyring_free(fleet->keyring);
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

uint64_t fleet_choose(struct fleet *fleet, struct range range)
{
	return range.low + common_random(&fleet->random) % ((uint64_t)range.high - range.low + 1);
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
	struct fleet_counters *counters = &fleet->counters;

	counters->connected++;
	counters->greeted += !device->greeted;
	if (counters->greeted == fleet->expected && counters->all_connected_ms == 0) {
		counters->all_connected_ms = common_now_ms() - fleet->started_at + 1;
		output_connected(fleet);
	}
}

void fleet_note_failure(struct fleet *fleet, int mosquitto_code)
{
	fleet->counters.failed++;
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
	if (fleet->counters.refused++ == 0) {
		fprintf(stderr, "mosquitto_ota_fleet: the broker says: %s\n", reason);
	}
}

size_t fleet_count_online(const struct fleet *fleet)
{
	size_t online = 0;

	for (size_t i = 0; i < fleet->count; i++) {
		online += fleet->devices[i].link == LINK_ONLINE;
	}
	return online;
}

static void start_connections(struct fleet *fleet, uint64_t now)
{
	const double rate = fleet->options->connect_rate;

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

/* Everyone who can connect runs the version, has settled and has been heard by the broker. */
static bool version_reached(const struct fleet *fleet)
{
	size_t settled = 0;

	for (size_t i = 0; i < fleet->count; i++) {
		const struct device *device = &fleet->devices[i];

		if (device->phase == PHASE_OFF || device->phase == PHASE_DARK) {
			continue;
		}
		if (device->phase != PHASE_IDLE || device->unacked > 0
			|| (device->link != LINK_ONLINE && !device_has(device, FAULT_FLAPPING))
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
		output_table(fleet);
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
	while (fleet_count_online(fleet) > 0 && common_now_ms() < limit) {
		(void)turn(fleet, common_now_ms() + 20);
	}
}

void fleet_run(struct fleet *fleet)
{
	const uint32_t duration = fleet->options->duration;
	uint64_t tick = common_now_ms() + TICK_MS;

	while (turn(fleet, tick)) {
		uint64_t now = common_now_ms();

		start_connections(fleet, now);
		if (now < tick) {
			continue;
		}
		tick = now + TICK_MS;
		maintain(fleet);
		output_progress(fleet);
		if (fleet->options->until_version && version_reached(fleet)) {
			fleet->reached = true;
			break;
		}
		if (duration > 0 && now - fleet->started_at >= (uint64_t)duration * 1000) {
			break;
		}
	}
	settle(fleet);
	output_finish(fleet); /* before the devices leave: it shows who was connected */
	leave(fleet);
}
