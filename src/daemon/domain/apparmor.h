/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * AppArmor on this host, and the profile of a VM: apparmor.d(5). A profile is text that apparmor_parser(8)
 * compiles and loads, which takes some tenths of a second; all else here is quick. Any thread.
 */
#pragma once

#include <glib.h>
#include <jansson.h>
#include <stdbool.h>

/* Of one VM, by what the profile's text depends on; all but the last are paths. */
struct apparmor_profile {
	const char *name;
	const char *program;      /* berth-vmm */
	const char *folder, *logs; /* of its sockets; how the names of its logs begin, before a dot */
	const char *certificates; /* a folder */
	/*
	 * [{"path": P, "allow": "rwk", "tree": B}]: what only this VM opens. AppArmor looks at where a path leads
	 * to, so links are followed now.
	 */
	const json_t *files;
};
/* Free with g_free(). */
char *apparmor_profile_text(const struct apparmor_profile *profile);
/* A path as it stands in a rule, where it means itself and nothing else. Free with g_free(). */
char *apparmor_quote(const char *path);

/* The path of apparmor_parser, or NULL with *error: why VMs cannot be confined here. Free with g_free(). */
char *apparmor_find_parser(GError **error);
/* Is a profile of that name loaded? */
bool apparmor_is_loaded(const char *name);
/* Unload one; none of that name is fine. Nothing may be confined by it any more. */
bool apparmor_unload(const char *name, GError **error);
