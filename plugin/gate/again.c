#include "ota/gate/again.h"

#include <stdlib.h>
#include <string.h>

#include "ota/gate/deliver.h"
#include "ota/gate/emit.h"
#include "ota/gate/state.h"
#include "ota/rules/eligibility.h"

void again_database(struct gate *gate, const struct change *change)
{
	gate->again = (struct again){
		.away = !change->live, .since_ms = change->since_ms, .until_ms = change->until_ms
	};
}

bool again_allowed(const struct gate *gate)
{
	int64_t now_ms = gate->clock.wall_ms();

	/* A clock that was set back says nothing about how long ago it was. */
	return !gate->again.away || (now_ms >= gate->again.since_ms && now_ms < gate->again.until_ms);
}

/* Has it answered in the session in which it can be told?  What a gateway says of itself is no answer of its devices. */
static bool has_answered(const struct gate *gate, const struct session *session, const char *device)
{
	const struct via_child *child;

	if (session->device == NULL || strcmp(session->device, device) == 0) {
		return session->answered;
	}
	child = via_child_of(&gate->via, session->device, device);
	return child != NULL && child->answered;
}

/* The notify topic that `hint` is for this device, -1: none in which it stands. */
static int8_t topic_of(const struct gate *gate, const char *hint, const char *device)
{
	for (size_t i = 0; hint != NULL && i < gate->options->notify_topics_count; i++) {
		const struct topic_template *notify = &gate->options->notify_topics[i];
		struct topic_value value;

		if (notify->placeholder == TOPIC_DEVICE && topic_match(notify, hint, &value)
			&& topic_value_is(&value, device)) {
			return (int8_t)i;
		}
	}
	return -1;
}

void again_keep(struct gate *gate, struct told_notice *notice, const struct change *offer)
{
	struct told *told = &gate->deliver.told;

	notice->topic = topic_of(gate, offer->topic, offer->device);
	notice->terms = terms_hold(&told->terms, offer, notice->topic < 0 ? offer->topic : NULL);
}

static char *copy(const char *text)
{
	return text == NULL ? NULL : strdup(text);
}

/* The offer once more; the caller's.  NULL: no memory. */
static struct change *make(const struct gate *gate, const struct told_notice *notice)
{
	const struct terms *terms = notice->terms;
	struct change *offer = change_new(CHANGE_OFFER);
	char topic[TOPIC_MAX];

	if (offer == NULL) {
		return NULL;
	}
	offer->again = true;
	offer->device = strdup(notice->device);
	offer->rollout = notice->rollout;
	offer->release_id = notice->release_id;
	offer->attempt = notice->attempt;
	offer->deadline_ms = notice->deadline_ms;
	offer->sequence = terms->sequence;
	offer->stage = copy(terms->stage);
	offer->fleet = copy(terms->fleet);
	offer->hardware = copy(terms->hardware);
	offer->version = copy(terms->version);
	offer->via = copy(terms->via);
	offer->topic = copy(terms->topic);
	if (notice->topic >= 0
		&& topic_render(
			   &gate->options->notify_topics[notice->topic], notice->device, topic, sizeof(topic))
			== OTA_OK) {
		offer->topic = strdup(topic);
	}
	return offer;
}

void again_claim(struct gate *gate, struct change *change)
{
	const struct session *session;
	struct told_notice *notice;
	bool listening;

	if (change->device == NULL || told_notice_of(&gate->deliver.told, change->device) != NULL
		|| (notice = told_notice_put(&gate->deliver.told, NULL, change->device)) == NULL) {
		change_free(change);
		return;
	}
	notice->rollout = change->rollout;
	notice->attempt = change->attempt;
	notice->release_id = change->release_id;
	notice->deadline_ms = change->deadline_ms;
	again_keep(gate, notice, change);
	grant_told(gate, change, 0);
	/* It may be here already, and have answered before this came. */
	session = deliver_target(gate, change->device, change->via, &listening);
	if (session != NULL && has_answered(gate, session, change->device)) {
		told_notice_drop(&gate->deliver.told, notice);
	} else if (session != NULL && listening) {
		again_returned(gate, session, change->device);
	}
	change_free(change);
}

void again_returned(struct gate *gate, const struct session *session, const char *device)
{
	struct told *told = &gate->deliver.told;
	struct told_notice *notice = told_notice_of(told, device);

	if (notice == NULL || notice->terms == NULL || notice->session == session->number) {
		return;
	}
	told_again_at(told, notice, gate->clock.mono_us() + (int64_t)AGAIN_AFTER_MS * 1000);
}

/* Nothing is said of one that cannot be told: the database still knows that it was, and goes on from there. */
static bool is_ready(const struct gate *gate, const struct told_notice *notice)
{
	const struct terms *terms = notice->terms;
	const int64_t now_ms = gate->clock.wall_ms();
	const struct device_facts facts = {
		.fleet = terms->fleet,
		.hardware = terms->hardware,
		.version = terms->version,
		.sequence = terms->sequence,
	};
	const struct deliver_release *release = deliver_release_of(&gate->deliver, notice->release_id);
	const struct session *session;
	bool listening;

	if (!gate->again.away || !again_allowed(gate)
		|| (notice->deadline_ms > 0 && now_ms >= notice->deadline_ms) || release == NULL
		|| !deliver_is_live(gate, notice->rollout)
		|| eligibility_check(&release->release->manifest->terms, &facts, now_ms) != ELIGIBLE) {
		return false;
	}
	session = deliver_target(gate, notice->device, terms->via, &listening);
	return session != NULL && listening && session->number != notice->session;
}

void again_work(struct gate *gate)
{
	struct told *told = &gate->deliver.told;
	const int64_t now_us = gate->clock.mono_us();

	while (told->again != NULL && told->again->again_us <= now_us
		&& gate->deliver.waiting_count < DELIVER_WAITING_MAX) {
		struct told_notice *notice = told->again;

		told_again_not(told, notice);
		if (is_ready(gate, notice)) {
			struct change *offer = make(gate, notice);

			told_terms_drop(told, notice); /* once: what comes then is for the database to say */
			if (offer != NULL) {
				deliver_wait(&gate->deliver, offer);
			}
		}
	}
}

enum ota_err again_note(
	struct gate *gate, const struct change *offer, const struct session *session)
{
	struct event event = {
		.kind = EVENT_TOLD,
		.session = session->device != NULL && strcmp(session->device, offer->device) == 0
			? session->number
			: 0,
		.rollout = offer->rollout,
		.attempt = offer->attempt,
		.device = offer->device,
		.client = session->client_id,
	};

	return offer->again ? emit_event(gate, &event) : OTA_OK;
}

bool again_runs_it(const struct gate *gate, const char *device, const char *version)
{
	const struct told_notice *notice = told_notice_of(&gate->deliver.told, device);
	const struct deliver_release *release =
		notice == NULL ? NULL : deliver_release_of(&gate->deliver, notice->release_id);

	return release != NULL && version != NULL
		&& strcmp(release->release->manifest->terms.version, version) == 0;
}
