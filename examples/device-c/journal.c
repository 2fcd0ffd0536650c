#include "journal.h"

#include <stdio.h>
#include <string.h>

static const char *const steps[] = { "", "working", "done" };

/* Texts that are kept as they are. */
static const struct {
	const char *name;
	size_t offset, size;
} texts[] = {
	{ "key", offsetof(struct journal, key), sizeof(((struct journal *)NULL)->key) },
	{ "notice", offsetof(struct journal, notice), sizeof(((struct journal *)NULL)->notice) },
	{ "version", offsetof(struct journal, version), VERSION_SIZE },
	{ "previousVersion", offsetof(struct journal, previous), VERSION_SIZE },
	{ "status", offsetof(struct journal, status), sizeof(((struct journal *)NULL)->status) },
	{ "error", offsetof(struct journal, error), sizeof(((struct journal *)NULL)->error) },
	{ "checks", offsetof(struct journal, checks), sizeof(((struct journal *)NULL)->checks) },
};

void journal_load(struct journal *journal)
{
	char step[16] = "";
	char slot[2] = "";

	*journal = (struct journal){ 0 };
	json_begin();
	const cJSON *record = json_read_record("update");

	if (!json_copy(record, "step", step, sizeof(step))
		|| !json_copy(record, "slot", slot, sizeof(slot))) {
		return;
	}
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		(void)json_copy(record, texts[i].name, (char *)journal + texts[i].offset, texts[i].size);
	}
	(void)json_number(record, "rollout", &journal->rollout);
	(void)json_number(record, "attempt", &journal->attempt);
	journal->acknowledged = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(record, "acknowledged"));
	journal->notice_size = strlen(journal->notice);
	journal->slot = slot[0];
	journal->step = strcmp(step, steps[JOURNAL_DONE]) == 0 ? JOURNAL_DONE : JOURNAL_WORKING;
}

enum platform_result journal_save(const struct journal *journal)
{
	json_begin();
	cJSON *record = cJSON_CreateObject();

	cJSON_AddStringToObject(record, "step", steps[journal->step]);
	cJSON_AddStringToObject(record, "slot", (const char[]){ journal->slot, '\0' });
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		cJSON_AddItemToObject(record, texts[i].name,
			cJSON_CreateStringReference((const char *)journal + texts[i].offset));
	}
	cJSON_AddNumberToObject(record, "rollout", (double)journal->rollout);
	cJSON_AddNumberToObject(record, "attempt", (double)journal->attempt);
	cJSON_AddBoolToObject(record, "acknowledged", journal->acknowledged);
	return json_write_record("update", record);
}

void journal_forget(struct journal *journal)
{
	*journal = (struct journal){ 0 };
	platform_remove_record("update");
}
