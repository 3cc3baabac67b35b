/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a display adapter shows, and those who look at it. The adapter implements struct display_ops; a
 * screenshot is the first who looks. An image is a copy: nobody holds the guest's memory by it.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

/* More than any adapter's memory holds at 16 bits a pixel: what an image may be large at most. */
#define DISPLAY_SIDE_MAX 16384u

struct display_image {
	unsigned width, height;
	uint8_t *rgb; /* three bytes a pixel: red, green, blue; rows follow each other */
};

struct display_ops {
	/*
	 * Copy what is on the screen now. NULL and an error if the guest has set no mode that can be
	 * shown. Main thread; the guest may write meanwhile, and the copy then has some of that.
	 */
	struct display_image *(*capture)(void *opaque, GError **error);
};

struct display {
	const struct display_ops *ops;
	void *opaque;
};

/* Black; both sides are 1 to DISPLAY_SIDE_MAX. */
struct display_image *display_image_new(unsigned width, unsigned height);
/* NULL is allowed. */
void display_image_free(struct display_image *image);
/* A binary PPM (P6). The caller frees it with g_bytes_unref(). */
GBytes *display_image_ppm(const struct display_image *image);
