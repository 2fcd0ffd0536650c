#include "ota/gate/deliver_send.h"

#include <limits.h>
#include <string.h>

#include "ota/gate/emit.h"
#include "ota/gate/state.h"

/* Is the store's memory of the topic one of this device's notify topics?  A fleet that is not known is not checked. */
static bool hint_fits(
	const struct options *options, const char *hint, const char *device, const char *fleet)
{
	for (size_t i = 0; i < options->notify_topics_count; i++) {
		const struct topic_template *notify = &options->notify_topics[i];
		struct topic_value value;

		if (!topic_match(notify, hint, &value)) {
			continue;
		}
		if (notify->placeholder == TOPIC_FLEET ? fleet == NULL || topic_value_is(&value, fleet)
											   : topic_value_is(&value, device)) {
			return true;
		}
	}
	return false;
}

static enum ota_err choose_topic(const struct gate *gate, const struct session *session,
	const char *device, const char *hint, const char *fleet, char *topic, size_t size)
{
	const struct options *options = gate->options;
	bool own = session->device != NULL && strcmp(session->device, device) == 0;

	if (own && session->notify >= 0) {
		const struct topic_template *notify = &options->notify_topics[session->notify];

		return topic_render(notify,
			notify->placeholder == TOPIC_FLEET ? session->fleet : session->device, topic, size);
	}
	if (own && hint != NULL && strlen(hint) < size && hint_fits(options, hint, device, fleet)) {
		memcpy(topic, hint, strlen(hint) + 1);
		return OTA_OK;
	}
	for (size_t i = options->notify_topics_count; i-- > 0;) {
		const struct topic_template *notify = &options->notify_topics[i];
		const char *value = notify->placeholder == TOPIC_DEVICE ? device : (own ? fleet : NULL);

		if (value != NULL && topic_render(notify, value, topic, size) == OTA_OK) {
			return OTA_OK;
		}
	}
	return OTA_ERR_INVALID;
}

enum ota_err deliver_send(const struct gate *gate, const struct session *session,
	const char *device, const char *hint, const char *fleet, const char *payload, size_t length)
{
	char topic[TOPIC_MAX];
	void *copy;

	if (fleet == NULL || fleet[0] == '\0') {
		fleet = session->fleet;
	}
	if (length > INT_MAX
		|| choose_topic(gate, session, device, hint, fleet, topic, sizeof(topic)) != OTA_OK
		|| mosquitto_pub_topic_check(topic) != MOSQ_ERR_SUCCESS) {
		return OTA_ERR_INVALID;
	}
	/* From the broker's allocator: the broker frees it, and its memory accounting stays right. */
	copy = mosquitto_malloc(length + 1);
	if (copy == NULL) {
		return OTA_ERR_NOMEM;
	}
	memcpy(copy, payload, length);
	((char *)copy)[length] = '\0';
	if (mosquitto_broker_publish(session->client_id, topic, (int)length, copy, 1, false, NULL)
		!= MOSQ_ERR_SUCCESS) {
		mosquitto_free(copy);
		return OTA_ERR_UNAVAILABLE;
	}
	return OTA_OK;
}

void deliver_undelivered(struct gate *gate, const struct change *offer,
	const struct session *session, enum report_status status, const char *code, const char *words)
{
	struct event event = {
		.kind = EVENT_UNDELIVERED,
		.session = session == NULL ? 0 : session->number,
		.rollout = offer->rollout,
		.attempt = offer->attempt,
		.status = status,
		.device = offer->device,
		.client = session == NULL ? NULL : session->client_id,
		.error = code,
		.text = words,
	};

	/* It was told before, and the database knows. */
	if (offer->again) {
		return;
	}
	gate->counters.undelivered++;
	emit_or_lose(gate, &event);
}

struct session *deliver_target(
	const struct gate *gate, const char *device, const char *via, bool *listening)
{
	struct session *session = sessions_of_device(&gate->sessions, device);
	const struct via_child *child;

	*listening = session != NULL && session->listening;
	if (*listening || via == NULL) {
		return session;
	}
	child = via_child_of(&gate->via, via, device);
	if (child != NULL) {
		session = child->session;
		*listening = child->listening;
	}
	return session;
}

void deliver_answered(struct gate *gate, const char *device)
{
	struct told_notice *notice = told_notice_of(&gate->deliver.told, device);

	if (notice != NULL && !notice->sent) { /* of before this start: nothing is on its way */
		told_notice_drop(&gate->deliver.told, notice);
	} else if (notice != NULL) {
		notice->answered = true;
		told_terms_drop(&gate->deliver.told, notice);
	}
}

void deliver_session_ends(struct gate *gate, const struct session *session, const char *device)
{
	struct told_notice *notice = told_notice_of(&gate->deliver.told, device);

	/* The end of an older session says nothing about what was told in a newer one. */
	if (notice != NULL && notice->answered && notice->session <= session->number) {
		told_notice_drop(&gate->deliver.told, notice);
	}
}
