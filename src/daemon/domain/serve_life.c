/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The calls that change domains: each is a job. */
#include "daemon/domain/domain.h"

#include "base/log.h"
#include "daemon/domain/agent_call.h"
#include "daemon/domain/moment.h"
#include "daemon/domain/vmm.h"
#include "daemon/rpc/serve.h"

#include <string.h>
#include <unistd.h>

enum { START_PAUSED = 1, CREATE_VALIDATE = 16, DEFINE_VALIDATE = 1 };

/* --- Definitions ---------------------------------------------------------------------------- */

/* As libvirt says it: what libxml2 says is a detail of its own, the rest an XML error. */
static struct conf_domain *parse(struct rpc_call *call, const char *xml)
{
	g_autoptr(GError) error = NULL;
	GError *answer = NULL;
	struct conf_domain *conf = conf_domain_parse(xml, false, &error);
	if (conf)
		return conf;
	enum virt_code code = error->code == BERTH_ERR_NOT_SUPPORTED ? VIRT_CONFIG_UNSUPPORTED
		: error->code == BERTH_ERR_INTERNAL ? VIRT_INTERNAL
		: *error->message == '(' ? VIRT_XML_DETAIL : VIRT_XML_ERROR;
	virt_error(&answer, VIRT_FROM_DOMAIN, code, "%s", error->message);
	rpc_call_fail(call, answer);
	return NULL;
}

/* The domain of this name and UUID, a new one, or NULL with the call failed. */
static struct domain *find_or_add(struct rpc_call *call, const struct conf_domain *conf)
{
	struct domains *domains = rpc_call_daemon(call)->domains;
	struct domain *named = domain_by_name(domains, conf->name);
	struct domain *dom = domain_by_uuid(domains, conf->uuid);
	GError *error = NULL;
	if (!rpc_call_may(call, RPC_DOMAIN, conf->name))
		return NULL;
	if (named && named != dom)
		virt_error(&error, VIRT_FROM_DOMAIN, VIRT_OPERATION_FAILED,
			   "domain '%s' already exists with uuid %s", conf->name, named->uuid_text);
	else if (dom && strcmp(dom->name, conf->name) != 0)
		virt_error(&error, VIRT_FROM_DOMAIN, VIRT_OPERATION_FAILED,
			   "domain '%s' is already defined with uuid %s", dom->name, dom->uuid_text);
	else
		return dom ? dom : domain_add(domains, conf);
	rpc_call_fail(call, error);
	return NULL;
}

static void on_defined(void *opaque, const GError *error)
{
	struct domain_job *job = opaque;
	struct domain *dom = job->dom;
	if (error) {
		if (!dom->definition && !dom->vmm)
			domain_remove(dom);
		job_fail(job, g_error_copy(error));
		return;
	}
	bool is_new = !dom->definition;
	conf_domain_free(dom->definition);
	dom->definition = g_steal_pointer(&job->conf);
	conf_domain_compact(dom->definition);
	domain_emit(dom, EVENT_DEFINED, is_new ? 0 : 1);
	struct remote_domain_define_xml_ret ret = {domain_wire(dom)};
	job_reply(job, &ret);
}

static void run_define(struct domain_job *job)
{
	const struct daemon *daemon = job->dom->all->daemon;
	g_autofree char *path = store_path(daemon, "domains", job->dom->uuid_text, ".xml");
	g_autofree char *xml = conf_domain_format(job->conf, -1);
	store_write(job->dom->all->daemon, path, xml, on_defined, job);
}

static void define(struct rpc_call *call, const char *xml)
{
	struct conf_domain *conf = parse(call, xml);
	struct domain *dom = conf ? find_or_add(call, conf) : NULL;
	if (!dom) {
		conf_domain_free(conf);
		return;
	}
	domain_submit(dom, call, run_define)->conf = conf;
	domain_run_jobs(dom);
}

void serve_domain_define_xml(struct rpc_call *call, const struct remote_domain_define_xml_args *args)
{
	define(call, args->xml);
}

/* Names and values are always checked, so that validation asks for nothing more. */
void serve_domain_define_xml_flags(struct rpc_call *call,
				   const struct remote_domain_define_xml_flags_args *args)
{
	if (rpc_call_check_flags(call, args->flags, DEFINE_VALIDATE))
		define(call, args->xml);
}

enum { SNAPSHOTS_METADATA = 2, NVRAM = 4, KEEP_NVRAM = 8, CHECKPOINTS_METADATA = 16 };

static void on_undefined(void *opaque, const GError *error)
{
	struct domain_job *job = opaque;
	struct domain *dom = job->dom;
	if (error) {
		job_fail(job, g_error_copy(error));
		return;
	}
	g_autofree char *mark = store_path(dom->all->daemon, "autostart", dom->uuid_text, "");
	unlink(mark);
	g_autofree char *nvram = GPOINTER_TO_UINT(job->data) & NVRAM ?
					   nvram_file(dom->all->daemon, dom->definition) : NULL;
	if (nvram && unlink(nvram) < 0)
		log_warning("domain '%s': cannot remove '%s'", dom->name, nvram);
	dom->autostart = false;
	domain_emit(dom, EVENT_UNDEFINED, 0);
	g_clear_pointer(&dom->definition, conf_domain_free);
	/* A running one goes on, and is forgotten when it ends. */
	if (!dom->vmm)
		domain_remove(dom);
	job_reply(job, NULL);
}

/* In the job's turn: what was before it in the queue may have made a snapshot. */
static bool check_undefine(const struct domain *dom, uint32_t flags, GError **error)
{
	if (!dom->definition)
		return virt_error(error, VIRT_FROM_QEMU, VIRT_OPERATION_INVALID,
				  "cannot undefine transient domain");
	g_autofree char *nvram = nvram_file(dom->all->daemon, dom->definition);
	if (dom->snapshots->list->len && !dom->vmm && !(flags & SNAPSHOTS_METADATA))
		return virt_error(error, VIRT_FROM_QEMU, VIRT_OPERATION_INVALID,
				  "cannot delete inactive domain with %u snapshots", dom->snapshots->list->len);
	if (dom->checkpoints->list->len && !dom->vmm && !(flags & CHECKPOINTS_METADATA))
		return virt_error(error, VIRT_FROM_QEMU, VIRT_OPERATION_INVALID,
				  "cannot delete inactive domain with %u checkpoints",
				  dom->checkpoints->list->len);
	/* UEFI variables go or stay as the caller says, who must say it. */
	return !nvram || flags & (NVRAM | KEEP_NVRAM) ||
	       virt_error(error, VIRT_FROM_QEMU, VIRT_OPERATION_INVALID, "cannot undefine domain with nvram");
}

static void run_undefine(struct domain_job *job)
{
	struct domain *dom = job->dom;
	GError *error = NULL;
	if (!check_undefine(dom, GPOINTER_TO_UINT(job->data), &error)) {
		job_fail(job, error);
		return;
	}
	g_autofree char *path = store_path(dom->all->daemon, "domains", dom->uuid_text, ".xml");
	store_write(dom->all->daemon, path, NULL, on_undefined, job);
}

/* --- Jobs without arguments ------------------------------------------------------------------ */

static void submit(struct rpc_call *call, const struct remote_domain *wire,
		   void (*run)(struct domain_job *job), bool flag)
{
	struct domain *dom = domain_find(call, wire);
	if (!dom)
		return;
	domain_submit(dom, call, run)->flag = flag;
	domain_run_jobs(dom);
}

static void undefine(struct rpc_call *call, const struct remote_domain *wire, uint32_t flags)
{
	struct domain *dom = domain_find(call, wire);
	GError *error = NULL;
	if (!dom)
		return;
	if (flags & NVRAM && flags & KEEP_NVRAM) {
		virt_error(&error, VIRT_FROM_QEMU, VIRT_INVALID_ARG, "cannot both keep and delete nvram");
		rpc_call_fail(call, error);
		return;
	}
	domain_submit(dom, call, run_undefine)->data = GUINT_TO_POINTER(flags);
	domain_run_jobs(dom);
}

void serve_domain_undefine(struct rpc_call *call, const struct remote_domain_undefine_args *args)
{
	undefine(call, &args->dom, 0);
}

/* There is no saved memory that the other flags could mean. */
void serve_domain_undefine_flags(struct rpc_call *call,
				 const struct remote_domain_undefine_flags_args *args)
{
	enum { ALL_FLAGS = 0x7f };
	if (rpc_call_check_flags(call, args->flags, ALL_FLAGS))
		undefine(call, &args->dom, args->flags);
}

/* Asleep it can be neither paused nor let go on. */
static bool job_needs_awake(struct domain_job *job)
{
	GError *error = NULL;
	if (!job_needs_running(job))
		return false;
	if (job->dom->state != DOMAIN_PMSUSPENDED)
		return true;
	virt_error(&error, VIRT_FROM_QEMU, VIRT_OPERATION_INVALID, "domain is pmsuspended");
	job_fail(job, error);
	return false;
}

static void run_suspend(struct domain_job *job)
{
	if (job_needs_awake(job))
		vmm_command(job, "stop");
}

static void run_resume(struct domain_job *job)
{
	if (job_needs_awake(job))
		vmm_command(job, "cont");
}

/* `flag`: by the agent. */
static void shut_down_guest(struct domain_job *job)
{
	if (job->flag)
		agent_end_guest(job, "powerdown");
	else
		vmm_command(job, "system_powerdown");
}

static void on_reboot_forgotten(void *opaque, json_t *result, const GError *error)
{
	struct domain_job *job = opaque;
	if (error) {
		job_fail(job, g_error_copy(error));
		return;
	}
	reboot_forget(job->dom);
	shut_down_guest(job);
}

/* A reboot that the guest has not heeded yet must not start it again when it powers off for this. */
static void run_shutdown(struct domain_job *job)
{
	if (!job_needs_running(job))
		return;
	if (job->dom->rebooting)
		vmm_execute(job->dom, "set-action", json_pack("{s:s}", "shutdown", "poweroff"),
			    on_reboot_forgotten, job);
	else
		shut_down_guest(job);
}

static void run_reset(struct domain_job *job)
{
	if (job_needs_running(job))
		vmm_command(job, "system_reset");
}

static void run_nmi(struct domain_job *job)
{
	if (job_needs_running(job))
		vmm_command(job, "inject-nmi");
}

void serve_domain_suspend(struct rpc_call *call, const struct remote_domain_suspend_args *args)
{
	submit(call, &args->dom, run_suspend, false);
}

void serve_domain_resume(struct rpc_call *call, const struct remote_domain_resume_args *args)
{
	submit(call, &args->dom, run_resume, false);
}

static void shut_down(struct rpc_call *call, const struct remote_domain *wire, uint32_t flags)
{
	struct domain *dom = domain_find(call, wire);
	bool by_agent;
	if (!dom || !agent_chosen(call, dom, flags, &by_agent))
		return;
	domain_submit(dom, call, run_shutdown)->flag = by_agent;
	domain_run_jobs(dom);
}

void serve_domain_shutdown(struct rpc_call *call, const struct remote_domain_shutdown_args *args)
{
	shut_down(call, &args->dom, 0);
}

void serve_domain_shutdown_flags(struct rpc_call *call,
				 const struct remote_domain_shutdown_flags_args *args)
{
	shut_down(call, &args->dom, args->flags);
}

void serve_domain_reset(struct rpc_call *call, const struct remote_domain_reset_args *args)
{
	if (rpc_call_check_flags(call, args->flags, 0))
		submit(call, &args->dom, run_reset, false);
}

void serve_domain_inject_nmi(struct rpc_call *call, const struct remote_domain_inject_nmi_args *args)
{
	if (rpc_call_check_flags(call, args->flags, 0))
		submit(call, &args->dom, run_nmi, false);
}

/* --- Start and end --------------------------------------------------------------------------- */

static void run_start(struct domain_job *job)
{
	if (job_needs_stopped(job))
		vmm_start(job, job->dom->definition, job->flag);
}

void serve_domain_create(struct rpc_call *call, const struct remote_domain_create_args *args)
{
	submit(call, &args->dom, run_start, false);
}

void serve_domain_create_with_flags(struct rpc_call *call,
				    const struct remote_domain_create_with_flags_args *args)
{
	struct domain *dom = domain_find(call, &args->dom);
	if (!dom || !rpc_call_check_flags(call, args->flags, START_PAUSED))
		return;
	struct domain_job *job = domain_submit(dom, call, run_start);
	job->flag = args->flags & START_PAUSED;
	job->returns_domain = true;
	domain_run_jobs(dom);
}

static void run_create(struct domain_job *job)
{
	if (job_needs_stopped(job))
		vmm_start(job, job->conf, job->flag);
}

void serve_domain_create_xml(struct rpc_call *call, const struct remote_domain_create_xml_args *args)
{
	if (!rpc_call_check_flags(call, args->flags, START_PAUSED | CREATE_VALIDATE))
		return;
	struct conf_domain *conf = parse(call, args->xml);
	struct domain *dom = conf ? find_or_add(call, conf) : NULL;
	if (!dom) {
		conf_domain_free(conf);
		return;
	}
	struct domain_job *job = domain_submit(dom, call, run_create);
	job->conf = conf;
	job->flag = args->flags & START_PAUSED;
	job->returns_domain = true;
	domain_run_jobs(dom);
}

static void destroy(struct rpc_call *call, const struct remote_domain *wire)
{
	struct domain *dom = domain_find(call, wire);
	if (dom && domain_runs(call, dom))
		vmm_destroy(dom, call);
}

void serve_domain_destroy(struct rpc_call *call, const struct remote_domain_destroy_args *args)
{
	destroy(call, &args->dom);
}

/* Graceful means: not by SIGKILL. A VMM that hangs would stay for ever then. */
void serve_domain_destroy_flags(struct rpc_call *call,
				const struct remote_domain_destroy_flags_args *args)
{
	if (rpc_call_check_flags(call, args->flags, 0))
		destroy(call, &args->dom);
}

/* --- Autostart ------------------------------------------------------------------------------ */

static void on_autostart(void *opaque, const GError *error)
{
	struct domain_job *job = opaque;
	if (error) {
		job_fail(job, g_error_copy(error));
		return;
	}
	job->dom->autostart = job->flag;
	job_reply(job, NULL);
}

static void run_autostart(struct domain_job *job)
{
	struct domain *dom = job->dom;
	if (!dom->definition) {
		GError *error = NULL;
		virt_error(&error, VIRT_FROM_QEMU, VIRT_OPERATION_INVALID,
			   "cannot set autostart for transient domain");
		job_fail(job, error);
		return;
	}
	g_autofree char *mark = store_path(dom->all->daemon, "autostart", dom->uuid_text, "");
	store_write(dom->all->daemon, mark, job->flag ? "" : NULL, on_autostart, job);
}

void serve_domain_set_autostart(struct rpc_call *call,
				const struct remote_domain_set_autostart_args *args)
{
	submit(call, &args->dom, run_autostart, args->autostart != 0);
}
