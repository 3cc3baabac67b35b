/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Devices that come, go and change, in what runs and in the definition. */
#pragma once

#include "daemon/domain/domain.h"

/* The VMM says that a device is gone: forget it, and its back end. */
void hotplug_device_gone(struct domain *dom, const char *alias);
