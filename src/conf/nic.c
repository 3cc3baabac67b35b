/* SPDX-License-Identifier: GPL-2.0-or-later */
/* -nic and -net: a network device and its back end in one option. */
#include "conf/device.h"

#include "base/error.h"

#include <string.h>

#define FIELD(member) offsetof(struct conf_nic, member)

static const struct keyval_field nic_fields[] = {
	{"type", KEYVAL_STRING, FIELD(type)},   {"id", KEYVAL_STRING, FIELD(id)},
	{"model", KEYVAL_STRING, FIELD(model)}, {"mac", KEYVAL_STRING, FIELD(mac)},
	{NULL},
};

/* -net BACKEND,...: the host half. The model and the MAC are said of the other one, -net nic. */
static const struct keyval_field net_backend_fields[] = {
	{"type", KEYVAL_STRING, FIELD(type)},
	{"id", KEYVAL_STRING, FIELD(id)},
	{"name", KEYVAL_STRING, FIELD(id)},
	{"model", KEYVAL_REFUSED, .help = "write it after -net nic, or use -nic"},
	{"mac", KEYVAL_REFUSED, .help = "write macaddr after -net nic, or use -nic"},
	{NULL},
};

/* -net nic,...: the device half. */
static const struct keyval_field net_nic_fields[] = {
	{"type", KEYVAL_STRING, FIELD(type)},       {"name", KEYVAL_STRING, FIELD(id)},
	{"model", KEYVAL_STRING, FIELD(model)},     {"macaddr", KEYVAL_STRING, FIELD(mac)},
	{"netdev", KEYVAL_STRING, FIELD(netdev)},
	{"vectors", KEYVAL_REFUSED, .help = "use -device with vectors=N"},
	{"addr", KEYVAL_REFUSED, .help = "use -device with addr=N"},
	{NULL},
};

static struct conf_nic *nic_bind(const char *text, const struct keyval_field *fields,
				 const char *option, GError **error)
{
	auto_keyval kv = keyval_parse_any(text, "type", error);
	if (!kv) {
		g_prefix_error(error, "%s: ", option);
		return NULL;
	}
	struct conf_nic *nic = g_new0(struct conf_nic, 1);
	nic->netdev_props = keyval_new();
	bool good = keyval_bind(kv, fields, nic, option,
				fields == net_nic_fields ? NULL : nic->netdev_props, error);
	if (good && nic->model && !nic->model[0])
		good = error_set(error, BERTH_ERR_INVALID, "%s: model= names no device", option);
	if (good && nic->id && !conf_id_is_valid(nic->id))
		good = error_set(error, BERTH_ERR_INVALID,
				 "%s: '%s' cannot be an id: use letters, digits, '-', '.' and '_', "
				 "beginning with a letter",
				 option, nic->id);
	if (good && (!nic->type || !nic->type[0]))
		good = error_set(error, BERTH_ERR_INVALID,
				 "%s: no type is given: user, tap, bridge or none", option);
	if (good)
		return nic;
	conf_nic_free(nic);
	return NULL;
}

struct conf_nic *conf_nic_parse(const char *text, GError **error)
{
	return nic_bind(text, nic_fields, "-nic", error);
}

struct conf_nic *conf_net_parse(const char *text, GError **error)
{
	bool device = strcmp(text, "nic") == 0 || g_str_has_prefix(text, "nic,");
	struct conf_nic *nic = nic_bind(text, device ? net_nic_fields : net_backend_fields, "-net", error);
	if (!nic)
		return NULL;
	nic->legacy = true;
	if (device)
		g_clear_pointer(&nic->type, g_free);
	return nic;
}

void conf_nic_free(struct conf_nic *nic)
{
	if (!nic)
		return;
	keyval_clear(net_nic_fields, nic);
	keyval_free(nic->netdev_props);
	g_free(nic);
}
