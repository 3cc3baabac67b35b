/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How many vCPUs a domain has, in its definition and as it runs. Those above the first ones, with which
 * it was started, are devices of the VMM, named vcpuN.
 */
#pragma once

#include "daemon/domain/domain.h"

/* Where the vCPUs are; without a topology each is a socket, as libvirt has it. */
struct conf_domain_topology vcpus_topology(const struct conf_domain *conf);
/* The VMM says that a device is gone; false: it is no vCPU. */
bool vcpus_gone(struct domain *dom, const char *alias);
/*
 * By the guest's agent (serve_guest_vcpus.c), and end the call: how many vCPUs the guest uses, or has at
 * most; and let it use so many of those that are plugged in.
 */
void vcpus_ask_guest(struct rpc_call *call, struct domain *dom, bool maximum);
void vcpus_set_guest(struct rpc_call *call, struct domain *dom, unsigned wanted);
/* Ask the VMM which vCPUs there are, and let the live document say so. */
void vcpus_settle(struct domain *dom);
