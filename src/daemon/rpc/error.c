/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/rpc/error.h"

#include "codec/remote.h"

#include <string.h>

/* A GError has one number: the code below, the domain above. */
#define FROM_SHIFT 16

enum { LEVEL_ERROR = 2 };

G_DEFINE_QUARK(virt-error-quark, virt_error)

bool virt_error(GError **error, enum virt_from from, enum virt_code code, const char *format, ...)
{
	if (!error)
		return false;
	va_list args;
	va_start(args, format);
	*error = g_error_new_valist(VIRT_ERROR, code | from << FROM_SHIFT, format, args);
	va_end(args);
	return false;
}

/* What libvirt puts before the detail; clients print the whole, and scripts match it. */
static const char *const prefixes[] = {
	[VIRT_INTERNAL] = "internal error: ",
	[VIRT_NO_SUPPORT] = "this function is not supported by the connection driver: ",
	[VIRT_NO_CONNECT] = "no connection driver available for ",
	[VIRT_INVALID_ARG] = "invalid argument: ",
	[VIRT_OPERATION_FAILED] = "operation failed: ",
	[VIRT_XML_ERROR] = "XML error: ",
	[VIRT_OPERATION_DENIED] = "operation forbidden: ",
	[VIRT_AUTH_FAILED] = "authentication failed: ",
	[VIRT_NO_DOMAIN] = "Domain not found: ",
	[VIRT_NO_NETWORK] = "Network not found: ",
	[VIRT_NO_NETWORK_PORT] = "network port not found: ",
	[VIRT_NETWORK_PORT_EXIST] = "network port ",
	[VIRT_NO_STORAGE_POOL] = "Storage pool not found: ",
	[VIRT_NO_STORAGE_VOL] = "Storage volume not found: ",
	[VIRT_NO_NODE_DEVICE] = "Node device not found: ",
	[VIRT_NO_INTERFACE] = "Interface not found: ",
	[VIRT_MULTIPLE_INTERFACES] = "multiple matching interfaces found: ",
	[VIRT_NO_NWFILTER] = "Network filter not found: ",
	[VIRT_NO_NWFILTER_BINDING] = "Network filter binding not found: ",
	[VIRT_OPERATION_INVALID] = "Requested operation is not valid: ",
	[VIRT_INVALID_SECRET] = "Invalid secret: ",
	[VIRT_NO_SECRET] = "Secret not found: ",
	[VIRT_CONFIG_UNSUPPORTED] = "unsupported configuration: ",
	[VIRT_OPERATION_TIMEOUT] = "Timed out during operation: ",
	[VIRT_ARGUMENT_UNSUPPORTED] = "argument unsupported: ",
	[VIRT_BLOCK_COPY_ACTIVE] = "block copy still active: ",
	[VIRT_OPERATION_UNSUPPORTED] = "Operation not supported: ",
	[VIRT_CPU_INCOMPATIBLE] = "the CPU is incompatible with host CPU: ",
	[VIRT_DEVICE_MISSING] = "device not found: ",
	[VIRT_NO_SNAPSHOT] = "Domain snapshot not found: ",
	[VIRT_NO_METADATA] = "metadata not found: ",
	[VIRT_AGENT_UNRESPONSIVE] = "Guest agent is not responding: ",
	[VIRT_ACCESS_DENIED] = "access denied: ",
	[VIRT_STORAGE_VOL_EXIST] = "storage volume ",
	[VIRT_NO_CHECKPOINT] = "Domain checkpoint not found: ",
	[VIRT_NO_BACKUP] = "Domain backup job id not found: ",
	[VIRT_CHECKPOINT_INCONSISTENT] = "checkpoint inconsistent: ",
};

static const char *prefix(enum virt_code code)
{
	return code < G_N_ELEMENTS(prefixes) && prefixes[code] ? prefixes[code] : "";
}

/* DOMAIN_GET_XML_DESC to virDomainGetXMLDesc: the name of libvirt's function. */
static char *function_name(const char *procedure)
{
	static const char *const acronyms[] = {"XML", "UUID", "CPU", "OS", "URI", "ID", "MAC", "NMI",
					       "SEV", "PM", "SSH", "FD", "FSInfo", "FSTrim", "FSFreeze",
					       "FSThaw", "IOThread", "NWFilter", "DHCP", NULL};
	g_auto(GStrv) words = g_strsplit(procedure, "_", -1);
	/* Those of QEMU's program are of its domains. */
	GString *name = g_string_new(g_str_has_prefix(procedure, "QEMU_") ? "virDomain" : "vir");
	for (char **word = words; *word; word++) {
		const char *const *acronym = acronyms;
		while (*acronym && g_ascii_strcasecmp(*acronym, *word) != 0)
			acronym++;
		g_string_append(name, *acronym ? *acronym : *word);
		if (*acronym)
			continue;
		for (char *c = name->str + name->len - strlen(*word) + 1; *c; c++)
			*c = g_ascii_tolower(*c);
	}
	return g_string_free(name, FALSE);
}

/* Which part of libvirt would complain about a procedure. */
static enum virt_from part_of(const char *procedure)
{
	static const struct {
		const char *prefix;
		enum virt_from from;
	} parts[] = {
		{"DOMAIN_", VIRT_FROM_DOMAIN},
		{"NETWORK_", VIRT_FROM_NETWORK},
		{"STORAGE_", VIRT_FROM_STORAGE},
		{"NODE_DEVICE_", VIRT_FROM_NODEDEV},
		{"INTERFACE_", VIRT_FROM_INTERFACE},
		{"SECRET_", VIRT_FROM_SECRET},
		{"NWFILTER_", VIRT_FROM_NWFILTER},
	};
	for (unsigned i = 0; i < G_N_ELEMENTS(parts); i++) {
		if (g_str_has_prefix(procedure, parts[i].prefix))
			return parts[i].from;
	}
	return VIRT_FROM_NONE;
}

bool virt_error_unserved(GError **error, const char *procedure)
{
	g_autofree char *name = function_name(procedure);
	return virt_error(error, part_of(procedure), VIRT_NO_SUPPORT, "%s", name);
}

bool virt_error_readonly(GError **error, const char *procedure, bool secrets)
{
	g_autofree char *name = function_name(procedure);
	return virt_error(error, part_of(procedure), VIRT_OPERATION_DENIED,
			  secrets ? "%s with secure flag" : "read only access prevents %s", name);
}

/* Ours to libvirt's. */
static enum virt_code nearest_code(const GError *error)
{
	if (error->domain != BERTH_ERROR)
		return VIRT_INTERNAL;
	switch ((enum berth_error)error->code) {
	case BERTH_ERR_INVALID:
		return VIRT_INVALID_ARG;
	case BERTH_ERR_NOT_SUPPORTED:
		return VIRT_CONFIG_UNSUPPORTED;
	case BERTH_ERR_NOT_FOUND:
	case BERTH_ERR_BUSY:
		return VIRT_OPERATION_FAILED;
	case BERTH_ERR_IO:
		return VIRT_SYSTEM_ERROR;
	case BERTH_ERR_INTERNAL:
		break;
	}
	return VIRT_INTERNAL;
}

void virt_error_to_wire(const GError *error, struct arena *arena, struct remote_error *wire)
{
	bool ours = error->domain != VIRT_ERROR;
	enum virt_code code = ours ? nearest_code(error) : error->code & ((1 << FROM_SHIFT) - 1);
	const char *before = prefix(code);
	g_autofree char *message = g_strconcat(before, error->message, NULL);
	g_autofree char *format = g_strconcat(before, "%s", NULL);
	*wire = (struct remote_error){
		.code = code,
		.domain = ours ? VIRT_FROM_QEMU : error->code >> FROM_SHIFT,
		.message = arena_strdup(arena, message),
		.level = LEVEL_ERROR,
		.str1 = arena_strdup(arena, format),
		.str2 = arena_strdup(arena, error->message),
		.int1 = -1,
		.int2 = -1,
	};
}
