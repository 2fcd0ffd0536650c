#include "ota/store/migrate.h"

#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>

#include "ota/base/hex.h"
#include "ota/rules/version.h"
#include "ota/store/sql_files.h"

static bool is_migration(const char *name)
{
	return strncmp(name, "migrations/", 11) == 0;
}

/* "migrations/0001_schema.sql" is 1. */
static int64_t migration_version(const char *name)
{
	return strtoll(name + 11, NULL, 10);
}

/* SHA-256 over all functions and views, as hex. */
static enum ota_err functions_digest(char out[65])
{
	enum ota_err err = OTA_ERR_NOMEM;
	unsigned char digest[32];
	unsigned int length = 0;
	EVP_MD_CTX *context = EVP_MD_CTX_new();

	if (!context || !EVP_DigestInit_ex(context, EVP_sha256(), NULL)) {
		goto out;
	}
	for (size_t i = 0; i < sql_files_count; i++) {
		if (!is_migration(sql_files[i].name)
			&& !EVP_DigestUpdate(context, sql_files[i].text, strlen(sql_files[i].text))) {
			goto out;
		}
	}
	if (!EVP_DigestFinal_ex(context, digest, &length) || length != sizeof(digest)) {
		goto out;
	}
	hex_write(digest, sizeof(digest), out);
	err = OTA_OK;
out:
	EVP_MD_CTX_free(context);
	return err;
}

/* One value of one row; 0 for no row. */
static enum ota_err query_int(struct pg *pg, const char *sql, int64_t *value, struct ota_why *why)
{
	PGresult *result = NULL;
	enum ota_err err = pg_exec(pg, sql, 0, NULL, &result, why);

	if (!err) {
		*value = PQntuples(result) > 0 ? pg_int(result, 0, 0) : 0;
		PQclear(result);
	}
	return err;
}

static enum ota_err apply_file(struct pg *pg, const struct sql_file *file, struct ota_why *why)
{
	struct ota_why inner = { "" };
	enum ota_err err = pg_script(pg, file->text, &inner);

	if (err) {
		ota_why_set(why, "sql/%s: %.250s", file->name, inner.text);
	}
	return err;
}

/* *replaces: there was an older schema, which other brokers may be using. */
static enum ota_err apply_migrations(
	struct pg *pg, bool owns, bool *replaces, struct logring *log, struct ota_why *why)
{
	int64_t exists = 0;
	int64_t have = 0;
	int64_t know = 0;
	enum ota_err err = query_int(
		pg, "SELECT (to_regclass('ota.schema_migration') IS NOT NULL)::int", &exists, why);

	if (!err && exists) {
		err = query_int(pg, "SELECT max(version) FROM ota.schema_migration", &have, why);
	}
	if (err) {
		return err;
	}
	for (size_t i = 0; i < sql_files_count && is_migration(sql_files[i].name); i++) {
		know = migration_version(sql_files[i].name);
	}
	if (have < know && exists && !owns) {
		ota_why_set(why,
			"the database has schema version %lld, this plugin needs %lld: let the owner of schema ota run sql/install.sql",
			(long long)have, (long long)know);
		return OTA_ERR_DENIED;
	}
	if (have > know) {
		ota_why_set(why,
			"the database has schema version %lld, this plugin knows up to %lld: upgrade the plugin",
			(long long)have, (long long)know);
		return OTA_ERR_DENIED;
	}
	for (size_t i = 0; i < sql_files_count && is_migration(sql_files[i].name); i++) {
		if (migration_version(sql_files[i].name) > have) {
			err = apply_file(pg, &sql_files[i], why);
			if (err) {
				return err;
			}
			logring_printf(log, LOG_LEVEL_NOTICE, "database: applied sql/%s", sql_files[i].name);
		}
	}
	*replaces = exists && have < know;
	return OTA_OK;
}

/* Is the text of the functions that are there a newer plugin's?  Of one that said no version nobody knows. */
static bool is_newer(const char *version)
{
	return version_valid(version) && version_valid(OTA_VERSION)
		&& version_compare(version, OTA_VERSION) > 0;
}

static enum ota_err note_functions(struct pg *pg, const char *digest, struct ota_why *why)
{
	const char *values[2] = { digest, OTA_VERSION };

	return pg_exec(pg,
		"INSERT INTO ota.setting VALUES ('functions', $1), ('functions_of', $2) "
		"ON CONFLICT (name) DO UPDATE SET value = excluded.value",
		2, values, NULL, why);
}

static enum ota_err apply_functions(
	struct pg *pg, bool owns, struct logring *log, struct ota_why *why)
{
	char digest[65] = "";
	PGresult *result = NULL;
	bool same = false;
	bool newer = false;
	enum ota_err err = functions_digest(digest);

	if (!err) {
		err = pg_exec(pg,
			"SELECT (SELECT value FROM ota.setting WHERE name = 'functions'), "
			"(SELECT value FROM ota.setting WHERE name = 'functions_of')",
			0, NULL, &result, why);
	}
	if (err) {
		return err;
	}
	same = pg_text(result, 0, 0) && strcmp(pg_text(result, 0, 0), digest) == 0;
	newer = is_newer(pg_text(result, 0, 1));
	if (!same && newer) {
		/* Or two brokers that are upgraded one after the other would take each other's functions away, at each new connection. */
		logring_printf(log, LOG_LEVEL_NOTICE,
			"database: using the functions and views of plugin %s; this one is %s: upgrade it",
			pg_text(result, 0, 1), OTA_VERSION);
	} else if (!same && !owns) {
		logring_printf(log, LOG_LEVEL_NOTICE,
			"database: using the functions and views that the owner of schema ota has installed");
	}
	PQclear(result);
	if (same || newer || !owns) {
		return OTA_OK;
	}
	for (size_t i = 0; i < sql_files_count; i++) {
		if (!is_migration(sql_files[i].name)) {
			err = apply_file(pg, &sql_files[i], why);
			if (err) {
				return err;
			}
		}
	}
	logring_printf(log, LOG_LEVEL_INFO, "database: installed functions and views");
	return note_functions(pg, digest, why);
}

/*
 * Ends the other brokers' sessions, which hold the lock of a broker's name (see take_name() in store_link.c).  They connect again at once: a
 * plugin that knows the new tables goes on, an older one finds that it does not, and keeps its reports until it is upgraded, instead of
 * working on with functions that are not its own.  Who may not end them leaves them alone: they find out by their next error.
 */
static void send_away(struct pg *pg)
{
	struct ota_why ignored;

	(void)!pg_script(pg,
		"SELECT pg_terminate_backend(l.pid) FROM pg_locks l WHERE l.locktype = 'advisory' AND l.objsubid = 2 "
		"AND l.classid = (hashtext('ota.broker')::bigint & 4294967295)::oid AND l.granted "
		"AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database()) "
		"AND l.pid <> pg_backend_pid()",
		&ignored);
}

enum ota_err migrate(struct pg *pg, struct logring *log, struct ota_why *why)
{
	int64_t owns = 0;
	bool replaces = false;
	/* The lock waits for the other broker, however long its migration takes. */
	enum ota_err err = pg_script(pg,
		"BEGIN; SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0; "
		"SET LOCAL check_function_bodies = off; "
		"SELECT pg_advisory_xact_lock(hashtext('ota.migrate'))",
		why);

	/* A member of ota_plugin uses what the owner has installed; where there is nothing yet, whoever comes first becomes the owner. */
	if (!err) {
		err = query_int(pg,
			"SELECT coalesce((SELECT pg_has_role(n.nspowner, 'USAGE') FROM pg_namespace n "
			"WHERE n.nspname = 'ota'), true)::int",
			&owns, why);
	}
	if (!err) {
		err = apply_migrations(pg, owns != 0, &replaces, log, why);
	}
	if (!err) {
		err = apply_functions(pg, owns != 0, log, why);
	}
	if (err) {
		struct ota_why ignored;

		/* After a lost connection there is nothing to roll back. */
		(void)!pg_script(pg, "ROLLBACK", &ignored);
		return err;
	}
	err = pg_script(pg, "COMMIT", why);
	if (!err && replaces) {
		send_away(pg);
	}
	return err;
}
