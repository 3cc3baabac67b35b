/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Consoles of running domains as streams, for the files of console*.c. */
#pragma once

#include "daemon/domain/domain.h"

/*
 * What is called a console here: by alias or, with NULL, the first that is no channel. NULL with an error in
 * libvirt's words. The domain must run.
 */
const struct conf_domain_char *console_find(const struct domain *dom, const char *device, GError **error);

/*
 * Open a stream for the call with what the console says, from its last screen on, and answer the call. Any
 * number of clients may watch, beside the one who types. It fails if the console has no log.
 */
void console_watch(struct rpc_call *call, struct domain *dom, const struct conf_domain_char *chr);
