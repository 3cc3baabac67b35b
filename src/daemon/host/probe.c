/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the machine says of itself. */
#include "daemon/host/host.h"

#include "base/error.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* --- The machine ---------------------------------------------------------------------------- */

/* The first "name : value" of /proc/cpuinfo, or NULL. */
static char *cpuinfo(const char *name)
{
	g_autofree char *text = NULL;
	if (!g_file_get_contents("/proc/cpuinfo", &text, NULL, NULL))
		return NULL;
	g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
	for (char **line = lines; *line; line++) {
		char *colon = strchr(*line, ':');
		if (!colon || !g_str_has_prefix(*line, name))
			continue;
		return g_strstrip(g_strdup(colon + 1));
	}
	return NULL;
}

/* A number of /sys/devices/system/cpu/cpuN/topology, or 0. */
static unsigned cpu_topology(unsigned cpu, const char *name)
{
	g_autofree char *text = NULL, *path = g_strdup_printf(
		"/sys/devices/system/cpu/cpu%u/topology/%s", cpu, name);
	return g_file_get_contents(path, &text, NULL, NULL) ? g_ascii_strtoull(text, NULL, 10) : 0;
}

static unsigned count_nodes(void)
{
	unsigned nodes = 0;
	for (;; nodes++) {
		g_autofree char *path = g_strdup_printf("/sys/devices/system/node/node%u", nodes);
		if (!g_file_test(path, G_FILE_TEST_IS_DIR))
			return MAX(nodes, 1);
	}
}

void host_read_topology(struct host *host)
{
	struct host_topology *t = &host->topology;
	long configured = sysconf(_SC_NPROCESSORS_CONF), online = sysconf(_SC_NPROCESSORS_ONLN);
	t->cpus = MAX(configured, 1);
	t->online = MAX(online, 1);
	t->nodes = count_nodes();
	g_autoptr(GHashTable) packages = g_hash_table_new(NULL, NULL);
	g_autoptr(GHashTable) cores = g_hash_table_new(NULL, NULL);
	for (unsigned cpu = 0; cpu < t->cpus; cpu++) {
		unsigned package = cpu_topology(cpu, "physical_package_id");
		g_hash_table_add(packages, GUINT_TO_POINTER(package + 1));
		g_hash_table_add(cores, GUINT_TO_POINTER((package << 16 | cpu_topology(cpu, "core_id")) + 1));
	}
	unsigned package_count = MAX(g_hash_table_size(packages), 1);
	unsigned core_count = MAX(g_hash_table_size(cores), package_count);
	/* libvirt counts sockets of one node and cores of one socket. */
	t->sockets = MAX(package_count / t->nodes, 1);
	t->cores = MAX(core_count / package_count, 1);
	t->threads = MAX(t->cpus / core_count, 1);
	if (t->nodes * t->sockets * t->cores * t->threads != t->cpus) {
		/* Uneven: one flat node is what libvirt says then. */
		t->nodes = t->sockets = t->threads = 1;
		t->cores = t->cpus;
	}
	g_autofree char *mhz = cpuinfo("cpu MHz");
	t->mhz = mhz ? g_ascii_strtod(mhz, NULL) : 0;
}

/* The machine's own UUID if the firmware has one, else one made from the machine id. */
static char *machine_uuid(void)
{
	g_autofree char *text = NULL;
	if (g_file_get_contents("/sys/class/dmi/id/product_uuid", &text, NULL, NULL)) {
		char *uuid = g_ascii_strdown(g_strstrip(text), -1);
		if (g_uuid_string_is_valid(uuid))
			return uuid;
		g_free(uuid);
		g_clear_pointer(&text, g_free);
	}
	if (!g_file_get_contents("/etc/machine-id", &text, NULL, NULL) || strlen(text) < 32)
		return g_uuid_string_random();
	return g_strdup_printf("%.8s-%.4s-%.4s-%.4s-%.12s", text, text + 8, text + 12, text + 16,
			       text + 20);
}

static char *short_vendor(char *id)
{
	if (!id)
		return g_strdup("unknown");
	const char *name = strstr(id, "Intel") ? "Intel" : strstr(id, "AMD") ? "AMD" : id;
	char *vendor = g_strdup(name);
	g_free(id);
	return vendor;
}

static void model_free(void *opaque)
{
	struct host_model *model = opaque;
	g_free(model->name);
	g_free(model);
}

static void *ask(void *opaque)
{
	struct host *host = opaque;
	return GINT_TO_POINTER(host_ask_vmm(host, host->vmm, &host->ask_error));
}

bool host_ready(struct host *host, GError **error)
{
	if (GPOINTER_TO_INT(g_thread_join(g_steal_pointer(&host->asking))))
		return true;
	g_propagate_error(error, g_steal_pointer(&host->ask_error));
	return false;
}

struct host *host_new(struct daemon *daemon)
{
	struct host *host = g_new0(struct host, 1);
	host->models = g_ptr_array_new_with_free_func(model_free);
	host->feature_names = g_ptr_array_new_with_free_func(g_free);
	host->vmm = daemon->vmm;
	host->asking = g_thread_new("ask-vmm", ask, host);
	host->uuid = machine_uuid();
	host->cpu_model = cpuinfo("model name");
	host->cpu_vendor = short_vendor(cpuinfo("vendor_id"));
	g_autofree char *microcode = cpuinfo("microcode");
	if (microcode)
		host->microcode = g_strdup_printf("%" G_GUINT64_FORMAT,
						  g_ascii_strtoull(microcode, NULL, 0));
	host->family = cpuinfo("cpu family");
	host->model_number = cpuinfo("model\t\t");
	host->stepping = cpuinfo("stepping");
	host->memory = host_meminfo("MemTotal");
	host_read_topology(host);
	return host;
}

void host_free(struct host *host)
{
	if (!host)
		return;
	if (host->asking)
		g_thread_join(host->asking);
	g_clear_error(&host->ask_error);
	g_ptr_array_unref(host->models);
	g_ptr_array_unref(host->feature_names);
	g_free(host->uuid);
	g_free(host->cpu_model);
	g_free(host->cpu_vendor);
	g_free(host->microcode);
	g_free(host->family);
	g_free(host->model_number);
	g_free(host->stepping);
	g_free(host);
}
