/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The QEMU program of libvirt's protocol (0x20008087): what goes past libvirt's own model. */
#pragma once

#include "codec/procedure.h"

struct rpc_call;

/* The rooms' functions; `args` is what the procedure's description says. */
void serve_qemu_monitor_command(struct rpc_call *call, const void *args);
void serve_qemu_agent_command(struct rpc_call *call, const void *args);

struct qemu_procedure {
	struct remote_procedure_info info;
	void (*serve)(struct rpc_call *call, const void *args);
};
/* By number; NULL: there is none. */
const struct qemu_procedure *qemu_procedure(uint32_t number);
