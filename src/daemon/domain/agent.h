/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The agent in a guest (QEMU's guest agent): commands over a virtio-serial channel of a fixed name. One
 * command is under way at a time; each begins with guest-sync-delimited, so that the answer to an
 * earlier one that came too late is not taken for its own. Nothing blocks, and nothing that the guest
 * sends is trusted.
 */
#pragma once

#include "daemon/domain/domain.h"

#include <jansson.h>

#define AGENT_CHANNEL "org.qemu.guest_agent.0"

/* libvirt's numbers for how long an answer may take; others are seconds. */
enum { AGENT_BLOCK = -2, AGENT_DEFAULT = -1, AGENT_NOWAIT = 0, AGENT_SHUTDOWN = 60 };

struct agent;

/* `result` is borrowed, NULL with an error or if no answer was waited for. The error is borrowed, too. */
typedef void agent_done_fn(void *opaque, json_t *result, const GError *error);

struct agent_command {
	const char *name;
	json_t *args;       /* taken; may be NULL */
	bool has_timeout;
	int timeout_s;      /* or an AGENT_ number; without `has_timeout` what the client has set */
	bool ends_guest;    /* no answer comes: the guest's shutdown, reset or sleep is the success */
	agent_done_fn *done;
	void *opaque;
};

/* Is the channel of that alias the daemon's own link? */
bool agent_has_channel(const struct domain *dom, const char *alias);
/* Have an agent if the live document has a channel for it, and none otherwise. */
void agent_update(struct domain *dom);
/* Commands that are open fail. */
void agent_free(struct agent *agent);
/* The guest has opened, or closed, the port with that alias: VSERPORT_CHANGE. */
void agent_port_changed(struct domain *dom, const char *alias, bool open);
/* The guest has been shut down or reset, or sleeps. */
void agent_guest_ended(struct domain *dom);
/* Fails as libvirt does if the domain has no agent, or if none listens in the guest. */
bool agent_check(const struct domain *dom, GError **error);
/* `done` is always called, perhaps at once: with an error if agent_check() would fail. */
void agent_execute(struct domain *dom, const struct agent_command *command);
/* For all commands to come without a limit of their own. */
bool agent_set_timeout(struct domain *dom, int timeout_s, GError **error);
