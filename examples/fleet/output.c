#include "output.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include <cjson/cJSON.h>

#include "common.h"
#include "console.h"
#include "device.h"
#include "fleet.h"

struct output {
	FILE *csv;
	FILE *events;
	FILE *notices;
	FILE *reports;
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

	output->csv = options->csv ? open_file("csv", options->csv, "w") : NULL;
	output->events = options->events ? open_file("events", options->events, "w") : NULL;
	output->notices = options->notices ? open_file("notices", options->notices, "a") : NULL;
	output->reports = options->reports ? open_file("reports", options->reports, "a") : NULL;
	if ((options->csv && !output->csv) || (options->events && !output->events)
		|| (options->notices && !output->notices) || (options->reports && !output->reports)) {
		output_close(output);
		return NULL;
	}
	if (output->events) {
		/* Processes append to one file; what comes before them is in it before they begin. */
		fputs("device,time,rollout,attempt,version,outcome,error\n", output->events);
		if (!freopen(options->events, "a", output->events)) {
			fprintf(stderr, "mosquitto_ota_fleet: events: cannot write \"%s\": %s\n",
				options->events, common_error_text(errno));
			output->events = NULL;
			output_close(output);
			return NULL;
		}
		setvbuf(output->events, NULL, _IOLBF, BUFSIZ);
	}
	return output;
}

FILE *output_csv(const struct output *output)
{
	return output->csv;
}

void output_close(struct output *output)
{
	if (!output) {
		return;
	}
	if (output->csv) {
		fclose(output->csv);
	}
	if (output->events) {
		fclose(output->events);
	}
	if (output->notices) {
		fclose(output->notices);
	}
	if (output->reports) {
		fclose(output->reports);
	}
	free(output);
}

void output_event(struct device *device, enum event event, const char *error)
{
	const struct output *output = device->fleet->output;
	char id[DEVICE_ID_SIZE] = "";
	char time[COMMON_TIME_SIZE] = "";

	ledger_note(device->fleet->board, device->record, event, error);
	if (!output->events) {
		return;
	}
	device_name(device, id, sizeof(id));
	common_format_time(time, sizeof(time));
	fprintf(output->events, "%s,%s,%" PRId64 ",%" PRIu32 ",%s,%s,%s\n", id, time,
		device->slots.rollout, device->slots.attempt, device->target ? device->target : "",
		ledger_event_name(event), error);
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
	cJSON_AddStringToObject(json, "phase", console_phase_name(device->phase));
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
