#include "ota/store/warm.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <libpq-fe.h>
#include <openssl/evp.h>

#include "ota/base/hex.h"

#include "warm_internal.h"

enum {
	KEY_MAX = 1 + 1024
};

/* Kind and what tells facts of a kind apart; 0: too long to be one. */
static size_t make_key(const struct warm_record *record, uint8_t key[KEY_MAX])
{
	size_t length = 0;

	key[0] = (uint8_t)record->kind;
	switch (record->kind) {
	case WARM_OWNER:
	case WARM_CONTACT:
	case WARM_GATEWAYS:
	case WARM_URLS:
		return 1;
	case WARM_RELEASE:
	case WARM_ROLLOUT:
		memcpy(key + 1, &record->id, sizeof(record->id));
		return 1 + sizeof(record->id);
	case WARM_CLAIM:
		length = strlen(record->device);
		if (length >= KEY_MAX) {
			return 0;
		}
		memcpy(key + 1, record->device, length);
		return 1 + length;
	}
	return 0;
}

static void remove_entry(struct warm *warm, struct warm_entry *entry)
{
	HASH_DEL(warm->entries, entry);
	warm->counts[entry->payload[0]]--;
	warm->live_bytes -= entry->size + WARM_FRAME_BYTES;
	free(entry->payload);
	free(entry);
}

static struct warm_entry *add_entry(struct warm *warm, const uint8_t *key, size_t length)
{
	struct warm_entry *entry = calloc(1, sizeof(*entry) + length);

	if (!entry) {
		return NULL;
	}
	memcpy(entry->key, key, length);
	entry->key_length = (uint32_t)length;
	HASH_ADD_KEYPTR(hh, warm->entries, entry->key, entry->key_length, entry);
	if (!entry->hh.tbl) {
		free(entry);
		return NULL;
	}
	return entry;
}

/* Take over a fact; *changed: it is news.  False: no memory, then the earlier one is gone too. */
static bool apply(struct warm *warm, const struct warm_record *record, const uint8_t *payload,
	size_t size, bool *changed)
{
	uint8_t key[KEY_MAX];
	size_t length = make_key(record, key);
	struct warm_entry *entry = NULL;
	uint8_t *copy;

	*changed = false;
	HASH_FIND(hh, warm->entries, key, length, entry);
	if (entry) {
		entry->round = warm->round;
	}
	if (record->gone) {
		*changed = entry != NULL;
		if (entry) {
			remove_entry(warm, entry);
		}
		return true;
	}
	if (entry && entry->size == size && memcmp(entry->payload, payload, size) == 0) {
		return true;
	}
	*changed = true;
	if (entry) {
		remove_entry(warm, entry);
	}
	copy = malloc(size);
	entry = copy ? add_entry(warm, key, length) : NULL;
	if (!entry) {
		free(copy);
		return false;
	}
	memcpy(copy, payload, size);
	entry->payload = copy;
	entry->size = (uint32_t)size;
	entry->round = warm->round;
	warm->counts[record->kind]++;
	warm->live_bytes += size + WARM_FRAME_BYTES;
	return true;
}

static bool take_from_file(
	void *context, const struct warm_record *record, const uint8_t *payload, size_t size)
{
	bool changed;

	return apply(context, record, payload, size, &changed);
}

static void clear(struct warm *warm)
{
	struct warm_entry *entry;
	struct warm_entry *next;

	HASH_ITER(hh, warm->entries, entry, next) {
		remove_entry(warm, entry);
	}
	warm->pending_bytes = 0;
}

/* What of a conninfo string says which database it is, hashed: the file is no place for the rest of it. */
static char *hash_where(const char *conninfo)
{
	static const char *const parts[] = { "host", "hostaddr", "port", "dbname", "service" };
	PQconninfoOption *options = PQconninfoParse(conninfo, NULL);
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned int length = 0;
	char *text = NULL;
	bool good = options && context && EVP_DigestInit_ex(context, EVP_sha256(), NULL) == 1;

	for (const PQconninfoOption *option = options; good && option->keyword; option++) {
		for (size_t i = 0; good && i < sizeof(parts) / sizeof(parts[0]); i++) {
			if (option->val && strcmp(option->keyword, parts[i]) == 0) {
				good = EVP_DigestUpdate(context, parts[i], strlen(parts[i]) + 1) == 1
					&& EVP_DigestUpdate(context, option->val, strlen(option->val) + 1) == 1;
			}
		}
	}
	if (good && EVP_DigestFinal_ex(context, digest, &length) == 1) {
		text = malloc(2 * (size_t)length + 1);
	}
	if (text) {
		hex_write(digest, length, text);
	}
	EVP_MD_CTX_free(context);
	PQconninfoFree(options);
	return text;
}

bool warm_find(const struct warm *warm, enum warm_kind kind, int64_t id, const char *device,
	struct warm_record *record)
{
	const struct warm_record sought = { .kind = kind, .id = id, .device = device };
	uint8_t key[KEY_MAX];
	size_t length = make_key(&sought, key);
	struct warm_entry *entry = NULL;

	HASH_FIND(hh, warm->entries, key, length, entry);
	return entry && !warm_decode(entry->payload, entry->size, record);
}

struct warm *warm_open(
	const char *directory, const char *broker, const char *conninfo, struct logring *log)
{
	struct warm *warm = calloc(1, sizeof(*warm));
	struct warm_record owner = { 0 };

	if (!warm) {
		return NULL;
	}
	warm->fd = -1;
	warm->directory = -1;
	warm->log = log;
	warm->broker = strdup(broker);
	warm->path = strdup(directory);
	warm->where = hash_where(conninfo);
	if (!warm->broker || !warm->path || !warm->where) {
		warm_close(warm);
		return NULL;
	}
	warm_file_read(warm, take_from_file);
	if (warm->fd < 0) {
		clear(warm);
		return warm;
	}
	if (!warm_find(warm, WARM_OWNER, 0, NULL, &owner) || strcmp(owner.device, broker) != 0) {
		warm_file_set_aside(warm, "it is another broker's");
		clear(warm);
	} else if (strcmp(owner.topic, warm->where) != 0) {
		warm_file_set_aside(warm, "it is of another database, going by plugin_opt_database");
		clear(warm);
	}
	return warm;
}

void warm_close(struct warm *warm)
{
	if (!warm) {
		return;
	}
	if (warm->pending_bytes > 0) {
		warm_flush(warm);
	}
	clear(warm);
	if (warm->fd >= 0) {
		(void)close(warm->fd);
	}
	if (warm->directory >= 0) {
		(void)close(warm->directory);
	}
	free(warm->pending);
	free(warm->broker);
	free(warm->where);
	free(warm->path);
	free(warm);
}

/* A claim more than are kept? */
static bool has_no_room(struct warm *warm, const struct warm_record *record)
{
	uint8_t key[KEY_MAX];
	size_t length = make_key(record, key);
	struct warm_entry *entry = NULL;

	if (length == 0) {
		return true;
	}
	if (record->kind != WARM_CLAIM || record->gone || warm->counts[WARM_CLAIM] < WARM_CLAIMS_MAX) {
		return false;
	}
	HASH_FIND(hh, warm->entries, key, length, entry);
	if (!entry && !warm->full_said) {
		warm->full_said = true;
		logring_printf(warm->log, LOG_LEVEL_WARNING,
			"%d devices are told and have not answered: for others a restart waits for the database",
			WARM_CLAIMS_MAX);
	}
	return !entry;
}

/* The facts are no longer what they should be: none at all is better. */
static void give_up(struct warm *warm)
{
	logring_printf(warm->log, LOG_LEVEL_ERROR,
		"no memory for the warm start: a restart waits for the database");
	clear(warm);
	warm_file_drop(warm);
}

void warm_put(struct warm *warm, const struct warm_record *record)
{
	uint8_t small[1024];
	size_t size = warm_size(record);
	struct warm_record checked;
	uint8_t *payload = small;
	bool changed = false;
	bool good;

	if (has_no_room(warm, record)) {
		return;
	}
	if (size > sizeof(small)) {
		payload = size <= WARM_RECORD_MAX ? malloc(size) : NULL;
	}
	if (!payload) {
		give_up(warm);
		return;
	}
	warm_encode(record, payload);
	/* What could not be read back would cost all of the file. */
	if (!warm_decode(payload, size, &checked)) {
		good = apply(warm, record, payload, size, &changed)
			&& (!changed || warm_file_frame(warm, payload, (uint32_t)size));
		if (!good) {
			give_up(warm);
		}
	}
	if (payload != small) {
		free(payload);
	}
}

void warm_claim_over(struct warm *warm, const char *device)
{
	const struct warm_record record = { .kind = WARM_CLAIM, .gone = true, .device = device };

	warm_put(warm, &record);
}

void warm_database(struct warm *warm, const char *identity)
{
	struct warm_record owner = { 0 };

	if (warm_find(warm, WARM_OWNER, 0, NULL, &owner) && owner.version
		&& strcmp(owner.version, identity) != 0) {
		if (warm->fd >= 0) {
			warm_file_set_aside(warm, "the database is another one now");
		}
		clear(warm);
	}
	owner = (struct warm_record){
		.kind = WARM_OWNER, .device = warm->broker, .topic = warm->where, .version = identity
	};
	warm_put(warm, &owner);
}

void warm_flush(struct warm *warm)
{
	if (warm->pending_bytes > 0 || (warm->fd < 0 && warm->counts[WARM_OWNER] > 0)) {
		warm_file_write(warm);
	}
}

void warm_sync(struct warm *warm)
{
	if (warm->dirty && warm->fd >= 0) {
		(void)fdatasync(warm->fd);
		warm->dirty = false;
	}
}

int64_t warm_contact_ms(const struct warm *warm)
{
	struct warm_record record;

	return warm_find(warm, WARM_CONTACT, 0, NULL, &record) ? record.at_ms : 0;
}

size_t warm_count(const struct warm *warm, enum warm_kind kind)
{
	return warm->counts[kind];
}

void warm_each(struct warm *warm, enum warm_kind kind,
	bool (*see)(void *context, const struct warm_record *record), void *context)
{
	struct warm_entry *entry;
	struct warm_entry *next;

	HASH_ITER(hh, warm->entries, entry, next) {
		struct warm_record record;

		if (entry->payload[0] != kind) {
			continue;
		}
		if (warm_decode(entry->payload, entry->size, &record) || !see(context, &record)) {
			return;
		}
		if (!warm->entries) { /* given up meanwhile, `next` with all the others */
			return;
		}
	}
}

void warm_mark_begin(struct warm *warm)
{
	warm->round++;
}

void warm_mark_end(struct warm *warm, enum warm_kind kind)
{
	struct warm_entry *entry;
	struct warm_entry *next;

	HASH_ITER(hh, warm->entries, entry, next) {
		struct warm_record record;

		if (entry->payload[0] == kind && entry->round != warm->round
			&& !warm_decode(entry->payload, entry->size, &record)) {
			/* The texts are the entry's: warm_put() has copied them before that goes. */
			record = (struct warm_record){
				.kind = record.kind, .gone = true, .id = record.id, .device = record.device
			};
			warm_put(warm, &record);
		}
		if (!warm->entries) { /* given up meanwhile, `next` with all the others */
			return;
		}
	}
}
