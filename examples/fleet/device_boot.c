#include <stdio.h>
#include <string.h>

#include <openssl/rand.h>

#include "client.h"
#include "device.h"
#include "fleet.h"
#include "output.h"

void device_name(const struct device *device, char *out, size_t size)
{
	options_device_id(device->fleet->options, device->number, out, size);
}

void device_client_id(const struct device *device, char *out, size_t size)
{
	options_device_id(device->fleet->options, device->client_number, out, size);
}

void device_neighbour(const struct device *device, char *out, size_t size)
{
	const struct options *options = device->fleet->options;
	const bool last = device->number == options->first + options->devices - 1;
	const uint32_t before = device->number > 1 ? device->number - 1 : device->number + 1;

	options_device_id(options, last ? before : device->number + 1, out, size);
}

const char *device_folder(const struct device *device, char *out, size_t size)
{
	char id[DEVICE_ID_SIZE] = "";

	if (!device->fleet->options->slots) {
		return NULL;
	}
	device_name(device, id, sizeof(id));
	(void)snprintf(out, size, "%s/%s", device->fleet->options->slots, id);
	return out;
}

bool device_has(const struct device *device, enum fault fault)
{
	return (device->faults & (1u << fault)) != 0;
}

bool device_is(const struct device *device, enum profile profile)
{
	return device->record->profile == profile;
}

bool device_lies(const struct device *device, enum lie lie)
{
	return device_is(device, PROFILE_LIES) && device->record->detail == lie;
}

uint32_t device_choose(struct device *device, enum choice choice, struct range range)
{
	const uint64_t step = UINT64_C(0x9e3779b97f4a7c15); /* what common_random() adds each time */
	uint64_t state = (device->random ^ ((uint64_t)choice << 56)) + step * device->drawn[choice]++;

	return range.low + (uint32_t)(common_random(&state) % ((uint64_t)range.high - range.low + 1));
}

const char *device_version(const struct device *device)
{
	return slots_running(&device->slots)->version;
}

void device_enter(struct device *device, enum device_phase phase, struct range range)
{
	device->phase = (uint8_t)phase;
	timers_set(&device->fleet->timers, device->index, TIMER_PHASE,
		common_now_ms() + device_choose(device, CHOICE_PHASE, range));
}

/* Who is it, and how does it behave?  All from the seed and its id. */
static void draw_character(struct device *device, uint32_t index)
{
	const struct options *options = device->fleet->options;
	char id[DEVICE_ID_SIZE] = "";

	device->number = options->first + device->fleet->board->first + index;
	device_name(device, id, sizeof(id));
	device->random = common_hash(options->seed, "random", id);
	device->faults =
		faults_of(options->fault_rules, options->fault_count, options->seed, id, device->number);
	device->record->profile = (uint8_t)profile_of(&options->profiles, options->seed, id);
	device->client_number = device->number;
	if (device_is(device, PROFILE_DIES)) {
		device->record->detail =
			(uint8_t)profile_detail(options->death, DEATH_COUNT, options->seed, id);
	} else if (device_is(device, PROFILE_LIES)) {
		device->record->detail =
			(uint8_t)profile_detail(options->lie, LIE_COUNT, options->seed, id);
	} else if (device_is(device, PROFILE_CLONE)) {
		device->client_number = options_cloned(options, device->number);
	}
}

bool device_start(struct device *device, struct fleet *fleet, uint32_t index)
{
	char folder[DEVICE_FOLDER_SIZE] = "";

	device->fleet = fleet;
	device->index = index;
	device->record = &fleet->ledger->records[fleet->board->first + index];
	draw_character(device, index);
	if (!slots_open(&device->slots, device_folder(device, folder, sizeof(folder)), fleet->options,
			&fleet->names)
		|| !client_open(device)) {
		return false;
	}
	device->record->error = "";
	device->record->before = ledger_version(fleet->board, device_version(device));
	if (device_has(device, FAULT_OFFLINE)) {
		device->phase = PHASE_OFF;
	} else if (device_has(device, FAULT_LATE)) {
		device_enter(device, PHASE_DOWN, fleet->options->late_delay);
	} else {
		device_boot(device);
	}
	return true;
}

void device_stop(struct device *device)
{
	device_drop_update(device);
	client_close(device);
}

static enum image_behaviour behaviour_of(const struct device *device, const struct slot *slot)
{
	char id[DEVICE_ID_SIZE] = "";

	if (device_is(device, PROFILE_BOOTLOOP)) {
		return IMAGE_BOOTLOOP;
	}
	device_name(device, id, sizeof(id));
	return image_behaviour_on((enum image_behaviour)slot->behaviour, slot->failrate, id);
}

void device_boot(struct device *device)
{
	struct fleet *fleet = device->fleet;
	unsigned char random[DEVICE_BOOT_ID_SIZE / 2] = { 0 };
	char folder[DEVICE_FOLDER_SIZE] = "";
	enum slots_boot boot =
		slots_choose_boot(&device->slots, device_folder(device, folder, sizeof(folder)));

	(void)RAND_bytes(random, (int)sizeof(random));
	common_encode_hex(random, sizeof(random), device->boot_id);
	device->phase = PHASE_IDLE;
	device->reported = REPORT_NONE;
	device->reported_error = UPDATE_OK;
	if (boot == SLOTS_BOOT_TRIAL) {
		if (device_has(device, FAULT_DARK)
			|| behaviour_of(device, slots_running(&device->slots)) == IMAGE_DARK) {
			device_go_dark(device);
			return;
		}
		if (device_dies(device, DEATH_REBOOTING)) {
			return;
		}
		device->phase = PHASE_TRIAL;
		timers_set(&fleet->timers, device->index, TIMER_DEADLINE,
			common_now_ms() + fleet->options->health_deadline);
	} else if (boot == SLOTS_BOOT_FALLBACK) {
		device->pending = REPORT_ROLLED_BACK;
		device->pending_error = UPDATE_BOOT_LOOP;
	}
	client_reset(device);
	fleet_queue_connect(fleet, device);
}

void device_go_dark(struct device *device)
{
	device_drop_update(device);
	for (int kind = 0; kind < TIMER_KINDS; kind++) {
		timers_cancel(&device->fleet->timers, device->index, (enum timer_kind)kind);
	}
	device->phase = PHASE_DARK;
	output_event(device, EVENT_DARK, "");
	if (device->link == LINK_QUEUED) {
		device->link = LINK_OFF;
	} else {
		client_drop(device);
	}
}

bool device_dies(struct device *device, enum death death)
{
	if (!device_is(device, PROFILE_DIES) || device->record->detail != death) {
		return false;
	}
	device_go_dark(device);
	return true;
}

void device_power_off(struct device *device, bool clean)
{
	const struct options *options = device->fleet->options;

	device_drop_update(device);
	device->awaited = 0;
	timers_cancel(&device->fleet->timers, device->index, TIMER_DEADLINE);
	timers_cancel(&device->fleet->timers, device->index, TIMER_LINK);
	device_enter(device, PHASE_DOWN,
		device_is(device, PROFILE_SLOW) ? options->slow_boot : options->boot_delay);
	if (device->link == LINK_QUEUED) {
		device->link = LINK_OFF;
	} else if (device->link == LINK_ONLINE && clean) {
		client_disconnect(device);
	} else {
		client_drop(device);
	}
}

void device_fall_back(struct device *device, enum report_status status, enum update_error error)
{
	char folder[DEVICE_FOLDER_SIZE] = "";

	slots_discard(&device->slots, device_folder(device, folder, sizeof(folder)));
	device->pending = (uint8_t)status;
	device->pending_error = (uint8_t)error;
	if (status == REPORT_NONE) {
		output_event(device, EVENT_SILENT_ROLLBACK, "");
	}
	device_power_off(device, true);
}

/* The health check is over. */
void device_finish_trial(struct device *device)
{
	char folder[DEVICE_FOLDER_SIZE] = "";

	if (device_dies(device, DEATH_TRIAL)) {
		return;
	}
	switch (behaviour_of(device, slots_running(&device->slots))) {
	case IMAGE_BAD:
		device_fall_back(device, REPORT_ROLLED_BACK, UPDATE_HEALTH_CHECK_FAILED);
		return;
	case IMAGE_SILENT_ROLLBACK:
		device_fall_back(device, REPORT_NONE, UPDATE_OK);
		return;
	case IMAGE_BOOTLOOP:
		device_power_off(device, false);
		return;
	case IMAGE_GOOD:
	case IMAGE_DARK:
	case IMAGE_MIXED:
		break;
	}
	timers_cancel(&device->fleet->timers, device->index, TIMER_DEADLINE);
	slots_confirm(&device->slots, device_folder(device, folder, sizeof(folder)));
	device->phase = PHASE_IDLE;
	(void)report_send(device, REPORT_SUCCESS, UPDATE_OK);
}

void device_on_connected(struct device *device)
{
	const struct options *options = device->fleet->options;

	if (device->phase == PHASE_DOWN) {
		return; /* switched off while it connected */
	}
	device->greeted = true;
	client_subscribe(device);
	if (device_has(device, FAULT_FLAPPING)) {
		timers_set(&device->fleet->timers, device->index, TIMER_FLAP,
			common_now_ms() + device_choose(device, CHOICE_TROUBLE, options->flap_delay));
	}
	if (device_is(device, PROFILE_FLAKY)) {
		timers_set(&device->fleet->timers, device->index, TIMER_TROUBLE,
			common_now_ms() + device_choose(device, CHOICE_TROUBLE, options->flaky_every));
	}
	if (device->phase == PHASE_TRIAL) {
		/* Says nothing before it knows: a version that may be gone in a second is no news. */
		device_enter(device, PHASE_TRIAL, options->health_delay);
	} else if (device->pending != REPORT_NONE) {
		(void)report_send(
			device, (enum report_status)device->pending, (enum update_error)device->pending_error);
		device->pending = REPORT_NONE;
	} else if (device->phase == PHASE_IDLE) {
		(void)report_send(device, REPORT_IDLE, UPDATE_OK);
	} else {
		report_repeat(device);
	}
}

void device_on_lost(struct device *device)
{
	struct fleet *fleet = device->fleet;
	uint32_t least = 250u << (device->failures < 5 ? device->failures : 5);
	struct range pause = { least, least * 2 };

	if (device->link == LINK_ONLINE && device->phase != PHASE_DOWN && device->phase != PHASE_DARK
		&& !fleet->stopping) {
		fleet->board->lost++;
		device->record->lost++;
	}
	device->link = LINK_OFF;
	device->stalled = false;
	timers_cancel(&fleet->timers, device->index, TIMER_FLAP);
	timers_cancel(&fleet->timers, device->index, TIMER_TROUBLE);
	if (fleet->stopping || device->phase == PHASE_DOWN || device->phase == PHASE_DARK
		|| device->phase == PHASE_OFF) {
		return;
	}
	device->failures++;
	if (device_is(device, PROFILE_CLONE) && device->failures == 1) {
		pause = fleet->options->clone_pause;
	}
	timers_set(&fleet->timers, device->index, TIMER_LINK,
		common_now_ms() + device_choose(device, CHOICE_LINK, pause));
}

void device_on_acknowledged(struct device *device, int message)
{
	if (device->unacked > 0) {
		device->unacked--;
	}
	report_acknowledged(device, message);
	if (device->phase == PHASE_REBOOTING && device->awaited == message) {
		device_enter(device, PHASE_REBOOTING, (struct range){ 0, 0 });
	}
}

static void on_phase_timer(struct device *device)
{
	switch ((enum device_phase)device->phase) {
	case PHASE_WAITING:
	case PHASE_DOWNLOADING:
	case PHASE_APPLYING:
		device_continue_update(device);
		return;
	case PHASE_REBOOTING:
		device_power_off(device, true);
		return;
	case PHASE_DOWN:
		device_boot(device);
		return;
	case PHASE_TRIAL:
		/* The connection is one of the checks: without it, wait for it or for the deadline. */
		if (device->link == LINK_ONLINE) {
			device_finish_trial(device);
		}
		return;
	case PHASE_OFF:
	case PHASE_IDLE:
	case PHASE_DARK:
	case PHASE_COUNT:
		return;
	}
}

/* The flaky link's next trouble: it breaks, or lets nothing through for a while. */
static void on_trouble(struct device *device)
{
	const struct options *options = device->fleet->options;
	const struct range coin = { 0, 1 };
	struct range next = options->flaky_every;

	if (device->link != LINK_ONLINE) {
		return;
	}
	if (device->stalled) {
		client_stall(device, false);
	} else if (device_choose(device, CHOICE_TROUBLE, coin) == 0) {
		client_drop(device);
		return;
	} else {
		client_stall(device, true);
		next = options->flaky_stall;
	}
	timers_set(&device->fleet->timers, device->index, TIMER_TROUBLE,
		common_now_ms() + device_choose(device, CHOICE_TROUBLE, next));
}

void device_on_timer(struct device *device, enum timer_kind kind)
{
	const uint64_t stalled_retry_ms = 100;

	switch (kind) {
	case TIMER_LINK:
		if (device->link == LINK_OFF) {
			fleet_queue_connect(device->fleet, device);
		} else if (device->link == LINK_CONNECTING) {
			client_give_up(device);
		}
		return;
	case TIMER_PHASE:
		if (device->stalled && device->phase != PHASE_DOWN) {
			timers_set(&device->fleet->timers, device->index, TIMER_PHASE,
				common_now_ms() + stalled_retry_ms);
			return;
		}
		on_phase_timer(device);
		return;
	case TIMER_TROUBLE:
		on_trouble(device);
		return;
	case TIMER_DEADLINE:
		if (device->phase == PHASE_TRIAL) {
			device_fall_back(device, REPORT_ROLLED_BACK, UPDATE_HEALTH_CHECK_FAILED);
		}
		return;
	case TIMER_FLAP:
		if (device->link == LINK_ONLINE) {
			client_drop(device);
		}
		return;
	case TIMER_KINDS:
		return;
	}
}
