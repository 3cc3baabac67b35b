/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libvirt's errors. A room sets a GError with virt_error(); the RPC layer turns it into the wire
 * form, with the prefix that libvirt's clients expect for the code. A BERTH_ERROR becomes the
 * nearest libvirt code.
 */
#pragma once

#include "base/error.h"

enum virt_code {
	VIRT_INTERNAL = 1,
	VIRT_NO_SUPPORT = 3,
	VIRT_NO_CONNECT = 5,
	VIRT_INVALID_ARG = 8,
	VIRT_OPERATION_FAILED = 9,
	VIRT_XML_ERROR = 27,
	VIRT_OPERATION_DENIED = 29,
	VIRT_XML_DETAIL = 35,
	VIRT_SYSTEM_ERROR = 38,
	VIRT_RPC = 39,
	VIRT_NO_DOMAIN = 42,
	VIRT_AUTH_FAILED = 45,
	VIRT_NO_NETWORK = 43,
	VIRT_NO_STORAGE_POOL = 49,
	VIRT_NO_STORAGE_VOL = 50,
	VIRT_NO_NODE_DEVICE = 53,
	VIRT_OPERATION_INVALID = 55,
	VIRT_NO_INTERFACE = 57,
	VIRT_MULTIPLE_INTERFACES = 61,
	VIRT_NO_NWFILTER = 62,
	VIRT_INVALID_SECRET = 65,
	VIRT_NO_SECRET = 66,
	VIRT_CONFIG_UNSUPPORTED = 67,
	VIRT_OPERATION_TIMEOUT = 68,
	VIRT_ARGUMENT_UNSUPPORTED = 74,
	VIRT_NO_METADATA = 80,
	VIRT_BLOCK_COPY_ACTIVE = 83,
	VIRT_OPERATION_UNSUPPORTED = 84,
	VIRT_NO_SNAPSHOT = 72,
	VIRT_AGENT_UNRESPONSIVE = 86,
	VIRT_ACCESS_DENIED = 88,
	VIRT_STORAGE_VOL_EXIST = 90,
	VIRT_CPU_INCOMPATIBLE = 91,
	VIRT_DEVICE_MISSING = 99,
	VIRT_NO_NWFILTER_BINDING = 101,
	VIRT_NO_CHECKPOINT = 103,
	VIRT_NO_BACKUP = 104,
	VIRT_NETWORK_PORT_EXIST = 106,
	VIRT_NO_NETWORK_PORT = 107,
	VIRT_CHECKPOINT_INCONSISTENT = 109,
};

/* Which part of libvirt would say so. */
enum virt_from {
	VIRT_FROM_NONE = 0, VIRT_FROM_RPC = 7, VIRT_FROM_QEMU = 10, VIRT_FROM_STORAGE = 18,
	VIRT_FROM_NETWORK = 19, VIRT_FROM_DOMAIN = 20, VIRT_FROM_NODEDEV = 22, VIRT_FROM_SECURITY = 24,
	VIRT_FROM_INTERFACE = 26, VIRT_FROM_SECRET = 30, VIRT_FROM_CPU = 31, VIRT_FROM_NWFILTER = 33,
	VIRT_FROM_STREAMS = 38,
};

#define VIRT_ERROR (virt_error_quark())
GQuark virt_error_quark(void);

/* The text is the detail without the code's prefix. Returns false always. */
bool virt_error(GError **error, enum virt_from from, enum virt_code code, const char *format, ...)
	G_GNUC_PRINTF(4, 5);

/* "this function is not supported by the connection driver: virDomainAttachDevice" */
bool virt_error_unserved(GError **error, const char *procedure);
/* "operation forbidden: read only access prevents virDomainCreate", or that it shows no secrets */
bool virt_error_readonly(GError **error, const char *procedure, bool secrets);

struct arena;
struct remote_error;
/* Fill the wire form; its strings live in `arena`. */
void virt_error_to_wire(const GError *error, struct arena *arena, struct remote_error *wire);
