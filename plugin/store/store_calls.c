/* What the broker's thread calls between the start and the end; see ota/store/store.h. */
#include <stdint.h>
#include <unistd.h>

#include "store_internal.h"

void store_signal(int fd)
{
	const uint64_t one = 1;

	/* A full counter is readable already. */
	(void)!write(fd, &one, sizeof(one));
}

enum ota_err store_append(void *context, const uint8_t *record, size_t length)
{
	struct store *store = context;

	/* Nobody reads the reason; 512 bytes for it would be cleared each time. */
	return outbox_append(store->outbox, record, length, NULL, NULL);
}

enum ota_err store_gather(void *context, const uint8_t *record, size_t length)
{
	struct store *store = context;

	return outbox_gather(store->outbox, record, length, NULL);
}

enum ota_err store_flush(void *context)
{
	struct store *store = context;

	return outbox_flush(store->outbox, NULL);
}

enum ota_err store_command(void *context, struct control_request *request)
{
	struct store *store = context;
	enum ota_err err = commands_push(store->commands, request);

	if (!err) {
		store_signal(store->wake_fd);
	}
	return err;
}

enum ota_err store_updating(void *context, const char *device, int64_t session)
{
	struct store *store = context;
	enum ota_err err = updating_push(store->updating, device, session);

	if (!err) {
		store_signal(store->wake_fd);
	}
	return err;
}

void store_reload(void *context)
{
	struct store *store = context;

	atomic_store(&store->reload, true);
	store_signal(store->wake_fd);
}
