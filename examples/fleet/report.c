#include "report.h"

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
} kinds[REPORT_COUNT] = {
	[REPORT_NONE] = { "", false, false },
	[REPORT_IDLE] = { "IDLE", false, false },
	[REPORT_DOWNLOADING] = { "DOWNLOADING", false, true },
	[REPORT_VERIFYING] = { "VERIFYING", false, true },
	[REPORT_APPLYING] = { "APPLYING", false, true },
	[REPORT_REBOOTING] = { "REBOOTING", false, true },
	[REPORT_SUCCESS] = { "SUCCESS", true, true },
	[REPORT_FAILED] = { "FAILED", true, true },
	[REPORT_ROLLED_BACK] = { "ROLLED_BACK", true, true },
	[REPORT_REJECTED] = { "REJECTED", true, true },
	[REPORT_DEFERRED] = { "DEFERRED", true, true },
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

static int publish(struct device *device, enum report_status status, enum update_error error)
{
	cJSON *json = cJSON_CreateObject();
	char time[COMMON_TIME_SIZE] = "";
	int message = 0;

	common_format_time(time, sizeof(time));
	cJSON_AddStringToObject(json, "version", device_version(device));
	cJSON_AddStringToObject(json, "status", kinds[status].name);
	add_checks(json, status);
	if (!device_has(device, FAULT_MINIMAL)) {
		add_details(device, json, status, error);
	}
	cJSON_AddStringToObject(json, "ts", time);

	char *text = cJSON_PrintUnformatted(json);

	if (text) {
		message = client_publish(device, text, strlen(text));
		if (message != 0 && device->fleet->options->reports) {
			remember(device, message, text);
		}
	}
	cJSON_free(text);
	cJSON_Delete(json);
	return message;
}

int report_send(struct device *device, enum report_status status, enum update_error error)
{
	device->reported = (uint8_t)status;
	device->reported_error = (uint8_t)error;
	if (kinds[status].outcome) {
		output_event(device, kinds[status].name, verify_error_name(error));
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
