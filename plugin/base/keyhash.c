#include "ota/base/keyhash.h"

#include <endian.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

static uint64_t process_key[2];

/* Before anything else of the library runs, so that no thread has to ask whether it is there. */
__attribute__((constructor)) static void draw_key(void)
{
	struct timespec now;

	if (getrandom(process_key, sizeof(process_key), GRND_NONBLOCK)
		== (ssize_t)sizeof(process_key)) {
		return;
	}
	/* A machine that has just come up and has nothing random yet: better than nothing. */
	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	process_key[0] = (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
	process_key[1] = (uint64_t)(uintptr_t)&now;
}

static uint64_t rotate(uint64_t word, unsigned bits)
{
	return word << bits | word >> (64 - bits);
}

static void sip_round(uint64_t v[4])
{
	v[0] += v[1];
	v[2] += v[3];
	v[1] = rotate(v[1], 13) ^ v[0];
	v[3] = rotate(v[3], 16) ^ v[2];
	v[0] = rotate(v[0], 32) + v[3];
	v[2] += v[1];
	v[3] = rotate(v[3], 21) ^ v[0];
	v[1] = rotate(v[1], 17) ^ v[2];
	v[2] = rotate(v[2], 32);
}

static void sip_word(uint64_t v[4], uint64_t word)
{
	v[3] ^= word;
	sip_round(v);
	v[0] ^= word;
}

uint64_t keyhash_with(const uint64_t key[2], const void *data, size_t length)
{
	const uint8_t *bytes = data;
	const uint8_t *last = bytes + (length & ~(size_t)7);
	uint64_t v[4] = {
		key[0] ^ UINT64_C(0x736f6d6570736575),
		key[1] ^ UINT64_C(0x646f72616e646f6d),
		key[0] ^ UINT64_C(0x6c7967656e657261),
		key[1] ^ UINT64_C(0x7465646279746573),
	};
	uint64_t word;

	for (; bytes != last; bytes += sizeof(word)) {
		memcpy(&word, bytes, sizeof(word));
		sip_word(v, le64toh(word));
	}
	word = (uint64_t)length << 56;
	for (size_t i = 0; i < (length & 7); i++) {
		word |= (uint64_t)last[i] << 8 * i;
	}
	sip_word(v, word);
	v[2] ^= 0xff;
	sip_round(v);
	sip_round(v);
	sip_round(v);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

uint64_t keyhash(const void *data, size_t length)
{
	return keyhash_with(process_key, data, length);
}
