/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The file of access rules: who may do what to which objects. A rule is a line of five words, quoted as
 * in a shell:
 *
 *   allow|deny WHO read|write KIND NAME
 *
 * WHO is user:NAME or group:NAME (of the process at the other end of a Unix socket), sasl:NAME,
 * x509:NAME or *; KIND is host, domain, pool, network, nwfilter, nodedev, secret, interface or *. Names
 * are patterns. "allow write" includes reading, "deny read" writing. The first rule that fits decides;
 * if none does, it is denied.
 */
#pragma once

#include "daemon/rpc/rpc.h"

#include <sys/types.h>

struct rules;

/* Who is at the other end. */
struct caller {
	bool local;                 /* a Unix socket: `uid` and `groups` are known */
	uid_t uid;
	gid_t *groups;              /* with the primary one; g_free() */
	int group_count;
	const char *sasl, *x509;    /* NULL: none; borrowed */
};

/* NULL: *error names file and line. */
struct rules *rules_read(const char *path, GError **error);
struct rules *rules_parse(const char *text, GError **error);
void rules_free(struct rules *rules);
/*
 * `name` NULL is any object of the kind: only a rule for all of them allows it, and one for any of
 * them denies it.
 */
bool rules_allow(const struct rules *rules, const struct caller *caller, bool write,
		 enum rpc_kind kind, const char *name);
/* The name that rules have for a kind. */
const char *rules_kind_name(enum rpc_kind kind);
