/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The board-independent half of a machine's life: creation in order, reset, start, stop, end. */
#include "machine/machine_int.h"

#include "base/error.h"
#include "dev/chips/fw_cfg.h"
#include "dev/pci/pci.h"
#include "machine/loader/loader.h"
#include "machine/microvm.h"
#include "machine/q35.h"

static const struct machine_ops *const boards[] = {&machine_q35_ops, &machine_microvm_ops, NULL};

const struct machine_ops *const *machine_list(void)
{
	return boards;
}

const struct machine_ops *machine_find(const char *name, GError **error)
{
	g_autoptr(GPtrArray) names = g_ptr_array_new();
	for (unsigned i = 0; boards[i]; i++) {
		if (g_str_equal(boards[i]->name, name))
			return boards[i];
		g_ptr_array_add(names, (char *)boards[i]->name);
		for (const char *const *alias = boards[i]->aliases; alias && *alias; alias++) {
			if (g_str_equal(*alias, name))
				return boards[i];
			g_ptr_array_add(names, (char *)*alias);
		}
	}
	g_ptr_array_add(names, NULL);
	const char *near = nearest_name(name, (const char *const *)names->pdata);
	error_set(error, BERTH_ERR_NOT_FOUND, "there is no machine type '%s'%s%s%s; see -machine help",
		  name, near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
	return NULL;
}

void machine_config_init(struct machine_config *config)
{
	*config = (struct machine_config){
		.board = "q35",
		.memory = 128 * 1024 * 1024,
		.boot_splash_time = -1,
		.boot_reboot_timeout = -1,
		.default_devices = true,
	};
}

bool machine_switch_on(enum machine_switch value, bool board_default)
{
	return value == MACHINE_AUTO ? board_default : value == MACHINE_ON;
}

bool machine_switch_check(const struct machine *m, const char *name, enum machine_switch value,
			  enum machine_switch impossible, GError **error)
{
	if (value != impossible)
		return true;
	return error_set(error, BERTH_ERR_NOT_SUPPORTED,
			 "-machine %s=%s is not supported on %s: leave it out", name,
			 value == MACHINE_ON ? "on" : "off", m->config->board);
}

/* vm->reset_devices: the vCPUs are already at their reset state, and parked. */
static void reset_devices(void *opaque)
{
	struct machine *m = opaque;
	if (m->fw_cfg)
		fw_cfg_reset(m->fw_cfg);
	machine_tables_reset(m);
	machine_hotplug_reset(m);
	machine_cpus_reset(m);
	machine_memory_reset(m);
	m->ops->reset(m);
	for (unsigned i = 0; i < m->devices->len; i++)
		device_reset(m->devices->pdata[i]);
	if (m->vm->waking)
		m->ops->wake(m);
	else if (m->loader)
		machine_direct_load(m);
}

/* vm->run_devices */
static void run_devices(void *opaque, bool running)
{
	struct machine *m = opaque;
	if (m->running == running)
		return;
	m->running = running;
	for (unsigned i = 0; i < m->devices->len; i++) {
		/* Users of others come later in the list: they stop first. */
		unsigned at = running ? i : m->devices->len - 1 - i;
		if (running)
			device_start(m->devices->pdata[at]);
		else
			device_stop(m->devices->pdata[at]);
	}
}

static void bus_clear(void *opaque)
{
	g_free(((struct machine_bus *)opaque)->name);
}

static void boot_entry_free(void *opaque)
{
	struct machine_boot_entry *entry = opaque;
	g_free(entry->path);
	g_free(entry);
}

static bool check_memory(const struct machine *m, GError **error)
{
	return m->memory || m->config->max_memory <= m->config->memory ||
	       error_set(error, BERTH_ERR_NOT_SUPPORTED,
			 "-m maxmem=: memory can be plugged into -machine q35 with ACPI only");
}

struct machine *machine_new(const struct machine_config *config, struct vm *vm, GError **error)
{
	const struct machine_ops *ops = machine_find(config->board, error);
	if (!ops)
		return NULL;
	if (vm->config.vcpus > ops->max_cpus) {
		error_set(error, BERTH_ERR_INVALID, "the machine %s has at most %u CPUs", ops->name,
			  ops->max_cpus);
		return NULL;
	}
	struct machine *m = g_new0(struct machine, 1);
	m->ops = ops;
	m->config = config;
	m->vm = vm;
	m->devices = g_ptr_array_new();
	m->boot_order = g_ptr_array_new_with_free_func(boot_entry_free);
	m->buses = g_array_new(FALSE, TRUE, sizeof(struct machine_bus));
	g_array_set_clear_func(m->buses, bus_clear);
	bool ok = ops->create(m, error) && check_memory(m, error);
	for (unsigned i = 0; ok && i < config->device_count; i++)
		ok = machine_add_device(m, &config->devices[i], error) != NULL;
	ok = ok && vm_create_vcpus(vm, error) && ops->finish(m, error);
	if (!ok) {
		machine_free(m);
		return NULL;
	}
	vm->reset_opaque = m;
	vm->reset_devices = reset_devices;
	vm->run_devices = run_devices;
	reset_devices(m);
	if (m->load_error) {
		g_propagate_error(error, g_steal_pointer(&m->load_error));
		machine_free(m);
		return NULL;
	}
	m->complete = true;
	return m;
}

void machine_free(struct machine *m)
{
	if (!m)
		return;
	vm_stop_vcpus(m->vm);
	if (m->running)
		run_devices(m, false);
	m->vm->reset_devices = NULL;
	m->vm->run_devices = NULL;
	while (m->devices->len) {
		device_free(m->devices->pdata[m->devices->len - 1]);
		g_ptr_array_set_size(m->devices, m->devices->len - 1);
	}
	machine_hotplug_free(m);
	machine_cpus_free(m);
	machine_memory_free(m);
	m->ops->destroy(m);
	m->vm->irq_hooks = (struct vm_irq_hooks){0};
	machine_direct_free(m);
	machine_tables_free(m);
	fw_cfg_free(m->fw_cfg);
	machine_ram_free(m);
	g_clear_error(&m->load_error);
	g_ptr_array_unref(m->devices);
	g_ptr_array_unref(m->boot_order);
	g_array_unref(m->buses);
	g_free(m);
}

bool machine_key(struct machine *m, uint8_t code, bool down)
{
	if (!m->ops->key)
		return false;
	m->ops->key(m, code, down);
	return true;
}

void machine_power_button(struct machine *m)
{
	m->ops->power_button(m);
}

void machine_nmi(struct machine *m)
{
	for (unsigned i = 0; i < m->vm->vcpu_count; i++)
		m->vm->engine->nmi(&m->vm->vcpus[i]);
}
