/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Waiting for events of one kind of objects, and printing them. */
#pragma once

#include "shell.h"

struct event_kind {
	const char *name;
	uint32_t procedure; /* of the message; the kind's number is its place in the table */
	/* Append the line or lines. */
	void (*format)(GString *out, const struct event_kind *kind, const void *args);
};

struct event_wait {
	const struct event_kind *kinds;
	unsigned count;
	bool all;              /* every kind; else the one that --event names */
	/* Register a kind; the callback's number, or -1 with the last error set. And the end of it. */
	int (*subscribe)(struct shell *sh, int number, const void *object);
	bool (*unsubscribe)(struct shell *sh, int callback);
	const void *object;    /* or NULL: of all objects */
};
/* What follows --list, --loop, --timeout, --timestamp. */
bool event_list(const struct event_wait *wait);
bool event_run(struct shell *sh, const struct cmd *cmd, const struct event_wait *wait);
/* "2026-11-29 16:00:00.123+0000: ". */
void event_print_time(void);
/* The texts of numbers. */
const char *event_word(const char *const *words, unsigned count, int number);
#define EVENT_WORD(words, number) event_word(words, G_N_ELEMENTS(words), number)
