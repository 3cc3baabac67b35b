/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Parts of model.c, which makes the XML of a new domain. Each is false after an error. */
#pragma once

#include "install.h"

/* A new element with what the pairs of path and value say, ended by NULL; a NULL value is left out. */
xmlNode *install_add(xmlNode *parent, const char *name, ...) G_GNUC_NULL_TERMINATED;

/* model_cpu.c */
bool model_write_memory(xmlNode *domain, const struct install *i, GError **error);
bool model_write_cpus(xmlNode *domain, const struct install *i, GError **error);
/* model_devices.c: disks, networks, graphics, serial ports. */
bool model_write_devices(struct shell *sh, xmlNode *devices, const struct install *i, bool first,
			 GError **error);
