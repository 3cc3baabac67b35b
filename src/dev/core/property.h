/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Property values between text and a device's fields. For device.c; others use device_set(). */
#pragma once

#include "base/error.h"
#include "dev/core/device.h"

/* `resolver` may be NULL: references to back ends are then refused. */
bool property_parse(const struct property *p, struct device *dev, const char *value,
		    const struct device_resolver *resolver, GError **error);
/* As a person would write it; NULL for an unset string or reference. g_free(). */
char *property_format(const struct property *p, const struct device *dev);
/* Append "name=<type> - help (default: ...)" and a line end. */
void property_describe(const struct property *p, GString *text);
/* Free what the field owns. */
void property_clear(const struct property *p, struct device *dev);
