#include "ota/ctl/options.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char connection_help[] =
	"Connection options, as of mosquitto_pub:\n"
	"  -h, --host HOST        the broker (localhost)\n"
	"  -p, --port PORT        its port (1883, with TLS 8883)\n"
	"  -u, --username NAME    a name that is in the broker's plugin_opt_control_users\n"
	"  -P, --pw PASSWORD      better in a file, see -o\n"
	"  -i, --id ID            MQTT client id (a random one)\n"
	"  -A ADDRESS             local address to connect from\n"
	"  -V, --protocol-version mqttv311 or mqttv5 (mqttv311)\n"
	"      --cafile FILE, --capath DIRECTORY, --cert FILE, --key FILE, --tls-version VERSION,\n"
	"      --ciphers LIST, --insecure\n"
	"  -o, --options FILE     options from a file, one a line; ~/.config/mosquitto_ota is read anyway\n"
	"      --timeout SECONDS  how long to wait for an answer (10)\n"
	"      --json             JSON instead of tables\n";

enum {
	LINE_MAX_BYTES = 4096
};

enum kind {
	KIND_TEXT,
	KIND_PORT,
	KIND_SECONDS,
	KIND_PROTOCOL,
	KIND_FLAG,
	KIND_FILE,
	KIND_IGNORED,
};

static const struct option_row {
	const char *brief;
	const char *name;
	enum kind kind;
	size_t offset;
} rows[] = {
	{ "-h", "--host", KIND_TEXT, offsetof(struct connection, host) },
	{ "-p", "--port", KIND_PORT, offsetof(struct connection, port) },
	{ "-u", "--username", KIND_TEXT, offsetof(struct connection, username) },
	{ "-P", "--pw", KIND_TEXT, offsetof(struct connection, password) },
	{ "-i", "--id", KIND_TEXT, offsetof(struct connection, id) },
	{ "-A", "--bind", KIND_TEXT, offsetof(struct connection, bind) },
	{ "-V", "--protocol-version", KIND_PROTOCOL, offsetof(struct connection, protocol) },
	{ "-q", "--qos", KIND_IGNORED, 0 },
	{ "", "--cafile", KIND_TEXT, offsetof(struct connection, cafile) },
	{ "", "--capath", KIND_TEXT, offsetof(struct connection, capath) },
	{ "", "--cert", KIND_TEXT, offsetof(struct connection, cert) },
	{ "", "--key", KIND_TEXT, offsetof(struct connection, key) },
	{ "", "--tls-version", KIND_TEXT, offsetof(struct connection, tls_version) },
	{ "", "--ciphers", KIND_TEXT, offsetof(struct connection, ciphers) },
	{ "", "--insecure", KIND_FLAG, offsetof(struct connection, insecure) },
	{ "-o", "--options", KIND_FILE, 0 },
	{ "", "--timeout", KIND_SECONDS, offsetof(struct connection, timeout_s) },
	{ "", "--json", KIND_FLAG, offsetof(struct connection, json) },
};

static enum ota_err read_number(const char *name, const char *text, long max, int *value,
	const char *accepted, struct ota_why *why)
{
	char *end = NULL;
	long number;

	errno = 0;
	number = strtol(text, &end, 10);
	if (errno != 0 || end == text || *end != '\0' || number < 1 || number > max) {
		ota_why_set(why, "%s is \"%s\"; accepted is %s", name, text, accepted);
		return OTA_ERR_INVALID;
	}
	*value = (int)number;
	return OTA_OK;
}

static enum ota_err read_protocol(const char *text, int *protocol, struct ota_why *why)
{
	if (strcmp(text, "mqttv311") == 0 || strcmp(text, "311") == 0) {
		*protocol = 4;
	} else if (strcmp(text, "mqttv5") == 0 || strcmp(text, "5") == 0) {
		*protocol = 5;
	} else {
		ota_why_set(why, "--protocol-version is \"%s\"; accepted are mqttv311 and mqttv5", text);
		return OTA_ERR_INVALID;
	}
	return OTA_OK;
}

static enum ota_err read_file(
	struct connection *connection, const char *path, bool required, struct ota_why *why);

static enum ota_err take_value(struct connection *connection, const struct option_row *row,
	const char *value, struct ota_why *why)
{
	char *field = (char *)connection + row->offset;

	switch (row->kind) {
	case KIND_TEXT:
		memcpy(field, &value, sizeof(value));
		return OTA_OK;
	case KIND_PORT:
		return read_number(row->name, value, 65535, &connection->port, "1 to 65535", why);
	case KIND_SECONDS:
		return read_number(
			row->name, value, 86400, &connection->timeout_s, "1 to 86400 seconds", why);
	case KIND_PROTOCOL:
		return read_protocol(value, &connection->protocol, why);
	case KIND_FILE:
		return read_file(connection, value, true, why);
	case KIND_FLAG:
	case KIND_IGNORED:
		break;
	}
	return OTA_OK;
}

enum ota_err connection_option(
	struct connection *connection, int argc, char *const *argv, int *used, struct ota_why *why)
{
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct option_row *row = &rows[i];
		const bool yes = true;

		if (strcmp(argv[0], row->name) != 0 && strcmp(argv[0], row->brief) != 0) {
			continue;
		}
		*used = 1;
		if (row->kind == KIND_FLAG) {
			memcpy((char *)connection + row->offset, &yes, sizeof(yes));
			return OTA_OK;
		}
		if (argc < 2) {
			ota_why_set(why, "option %s needs a value", argv[0]);
			return OTA_ERR_INVALID;
		}
		*used = 2;
		return take_value(connection, row, argv[1], why);
	}
	return OTA_ERR_NOT_FOUND;
}

/* One line: an option and the rest of the line as its value. */
static enum ota_err take_line(struct connection *connection, char *line, struct ota_why *why)
{
	char *argv[2] = { line, NULL };
	char *value = line + strcspn(line, " \t");
	int used = 0;
	enum ota_err err;

	if (*value != '\0') {
		*value++ = '\0';
		value += strspn(value, " \t");
		argv[1] = value;
	}
	if (strcmp(argv[0], "-o") == 0 || strcmp(argv[0], "--options") == 0) {
		ota_why_set(why, "a file of options cannot name another");
		return OTA_ERR_INVALID;
	}
	err = connection_option(connection, argv[1] ? 2 : 1, argv, &used, why);
	if (err == OTA_ERR_NOT_FOUND) {
		ota_why_set(why, "unknown option %s", argv[0]);
		return OTA_ERR_INVALID;
	}
	return err;
}

static enum ota_err read_file(
	struct connection *connection, const char *path, bool required, struct ota_why *why)
{
	char line[LINE_MAX_BYTES];
	struct ota_why inner = { "" };
	enum ota_err err = OTA_OK;
	FILE *file = fopen(path, "r");

	if (!file) {
		if (!required && errno == ENOENT) {
			return OTA_OK;
		}
		ota_why_set(why, "cannot read the options in %s: %s", path, strerrordesc_np(errno));
		return OTA_ERR_IO;
	}
	for (int number = 1; !err && fgets(line, sizeof(line), file); number++) {
		char *begin = line + strspn(line, " \t");
		char *copy;

		begin[strcspn(begin, "\r\n")] = '\0';
		if (*begin == '\0' || *begin == '#') {
			continue;
		}
		copy = connection->text_count < CONNECTION_TEXTS_MAX ? strdup(begin) : NULL;
		if (!copy) {
			ota_why_set(why, "%s: too many options", path);
			err = OTA_ERR_FULL;
			break;
		}
		connection->texts[connection->text_count++] = copy;
		err = take_line(connection, copy, &inner);
		if (err) {
			ota_why_set(why, "%s, line %d: %s", path, number, inner.text);
		}
	}
	(void)fclose(file);
	return err;
}

void connection_defaults(struct connection *connection)
{
	*connection = (struct connection){ .host = "localhost", .protocol = 4, .timeout_s = 10 };
}

enum ota_err connection_init(struct connection *connection, struct ota_why *why)
{
	const char *folder = getenv("XDG_CONFIG_HOME");
	const char *home = getenv("HOME");
	char path[LINE_MAX_BYTES];
	int length;

	connection_defaults(connection);
	if (folder && *folder) {
		length = snprintf(path, sizeof(path), "%s/mosquitto_ota", folder);
	} else if (home && *home) {
		length = snprintf(path, sizeof(path), "%s/.config/mosquitto_ota", home);
	} else {
		return OTA_OK;
	}
	return length < (int)sizeof(path) ? read_file(connection, path, false, why) : OTA_OK;
}

void connection_free(struct connection *connection)
{
	while (connection->text_count > 0) {
		free(connection->texts[--connection->text_count]);
	}
}
