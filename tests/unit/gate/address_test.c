/* The URL in a notice: the fleet's or the manifest's, or no notice. */
#include "deliver_fixture.h"

static const struct credentials KEYS = { .count = 1,
	.items = { { .name = "fw", .key_id = "AKID", .secret = "secret", .region = "r1" } } };

static void give_urls(struct fixture *f, const char *text)
{
	struct change *change = change_new(CHANGE_URLS);

	assert_non_null(change);
	assert_int_equal(fleet_urls_parse(text, &KEYS, &change->urls), OTA_OK);
	push(f, change);
}

/* Tell the device; its notice, or NULL when there was none. */
static const char *tell(struct fixture *f, const char *urls, int32_t attempt)
{
	fake_forget_publishes();
	fixture_forget(f);
	if (urls != NULL) {
		give_urls(f, urls);
	}
	push(f, new_offer("d1", attempt));
	fixture_tick(50);
	return fake_publishes() > 0 ? fake_publish_at(0)->payload : NULL;
}

static void the_fleets_url_or_the_manifests(void **state)
{
	struct mosquitto client = { .id = "d1", .protocol_version = 4, .clean_session = true };
	struct fixture *f = fixture_ready(&client);
	(void)state;

	assert_non_null(strstr(tell(f, NULL, 1), "\"url\":\"https://cdn.example.com/1.5.0.bin\","));
	assert_non_null(strstr(tell(f, "north\thttp://local:9000/fw{path}\t", 2),
		"\"url\":\"http://local:9000/fw/1.5.0.bin\",\"sha256\":"));
	/* Whoever reads it back knows it. */
	assert_int_equal(fixture_acl(&client, MOSQ_ACL_READ, "fleet/north/ota/available",
						 fake_publish_at(0)->payload),
		MOSQ_ERR_SUCCESS);
	assert_non_null(strstr(tell(f, "south\thttp://local{path}\t", 3), "https://cdn.example.com/"));
	assert_non_null(strstr(tell(f, "north\thttp://local{path}\t", 4), "http://local/1.5.0.bin\""));
	assert_non_null(strstr(tell(f, "", 5), "https://cdn.example.com/"));
	fixture_free(f);
}

/* Signed when it is told, until the device's deadline. */
static void signed_now(void **state)
{
	struct mosquitto client = { .id = "d1", .protocol_version = 4, .clean_session = true };
	struct fixture *f = fixture_ready(&client);
	const char *notice = tell(f, "north\thttps://b{path}\tfw", 1);
	char first[4096];
	(void)state;

	assert_non_null(notice);
	assert_non_null(strstr(notice, "https://b/1.5.0.bin?X-Amz-Algorithm=AWS4-HMAC-SHA256&"));
	assert_non_null(strstr(notice, "&X-Amz-Date=20270115T080000Z&X-Amz-Expires=3600&"));
	snprintf(first, sizeof(first), "%s", notice);
	fixture_wall_ms += 5000;
	notice = tell(f, NULL, 2);
	assert_non_null(strstr(notice, "&X-Amz-Date=20270115T080005Z&X-Amz-Expires=3600&"));
	fixture_wall_ms -= 5000;
	fixture_free(f);
}

static void no_url_no_notice(void **state)
{
	struct mosquitto client = { .id = "d1", .protocol_version = 4, .clean_session = true };
	struct fixture *f = fixture_ready(&client);
	const struct event *event;
	size_t logged;
	(void)state;

	assert_null(tell(f, "north\thttps://b{path}\tlost", 1));
	event = fixture_last(f, EVENT_UNDELIVERED);
	assert_int_equal(event->status, REPORT_IDLE);
	assert_string_equal(event->error, EVENT_URL_NOT_MADE);
	assert_non_null(strstr(event->text, "no credential \"lost\""));
	assert_int_equal(f->gate->counters.notices_sent, 0);
	logged = f->gate->url_logged_us != 0;
	assert_int_equal(logged, 1);
	assert_null(tell(f, "north\tnonsense\t", 2));
	assert_non_null(strstr(fixture_last(f, EVENT_UNDELIVERED)->text, "accepted is"));
	/* It is told when there is one again. */
	assert_non_null(tell(f, "north\thttps://b{path}\tfw", 3));
	fixture_free(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_fleets_url_or_the_manifests),
		cmocka_unit_test(signed_now),
		cmocka_unit_test(no_url_no_notice),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
