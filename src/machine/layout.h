/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where things are on the boards: guest-physical addresses, I/O ports and interrupt numbers. The
 * same figures go to the chips, the ACPI tables and the loaders. They are QEMU's, because stock
 * SeaBIOS and OVMF have them built in.
 */
#pragma once

#include "base/units.h"

/* --- both boards ------------------------------------------------------------------------------ */
#define LAYOUT_IOAPIC_BASE  UINT64_C(0xfec00000)
#define LAYOUT_IOAPIC_ID    0
#define LAYOUT_LAPIC_BASE   UINT64_C(0xfee00000)
#define LAYOUT_HIGH_RAM     (4 * GIB)
#define LAYOUT_IOAPIC_PINS  24

/* --- q35 -------------------------------------------------------------------------------------- */

/* RAM below 4 GiB: all of it if it is less than the threshold, else this much. */
#define Q35_LOW_RAM_THRESHOLD UINT64_C(0xb0000000)
#define Q35_LOW_RAM_MAX       UINT64_C(0x80000000)

/*
 * Firmware programs PCIEXBAR (SeaBIOS: 0xb0000000, OVMF: 0xe0000000); direct boot uses this. ACPI
 * tables must ask q35_ecam().
 */
#define Q35_ECAM_BASE       UINT64_C(0xb0000000)
#define Q35_ECAM_SIZE       (256 * MIB)
#define Q35_HPET_BASE       UINT64_C(0xfed00000)
#define Q35_RCBA_BASE       UINT64_C(0xfed1c000)
#define Q35_RCBA_SIZE       (16 * KIB)
#define Q35_PCI_HOLE_END    UINT64_C(0xfec00000) /* 32-bit PCI window ends here */
#define Q35_FLASH_END       (4 * GIB)

/* ACPI PM block: firmware programs PMBASE; both put it at 0x600, direct boot too. */
#define Q35_PM_BASE         0x600
#define Q35_PM_EVT          (Q35_PM_BASE + 0x00) /* PM1a_STS, PM1a_EN */
#define Q35_PM_CNT          (Q35_PM_BASE + 0x04)
#define Q35_PM_TIMER        (Q35_PM_BASE + 0x08)
#define Q35_PM_GPE0         (Q35_PM_BASE + 0x20) /* 16 bytes: 8 status, 8 enable */
#define Q35_PM_GPE0_LEN     16
#define Q35_PM_SMI_EN       (Q35_PM_BASE + 0x30)
#define Q35_ACPI_ENABLE     0x02 /* FADT ACPI_ENABLE and ACPI_DISABLE, written to the SMI port */
#define Q35_ACPI_DISABLE    0x03
#define Q35_APM_PORT        0xb2
#define Q35_S5_TYPE         0    /* SLP_TYP of \_S5, as SeaBIOS' and OVMF's shutdown writes it */
#define Q35_S3_TYPE         1
#define Q35_S4_TYPE         2
#define Q35_RESET_PORT      0xcf9 /* FADT RESET_REG, RESET_VALUE */
#define Q35_RESET_VALUE     0x0f

/*
 * Interrupts: ISA IRQ n is GSI n, but IRQ 0 is GSI 2. PIRQ A to H are GSI 16 to 23.
 * PCI slots 0 to 24, pin p (0: INTA): PIRQ 4 + (slot + p) % 4, that is GSI 20 + (slot + p) % 4.
 * PCI slots 25 to 31: PIRQ p, GSI 16 + p.
 */
#define Q35_SCI             9
#define Q35_GSI_PIRQ        16
#define Q35_PIRQ_SLOT_ROTATE_END 24

/* PCI functions that the board owns. */
#define Q35_DEVFN_MCH       0x00
#define Q35_DEVFN_LPC       0xf8 /* 1f.0 */
#define Q35_DEVFN_AHCI      0xfa /* 1f.2 */
#define Q35_DEVFN_SMBUS     0xfb /* 1f.3 */

#define Q35_FW_CFG_PORT     0x510
#define Q35_SLOTS_PORT      0xcc0 /* hot plug: 12 ports, see chips/acpi_slots.h */
#define Q35_SLOTS_GPE       1     /* raised when they have something to tell */
#define Q35_CPUS_PORT       0xcd8 /* the same for processors */
#define Q35_CPUS_GPE        2
#define Q35_MEMORY_PORT     0xa00 /* memory modules: 24 ports, see chips/acpi_memory.h */
#define Q35_MEMORY_GPE      3
#define Q35_MODULE_ALIGN    (128 * MIB) /* modules begin at a multiple: Linux takes no less */
#define Q35_PVPANIC_PORT    0x505

/* --- microvm ---------------------------------------------------------------------------------- */

#define MICROVM_LOW_RAM_MAX    UINT64_C(0xc0000000)
#define MICROVM_VIRTIO_BASE    UINT64_C(0xfeb00000)
#define MICROVM_VIRTIO_STRIDE  0x200 /* slot n: base + n * stride, 512 bytes */
#define MICROVM_VIRTIO_SLOTS   8
#define MICROVM_VIRTIO_GSI     16    /* slot n: GSI 16 + n */
/* ACPI generic event device and its power registers. */
#define MICROVM_GED_BASE       UINT64_C(0xfea00000) /* event select: 4 bytes, see chips/ged.h */
#define MICROVM_GED_REGS_BASE  UINT64_C(0xfea00200) /* +0 SLEEP_CTL, +1 SLEEP_STS, +2 RESET */
#define MICROVM_GED_GSI        9
#define MICROVM_GED_RESET_VALUE 0x42
#define MICROVM_S5_TYPE        5
#define MICROVM_ECAM_BASE      UINT64_C(0xe0000000)
#define MICROVM_ECAM_SIZE      (256 * MIB)
#define MICROVM_PCI_MMIO_BASE  UINT64_C(0xc0000000)
#define MICROVM_PCI_MMIO_END   UINT64_C(0xe0000000)
#define MICROVM_PCI_GSI        12    /* INTx A to D: GSI 12 to 15 */
