/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What card the guest sees of an <interface>: <model type=>, and <rom>, with which it boots. */
#include "conf/domain.h"

#include "base/error.h"

#include <string.h>

bool conf_domain_nic_is_virtio(const struct conf_domain_nic *nic)
{
	return !nic->model || strcmp(nic->model, "virtio") == 0;
}

bool conf_domain_nic_same_card(const struct conf_domain_nic *a, const struct conf_domain_nic *b)
{
	const char *ours = conf_domain_nic_is_virtio(a) ? NULL : a->model;
	const char *theirs = conf_domain_nic_is_virtio(b) ? NULL : b->model;
	return g_strcmp0(ours, theirs) == 0 && a->rom_bar == b->rom_bar &&
	       g_strcmp0(a->rom_file, b->rom_file) == 0;
}

/* What only virtio's rings and configuration space can do. */
static bool check_model(const struct conf_domain *conf, const struct conf_domain_nic *nic,
			const xmlNode *node, GError **error)
{
	if (conf_domain_nic_is_virtio(nic))
		return true;
	if (conf_domain_is_microvm(conf))
		return conf_domain_error(error, BERTH_ERR_NOT_SUPPORTED, node,
					 "<model type='%s'> is a PCI card, and machine='microvm' has no PCI: "
					 "use type='virtio'", nic->model);
	if (strcmp(nic->type, "vhostuser") == 0 || nic->driver == CONF_NIC_DRIVER_VHOST || nic->queues > 1)
		return conf_domain_error(error, BERTH_ERR_NOT_SUPPORTED, node,
					 "vhost and several queues are for <model type='virtio'>, not for '%s'",
					 nic->model);
	return true;
}

static bool read_rom(const struct conf_domain *conf, struct conf_domain_nic *nic, const xmlNode *node,
		     GError **error)
{
	const xmlNode *rom = xml_child(node, "rom");
	bool enabled = true;
	if (!rom)
		return true;
	g_autofree char *bar = xml_attribute(rom, "bar");
	nic->rom_file = xml_attribute(rom, "file");
	if (!conf_yes_no(rom, "enabled", &enabled, error) ||
	    !CONF_DOMAIN_ONE_OF(rom, "bar", bar, error, "on", "off") ||
	    !conf_domain_is_absolute(rom, nic->rom_file, error))
		return false;
	if (!enabled && (bar || nic->rom_file))
		return conf_domain_error(error, BERTH_ERR_INVALID, rom,
					 "ROM tuning is not supported when ROM is disabled");
	if (g_strcmp0(bar, "off") == 0 && nic->rom_file)
		return conf_domain_error(error, BERTH_ERR_NOT_SUPPORTED, rom,
					 "file= goes with bar='on': firmware could not read it");
	if (conf_domain_is_microvm(conf))
		return conf_domain_error(error, BERTH_ERR_NOT_SUPPORTED, rom,
					 "machine='microvm' has no PCI, and its cards have no ROM");
	if (!enabled)
		nic->rom_file = g_strdup("");
	nic->rom_bar = !bar ? CONF_NIC_ROM_DEFAULT : strcmp(bar, "on") == 0 ? CONF_NIC_ROM_ON : CONF_NIC_ROM_OFF;
	return true;
}

bool conf_domain_read_card(const struct conf_domain *conf, struct conf_domain_nic *nic, const xmlNode *node,
			   GError **error)
{
	return CONF_DOMAIN_ONE_OF(node, "model", nic->model, error, CONF_NIC_MODELS) &&
	       check_model(conf, nic, node, error) && read_rom(conf, nic, node, error);
}
