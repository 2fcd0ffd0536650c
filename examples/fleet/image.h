/*
 * image - the demo firmware: a text header that says what the image is and how it behaves, padded
 * with random bytes to its size.
 *
 * A "good" and a "bad" release are therefore really different files, and what a device does comes
 * from the bytes it installed.  Thread: the fleet's.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	IMAGE_HEADER_MAX = 256,
	IMAGE_VERSION_MAX = 128
};

enum image_behaviour {
	IMAGE_GOOD = 0,
	IMAGE_BAD,             /* the health check fails, the device rolls back and says so */
	IMAGE_DARK,            /* the device never comes back */
	IMAGE_BOOTLOOP,        /* connects and drops until the boot loader gives up */
	IMAGE_SILENT_ROLLBACK, /* rolls back and only reports the old version */
	IMAGE_MIXED,           /* one of bad, silent rollback and dark, by the device's hash */
};

struct image_header {
	char version[IMAGE_VERSION_MAX + 1]; /* empty: the bytes carry no demo header */
	enum image_behaviour behaviour;
	uint16_t failrate; /* permille of devices that `behaviour` is for; the others find it good */
};

/*
 * Read the header from the first `size` bytes of an image.  Bytes without a demo header are taken
 * for ordinary, working firmware of unknown version.
 */
void image_parse_header(const char *data, size_t size, struct image_header *header);

/* What an image does on one device: mixed and failrate resolved by a hash of the device's id. */
enum image_behaviour image_behaviour_on(
	enum image_behaviour behaviour, uint16_t failrate, const char *device);

/* True for 1 to IMAGE_VERSION_MAX characters of letters, digits, dot, plus, minus, underscore. */
bool image_version_is_valid(const char *version);

/* The `make-image` subcommand: write an image as the arguments ask.  Returns an exit status. */
int image_command(int argc, char **argv);
