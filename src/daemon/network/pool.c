/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/network/pool.h"

#include "base/error.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SYSFS_NET "/sys/class/net"
#define SYSFS_PCI "/sys/bus/pci/devices"

/* Where the link `path` leads to, without folders; NULL: it is none. g_free(). */
static char *link_name(const char *path)
{
	g_autofree char *target = g_file_read_link(path, NULL);
	return target ? g_path_get_basename(target) : NULL;
}

/* The network device of a PCI device, as long as the host's driver has it; NULL: none. g_free(). */
static char *interface_of(const char *address)
{
	g_autofree char *path = g_build_filename(SYSFS_PCI, address, "net", NULL);
	GDir *folder = g_dir_open(path, 0, NULL);
	char *name = folder ? g_strdup(g_dir_read_name(folder)) : NULL;
	if (folder)
		g_dir_close(folder);
	return name;
}

/* The kernel numbers the functions from 0 on (Linux, ABI/testing/sysfs-bus-pci: virtfnN). */
static GPtrArray *functions_of(const char *pf)
{
	GPtrArray *list = g_ptr_array_new_with_free_func(g_free);
	for (unsigned i = 0;; i++) {
		g_autofree char *path = g_strdup_printf(SYSFS_NET "/%s/device/virtfn%u", pf, i);
		char *address = link_name(path);
		if (!address)
			return list;
		g_ptr_array_add(list, address);
	}
}

GPtrArray *network_pool_devices(const struct conf_network *conf)
{
	bool pci = conf->forward == CONF_FORWARD_HOSTDEV;
	GPtrArray *list = g_ptr_array_new_with_free_func(g_free);
	if (!conf->forward_pf) {
		const GPtrArray *named = pci ? conf->forward_pci : conf->forward_interfaces;
		for (unsigned i = 0; i < named->len; i++)
			g_ptr_array_add(list, g_strdup(named->pdata[i]));
		return list;
	}
	g_autoptr(GPtrArray) functions = functions_of(conf->forward_pf);
	for (unsigned i = 0; i < functions->len; i++) {
		char *name = pci ? g_strdup(functions->pdata[i]) : interface_of(functions->pdata[i]);
		if (name)
			g_ptr_array_add(list, name);
	}
	return list;
}

bool network_pool_check(const struct conf_network *conf, GError **error)
{
	for (unsigned i = 0; i < conf->forward_pci->len; i++) {
		const char *address = conf->forward_pci->pdata[i];
		g_autofree char *physfn = g_build_filename(SYSFS_PCI, address, "physfn", NULL);
		if (!g_file_test(physfn, G_FILE_TEST_EXISTS))
			return error_set(error, BERTH_ERR_NOT_SUPPORTED,
					 "device '" SYSFS_PCI "/%s' in network '%s' is not an SR-IOV Virtual "
					 "Function", address, conf->name);
	}
	return true;
}

bool network_pool_start(const struct conf_network *conf, GError **error)
{
	g_autoptr(GPtrArray) devices = network_pool_devices(conf);
	return !conf->forward_pf || devices->len ||
	       error_set(error, BERTH_ERR_NOT_FOUND,
			 "No usable Vf's present on SRIOV PF %s: make some by writing a number to "
			 SYSFS_NET "/%s/device/sriov_numvfs", conf->forward_pf, conf->forward_pf);
}
