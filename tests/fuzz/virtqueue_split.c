/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The split ring under a device that copies and holds chains. */
#include "vd_echo.h"
#include "virtio_fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void event(void *opaque, struct vd *vd, struct fuzz_in *in)
{
	struct echo *echo = echo_of(vd->dev);
	uint8_t what = fuzz_u8(in);
	echo->hold = what & 1;
	echo->keep_on_drop = what & 2;
	if (what & 4)
		echo_release(echo);
	/* What is kept must come back some time, or a reset waits for ever. */
	echo->keep_on_drop = false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const properties[] = {"packed", "off", NULL};
	static const struct fuzz_target target = {
		.class = &echo_mmio, .properties = properties, .queues = ECHO_QUEUES,
		.features = ~UINT64_C(0), .event = event,
	};
	struct vd_machine m;
	vd_machine_init(&m);
	fuzz_virtio(&target, &m, data, size);
	return 0;
}
