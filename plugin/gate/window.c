#include "ota/gate/window.h"

void window_watch(struct window *window, bool watched, int64_t now_us)
{
	window->watched = watched;
	window->look_us = now_us;
	window->others = 0;
}

static void look(struct window *window, int64_t now_us)
{
	const int64_t passed_us = now_us - window->look_us;
	const int64_t others = (int64_t)window->others * WINDOW_US;
	const bool few = others <= WINDOW_OTHERS_FEW * passed_us;
	const bool many = others > WINDOW_OTHERS_MANY * passed_us;
	const bool was_held = window->held;

	if (!window->watched) {
		/* What was found out a moment ago still counts. */
		window->held = was_held && passed_us <= WINDOW_BELIEVED_US;
		return;
	}
	if (passed_us < WINDOW_US && (was_held || window->others <= WINDOW_OTHERS_MANY)) {
		return;
	}
	if (was_held) {
		window->held = many;
		window->believed_us = now_us;
	} else {
		window->held = many || (!few && now_us - window->believed_us >= WINDOW_BELIEVED_US);
	}
	if (window->held && !was_held) {
		window->began_us = now_us + WINDOW_US; /* they have had more than their part already */
	}
	window->look_us = now_us;
	window->others = 0;
}

void window_renew(struct window *window, int64_t now_us, bool turn)
{
	int64_t passed_us = now_us - window->began_us;

	look(window, now_us);
	if (!window->held && turn) {
		passed_us = WINDOW_US;
	} else if (passed_us < WINDOW_US) {
		return;
	} else if (passed_us > WINDOW_LATE_US) {
		passed_us = WINDOW_LATE_US;
	}
	window->began_us = now_us;
	window->work_us = passed_us * WINDOW_WORK_US / WINDOW_US;
	window->notices = passed_us * WINDOW_NOTICES / WINDOW_US;
}

bool window_spread(struct window *window, size_t waiting, bool more, int64_t now_us)
{
	if (!more || waiting > WINDOW_SPREAD || window->held) {
		window->spread_us = 0;
		return false;
	}
	if (window->spread_us == 0) {
		window->spread_us = now_us;
	}
	return now_us - window->spread_us < WINDOW_SPREAD_US;
}
