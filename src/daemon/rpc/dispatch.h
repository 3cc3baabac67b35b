/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The dispatch table made from schema/remote.rpc: procedure number to function, NULL: not served. */
#pragma once

#include "codec/procedure.h"

struct rpc_call;
typedef void rpc_serve_fn(struct rpc_call *call, const void *args);
extern rpc_serve_fn *const rpc_dispatch[];
extern const unsigned rpc_dispatch_count;
