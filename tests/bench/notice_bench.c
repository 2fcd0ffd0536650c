/*
 * notice_bench - what the URL in a notice costs the broker's thread, from the manifest's URL to the bytes that are sent.
 *
 * usage: notice_bench [ROUNDS]
 * Prints processor time, and how much more it is than with the manifest's URL: medians of 21 turns, in each of which every row is measured once.
 * Devices that are told in the same second and until the same deadline get the same bytes; else each has bytes of its own, which takes
 * JSON and the SHA-256 of the whole notice.
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "ota/wire/fleet_url.h"
#include "ota/wire/notice.h"

#define NOW     INT64_C(1769820000000)
#define MINUTES INT64_C(60000)

enum {
	TURNS = 21,
	ENVELOPE =
		900, /* bytes, as that of a manifest with all its members and one Ed25519 signature */
};

static const char keys[] = "[fw]\naws_access_key_id = AKIAIOSFODNN7EXAMPLE\n"
						   "aws_secret_access_key = wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY00\n"
						   "region = eu-central-1\n";
static const char places[] = "depot\thttps://depot.example.com/hamburg{path}\t\n"
							 "acme\thttps://acme-firmware.s3.eu-central-1.amazonaws.com{path}\tfw";

static const struct row {
	const char *name;
	const char *fleet; /* NULL: the manifest's URL */
	bool own;          /* each device has a deadline of its own, and bytes of its own */
} rows[] = {
	{ "the manifest's URL, the same bytes", NULL, false },
	{ "the fleet's URL, the same bytes", "depot", false },
	{ "a signed URL, the same bytes", "acme", false },
	{ "the manifest's URL, bytes of its own", NULL, true },
	{ "the fleet's URL, bytes of its own", "depot", true },
	{ "a signed URL, bytes of its own", "acme", true },
};

enum {
	ROWS = sizeof(rows) / sizeof(rows[0])
};

static int64_t cpu_ns(void)
{
	struct timespec now = { 0 };

	(void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void need(bool good, const char *what)
{
	if (!good) {
		fprintf(stderr, "notice_bench: %s\n", what);
		exit(1);
	}
}

/* As plugin/gate/deliver.c does it for each device: address_make(), then notice_render(). */
static double measure(const struct row *row, struct fleet_urls *urls,
	const struct manifest *manifest, struct notice_template *template, long rounds)
{
	char made[FLEET_URL_MAX];
	struct ota_why why = { "" };
	const struct notice *notice = NULL;
	const int64_t began = cpu_ns();

	for (long i = 0; i < rounds; i++) {
		/* As when every device asks in a second of its own. */
		const int64_t now = NOW + (row->own ? i % 40000 * 1000 : 0);
		const int64_t until = now + 60 * MINUTES;
		struct fleet_url *fleet = fleet_urls_find(urls, row->fleet);
		const char *url = NULL;

		if (fleet) {
			need(fleet_url_make(fleet, manifest->url, now, until, made, &why) == OTA_OK, why.text);
			url = made;
		}
		need(notice_render(template, url, 17, 1, "canary", until, &notice) == OTA_OK, "no notice");
	}
	const double ns = (double)(cpu_ns() - began) / (double)rounds;

	need(strstr(notice->payload, row->fleet ? row->fleet : "cdn.example.com") != NULL
			&& !strstr(notice->payload, "X-Amz-Signature=")
				== (!row->fleet || strcmp(row->fleet, "acme") != 0),
		"the notice has another URL");
	return ns;
}

static int by_value(const void *left, const void *right)
{
	const double a = *(const double *)left;
	const double b = *(const double *)right;

	return (a > b) - (a < b);
}

/* Of what `took` has more than `base` (NULL: of `took` itself), turn by turn. */
static double median(const double took[TURNS], const double *base)
{
	double values[TURNS];

	for (int turn = 0; turn < TURNS; turn++) {
		values[turn] = took[turn] - (base ? base[turn] : 0);
	}
	qsort(values, TURNS, sizeof(values[0]), by_value);
	return values[TURNS / 2];
}

int main(int argc, char **argv)
{
	static double took[ROWS][TURNS];
	static char envelope[ENVELOPE + 1];
	const long rounds = argc > 1 ? strtol(argv[1], NULL, 10) : 5000;
	struct release release = { .envelope = envelope };
	struct credentials *credentials = NULL;
	struct fleet_urls *urls = NULL;
	struct notice_template *template = NULL;
	struct ota_why why = { "" };

	need(rounds >= 1, "ROUNDS: accepted is a number from 1");
	memset(envelope, 'e', ENVELOPE);
	memcpy(envelope, "{\"payload\":\"", 12);
	memcpy(envelope + ENVELOPE - 2, "\"}", 2);
	need(credentials_parse(keys, strlen(keys), &credentials, &why) == OTA_OK, why.text);
	need(fleet_urls_parse(places, credentials, &urls) == OTA_OK, "out of memory");
	need(manifest_from_columns("1.5.0", 7, "https://cdn.example.com/firmware/tracker/1.5.0.bin",
			 "f0e4c2f76c58916ec258f246851bea091d14d4247a2fc3e18694461b1816e13b", 1048576, NULL,
			 &release.manifest, &why)
			== OTA_OK,
		why.text);
	need(notice_template_make(&release, &template) == OTA_OK, "out of memory");
	for (int turn = 0; turn < TURNS; turn++) {
		for (int row = 0; row < ROWS; row++) {
			took[row][turn] = measure(&rows[row], urls, release.manifest, template, rounds);
		}
	}
	printf("%-40s %10s %10s\n", "a notice with", "ns", "more, ns");
	for (int row = 0; row < ROWS; row++) {
		printf("%-40s %10.0f %10.0f\n", rows[row].name, median(took[row], NULL),
			median(took[row], took[rows[row].own ? ROWS / 2 : 0]));
	}
	notice_template_free(template);
	manifest_free(release.manifest);
	fleet_urls_free(urls);
	credentials_free(credentials);
	return 0;
}
