/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The XML that installers decide by. It must tell the truth about Berth: what is listed here is what
 * berth-vmm can do, so that a client does not put into a domain what would be refused.
 */
#include "daemon/host/host.h"

#include "base/error.h"
#include "codec/xml.h"

#include <string.h>
#include <unistd.h>

/* berth-vmm's boards under the names that clients look for. */
static const struct {
	const char *name, *canonical;
	const char *max_cpus;
} machines[] = {
	{"pc-q35-7.2", NULL, "255"}, {"q35", "pc-q35-7.2", "255"}, {"pc", "pc-q35-7.2", "255"},
	{"microvm", NULL, "255"},
};

static char *number(uint64_t value)
{
	return g_strdup_printf("%" G_GUINT64_FORMAT, value);
}

static void write_host(struct xml_writer *w, const struct host *host)
{
	const struct host_topology *t = &host->topology;
	g_autofree char *sockets = number(t->sockets), *cores = number(t->cores);
	g_autofree char *threads = number(t->threads), *kib = number(host->memory / 1024);
	xml_open(w, "host", NULL);
	xml_leaf(w, "uuid", host->uuid, NULL);
	xml_open(w, "cpu", NULL);
	xml_leaf(w, "arch", "x86_64", NULL);
	xml_leaf(w, "vendor", host->cpu_vendor, NULL);
	xml_empty(w, "topology", "sockets", sockets, "dies", "1", "cores", cores, "threads", threads,
		  NULL);
	xml_empty(w, "pages", "unit", "KiB", "size", "4", NULL);
	xml_close(w, "cpu");
	xml_open(w, "topology", NULL);
	xml_open(w, "cells", "num", "1", NULL);
	xml_open(w, "cell", "id", "0", NULL);
	xml_leaf(w, "memory", kib, "unit", "KiB", NULL);
	xml_close(w, "cell");
	xml_close(w, "cells");
	xml_close(w, "topology");
	xml_open(w, "secmodel", NULL);
	xml_leaf(w, "model", "none", NULL);
	xml_leaf(w, "doi", "0", NULL);
	xml_close(w, "secmodel");
	xml_close(w, "host");
}

static void write_guest(struct xml_writer *w, const struct daemon *daemon)
{
	xml_open(w, "guest", NULL);
	xml_leaf(w, "os_type", "hvm", NULL);
	xml_open(w, "arch", "name", "x86_64", NULL);
	xml_leaf(w, "wordsize", "64", NULL);
	xml_leaf(w, "emulator", daemon->vmm, NULL);
	for (unsigned i = 0; i < G_N_ELEMENTS(machines); i++)
		xml_leaf(w, "machine", machines[i].name, "canonical", machines[i].canonical, "maxCpus",
			 machines[i].max_cpus, NULL);
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
	xml_open(&w, "capabilities", NULL);
	write_host(&w, daemon->host);
	write_guest(&w, daemon);
	xml_close(&w, "capabilities");
	return xml_writer_take(&w);
}

/* --- Domain capabilities -------------------------------------------------------------------- */

static void write_enum(struct xml_writer *w, const char *name, const char *const *values)
{
	xml_open(w, "enum", "name", name, NULL);
	for (; *values; values++)
		xml_leaf(w, "value", *values, NULL);
	xml_close(w, "enum");
}
#define WRITE_ENUM(w, name, ...)                                                                   \
	write_enum(w, name, (const char *const[]){__VA_ARGS__ __VA_OPT__(,) NULL})

static void write_os(struct xml_writer *w)
{
	xml_open(w, "os", "supported", "yes", NULL);
	if (access("/usr/share/OVMF/OVMF_CODE_4M.fd", R_OK) == 0)
		WRITE_ENUM(w, "firmware", "bios", "efi");
	else
		WRITE_ENUM(w, "firmware", "bios");
	xml_open(w, "loader", "supported", "yes", NULL);
	xml_leaf(w, "value", "/usr/share/OVMF/OVMF_CODE_4M.fd", NULL);
	WRITE_ENUM(w, "type", "rom", "pflash");
	WRITE_ENUM(w, "readonly", "yes", "no");
	WRITE_ENUM(w, "secure", "no");
	xml_close(w, "loader");
	xml_close(w, "os");
}

static void write_cpu(struct xml_writer *w, const struct host *host, bool kvm)
{
	xml_open(w, "cpu", NULL);
	xml_open(w, "mode", "name", "host-passthrough", "supported", "yes", NULL);
	WRITE_ENUM(w, "hostPassthroughMigratable", "off");
	xml_close(w, "mode");
	xml_open(w, "mode", "name", "maximum", "supported", "yes", NULL);
	WRITE_ENUM(w, "maximumMigratable", "off");
	xml_close(w, "mode");
	xml_empty(w, "mode", "name", "host-model", "supported", "no", NULL);
	xml_open(w, "mode", "name", "custom", "supported", "yes", NULL);
	for (unsigned i = 0; i < host->models->len; i++)
		xml_leaf(w, "model", host->models->pdata[i], "usable", "yes", NULL);
	xml_close(w, "mode");
	xml_close(w, "cpu");
}

static void write_devices(struct xml_writer *w)
{
	xml_open(w, "devices", NULL);
	xml_open(w, "disk", "supported", "yes", NULL);
	WRITE_ENUM(w, "diskDevice", "disk", "cdrom");
	WRITE_ENUM(w, "bus", "virtio", "sata");
	WRITE_ENUM(w, "model", "virtio");
	xml_close(w, "disk");
	xml_empty(w, "graphics", "supported", "no", NULL);
	xml_empty(w, "video", "supported", "no", NULL);
	xml_empty(w, "hostdev", "supported", "no", NULL);
	xml_open(w, "rng", "supported", "yes", NULL);
	WRITE_ENUM(w, "model", "virtio");
	WRITE_ENUM(w, "backendModel", "random");
	xml_close(w, "rng");
	xml_open(w, "filesystem", "supported", "yes", NULL);
	WRITE_ENUM(w, "driverType", "path");
	xml_close(w, "filesystem");
	xml_empty(w, "tpm", "supported", "no", NULL);
	xml_close(w, "devices");
}

static void write_features(struct xml_writer *w)
{
	static const char *const missing[] = {"gic", "vmcoreinfo", "genid", "backingStoreInput",
					      "backup", "sev", "sgx"};
	xml_open(w, "features", NULL);
	for (unsigned i = 0; i < G_N_ELEMENTS(missing); i++)
		xml_empty(w, missing[i], "supported", "no", NULL);
	xml_close(w, "features");
}

static const char *canonical_machine(const char *name)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(machines); i++) {
		if (strcmp(machines[i].name, name) == 0)
			return machines[i].canonical ? machines[i].canonical : machines[i].name;
	}
	return NULL;
}

char *host_domain_capabilities_xml(struct daemon *daemon, const struct host_wanted *wanted,
				   GError **error)
{
	const char *machine = canonical_machine(wanted->machine ? wanted->machine : "q35");
	const char *type = wanted->virttype ? wanted->virttype : daemon->host->has_kvm ? "kvm" : "qemu";
	bool kvm = strcmp(type, "kvm") == 0;
	if (wanted->arch && strcmp(wanted->arch, "x86_64") != 0)
		error_set(error, BERTH_ERR_INVALID,
			  "guests of architecture '%s' do not run on Berth: use x86_64", wanted->arch);
	else if (!machine)
		error_set(error, BERTH_ERR_INVALID, "there is no machine '%s': use q35 or microvm",
			  wanted->machine);
	else if (!kvm && strcmp(type, "qemu") != 0)
		error_set(error, BERTH_ERR_INVALID, "there is no virt type '%s': use kvm or qemu", type);
	else if (kvm && !daemon->host->has_kvm)
		error_set(error, BERTH_ERR_INVALID,
			  "KVM does not work on this host: use virt type qemu, the software engine");
	else {
		struct xml_writer w = xml_writer_new();
		xml_open(&w, "domainCapabilities", NULL);
		xml_leaf(&w, "path", daemon->vmm, NULL);
		xml_leaf(&w, "domain", type, NULL);
		xml_leaf(&w, "machine", machine, NULL);
		xml_leaf(&w, "arch", "x86_64", NULL);
		xml_empty(&w, "vcpu", "max", "255", NULL);
		xml_empty(&w, "iothreads", "supported", "no", NULL);
		write_os(&w);
		write_cpu(&w, daemon->host, kvm);
		write_devices(&w);
		write_features(&w);
		xml_close(&w, "domainCapabilities");
		return xml_writer_take(&w);
	}
	return NULL;
}
