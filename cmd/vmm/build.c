/* SPDX-License-Identifier: GPL-2.0-or-later */
/* From the completed model to back ends, an engine's VM and a machine. */
#include "vmm.h"

#include "base/error.h"
#include "base/units.h"
#include "cpu/soft/engine.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

/* Memory that `config` points to lives as long as the machine. */
static void *keep(struct vmm *vmm, void *memory)
{
	g_ptr_array_add(vmm->config_owned, memory);
	return memory;
}

/* --- the rest of the configuration --------------------------------------------------------------------- */

static bool load_blobs(struct vmm *vmm, const GPtrArray *blobs, const char *option,
		       const struct machine_fw_cfg_entry **entries, unsigned *count, GError **error)
{
	if (blobs->len == 0)
		return true;
	struct machine_fw_cfg_entry *list =
		keep(vmm, g_new0(struct machine_fw_cfg_entry, blobs->len));
	for (unsigned i = 0; i < blobs->len; i++) {
		const struct conf_blob *blob = blobs->pdata[i];
		g_autoptr(GError) cause = NULL;
		char *data = NULL;
		gsize size = 0;
		if (blob->string) {
			data = g_strdup(blob->string);
			size = strlen(data);
		} else if (!g_file_get_contents(blob->file, &data, &size, &cause)) {
			return error_set(error, BERTH_ERR_IO, "%s: %s", option, cause->message);
		}
		list[i] = (struct machine_fw_cfg_entry){blob->name, keep(vmm, data), size};
	}
	*entries = list;
	*count = blobs->len;
	return true;
}

static int milliseconds(const char *text)
{
	return text ? atoi(text) : -1;
}

static enum machine_switch machine_switch(enum conf_switch value)
{
	return value == CONF_SWITCH_ON  ? MACHINE_ON :
	       value == CONF_SWITCH_OFF ? MACHINE_OFF :
					  MACHINE_AUTO;
}

static void set_switches(struct vmm *vmm)
{
	const struct conf_vm *conf = vmm->conf;
	const struct conf_machine *machine = &conf->machine;
	struct machine_config *config = &vmm->config;
	config->acpi = machine_switch(conf->no_acpi ? CONF_SWITCH_OFF : machine->acpi);
	config->hpet = machine_switch(conf->no_hpet ? CONF_SWITCH_OFF : machine->hpet);
	config->smbus = machine_switch(machine->smbus);
	config->sata = machine_switch(machine->sata);
	config->pit = machine_switch(machine->pit);
	config->pic = machine_switch(machine->pic);
	config->rtc = machine_switch(machine->rtc);
	config->isa_serial = machine_switch(machine->isa_serial);
	config->pcie = machine_switch(machine->pcie);
	config->auto_kernel_cmdline = machine_switch(machine->auto_kernel_cmdline);
	config->kernel_direct = machine_switch(machine->kernel_direct);
	config->default_devices = !conf->nodefaults;
}

static bool set_flashes(struct vmm *vmm, GError **error)
{
	unsigned count = 0;
	for (unsigned i = 0; i < vmm->conf->drives->len; i++) {
		const struct conf_drive *drive = vmm->conf->drives->pdata[i];
		if (drive->is_blockdev || drive->interface != CONF_IF_PFLASH)
			continue;
		unsigned unit = drive->unit ? atoi(drive->unit) : count;
		if (unit >= MACHINE_PFLASHES || vmm->config.pflash[unit])
			return error_set(error, BERTH_ERR_INVALID,
					 "-drive if=pflash: there are %d flash chips, units 0 and 1, "
					 "one image for each",
					 MACHINE_PFLASHES);
		vmm->config.pflash[unit] = backends_find_disk(&vmm->backends, drive->id)->node;
		vmm->config.pflash_readonly[unit] = drive->readonly == CONF_SWITCH_ON;
		count++;
	}
	return true;
}

static bool set_streams(struct vmm *vmm, GError **error)
{
	const struct conf_vm *conf = vmm->conf;
	for (unsigned i = 0; i < conf->serials->len; i++) {
		g_autofree char *id = g_strdup_printf("serial%u", i);
		if (!backends_open_stream(&vmm->backends, conf->serials->pdata[i], id,
					  &vmm->config.serials[i], error)) {
			g_prefix_error(error, "-serial: ");
			return false;
		}
	}
	if (conf->debugcon && !backends_open_stream(&vmm->backends, conf->debugcon, "debugcon",
						    &vmm->config.debugcon, error)) {
		g_prefix_error(error, "-debugcon: ");
		return false;
	}
	return true;
}

static bool set_config(struct vmm *vmm, GError **error)
{
	const struct conf_vm *conf = vmm->conf;
	struct machine_config *config = &vmm->config;
	machine_config_init(config);
	config->board = vmm->board->name;
	config->name = conf->name.guest;
	config->uuid_set = conf->uuid && conf_uuid_parse(conf->uuid, config->uuid, NULL);
	config->firmware = conf->bios;
	config->firmware_dir = conf->firmware_dir;
	config->kernel = conf->kernel;
	config->initrd = conf->initrd;
	config->append = conf->append;
	config->boot_order = conf->boot.order;
	config->boot_once = conf->boot.once;
	config->boot_menu = conf->boot.menu;
	config->boot_strict = conf->boot.strict;
	config->boot_splash_time = milliseconds(conf->boot.splash_time);
	config->boot_reboot_timeout = milliseconds(conf->boot.reboot_timeout);
	config->nographic = conf->nographic || conf->display_none;
	set_switches(vmm);
	static const enum rtc_clock clocks[] = {
		[CONF_RTC_CLOCK_DEFAULT] = RTC_CLOCK_HOST, [CONF_RTC_CLOCK_HOST] = RTC_CLOCK_HOST,
		[CONF_RTC_CLOCK_RT] = RTC_CLOCK_MONOTONIC, [CONF_RTC_CLOCK_VM] = RTC_CLOCK_VM,
	};
	config->clock = (struct rtc_config){.clock = clocks[conf->rtc.clock],
					    .catch_up = conf->rtc.driftfix};
	if (!conf_rtc_offset(&conf->rtc, time(NULL), &config->clock.localtime,
			     &config->clock.offset, error))
		return false;
	if (conf->smbios->len > 0) {
		const char **smbios = keep(vmm, g_new0(const char *, conf->smbios->len + 1));
		for (unsigned i = 0; i < conf->smbios->len; i++)
			smbios[i] = conf->smbios->pdata[i];
		config->smbios = smbios;
	}
	config->backends = backends_resolver(&vmm->backends);
	return load_blobs(vmm, conf->fw_cfg, "-fw_cfg", &config->fw_cfg, &config->fw_cfg_count,
			  error) &&
	       load_blobs(vmm, conf->acpitables, "-acpitable", &config->acpi_tables,
			  &config->acpi_table_count, error) &&
	       memory_configure(vmm, error) && set_flashes(vmm, error) && set_streams(vmm, error);
}

/* --- devices -------------------------------------------------------------------------------------------- */

/* virtio-9p: what -fsdev says of the folder becomes properties of the device. */
static bool resolve_fsdev(struct vmm *vmm, struct keyval *props, GError **error)
{
	g_autofree char *id = keyval_take(props, "fsdev");
	const GPtrArray *fsdevs = vmm->conf->items[CONF_FSDEV];
	for (unsigned i = 0; i < fsdevs->len; i++) {
		const struct conf_item *fsdev = fsdevs->pdata[i];
		if (strcmp(fsdev->id, id) != 0)
			continue;
		if (strcmp(fsdev->type, "local") != 0)
			return error_set(error, BERTH_ERR_NOT_SUPPORTED,
					 "-fsdev %s: the type '%s' is not supported: use local", id,
					 fsdev->type);
		for (unsigned k = 0; k < keyval_count(fsdev->props); k++)
			keyval_add(props, fsdev->props->keys->pdata[k],
				   fsdev->props->values->pdata[k]);
		return true;
	}
	return error_set(error, BERTH_ERR_NOT_FOUND, "there is no -fsdev with id '%s'", id);
}

/* A drive without medium is an empty tray: the device starts without the property. */
static void drop_empty_drive(struct vmm *vmm, const struct conf_item *item, struct keyval *props)
{
	const char *drive = keyval_get(props, "drive");
	struct backend_disk *disk = drive ? backends_find_disk(&vmm->backends, drive) : NULL;
	if (!disk || disk->node)
		return;
	g_free(keyval_take(props, "drive"));
	g_free(disk->tray);
	disk->tray = g_strdup(item->id);
}

static bool check_objects(struct vmm *vmm, const struct keyval *props, GError **error)
{
	const char *rng = keyval_get(props, "rng");
	if (rng && !backends_find_object(&vmm->backends, rng))
		return error_set(error, BERTH_ERR_NOT_FOUND, "there is no -object with id '%s'", rng);
	return true;
}

/* `spec` points into memory that `keep` holds. */
static bool describe_device(struct vmm *vmm, const struct conf_item *item,
			    struct machine_device *spec, GError **error)
{
	if (!machine_device_class(item->type, error))
		return false;
	auto_keyval props = keyval_copy(item->props);
	drop_empty_drive(vmm, item, props);
	bool good = check_objects(vmm, props, error) && iothreads_check(vmm, props, error);
	if (good && keyval_get(props, "memdev"))
		good = memory_open(vmm, keyval_get(props, "memdev"), error);
	if (good && keyval_get(props, "fsdev"))
		good = resolve_fsdev(vmm, props, error);
	if (!good) {
		g_prefix_error(error, "-device %s: ", item->type);
		return false;
	}
	unsigned count = keyval_count(props);
	struct machine_property *list = keep(vmm, g_new0(struct machine_property, count));
	for (unsigned i = 0; i < count; i++) {
		list[i].name = keep(vmm, g_strdup(props->keys->pdata[i]));
		list[i].value = keep(vmm, g_strdup(props->values->pdata[i]));
	}
	*spec = (struct machine_device){
		.driver = keep(vmm, g_strdup(item->type)),
		.id = keep(vmm, g_strdup(item->id)),
		.bus = keep(vmm, g_strdup(item->bus)),
		.properties = list,
		.property_count = count,
	};
	return true;
}

static bool set_devices(struct vmm *vmm, GError **error)
{
	const GPtrArray *items = vmm->conf->items[CONF_DEVICE];
	const GPtrArray *globals = vmm->conf->globals;
	struct machine_device *devices = keep(vmm, g_new0(struct machine_device, items->len + 1));
	unsigned count = 0;
	for (unsigned i = 0; i < items->len; i++) {
		if (!cpus_is_cpu(items->pdata[i]) &&
		    !describe_device(vmm, items->pdata[i], &devices[count++], error))
			return false;
	}
	vmm->config.devices = devices;
	vmm->config.device_count = count;
	struct machine_global *list = keep(vmm, g_new0(struct machine_global, globals->len + 1));
	for (unsigned i = 0; i < globals->len; i++) {
		const struct conf_global *global = globals->pdata[i];
		list[i] = (struct machine_global){global->driver, global->property, global->value};
	}
	vmm->config.globals = list;
	vmm->config.global_count = globals->len;
	return true;
}

struct device *vmm_add_device(struct vmm *vmm, const struct conf_item *item, GError **error)
{
	struct machine_device spec;
	if (!describe_device(vmm, item, &spec, error))
		return NULL;
	struct device *dev = machine_add_device(vmm->machine, &spec, error);
	if (dev)
		commands_watch_device(vmm, dev);
	return dev;
}

/* --- the whole ------------------------------------------------------------------------------------------- */

static bool create_vm(struct vmm *vmm, GError **error)
{
	const struct conf_vm *conf = vmm->conf;
	bool split;
	if (!accel_choose(conf, &vmm->engine, &split, error))
		return false;
	struct cpu_features allowed;
	if (!vmm->engine->features(&allowed, error))
		return false;
	vmm->cpu_model = cpu_model_parse(conf->cpu ? conf->cpu : "max", &allowed, error);
	if (!vmm->cpu_model) {
		g_prefix_error(error, "-cpu: ");
		return false;
	}
	struct vm_config vm_config = {
		.engine = vmm->engine,
		.cpu_model = vmm->cpu_model,
		.vcpus = vmm->board->hotplug_cpus ? conf->smp.maxcpus : conf->smp.cpus,
		.sockets = conf->smp.sockets,
		.dies = conf->smp.dies,
		.cores = conf->smp.cores,
		.threads = conf->smp.threads,
		.translate = accel_translates(conf),
		.translate_after = SOFT_TRANSLATE_AFTER,
		.translate_memory = accel_translate_memory(conf),
		.trace = accel_trace(conf),
		.perf_map = accel_maps_for_perf(conf),
		.kernel_irqchip_split = split,
		.pause_on_reset_request = conf->action.reboot == CONF_REBOOT_SHUTDOWN,
	};
	if (!cpus_configure(vmm, &vm_config, error))
		return false;
	vmm->vm = vm_new(&vm_config, vmm->loop, error);
	return vmm->vm != NULL;
}

static bool attach_monitor(struct vmm *vmm, struct chardev *chr, bool control, bool pretty,
			   GError **error)
{
	return !chr || monitor_attach(vmm->monitor, chr, control, pretty, error);
}

static bool attach_monitors(struct vmm *vmm, GError **error)
{
	const struct conf_vm *conf = vmm->conf;
	for (unsigned i = 0; i < conf->serials->len; i++) {
		if (g_str_has_prefix(conf->serials->pdata[i], "mon:") &&
		    !attach_monitor(vmm, vmm->config.serials[i], false, false, error))
			return false;
	}
	for (unsigned i = 0; i < conf->monitors->len; i++) {
		const struct conf_monitor *monitor = conf->monitors->pdata[i];
		struct chardev *chr = NULL;
		g_autofree char *id = g_strdup_printf("compat_monitor%u", i);
		g_autofree char *spec = monitor->spec ?
						g_strdup(monitor->spec) :
						g_strdup_printf("chardev:%s", monitor->chardev);
		if (!backends_open_stream(&vmm->backends, spec, id, &chr, error) ||
		    !attach_monitor(vmm, chr, monitor->control, monitor->pretty, error)) {
			g_prefix_error(error, "%s: ", monitor->control ? "-qmp" : "-monitor");
			return false;
		}
	}
	return true;
}

bool vmm_build(struct vmm *vmm, GError **error)
{
	const char *type = vmm->conf->machine.type ? vmm->conf->machine.type : "q35";
	vmm->config_owned = g_ptr_array_new_with_free_func(g_free);
	vmm->board = machine_find(type, error);
	if (!vmm->board)
		return false;
	bool pci = g_str_has_suffix(vmm->board->default_nic, "-pci") ||
		   !g_str_has_suffix(vmm->board->default_nic, "-device");
	const struct conf_board board = {
		.default_nic = vmm->board->default_nic,
		.default_disk = vmm->board->default_disk,
		.default_cdrom = vmm->board->default_cdrom,
		.virtio_suffix = pci ? "pci" : "device",
		.has_cdrom = vmm->board->default_cdrom &&
			     machine_device_class(vmm->board->default_cdrom, NULL),
	};
	if (!conf_vm_complete(vmm->conf, &board, error))
		return false;
	if (vmm->conf->smp.maxcpus > vmm->board->max_cpus)
		return error_set(error, BERTH_ERR_INVALID, "-smp: %s has at most %u vCPUs",
				 vmm->board->name, vmm->board->max_cpus);
	vmm->loop = aio_loop_new(error);
	if (!vmm->loop)
		return false;
	backends_init(&vmm->backends, vmm->loop);
	if (!process_catch_signals(vmm, error) ||
	    !backends_open(&vmm->backends, vmm->conf, error) || !set_config(vmm, error) ||
	    !set_devices(vmm, error) || !create_vm(vmm, error))
		return false;
	life_connect(vmm);
	vmm->machine = machine_new(&vmm->config, vmm->vm, error);
	if (!vmm->machine || !memory_lock(vmm, error))
		return false;
	vmm->monitor = monitor_server_new(vmm->loop, "Berth " BERTH_VERSION);
	commands_register(vmm);
	device_events_connect(vmm);
	iothreads_connect(vmm);
	modules_connect(vmm);
	return attach_monitors(vmm, error);
}

void vmm_destroy(struct vmm *vmm)
{
	monitor_server_free(vmm->monitor);
	vmm->monitor = NULL;
	dump_clear(vmm);
	dirty_rate_clear(vmm);
	keys_clear(vmm);
	fds_clear(vmm);
	if (vmm->vm) {
		if (vm_is_running(vmm->vm))
			vm_pause(vmm->vm, VM_STATE_SHUTDOWN);
		vm_stop_vcpus(vmm->vm);
	}
	iothreads_disconnect(vmm);
	machine_free(vmm->machine);
	backends_free_memory(&vmm->backends);
	vm_free(vmm->vm);
	cpu_model_free(vmm->cpu_model);
	backends_clear(&vmm->backends);
	if (vmm->signal_watch)
		aio_watch_remove(vmm->signal_watch);
	if (vmm->loop)
		aio_loop_free(vmm->loop);
	if (vmm->config_owned)
		g_ptr_array_unref(vmm->config_owned);
}
