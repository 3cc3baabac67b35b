/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * QEMU's firmware configuration device: numbered items and a directory of named files, read by
 * firmware through ports 0x510/0x511 or by the DMA interface at 0x514. Spec: QEMU,
 * docs/specs/fw_cfg.rst.
 *
 * Threads: items are added on the main thread before the VM runs; the guest reads on any vCPU.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct fw_cfg;
struct vm;

/* Fixed keys. */
enum fw_cfg_key {
	FW_CFG_SIGNATURE = 0x00, FW_CFG_ID = 0x01, FW_CFG_UUID = 0x02, FW_CFG_RAM_SIZE = 0x03,
	FW_CFG_NOGRAPHIC = 0x04, FW_CFG_NB_CPUS = 0x05, FW_CFG_MACHINE_ID = 0x06,
	FW_CFG_KERNEL_ADDR = 0x07, FW_CFG_KERNEL_SIZE = 0x08, FW_CFG_KERNEL_CMDLINE = 0x09,
	FW_CFG_INITRD_ADDR = 0x0a, FW_CFG_INITRD_SIZE = 0x0b, FW_CFG_BOOT_DEVICE = 0x0c,
	FW_CFG_NUMA = 0x0d, FW_CFG_BOOT_MENU = 0x0e, FW_CFG_MAX_CPUS = 0x0f,
	FW_CFG_KERNEL_ENTRY = 0x10, FW_CFG_KERNEL_DATA = 0x11, FW_CFG_INITRD_DATA = 0x12,
	FW_CFG_CMDLINE_ADDR = 0x13, FW_CFG_CMDLINE_SIZE = 0x14, FW_CFG_CMDLINE_DATA = 0x15,
	FW_CFG_SETUP_ADDR = 0x16, FW_CFG_SETUP_SIZE = 0x17, FW_CFG_SETUP_DATA = 0x18,
	FW_CFG_FILE_DIR = 0x19,
	FW_CFG_FILE_FIRST = 0x20,
	FW_CFG_ARCH_LOCAL = 0x8000, /* the x86 keys: */
	FW_CFG_ACPI_TABLES = 0x8000, FW_CFG_SMBIOS_ENTRIES = 0x8001, FW_CFG_IRQ0_OVERRIDE = 0x8002,
	FW_CFG_HPET = 0x8004,
};

#define FW_CFG_FILE_NAME_MAX 55 /* bytes without the terminator */
#define FW_CFG_FILES_MAX     256

struct fw_cfg *fw_cfg_new(struct vm *vm);
void fw_cfg_free(struct fw_cfg *fw);
void fw_cfg_reset(struct fw_cfg *fw);
/* At ports 0x510 to 0x51b of vm->ports. */
void fw_cfg_map_ports(struct fw_cfg *fw, uint16_t base);

/* Items by key: the bytes are copied. Adding a key again replaces it. */
void fw_cfg_add_bytes(struct fw_cfg *fw, uint16_t key, const void *data, size_t size);
void fw_cfg_add_string(struct fw_cfg *fw, uint16_t key, const char *text); /* with its NUL */
void fw_cfg_add_u16(struct fw_cfg *fw, uint16_t key, uint16_t value);      /* little-endian */
void fw_cfg_add_u32(struct fw_cfg *fw, uint16_t key, uint32_t value);
void fw_cfg_add_u64(struct fw_cfg *fw, uint16_t key, uint64_t value);

/*
 * Named files, read-only for the guest; the bytes are copied. Adding a name again replaces the
 * contents. False with an error if the name is too long or the directory is full.
 */
bool fw_cfg_add_file(struct fw_cfg *fw, const char *name, const void *data, size_t size,
		     GError **error);

struct fw_cfg_file_ops {
	/*
	 * The guest selects the file, before any byte of it is read: for contents that depend on
	 * what firmware has programmed (ACPI tables). It may call fw_cfg_add_file() to change the
	 * file's contents and size. Called on a vCPU thread with fw_cfg's lock held (recursive). May be
	 * NULL.
	 */
	void (*selected)(void *opaque);
	/* The guest has written [offset, offset + size) by DMA. NULL: the file is read-only. */
	void (*written)(void *opaque, const uint8_t *data, size_t offset, size_t size);
	void *opaque;
};
bool fw_cfg_add_file_ops(struct fw_cfg *fw, const char *name, const void *data, size_t size,
			 const struct fw_cfg_file_ops *ops, GError **error);
/* The file's current bytes, borrowed until it is replaced; NULL if there is none. */
const void *fw_cfg_find_file(struct fw_cfg *fw, const char *name, size_t *size);
