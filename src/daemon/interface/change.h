/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The work of jobs, which the start of the daemon does, too. They block. */
#pragma once

#include "daemon/interface/interface.h"

/* Bring it up; if that fails the kernel is as it was. */
bool interface_start(struct interfaces *interfaces, const struct conf_interface *conf, GError **error);
/* Write the files of the restore point's definitions, and remove the others. */
bool interface_restore_definitions(struct interfaces *interfaces, GError **error);
/* Know of what they say: between jobs. */
void interface_adopt_definitions(struct interfaces *interfaces);
