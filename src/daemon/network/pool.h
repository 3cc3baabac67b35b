/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Networks that are pools of the host's devices: interfaces for macvtap devices, or PCI functions that
 * guests get themselves (SR-IOV). On the thread of the daemon's loop: they only look into sysfs.
 */
#pragma once

#include "conf/network.h"

/* Names of interfaces, or PCI addresses: those that the network lists, or all functions of its <pf>. */
GPtrArray *network_pool_devices(const struct conf_network *conf);
/* Before it is defined: the PCI devices that it lists are virtual functions. */
bool network_pool_check(const struct conf_network *conf, GError **error);
/* Before it is active: its <pf> has functions. */
bool network_pool_start(const struct conf_network *conf, GError **error);
