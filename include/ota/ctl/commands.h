/*
 * commands - the verbs that are more than one question and its answer.
 *
 * Thread: main.  Each returns the exit status and prints what went wrong.
 */
#pragma once

struct task;

int release_sign(struct task *task);
int release_verify(struct task *task);
int release_add(struct task *task);
int plan_define(struct task *task);
int rollout_start(struct task *task);
int rollout_watch(struct task *task);
int fleet_quarantine(struct task *task);
int fleet_window(struct task *task);
int fleet_blackout(struct task *task);
int fleet_url(struct task *task);
