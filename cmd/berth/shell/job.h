/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Calls that take long, with their progress on the terminal; Ctrl-C cancels them. */
#pragma once

#include "shell.h"

/* "Save: [ 42 %]" on standard error. */
void job_progress(const char *label, uint64_t remaining, uint64_t total);

struct job {
	struct shell *sh;
	struct remote_domain dom;
	const char *label;
	bool verbose;
	/* After this many seconds (0: never) this is called once. */
	unsigned timeout;
	void (*on_timeout)(struct job *job, void *opaque);
	void *opaque;
};
/* As CALL() and GET(), watched. */
bool job_run(struct job *job, enum remote_procedure procedure, const void *args, void *ret);

/* While this is set up, Ctrl-C only makes interrupted() true and ends waits. */
void interrupts_catch(void);
void interrupts_restore(void);
bool interrupted(void);
