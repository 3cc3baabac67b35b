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
static const char *prefix(enum virt_code code)
{
	switch (code) {
	case VIRT_INTERNAL:
		return "internal error: ";
	case VIRT_NO_SUPPORT:
		return "this function is not supported by the connection driver: ";
	case VIRT_NO_CONNECT:
		return "no connection driver available for ";
	case VIRT_INVALID_ARG:
		return "invalid argument: ";
	case VIRT_OPERATION_FAILED:
		return "operation failed: ";
	case VIRT_XML_ERROR:
		return "XML error: ";
	case VIRT_OPERATION_DENIED:
		return "operation forbidden: ";
	case VIRT_AUTH_FAILED:
		return "authentication failed: ";
	case VIRT_NO_DOMAIN:
		return "Domain not found: ";
	case VIRT_NO_NETWORK:
		return "Network not found: ";
	case VIRT_NO_NETWORK_PORT:
		return "network port not found: ";
	case VIRT_NETWORK_PORT_EXIST:
		return "network port ";
	case VIRT_NO_STORAGE_POOL:
		return "Storage pool not found: ";
	case VIRT_NO_STORAGE_VOL:
		return "Storage volume not found: ";
	case VIRT_NO_NODE_DEVICE:
		return "Node device not found: ";
	case VIRT_NO_INTERFACE:
		return "Interface not found: ";
	case VIRT_MULTIPLE_INTERFACES:
		return "multiple matching interfaces found: ";
	case VIRT_NO_NWFILTER:
		return "Network filter not found: ";
	case VIRT_NO_NWFILTER_BINDING:
		return "Network filter binding not found: ";
	case VIRT_OPERATION_INVALID:
		return "Requested operation is not valid: ";
	case VIRT_INVALID_SECRET:
		return "Invalid secret: ";
	case VIRT_NO_SECRET:
		return "Secret not found: ";
	case VIRT_CONFIG_UNSUPPORTED:
		return "unsupported configuration: ";
	case VIRT_OPERATION_TIMEOUT:
		return "Timed out during operation: ";
	case VIRT_ARGUMENT_UNSUPPORTED:
		return "argument unsupported: ";
	case VIRT_BLOCK_COPY_ACTIVE:
		return "block copy still active: ";
	case VIRT_OPERATION_UNSUPPORTED:
		return "Operation not supported: ";
	case VIRT_CPU_INCOMPATIBLE:
		return "the CPU is incompatible with host CPU: ";
	case VIRT_DEVICE_MISSING:
		return "device not found: ";
	case VIRT_NO_SNAPSHOT:
		return "Domain snapshot not found: ";
	case VIRT_NO_METADATA:
		return "metadata not found: ";
	case VIRT_AGENT_UNRESPONSIVE:
		return "Guest agent is not responding: ";
	case VIRT_ACCESS_DENIED:
		return "access denied: ";
	case VIRT_STORAGE_VOL_EXIST:
		return "storage volume ";
	case VIRT_XML_DETAIL:
	case VIRT_SYSTEM_ERROR:
	case VIRT_RPC:
		return "";
	}
	return "";
}

/* DOMAIN_GET_XML_DESC to virDomainGetXMLDesc: the name of libvirt's function. */
static char *function_name(const char *procedure)
{
	static const char *const acronyms[] = {"XML", "UUID", "CPU", "OS", "URI", "ID", "MAC", "NMI",
					       "SEV", "PM", "SSH", "FD", NULL};
	g_auto(GStrv) words = g_strsplit(procedure, "_", -1);
	GString *name = g_string_new("vir");
	for (char **word = words; *word; word++) {
		g_string_append(name, *word);
		if (g_strv_contains(acronyms, *word))
			continue;
		for (char *c = name->str + name->len - strlen(*word) + 1; *c; c++)
			*c = g_ascii_tolower(*c);
	}
	return g_string_free(name, FALSE);
}

bool virt_error_unserved(GError **error, const char *procedure)
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
	enum virt_from from = VIRT_FROM_NONE;
	for (unsigned i = 0; i < G_N_ELEMENTS(parts); i++) {
		if (g_str_has_prefix(procedure, parts[i].prefix))
			from = parts[i].from;
	}
	g_autofree char *name = function_name(procedure);
	return virt_error(error, from, VIRT_NO_SUPPORT, "%s", name);
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
