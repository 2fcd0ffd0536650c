/* What gateways say for their devices, and what was told without the database. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "fold_internal.h"

enum {
	/* A device whose gateway came back gets this long to show that it has started, before it is told again. */
	RETELL_MS = 2000,
	BOOT_ID_MAX = 128,
};

/* The report's bootId, alive until the batch is over; NULL: it has none that could be kept. */
static const char *boot_id_of(struct fold *fold, const char *json)
{
	cJSON *report = cJSON_Parse(json);
	cJSON *boot_id = cJSON_DetachItemFromObjectCaseSensitive(report, "bootId");

	cJSON_Delete(report);
	if (!cJSON_IsString(boot_id) || boot_id->valuestring[0] == '\0'
		|| strlen(boot_id->valuestring) > BOOT_ID_MAX) {
		cJSON_Delete(boot_id);
		return NULL;
	}
	if (!fold->said) {
		fold->said = cJSON_CreateArray();
	}
	if (!fold->said || !cJSON_AddItemToArray(fold->said, boot_id)) {
		cJSON_Delete(boot_id);
		fold->failed = true;
		return NULL;
	}
	return boot_id->valuestring;
}

/*
 * The broker sees the gateway's sessions, not the device's reboots.  So the device has sessions of its own, which only count:
 * another one begins with another bootId, or after REBOOTING when it reports no bootIds.
 */
static void begin_session(
	struct fold *fold, struct fold_device *device, int64_t at_ms, struct fold_result *done)
{
	const struct update_input input = {
		.kind = UPDATE_IN_SESSION_STARTED, .at_ms = at_ms, .session = device->session + 1
	};

	device->session++;
	(void)fold_advance(fold, device, &input, NULL, done);
}

static void via_report(struct fold *fold, struct fold_device *device, const struct event *event,
	struct fold_result *done)
{
	const char *boot_id = boot_id_of(fold, event->json);
	const char *before = device->boot_id ? device->boot_id : device->old_boot_id;
	struct event report = *event;

	if (boot_id && before && strcmp(boot_id, before) != 0) {
		begin_session(fold, device, event->at_ms, done);
	}
	if (boot_id) {
		device->boot_id = boot_id;
	}
	report.session = device->session;
	fold_report(fold, device, &report, done);
	if (!boot_id && event->status == REPORT_REBOOTING) {
		begin_session(fold, device, event->at_ms, done);
	}
}

void fold_via(struct fold *fold, struct fold_device *device, const struct event *event,
	struct fold_result *done)
{
	bool present = event->session >= fold->session_floor;

	if (!device->known || !device->gateway || strcmp(device->gateway, event->fleet) != 0) {
		fold_audit(fold, event, 0, "denied",
			(const char *const[][2]){ { "client", event->client }, { "topic", event->topic },
				{ "reason", "it is not the gateway of this device" }, { NULL, NULL } });
		return;
	}
	device->touched = true;
	device->seen_ms = event->at_ms;
	if (event->kind == EVENT_DISCONNECTED) {
		/* Its gateway may have gone to another broker, whose events were quicker: then it is connected there. */
		if (device->here || device->connected == 1) {
			device->connected = 0;
			device->listening = 0;
		}
	} else if (present) {
		device->connected = 1;
	}
	if (event->kind == EVENT_REPORT) {
		via_report(fold, device, event, done);
		return;
	}
	fold_audit(fold, event, 0, event_kind_name(event->kind),
		(const char *const[][2]){ { "gateway", event->client }, { NULL, NULL } });
	if (event->kind != EVENT_LISTENING) {
		return;
	}
	if (present) {
		device->listening = 1;
	}
	/* Once in a session of the gateway: what was told in an earlier one may be lost. */
	if (device->rollout && device->facts.state == UPDATE_NOTIFIED && device->retell_ms == 0) {
		device->retell_ms = event->at_ms + RETELL_MS;
		device->update_touched = true;
		device->step_ms = event->at_ms;
	}
}

void fold_told(struct fold *fold, struct fold_device *device, const struct event *event)
{
	char detail[96];

	(void)snprintf(detail, sizeof(detail),
		"{\"attempt\":%" PRId32 ",\"again\":true,\"database\":\"away\"}", event->attempt);
	fold_rows_audit(fold, event->at_ms, device->id, event->rollout, "notified", detail);
	if (device->rollout != event->rollout || device->facts.attempt != event->attempt
		|| device->facts.state != UPDATE_NOTIFIED) {
		return;
	}
	/* Behind a gateway a device has sessions that only count. */
	device->facts.told_session = event->session ? event->session : device->session;
	device->retell_ms = 0;
	device->update_touched = true;
	device->step_ms = event->at_ms;
}
