/*
 * reason - why a client's connection ended, in words.
 *
 * Thread: any.
 */
#pragma once

enum {
	REASON_MAX = 32
};

/*
 * Words for the reason of 2.1's DISCONNECT and CLIENT_OFFLINE: MOSQ_ERR_* of the broker, or a reason code of MQTT 5 (from 128).
 * 2.0 tells none.  Points to static text or to `buffer`.
 */
const char *reason_words(int reason, char buffer[REASON_MAX]);
