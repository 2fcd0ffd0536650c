/*
 * The image in blocks over MQTT (docs/protocol.md, "Without HTTP"), for boards that have nothing else.
 *
 * A window of requests is kept open; what comes in order is taken, everything else is asked for again.  The memory is WINDOW blocks.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "link.h"
#include "platform.h"
#include "source.h"

enum {
	BLOCK = 4096, /* a sector of many flashes; the broker may allow less */
	WINDOW =
		4, /* requests that are not answered yet: 2 to 4 keep a slow link busy, the broker takes 8 */
	HEADER = 16,
	ANSWER_MS = 5000,
};

enum {
	STATUS_OK = 0,
	STATUS_RANGE = 3,
	STATUS_LATER = 4,
	STATUS_MISSING = 5
};

static char block_topic[sizeof(config_text) + 32];
static uint64_t stall_ms;
static uint32_t length = BLOCK;

/* Answers that have come and are not looked at yet. */
static unsigned char answers[WINDOW][HEADER + BLOCK];
static size_t sizes[WINDOW];
static unsigned first, waiting;

/* The transfer at hand. */
static const struct slot *image;
static uint64_t asked, got; /* offsets */
static uint64_t again_at;   /* ask then, and not before; 0: now */
static uint64_t heard_at;

bool source_message(const char *topic, const void *data, size_t size)
{
	if (strcmp(topic, block_topic) != 0) {
		return false;
	}
	if (waiting < WINDOW && size >= HEADER
		&& size <= sizeof(answers[0])) { /* else it is asked for again */
		unsigned place = (first + waiting++) % WINDOW;

		memcpy(answers[place], data, size);
		sizes[place] = size;
	}
	return true;
}

bool source_open(const struct config *config)
{
	stall_ms = config->stall_seconds * 1000;
	(void)snprintf(block_topic, sizeof(block_topic), "devices/%s/ota/block", config->device_id);
	return true;
}

static uint64_t number(const unsigned char *from, size_t size)
{
	uint64_t value = 0;

	for (size_t i = 0; i < size; i++) {
		value = value << 8 | from[i];
	}
	return value;
}

static void ask(void)
{
	char text[256] = "";

	while (asked < image->size && asked - got < (uint64_t)WINDOW * length) {
		(void)snprintf(text, sizeof(text),
			"{\"sha256\":\"%s\",\"offset\":%" PRIu64 ",\"length\":%" PRIu32 "}", image->sha256,
			asked, length);
		if (!link_publish("block/get", text, 0, 0)) {
			return;
		}
		asked += length;
	}
}

/* Everything that is not here is asked for again, after so many milliseconds. */
static void ask_again(uint64_t ms)
{
	const uint64_t now = platform_now_ms();

	asked = got;
	again_at = now + ms;
	heard_at = again_at;
}

/* One answer.  False: there is no point in going on; *result says why. */
static bool take(const unsigned char *answer, size_t size, enum source_result *result)
{
	const uint64_t offset = number(answer + 8, 8);
	const uint32_t bytes = (uint32_t)number(answer + 4, 4);

	*result = SOURCE_REFUSED;
	heard_at = platform_now_ms();
	if (answer[0] != 1) {
		return false; /* a newer format */
	}
	switch (answer[1]) {
	case STATUS_OK:
		if (bytes != size - HEADER || offset != got) {
			return true; /* it came twice, or one before it got lost */
		}
		*result = SOURCE_BROKEN;
		got += bytes;
		return download_take(answer + HEADER, bytes);
	case STATUS_RANGE:
		if (bytes >= length || bytes == 0) {
			return false; /* another size than the notice's */
		}
		length = bytes;
		ask_again(0);
		return true;
	case STATUS_LATER:
	case STATUS_MISSING:
		ask_again(1000 * number(answer + 2, 2));
		return true;
	default:
		/* A recall is on its way, if there is one; if not, this is given up after some tries. */
		printf("the broker refuses the image: status %d\n", answer[1]);
		*result = SOURCE_BROKEN;
		return false;
	}
}

static bool take_all(enum source_result *result)
{
	while (waiting > 0) {
		if (!take(answers[first], sizes[first], result)) {
			waiting = 0;
			return false;
		}
		first = (first + 1) % WINDOW;
		waiting--;
	}
	return true;
}

enum source_result source_fetch(
	const char *url, const struct slot *wanted, uint64_t offset, const char *validator)
{
	enum source_result result = SOURCE_BROKEN;
	uint64_t moved_at = platform_now_ms();
	uint64_t before = offset;
	unsigned session = 0;

	(void)url, (void)validator; /* the SHA-256 in each request is the best validator */
	image = wanted;
	got = offset;
	waiting = 0;
	ask_again(0);
	if (!download_begin(offset, wanted->size, "")) {
		return SOURCE_BROKEN;
	}
	while (got < image->size) {
		const uint64_t now = platform_now_ms();

		if (link_session() != session || now >= heard_at + ANSWER_MS) {
			session =
				link_session(); /* what was asked in another connection is not answered in this one */
			ask_again(0);
		}
		if (session != 0 && now >= again_at) {
			ask();
		}
		link_service(50);
		if (!download_wait() || !take_all(&result)) {
			return result;
		}
		if (got > before) {
			before = got;
			moved_at = platform_now_ms();
		} else if (now >= moved_at + stall_ms && now >= again_at) {
			return SOURCE_BROKEN;
		}
	}
	return SOURCE_ENDED;
}
