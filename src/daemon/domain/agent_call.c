/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/domain/agent_call.h"

struct asked {
	struct rpc_call *call;
	struct domain *dom;
	agent_answer_fn *answer;
};

static void on_answer(void *opaque, json_t *result, const GError *error)
{
	g_autofree struct asked *asked = opaque;
	if (error)
		rpc_call_fail(asked->call, g_error_copy(error));
	else if (asked->answer)
		asked->answer(asked->call, asked->dom, result);
	else
		rpc_call_reply(asked->call, NULL);
	domain_unpin(asked->dom);
}

void agent_call(struct rpc_call *call, struct domain *dom, const char *command, json_t *args,
		agent_answer_fn *answer)
{
	struct asked *asked = g_new(struct asked, 1);
	*asked = (struct asked){call, domain_pin(dom), answer};
	agent_execute(dom, &(struct agent_command){.name = command, .args = args, .done = on_answer,
						   .opaque = asked});
}

void agent_call_malformed(struct rpc_call *call, const char *command)
{
	GError *error = NULL;
	virt_error(&error, VIRT_FROM_QEMU, VIRT_INTERNAL, "guest agent: malformed return value of '%s'",
		   command);
	rpc_call_fail(call, error);
}

bool agent_chosen(struct rpc_call *call, const struct domain *dom, uint32_t flags, bool *by_agent)
{
	enum { ACPI = 1, AGENT = 2 };
	GError *error = NULL;
	if (!rpc_call_check_flags(call, flags, ACPI | AGENT))
		return false;
	bool there = agent_check(dom, flags == AGENT ? &error : NULL);
	if (flags == AGENT && !there) {
		rpc_call_fail(call, error);
		return false;
	}
	*by_agent = there && flags != ACPI;
	return true;
}

static void on_ended(void *opaque, json_t *result, const GError *error)
{
	struct domain_job *job = opaque;
	if (error)
		job_fail(job, g_error_copy(error));
	else
		job_reply(job, NULL);
}

static void end_guest(struct domain_job *job, const char *command, json_t *args)
{
	agent_execute(job->dom, &(struct agent_command){
		.name = command, .args = args, .has_timeout = true, .timeout_s = AGENT_SHUTDOWN,
		.ends_guest = true, .done = on_ended, .opaque = job});
}

void agent_end_guest(struct domain_job *job, const char *mode)
{
	end_guest(job, "guest-shutdown", json_pack("{s:s}", "mode", mode));
}

void agent_suspend_guest(struct domain_job *job, const char *command)
{
	end_guest(job, command, NULL);
}
