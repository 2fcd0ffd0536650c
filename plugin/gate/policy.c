#include "ota/gate/policy.h"

#include <string.h>

void policy_init(struct policy *policy, const struct options *options)
{
	memset(policy, 0, sizeof(*policy));
	policy->head_length = POLICY_HEAD;
	policy->templates[policy->count++] = &options->status_topic;
	for (size_t i = 0; i < options->notify_topics_count && policy->count < POLICY_TEMPLATES_MAX;
		 i++) {
		policy->templates[policy->count++] = &options->notify_topics[i];
		policy->notify_count++;
	}
	if (options->firmware_directory != NULL) {
		policy->templates[policy->count++] = &options->block_topic;
		policy->templates[policy->count++] = &options->block_get_topic;
	}

	for (size_t i = 0; i < policy->count; i++) {
		const struct topic_template *topic = policy->templates[i];
		size_t shortest = topic->prefix_len + topic->suffix_len;
		uint16_t bit = (uint16_t)(1U << i);

		/* The first look must not go behind a topic's end; no topic is empty. */
		if (policy->head_length > shortest) {
			policy->head_length = shortest == 0 ? 1 : shortest;
		}
		for (size_t place = 0; place < POLICY_HEAD; place++) {
			if (place < topic->prefix_len) {
				policy->head[place][(unsigned char)topic->prefix[place]] |= bit;
				continue;
			}
			/* Past the prefix anything may stand, but something must. */
			for (size_t byte = 1; byte < 256; byte++) {
				policy->head[place][byte] |= bit;
			}
		}
	}
}

unsigned policy_narrow(const struct policy *policy, const char *topic, unsigned candidates)
{
	size_t scanned = 0;
	const char *end = NULL;

	for (unsigned left = candidates; left != 0; left &= left - 1) {
		unsigned i = (unsigned)__builtin_ctz(left);
		const struct topic_template *pattern = policy->templates[i];

		/* A longer prefix was not compared to its end, so there may be nothing behind it. */
		if (pattern->prefix_len > policy->head_length) {
			continue;
		}
		/* Templates mostly share their prefix. */
		if (end == NULL || pattern->prefix_len != scanned) {
			scanned = pattern->prefix_len;
			end = strchrnul(topic + scanned, '/');
		}
		if (end[0] != pattern->suffix[0] || (end[0] != '\0' && end[1] != pattern->suffix[1])) {
			candidates &= ~(1U << i);
		}
	}
	return candidates;
}

/* What the template with this number is about. */
static enum policy_subject subject_of(const struct policy *policy, size_t i)
{
	if (i == 0) {
		return POLICY_STATUS;
	}
	if (i <= policy->notify_count) {
		return POLICY_NOTIFY;
	}
	return i == policy->notify_count + 1 ? POLICY_BLOCK : POLICY_BLOCK_GET;
}

void policy_sort(const struct policy *policy, const char *topic, unsigned candidates,
	struct policy_topic *sorted)
{
	memset(sorted, 0, sizeof(*sorted));
	/* From the last to the first: the status topic is number 0 and loses against a notify topic of the same shape. */
	for (size_t i = policy->count; i-- > 0;) {
		const struct topic_template *pattern = policy->templates[i];
		struct topic_value value;

		if ((candidates >> i & 1U) == 0 || !topic_match_shape(pattern, topic, &value)) {
			continue;
		}
		struct policy_topic found = {
			.subject = subject_of(policy, i),
			.notify = i == 0 ? 0 : i - 1,
			.placeholder = pattern->placeholder,
			.exact = topic_id_valid(value.text, value.length),
		};

		/* Nobody gets hold of what is no id, and may be of any length. */
		if (found.exact) {
			found.value = value;
		}
		/* Two templates may have the same shape with different placeholders; an exact match tells more. */
		if (sorted->subject == POLICY_FOREIGN
			|| (found.subject == sorted->subject && found.exact && !sorted->exact)) {
			*sorted = found;
		}
	}
}

bool policy_own(const struct policy_topic *topic, const char *identity)
{
	if (topic->subject == POLICY_FOREIGN || !topic->exact || identity == NULL) {
		return false;
	}
	/* The value is a valid id, and so is what is the same. */
	return topic->placeholder == TOPIC_FLEET ? topic_id_valid(identity, strlen(identity))
											 : topic_value_is(&topic->value, identity);
}

static enum policy_answer decide_write(
	const struct policy_topic *topic, const char *identity, const char **reason)
{
	if (topic->subject == POLICY_NOTIFY) {
		*reason = "only the broker itself publishes on notify topics";
		return POLICY_DENY;
	}
	if (topic->subject == POLICY_BLOCK) {
		*reason = "only the broker itself publishes blocks";
		return POLICY_DENY;
	}
	if (!topic->exact) {
		*reason = "the topic names no valid device";
		return POLICY_DENY;
	}
	if (!policy_own(topic, identity)) {
		*reason = topic->subject == POLICY_STATUS ? "a client may report for itself only"
												  : "a client may ask for itself only";
		return POLICY_DENY;
	}
	return POLICY_ALLOW;
}

enum policy_answer policy_decide(enum policy_access access, const struct policy_topic *topic,
	const char *identity, bool current, const char **reason)
{
	if (topic->subject == POLICY_FOREIGN) {
		return POLICY_OTHERS;
	}

	switch (access) {
	case POLICY_WRITE:
		return decide_write(topic, identity, reason);
	case POLICY_READ:
		if (topic->subject == POLICY_STATUS || topic->subject == POLICY_BLOCK_GET) {
			return POLICY_OTHERS;
		}
		if (current) {
			return POLICY_ALLOW;
		}
		*reason = topic->subject == POLICY_NOTIFY ? "not the outstanding notice of this device"
												  : "blocks of another device, or old ones";
		return POLICY_DENY;
	case POLICY_SUBSCRIBE:
	case POLICY_UNSUBSCRIBE:
		/* Wildcards leak nothing: notices are directed to one client.  Others' topics by name: see access.c. */
		if ((topic->subject == POLICY_NOTIFY || topic->subject == POLICY_BLOCK)
			&& policy_own(topic, identity)) {
			return POLICY_ALLOW;
		}
		return POLICY_OTHERS;
	}
	return POLICY_OTHERS;
}
