/*
 * access - the broker's question before every publish, subscription and delivery.
 *
 * Thread: broker.  The hottest callback: topics of others cost a few instructions.
 */
#pragma once

/* Callback of the broker.  Returns only allowed, denied and the operator's choice: any other value disconnects clients. */
int access_on_check(int event, void *data, void *userdata);
