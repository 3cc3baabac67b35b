/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "dev/core/property.h"

#include "base/units.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static void *field(const struct property *p, const struct device *dev)
{
	return (char *)dev + p->offset;
}

static bool parse_unsigned(void *at, enum property_type type, const char *value, GError **error)
{
	static const uint64_t max[] = {
		[PROPERTY_U8] = UINT8_MAX,
		[PROPERTY_U16] = UINT16_MAX,
		[PROPERTY_U32] = UINT32_MAX,
		[PROPERTY_U64] = UINT64_MAX,
	};
	uint64_t v;
	if (!units_parse_number(value, 0, max[type], &v, error))
		return false;
	switch (type) {
	case PROPERTY_U8:
		*(uint8_t *)at = v;
		break;
	case PROPERTY_U16:
		*(uint16_t *)at = v;
		break;
	case PROPERTY_U32:
		*(uint32_t *)at = v;
		break;
	default:
		*(uint64_t *)at = v;
		break;
	}
	return true;
}

static bool parse_enum(int *at, const char *const *names, const char *value, GError **error)
{
	for (int i = 0; names[i]; i++) {
		if (g_str_equal(names[i], value)) {
			*at = i;
			return true;
		}
	}
	g_autofree char *all = g_strjoinv(", ", (char **)names);
	return error_set(error, BERTH_ERR_INVALID, "'%s' is not one of: %s", value, all);
}

static bool parse_mac(uint8_t *at, const char *value, GError **error)
{
	unsigned b[6];
	int used = 0;
	if (sscanf(value, "%2x:%2x:%2x:%2x:%2x:%2x%n", &b[0], &b[1], &b[2], &b[3], &b[4], &b[5],
		   &used) != 6 ||
	    value[used])
		return error_set(error, BERTH_ERR_INVALID,
				 "'%s' is not a MAC address such as 52:54:00:12:34:56", value);
	for (int i = 0; i < 6; i++)
		at[i] = b[i];
	return true;
}

/* QEMU reads both numbers as hexadecimal, with or without 0x. */
static bool parse_pci_address(int *at, const char *value, GError **error)
{
	unsigned slot, function = 0;
	int used = 0;
	if (g_str_equal(value, "-1")) {
		*at = -1;
		return true;
	}
	bool parsed = sscanf(value, "%x.%x%n", &slot, &function, &used) == 2 && used && !value[used];
	if (!parsed)
		parsed = sscanf(value, "%x%n", &slot, &used) == 1 && used && !value[used];
	if (!parsed || slot > 31 || function > 7)
		return error_set(error, BERTH_ERR_INVALID,
				 "'%s' is not a PCI address: write a device from 0 to 1f and, after a "
				 "dot, a function from 0 to 7, as in 5 or 1f.2 (hexadecimal)",
				 value);
	*at = (int)(slot << 3 | function);
	return true;
}

static bool parse_reference(void **at, enum property_type type, const char *id,
			    const struct device_resolver *resolver, GError **error)
{
	if (!resolver)
		return error_set(error, BERTH_ERR_NOT_SUPPORTED, "cannot look up '%s' here", id);
	void *found = resolver->find(resolver->opaque, type, id, error);
	if (found)
		*at = found;
	return found != NULL;
}

bool property_parse(const struct property *p, struct device *dev, const char *value,
		    const struct device_resolver *resolver, GError **error)
{
	void *at = field(p, dev);
	switch (p->type) {
	case PROPERTY_BOOL:
		return units_parse_bool(value, at, error);
	case PROPERTY_U8:
	case PROPERTY_U16:
	case PROPERTY_U32:
	case PROPERTY_U64:
		return parse_unsigned(at, p->type, value, error);
	case PROPERTY_SIZE:
		return units_parse_size(value, 1, at, error);
	case PROPERTY_STRING:
		g_free(*(char **)at);
		*(char **)at = g_strdup(value);
		return true;
	case PROPERTY_ENUM:
		return parse_enum(at, p->names, value, error);
	case PROPERTY_MAC:
		return parse_mac(at, value, error);
	case PROPERTY_PCI_ADDR:
		return parse_pci_address(at, value, error);
	case PROPERTY_DRIVE:
	case PROPERTY_NETDEV:
	case PROPERTY_CHARDEV:
	case PROPERTY_MEMDEV:
		return parse_reference(at, p->type, value, resolver, error);
	}
	g_assert_not_reached();
}

char *property_format(const struct property *p, const struct device *dev)
{
	const void *at = field(p, dev);
	const uint8_t *mac = at;
	switch (p->type) {
	case PROPERTY_BOOL:
		return g_strdup(*(const bool *)at ? "on" : "off");
	case PROPERTY_U8:
		return g_strdup_printf("%u", *(const uint8_t *)at);
	case PROPERTY_U16:
		return g_strdup_printf("%u", *(const uint16_t *)at);
	case PROPERTY_U32:
		return g_strdup_printf("%u", *(const uint32_t *)at);
	case PROPERTY_U64:
	case PROPERTY_SIZE:
		return g_strdup_printf("%" PRIu64, *(const uint64_t *)at);
	case PROPERTY_STRING:
		return g_strdup(*(char *const *)at);
	case PROPERTY_ENUM:
		return g_strdup(p->names[*(const int *)at]);
	case PROPERTY_MAC:
		return g_strdup_printf("%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2],
				       mac[3], mac[4], mac[5]);
	case PROPERTY_PCI_ADDR: {
		int address = *(const int *)at;
		return address < 0 ? g_strdup("-1")
				   : g_strdup_printf("%02x.%x", address >> 3, address & 7);
	}
	case PROPERTY_DRIVE:
	case PROPERTY_NETDEV:
	case PROPERTY_CHARDEV:
	case PROPERTY_MEMDEV:
		return NULL; /* the back end knows its id; this table does not */
	}
	g_assert_not_reached();
}

void property_describe(const struct property *p, GString *text)
{
	static const char *const types[] = {
		[PROPERTY_BOOL] = "bool",          [PROPERTY_U8] = "uint8",
		[PROPERTY_U16] = "uint16",         [PROPERTY_U32] = "uint32",
		[PROPERTY_U64] = "uint64",         [PROPERTY_SIZE] = "size",
		[PROPERTY_STRING] = "str",         [PROPERTY_ENUM] = "enum",
		[PROPERTY_MAC] = "MAC address",    [PROPERTY_PCI_ADDR] = "PCI address",
		[PROPERTY_DRIVE] = "drive id",     [PROPERTY_NETDEV] = "netdev id",
		[PROPERTY_CHARDEV] = "chardev id", [PROPERTY_MEMDEV] = "memory backend id",
	};
	g_string_append_printf(text, "  %s=<%s>", p->name, types[p->type]);
	if (p->help)
		g_string_append_printf(text, " - %s", p->help);
	if (p->type == PROPERTY_ENUM) {
		g_autofree char *all = g_strjoinv("/", (char **)p->names);
		g_string_append_printf(text, " [%s]", all);
	}
	if (p->initial)
		g_string_append_printf(text, " (default: %s)", p->initial);
	g_string_append_c(text, '\n');
}

void property_clear(const struct property *p, struct device *dev)
{
	if (p->type == PROPERTY_STRING)
		g_clear_pointer((char **)field(p, dev), g_free);
}
