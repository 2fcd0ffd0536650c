#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client.h"
#include "device.h"
#include "fleet.h"
#include "output.h"

static const struct range at_once = { 0, 0 };
static const struct range acknowledgement_limit = { 3000, 3000 };

void device_drop_update(struct device *device)
{
	if (device->update) {
		download_free(device->update->download);
		notice_free(&device->update->notice);
		free(device->update);
		device->update = NULL;
	}
}

static void fail(struct device *device, enum update_error error)
{
	(void)report_send(device, REPORT_FAILED, error);
	device_drop_update(device);
	timers_cancel(&device->fleet->timers, device->index, TIMER_PHASE);
	device->phase = PHASE_IDLE;
}

/* The same rollout and attempt is the same notice; without them, the same version and file. */
static uint64_t notice_key(const struct notice *notice)
{
	char text[96] = "";

	if (notice->rollout == 0) {
		return common_hash(1, notice->version, notice->sha256_hex);
	}
	(void)snprintf(text, sizeof(text), "%" PRId64 "/%" PRIu32, notice->rollout, notice->attempt);
	return common_hash(2, "rollout", text);
}

/* True when a notice cannot be taken up any more or yet. */
static bool is_committed(const struct device *device)
{
	return device->phase >= PHASE_APPLYING;
}

static void begin(struct device *device, struct notice *notice, int64_t sequence)
{
	if (device->update) {
		output_event(device, EVENT_SUPERSEDED, "");
		device_drop_update(device);
	}
	device->update = common_alloc(1, sizeof(*device->update));
	device->update->notice = *notice;
	device->update->sequence = sequence;
	*notice = (struct notice){ .kind = NOTICE_INVALID }; /* moved */
	device_enter(device, PHASE_WAITING, device->fleet->options->download_delay);
}

static bool already_runs(const struct device *device, const struct notice *notice)
{
	const struct slot *slot = slots_running(&device->slots);

	return strcmp(slot->version, notice->version) == 0
		&& memcmp(slot->sha256, notice->sha256, sizeof(slot->sha256)) == 0;
}

static void take_notice(struct device *device, struct notice *notice)
{
	struct fleet *fleet = device->fleet;
	const struct slot *slot = slots_running(&device->slots);
	int64_t sequence = slot->sequence;

	device->key = notice_key(notice);
	device->slots.rollout = notice->rollout;
	device->slots.attempt = notice->attempt;
	device->target = common_intern(&fleet->names, notice->version);
	device->previous = slot->version;
	ledger_begin(device->record, notice->rollout, notice->attempt);
	output_event(device, EVENT_NOTICE, "");
	if (device_has(device, FAULT_SILENT)) {
		output_event(device, EVENT_SILENT, "");
		return;
	}
	if (device_has(device, FAULT_REJECT)) {
		(void)report_send(device, REPORT_REJECTED, UPDATE_DECLINED);
		return;
	}
	if (device_has(device, FAULT_DEFER)) {
		device->faults &= ~(1u << FAULT_DEFER);
		device->key = 0; /* the same notice is welcome later */
		(void)report_send(device, REPORT_DEFERRED, UPDATE_BUSY);
		return;
	}
	if (already_runs(device, notice)) {
		(void)report_send(device, REPORT_SUCCESS, UPDATE_OK);
		return;
	}
	enum update_error error =
		verify_notice(fleet->keyring, fleet->options, notice, sequence, &sequence);

	if (error != UPDATE_OK) {
		fail(device, error);
		return;
	}
	begin(device, notice, sequence);
}

/* A different update while one is past the point of return: ask again later. */
static void postpone_notice(struct device *device, const struct notice *notice)
{
	const int64_t rollout = device->slots.rollout;
	const uint32_t attempt = device->slots.attempt;
	const uint8_t reported = device->reported;
	const uint8_t reported_error = device->reported_error;

	device->slots.rollout = notice->rollout;
	device->slots.attempt = notice->attempt;
	(void)report_send(device, REPORT_DEFERRED, UPDATE_BUSY);
	device->slots.rollout = rollout;
	device->slots.attempt = attempt;
	device->reported = reported;
	device->reported_error = reported_error;
}

static void take_recall(struct device *device, const struct notice *notice)
{
	const bool same_rollout = notice->rollout != 0 && device->slots.rollout != 0
		? notice->rollout == device->slots.rollout
		: device->target && strcmp(device->target, notice->version) == 0;

	if (!same_rollout || (!device->update && device->phase == PHASE_IDLE)) {
		output_event(device, EVENT_RECALL, "NOTHING_TO_RECALL");
		if (same_rollout) {
			device->key = 0;
		}
		return;
	}
	if (is_committed(device)) {
		output_event(device, EVENT_RECALL, "TOO_LATE");
		return;
	}
	if (device_has(device, FAULT_IGNORE_RECALL)) {
		output_event(device, EVENT_RECALL, "IGNORED");
		return;
	}
	output_event(device, EVENT_CANCELLED, "");
	device_drop_update(device);
	timers_cancel(&device->fleet->timers, device->index, TIMER_PHASE);
	device->phase = PHASE_IDLE;
	device->key = 0; /* a resumed rollout may ask again with the same attempt */
	(void)report_send(device, REPORT_IDLE, UPDATE_OK);
}

void device_on_message(
	struct device *device, const char *topic, const void *payload, size_t size, bool retained)
{
	struct notice notice = { .kind = NOTICE_INVALID };
	bool duplicate = false;

	notice_parse(payload, size, &notice);
	duplicate = notice.kind == NOTICE_UPDATE && notice_key(&notice) == device->key;
	output_notice(device, topic, &notice, duplicate, retained);
	if (notice.kind == NOTICE_RECALL) {
		take_recall(device, &notice);
	} else if (notice.kind == NOTICE_INVALID) {
		output_event(device, EVENT_INVALID, notice.why);
		if (device->phase == PHASE_IDLE && !device_has(device, FAULT_SILENT)) {
			device->slots.rollout = notice.rollout;
			device->slots.attempt = notice.attempt;
			(void)report_send(device, REPORT_FAILED, UPDATE_BAD_NOTICE);
		}
	} else if (duplicate) {
		output_event(device, EVENT_DUPLICATE, "");
		/* On trial there is nothing to say yet; a silent device never has anything. */
		if (device->phase != PHASE_TRIAL && !device_has(device, FAULT_SILENT)) {
			report_repeat(device);
		}
	} else if (is_committed(device)) {
		postpone_notice(device, &notice);
	} else {
		take_notice(device, &notice);
	}
	notice_free(&notice);
}

/* Ask for the next range; a flaky link may break it off in the middle. */
static void ask_range(struct device *device)
{
	const struct options *options = device->fleet->options;
	const struct range permille = { 0, 999 };
	uint64_t allowed = UINT64_MAX;

	if (device_is(device, PROFILE_FLAKY)
		&& device_choose(device, CHOICE_TRANSFER, permille) < options->flaky_break_permille) {
		uint64_t size = device->update->notice.size;
		uint32_t most = (uint32_t)(size < options->chunk ? size : options->chunk);

		allowed = device_choose(device, CHOICE_TRANSFER, (struct range){ 1, most });
	}
	download_next(device->update->download, allowed);
}

/* Nothing of it is true. */
static void claim_success(struct device *device)
{
	device->claimed = device->target;
	(void)report_send(device, REPORT_SUCCESS, UPDATE_OK);
	device_drop_update(device);
	device->phase = PHASE_IDLE;
}

static void start_download(struct device *device)
{
	struct update *update = device->update;
	char folder[DEVICE_FOLDER_SIZE] = "";
	char part[DEVICE_FOLDER_SIZE + 16] = "";
	const char *place = device_folder(device, folder, sizeof(folder));

	if (device_dies(device, DEATH_TOLD)) {
		return;
	}
	if (device_lies(device, LIE_EARLY)) {
		claim_success(device);
		return;
	}
	if (device_lies(device, LIE_OTHER)) {
		report_for_another(device);
	}
	if (place) {
		(void)snprintf(part, sizeof(part), "%s/download.part", place);
	}
	update->download = download_create(device->fleet->downloads,
		&(struct download_order){
			.owner = device,
			.notice = &update->notice,
			.part = place ? part : NULL,
			.bytes = &device->record->bytes,
			.rate = device_is(device, PROFILE_SLOW) ? device->fleet->options->slow_rate : 0,
			.corrupt = device_has(device, FAULT_CORRUPT),
		});
	if (!update->download) {
		fail(device, UPDATE_SLOT_WRITE_FAILED);
		return;
	}
	device->phase = PHASE_DOWNLOADING;
	(void)report_send(device, REPORT_DOWNLOADING, UPDATE_OK);
	ask_range(device);
}

/* Everything has arrived: is it what was promised and signed? */
static void check_image(struct device *device)
{
	const struct update *update = device->update;
	const unsigned char *digest = download_digest(update->download);

	(void)report_send(device, REPORT_VERIFYING, UPDATE_OK);
	if (device_dies(device, DEATH_VERIFYING)) {
		return;
	}
	if (memcmp(digest, update->notice.sha256, COMMON_SHA256_SIZE) != 0) {
		fail(device, UPDATE_HASH_MISMATCH);
		return;
	}
	enum update_error error = verify_artifact(device->fleet->keyring, &update->notice, digest);

	if (error != UPDATE_OK) {
		fail(device, error);
		return;
	}
	(void)report_send(device, REPORT_APPLYING, UPDATE_OK);
	device_enter(device, PHASE_APPLYING, device->fleet->options->apply_delay);
}

static void apply_image(struct device *device)
{
	const struct update *update = device->update;
	struct image_header header = { 0 };
	char folder[DEVICE_FOLDER_SIZE] = "";
	char part[DEVICE_FOLDER_SIZE + 16] = "";
	const char *place = device_folder(device, folder, sizeof(folder));

	if (device_dies(device, DEATH_APPLYING)) {
		return;
	}
	if (device_has(device, FAULT_POWERCUT)) {
		device->faults &= ~(1u << FAULT_POWERCUT);
		output_event(device, EVENT_POWERCUT, "");
		device_power_off(device, false);
		return;
	}
	download_header(update->download, &header);

	struct slot slot = {
		.version = common_intern(
			&device->fleet->names, header.version[0] ? header.version : update->notice.version),
		.sequence = update->sequence,
		.size = update->notice.size,
		.behaviour = (uint8_t)header.behaviour,
		.failrate = header.failrate,
		.attempts = (uint8_t)device->fleet->options->boot_attempts,
	};

	memcpy(slot.sha256, update->notice.sha256, sizeof(slot.sha256));
	if (place) {
		(void)snprintf(part, sizeof(part), "%s/download.part", place);
	}
	if (!slots_stage(&device->slots, place, part, &slot)) {
		fail(device, UPDATE_SLOT_WRITE_FAILED);
		return;
	}
	device->awaited = report_send(device, REPORT_REBOOTING, UPDATE_OK);
	device_enter(device, PHASE_REBOOTING, device->awaited ? acknowledgement_limit : at_once);
}

static void continue_download(struct device *device)
{
	struct update *update = device->update;
	const struct options *options = device->fleet->options;
	uint32_t quarter = (uint32_t)(download_received(update->download) * 4 / update->notice.size);

	if (options->progress && quarter > update->quarter) {
		update->quarter = quarter;
		(void)report_send(device, REPORT_DOWNLOADING, UPDATE_OK);
	}
	if (device_has(device, FAULT_SLOW)) {
		device_enter(device, PHASE_DOWNLOADING, options->slow_delay);
	} else if (device_is(device, PROFILE_SLOW)) {
		uint32_t pause = download_pause_ms(update->download);

		device_enter(device, PHASE_DOWNLOADING, (struct range){ pause, pause });
	} else if (device->stalled) {
		device_enter(device, PHASE_DOWNLOADING, at_once); /* when the link lets it */
	} else {
		ask_range(device);
	}
}

void device_on_download(void *owner, enum download_event event, enum update_error error)
{
	struct device *device = owner;

	if ((event == DOWNLOAD_CHUNK || event == DOWNLOAD_DONE)
		&& device_dies(device, DEATH_DOWNLOADING)) {
		return;
	}
	switch (event) {
	case DOWNLOAD_CHUNK:
		continue_download(device);
		break;
	case DOWNLOAD_BROKEN: {
		uint32_t breaks = download_breaks(device->update->download);
		uint32_t pause = 100u << (breaks < 6 ? breaks : 6);

		device->fleet->board->resumed++;
		device->record->resumed++;
		device_enter(device, PHASE_DOWNLOADING, (struct range){ pause, pause * 2 });
		break;
	}
	case DOWNLOAD_DONE:
		check_image(device);
		break;
	case DOWNLOAD_FAILED:
		fail(device, error);
		break;
	}
}

void device_continue_update(struct device *device)
{
	if (!device->update) {
		return;
	}
	if (device->phase == PHASE_WAITING) {
		start_download(device);
	} else if (device->phase == PHASE_DOWNLOADING) {
		ask_range(device);
	} else if (device->phase == PHASE_APPLYING) {
		apply_image(device);
	}
}
