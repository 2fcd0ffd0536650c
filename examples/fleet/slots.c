#include "slots.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cjson/cJSON.h>

#include "notice.h"

enum {
	PATH_SIZE = 1024,
	RECORD_MAX = 8192
};

static const char *const slot_names[2] = { "a", "b" };
static const char *const slot_files[2] = { "a.bin", "b.bin" };
static const char *const state_names[] = {
	[SLOT_EMPTY] = "empty",
	[SLOT_TRIAL] = "trial",
	[SLOT_CONFIRMED] = "confirmed",
};

static bool make_path(char *path, size_t size, const char *folder, const char *name)
{
	int length = snprintf(path, size, "%s/%s", folder, name);

	return length > 0 && (size_t)length < size;
}

/* Write a whole file and bring it to the disk before it gets its name. */
static bool write_atomically(const char *folder, const char *name, const char *data, size_t size)
{
	char path[PATH_SIZE] = "";
	char fresh[PATH_SIZE] = "";
	bool written = false;

	if (!make_path(path, sizeof(path), folder, name)
		|| !make_path(fresh, sizeof(fresh), folder, "fresh.tmp")) {
		return false;
	}
	int file = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	if (file < 0) {
		return false;
	}
	written = write(file, data, size) == (ssize_t)size && fsync(file) == 0;
	written = close(file) == 0 && written;
	return written && rename(fresh, path) == 0;
}

static cJSON *describe_slot(const struct slot *slot)
{
	char hex[COMMON_SHA256_HEX_SIZE] = "";
	cJSON *json = cJSON_CreateObject();

	common_encode_hex(slot->sha256, sizeof(slot->sha256), hex);
	cJSON_AddStringToObject(json, "state", state_names[slot->state]);
	if (slot->version) {
		cJSON_AddStringToObject(json, "version", slot->version);
		cJSON_AddStringToObject(json, "sha256", hex);
		cJSON_AddNumberToObject(json, "size", (double)slot->size);
		cJSON_AddNumberToObject(json, "sequence", (double)slot->sequence);
		cJSON_AddNumberToObject(json, "attempts", slot->attempts);
	}
	return json;
}

static bool save_record(const struct slots *slots, const char *folder)
{
	cJSON *json = NULL;
	char *text = NULL;
	bool saved = false;

	if (!folder) {
		return true;
	}
	json = cJSON_CreateObject();
	cJSON_AddStringToObject(json, "active", slot_names[slots->active]);
	cJSON_AddNumberToObject(json, "rollout", (double)slots->rollout);
	cJSON_AddNumberToObject(json, "attempt", slots->attempt);
	for (size_t i = 0; i < 2; i++) {
		cJSON_AddItemToObject(json, slot_names[i], describe_slot(&slots->slot[i]));
	}
	text = cJSON_Print(json);
	saved = text && write_atomically(folder, "boot.json", text, strlen(text));
	if (!saved) {
		fprintf(stderr, "mosquitto_ota_fleet: cannot write \"%s/boot.json\": %s\n", folder,
			common_error_text(errno));
	}
	cJSON_free(text);
	cJSON_Delete(json);
	return saved;
}

/* What the image does is read from the image itself. */
static bool read_image(const char *folder, size_t index, struct slot *slot)
{
	char path[PATH_SIZE] = "";
	char head[IMAGE_HEADER_MAX] = "";
	struct image_header header = { 0 };
	struct stat status = { 0 };

	if (!make_path(path, sizeof(path), folder, slot_files[index])) {
		return false;
	}
	FILE *file = fopen(path, "rb");

	if (!file) {
		return false;
	}
	size_t size = fread(head, 1, sizeof(head), file);
	bool whole = fstat(fileno(file), &status) == 0 && (uint64_t)status.st_size == slot->size;

	fclose(file);
	image_parse_header(head, size, &header);
	slot->behaviour = (uint8_t)header.behaviour;
	slot->failrate = header.failrate;
	return whole;
}

static bool read_slot(
	const cJSON *json, const char *folder, size_t index, struct slot *slot, struct name_pool *names)
{
	const uint64_t most = UINT64_C(1) << 53;
	const cJSON *entry = cJSON_GetObjectItemCaseSensitive(json, slot_names[index]);
	const char *state = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(entry, "state"));
	const char *version = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(entry, "version"));
	const char *sha256 = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(entry, "sha256"));
	uint64_t sequence = 0;
	uint64_t attempts = 0;

	*slot = (struct slot){ .state = SLOT_EMPTY };
	if (!state || strcmp(state, state_names[SLOT_EMPTY]) == 0) {
		return state != NULL;
	}
	slot->state = strcmp(state, state_names[SLOT_CONFIRMED]) == 0 ? SLOT_CONFIRMED : SLOT_TRIAL;
	if (!version || !image_version_is_valid(version) || !sha256
		|| !common_decode_hex(sha256, slot->sha256, sizeof(slot->sha256))
		|| !notice_read_number(entry, "size", most, &slot->size)
		|| !notice_read_number(entry, "sequence", most, &sequence)
		|| !notice_read_number(entry, "attempts", UINT8_MAX, &attempts)) {
		return false;
	}
	slot->version = common_intern(names, version);
	slot->sequence = (int64_t)sequence;
	slot->attempts = (uint8_t)attempts;
	if (!read_image(folder, index, slot)) {
		/* A trial that is not complete is no image; a broken confirmed slot is a broken device. */
		if (slot->state == SLOT_CONFIRMED) {
			return false;
		}
		*slot = (struct slot){ .state = SLOT_EMPTY };
	}
	return true;
}

static bool load_record(
	struct slots *slots, const char *folder, FILE *file, struct name_pool *names)
{
	char text[RECORD_MAX] = "";
	size_t size = fread(text, 1, sizeof(text), file);
	cJSON *json = cJSON_ParseWithLength(text, size);
	const char *active = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, "active"));
	uint64_t rollout = 0;
	uint64_t attempt = 0;
	bool loaded = active && notice_read_number(json, "rollout", UINT64_C(1) << 53, &rollout)
		&& notice_read_number(json, "attempt", UINT32_MAX, &attempt)
		&& read_slot(json, folder, 0, &slots->slot[0], names)
		&& read_slot(json, folder, 1, &slots->slot[1], names);

	if (loaded) {
		slots->active = strcmp(active, slot_names[1]) == 0;
		slots->running = slots->active;
		slots->rollout = (int64_t)rollout;
		slots->attempt = (uint32_t)attempt;
		loaded = slots->slot[slots->active].state == SLOT_CONFIRMED;
	}
	if (!loaded) {
		fprintf(stderr, "mosquitto_ota_fleet: slots: \"%s\" holds no bootable device\n", folder);
	}
	cJSON_Delete(json);
	return loaded;
}

static bool create_folder(struct slots *slots, const char *folder, const struct options *options)
{
	char image[IMAGE_HEADER_MAX] = "";
	int length = snprintf(
		image, sizeof(image), "OTA-DEMO-IMAGE version=%s behaviour=good\n", options->version);

	if (length < 0 || (size_t)length >= sizeof(image)
		|| (mkdir(options->slots, 0755) != 0 && errno != EEXIST)
		|| (mkdir(folder, 0755) != 0 && errno != EEXIST)
		|| !write_atomically(folder, slot_files[0], image, (size_t)length)) {
		fprintf(stderr, "mosquitto_ota_fleet: slots: cannot write to \"%s\": %s\n", folder,
			common_error_text(errno));
		return false;
	}
	slots->slot[0].size = (uint64_t)length;
	return save_record(slots, folder);
}

bool slots_open(
	struct slots *slots, const char *folder, const struct options *options, struct name_pool *names)
{
	char path[PATH_SIZE] = "";

	*slots = (struct slots){ 0 };
	if (folder && !make_path(path, sizeof(path), folder, "boot.json")) {
		fprintf(stderr, "mosquitto_ota_fleet: slots: the path \"%s\" is too long\n", folder);
		return false;
	}
	FILE *file = folder ? fopen(path, "r") : NULL;

	if (file) {
		bool loaded = load_record(slots, folder, file, names);

		fclose(file);
		return loaded;
	}
	slots->slot[0] = (struct slot){
		.version = common_intern(names, options->version),
		.sequence = options->sequence,
		.behaviour = IMAGE_GOOD,
		.failrate = 1000,
		.state = SLOT_CONFIRMED,
	};
	return !folder || create_folder(slots, folder, options);
}

enum slots_boot slots_choose_boot(struct slots *slots, const char *folder)
{
	uint8_t other = (uint8_t)!slots->active;
	struct slot *trial = &slots->slot[other];

	if (trial->state != SLOT_TRIAL) {
		slots->running = slots->active;
		return SLOTS_BOOT_CONFIRMED;
	}
	if (trial->attempts == 0) {
		slots_discard(slots, folder);
		return SLOTS_BOOT_FALLBACK;
	}
	trial->attempts--; /* recorded before the image runs, so that a crash in it counts */
	(void)save_record(slots, folder);
	slots->running = other;
	return SLOTS_BOOT_TRIAL;
}

bool slots_stage(struct slots *slots, const char *folder, const char *part, const struct slot *slot)
{
	size_t other = (size_t)!slots->active;

	if (folder) {
		char path[PATH_SIZE] = "";

		/* First no image at all, then the new one: a power cut never leaves half of one marked. */
		slots->slot[other] = (struct slot){ .state = SLOT_EMPTY };
		if (!save_record(slots, folder) || !make_path(path, sizeof(path), folder, slot_files[other])
			|| rename(part, path) != 0) {
			return false;
		}
	}
	slots->slot[other] = *slot;
	slots->slot[other].state = SLOT_TRIAL;
	return save_record(slots, folder);
}

void slots_confirm(struct slots *slots, const char *folder)
{
	slots->slot[slots->running].state = SLOT_CONFIRMED;
	slots->slot[slots->running].attempts = 0;
	slots->active = slots->running;
	(void)save_record(slots, folder);
}

void slots_discard(struct slots *slots, const char *folder)
{
	/* Contents stay known (for the reports), but nothing boots an empty slot. */
	slots->slot[!slots->active].state = SLOT_EMPTY;
	slots->running = slots->active;
	(void)save_record(slots, folder);
}

const struct slot *slots_running(const struct slots *slots)
{
	return &slots->slot[slots->running];
}
