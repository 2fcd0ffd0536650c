#include "ota/gate/reason.h"

#include <stdio.h>

#include "ota/gate/compat.h"

const char *reason_words(int reason, char buffer[REASON_MAX])
{
	static const struct {
		int reason;
		const char *words;
	} table[] = {
		{ 0, "client disconnected" },
		{ MOSQ_ERR_NOMEM, "broker out of memory" },
		{ MOSQ_ERR_PROTOCOL, "protocol error" },
		{ 4, "client disconnected with its will" },
		{ MOSQ_ERR_CONN_LOST, "connection lost" },
		{ MOSQ_ERR_TLS, "TLS error" },
		{ MOSQ_ERR_AUTH, "not authorised" },
		{ MOSQ_ERR_ERRNO, "connection lost" },
		{ MOSQ_ERR_KEEPALIVE, "keepalive timeout" },
		{ MOSQ_ERR_MALFORMED_PACKET, "malformed packet" },
		{ MOSQ_ERR_OVERSIZE_PACKET, "packet too large" },
		{ 129, "malformed packet" },
		{ 130, "protocol error" },
		{ 139, "broker shutting down" },
		{ 141, "keepalive timeout" },
		{ 142, "taken over" },
		{ 149, "packet too large" },
		{ 151, "quota exceeded" },
		{ 152, "kicked" },
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		if (table[i].reason == reason) {
			return table[i].words;
		}
	}
	snprintf(buffer, REASON_MAX, "reason %d", reason);
	return buffer;
}
