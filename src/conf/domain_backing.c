/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * <memoryBacking>: what the guest's memory is made of on the host. Huge pages, a memfd or a file; shared with
 * another process or not; taken at the start or as it is touched; locked, merged and thrown away, or not.
 */
#include "conf/domain.h"

#include "base/error.h"
#include "base/units.h"

#include <stdio.h>
#include <string.h>

enum { PAGE_KIB = 4, HUGE_MIN_KIB = 2048, THREADS_MAX = 64 };

/* <hugepages><page size= unit=/>: without a page, of the size that is the VMM's default. */
static bool read_pages(struct conf_domain_backing *backing, const xmlNode *node, GError **error)
{
	const xmlNode *pages = xml_child(node, "hugepages");
	unsigned count = 0;
	backing->huge = pages != NULL;
	xml_for_each(page, pages, "page") {
		char text[24];
		if (count++)
			return conf_domain_error(error, BERTH_ERR_NOT_SUPPORTED, page,
						 "memory has pages of one size: leave one <page>");
		if (!conf_domain_parse_kib(page, "size", "unit", &backing->page_kib, error))
			return false;
		uint64_t kib = backing->page_kib;
		if (kib != PAGE_KIB && (kib < HUGE_MIN_KIB || kib & (kib - 1)))
			return conf_domain_error(error, BERTH_ERR_INVALID, page,
						 "%" G_GUINT64_FORMAT " KiB is no size of pages: 2048 or 1048576",
						 kib);
		snprintf(text, sizeof(text), "%" G_GUINT64_FORMAT, kib);
		xmlSetProp(page, (const xmlChar *)"size", (const xmlChar *)text);
		xmlSetProp(page, (const xmlChar *)"unit", (const xmlChar *)"KiB");
		backing->huge = kib != PAGE_KIB;
	}
	return true;
}

/* <allocation mode= threads=/> */
static bool read_allocation(struct conf_domain_backing *backing, const xmlNode *node, GError **error)
{
	g_autofree char *mode = conf_domain_child_attribute(node, "allocation", "mode");
	g_autofree char *threads = conf_domain_child_attribute(node, "allocation", "threads");
	uint64_t count = 0;
	if (!CONF_DOMAIN_ONE_OF(node, "allocation", mode, error, "immediate", "ondemand"))
		return false;
	if (threads && !units_parse_number(threads, 1, THREADS_MAX, &count, NULL))
		return conf_domain_error(error, BERTH_ERR_INVALID, xml_child(node, "allocation"),
					 "threads must be from 1 to %u", THREADS_MAX);
	backing->immediate = g_strcmp0(mode, "immediate") == 0;
	backing->threads = count;
	return true;
}

static bool check(const struct conf_domain_backing *backing, const xmlNode *node, const char *source,
		  GError **error)
{
	bool anonymous = backing->source == CONF_DOMAIN_MEMORY_ANONYMOUS;
	if (backing->huge && source && anonymous)
		return conf_domain_error(error, BERTH_ERR_INVALID, node,
					 "<hugepages> is not allowed with <source type='anonymous'/>");
	return !backing->shared || backing->huge || !anonymous ||
	       conf_domain_error(error, BERTH_ERR_NOT_SUPPORTED, node,
				 "<access mode='shared'/> needs <source type='memfd'/> or 'file', or "
				 "<hugepages>");
}

bool conf_domain_read_backing(struct conf_domain *conf, const xmlNode *root, GError **error)
{
	struct conf_domain_backing *backing = &conf->backing;
	const xmlNode *node = xml_child(root, "memoryBacking");
	if (!node)
		return true;
	g_autofree char *source = conf_domain_child_attribute(node, "source", "type");
	g_autofree char *access = conf_domain_child_attribute(node, "access", "mode");
	if (!CONF_DOMAIN_ONE_OF(node, "source", source, error, "anonymous", "memfd", "file") ||
	    !CONF_DOMAIN_ONE_OF(node, "access", access, error, "shared", "private") ||
	    !read_allocation(backing, node, error))
		return false;
	backing->source = g_strcmp0(source, "memfd") == 0  ? CONF_DOMAIN_MEMORY_MEMFD
			  : g_strcmp0(source, "file") == 0 ? CONF_DOMAIN_MEMORY_FILE
							   : CONF_DOMAIN_MEMORY_ANONYMOUS;
	backing->shared = g_strcmp0(access, "shared") == 0;
	backing->discard = xml_child(node, "discard");
	backing->locked = xml_child(node, "locked");
	backing->unmerged = xml_child(node, "nosharepages");
	return read_pages(backing, node, error) && check(backing, node, source, error);
}
