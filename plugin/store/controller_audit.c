/* The months of the audit log, see docs/design/audit.md. */
#include "ota/base/clock.h"

#include "controller_internal.h"

enum {
	AUDIT_MS = 600000,
	/* While there is more to do: each call takes a third of a second. */
	AUDIT_MORE_MS = 1000,
};

enum ota_err controller_audit(struct controller *controller, struct pg *pg, struct ota_why *why)
{
	int64_t now = clock_mono_ms();
	PGresult *result = NULL;
	const char *said;
	bool more = false;
	enum ota_err err;

	if (now < controller->audit_at) {
		return OTA_OK;
	}
	err =
		pg_exec(pg, "SELECT more, said FROM ota.controller_audit_upkeep()", 0, NULL, &result, why);
	if (err == OTA_ERR_UNAVAILABLE || err == OTA_ERR_TIMEOUT || err == OTA_ERR_CONFLICT) {
		return err;
	}
	if (err) {
		/* The rollouts go on without it, and so does the log: events without a month have a table, too. */
		logring_printf(
			controller->log, LOG_LEVEL_WARNING, "months of the audit log: %s", why->text);
	} else if (PQntuples(result) > 0) {
		more = pg_bool(result, 0, 0);
		said = pg_text(result, 0, 1);
		if (said) {
			logring_printf(controller->log, LOG_LEVEL_NOTICE, "%s", said);
		}
	}
	PQclear(result);
	controller->audit_at = now + (more ? AUDIT_MORE_MS : AUDIT_MS);
	return OTA_OK;
}
