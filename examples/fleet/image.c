#include "image.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/rand.h>

#include "common.h"

static const char magic[] = "OTA-DEMO-IMAGE";
static const char version_characters[] =
	"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz.+-_";

static const struct {
	const char *name;
	enum image_behaviour behaviour;
} behaviours[] = {
	{ "good", IMAGE_GOOD },
	{ "bad", IMAGE_BAD },
	{ "dark", IMAGE_DARK },
	{ "bootloop", IMAGE_BOOTLOOP },
	{ "silent-rollback", IMAGE_SILENT_ROLLBACK },
	{ "mixed", IMAGE_MIXED },
};

bool image_version_is_valid(const char *version)
{
	size_t length = strlen(version);

	return length >= 1 && length <= IMAGE_VERSION_MAX
		&& strspn(version, version_characters) == length;
}

static bool parse_behaviour(const char *name, enum image_behaviour *behaviour)
{
	for (size_t i = 0; i < sizeof(behaviours) / sizeof(behaviours[0]); i++) {
		if (strcmp(behaviours[i].name, name) == 0) {
			*behaviour = behaviours[i].behaviour;
			return true;
		}
	}
	return false;
}

static bool parse_number(const char *text, unsigned long high, unsigned long *value)
{
	char *end = NULL;

	errno = 0;
	unsigned long parsed = strtoul(text, &end, 10);

	if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0 || parsed > high) {
		return false;
	}
	*value = parsed;
	return true;
}

static void parse_word(char *word, struct image_header *header)
{
	char *value = strchr(word, '=');
	unsigned long number = 0;

	if (!value) {
		return;
	}
	*value++ = '\0';
	if (strcmp(word, "version") == 0 && image_version_is_valid(value)) {
		memcpy(header->version, value, strlen(value) + 1);
	} else if (strcmp(word, "behaviour") == 0) {
		/* An unknown behaviour is not good firmware: it fails its health check. */
		if (!parse_behaviour(value, &header->behaviour)) {
			header->behaviour = IMAGE_BAD;
		}
	} else if (strcmp(word, "failrate") == 0 && parse_number(value, 1000, &number)) {
		header->failrate = (uint16_t)number;
	}
}

void image_parse_header(const char *data, size_t size, struct image_header *header)
{
	char line[IMAGE_HEADER_MAX + 1] = "";
	char *rest = NULL;

	*header = (struct image_header){ .behaviour = IMAGE_GOOD, .failrate = 1000 };
	if (size > IMAGE_HEADER_MAX) {
		size = IMAGE_HEADER_MAX;
	}
	const char *end = memchr(data, '\n', size);

	if (!end || (size_t)(end - data) < sizeof(magic) - 1
		|| memcmp(data, magic, sizeof(magic) - 1) != 0) {
		return;
	}
	memcpy(line, data, (size_t)(end - data));
	for (char *word = strtok_r(line, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
		parse_word(word, header);
	}
}

enum image_behaviour image_behaviour_on(
	enum image_behaviour behaviour, uint16_t failrate, const char *device)
{
	if (common_hash(0, "failrate", device) % 1000 >= failrate) {
		return IMAGE_GOOD;
	}
	if (behaviour == IMAGE_MIXED) {
		uint64_t share = common_hash(0, "mixed", device) % 100;

		if (share < 40) {
			return IMAGE_BAD;
		}
		return share < 70 ? IMAGE_SILENT_ROLLBACK : IMAGE_DARK;
	}
	return behaviour;
}

struct image_order {
	const char *version;
	const char *behaviour;
	const char *file;
	unsigned long failrate;
	unsigned long size;
	unsigned long seed; /* 0: random padding, different every time */
};

static int refuse(const char *what, const char *value, const char *accepted)
{
	fprintf(stderr, "make-image: %s \"%s\" is not accepted; give %s\n", what, value, accepted);
	return 2;
}

static int parse_order(int argc, char **argv, struct image_order *order)
{
	enum image_behaviour behaviour = IMAGE_GOOD;
	const unsigned long size_max = 1024UL * 1024 * 1024;

	for (int i = 1; i < argc; i++) {
		const char *value = i + 1 < argc ? argv[i + 1] : NULL;

		if (argv[i][0] != '-') {
			if (order->file) {
				return refuse("a second file", argv[i], "one file name");
			}
			order->file = argv[i];
			continue;
		}
		if (!value) {
			return refuse("option", argv[i], "a value after it");
		}
		i++;
		if (strcmp(argv[i - 1], "--version") == 0) {
			order->version = value;
		} else if (strcmp(argv[i - 1], "--behaviour") == 0 && strncmp(value, "failrate=", 9) == 0) {
			order->behaviour = "bad";
			if (!parse_number(value + 9, 1000, &order->failrate)) {
				return refuse("failrate", value + 9, "0 to 1000 permille");
			}
		} else if (strcmp(argv[i - 1], "--behaviour") == 0) {
			order->behaviour = value;
		} else if (strcmp(argv[i - 1], "--failrate") == 0) {
			if (!parse_number(value, 1000, &order->failrate)) {
				return refuse("failrate", value, "0 to 1000 permille");
			}
		} else if (strcmp(argv[i - 1], "--size") == 0) {
			if (!parse_number(value, size_max, &order->size) || order->size < IMAGE_HEADER_MAX) {
				return refuse("size", value, "256 to 1073741824 bytes");
			}
		} else if (strcmp(argv[i - 1], "--seed") == 0) {
			if (!parse_number(value, UINT32_MAX, &order->seed)) {
				return refuse("seed", value, "0 to 4294967295");
			}
		} else {
			return refuse(
				"option", argv[i - 1], "--version, --behaviour, --failrate, --size, --seed");
		}
	}
	if (!order->version || !image_version_is_valid(order->version)) {
		return refuse("version", order->version ? order->version : "", "--version, such as 2.0.0");
	}
	if (!parse_behaviour(order->behaviour, &behaviour)) {
		return refuse("behaviour", order->behaviour,
			"good, bad, dark, bootloop, silent-rollback, mixed or failrate=PERMILLE");
	}
	return order->file ? 0 : refuse("file", "", "the name of the file to write");
}

static bool write_image(const struct image_order *order, FILE *file)
{
	unsigned char block[4096];
	char header[IMAGE_HEADER_MAX + 1] = "";
	uint64_t state = order->seed;
	int length = snprintf(header, sizeof(header), "%s version=%s behaviour=%s failrate=%lu\n",
		magic, order->version, order->behaviour, order->failrate);

	if (length < 0 || (size_t)length >= sizeof(header)
		|| fwrite(header, 1, (size_t)length, file) != (size_t)length) {
		return false;
	}
	for (size_t left = order->size - (size_t)length; left > 0;) {
		size_t part = left < sizeof(block) ? left : sizeof(block);

		if (order->seed != 0) {
			for (size_t i = 0; i < part; i++) {
				block[i] = (unsigned char)common_random(&state);
			}
		} else if (RAND_bytes(block, (int)part) != 1) {
			return false;
		}
		if (fwrite(block, 1, part, file) != part) {
			return false;
		}
		left -= part;
	}
	return true;
}

int image_command(int argc, char **argv)
{
	struct image_order order = { .behaviour = "good", .failrate = 1000, .size = 65536 };
	int status = parse_order(argc, argv, &order);

	if (status != 0) {
		return status;
	}
	FILE *file = fopen(order.file, "wb");

	if (!file) {
		fprintf(
			stderr, "make-image: cannot write \"%s\": %s\n", order.file, common_error_text(errno));
		return EXIT_FAILURE;
	}
	bool written = write_image(&order, file);

	if (fclose(file) != 0 || !written) {
		fprintf(stderr, "make-image: could not write all of \"%s\"\n", order.file);
		return EXIT_FAILURE;
	}
	return EXIT_SUCCESS;
}
