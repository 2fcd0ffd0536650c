/*
 * journal - what must be remembered over a power cut: the update at hand, or the outcome of the last one.
 *
 * The notice is kept as it came: after a power cut it is verified again, nothing is believed because it was once checked.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "json.h"
#include "notice.h"

enum journal_step {
	JOURNAL_EMPTY,
	JOURNAL_WORKING, /* begun, not decided */
	JOURNAL_DONE     /* decided; `acknowledged`: and the broker knows */
};

struct journal {
	enum journal_step step;
	bool acknowledged;
	char slot;     /* where the new firmware goes */
	char key[300]; /* of the notice */
	char previous[VERSION_SIZE];
	char status[16], error[32];
	char checks[1024]; /* JSON, "": none */
	uint64_t rollout, attempt;
	char version[VERSION_SIZE];
	char notice[NOTICE_MAX + 1];
	size_t notice_size;
};

void journal_load(struct journal *journal);
enum platform_result journal_save(const struct journal *journal);
void journal_forget(struct journal *journal);
