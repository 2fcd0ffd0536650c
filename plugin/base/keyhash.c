#include "ota/base/keyhash.h"

#include <endian.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

static uint64_t process_key[2];
static uint64_t address_key[2]; /* odd */

/* Before anything else of the library runs, so that no thread has to ask whether it is there. */
__attribute__((constructor)) static void draw_key(void)
{
	struct timespec now;

	if (getrandom(process_key, sizeof(process_key), GRND_NONBLOCK)
		!= (ssize_t)sizeof(process_key)) {
		/* A machine that has just come up and has nothing random yet: better than nothing. */
		(void)clock_gettime(CLOCK_MONOTONIC, &now);
		process_key[0] = (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
		process_key[1] = (uint64_t)(uintptr_t)&now;
	}
	address_key[0] = keyhash("address 0", 9) | 1;
	address_key[1] = keyhash("address 1", 9) | 1;
}

/* Passed and returned by value, so that it stays in registers. */
struct sip {
	uint64_t v0, v1, v2, v3;
};

static inline uint64_t rotate(uint64_t word, unsigned bits)
{
	return word << bits | word >> (64 - bits);
}

static inline struct sip sip_round(struct sip s)
{
	s.v0 += s.v1;
	s.v2 += s.v3;
	s.v1 = rotate(s.v1, 13) ^ s.v0;
	s.v3 = rotate(s.v3, 16) ^ s.v2;
	s.v0 = rotate(s.v0, 32) + s.v3;
	s.v2 += s.v1;
	s.v3 = rotate(s.v3, 21) ^ s.v0;
	s.v1 = rotate(s.v1, 17) ^ s.v2;
	s.v2 = rotate(s.v2, 32);
	return s;
}

static inline struct sip sip_word(struct sip s, uint64_t word)
{
	s.v3 ^= word;
	s = sip_round(s);
	s.v0 ^= word;
	return s;
}

/* The bytes behind the whole words, fewer than eight. */
static inline uint64_t read_rest(const uint8_t *bytes, size_t length)
{
	const size_t rest = length & 7;
	uint64_t word = 0;

	/* Together with those before them they are one word to read. */
	if (length > sizeof(word) && rest > 0) {
		memcpy(&word, bytes + length - sizeof(word), sizeof(word));
		return le64toh(word) >> (64 - 8 * rest);
	}
	for (size_t i = 0; i < rest; i++) {
		word |= (uint64_t)bytes[(length & ~(size_t)7) + i] << 8 * i;
	}
	return word;
}

uint64_t keyhash_with(const uint64_t key[2], const void *data, size_t length)
{
	const uint8_t *bytes = data;
	struct sip s = {
		.v0 = key[0] ^ UINT64_C(0x736f6d6570736575),
		.v1 = key[1] ^ UINT64_C(0x646f72616e646f6d),
		.v2 = key[0] ^ UINT64_C(0x6c7967656e657261),
		.v3 = key[1] ^ UINT64_C(0x7465646279746573),
	};

	for (size_t at = 0; at < (length & ~(size_t)7); at += sizeof(uint64_t)) {
		uint64_t word;

		memcpy(&word, bytes + at, sizeof(word));
		s = sip_word(s, le64toh(word));
	}
	s = sip_word(s, (uint64_t)length << 56 | read_rest(bytes, length));
	s.v2 ^= 0xff;
	s = sip_round(sip_round(sip_round(s)));
	return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}

uint64_t keyhash(const void *data, size_t length)
{
	return keyhash_with(process_key, data, length);
}

uint64_t keyhash_address(const void *address)
{
	uint64_t word = (uint64_t)(uintptr_t)address * address_key[0];

	word = (word ^ word >> 32) * address_key[1];
	return word ^ word >> 32;
}
