/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The strings of -smbios, one struct per type. Between the files of smbios/. */
#pragma once

#include "machine/smbios/smbios.h"

struct smbios_type0 {
	char *vendor, *version, *date, *release;
	bool uefi;
};
struct smbios_type1 {
	char *manufacturer, *product, *version, *serial, *uuid, *sku, *family;
};
struct smbios_type2 {
	char *manufacturer, *product, *version, *serial, *asset, *location;
};
struct smbios_type3 {
	char *manufacturer, *version, *serial, *asset, *sku;
};
struct smbios_type4 {
	char *sock_pfx, *manufacturer, *version, *serial, *asset, *part;
	unsigned max_speed, current_speed;
};
struct smbios_type17 {
	char *loc_pfx, *bank, *manufacturer, *serial, *asset, *part;
	unsigned speed;
};

struct smbios_options {
	bool given[18]; /* type n was named */
	struct smbios_type0 type0;
	uint8_t release_major, release_minor;
	struct smbios_type1 type1;
	uint8_t uuid[16];
	struct smbios_type2 type2;
	struct smbios_type3 type3;
	struct smbios_type4 type4;
	GPtrArray *oem_strings; /* type 11 */
	struct smbios_type17 type17;
};
