/*
 * status - a device's status report: the JSON of the contract, parsed with bounds.
 *
 * Thread: any.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ota/base/error.h"
#include "ota/rules/report.h"
#include "ota/rules/version.h"

enum {
	STATUS_PAYLOAD_MAX = 8192, /* larger payloads are refused unread */
	STATUS_DEPTH_MAX = 8,
	STATUS_TEXT_MAX = 63,
};

struct status_report {
	enum report_status status;
	char version[VERSION_MAX + 1]; /* empty: not given; any text, not only Semantic Versions */
	char previous_version[VERSION_MAX + 1]; /* empty: not given */
	char error[STATUS_TEXT_MAX + 1];        /* these four: empty: not given */
	char hardware[STATUS_TEXT_MAX + 1];     /* never cut: releases are matched by it */
	char boot_id[STATUS_TEXT_MAX
		+ 1]; /* error, boot_id, slot: cut at a character, numbers taken as text */
	char slot[STATUS_TEXT_MAX + 1];
	int32_t progress;       /* 0..100 (fractions are cut off), -1: not given */
	int32_t attempt;        /* 0: not given */
	int64_t retry_after_ms; /* 0: not given; at most 52 weeks, longer ones are cut to that */
	/*
	 * The whole report in the device's own words and digits, without the blanks between them (never longer than the payload):
	 * JSON that PostgreSQL's jsonb accepts (UTF-8, no U+0000, no lone surrogates, numbers within the range of a double).
	 * Allocated with malloc, owned by this struct.
	 */
	char *json;
	size_t json_length;
};

/*
 * Parse a payload of `length` bytes (no terminator needed).  `report` is set only on OTA_OK; free it with
 * status_report_free().  Errors: OTA_ERR_INVALID with the member, its value and what is accepted; OTA_ERR_FULL when larger
 * than STATUS_PAYLOAD_MAX; OTA_ERR_NOMEM.
 * A missing `version` is an error for IDLE (also by default) and SUCCESS.  Members that are null count as absent, an absent
 * status is IDLE, unknown members are kept in `json`.  Texts hold no control characters.  `why` may be NULL.
 */
OTA_MUST_USE enum ota_err status_report_parse(
	const void *payload, size_t length, struct status_report *report, struct ota_why *why);

/* Frees what the report holds, not the struct; NULL and twice are fine. */
void status_report_free(struct status_report *report);
