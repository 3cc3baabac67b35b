/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a person at the machine would do: press keys, look at the screen. */
#include "daemon/domain/keycodes.h"
#include "daemon/domain/vmm.h"
#include "daemon/rpc/serve.h"

static void args_free(void *opaque)
{
	json_decref(opaque);
}

static void on_pressed(void *opaque, json_t *result, const GError *error)
{
	struct domain_job *job = opaque;
	if (error)
		job_fail(job, g_error_copy(error));
	else
		job_reply(job, NULL);
}

static void run_press(struct domain_job *job)
{
	if (job_needs_running(job))
		vmm_execute(job->dom, "send-key", json_incref(job->data), on_pressed, job);
}

/* The argument "keys" of send-key, or NULL. */
static json_t *keys_of(const struct remote_domain_send_key_args *args, GError **error)
{
	json_t *keys = json_array();
	for (uint32_t i = 0; i < args->keycodes.count; i++) {
		unsigned code = keycode_to_qnum(args->codeset, args->keycodes.items[i]);
		if (!code) {
			virt_error(error, VIRT_FROM_QEMU, VIRT_INTERNAL,
				   "cannot translate keycode %u of %s codeset to qnum keycode",
				   args->keycodes.items[i], keycode_sets[args->codeset]);
			json_decref(keys);
			return NULL;
		}
		json_array_append_new(keys, json_pack("{s:s, s:i}", "type", "number", "data", (int)code));
	}
	return keys;
}

void serve_domain_send_key(struct rpc_call *call, const struct remote_domain_send_key_args *args)
{
	struct domain *dom = domain_find(call, &args->dom);
	GError *error = NULL;
	json_t *keys = NULL;
	if (!dom || !rpc_call_check_flags(call, args->flags, 0) || !domain_runs(call, dom))
		return;
	if (args->codeset >= KEYCODE_SETS)
		virt_error(&error, VIRT_FROM_QEMU, VIRT_INVALID_ARG, "there is no codeset %u", args->codeset);
	else
		keys = keys_of(args, &error);
	if (!keys) {
		rpc_call_fail(call, error);
		return;
	}
	struct domain_job *job = domain_submit(dom, call, run_press);
	job->data = json_pack("{s:o}", "keys", keys);
	job->free_data = args_free;
	/* 0: as long as the VMM thinks fit. */
	if (args->holdtime)
		json_object_set_new(job->data, "hold-time", json_integer(args->holdtime));
	domain_run_jobs(dom);
}

/* VMMs have no display: no domain has a screen, and the answer is libvirt's for such a domain. */
void serve_domain_screenshot(struct rpc_call *call, const struct remote_domain_screenshot_args *args)
{
	struct domain *dom = domain_find(call, &args->dom);
	GError *error = NULL;
	if (!dom || !rpc_call_check_flags(call, args->flags, 0) || !domain_runs(call, dom))
		return;
	virt_error(&error, VIRT_FROM_QEMU, VIRT_OPERATION_FAILED, "no screens to take screenshot from");
	rpc_call_fail(call, error);
}
