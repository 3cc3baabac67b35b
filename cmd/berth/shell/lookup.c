/* SPDX-License-Identifier: GPL-2.0-or-later */
/* From what a person types to an object of the daemon: by id, UUID or name, in this order. */
#include "shell.h"

#include <string.h>

static int hex(char c)
{
	return g_ascii_isxdigit(c) ? g_ascii_xdigit_value(c) : -1;
}

bool parse_uuid(const char *text, uint8_t uuid[16])
{
	unsigned count = 0;
	for (; *text; text++) {
		if (*text == '-')
			continue;
		if (count == 16 || hex(text[0]) < 0 || hex(text[1]) < 0)
			return false;
		uuid[count++] = hex(text[0]) << 4 | hex(text[1]);
		text++;
	}
	return count == 16;
}

const char *format_uuid(const uint8_t uuid[16], char text[UUID_TEXT])
{
	char *at = text;
	for (unsigned i = 0; i < 16; i++)
		at += g_snprintf(at, 4, "%s%02x", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", uuid[i]);
	return text;
}

/* A text of the length of a UUID with dashes, and one. */
static bool is_uuid(const char *text, uint8_t uuid[16])
{
	return strlen(text) == UUID_TEXT - 1 && parse_uuid(text, uuid);
}

/* --- Domains ---------------------------------------------------------------------------------- */

static bool find_domain(struct shell *sh, const char *name, unsigned by, struct remote_domain *dom)
{
	int64_t id;
	if (by & BY_ID && parse_int64(name, &id) && id >= 0 && id <= INT32_MAX) {
		struct remote_domain_lookup_by_id_ret ret;
		if (GET(sh, domain_lookup_by_id, &ret, id)) {
			*dom = ret.dom;
			return true;
		}
	}
	struct remote_domain_lookup_by_uuid_args args;
	if (by & BY_UUID && is_uuid(name, args.uuid)) {
		struct remote_domain_lookup_by_uuid_ret ret;
		if (call_domain_lookup_by_uuid(sh->client, &args, &ret, shell_error(sh))) {
			*dom = ret.dom;
			return true;
		}
	}
	struct remote_domain_lookup_by_name_ret ret;
	if (!(by & BY_NAME) || !GET(sh, domain_lookup_by_name, &ret, (char *)name))
		return false;
	*dom = ret.dom;
	return true;
}

bool shell_domain_by(struct shell *sh, const char *name, unsigned by, struct remote_domain *dom)
{
	bool found = find_domain(sh, name, by, dom);
	if (!found && client_is_alive(sh->client))
		shell_forget_error(sh);
	return found || shell_fail(sh, "failed to get domain '%s'", name);
}

bool shell_domain(struct shell *sh, const struct cmd *cmd, const char **name,
		  struct remote_domain *dom)
{
	const char *text;
	if (!opt_string(sh, cmd, "domain", &text) || !shell_domain_by(sh, text, BY_ANY, dom))
		return false;
	if (name)
		*name = text;
	return true;
}

int shell_domain_state(struct shell *sh, struct remote_domain dom, int *reason)
{
	struct remote_domain_get_state_ret ret;
	if (reason)
		*reason = -1;
	if (GET(sh, domain_get_state, &ret, dom, 0)) {
		if (reason)
			*reason = ret.reason;
		return ret.state;
	}
	struct remote_domain_get_info_ret info;
	if (shell_error_code(sh) != CLIENT_NO_SUPPORT || !GET(sh, domain_get_info, &info, dom))
		return -1;
	return info.state;
}

const char *domain_state_name(int state)
{
	static const char *const names[] = {"no state", "running",  "idle",    "paused",
					    "in shutdown", "shut off", "crashed", "pmsuspended"};
	return state >= 0 && (size_t)state < G_N_ELEMENTS(names) ? names[state] : "no state";
}

/* --- Networks, filters, secrets --------------------------------------------------------------- */

bool shell_network_by(struct shell *sh, const char *name, unsigned by, struct remote_network *network)
{
	struct remote_network_lookup_by_uuid_args args;
	struct remote_network_lookup_by_uuid_ret ret;
	struct remote_network_lookup_by_name_ret named;
	if (by & BY_UUID && is_uuid(name, args.uuid) &&
	    call_network_lookup_by_uuid(sh->client, &args, &ret, shell_error(sh))) {
		*network = ret.net;
		return true;
	}
	if (by & BY_NAME && GET(sh, network_lookup_by_name, &named, (char *)name)) {
		*network = named.net;
		return true;
	}
	return shell_fail(sh, "failed to get network '%s'", name);
}

bool shell_network(struct shell *sh, const struct cmd *cmd, const char **name,
		   struct remote_network *network)
{
	const char *text;
	if (!opt_string(sh, cmd, "network", &text))
		return false;
	if (name)
		*name = text;
	return shell_network_by(sh, text, BY_ANY, network);
}

bool shell_nwfilter(struct shell *sh, const struct cmd *cmd, const char **name,
		    struct remote_nwfilter *filter)
{
	struct remote_nwfilter_lookup_by_uuid_args args;
	struct remote_nwfilter_lookup_by_uuid_ret ret;
	struct remote_nwfilter_lookup_by_name_ret named;
	const char *text;
	if (!opt_string(sh, cmd, "nwfilter", &text))
		return false;
	if (name)
		*name = text;
	if (is_uuid(text, args.uuid) &&
	    call_nwfilter_lookup_by_uuid(sh->client, &args, &ret, shell_error(sh)))
		*filter = ret.nwfilter;
	else if (GET(sh, nwfilter_lookup_by_name, &named, (char *)text))
		*filter = named.nwfilter;
	else
		return shell_fail(sh, "failed to get nwfilter '%s'", text);
	return true;
}

bool shell_secret(struct shell *sh, const struct cmd *cmd, const char **name,
		  struct remote_secret *secret)
{
	struct remote_secret_lookup_by_uuid_args args;
	struct remote_secret_lookup_by_uuid_ret ret;
	const char *text;
	if (!opt_string(sh, cmd, "secret", &text))
		return false;
	if (name)
		*name = text;
	if (!parse_uuid(text, args.uuid))
		shell_set_error(sh, CLIENT_INVALID_ARG, "uuidstr in %s must be a valid UUID",
				"virSecretLookupByUUIDString");
	else if (call_secret_lookup_by_uuid(sh->client, &args, &ret, shell_error(sh))) {
		*secret = ret.secret;
		return true;
	}
	return shell_fail(sh, "failed to get secret '%s'", text);
}

/* --- Pools and volumes ------------------------------------------------------------------------ */

bool shell_pool_by(struct shell *sh, const char *name, unsigned by, struct remote_storage_pool *pool)
{
	struct remote_storage_pool_lookup_by_uuid_args args;
	struct remote_storage_pool_lookup_by_uuid_ret ret;
	struct remote_storage_pool_lookup_by_name_ret named;
	if (by & BY_UUID && is_uuid(name, args.uuid) &&
	    call_storage_pool_lookup_by_uuid(sh->client, &args, &ret, shell_error(sh))) {
		*pool = ret.pool;
		return true;
	}
	if (by & BY_NAME && GET(sh, storage_pool_lookup_by_name, &named, (char *)name)) {
		*pool = named.pool;
		return true;
	}
	return shell_fail(sh, "failed to get pool '%s'", name);
}

bool shell_pool(struct shell *sh, const struct cmd *cmd, const char *option, unsigned by,
		struct remote_storage_pool *pool)
{
	const char *text;
	return opt_string(sh, cmd, option, &text) && shell_pool_by(sh, text, by, pool);
}

static bool find_volume(struct shell *sh, const char *text, const struct remote_storage_pool *pool,
			unsigned by, struct remote_storage_vol *vol)
{
	struct remote_storage_vol_lookup_by_name_ret named;
	struct remote_storage_vol_lookup_by_key_ret key;
	struct remote_storage_vol_lookup_by_path_ret path;
	if (pool && by & BY_NAME && GET(sh, storage_vol_lookup_by_name, &named, *pool, (char *)text))
		*vol = named.vol;
	else if (by & BY_UUID && GET(sh, storage_vol_lookup_by_key, &key, (char *)text))
		*vol = key.vol;
	else if (by & BY_UUID && GET(sh, storage_vol_lookup_by_path, &path, (char *)text))
		*vol = path.vol;
	else
		return false;
	return true;
}

/* BY_UUID stands for key and path here. */
bool shell_volume(struct shell *sh, const struct cmd *cmd, const char *option, const char *pool_option,
		  unsigned by, const char **name, struct remote_storage_vol *vol)
{
	const char *text, *pool_name = NULL;
	struct remote_storage_pool pool;
	struct remote_storage_pool_is_active_ret active = {0};
	if (!opt_string(sh, cmd, option, &text) ||
	    (pool_option && !opt_string(sh, cmd, pool_option, &pool_name)))
		return false;
	if (pool_name && !shell_pool(sh, cmd, pool_option, BY_ANY, &pool))
		return false;
	if (pool_name && (!GET(sh, storage_pool_is_active, &active, pool) || !active.active))
		return shell_fail(sh, "pool '%s' is not active", pool_name);
	if (name)
		*name = text;
	if (!find_volume(sh, text, pool_name ? &pool : NULL, by, vol))
		return pool_name || !pool_option ?
			       shell_fail(sh, "failed to get vol '%s'", text) :
			       shell_fail(sh, "failed to get vol '%s', specifying --%s might help", text,
					  pool_option);
	shell_forget_error(sh);
	if (pool_name && strcmp(vol->pool, pool.name) != 0)
		return shell_fail(sh, "Requested volume '%s' is not in pool '%s'", text, pool.name);
	return true;
}

/* --- Interfaces and node devices -------------------------------------------------------------- */

static bool is_mac(const char *text)
{
	unsigned bytes[6];
	int end = 0;
	return sscanf(text, "%2x:%2x:%2x:%2x:%2x:%2x%n", &bytes[0], &bytes[1], &bytes[2], &bytes[3],
		      &bytes[4], &bytes[5], &end) == 6 &&
	       !text[end];
}

bool shell_interface(struct shell *sh, const struct cmd *cmd, const char *option, unsigned by,
		     const char **name, struct remote_interface *iface)
{
	const char *text;
	struct remote_interface_lookup_by_name_ret named;
	struct remote_interface_lookup_by_mac_string_ret ret;
	if (!opt_string(sh, cmd, option, &text))
		return false;
	if (name)
		*name = text;
	if (!is_mac(text) && by & BY_NAME) {
		if (GET(sh, interface_lookup_by_name, &named, (char *)text)) {
			*iface = named.iface;
			return true;
		}
	} else if (GET(sh, interface_lookup_by_mac_string, &ret, (char *)text)) {
		*iface = ret.iface;
		return true;
	}
	return shell_fail(sh, "failed to get interface '%s'", text);
}

bool shell_nodedev_named(struct shell *sh, const char *name, struct remote_node_device *dev)
{
	struct remote_node_device_lookup_by_name_ret named;
	struct remote_node_device_lookup_scsi_host_by_wwn_ret ret;
	if (!strchr(name, ',')) {
		if (GET(sh, node_device_lookup_by_name, &named, (char *)name)) {
			*dev = named.dev;
			return true;
		}
		return shell_fail(sh, "Could not find matching device '%s'", name);
	}
	g_auto(GStrv) wwn = g_strsplit(name, ",", 0);
	if (g_strv_length(wwn) != 2)
		return shell_fail(sh, "Malformed device value '%s'", name);
	if (GET(sh, node_device_lookup_scsi_host_by_wwn, &ret, wwn[0], wwn[1], 0)) {
		*dev = ret.dev;
		return true;
	}
	return shell_fail(sh, "Could not find matching device '%s'", name);
}

bool shell_nodedev(struct shell *sh, const struct cmd *cmd, const char **name,
		   struct remote_node_device *dev)
{
	const char *text;
	if (!opt_string(sh, cmd, "device", &text))
		return false;
	if (name)
		*name = text;
	return shell_nodedev_named(sh, text, dev);
}

bool domain_is_active(struct shell *sh, struct remote_domain dom)
{
	struct remote_domain_is_active_ret ret;
	bool good = GET(sh, domain_is_active, &ret, dom);
	shell_forget_error(sh);
	return good && ret.active;
}
