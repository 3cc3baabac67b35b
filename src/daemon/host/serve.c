/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The calls about the host. None waits for anything. */
#include "daemon/host/host.h"

#include "base/log.h"
#include "daemon/rpc/rpc.h"
#include "daemon/rpc/serve.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static struct host *host_of(const struct rpc_call *call)
{
	return rpc_call_daemon(call)->host;
}

/* --- Who we are ----------------------------------------------------------------------------- */

void serve_connect_get_type(struct rpc_call *call)
{
	rpc_call_reply(call, &(struct remote_connect_get_type_ret){.type = "QEMU"});
}

void serve_connect_get_version(struct rpc_call *call)
{
	rpc_call_reply(call, &(struct remote_connect_get_version_ret){HOST_HYPERVISOR_VERSION});
}

void serve_connect_get_lib_version(struct rpc_call *call)
{
	rpc_call_reply(call, &(struct remote_connect_get_lib_version_ret){HOST_LIB_VERSION});
}

void serve_connect_get_hostname(struct rpc_call *call)
{
	rpc_call_reply(call, &(struct remote_connect_get_hostname_ret){(char *)g_get_host_name()});
}

void serve_connect_get_uri(struct rpc_call *call)
{
	rpc_call_reply(call, &(struct remote_connect_get_uri_ret){(char *)rpc_call_daemon(call)->uri});
}

/* Our way to the VMMs is a socket of this host; of its own way to us a client knows itself. */
void serve_connect_is_secure(struct rpc_call *call)
{
	rpc_call_reply(call, &(struct remote_connect_is_secure_ret){1});
}

void serve_connect_get_sysinfo(struct rpc_call *call,
			       const struct remote_connect_get_sysinfo_args *args)
{
	GError *error = NULL;
	if (!rpc_call_check_flags(call, args->flags, 0))
		return;
	g_autofree char *xml = host_sysinfo_xml("/sys/class/dmi/id");
	if (xml) {
		rpc_call_reply(call, &(struct remote_connect_get_sysinfo_ret){xml});
		return;
	}
	virt_error(&error, VIRT_FROM_QEMU, VIRT_CONFIG_UNSUPPORTED,
		   "Host SMBIOS information is not available");
	rpc_call_fail(call, error);
}

/* --- What it can run ------------------------------------------------------------------------ */

void serve_connect_get_capabilities(struct rpc_call *call)
{
	g_autofree char *xml = host_capabilities_xml(rpc_call_daemon(call));
	rpc_call_reply(call, &(struct remote_connect_get_capabilities_ret){xml});
}

void serve_connect_get_domain_capabilities(
	struct rpc_call *call, const struct remote_connect_get_domain_capabilities_args *args)
{
	if (!rpc_call_check_flags(call, args->flags, 0))
		return;
	GError *error = NULL;
	const struct host_wanted wanted = {args->emulator, args->arch, args->machine, args->virttype};
	g_autofree char *xml = host_domain_capabilities_xml(rpc_call_daemon(call), &wanted, &error);
	if (xml)
		rpc_call_reply(call, &(struct remote_connect_get_domain_capabilities_ret){xml});
	else
		rpc_call_fail(call, error);
}

void serve_connect_get_max_vcpus(struct rpc_call *call,
				 const struct remote_connect_get_max_vcpus_args *args)
{
	GError *error = NULL;
	const char *type = args->type;
	if (!type || strcmp(type, "qemu") == 0 || (strcmp(type, "kvm") == 0 && host_of(call)->has_kvm)) {
		int most = g_ascii_strtoull(HOST_MAX_VCPUS, NULL, 10);
		rpc_call_reply(call, &(struct remote_connect_get_max_vcpus_ret){most});
		return;
	}
	virt_error(&error, VIRT_FROM_QEMU, VIRT_INVALID_ARG, "unknown type '%s'", type);
	rpc_call_fail(call, error);
}

void serve_connect_get_cpu_model_names(struct rpc_call *call,
				       const struct remote_connect_get_cpu_model_names_args *args)
{
	struct host *host = host_of(call);
	if (strcmp(args->arch, "x86_64") != 0 && strcmp(args->arch, "i686") != 0) {
		GError *error = NULL;
		virt_error(&error, VIRT_FROM_NONE, VIRT_INVALID_ARG,
			   "cannot find architecture %s: there is x86_64", args->arch);
		rpc_call_fail(call, error);
		return;
	}
	struct remote_connect_get_cpu_model_names_ret ret = {.count = host->models->len};
	if (args->need) {
		ret.models.count = host->models->len;
		ret.models.items = arena_alloc(rpc_call_arena(call), host->models->len * sizeof(char *));
		for (unsigned i = 0; i < host->models->len; i++)
			ret.models.items[i] = ((struct host_model *)host->models->pdata[i])->name;
	}
	rpc_call_reply(call, &ret);
}

void serve_node_get_security_model(struct rpc_call *call)
{
	/* An array of char is a word for each in XDR; all end with their zero. */
	static int32_t none[] = {'n', 'o', 'n', 'e', 0}, doi[] = {'0', 0},
		       apparmor[] = {'a', 'p', 'p', 'a', 'r', 'm', 'o', 'r', 0};
	bool confines = rpc_call_daemon(call)->confinement->parser;
	struct remote_node_get_security_model_ret ret = {
		.model = {confines ? G_N_ELEMENTS(apparmor) : G_N_ELEMENTS(none), confines ? apparmor : none},
		.doi = {G_N_ELEMENTS(doi), doi}};
	rpc_call_reply(call, &ret);
}

/* --- Processors ----------------------------------------------------------------------------- */

void serve_node_get_info(struct rpc_call *call)
{
	struct host *host = host_of(call);
	host_read_topology(host);
	const struct host_topology *t = &host->topology;
	struct remote_node_get_info_ret ret = {
		.memory = host->memory / 1024, .cpus = t->online, .mhz = t->mhz, .nodes = t->nodes,
		.sockets = t->sockets, .cores = t->cores, .threads = t->threads,
	};
	static const char model[] = "x86_64";
	for (unsigned i = 0; i < sizeof(model) - 1; i++)
		ret.model[i] = model[i];
	rpc_call_reply(call, &ret);
}

void serve_node_get_cpu_map(struct rpc_call *call, const struct remote_node_get_cpu_map_args *args)
{
	if (!rpc_call_check_flags(call, args->flags, 0))
		return;
	struct host *host = host_of(call);
	host_read_topology(host);
	const struct host_topology *t = &host->topology;
	struct remote_node_get_cpu_map_ret ret = {.online = t->online, .count = t->cpus};
	if (args->need_map) {
		ret.map.count = (t->cpus + 7) / 8;
		ret.map.items = arena_alloc(rpc_call_arena(call), ret.map.count);
		for (unsigned cpu = 0; cpu < t->cpus; cpu++) {
			g_autofree char *text = NULL, *path = g_strdup_printf(
				"/sys/devices/system/cpu/cpu%u/online", cpu);
			/* Where there is no such file, the CPU cannot be taken offline. */
			bool offline = g_file_get_contents(path, &text, NULL, NULL) && *text == '0';
			if (!offline)
				ret.map.items[cpu / 8] |= 1 << cpu % 8;
		}
	}
	rpc_call_reply(call, &ret);
}

static void set_stat(struct remote_node_stat *stat, const char *name, uint64_t value)
{
	stat->field = (char *)name;
	stat->value = value;
}

/* "kernel", "user", "idle", "iowait" in nanoseconds, from the line of /proc/stat. */
void serve_node_get_cpu_stats(struct rpc_call *call,
			      const struct remote_node_get_cpu_stats_args *args)
{
	enum { FIELDS = 4, ALL_CPUS = -1 };
	g_autofree char *text = NULL, *key = args->cpu == ALL_CPUS
		? g_strdup("cpu ") : g_strdup_printf("cpu%d ", args->cpu);
	g_autofree char *begin = g_strconcat("\n", key, NULL);
	uint64_t user = 0, nice = 0, kernel = 0, idle = 0, iowait = 0, irq = 0, softirq = 0;
	const char *line = NULL;
	if (g_file_get_contents("/proc/stat", &text, NULL, NULL))
		line = g_str_has_prefix(text, key) ? text : strstr(text, begin);
	if (!line) {
		GError *error = NULL;
		virt_error(&error, VIRT_FROM_NONE, VIRT_INVALID_ARG, "Invalid cpuNum in %s",
			   "virHostCPUGetStatsLinux");
		rpc_call_fail(call, error);
		return;
	}
	line = strchr(line + 1, ' ');
	if (line)
		sscanf(line, "%" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64
		       " %" SCNu64, &user, &nice, &kernel, &idle, &iowait, &irq, &softirq);
	uint64_t tick = 1000000000 / sysconf(_SC_CLK_TCK);
	struct remote_node_stat stats[FIELDS];
	set_stat(&stats[0], "kernel", (kernel + irq + softirq) * tick);
	set_stat(&stats[1], "user", (user + nice) * tick);
	set_stat(&stats[2], "idle", idle * tick);
	set_stat(&stats[3], "iowait", iowait * tick);
	struct remote_node_get_cpu_stats_ret ret = {.count = FIELDS};
	if (args->count > 0)
		ret = (struct remote_node_get_cpu_stats_ret){
			.stats = {MIN(FIELDS, args->count), stats}};
	rpc_call_reply(call, &ret);
}

/* --- Sleep ---------------------------------------------------------------------------------- */

/* A machine that sleeps serves nobody, its guests included: the daemon does not do that. */
void serve_node_suspend_for_duration(struct rpc_call *call,
				     const struct remote_node_suspend_for_duration_args *args)
{
	static const char *const targets[] = {"Suspend-to-RAM", "Suspend-to-Disk", "Hybrid-Suspend"};
	GError *error = NULL;
	virt_error(&error, VIRT_FROM_NONE, VIRT_ARGUMENT_UNSUPPORTED, "%s",
		   args->target < G_N_ELEMENTS(targets) ? targets[args->target] : "unknown target");
	rpc_call_fail(call, error);
}
