/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The machine's tables as the builders in acpi/ and smbios/ make them. */
#pragma once

#include "machine/acpi/acpi.h"
#include "machine/machine_int.h"
#include "machine/smbios/smbios.h"

/* Free with acpi_tables_free(). Reads the chips: with no vCPU in them, or from a vCPU's access. */
struct acpi_tables *machine_acpi_build(struct machine *m, machine_acpi_fn *describe);
/* NULL if a -smbios argument is wrong. */
struct smbios_tables *machine_smbios_build(struct machine *m, bool firmware, GError **error);
