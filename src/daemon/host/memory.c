/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The machine's memory by NUMA node and by size of page, out of sysfs. */
#include "daemon/host/host.h"

#include "base/error.h"
#include "daemon/rpc/error.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define NODES     "/sys/devices/system/node"
#define HUGEPAGES "/sys/kernel/mm/hugepages"

/* "MemFree:  12 kB" in a text as that of /proc/meminfo, in bytes; 0 if there is none. */
static uint64_t field_of(const char *text, const char *field)
{
	g_autofree char *key = g_strdup_printf("%s:", field);
	const char *at = strstr(text, key);
	return at ? g_ascii_strtoull(at + strlen(key), NULL, 10) * 1024 : 0;
}

uint64_t host_meminfo(const char *field)
{
	g_autofree char *text = NULL;
	return g_file_get_contents("/proc/meminfo", &text, NULL, NULL) ? field_of(text, field) : 0;
}

/* A kernel without NUMA has no such files: the one node is the machine. */
uint64_t host_node_meminfo(int node, const char *field)
{
	g_autofree char *text = NULL, *path = g_strdup_printf(NODES "/node%d/meminfo", node);
	return g_file_get_contents(path, &text, NULL, NULL) ? field_of(text, field)
							    : host_meminfo(field);
}

/* --- Pages ---------------------------------------------------------------------------------- */

static int compare_sizes(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
	return x < y ? -1 : x > y;
}

GArray *host_page_sizes(void)
{
	GArray *sizes = g_array_new(FALSE, FALSE, sizeof(uint32_t));
	uint32_t kib = sysconf(_SC_PAGESIZE) / 1024;
	g_autoptr(GDir) dir = g_dir_open(HUGEPAGES, 0, NULL);
	const char *name;
	g_array_append_val(sizes, kib);
	while (dir && (name = g_dir_read_name(dir))) {
		if (sscanf(name, "hugepages-%" SCNu32 "kB", &kib) == 1)
			g_array_append_val(sizes, kib);
	}
	g_array_sort(sizes, compare_sizes);
	return sizes;
}

static char *pool_file(int node, uint32_t kib, const char *name)
{
	char *path = g_strdup_printf(NODES "/node%d/hugepages/hugepages-%ukB/%s", node, kib, name);
	if (g_file_test(path, G_FILE_TEST_EXISTS) || node > 0)
		return path;
	g_free(path);
	return g_strdup_printf(HUGEPAGES "/hugepages-%ukB/%s", kib, name);
}

static bool pool_number(int node, uint32_t kib, const char *name, uint64_t *number)
{
	g_autofree char *path = pool_file(node, kib, name), *text = NULL;
	if (!g_file_get_contents(path, &text, NULL, NULL))
		return false;
	*number = g_ascii_strtoull(text, NULL, 10);
	return true;
}

static bool is_system_page(uint32_t kib)
{
	return kib == sysconf(_SC_PAGESIZE) / 1024;
}

bool host_pages(int node, uint32_t kib, struct host_pages *pages, GError **error)
{
	if (!is_system_page(kib))
		return (pool_number(node, kib, "nr_hugepages", &pages->total) &&
			pool_number(node, kib, "free_hugepages", &pages->free)) ||
		       virt_error(error, VIRT_FROM_NONE, VIRT_OPERATION_FAILED,
				  "page size %u is not available on node %d", kib, node);
	uint64_t total = host_node_meminfo(node, "MemTotal") / 1024, huge;
	g_autoptr(GArray) sizes = host_page_sizes();
	for (unsigned i = 0; i < sizes->len; i++) {
		uint32_t size = g_array_index(sizes, uint32_t, i);
		if (!is_system_page(size) && pool_number(node, size, "nr_hugepages", &huge))
			total -= MIN(total, huge * size);
	}
	pages->total = total / kib;
	pages->free = host_node_meminfo(node, "MemFree") / 1024 / kib;
	return true;
}

/* The kernel gives what it finds, which may be less. */
static bool write_pool(int node, uint32_t kib, uint64_t count, GError **error)
{
	g_autofree char *path = pool_file(node, kib, "nr_hugepages");
	g_autofree char *text = g_strdup_printf("%" PRIu64, count);
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool good = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
	if (!good)
		error_set_errno(error, errno, "cannot set '%s' to %s", path, text);
	if (fd >= 0)
		close(fd);
	return good;
}

bool host_alloc_pages(int node, uint32_t kib, uint64_t count, bool add, GError **error)
{
	struct host_pages before, after;
	if (is_system_page(kib))
		return virt_error(error, VIRT_FROM_NONE, VIRT_OPERATION_UNSUPPORTED,
				  "system pages pool can't be modified");
	if (!host_pages(node, kib, &before, error))
		return false;
	if (add && count > UINT64_MAX - before.total)
		return virt_error(error, VIRT_FROM_NONE, VIRT_INVALID_ARG,
				  "%" PRIu64 " pages more are too many", count);
	uint64_t wanted = add ? before.total + count : count;
	if (!write_pool(node, kib, wanted, error) || !host_pages(node, kib, &after, error))
		return false;
	if (after.total == wanted)
		return true;
	return virt_error(error, VIRT_FROM_NONE, VIRT_OPERATION_FAILED,
			  "Unable to allocate %" PRIu64 " pages. Allocated only %" PRIu64,
			  count, add && after.total > before.total ? after.total - before.total
			  : add ? 0 : after.total);
}
