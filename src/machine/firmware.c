/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Firmware: its image, and what it reads about the machine from fw_cfg. */
#include "base/bytes.h"
#include "base/error.h"
#include "block/core/block.h"
#include "dev/chips/fw_cfg.h"
#include "machine/layout.h"
#include "machine/loader/loader.h"
#include "machine/machine_int.h"

/* Where Debian and others install SeaBIOS and OVMF. */
static const char *const firmware_dirs[] = {
	"/usr/share/seabios", "/usr/share/OVMF", "/usr/share/qemu", "/usr/share/ovmf",
	"/usr/local/share/qemu", NULL,
};

/* And iPXE's ROMs for network cards, and SeaBIOS' for display adapters. */
static const char *const rom_dirs[] = {"/usr/share/qemu", "/usr/lib/ipxe/qemu", "/usr/share/seabios",
				       "/usr/local/share/qemu", NULL};

/* `name` itself, or the file of that name in -L's folder or one of `folders`; NULL if there is none. */
static char *find_file(const struct machine_config *config, const char *name,
		       const char *const *folders)
{
	if (strchr(name, '/') || g_file_test(name, G_FILE_TEST_EXISTS))
		return g_strdup(name);
	const char *first[] = {config->firmware_dir, NULL};
	for (unsigned list = 0; list < 2; list++) {
		const char *const *folder = list ? folders : first;
		for (; *folder; folder++) {
			g_autofree char *path = g_build_filename(*folder, name, NULL);
			if (g_file_test(path, G_FILE_TEST_EXISTS))
				return g_steal_pointer(&path);
		}
	}
	return NULL;
}

char *machine_rom_path(const struct machine_config *config, const char *name)
{
	return find_file(config, name, rom_dirs);
}

char *machine_firmware_path(const struct machine_config *config, const char *name, GError **error)
{
	char *path = find_file(config, name, firmware_dirs);
	if (path)
		return path;
	error_set(error, BERTH_ERR_NOT_FOUND,
		  "firmware '%s' is not installed; apt install seabios ovmf, or give its path with "
		  "-bios", name);
	return NULL;
}

bool machine_is_direct(const struct machine *m)
{
	const struct machine_config *c = m->config;
	return c->kernel && machine_switch_on(c->kernel_direct, !c->firmware && !c->pflash[0]);
}

bool machine_firmware_load(struct machine *m, const char *fallback, GError **error)
{
	const struct machine_config *c = m->config;
	if (machine_is_direct(m) || c->pflash[0])
		return true;
	g_autofree char *path = machine_firmware_path(c, c->firmware ? c->firmware : fallback, error);
	if (!path)
		return false;
	m->firmware = loader_firmware(path, error);
	if (!m->firmware)
		return false;
	m->firmware_base = Q35_FLASH_END - m->firmware->size;
	space_add_ram(m->vm->memory, m->firmware_base, m->firmware, 0, m->firmware->size, true, NULL,
		      SPACE_PRIORITY_HIGH);
	return true;
}

/* One e820 entry as fw_cfg's "etc/e820" has it. */
static void add_range(GByteArray *out, uint64_t base, uint64_t size, uint32_t type)
{
	uint8_t entry[20];
	le64_store(entry, base);
	le64_store(entry + 8, size);
	le32_store(entry + 16, type);
	if (size)
		g_byte_array_append(out, entry, sizeof(entry));
}

static bool add_memory_map(struct machine *m, GError **error)
{
	g_autoptr(GByteArray) map = g_byte_array_new();
	add_range(map, 0, m->low_ram, MACHINE_E820_RAM);
	add_range(map, LAYOUT_HIGH_RAM, m->high_ram, MACHINE_E820_RAM);
	uint8_t end[8];
	uint64_t modules, module_size;
	machine_memory_window(m, &modules, &module_size);
	le64_store(end, module_size ? modules + module_size : LAYOUT_HIGH_RAM + m->high_ram);
	return fw_cfg_add_file(m->fw_cfg, "etc/e820", map->data, map->len, error) &&
	       fw_cfg_add_file(m->fw_cfg, "etc/reserved-memory-end", end, sizeof(end), error);
}

static gint by_index(gconstpointer a, gconstpointer b)
{
	const struct machine_boot_entry *x = *(void *const *)a, *y = *(void *const *)b;
	return x->index < y->index ? -1 : x->index > y->index;
}

/* Lines of device paths, and "HALT" if nothing else may be tried. */
static bool add_boot_order(struct machine *m, GError **error)
{
	g_autoptr(GString) text = g_string_new(NULL);
	g_ptr_array_sort(m->boot_order, by_index);
	for (unsigned i = 0; i < m->boot_order->len; i++) {
		const struct machine_boot_entry *entry = m->boot_order->pdata[i];
		g_string_append_printf(text, "%s%s", i ? "\n" : "", entry->path);
	}
	if (m->config->boot_strict && text->len)
		g_string_append(text, "\nHALT");
	return !text->len ||
	       fw_cfg_add_file(m->fw_cfg, "bootorder", text->str, text->len + 1, error);
}

static bool add_boot_options(struct machine *m, GError **error)
{
	const struct machine_config *c = m->config;
	fw_cfg_add_u16(m->fw_cfg, FW_CFG_BOOT_MENU, c->boot_menu);
	fw_cfg_add_u16(m->fw_cfg, FW_CFG_BOOT_DEVICE, c->boot_order ? c->boot_order[0] : 'c');
	uint8_t value[4];
	if (c->boot_splash_time >= 0) {
		le16_store(value, MIN(c->boot_splash_time, 0xffff));
		if (!fw_cfg_add_file(m->fw_cfg, "etc/boot-menu-wait", value, 2, error))
			return false;
	}
	if (c->boot_reboot_timeout >= 0) {
		le32_store(value, c->boot_reboot_timeout);
		if (!fw_cfg_add_file(m->fw_cfg, "etc/boot-fail-wait", value, 4, error))
			return false;
	}
	return true;
}

bool machine_fw_cfg_fill(struct machine *m, GError **error)
{
	const struct machine_config *c = m->config;
	struct fw_cfg *fw = m->fw_cfg;
	uint32_t apic_ids = 0;
	for (unsigned i = 0; i < m->vm->vcpu_count; i++)
		apic_ids = MAX(apic_ids, m->vm->vcpus[i].apic_id + 1);
	fw_cfg_add_bytes(fw, FW_CFG_UUID, c->uuid, sizeof(c->uuid));
	fw_cfg_add_u64(fw, FW_CFG_RAM_SIZE, c->memory);
	fw_cfg_add_u16(fw, FW_CFG_NB_CPUS, machine_cpus_present(m));
	/* For SeaBIOS this is the limit of APIC ids, not of CPUs. */
	fw_cfg_add_u16(fw, FW_CFG_MAX_CPUS, MAX(apic_ids, m->vm->vcpu_count));
	fw_cfg_add_u16(fw, FW_CFG_NOGRAPHIC, c->nographic);
	fw_cfg_add_u32(fw, FW_CFG_IRQ0_OVERRIDE, 1);
	fw_cfg_add_u64(fw, FW_CFG_NUMA, 0);
	/* SLP_TYP of each state; bit 7: it is offered. */
	const uint8_t states[6] = {128, 0, 0, (m->sleeps ? 128 : 0) | Q35_S3_TYPE,
				   (m->sleeps_on_disk ? 128 : 0) | Q35_S4_TYPE, 128 | Q35_S5_TYPE};
	if (!fw_cfg_add_file(fw, "etc/system-states", states, sizeof(states), error))
		return false;
	if (c->nographic && c->serials[0]) {
		static const uint8_t port[2] = {0xf8, 0x03};
		if (!fw_cfg_add_file(fw, "etc/sercon-port", port, sizeof(port), error))
			return false;
	}
	for (unsigned i = 0; i < c->fw_cfg_count; i++)
		if (!fw_cfg_add_file(fw, c->fw_cfg[i].name, c->fw_cfg[i].data, c->fw_cfg[i].size,
				     error))
			return false;
	return add_memory_map(m, error) && add_boot_options(m, error) && add_boot_order(m, error);
}

static void add_blob(struct fw_cfg *fw, uint16_t data_key, uint16_t size_key, GBytes *bytes)
{
	gsize size = 0;
	const void *data = bytes ? g_bytes_get_data(bytes, &size) : NULL;
	fw_cfg_add_u32(fw, size_key, size);
	fw_cfg_add_bytes(fw, data_key, data, size);
}

bool machine_fw_cfg_kernel(struct machine *m, GError **error)
{
	const struct machine_config *c = m->config;
	struct loader_options options = {.kernel = c->kernel, .initrd = c->initrd,
					 .append = c->append};
	struct loader *loader = loader_open(&options, error);
	if (!loader)
		return false;
	struct loader_parts parts = {0};
	bool ok = loader_read_parts(loader, &parts, error);
	if (ok) {
		const char *append = c->append ? c->append : "";
		add_blob(m->fw_cfg, FW_CFG_SETUP_DATA, FW_CFG_SETUP_SIZE, parts.setup);
		add_blob(m->fw_cfg, FW_CFG_KERNEL_DATA, FW_CFG_KERNEL_SIZE, parts.kernel);
		add_blob(m->fw_cfg, FW_CFG_INITRD_DATA, FW_CFG_INITRD_SIZE, parts.initrd);
		fw_cfg_add_u32(m->fw_cfg, FW_CFG_CMDLINE_SIZE, strlen(append) + 1);
		fw_cfg_add_string(m->fw_cfg, FW_CFG_CMDLINE_DATA, append);
	}
	loader_parts_clear(&parts);
	loader_free(loader);
	return ok;
}
