#include "ota/wire/change.h"

#include <stdlib.h>

struct change *change_new(enum change_kind kind)
{
	struct change *change = calloc(1, sizeof(*change));

	if (change) {
		change->kind = kind;
	}
	return change;
}

void change_free(struct change *change)
{
	if (!change) {
		return;
	}
	free(change->device);
	free(change->topic);
	free(change->fleet);
	free(change->hardware);
	free(change->via);
	free(change->version);
	free(change->stage);
	free(change->text);
	release_free(change->release);
	fleet_urls_free(change->urls);
	free(change);
}
