/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Calls that a guest's agent answers. */
#pragma once

#include "daemon/domain/agent.h"

/* Ends the call by what the agent has returned, which is of any form. */
typedef void agent_answer_fn(struct rpc_call *call, struct domain *dom, const json_t *result);

/*
 * Ask the agent of the domain and end the call: with `answer`, with nothing if that is NULL, or with the
 * error. `args` is taken.
 */
void agent_call(struct rpc_call *call, struct domain *dom, const char *command, json_t *args,
		agent_answer_fn *answer);
/* Fail the call: the agent's answer is not what its protocol says. */
void agent_call_malformed(struct rpc_call *call, const char *command);
/* What network cards the guest says it has (serve_guest_info.c). */
void agent_interface_addresses(struct rpc_call *call, struct domain *dom);
/*
 * How a guest is asked to end: by its agent or by its power button, as `flags` (libvirt's AGENT and ACPI)
 * say; with neither or both the agent is preferred if there is one. False with the call failed.
 */
bool agent_chosen(struct rpc_call *call, const struct domain *dom, uint32_t flags, bool *by_agent);
/* Shut the guest down or reboot it ("powerdown", "reboot"), and end the job when it has obeyed. */
void agent_end_guest(struct domain_job *job, const char *mode);
/* Let it sleep by that command of the agent's, and end the job when it does. */
void agent_suspend_guest(struct domain_job *job, const char *command);
