/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the commands that plug devices in and out share. */
#pragma once

#include "shell.h"

enum { AFFECT_LIVE = 1, AFFECT_CONFIG = 2, MODIFY_FORCE = 4, XML_INACTIVE = 2 };

struct device_change {
	struct remote_domain dom;
	uint32_t flags;
	bool current; /* --current was given: not the call without flags */
};
/* --live, --config, --current, --persistent; then the domain. False after an error. */
bool device_options(struct shell *sh, const struct cmd *cmd, struct device_change *change);
bool device_domain(struct shell *sh, const struct cmd *cmd, struct device_change *change);
bool device_attach(struct shell *sh, const struct device_change *change, const char *xml);
bool device_detach(struct shell *sh, const struct device_change *change, const char *xml);

/* "pci:0000.00.05.0" and its kin as an <address>; false: malformed. *kind is what stands before ":". */
bool device_write_address(struct xml_writer *w, const char *text, bool multifunction);
/* Is the address of one of these kinds? */
bool device_address_is(const char *text, const char *const *kinds);

/* average,peak,burst,floor. */
struct rate {
	uint64_t average, peak, burst, floor;
};
bool device_parse_rate(struct shell *sh, const char *text, struct rate *rate);
