/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Frames from which a guest's address is learnt: ARP, IPv4 and DHCP, of the guest and of its peers. */
#include "daemon/network/filter_packet.h"

#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What is found is in the frame, and an address that a host can have. */
static void check(const uint8_t *frame, size_t size, const uint8_t *address)
{
	if (!address)
		return;
	assert(address >= frame && address + 4 <= frame + size);
	assert(address[0] != 0 && address[0] != 127 && address[0] < 224);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t mac[6] = {0x52, 0x54, 0, 0, 0, 1};
	uint32_t lease_s = 0;
	/* A copy of exactly this size, so that a read behind it is seen. */
	uint8_t *frame = malloc(size ? size : 1);
	memcpy(frame, data, size);
	check(frame, size, filter_packet_sender(mac, frame, size));
	check(frame, size, filter_packet_confirmed(mac, frame, size, &lease_s));
	free(frame);
	return 0;
}
