/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What an image is, by its first bytes. */
#include "block/core/driver.h"

#include <string.h>

const char *block_probe_format(const uint8_t *head, size_t length)
{
	static const struct {
		const char *format;
		size_t offset, length;
		const char *magic;
	} known[] = {
		{"qcow2", 0, 4, "QFI\xfb"},       {"qed", 0, 4, "QED\0"},
		{"vmdk", 0, 4, "KDMV"},           {"vmdk", 0, 4, "COWD"},
		{"vmdk", 0, 21, "# Disk DescriptorFile"}, {"vhdx", 0, 8, "vhdxfile"},
		{"vpc", 0, 8, "conectix"},        {"luks", 0, 6, "LUKS\xba\xbe"},
		{"vdi", 0x40, 4, "\x7f\x10\xda\xbe"}, {"parallels", 0, 16, "WithoutFreeSpace"},
	};
	for (unsigned i = 0; i < G_N_ELEMENTS(known); i++) {
		if (known[i].offset + known[i].length <= length &&
		    memcmp(head + known[i].offset, known[i].magic, known[i].length) == 0)
			return known[i].format;
	}
	return "raw";
}
