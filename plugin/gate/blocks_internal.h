/* What blocks.c (requests) and blocks_serve.c (turns and answers) share; see ota/gate/blocks.h. */
#pragma once

#include "ota/gate/blocks.h"

enum {
	BLOCKS_RETRY_SECONDS = 1,
	BLOCKS_MISSING_SECONDS = 30,
};

/* Answer with a header alone, as far as the session's bucket allows. */
void blocks_answer_without(struct gate *gate, struct session *session, const char *device,
	const struct properties *answer, const struct block_header *header);
