/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The display adapters that machine/ lists. */
#pragma once

#include "dev/core/device.h"
#include "display/display.h"

extern const struct device_class bochs_display_class;
/* What the device shows, or NULL if it is no display adapter. Valid as long as the device. */
const struct display *device_display(const struct device *dev);
