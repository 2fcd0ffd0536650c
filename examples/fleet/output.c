#include "output.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cjson/cJSON.h>

#include "common.h"
#include "device.h"
#include "fleet.h"

enum {
	VERSIONS_MAX = 16
};

static const uint64_t live_interval_ms = 500;
static const uint64_t plain_interval_ms = 5000;

struct output {
	FILE *csv;
	FILE *notices;
	FILE *reports;
	uint64_t next;
	bool quiet;
	bool live; /* a terminal: one line that is rewritten */
};

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

static FILE *open_file(const char *option, const char *name, const char *mode)
{
	FILE *file = fopen(name, mode);

	if (!file) {
		fprintf(stderr, "mosquitto_ota_fleet: %s: cannot write \"%s\": %s\n", option, name,
			common_error_text(errno));
		return NULL;
	}
	setvbuf(file, NULL, _IOLBF, BUFSIZ); /* whole lines, for those who read while it runs */
	return file;
}

struct output *output_open(const struct options *options)
{
	struct output *output = common_alloc(1, sizeof(*output));

	output->quiet = options->quiet;
	output->live = isatty(STDOUT_FILENO) == 1;
	output->next = common_now_ms() + live_interval_ms;
	output->csv = options->csv ? open_file("csv", options->csv, "w") : NULL;
	output->notices = options->notices ? open_file("notices", options->notices, "a") : NULL;
	output->reports = options->reports ? open_file("reports", options->reports, "a") : NULL;
	if ((options->csv && !output->csv) || (options->notices && !output->notices)
		|| (options->reports && !output->reports)) {
		output_close(output);
		return NULL;
	}
	if (output->csv) {
		fputs("device,time,rollout,attempt,version,outcome,error\n", output->csv);
	}
	return output;
}

void output_close(struct output *output)
{
	if (!output) {
		return;
	}
	if (output->csv) {
		fclose(output->csv);
	}
	if (output->notices) {
		fclose(output->notices);
	}
	if (output->reports) {
		fclose(output->reports);
	}
	free(output);
}

static void count_event(struct fleet_counters *counters, const char *name, const char *error)
{
	size_t i = 0;

	while (i < counters->event_count
		&& (strcmp(counters->events[i].name, name) != 0
			|| strcmp(counters->events[i].error, error) != 0)) {
		i++;
	}
	if (i == counters->event_count) {
		if (i == FLEET_EVENTS_MAX) {
			return;
		}
		counters->events[i] = (struct event_count){ .name = name, .error = error };
		counters->event_count++;
	}
	counters->events[i].count++;
}

void output_event(struct device *device, const char *name, const char *error)
{
	const struct output *output = device->fleet->output;
	char id[DEVICE_ID_SIZE] = "";
	char time[COMMON_TIME_SIZE] = "";

	count_event(&device->fleet->counters, name, error);
	if (!output->csv) {
		return;
	}
	device_name(device, id, sizeof(id));
	common_format_time(time, sizeof(time));
	fprintf(output->csv, "%s,%s,%" PRId64 ",%" PRIu32 ",%s,%s,%s\n", id, time,
		device->slots.rollout, device->slots.attempt, device->target ? device->target : "", name,
		error);
}

void output_notice(const struct device *device, const char *topic, const struct notice *notice,
	bool duplicate, bool retained)
{
	static const char *const kinds[] = {
		[NOTICE_INVALID] = "invalid",
		[NOTICE_UPDATE] = "notice",
		[NOTICE_RECALL] = "recall",
	};
	const struct output *output = device->fleet->output;
	char id[DEVICE_ID_SIZE] = "";
	char time[COMMON_TIME_SIZE] = "";

	if (!output->notices) {
		return;
	}
	device_name(device, id, sizeof(id));
	common_format_time(time, sizeof(time));

	cJSON *json = cJSON_CreateObject();

	cJSON_AddStringToObject(json, "ts", time);
	cJSON_AddStringToObject(json, "device", id);
	cJSON_AddStringToObject(json, "topic", topic);
	cJSON_AddStringToObject(json, "kind", kinds[notice->kind]);
	cJSON_AddBoolToObject(json, "duplicate", duplicate);
	cJSON_AddBoolToObject(json, "retained", retained);
	cJSON_AddNumberToObject(json, "rollout", (double)notice->rollout);
	cJSON_AddNumberToObject(json, "attempt", notice->attempt);
	cJSON_AddStringToObject(json, "version", notice->version);
	if (notice->kind == NOTICE_INVALID) {
		cJSON_AddStringToObject(json, "why", notice->why);
	}
	if (notice->sha256_hex) {
		cJSON_AddStringToObject(json, "sha256", notice->sha256_hex);
	}
	cJSON_AddBoolToObject(json, "signature", notice->signature != NULL);
	cJSON_AddBoolToObject(json, "manifest", notice->manifest != NULL);
	cJSON_AddStringToObject(json, "running", device_version(device));
	cJSON_AddStringToObject(json, "phase", phase_names[device->phase]);
	cJSON_AddStringToObject(json, "bootId", device->boot_id);

	char *text = cJSON_PrintUnformatted(json);

	if (text) {
		fprintf(output->notices, "%s\n", text);
	}
	cJSON_free(text);
	cJSON_Delete(json);
}

void output_report(const struct device *device, const char *text)
{
	const struct output *output = device->fleet->output;
	char id[DEVICE_ID_SIZE] = "";
	char time[COMMON_TIME_SIZE] = "";

	if (output->reports) {
		device_name(device, id, sizeof(id));
		common_format_time(time, sizeof(time));
		fprintf(output->reports, "{\"acknowledged\":\"%s\",\"device\":\"%s\",\"report\":%s}\n",
			time, id, text);
	}
}

/* Versions in the order they are met; those past VERSIONS_MAX share the last place. */
static size_t count_versions(const struct fleet *fleet, struct version_count *versions)
{
	size_t used = 0;

	for (size_t i = 0; i < fleet->count; i++) {
		const struct device *device = &fleet->devices[i];
		const char *version = device_version(device);
		size_t at = 0;

		while (at < used && versions[at].version != version) {
			at++;
		}
		if (at == VERSIONS_MAX) {
			at = VERSIONS_MAX - 1;
			versions[at].version = "others";
		} else if (at == used) {
			versions[used++] = (struct version_count){ .version = version };
		}
		versions[at].devices++;
		versions[at].online += device->link == LINK_ONLINE;
	}
	return used;
}

static void count_phases(const struct fleet *fleet, size_t *phases)
{
	for (size_t i = 0; i < fleet->count; i++) {
		phases[fleet->devices[i].phase]++;
	}
}

static void print_line(const struct fleet *fleet)
{
	struct version_count versions[VERSIONS_MAX] = { { 0 } };
	size_t phases[PHASE_COUNT] = { 0 };
	size_t used = count_versions(fleet, versions);

	count_phases(fleet, phases);
	printf("%5.1f s  %zu/%zu connected |", (double)(common_now_ms() - fleet->started_at) / 1000.0,
		fleet_count_online(fleet), fleet->count);
	for (size_t i = 0; i < PHASE_COUNT; i++) {
		if (phases[i] > 0) {
			printf(" %s %zu", phase_names[i], phases[i]);
		}
	}
	fputs(" |", stdout);
	for (size_t i = 0; i < used; i++) {
		printf(" %s: %zu", versions[i].version, versions[i].devices);
	}
}

void output_progress(struct fleet *fleet)
{
	struct output *output = fleet->output;
	const uint64_t now = common_now_ms();

	if (output->quiet || now < output->next) {
		return;
	}
	output->next = now + (output->live ? live_interval_ms : plain_interval_ms);
	if (output->live) {
		fputs("\r\033[K", stdout);
	}
	print_line(fleet);
	if (!output->live) {
		fputc('\n', stdout);
	}
	fflush(stdout);
}

void output_connected(struct fleet *fleet)
{
	if (!fleet->output->quiet) {
		printf("%sall %zu devices connected after %.2f s\n", fleet->output->live ? "\r\033[K" : "",
			fleet->expected, (double)fleet->counters.all_connected_ms / 1000.0);
		fflush(stdout);
	}
}

static long resident_kib(void)
{
	FILE *file = fopen("/proc/self/statm", "r");
	char text[128] = "";
	char *rest = NULL;
	long pages = 0;

	if (file) {
		if (fgets(text, sizeof(text), file)) {
			(void)strtol(text, &rest, 10); /* virtual size first, then resident */
			pages = strtol(rest, NULL, 10);
		}
		fclose(file);
	}
	return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

void output_table(struct fleet *fleet)
{
	const struct fleet_counters *counters = &fleet->counters;
	struct version_count versions[VERSIONS_MAX] = { { 0 } };
	size_t used = count_versions(fleet, versions);

	if (fleet->output->live) {
		fputs("\r\033[K", stdout);
	}
	print_line(fleet);
	printf("\n\n  %-24s %10s %10s\n", "version", "devices", "connected");
	for (size_t i = 0; i < used; i++) {
		printf(
			"  %-24s %10zu %10zu\n", versions[i].version, versions[i].devices, versions[i].online);
	}
	printf("\n  %-24s %10s  %s\n", "event", "count", "error");
	for (size_t i = 0; i < counters->event_count; i++) {
		printf("  %-24s %10" PRIu64 "  %s\n", counters->events[i].name, counters->events[i].count,
			counters->events[i].error);
	}
	size_t unacked = 0;

	for (size_t i = 0; i < fleet->count; i++) {
		unacked += fleet->devices[i].unacked;
	}
	printf("\n  connections %" PRIu64 " (lost %" PRIu64 ", failed %" PRIu64 ", refused %" PRIu64
		   "), downloaded %" PRIu64 " bytes (resumed %" PRIu64 " times),\n"
		   "  reports not acknowledged %zu, resident %ld KiB\n",
		counters->connected, counters->lost, counters->failed, counters->refused,
		downloads_bytes(fleet->downloads), counters->resumed, unacked, resident_kib());
	fflush(stdout);
}

void output_finish(struct fleet *fleet)
{
	if (!fleet->output->quiet) {
		output_table(fleet);
	}
}
