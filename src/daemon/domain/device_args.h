/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Devices of a domain as the VMM wants to hear of them: JSON objects that serve on its command line
 * and in QMP alike. The caller owns what is returned.
 */
#pragma once

#include "conf/domain.h"

#include <jansson.h>

/* "virtio-blk" on either board, with its id and its place. */
json_t *virtio_device(const struct conf_domain *conf, const char *name, const struct conf_domain_device *dev);
/* What block_set_io_throttle takes. */
json_t *disk_throttle(const struct conf_domain_disk *disk);
json_t *disk_device(const struct conf_domain *conf, const struct conf_domain_disk *disk);
/*
 * `fds`: what interface_open() opened, by numbers in the VMM or names of getfd, joined by ':'; `vhost_fds`:
 * the same of /dev/vhost-net. NULL: none; it would make its own.
 */
json_t *nic_netdev(const struct conf_domain_nic *nic, const char *fds, const char *vhost_fds);
/* type='vhostuser': its socket, as chardev-add takes it; the id is "char" and the alias. */
json_t *nic_socket(const struct conf_domain_nic *nic);
json_t *nic_device(const struct conf_domain *conf, const struct conf_domain_nic *nic);
/* {"id": ..., "backend": ...} as chardev-add takes it; the id is "char" and the alias. */
json_t *char_backend(const struct conf_domain_char *chr, const char *run_dir);
json_t *char_device(const struct conf_domain *conf, const struct conf_domain_char *chr);
json_t *controller_device(const struct conf_domain *conf,
			  const struct conf_domain_controller *controller);
json_t *filesystem_device(const struct conf_domain *conf, const struct conf_domain_filesystem *fs);
json_t *rng_object(const struct conf_domain *conf);
json_t *rng_device(const struct conf_domain *conf);
json_t *balloon_device(const struct conf_domain *conf);
json_t *hostdev_device(const struct conf_domain_hostdev *hostdev);
json_t *watchdog_device(const struct conf_domain *conf);
