/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "block/nbd/address.h"

#include "aio/net.h"
#include "base/error.h"
#include "base/units.h"
#include "block/core/options.h"
#include "block/nbd/wire.h"

#include <fcntl.h>
#include <string.h>

void nbd_address_clear(struct nbd_address *address)
{
	g_clear_pointer(&address->host, g_free);
	g_clear_pointer(&address->port, g_free);
	g_clear_pointer(&address->path, g_free);
}

static bool take_fields(struct nbd_address *address, json_t *dict, GError **error)
{
	static const char *const types[] = {"inet", "unix", "fd", NULL};
	int type = json_object_get(dict, "path") ? NBD_UNIX : NBD_INET;
	bool good = block_take_enum(dict, "type", types, &type, error);
	address->type = type;
	if (good && type == NBD_INET) {
		address->host = block_take_string(dict, "host");
		address->port = block_take_string(dict, "port");
		if (!address->host)
			return error_set(error, BERTH_ERR_INVALID, "an inet address needs host=");
		if (!address->port)
			address->port = g_strdup(NBD_DEFAULT_PORT);
	} else if (good && type == NBD_UNIX) {
		address->path = block_take_string(dict, "path");
		if (!address->path)
			return error_set(error, BERTH_ERR_INVALID, "a unix address needs path=");
	} else if (good) {
		g_autofree char *text = block_take_string(dict, "str");
		uint64_t number = 0;
		if (!text || !units_parse_number(text, 0, INT32_MAX, &number, error))
			return error && *error ? false
					       : error_set(error, BERTH_ERR_INVALID,
							   "an fd address needs str=NUMBER");
		address->fd = number;
	}
	return good && block_refuse_rest(dict, "a socket address", error);
}

bool nbd_address_from_json(struct nbd_address *address, const json_t *json, GError **error)
{
	if (!json_is_object(json))
		return error_set(error, BERTH_ERR_INVALID,
				 "a socket address is an object: {\"type\": \"unix\", \"path\": PATH}");
	json_t *dict = json_deep_copy(json);
	json_t *data = json_object_get(dict, "data");
	if (json_is_object(data)) {
		json_object_update_missing(dict, data);
		json_object_del(dict, "data");
	}
	bool good = take_fields(address, dict, error);
	json_decref(dict);
	if (!good)
		nbd_address_clear(address);
	return good;
}

int nbd_address_connect(const struct nbd_address *address, GError **error)
{
	if (address->type == NBD_UNIX)
		return net_connect_unix(address->path, error);
	if (address->type == NBD_INET)
		return net_connect_tcp(address->host, address->port, error);
	int fd = fcntl(address->fd, F_DUPFD_CLOEXEC, 3);
	if (fd < 0)
		error_set_errno(error, errno, "cannot use descriptor %d", address->fd);
	return fd;
}

int nbd_address_listen(const struct nbd_address *address, GError **error)
{
	if (address->type == NBD_UNIX)
		return net_listen_unix(address->path, error);
	if (address->type == NBD_INET)
		return net_listen_tcp(address->host, address->port, error);
	int fd = fcntl(address->fd, F_DUPFD_CLOEXEC, 3);
	if (fd < 0)
		error_set_errno(error, errno, "cannot use descriptor %d", address->fd);
	return fd;
}
