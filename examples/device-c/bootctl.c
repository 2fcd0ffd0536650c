#include "bootctl.h"

#include <stdio.h>
#include <string.h>

#include "json.h"

struct slot *bootctl_slot(struct bootctl *boot, char name)
{
	return &boot->slots[name == 'b'];
}

char bootctl_inactive(const struct bootctl *boot)
{
	return boot->active == 'a' ? 'b' : 'a';
}

static char read_name(const cJSON *object, const char *member)
{
	const char *text = json_text(object, member);

	return text && (text[0] == 'a' || text[0] == 'b') ? text[0] : '\0';
}

bool bootctl_load(struct bootctl *boot)
{
	json_begin();
	const cJSON *record = json_read_record("boot");

	*boot = (struct bootctl){ .active = read_name(record, "active"),
		.trial = read_name(record, "trial"),
		.reverted = read_name(record, "reverted") };
	if (!boot->active || !json_number(record, "attempts", &boot->attempts)
		|| !json_number(record, "sequence", &boot->sequence)) {
		return false;
	}
	for (char name = 'a'; name <= 'b'; name++) {
		struct slot *slot = bootctl_slot(boot, name);
		const cJSON *entry = cJSON_GetObjectItemCaseSensitive(record, (const char[]){ name, '\0' });

		if (!json_copy(entry, "version", slot->version, sizeof(slot->version))
			|| !json_copy(entry, "sha256", slot->sha256, sizeof(slot->sha256))
			|| !json_number(entry, "size", &slot->size)
			|| !json_number(entry, "sequence", &slot->sequence)) {
			*slot = (struct slot){ 0 };
		}
	}
	return true;
}

enum platform_result bootctl_save(const struct bootctl *boot)
{
	json_begin();
	cJSON *record = cJSON_CreateObject();

	cJSON_AddStringToObject(record, "active", (const char[]){ boot->active, '\0' });
	cJSON_AddStringToObject(record, "trial", (const char[]){ boot->trial, '\0' });
	cJSON_AddNumberToObject(record, "attempts", (double)boot->attempts);
	cJSON_AddStringToObject(record, "reverted", (const char[]){ boot->reverted, '\0' });
	cJSON_AddNumberToObject(record, "sequence", (double)boot->sequence);
	for (char name = 'a'; name <= 'b'; name++) {
		const struct slot *slot = &boot->slots[name == 'b'];
		const char member[] = { name, '\0' };

		if (!slot->version[0]) {
			cJSON_AddNullToObject(record, member);
			continue;
		}
		cJSON *entry = cJSON_AddObjectToObject(record, member);

		cJSON_AddStringToObject(entry, "version", slot->version);
		cJSON_AddStringToObject(entry, "sha256", slot->sha256);
		cJSON_AddNumberToObject(entry, "size", (double)slot->size);
		cJSON_AddNumberToObject(entry, "sequence", (double)slot->sequence);
	}
	return json_write_record("boot", record);
}

void bootctl_clear_inactive(struct bootctl *boot)
{
	struct slot *slot = bootctl_slot(boot, bootctl_inactive(boot));

	if (slot->version[0]) {
		*slot = (struct slot){ 0 };
		(void)bootctl_save(boot);
	}
	platform_slot_clear(bootctl_inactive(boot));
}

bool bootctl_stage(struct bootctl *boot, const struct slot *content, uint64_t attempts)
{
	char name = bootctl_inactive(boot);
	struct bootctl next = *boot;

	next.trial = name;
	next.attempts = attempts;
	next.reverted = '\0';
	*bootctl_slot(&next, name) = *content;
	if (!platform_slot_fill(name) || bootctl_save(&next) != PLATFORM_OK) {
		return false;
	}
	*boot = next;
	return true;
}

enum platform_result bootctl_confirm(struct bootctl *boot)
{
	const struct slot *slot = bootctl_slot(boot, boot->trial);

	boot->sequence = slot->sequence > boot->sequence ? slot->sequence : boot->sequence;
	boot->active = boot->trial;
	boot->trial = '\0';
	boot->attempts = 0;
	return bootctl_save(boot);
}

void bootctl_revert(struct bootctl *boot)
{
	boot->reverted = boot->trial;
	boot->trial = '\0';
	boot->attempts = 0;
	(void)bootctl_save(boot);
}

void bootctl_hex(const unsigned char digest[SHA256_SIZE], char hex[SHA256_HEX_SIZE])
{
	for (size_t i = 0; i < SHA256_SIZE; i++) {
		(void)snprintf(hex + 2 * i, 3, "%02x", digest[i]);
	}
}
