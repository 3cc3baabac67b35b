/* SPDX-License-Identifier: GPL-2.0-or-later */
/* -smbios arguments. */
#include "machine/smbios/options.h"

#include "base/error.h"
#include "base/units.h"
#include "codec/keyval.h"

#include <stdio.h>
#include <string.h>

#define TEXT(struct_, field)                                                                       \
	{.name = #field, .type = KEYVAL_STRING, .offset = offsetof(struct_, field)}

static const struct keyval_field type0_fields[] = {
	TEXT(struct smbios_type0, vendor), TEXT(struct smbios_type0, version),
	TEXT(struct smbios_type0, date), TEXT(struct smbios_type0, release),
	{.name = "uefi", .type = KEYVAL_BOOL, .offset = offsetof(struct smbios_type0, uefi)}, {}};
static const struct keyval_field type1_fields[] = {
	TEXT(struct smbios_type1, manufacturer), TEXT(struct smbios_type1, product),
	TEXT(struct smbios_type1, version), TEXT(struct smbios_type1, serial),
	TEXT(struct smbios_type1, uuid), TEXT(struct smbios_type1, sku),
	TEXT(struct smbios_type1, family), {}};
static const struct keyval_field type2_fields[] = {
	TEXT(struct smbios_type2, manufacturer), TEXT(struct smbios_type2, product),
	TEXT(struct smbios_type2, version), TEXT(struct smbios_type2, serial),
	TEXT(struct smbios_type2, asset), TEXT(struct smbios_type2, location), {}};
static const struct keyval_field type3_fields[] = {
	TEXT(struct smbios_type3, manufacturer), TEXT(struct smbios_type3, version),
	TEXT(struct smbios_type3, serial), TEXT(struct smbios_type3, asset),
	TEXT(struct smbios_type3, sku), {}};
static const struct keyval_field type4_fields[] = {
	TEXT(struct smbios_type4, sock_pfx), TEXT(struct smbios_type4, manufacturer),
	TEXT(struct smbios_type4, version), TEXT(struct smbios_type4, serial),
	TEXT(struct smbios_type4, asset), TEXT(struct smbios_type4, part),
	{.name = "max-speed", .type = KEYVAL_UINT, .max = UINT16_MAX,
	 .offset = offsetof(struct smbios_type4, max_speed)},
	{.name = "current-speed", .type = KEYVAL_UINT, .max = UINT16_MAX,
	 .offset = offsetof(struct smbios_type4, current_speed)}, {}};
static const struct keyval_field type17_fields[] = {
	TEXT(struct smbios_type17, loc_pfx), TEXT(struct smbios_type17, bank),
	TEXT(struct smbios_type17, manufacturer), TEXT(struct smbios_type17, serial),
	TEXT(struct smbios_type17, asset), TEXT(struct smbios_type17, part),
	{.name = "speed", .type = KEYVAL_UINT, .max = UINT16_MAX,
	 .offset = offsetof(struct smbios_type17, speed)}, {}};

struct smbios_options *smbios_options_new(void)
{
	struct smbios_options *options = g_new0(struct smbios_options, 1);
	options->oem_strings = g_ptr_array_new_with_free_func(g_free);
	return options;
}

void smbios_options_free(struct smbios_options *options)
{
	if (!options)
		return;
	keyval_clear(type0_fields, &options->type0);
	keyval_clear(type1_fields, &options->type1);
	keyval_clear(type2_fields, &options->type2);
	keyval_clear(type3_fields, &options->type3);
	keyval_clear(type4_fields, &options->type4);
	keyval_clear(type17_fields, &options->type17);
	g_ptr_array_unref(options->oem_strings);
	g_free(options);
}

static bool parse_uuid(const char *text, uint8_t uuid[16], GError **error)
{
	if (!g_uuid_string_is_valid(text))
		return error_set(error, BERTH_ERR_INVALID,
				 "-smbios: '%s' is not a UUID: write it as "
				 "01234567-89ab-cdef-0123-456789abcdef", text);
	for (unsigned i = 0; i < 16; i++) {
		text += *text == '-';
		uuid[i] = (uint8_t)(g_ascii_xdigit_value(text[0]) << 4 |
				    g_ascii_xdigit_value(text[1]));
		text += 2;
	}
	return true;
}

static bool parse_release(struct smbios_options *options, GError **error)
{
	unsigned major, minor;
	int end = -1;
	const char *text = options->type0.release;
	if (!text)
		return true;
	if (sscanf(text, "%3u.%3u%n", &major, &minor, &end) != 2 || end < 0 || text[end] ||
	    major > 255 || minor > 255)
		return error_set(error, BERTH_ERR_INVALID,
				 "-smbios: '%s' is not a release: write MAJOR.MINOR, each at most 255",
				 text);
	options->release_major = (uint8_t)major;
	options->release_minor = (uint8_t)minor;
	return true;
}

/* A string is ended by a zero in the table, and an empty one by definition does not exist. */
static bool check_length(const struct keyval *kv, GError **error)
{
	for (unsigned i = 0; i < keyval_count(kv); i++)
		if (strlen(kv->values->pdata[i]) > 1024)
			return error_set(error, BERTH_ERR_INVALID,
					 "-smbios: the value of '%s' is longer than 1024 characters",
					 (const char *)kv->keys->pdata[i]);
	return true;
}

static bool add_oem_strings(struct smbios_options *options, const struct keyval *kv, GError **error)
{
	for (unsigned i = 0; i < keyval_count(kv); i++) {
		const char *key = kv->keys->pdata[i], *value = kv->values->pdata[i];
		if (strcmp(key, "value") != 0)
			return error_set(error, BERTH_ERR_INVALID,
					 "-smbios type=11 has no key '%s': write value=TEXT", key);
		if (options->oem_strings->len == 255)
			return error_set(error, BERTH_ERR_INVALID,
					 "-smbios type=11 holds at most 255 strings");
		if (*value)
			g_ptr_array_add(options->oem_strings, g_strdup(value));
	}
	return true;
}

bool smbios_options_add(struct smbios_options *options, const char *text, GError **error)
{
	auto_keyval kv = keyval_parse(text, NULL, error);
	if (!kv)
		return false;
	if (!check_length(kv, error))
		return false;
	g_autofree char *type_text = keyval_take(kv, "type");
	uint64_t type;
	if (!type_text)
		return error_set(error, BERTH_ERR_INVALID,
				 "-smbios %s: write type=N first; N is 0, 1, 2, 3, 4, 11 or 17", text);
	if (!units_parse_number(type_text, 0, 255, &type, error)) {
		g_prefix_error(error, "-smbios type=: ");
		return false;
	}
	g_autofree char *what = g_strdup_printf("-smbios type=%u", (unsigned)type);
	const struct keyval_field *fields = NULL;
	void *target = NULL;
	switch (type) {
	case 0:
		fields = type0_fields, target = &options->type0;
		break;
	case 1:
		fields = type1_fields, target = &options->type1;
		break;
	case 2:
		fields = type2_fields, target = &options->type2;
		break;
	case 3:
		fields = type3_fields, target = &options->type3;
		break;
	case 4:
		fields = type4_fields, target = &options->type4;
		break;
	case 11:
		options->given[11] = true;
		return add_oem_strings(options, kv, error);
	case 17:
		fields = type17_fields, target = &options->type17;
		break;
	default:
		return error_set(error, BERTH_ERR_NOT_SUPPORTED,
				 "-smbios type=%u cannot be set: 0, 1, 2, 3, 4, 11 and 17 can",
				 (unsigned)type);
	}
	options->given[type] = true;
	if (!keyval_bind(kv, fields, target, what, NULL, error))
		return false;
	if (type == 1 && options->type1.uuid)
		return parse_uuid(options->type1.uuid, options->uuid, error);
	return type != 0 || parse_release(options, error);
}

bool smbios_options_uuid(const struct smbios_options *options, uint8_t uuid[16])
{
	if (!options || !options->type1.uuid)
		return false;
	memcpy(uuid, options->uuid, 16);
	return true;
}
