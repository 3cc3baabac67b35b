/* SPDX-License-Identifier: GPL-2.0-or-later */
/* <filesystem>: folders of the host that the guest mounts by 9p. */
#include "conf/domain.h"

#include "base/error.h"

#include <string.h>

/* How 9p keeps the guest's owners and modes: libvirt's access mode, the VMM's security model. */
static const char *security_model(const char *accessmode)
{
	return g_strcmp0(accessmode, "mapped") == 0 ? "mapped-xattr"
	       : g_strcmp0(accessmode, "squash") == 0 ? "none" : "passthrough";
}

static bool is_used(const struct conf_domain *conf, const struct conf_domain_filesystem *fs)
{
	for (unsigned i = 0; i < conf->filesystems->len; i++) {
		const struct conf_domain_filesystem *other = conf->filesystems->pdata[i];
		if (other != fs && g_strcmp0(other->tag, fs->tag) == 0)
			return true;
	}
	return false;
}

bool conf_domain_read_filesystem(struct conf_domain *conf, xmlNode *node, GError **error)
{
	enum { TAG_MAX = 31 };
	struct conf_domain_filesystem *fs = g_new0(struct conf_domain_filesystem, 1);
	g_ptr_array_add(conf->filesystems, fs);
	fs->dev.node = node;
	fs->dev.on_pci = true;
	g_autofree char *type = xml_attribute(node, "type");
	g_autofree char *access = xml_attribute(node, "accessmode");
	g_autofree char *driver = conf_domain_child_attribute(node, "driver", "type");
	if (g_strcmp0(driver, "virtiofs") == 0)
		return conf_domain_error(error, BERTH_ERR_NOT_SUPPORTED, node,
					 "driver type 'virtiofs': there is path (9p), as with virt-install "
					 "--filesystem DIR,TAG");
	if (!CONF_DOMAIN_ONE_OF(node, "filesystem type", type, error, "mount") ||
	    !CONF_DOMAIN_ONE_OF(node, "accessmode", access, error, "passthrough", "mapped", "squash") ||
	    !CONF_DOMAIN_ONE_OF(node, "driver type", driver, error, "path"))
		return false;
	fs->path = conf_domain_child_attribute(node, "source", "dir");
	fs->tag = conf_domain_child_attribute(node, "target", "dir");
	fs->security_model = security_model(access);
	fs->readonly = xml_child(node, "readonly");
	if (!fs->path || *fs->path != '/')
		return conf_domain_error(error, BERTH_ERR_INVALID, node,
					 "<source dir=...> must be an absolute path");
	if (!fs->tag || !*fs->tag || strlen(fs->tag) > TAG_MAX)
		return conf_domain_error(error, BERTH_ERR_INVALID, node,
					 "<target dir=...> must be a name of 1 to %d characters", TAG_MAX);
	if (is_used(conf, fs))
		return conf_domain_error(error, BERTH_ERR_INVALID, node, "target '%s' duplicated", fs->tag);
	return true;
}
