/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a domain may have: installers choose its devices by this. */
#include "daemon/host/host.h"

#include "base/error.h"

#include <string.h>
#include <unistd.h>

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

/* As a named model with what it lacks. */
static void write_host_model(struct xml_writer *w, const struct host *host, bool kvm)
{
	const struct host_features *features = host_features_of(host, kvm);
	const struct host_model *model = host_best_model(host, features, NULL);
	if (!model) {
		xml_empty(w, "mode", "name", "host-model", "supported", "no", NULL);
		return;
	}
	xml_open(w, "mode", "name", "host-model", "supported", "yes", NULL);
	xml_leaf(w, "model", model->name, "fallback", "forbid", NULL);
	xml_leaf(w, "vendor", host->cpu_vendor, NULL);
	host_features_write(w, host, features, model, "require");
	xml_close(w, "mode");
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
	write_host_model(w, host, kvm);
	xml_open(w, "mode", "name", "custom", "supported", "yes", NULL);
	for (unsigned i = 0; i < host->models->len; i++)
		xml_leaf(w, "model", ((struct host_model *)host->models->pdata[i])->name, "usable",
			 host_model_usable(host, host->models->pdata[i], kvm) ? "yes" : "no", NULL);
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
	xml_open(w, "hostdev", "supported", "yes", NULL);
	WRITE_ENUM(w, "mode", "subsystem");
	xml_empty(w, "enum", "name", "startupPolicy", NULL);
	WRITE_ENUM(w, "subsysType", "pci");
	xml_empty(w, "enum", "name", "capsType", NULL);
	WRITE_ENUM(w, "pciBackend", "vfio");
	xml_close(w, "hostdev");
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
	for (const struct host_machine *machine = host_machines; machine->name; machine++) {
		if (strcmp(machine->name, name) == 0)
			return machine->canonical ? machine->canonical : machine->name;
	}
	return NULL;
}

bool host_check_wanted(const struct daemon *daemon, const struct host_wanted *wanted, bool *kvm,
		       GError **error)
{
	bool works = daemon->host->has_kvm;
	const char *type = wanted->virttype ? wanted->virttype : works ? "kvm" : "qemu";
	*kvm = strcmp(type, "kvm") == 0;
	if (wanted->arch && strcmp(wanted->arch, "x86_64") != 0)
		return error_set(error, BERTH_ERR_INVALID,
				 "guests of architecture '%s' do not run on Berth: use x86_64",
				 wanted->arch);
	if (wanted->machine && !canonical_machine(wanted->machine))
		return error_set(error, BERTH_ERR_INVALID, "there is no machine '%s': use q35 or microvm",
				 wanted->machine);
	if (!*kvm && strcmp(type, "qemu") != 0)
		return error_set(error, BERTH_ERR_INVALID, "there is no virt type '%s': use kvm or qemu",
				 type);
	if (*kvm && !works)
		return error_set(error, BERTH_ERR_INVALID, "KVM does not work on this host: use virt type "
							   "qemu, the software engine");
	return true;
}

char *host_domain_capabilities_xml(struct daemon *daemon, const struct host_wanted *wanted,
				   GError **error)
{
	bool kvm;
	if (!host_check_wanted(daemon, wanted, &kvm, error))
		return NULL;
	struct xml_writer w = xml_writer_new();
	xml_open(&w, "domainCapabilities", NULL);
	xml_leaf(&w, "path", daemon->vmm, NULL);
	xml_leaf(&w, "domain", kvm ? "kvm" : "qemu", NULL);
	xml_leaf(&w, "machine", canonical_machine(wanted->machine ? wanted->machine : "q35"), NULL);
	xml_leaf(&w, "arch", "x86_64", NULL);
	xml_empty(&w, "vcpu", "max", HOST_MAX_VCPUS, NULL);
	xml_empty(&w, "iothreads", "supported", "yes", NULL);
	write_os(&w);
	write_cpu(&w, daemon->host, kvm);
	write_devices(&w);
	write_features(&w);
	xml_close(&w, "domainCapabilities");
	return xml_writer_take(&w);
}
