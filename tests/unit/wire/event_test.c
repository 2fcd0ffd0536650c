/* Event records: what goes in comes out, and broken bytes are refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ota/wire/event.h"
#include "ota/wire/topic.h"

static const struct event full = {
	.kind = EVENT_REPORT,
	.at_ms = INT64_C(1769825404123),
	.session = INT64_C(0x0102030405060708),
	.rollout = 17,
	.attempt = 2,
	.retry_after_ms = 60000,
	.status = REPORT_DEFERRED,
	.flags = EVENT_FLAG_IF_KNOWN,
	.device = "sensor-17",
	.client = "client-17",
	.fleet = "north",
	.topic = "devices/sensor-17/ota/status",
	.version = "1.5.0",
	.hardware = "rev-c",
	.error = "LOW_BATTERY",
	.text = "why not: \xe2\x82\xac",
	.json = "{\"version\":\"1.5.0\",\"status\":\"DEFERRED\"}",
};

static void assert_event_equal(const struct event *left, const struct event *right)
{
	assert_int_equal(left->kind, right->kind);
	assert_int_equal(left->at_ms, right->at_ms);
	assert_int_equal(left->session, right->session);
	assert_int_equal(left->rollout, right->rollout);
	assert_int_equal(left->attempt, right->attempt);
	assert_int_equal(left->retry_after_ms, right->retry_after_ms);
	assert_int_equal(left->status, right->status);
	assert_int_equal(left->flags, right->flags);
	assert_string_equal(left->device, right->device);
	assert_string_equal(left->client, right->client);
	assert_string_equal(left->fleet, right->fleet);
	assert_string_equal(left->topic, right->topic);
	assert_string_equal(left->version, right->version);
	assert_string_equal(left->hardware, right->hardware);
	assert_string_equal(left->error, right->error);
	assert_string_equal(left->text, right->text);
	assert_string_equal(left->json, right->json);
}

static void test_everything_comes_back(void **state)
{
	uint8_t record[EVENT_RECORD_MAX];
	struct event back;
	size_t length = 0;

	(void)state;
	assert_int_equal(event_encode(&full, record, sizeof(record), &length), OTA_OK);
	assert_int_equal(event_decode(record, length, &back), OTA_OK);
	assert_event_equal(&full, &back);
}

static void test_extreme_numbers_and_every_kind(void **state)
{
	(void)state;
	for (int kind = EVENT_CONNECTED; kind <= EVENT_KIND_MAX; kind++) {
		struct event event = full;
		uint8_t record[EVENT_RECORD_MAX];
		struct event back;
		size_t length = 0;

		event.kind = (enum event_kind)kind;
		event.at_ms = kind % 2 ? INT64_MIN : INT64_MAX;
		event.session = kind % 2 ? INT64_MAX : INT64_MIN;
		event.rollout = -1;
		event.attempt = kind % 2 ? INT32_MIN : INT32_MAX;
		event.retry_after_ms = INT64_MAX;
		event.status = kind % 2 ? REPORT_IDLE : (enum report_status)(REPORT_STATUS_COUNT - 1);
		event.flags = 0;
		assert_int_equal(event_encode(&event, record, sizeof(record), &length), OTA_OK);
		assert_int_equal(event_decode(record, length, &back), OTA_OK);
		assert_event_equal(&event, &back);
	}
}

static void test_the_bytes_are_the_same_on_every_machine(void **state)
{
	/* One record written down: old records on disk must stay readable. */
	static const uint8_t expected[] = {
		0xe7,
		0x01,
		0x01,
		0x00,
		0x01,
		0x00,
		0x00,
		0x00, /* kind, status, flags */
		0x01,
		0x02,
		0x00,
		0x00,
		0x00,
		0x00,
		0x00,
		0x00, /* at_ms */
		0x03,
		0x00,
		0x00,
		0x00,
		0x00,
		0x00,
		0x00,
		0x80, /* session */
		0xff,
		0xff,
		0xff,
		0xff,
		0xff,
		0xff,
		0xff,
		0xff, /* rollout */
		0x04,
		0x00,
		0x00,
		0x00,
		0x00,
		0x00,
		0x00,
		0x00, /* retry_after_ms */
		0x05,
		0x00,
		0x00,
		0x00, /* attempt */
		0x01,
		0x00,
		'd',
		0x00, /* device */
		0x02,
		0x00,
		'c',
		'l',
		0x00, /* client */
		0x00,
		0x00,
		0x00,
		0x00,
		0x00,
		0x00,
		0x00,
		0x00,
		0x00,
		0x00, /* seven empty ones */
		0x00,
		0x00,
		0x00,
		0x00,
		0x00,
		0x00,
		0x00,
		0x00,
		0x00,
		0x00,
		0x00,
	};
	const struct event event = {
		.kind = EVENT_CONNECTED,
		.at_ms = 0x0201,
		.session = INT64_MIN + 3,
		.rollout = -1,
		.attempt = 5,
		.retry_after_ms = 4,
		.flags = EVENT_FLAG_IF_KNOWN,
		.device = "d",
		.client = "cl",
	};
	uint8_t record[EVENT_RECORD_MAX];
	size_t length = 0;

	(void)state;
	assert_int_equal(event_encode(&event, record, sizeof(record), &length), OTA_OK);
	assert_int_equal(length, sizeof(expected));
	assert_memory_equal(record, expected, sizeof(expected));
}

static void test_missing_strings_come_back_empty(void **state)
{
	const struct event event = { .kind = EVENT_DISCONNECTED };
	uint8_t record[EVENT_RECORD_MAX];
	struct event back;
	size_t length = 0;

	(void)state;
	assert_int_equal(event_encode(&event, record, sizeof(record), &length), OTA_OK);
	assert_int_equal(event_decode(record, length, &back), OTA_OK);
	assert_string_equal(back.device, "");
	assert_string_equal(back.client, "");
	assert_string_equal(back.json, "");
}

static void test_text_that_is_not_utf8_is_mended(void **state)
{
	static const struct {
		const char *text;
		const char *mended;
	} cases[] = {
		{ "cut \xe2\x82", "cut ??" },
		{ "\xff\xfe", "??" },
		{ "a\xc3(\xe2\x82\xac)\xed\xa0\x80", "a?(\xe2\x82\xac)???" },
		{ "\xf0\x9f\x94\xa5\x80", "\xf0\x9f\x94\xa5?" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct event event = { .kind = EVENT_MALFORMED, .text = cases[i].text };
		uint8_t record[EVENT_RECORD_MAX];
		struct event back;
		size_t length = 0;

		assert_int_equal(event_encode(&event, record, sizeof(record), &length), OTA_OK);
		assert_int_equal(event_decode(record, length, &back), OTA_OK);
		assert_string_equal(back.text, cases[i].mended);
		assert_true(topic_utf8_valid(back.text, strlen(back.text)));
	}
}

static void test_encode_refuses_what_decode_would(void **state)
{
	uint8_t record[EVENT_RECORD_MAX];
	size_t length = 4711;
	struct event event = full;

	(void)state;
	event.kind = (enum event_kind)0;
	assert_int_equal(event_encode(&event, record, sizeof(record), &length), OTA_ERR_INVALID);
	event.kind = (enum event_kind)(EVENT_KIND_MAX + 1);
	assert_int_equal(event_encode(&event, record, sizeof(record), &length), OTA_ERR_INVALID);
	event = full;
	event.status = REPORT_STATUS_COUNT;
	assert_int_equal(event_encode(&event, record, sizeof(record), &length), OTA_ERR_INVALID);
	event = full;
	event.flags = 4;
	assert_int_equal(event_encode(&event, record, sizeof(record), &length), OTA_ERR_INVALID);
	event.flags = -1;
	assert_int_equal(event_encode(&event, record, sizeof(record), &length), OTA_ERR_INVALID);
	assert_int_equal(length, 4711);
}

static void test_sizes(void **state)
{
	static char text[EVENT_RECORD_MAX + 10];
	uint8_t *record = malloc(EVENT_RECORD_MAX * 2);
	struct event event = full;
	struct event back;
	size_t length = 0;
	size_t needed = 0;

	(void)state;
	assert_non_null(record);
	assert_int_equal(event_encode(&full, record, EVENT_RECORD_MAX, &needed), OTA_OK);
	for (size_t size = 0; size < needed; size++) {
		uint8_t *exact = malloc(size + 1);

		assert_non_null(exact);
		exact[size] = 0x55;
		assert_int_equal(event_encode(&full, exact, size, &length), OTA_ERR_FULL);
		assert_int_equal(exact[size], 0x55);
		free(exact);
	}
	assert_int_equal(event_encode(&full, record, needed, &length), OTA_OK);
	assert_int_equal(length, needed);

	/* No room makes a record larger than the limit that decoding has. */
	event.json = text;
	memset(text, 'x', sizeof(text) - 1);
	assert_int_equal(event_encode(&event, record, EVENT_RECORD_MAX * 2, &length), OTA_ERR_FULL);
	text[EVENT_RECORD_MAX - (needed - strlen(full.json))] = '\0';
	assert_int_equal(event_encode(&event, record, EVENT_RECORD_MAX * 2, &length), OTA_OK);
	assert_int_equal(length, EVENT_RECORD_MAX);
	assert_int_equal(event_decode(record, length, &back), OTA_OK);
	assert_int_equal(event_decode(record, length + 1, &back), OTA_ERR_INVALID);
	free(record);
}

static void test_every_cut_and_every_flip_is_harmless(void **state)
{
	uint8_t record[EVENT_RECORD_MAX] = { 0 };
	size_t length = 0;

	(void)state;
	assert_int_equal(event_encode(&full, record, sizeof(record), &length), OTA_OK);
	for (size_t cut = 0; cut <= length + 1; cut++) {
		uint8_t *part = malloc(cut + 1);
		struct event back;

		assert_non_null(part);
		memcpy(part, record, cut); /* one longer than the record: something follows it */
		assert_int_equal(event_decode(part, cut, &back), cut == length ? OTA_OK : OTA_ERR_INVALID);
		free(part);
	}
	for (size_t at = 0; at < length; at++) {
		for (unsigned value = 0; value < 256; value++) {
			uint8_t *flipped = malloc(length);
			struct event back;

			assert_non_null(flipped);
			memcpy(flipped, record, length);
			flipped[at] = (uint8_t)value;
			if (event_decode(flipped, length, &back) == OTA_OK) {
				uint8_t again[EVENT_RECORD_MAX];
				size_t again_length = 0;

				assert_int_equal(event_encode(&back, again, sizeof(again), &again_length), OTA_OK);
				assert_int_equal(again_length, length);
				assert_memory_equal(again, flipped, length);
			}
			free(flipped);
		}
	}
}

static void test_broken_fields_are_refused(void **state)
{
	static const struct {
		size_t at;
		uint8_t value;
	} cases[] = {
		{ 0, 0xe8 },                /* magic */
		{ 1, 2 },                   /* layout */
		{ 2, 0 },                   /* kind */
		{ 2, EVENT_KIND_MAX + 1 },  /* kind */
		{ 3, REPORT_STATUS_COUNT }, /* status */
		{ 4, 4 },                   /* flags */
		{ 7, 0x80 },                /* flags */
		{ 44, 8 },                  /* length of the device, one short */
		{ 44, 10 },                 /* one long */
		{ 45, 0xff },               /* far too long */
		{ 46, 0 },                  /* a zero byte inside */
		{ 46, 0xff },               /* not UTF-8 */
		{ 44 + 2 + 9, 1 },          /* terminator */
	};
	uint8_t record[EVENT_RECORD_MAX];
	size_t length = 0;

	(void)state;
	assert_int_equal(event_encode(&full, record, sizeof(record), &length), OTA_OK);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint8_t before = record[cases[i].at];
		struct event back = { .rollout = 4711 };

		record[cases[i].at] = cases[i].value;
		if (event_decode(record, length, &back) != OTA_ERR_INVALID || back.rollout != 4711) {
			fail_msg("case %zu", i);
		}
		record[cases[i].at] = before;
	}
}

static void test_kinds_have_names(void **state)
{
	(void)state;
	for (int i = EVENT_CONNECTED; i <= EVENT_KIND_MAX; i++) {
		const char *name = event_kind_name((enum event_kind)i);

		assert_string_not_equal(name, "unknown");
		for (int j = EVENT_CONNECTED; j < i; j++) {
			assert_string_not_equal(name, event_kind_name((enum event_kind)j));
		}
	}
	assert_string_equal(event_kind_name((enum event_kind)0), "unknown");
	assert_string_equal(event_kind_name((enum event_kind)(EVENT_KIND_MAX + 1)), "unknown");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_everything_comes_back),
		cmocka_unit_test(test_extreme_numbers_and_every_kind),
		cmocka_unit_test(test_the_bytes_are_the_same_on_every_machine),
		cmocka_unit_test(test_missing_strings_come_back_empty),
		cmocka_unit_test(test_text_that_is_not_utf8_is_mended),
		cmocka_unit_test(test_encode_refuses_what_decode_would),
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_every_cut_and_every_flip_is_harmless),
		cmocka_unit_test(test_broken_fields_are_refused),
		cmocka_unit_test(test_kinds_have_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
