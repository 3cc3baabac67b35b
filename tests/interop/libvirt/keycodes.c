/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Prints each key that the daemon knows: the set, the code in it and what the VMM is told. */
#include "daemon/domain/keycodes.h"

#include <stdio.h>

int main(void)
{
	for (int set = 0; set < KEYCODE_SETS; set++) {
		for (unsigned code = 0; code <= 0xffff; code++) {
			unsigned qnum = keycode_to_qnum(set, code);
			if (qnum)
				printf("%s %u %u\n", keycode_sets[set], code, qnum);
		}
	}
	return 0;
}
