/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The engine `kvm`: guests run by the host's kernel on VT-x or AMD-V. */
#pragma once

#include "vm/engine.h"

extern const struct engine_ops kvm_engine;
