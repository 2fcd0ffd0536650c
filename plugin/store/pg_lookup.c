#include "pg_lookup.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "ota/base/clock.h"

enum {
	HOSTS_MAX = 8, /* further ones are not waited for */
	LOOK_MS = 20,
};

struct pg_lookup {
	char *text; /* what the names point into */
	struct gaicb requests[HOSTS_MAX];
	size_t count;
};

/* The value of an option of the conninfo, to be freed; NULL: not given. */
static char *option_of(const char *conninfo, const char *keyword)
{
	PQconninfoOption *options = PQconninfoParse(conninfo, NULL);
	char *value = NULL;

	for (PQconninfoOption *option = options; option && option->keyword; option++) {
		if (strcmp(option->keyword, keyword) == 0 && option->val && option->val[0]) {
			value = strdup(option->val);
		}
	}
	PQconninfoFree(options);
	return value;
}

static bool needs_lookup(const char *host)
{
	unsigned char address[sizeof(struct in6_addr)];

	return host[0] != '\0' && host[0] != '/' && host[0] != '@'
		&& inet_pton(AF_INET, host, address) != 1 && inet_pton(AF_INET6, host, address) != 1;
}

/* Ask for all names at once; pg->lookup stays NULL when there is none to ask for. */
static enum ota_err begin(struct pg *pg, const char *conninfo, struct ota_why *why)
{
	char *given = option_of(conninfo, "hostaddr");
	char *text = given ? NULL : option_of(conninfo, "host");
	struct pg_lookup *lookup = NULL;
	struct gaicb *list[HOSTS_MAX];
	enum ota_err err = OTA_OK;
	char *rest = text;

	free(given);
	if (!text) {
		return OTA_OK;
	}
	lookup = calloc(1, sizeof(*lookup));
	if (!lookup) {
		err = OTA_ERR_NOMEM;
		ota_why_set(why, "out of memory");
		goto out;
	}
	for (char *host = strsep(&rest, ","); host; host = strsep(&rest, ",")) {
		if (needs_lookup(host) && lookup->count < HOSTS_MAX) {
			list[lookup->count] = &lookup->requests[lookup->count];
			lookup->requests[lookup->count++].ar_name = host;
		}
	}
	if (lookup->count == 0) {
		goto out;
	}
	if (getaddrinfo_a(GAI_NOWAIT, list, (int)lookup->count, NULL) != 0) {
		err = OTA_ERR_NOMEM;
		ota_why_set(why, "cannot ask the name server");
		goto out;
	}
	lookup->text = text;
	pg->lookup = lookup;
	return OTA_OK;
out:
	free(lookup);
	free(text);
	return err;
}

/* EAI_INPROGRESS: some name is not answered for yet; 0: some name is known; else why none is. */
static int state_of(struct pg_lookup *lookup)
{
	int state = EAI_NONAME;

	for (size_t i = 0; i < lookup->count; i++) {
		int rc = gai_error(&lookup->requests[i]);

		if (rc == EAI_INPROGRESS) {
			return rc;
		}
		state = rc == 0 || state == 0 ? 0 : rc;
	}
	return state;
}

void pg_lookup_end(struct pg *pg)
{
	struct pg_lookup *lookup = pg->lookup;

	pg->lookup = NULL;
	/* The C library writes into one that is under way. */
	if (!lookup || state_of(lookup) == EAI_INPROGRESS) {
		return;
	}
	for (size_t i = 0; i < lookup->count; i++) {
		if (lookup->requests[i].ar_result) {
			freeaddrinfo(lookup->requests[i].ar_result);
		}
	}
	free(lookup->text);
	free(lookup);
}

enum ota_err pg_lookup_wait(
	struct pg *pg, const char *conninfo, int64_t deadline, struct ota_why *why)
{
	struct pollfd stop = { .fd = pg->stop_fd, .events = POLLIN };
	enum ota_err err = pg->lookup ? OTA_OK : begin(pg, conninfo, why);
	int state;

	if (err || !pg->lookup) {
		return err;
	}
	while ((state = state_of(pg->lookup)) == EAI_INPROGRESS) {
		if (clock_mono_ms() >= deadline) {
			ota_why_set(why, "no answer from the name server about \"%s\" within 5 s",
				pg->lookup->requests[0].ar_name);
			return OTA_ERR_TIMEOUT;
		}
		if (poll(&stop, 1, LOOK_MS) > 0) {
			ota_why_set(why, "interrupted");
			return OTA_ERR_UNAVAILABLE;
		}
		if (pg->waits) {
			pg->waits(pg->waits_context, clock_mono_ms() - pg->began);
		}
	}
	if (state != 0) {
		ota_why_set(why, "cannot find the host \"%s\": %s", pg->lookup->requests[0].ar_name,
			gai_strerror(state));
		err = OTA_ERR_UNAVAILABLE;
	}
	pg_lookup_end(pg);
	return err;
}
