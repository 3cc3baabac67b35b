/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a frame says of a guest's IPv4 address. Frames are of the guest or of its peers: nothing in them is
 * trusted but what the rules in effect have let through.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

/*
 * The address (4 bytes of the frame) that the owner of `mac` uses in a frame that it sends, by ARP or
 * IPv4; NULL: it tells none that a host can have.
 */
const uint8_t *filter_packet_sender(const uint8_t mac[6], const uint8_t *frame, size_t size);
/* The address that a DHCP server confirms to `mac`, with *lease_s for how long; or NULL. */
const uint8_t *filter_packet_confirmed(const uint8_t mac[6], const uint8_t *frame, size_t size,
				       uint32_t *lease_s);
