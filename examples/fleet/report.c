#include "report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "client.h"
#include "device.h"
#include "fleet.h"
#include "output.h"

static const struct {
	const char *name;
	bool outcome; /* the end of an update */
	bool update;  /* speaks of one update, so it names it */
	enum event event;
} kinds[REPORT_COUNT] = {
	[REPORT_NONE] = { "", false, false, EVENT_COUNT },
	[REPORT_IDLE] = { "IDLE", false, false, EVENT_COUNT },
	[REPORT_DOWNLOADING] = { "DOWNLOADING", false, true, EVENT_COUNT },
	[REPORT_VERIFYING] = { "VERIFYING", false, true, EVENT_COUNT },
	[REPORT_APPLYING] = { "APPLYING", false, true, EVENT_COUNT },
	[REPORT_REBOOTING] = { "REBOOTING", false, true, EVENT_COUNT },
	[REPORT_SUCCESS] = { "SUCCESS", true, true, EVENT_SUCCESS },
	[REPORT_FAILED] = { "FAILED", true, true, EVENT_FAILED },
	[REPORT_ROLLED_BACK] = { "ROLLED_BACK", true, true, EVENT_ROLLED_BACK },
	[REPORT_REJECTED] = { "REJECTED", true, true, EVENT_REJECTED },
	[REPORT_DEFERRED] = { "DEFERRED", true, true, EVENT_DEFERRED },
};

const char *report_status_name(enum report_status status)
{
	return kinds[status].name;
}

static void add_checks(cJSON *json, enum report_status status)
{
	if (status != REPORT_SUCCESS && status != REPORT_ROLLED_BACK) {
		return;
	}
	cJSON *checks = cJSON_AddObjectToObject(json, "checks");

	cJSON_AddBoolToObject(checks, "mqttConnected", true);
	cJSON_AddBoolToObject(checks, "imageIntact", true);
	cJSON_AddBoolToObject(checks, "selfTest", status == REPORT_SUCCESS);
}

static void add_details(
	const struct device *device, cJSON *json, enum report_status status, enum update_error error)
{
	const struct options *options = device->fleet->options;
	const struct update *update = device->update;

	if (error != UPDATE_OK) {
		cJSON_AddStringToObject(json, "error", verify_error_name(error));
	}
	if (status == REPORT_DOWNLOADING && update && update->download) {
		cJSON_AddNumberToObject(json, "progress",
			(double)(download_received(update->download) * 100 / update->notice.size));
	}
	if (status == REPORT_DEFERRED) {
		cJSON_AddNumberToObject(json, "retryAfter", options->retry_after);
	}
	if (kinds[status].update && device->slots.rollout > 0) {
		cJSON_AddNumberToObject(json, "rollout", (double)device->slots.rollout);
	}
	if (kinds[status].update && device->slots.attempt > 0) {
		cJSON_AddNumberToObject(json, "attempt", device->slots.attempt);
	}
	if (status == REPORT_SUCCESS && device->previous) {
		cJSON_AddStringToObject(json, "previousVersion", device->previous);
	}
	if (status == REPORT_ROLLED_BACK && device->target) {
		cJSON_AddStringToObject(json, "failedVersion", device->target);
	}
	if (options->hardware) {
		cJSON_AddStringToObject(json, "hardware", options->hardware);
	}
	cJSON_AddStringToObject(json, "slot", device->slots.running ? "b" : "a");
	cJSON_AddStringToObject(json, "bootId", device->boot_id);
}

static void remember(struct device *device, int message, const char *text)
{
	size_t size = strlen(text) + 1;
	struct sent_report *sent = common_alloc(1, sizeof(*sent) + size);

	sent->message = message;
	memcpy(sent->text, text, size);
	sent->next = device->sent;
	device->sent = sent;
}

void report_acknowledged(struct device *device, int message)
{
	struct sent_report **link = &device->sent;

	while (*link && (*link)->message != message) {
		link = &(*link)->next;
	}
	if (*link) {
		struct sent_report *sent = *link;

		output_report(device, sent->text);
		*link = sent->next;
		free(sent);
	}
}

void report_forget(struct device *device)
{
	while (device->sent) {
		struct sent_report *sent = device->sent;

		device->sent = sent->next;
		free(sent);
	}
}

/* Publish for the device `id`, and remember it for --reports. */
static int publish_text(struct device *device, const char *id, const char *text)
{
	int message = client_publish(device, id, text, strlen(text));

	if (message != 0 && device->fleet->options->reports) {
		remember(device, message, text);
	}
	return message;
}

static const char *version_to_tell(const struct device *device)
{
	return device->claimed ? device->claimed : device_version(device);
}

/* What a broken or hostile device may say instead of a report. */
static int publish_garbage(struct device *device, const char *id)
{
	static const char *const garbage[] = {
		"SUCCESS",
		"{\"version\":\"2.0.0\",\"status\":\"SUCC",
		"[\"2.0.0\",\"SUCCESS\"]",
		"{\"version\":2,\"status\":\"SUCCESS\"}",
		"{\"version\":\"2.0.0\",\"version\":\"1.0.0\",\"status\":\"SUCCESS\"}",
		"{\"version\":\"2.0.0\",\"status\":\"DONE\"}",
		"{\"version\":\"2.0.0\",\"status\":\"SUCCESS\",\"a\":[[[[[[[[[[[[0]]]]]]]]]]]]}",
	};
	const struct range all = { 0, sizeof(garbage) / sizeof(garbage[0]) - 1 };
	const char *text = garbage[device_choose(device, CHOICE_GARBAGE, all)];

	return client_publish(device, id, text, strlen(text));
}

static int publish(struct device *device, enum report_status status, enum update_error error)
{
	char id[DEVICE_ID_SIZE] = "";
	char time[COMMON_TIME_SIZE] = "";
	int message = 0;

	device_client_id(device, id, sizeof(id));
	if (device_lies(device, LIE_MALFORMED) && kinds[status].update) {
		return publish_garbage(device, id);
	}
	cJSON *json = cJSON_CreateObject();

	common_format_time(time, sizeof(time));
	cJSON_AddStringToObject(json, "version", version_to_tell(device));
	cJSON_AddStringToObject(json, "status", kinds[status].name);
	add_checks(json, status);
	if (!device_has(device, FAULT_MINIMAL)) {
		add_details(device, json, status, error);
	}
	cJSON_AddStringToObject(json, "ts", time);

	char *text = cJSON_PrintUnformatted(json);

	if (text) {
		message = publish_text(device, id, text);
	}
	cJSON_free(text);
	cJSON_Delete(json);
	return message;
}

void report_for_another(struct device *device)
{
	char id[DEVICE_ID_SIZE] = "";
	char time[COMMON_TIME_SIZE] = "";
	char text[IMAGE_VERSION_MAX + 128] = "";

	device_neighbour(device, id, sizeof(id));
	common_format_time(time, sizeof(time));
	(void)snprintf(text, sizeof(text),
		"{\"version\":\"%s\",\"status\":\"SUCCESS\",\"checks\":{},\"ts\":\"%s\"}", device->target,
		time);
	output_event(device, EVENT_LIE, lie_name(LIE_OTHER));
	(void)publish_text(device, id, text);
}

/* A success that is none: what is said in place of SUCCESS, or of any report. */
static bool is_lie(const struct device *device, enum report_status status)
{
	return device_lies(device, LIE_MALFORMED)
		|| (status == REPORT_SUCCESS
			&& (device_lies(device, LIE_EARLY) || device_lies(device, LIE_VERSION)));
}

int report_send(struct device *device, enum report_status status, enum update_error error)
{
	device->reported = (uint8_t)status;
	device->reported_error = (uint8_t)error;
	if (kinds[status].outcome && is_lie(device, status)) {
		output_event(device, EVENT_LIE, lie_name((enum lie)device->record->detail));
	} else if (kinds[status].outcome) {
		output_event(device, kinds[status].event, verify_error_name(error));
	}
	if (status == REPORT_SUCCESS && device_lies(device, LIE_VERSION)) {
		device->claimed = common_intern(&device->fleet->names, "99.99.99");
	}
	if (device_has(device, FAULT_MINIMAL) && kinds[status].update && !kinds[status].outcome) {
		return 0;
	}
	return publish(device, status, error);
}

void report_repeat(struct device *device)
{
	enum report_status status = (enum report_status)device->reported;

	if (status == REPORT_NONE) {
		status = REPORT_IDLE;
	}
	if (!device_has(device, FAULT_MINIMAL) || kinds[status].outcome || !kinds[status].update) {
		(void)publish(device, status, (enum update_error)device->reported_error);
	}
}
