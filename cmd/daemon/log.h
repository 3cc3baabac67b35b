/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where the daemon's log goes. */
#pragma once

#include "base/log.h"
#include "options.h"
#include "settings.h"

enum log_level log_lowest(const struct options *options, const struct settings *settings);
/* Open what the settings say, or open it again. False: *error, and the log stays where it is. */
bool log_open(const struct options *options, const struct settings *settings, GError **error);
