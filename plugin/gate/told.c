#include "ota/gate/told.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "ota/base/keyhash.h"

static uint64_t hash_notice(const void *item)
{
	const char *device = ((const struct told_notice *)item)->device;

	return keyhash(device, strlen(device));
}

static bool is_notice(const void *item, const void *device)
{
	return strcmp(((const struct told_notice *)item)->device, device) == 0;
}

static void recall_free(struct told_recall *recall)
{
	if (recall == NULL) {
		return;
	}
	free(recall->device);
	free(recall->version);
	free(recall->topic);
	free(recall);
}

struct told_notice *told_notice_of(const struct told *told, const char *device)
{
	/* Mostly there is none of anybody, and then the device need not be hashed. */
	return told->notices.count == 0
		? NULL
		: set_find(&told->notices, keyhash(device, strlen(device)), is_notice, device);
}

struct told_recall *told_recall_of(const struct told *told, const char *device)
{
	struct told_recall *recall = NULL;

	HASH_FIND_STR(told->recalls, device, recall);
	return recall;
}

void told_again_not(struct told *told, struct told_notice *notice)
{
	if (notice->again_us != 0) {
		DL_DELETE(told->again, notice);
		notice->again_us = 0;
	}
}

void told_terms_drop(struct told *told, struct told_notice *notice)
{
	told_again_not(told, notice);
	terms_release(&told->terms, notice->terms);
	notice->terms = NULL;
}

void told_again_at(struct told *told, struct told_notice *notice, int64_t at_us)
{
	told_again_not(told, notice);
	notice->again_us = at_us == 0 ? 1 : at_us;
	DL_APPEND(told->again, notice);
}

void told_notice_drop(struct told *told, struct told_notice *notice)
{
	told_terms_drop(told, notice);
	set_remove(&told->notices, hash_notice, notice);
	free(notice);
}

void told_recall_drop(struct told *told, struct told_recall *recall)
{
	HASH_DEL(told->recalls, recall);
	recall_free(recall);
}

struct told_notice *told_notice_put(
	struct told *told, struct told_notice *notice, const char *device)
{
	struct told_recall *recall = told_recall_of(told, device);
	size_t size;

	if (recall != NULL) {
		told_recall_drop(told, recall);
	}
	if (notice != NULL) {
		told_terms_drop(told, notice);
		return notice;
	}
	size = offsetof(struct told_notice, device) + strlen(device) + 1;
	notice = calloc(1, size < sizeof(*notice) ? sizeof(*notice) : size);
	if (notice == NULL) {
		return NULL;
	}
	memcpy(notice->device, device, strlen(device) + 1);
	if (set_add(&told->notices, hash_notice, notice) != OTA_OK) {
		free(notice);
		return NULL;
	}
	return notice;
}

struct told_recall *told_recall_put(
	struct told *told, const char *device, int64_t rollout, const char *version, const char *topic)
{
	struct told_recall *recall = told_recall_of(told, device);

	if (recall != NULL) {
		told_recall_drop(told, recall);
	}
	/* uthash keeps the order in which entries came: the first is the oldest. */
	if (HASH_COUNT(told->recalls) >= TOLD_RECALLS_MAX) {
		struct told_recall *oldest = told->recalls;

		told_recall_drop(told, oldest);
	}
	recall = calloc(1, sizeof(*recall));
	if (recall == NULL) {
		return NULL;
	}
	recall->rollout = rollout;
	recall->device = strdup(device);
	recall->version = strdup(version);
	recall->topic = topic == NULL ? NULL : strdup(topic);
	if (recall->device == NULL || recall->version == NULL
		|| (topic != NULL && recall->topic == NULL)) {
		goto fail;
	}
	/* The analyzer thinks that HASH_DEL may leave the dropped entry in the table. */
	/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc) */
	HASH_ADD_KEYPTR(hh, told->recalls, recall->device, strlen(recall->device), recall);
	if (recall->hh.tbl == NULL) {
		goto fail;
	}
	return recall;

fail:
	recall_free(recall);
	return NULL;
}

static void recalls_clear(struct told_recall *recall)
{
	while (recall != NULL) {
		struct told_recall *next = recall->hh.next;

		recall_free(recall);
		recall = next;
	}
}

void told_clear(struct told *told)
{
	struct told_recall *recalls = told->recalls;
	struct told_notice *notice;
	size_t at = 0;

	while ((notice = set_next(&told->notices, &at)) != NULL) {
		terms_release(&told->terms, notice->terms);
		free(notice);
	}
	set_clear(&told->notices);
	terms_clear(&told->terms);
	told->again = NULL;
	/* The table goes, the entries are still chained. */
	HASH_CLEAR(hh, told->recalls);
	recalls_clear(recalls);
}
