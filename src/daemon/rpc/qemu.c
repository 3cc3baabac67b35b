/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/rpc/qemu.h"

#include "codec/remote.h"

static const struct qemu_procedure procedures[] = {
	[1] = {{"QEMU_MONITOR_COMMAND", RIGHT_WRITE, true, &remote_qemu_monitor_command_type,
		&remote_qemu_monitor_result_type}, serve_qemu_monitor_command},
	[2] = {{"QEMU_ATTACH", RIGHT_WRITE, false, NULL, NULL}, NULL},
	[3] = {{"QEMU_AGENT_COMMAND", RIGHT_WRITE, true, &remote_qemu_agent_command_type,
		&remote_qemu_agent_result_type}, serve_qemu_agent_command},
	[4] = {{"QEMU_MONITOR_EVENT_REGISTER", RIGHT_WRITE, false, NULL, NULL}, NULL},
	[5] = {{"QEMU_MONITOR_EVENT_DEREGISTER", RIGHT_WRITE, false, NULL, NULL}, NULL},
	[6] = {{"QEMU_MONITOR_EVENT", RIGHT_EVENT, false, NULL, NULL}, NULL},
	[7] = {{"QEMU_MONITOR_COMMAND_WITH_FILES", RIGHT_WRITE, false, NULL, NULL}, NULL},
};

const struct qemu_procedure *qemu_procedure(uint32_t number)
{
	return number < G_N_ELEMENTS(procedures) && procedures[number].info.name ? &procedures[number]
										 : NULL;
}
