/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The XML that installers decide by. It must tell the truth about Berth: what is listed here is what
 * berth-vmm can do, so that a client does not put into a domain what would be refused.
 */
#include "daemon/host/host.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define CPUS  "/sys/devices/system/cpu"
#define NODES "/sys/devices/system/node"

const struct host_machine host_machines[] = {
	{"pc-q35-7.2", NULL}, {"q35", "pc-q35-7.2"}, {"pc", "pc-q35-7.2"}, {"microvm", NULL}, {NULL},
};

static char *number(uint64_t value)
{
	return g_strdup_printf("%" G_GUINT64_FORMAT, value);
}

/* The text of a file below sysfs, or NULL. Free with g_free(). */
static char *read_file(const char *format, ...) G_GNUC_PRINTF(1, 2);
static char *read_file(const char *format, ...)
{
	va_list values;
	va_start(values, format);
	g_autofree char *path = g_strdup_vprintf(format, values);
	va_end(values);
	char *text = NULL;
	return g_file_get_contents(path, &text, NULL, NULL) ? g_strstrip(text) : NULL;
}

/* --- The processor -------------------------------------------------------------------------- */

static void write_cpu(struct xml_writer *w, const struct host *host)
{
	const struct host_topology *t = &host->topology;
	const struct host_features *features = host_features_of(host, host->has_kvm);
	const struct host_model *model = host_best_model(host, features, NULL);
	g_autofree char *sockets = number(t->sockets), *cores = number(t->cores);
	g_autofree char *threads = number(t->threads);
	g_autoptr(GArray) sizes = host_page_sizes();
	xml_open(w, "cpu", NULL);
	xml_leaf(w, "arch", "x86_64", NULL);
	if (model)
		xml_leaf(w, "model", model->name, NULL);
	xml_leaf(w, "vendor", host->cpu_vendor, NULL);
	if (host->microcode)
		xml_empty(w, "microcode", "version", host->microcode, NULL);
	if (host->family)
		xml_empty(w, "signature", "family", host->family, "model", host->model_number, "stepping",
			  host->stepping, NULL);
	xml_empty(w, "topology", "sockets", sockets, "dies", "1", "cores", cores, "threads", threads,
		  NULL);
	host_features_write(w, host, features, model, NULL);
	for (unsigned i = 0; i < sizes->len; i++) {
		g_autofree char *size = number(g_array_index(sizes, uint32_t, i));
		xml_empty(w, "pages", "unit", "KiB", "size", size, NULL);
	}
	xml_close(w, "cpu");
}

/* --- Nodes ---------------------------------------------------------------------------------- */

/* "0-1,4" as numbers. */
static GArray *parse_list(const char *text)
{
	GArray *list = g_array_new(FALSE, FALSE, sizeof(unsigned));
	while (text && *text) {
		unsigned first, last;
		int used = 0, got = sscanf(text, "%u%n-%u%n", &first, &used, &last, &used);
		if (got < 1)
			break;
		last = got == 2 ? last : first;
		for (unsigned i = first; i <= last && i < UINT16_MAX; i++)
			g_array_append_val(list, i);
		text += used + (text[used] == ',');
	}
	return list;
}

static void write_node_cpus(struct xml_writer *w, const struct host *host, unsigned node)
{
	g_autofree char *listed = read_file(NODES "/node%u/cpulist", node);
	g_autofree char *online = listed ? NULL : read_file(CPUS "/online");
	g_autoptr(GArray) cpus = parse_list(listed ? listed : online);
	g_autofree char *count = number(cpus->len);
	xml_open(w, "cpus", "num", count, NULL);
	for (unsigned i = 0; i < cpus->len; i++) {
		unsigned cpu = g_array_index(cpus, unsigned, i);
		g_autofree char *id = number(cpu);
		g_autofree char *socket = read_file(CPUS "/cpu%u/topology/physical_package_id", cpu);
		g_autofree char *die = read_file(CPUS "/cpu%u/topology/die_id", cpu);
		g_autofree char *core = read_file(CPUS "/cpu%u/topology/core_id", cpu);
		g_autofree char *siblings = read_file(CPUS "/cpu%u/topology/thread_siblings_list", cpu);
		xml_empty(w, "cpu", "id", id, "socket_id", socket, "die_id", die, "core_id", core,
			  "siblings", siblings, NULL);
	}
	xml_close(w, "cpus");
}

static void write_distances(struct xml_writer *w, unsigned node)
{
	g_autofree char *text = read_file(NODES "/node%u/distance", node);
	g_auto(GStrv) values = g_strsplit(text ? text : "", " ", -1);
	if (!text)
		return;
	xml_open(w, "distances", NULL);
	for (unsigned i = 0; values[i]; i++) {
		g_autofree char *id = number(i);
		xml_empty(w, "sibling", "id", id, "value", values[i], NULL);
	}
	xml_close(w, "distances");
}

static void write_node(struct xml_writer *w, const struct host *host, unsigned node)
{
	g_autofree char *id = number(node);
	g_autofree char *memory = number(host_node_meminfo(node, "MemTotal") / 1024);
	g_autoptr(GArray) sizes = host_page_sizes();
	xml_open(w, "cell", "id", id, NULL);
	xml_leaf(w, "memory", memory, "unit", "KiB", NULL);
	for (unsigned i = 0; i < sizes->len; i++) {
		struct host_pages pages;
		uint32_t kib = g_array_index(sizes, uint32_t, i);
		g_autofree char *size = number(kib);
		if (!host_pages(node, kib, &pages, NULL))
			continue;
		g_autofree char *total = number(pages.total);
		xml_leaf(w, "pages", total, "unit", "KiB", "size", size, NULL);
	}
	write_distances(w, node);
	write_node_cpus(w, host, node);
	xml_close(w, "cell");
}

static void write_topology(struct xml_writer *w, const struct host *host)
{
	g_autofree char *count = number(host->topology.nodes);
	xml_open(w, "topology", NULL);
	xml_open(w, "cells", "num", count, NULL);
	for (unsigned node = 0; node < host->topology.nodes; node++)
		write_node(w, host, node);
	xml_close(w, "cells");
	xml_close(w, "topology");
}

/* --- Caches --------------------------------------------------------------------------------- */

/* A last-level cache is written by the first of its CPUs; its size is "32768K". */
static void write_bank(struct xml_writer *w, unsigned cpu, unsigned index)
{
	enum { KIB_IN_MIB = 1024 };
	g_autofree char *id = read_file(CPUS "/cpu%u/cache/index%u/id", cpu, index);
	g_autofree char *text = read_file(CPUS "/cpu%u/cache/index%u/size", cpu, index);
	g_autofree char *type = read_file(CPUS "/cpu%u/cache/index%u/type", cpu, index);
	g_autofree char *cpus = read_file(CPUS "/cpu%u/cache/index%u/shared_cpu_list", cpu, index);
	g_autoptr(GArray) list = parse_list(cpus);
	if (!id || !text || !type || !list->len || g_array_index(list, unsigned, 0) != cpu)
		return;
	uint64_t kib = g_ascii_strtoull(text, NULL, 10);
	bool whole = kib % KIB_IN_MIB == 0;
	g_autofree char *size = number(whole ? kib / KIB_IN_MIB : kib);
	xml_empty(w, "bank", "id", id, "level", "3", "type",
		  strcmp(type, "Unified") == 0 ? "both" : strcmp(type, "Data") == 0 ? "data" : "code",
		  "size", size, "unit", whole ? "MiB" : "KiB", "cpus", cpus, NULL);
}

static void write_caches(struct xml_writer *w, const struct host *host)
{
	struct xml_writer banks = xml_writer_new();
	banks.depth = w->depth + 1;
	for (unsigned cpu = 0; cpu < host->topology.cpus; cpu++) {
		for (unsigned index = 0;; index++) {
			g_autofree char *level = read_file(CPUS "/cpu%u/cache/index%u/level", cpu, index);
			if (!level)
				break;
			if (strcmp(level, "3") == 0)
				write_bank(&banks, cpu, index);
		}
	}
	g_autofree char *text = xml_writer_take(&banks);
	if (!*text)
		return;
	xml_open(w, "cache", NULL);
	g_string_append(w->text, text);
	xml_close(w, "cache");
}

/* --- The whole ------------------------------------------------------------------------------ */

/* "none" is what libvirt has without a model of labels; owners are one, if VMMs run as a user of their own. */
static void write_security_models(struct xml_writer *w, const struct daemon *daemon)
{
	const struct vmm_user *user = daemon->vmm_user;
	xml_open(w, "secmodel", NULL);
	xml_leaf(w, "model", daemon->confinement->parser ? "apparmor" : "none", NULL);
	xml_leaf(w, "doi", "0", NULL);
	xml_close(w, "secmodel");
	if (!user)
		return;
	g_autofree char *label = g_strdup_printf("+%u:+%u", user->uid, user->gid);
	xml_open(w, "secmodel", NULL);
	xml_leaf(w, "model", "dac", NULL);
	xml_leaf(w, "doi", "0", NULL);
	xml_leaf(w, "baselabel", label, "type", "kvm", NULL);
	xml_leaf(w, "baselabel", label, "type", "qemu", NULL);
	xml_close(w, "secmodel");
}

static void write_host(struct xml_writer *w, const struct daemon *daemon)
{
	const struct host *host = daemon->host;
	xml_open(w, "host", NULL);
	xml_leaf(w, "uuid", host->uuid, NULL);
	write_cpu(w, host);
	xml_empty(w, "power_management", NULL);
	xml_empty(w, "iommu", "support", "no", NULL);
	write_topology(w, host);
	write_caches(w, host);
	write_security_models(w, daemon);
	xml_close(w, "host");
}

static void write_guest(struct xml_writer *w, const struct daemon *daemon)
{
	xml_open(w, "guest", NULL);
	xml_leaf(w, "os_type", "hvm", NULL);
	xml_open(w, "arch", "name", "x86_64", NULL);
	xml_leaf(w, "wordsize", "64", NULL);
	xml_leaf(w, "emulator", daemon->vmm, NULL);
	for (const struct host_machine *machine = host_machines; machine->name; machine++)
		xml_leaf(w, "machine", machine->name, "canonical", machine->canonical, "maxCpus",
			 HOST_MAX_VCPUS, NULL);
	xml_empty(w, "domain", "type", "qemu", NULL);
	if (daemon->host->has_kvm)
		xml_empty(w, "domain", "type", "kvm", NULL);
	xml_close(w, "arch");
	xml_open(w, "features", NULL);
	xml_empty(w, "acpi", "default", "on", "toggle", "yes", NULL);
	xml_empty(w, "apic", "default", "on", "toggle", "no", NULL);
	xml_empty(w, "cpuselection", NULL);
	xml_empty(w, "deviceboot", NULL);
	xml_close(w, "features");
	xml_close(w, "guest");
}

char *host_capabilities_xml(struct daemon *daemon)
{
	struct xml_writer w = xml_writer_new();
	host_read_topology(daemon->host);
	xml_open(&w, "capabilities", NULL);
	write_host(&w, daemon);
	write_guest(&w, daemon);
	xml_close(&w, "capabilities");
	return xml_writer_take(&w);
}
