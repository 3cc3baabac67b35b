/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Hostile LUKS 2 headers: the binary part, the JSON, and a try of a password where that is cheap. */
#include "block/crypto/luks2.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* No checksum to get right: the JSON is all of the input. */
static void try_json(const char *text, size_t size)
{
	g_autofree struct luks2_header *header = g_new0(struct luks2_header, 1);
	uint8_t key[LUKS_KEY_MAX];
	header->size = 16384;
	if (!luks2_decode_json(header, text, size, "input", NULL))
		return;
	json_decref(luks2_describe(header));
	for (unsigned i = 0; i < header->slot_count; i++) {
		const struct luks2_slot *slot = &header->slots[i];
		if (slot->iterations > 2000 || header->digest_iterations > 2000 || slot->memory_kib > 256 ||
		    slot->time > 4)
			continue;
		g_autofree uint8_t *material = g_malloc0(luks_stripes_bytes(slot->key_bytes));
		g_autoptr(GError) error = NULL;
		luks2_try_slot(header, slot, material, "password", 8, key, &error);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct luks2_header header;
	uint8_t bytes[LUKS2_BINARY_SIZE] = {0};
	memcpy(bytes, data, size < sizeof(bytes) ? size : sizeof(bytes));
	luks2_probe(data, size);
	luks2_decode_binary(&header, bytes, false, "input", NULL);
	luks2_decode_binary(&header, bytes, true, "input", NULL);
	try_json((const char *)data, size);
	return 0;
}
