/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Hostile LUKS headers: decoding, describing, and a try of a password where that is cheap. */
#include "block/crypto/luks.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct luks_header header;
	uint8_t bytes[LUKS_HEADER_SIZE] = {0}, key[64];
	memcpy(bytes, data, size < sizeof(bytes) ? size : sizeof(bytes));
	luks_probe(data, size);
	if (!luks_decode(&header, bytes, "input", NULL))
		return 0;
	json_decref(luks_describe(&header));
	for (unsigned i = 0; i < LUKS_SLOTS; i++) {
		struct luks_slot *slot = &header.slots[i];
		if (!slot->active || slot->iterations > 2000 || header.digest_iterations > 2000)
			continue;
		g_autofree uint8_t *material = g_malloc0(luks_material_bytes(&header));
		g_autoptr(GError) error = NULL;
		luks_try_slot(&header, slot, material, "password", 8, key, &error);
		break;
	}
	return 0;
}
