/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Numbers of keys in the sets that libvirt's clients choose from. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* libvirt's numbers (virKeycodeSet). */
enum keycode_set {
	KEYCODE_LINUX, KEYCODE_XT, KEYCODE_ATSET1, KEYCODE_ATSET2, KEYCODE_ATSET3, KEYCODE_OS_X,
	KEYCODE_XT_KBD, KEYCODE_USB, KEYCODE_WIN32, KEYCODE_QNUM, KEYCODE_SETS
};
extern const char *const keycode_sets[KEYCODE_SETS];

/*
 * A key as the VMM knows it: its code of scan code set 1, with 0x80 added if that comes after e0. 0: the
 * set has no such key, or a PC's keyboard has not.
 */
unsigned keycode_to_qnum(enum keycode_set set, unsigned code);
