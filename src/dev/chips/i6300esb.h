/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The watchdog timer of Intel's 6300ESB: a PCI function that fires when its driver falls silent. */
#pragma once

#include "dev/core/device.h"

extern const struct device_class i6300esb_class; /* i6300esb */
