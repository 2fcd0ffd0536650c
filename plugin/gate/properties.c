#include "ota/gate/properties.h"

#include <mqtt_protocol.h>
#include <stdlib.h>
#include <string.h>

/* Of 2.1: NULL before. */
#pragma weak mosquitto_property_read_string
#pragma weak mosquitto_property_read_binary

struct layout_string {
	char *text;
	uint16_t length;
};

/* The list of 2.0. */
struct layout {
	const struct layout *next;
	union {
		uint32_t number;
		struct layout_string string;
	} value;
	struct layout_string name;
	int32_t identifier;
	bool client_generated;
};

static enum {
	WAY_NONE = 0,
	WAY_FUNCTIONS,
	WAY_LAYOUT
} way;

static const struct layout_string *layout_find(const mosquitto_property *list, int identifier)
{
	for (const struct layout *at = (const void *)list; at != NULL; at = at->next) {
		if (at->identifier == identifier) {
			return &at->value.string;
		}
	}
	return NULL;
}

static bool layout_holds(void)
{
	static const char topic[] = "layout/probe";
	static const char data[] = { 'b', '\0', 'c' };
	mosquitto_property *list = NULL;
	const struct layout_string *found;
	bool holds = mosquitto_property_add_string(&list, MQTT_PROP_RESPONSE_TOPIC, topic) == 0
		&& mosquitto_property_add_binary(&list, MQTT_PROP_CORRELATION_DATA, data, sizeof(data))
			== 0;

	if (holds) {
		found = layout_find(list, MQTT_PROP_RESPONSE_TOPIC);
		holds = found != NULL && found->length == sizeof(topic) - 1
			&& memcmp(found->text, topic, sizeof(topic) - 1) == 0;
	}
	if (holds) {
		found = layout_find(list, MQTT_PROP_CORRELATION_DATA);
		holds = found != NULL && found->length == sizeof(data)
			&& memcmp(found->text, data, sizeof(data)) == 0
			&& layout_find(list, MQTT_PROP_CONTENT_TYPE) == NULL;
	}
	mosquitto_property_free_all(&list);
	return holds;
}

bool properties_init(bool modern)
{
	way = WAY_NONE;
	if (modern) {
		if (mosquitto_property_read_string != NULL && mosquitto_property_read_binary != NULL) {
			way = WAY_FUNCTIONS;
		}
	} else if (layout_holds()) {
		way = WAY_LAYOUT;
	}
	return way != WAY_NONE;
}

static enum ota_err too_long(uint16_t length, struct ota_why *why)
{
	ota_why_set(why, "correlation data of %u bytes, accepted are at most %d", (unsigned)length,
		PROPERTIES_CORRELATION_MAX);
	return OTA_ERR_INVALID;
}

static enum ota_err take(struct properties *found, const char *topic, size_t topic_length,
	const void *correlation, uint16_t length, struct ota_why *why)
{
	if (correlation != NULL && length > PROPERTIES_CORRELATION_MAX) {
		return too_long(length, why);
	}
	if (topic != NULL && (found->response_topic = strndup(topic, topic_length)) == NULL) {
		return OTA_ERR_NOMEM;
	}
	if (correlation != NULL) {
		found->correlation = malloc((size_t)length + 1);
		if (found->correlation == NULL) {
			properties_clear(found);
			return OTA_ERR_NOMEM;
		}
		memcpy(found->correlation, correlation, length);
		found->correlation_length = length;
	}
	return OTA_OK;
}

enum ota_err properties_read(
	const mosquitto_property *list, struct properties *found, struct ota_why *why)
{
	const struct layout_string *topic;
	const struct layout_string *data;
	char *text = NULL;
	void *binary = NULL;
	uint16_t length = 0;
	enum ota_err err;

	memset(found, 0, sizeof(*found));
	if (list == NULL || way == WAY_NONE) {
		return OTA_OK;
	}
	if (way == WAY_LAYOUT) {
		topic = layout_find(list, MQTT_PROP_RESPONSE_TOPIC);
		data = layout_find(list, MQTT_PROP_CORRELATION_DATA);
		return take(found, topic == NULL ? NULL : topic->text, topic == NULL ? 0 : topic->length,
			data == NULL ? NULL : data->text, data == NULL ? 0 : data->length, why);
	}
	(void)mosquitto_property_read_string(list, MQTT_PROP_RESPONSE_TOPIC, &text, false);
	(void)mosquitto_property_read_binary(list, MQTT_PROP_CORRELATION_DATA, &binary, &length, false);
	err = take(found, text, text == NULL ? 0 : strlen(text), binary, length, why);
	mosquitto_free(text);
	mosquitto_free(binary);
	return err;
}

void properties_clear(struct properties *found)
{
	free(found->response_topic);
	free(found->correlation);
	memset(found, 0, sizeof(*found));
}
