/* SPDX-License-Identifier: GPL-2.0-or-later */
/* IPv4 and IPv6 addresses as values. No names, no I/O; any thread. */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

/* family 0: no address. */
struct ip_address {
	int family; /* AF_INET: the first 4 bytes count; AF_INET6: all 16 */
	uint8_t bytes[16];
};

#define IP_TEXT_SIZE 46

/* False: this is no address. No white space, no zone. */
bool ip_parse(const char *text, struct ip_address *ip);
/* The shortest form, into `text` of IP_TEXT_SIZE bytes, which is returned. */
char *ip_format(const struct ip_address *ip, char *text);
/* 4 or 16. */
unsigned ip_length(const struct ip_address *ip);
unsigned ip_bits(const struct ip_address *ip);
static inline bool ip_is_set(const struct ip_address *ip)
{
	return ip->family != 0;
}
bool ip_equal(const struct ip_address *a, const struct ip_address *b);
/* Below, the same, above (-1, 0, 1); addresses of one family. */
int ip_compare(const struct ip_address *a, const struct ip_address *b);
/* The address with all bits after the first `prefix` cleared, or set. */
struct ip_address ip_first(const struct ip_address *ip, unsigned prefix);
struct ip_address ip_last(const struct ip_address *ip, unsigned prefix);
bool ip_in_network(const struct ip_address *ip, const struct ip_address *network, unsigned prefix);
/* Bits of a netmask as 255.255.255.0, or -1: it has holes, or is of IPv6. */
int ip_mask_bits(const struct ip_address *mask);
/* The netmask of so many bits; IPv4. */
struct ip_address ip_mask(unsigned prefix);
bool ip_is_multicast(const struct ip_address *ip);
/* How many addresses from `first` to `last`, both included; UINT64_MAX: as many or more. */
uint64_t ip_range_size(const struct ip_address *first, const struct ip_address *last);

#define MAC_TEXT_SIZE 18
/* "52:54:00:12:34:56"; false: this is no MAC address. */
bool mac_parse(const char *text, uint8_t mac[6]);
char *mac_format(const uint8_t mac[6], char *text);
