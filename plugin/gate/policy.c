#include "ota/gate/policy.h"

#include <string.h>

void policy_init(struct policy *policy, const struct options *options)
{
	memset(policy, 0, sizeof(*policy));
	policy->templates[policy->count++] = &options->status_topic;
	for (size_t i = 0; i < options->notify_topics_count && policy->count < POLICY_TEMPLATES_MAX;
		 i++)
		policy->templates[policy->count++] = &options->notify_topics[i];

	for (size_t i = 0; i < policy->count; i++) {
		const struct topic_template *topic = policy->templates[i];
		uint16_t bit = (uint16_t)(1U << i);

		for (size_t place = 0; place < POLICY_HEAD; place++) {
			if (place < topic->prefix_len) {
				policy->head[place][(unsigned char)topic->prefix[place]] |= bit;
				continue;
			}
			/* Past the prefix anything may stand, the end of the topic too. */
			for (size_t byte = 0; byte < 256; byte++)
				policy->head[place][byte] |= bit;
		}
	}
}

void policy_sort(const struct policy *policy, const char *topic, unsigned candidates,
	struct policy_topic *sorted)
{
	memset(sorted, 0, sizeof(*sorted));
	/* From the last to the first: the status topic is number 0 and loses against a notify topic of the same shape. */
	for (size_t i = policy->count; i-- > 0;) {
		const struct topic_template *pattern = policy->templates[i];

		if ((candidates >> i & 1U) == 0 || !topic_match_shape(pattern, topic))
			continue;
		struct policy_topic found = {
			.subject = i == 0 ? POLICY_STATUS : POLICY_NOTIFY,
			.notify = i == 0 ? 0 : i - 1,
			.placeholder = pattern->placeholder,
		};
		found.exact = topic_match(pattern, topic, &found.value);
		/* Two templates may have the same shape with different placeholders; an exact match tells more. */
		if (sorted->subject == POLICY_FOREIGN
			|| (found.subject == sorted->subject && found.exact && !sorted->exact))
			*sorted = found;
	}
}

static bool value_is(const struct topic_value *value, const char *text)
{
	return strlen(text) == value->length && memcmp(text, value->text, value->length) == 0;
}

bool policy_own(const struct policy_topic *topic, const char *identity)
{
	if (topic->subject == POLICY_FOREIGN || !topic->exact || identity == NULL
		|| !topic_id_valid(identity, strlen(identity)))
		return false;
	return topic->placeholder == TOPIC_FLEET || value_is(&topic->value, identity);
}

static enum policy_answer decide_write(
	const struct policy_topic *topic, const char *identity, const char **reason)
{
	if (topic->subject == POLICY_NOTIFY) {
		*reason = "only the broker itself publishes on notify topics";
		return POLICY_DENY;
	}
	if (!topic->exact) {
		*reason = "the topic names no valid device";
		return POLICY_DENY;
	}
	if (!policy_own(topic, identity)) {
		*reason = "a client may report for itself only";
		return POLICY_DENY;
	}
	return POLICY_ALLOW;
}

enum policy_answer policy_decide(enum policy_access access, const struct policy_topic *topic,
	const char *identity, bool current, const char **reason)
{
	if (topic->subject == POLICY_FOREIGN)
		return POLICY_OTHERS;

	switch (access) {
	case POLICY_WRITE:
		return decide_write(topic, identity, reason);
	case POLICY_READ:
		if (topic->subject == POLICY_STATUS)
			return POLICY_OTHERS;
		if (current)
			return POLICY_ALLOW;
		*reason = "not the outstanding notice of this device";
		return POLICY_DENY;
	case POLICY_SUBSCRIBE:
	case POLICY_UNSUBSCRIBE:
		/* Wildcards and others' topics leak nothing: notices are directed to one client. */
		if (topic->subject == POLICY_NOTIFY && policy_own(topic, identity))
			return POLICY_ALLOW;
		return POLICY_OTHERS;
	}
	return POLICY_OTHERS;
}
