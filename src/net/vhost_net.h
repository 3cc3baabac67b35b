/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vhost-net: the kernel serves the rings of a tap interface. Only for net/. */
#pragma once

#include "net/vhost.h"

struct vhost_net;

/*
 * Sets net->vhost. `taps` are the open queues, which stay the caller's and must outlive this; `header`:
 * their packets have a virtio-net header. `fds`: the numbers of as many open /dev/vhost-net as there are
 * queues, "3:4", which are taken if all is well; NULL: open them here.
 */
struct vhost_net *vhost_net_open(struct net_backend *net, const int *taps, unsigned count, bool header,
				 const char *fds, GError **error);
/* NULL is fine. No ring may run. */
void vhost_net_free(struct vhost_net *vhost);
