/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "conf/blkio.h"

#include "base/error.h"
#include "base/units.h"
#include "conf/domain.h"

#include <inttypes.h>
#include <string.h>

/* libvirt's bounds of weights, which suit both schedulers of the kernel that have any. */
enum { WEIGHT_MIN = 10, WEIGHT_MAX = 1000 };

const char *const conf_blkio_names[CONF_BLKIO_LIMITS] = {
	[CONF_BLKIO_WEIGHT] = "weight",
	[CONF_BLKIO_READ_IOPS] = "read_iops_sec",
	[CONF_BLKIO_WRITE_IOPS] = "write_iops_sec",
	[CONF_BLKIO_READ_BYTES] = "read_bytes_sec",
	[CONF_BLKIO_WRITE_BYTES] = "write_bytes_sec",
};

bool conf_blkio_is_valid(enum conf_blkio_limit limit, uint64_t value)
{
	switch (limit) {
	case CONF_BLKIO_WEIGHT:
		return !value || (value >= WEIGHT_MIN && value <= WEIGHT_MAX);
	case CONF_BLKIO_READ_IOPS:
	case CONF_BLKIO_WRITE_IOPS:
		return value <= UINT32_MAX;
	default:
		return value <= INT64_MAX;
	}
}

static void device_free(void *opaque)
{
	struct conf_blkio_device *device = opaque;
	g_free(device->path);
	g_free(device);
}

void conf_blkio_clear(struct conf_blkio *blkio)
{
	g_clear_pointer(&blkio->devices, g_ptr_array_unref);
	blkio->weight = 0;
}

static struct conf_blkio_device *need_device(struct conf_blkio *blkio, const char *path)
{
	if (!blkio->devices)
		blkio->devices = g_ptr_array_new_with_free_func(device_free);
	for (unsigned i = 0; i < blkio->devices->len; i++) {
		struct conf_blkio_device *device = blkio->devices->pdata[i];
		if (strcmp(device->path, path) == 0)
			return device;
	}
	struct conf_blkio_device *device = g_new0(struct conf_blkio_device, 1);
	device->path = g_strdup(path);
	g_ptr_array_add(blkio->devices, device);
	return device;
}

void conf_blkio_set(struct conf_blkio *blkio, const char *path, enum conf_blkio_limit limit, uint64_t value)
{
	need_device(blkio, path)->limits[limit] = value;
}

static bool is_limited(const struct conf_blkio_device *device)
{
	for (unsigned i = 0; i < CONF_BLKIO_LIMITS; i++) {
		if (device->limits[i])
			return true;
	}
	return false;
}

bool conf_blkio_is_set(const struct conf_blkio *blkio)
{
	for (unsigned i = 0; blkio->devices && i < blkio->devices->len; i++) {
		if (is_limited(blkio->devices->pdata[i]))
			return true;
	}
	return blkio->weight;
}

/* --- The document ---------------------------------------------------------------------------- */

static bool read_limit(const xmlNode *parent, enum conf_blkio_limit limit, uint64_t *value, GError **error)
{
	g_autofree char *text = xml_child_text(parent, conf_blkio_names[limit]);
	if (!text || (units_parse_number(text, 0, UINT64_MAX, value, NULL) && conf_blkio_is_valid(limit, *value)))
		return true;
	if (limit == CONF_BLKIO_WEIGHT)
		return conf_domain_error(error, BERTH_ERR_INVALID, parent, "weight must be from %d to %d",
					 WEIGHT_MIN, WEIGHT_MAX);
	return conf_domain_error(error, BERTH_ERR_INVALID, parent, "%s='%s' is no limit",
				 conf_blkio_names[limit], text);
}

static bool read_device(struct conf_blkio *blkio, const xmlNode *node, GError **error)
{
	g_autofree char *path = xml_child_text(node, "path");
	/* A comma ends a path where a client names devices in one line. */
	if (!path || strchr(path, ','))
		return conf_domain_error(error, BERTH_ERR_INVALID, node,
					 "it needs a <path> without commas, such as /dev/sda");
	if (!conf_domain_is_absolute(node, path, error))
		return false;
	struct conf_blkio_device *device = need_device(blkio, path);
	if (is_limited(device))
		return conf_domain_error(error, BERTH_ERR_INVALID, node, "there are two of '%s'", path);
	for (unsigned i = 0; i < CONF_BLKIO_LIMITS; i++) {
		if (!read_limit(node, i, &device->limits[i], error))
			return false;
	}
	return true;
}

bool conf_blkio_read(struct conf_blkio *blkio, xmlNode *root, GError **error)
{
	const xmlNode *tune = xml_child(root, "blkiotune");
	uint64_t weight = 0;
	if (!tune)
		return true;
	if (!read_limit(tune, CONF_BLKIO_WEIGHT, &weight, error))
		return false;
	blkio->weight = weight;
	xml_for_each(node, tune, "device") {
		if (!read_device(blkio, node, error))
			return false;
	}
	conf_blkio_write(blkio, root);
	return true;
}

static void write_limit(xmlNode *parent, enum conf_blkio_limit limit, uint64_t value)
{
	g_autofree char *text = g_strdup_printf("%" PRIu64, value);
	if (value)
		xmlNewTextChild(parent, NULL, (const xmlChar *)conf_blkio_names[limit], (const xmlChar *)text);
}

void conf_blkio_write(const struct conf_blkio *blkio, xmlNode *root)
{
	xmlNode *old = xml_child(root, "blkiotune");
	if (old) {
		xmlUnlinkNode(old);
		xmlFreeNode(old);
	}
	if (!conf_blkio_is_set(blkio))
		return;
	xmlNode *tune = xmlNewDocNode(root->doc, NULL, (const xmlChar *)"blkiotune", NULL);
	write_limit(tune, CONF_BLKIO_WEIGHT, blkio->weight);
	for (unsigned i = 0; blkio->devices && i < blkio->devices->len; i++) {
		const struct conf_blkio_device *device = blkio->devices->pdata[i];
		if (!is_limited(device))
			continue;
		xmlNode *node = xmlNewChild(tune, NULL, (const xmlChar *)"device", NULL);
		xmlNewTextChild(node, NULL, (const xmlChar *)"path", (const xmlChar *)device->path);
		for (unsigned k = 0; k < CONF_BLKIO_LIMITS; k++)
			write_limit(node, k, device->limits[k]);
	}
	xmlAddNextSibling(xml_child(root, "currentMemory"), tune);
}
