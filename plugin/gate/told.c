#include "ota/gate/told.h"

#include <stdlib.h>
#include <string.h>

static void notice_free(struct told_notice *notice)
{
	if (notice == NULL) {
		return;
	}
	free(notice->device);
	change_free(notice->offer);
	free(notice);
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
	struct told_notice *notice = NULL;

	HASH_FIND_STR(told->notices, device, notice);
	return notice;
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

void told_offer_drop(struct told *told, struct told_notice *notice)
{
	told_again_not(told, notice);
	change_free(notice->offer);
	notice->offer = NULL;
}

void told_again_at(struct told *told, struct told_notice *notice, int64_t at_us)
{
	told_again_not(told, notice);
	notice->again_us = at_us == 0 ? 1 : at_us;
	DL_APPEND(told->again, notice);
}

void told_notice_drop(struct told *told, struct told_notice *notice)
{
	told_again_not(told, notice);
	HASH_DEL(told->notices, notice);
	notice_free(notice);
}

void told_recall_drop(struct told *told, struct told_recall *recall)
{
	HASH_DEL(told->recalls, recall);
	recall_free(recall);
}

struct told_notice *told_notice_put(struct told *told, const char *device)
{
	struct told_recall *recall = told_recall_of(told, device);
	struct told_notice *notice = told_notice_of(told, device);

	if (recall != NULL) {
		told_recall_drop(told, recall);
	}
	if (notice != NULL) {
		told_offer_drop(told, notice);
		return notice;
	}
	notice = calloc(1, sizeof(*notice));
	if (notice == NULL || (notice->device = strdup(device)) == NULL) {
		goto fail;
	}
	HASH_ADD_KEYPTR(hh, told->notices, notice->device, strlen(notice->device), notice);
	if (notice->hh.tbl == NULL) {
		goto fail;
	}
	return notice;

fail:
	notice_free(notice);
	return NULL;
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

static void notices_clear(struct told_notice *notice)
{
	while (notice != NULL) {
		struct told_notice *next = notice->hh.next;

		notice_free(notice);
		notice = next;
	}
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
	struct told_notice *notices = told->notices;
	struct told_recall *recalls = told->recalls;

	/* The tables go, the entries are still chained. */
	told->again = NULL;
	HASH_CLEAR(hh, told->notices);
	HASH_CLEAR(hh, told->recalls);
	notices_clear(notices);
	recalls_clear(recalls);
}
