/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "display/display.h"

#include <stdio.h>
#include <string.h>

struct display_image *display_image_new(unsigned width, unsigned height)
{
	g_assert(width && height && width <= DISPLAY_SIDE_MAX && height <= DISPLAY_SIDE_MAX);
	struct display_image *image = g_new0(struct display_image, 1);
	image->width = width;
	image->height = height;
	image->rgb = g_malloc0_n((size_t)width * height, 3);
	return image;
}

void display_image_free(struct display_image *image)
{
	if (!image)
		return;
	g_free(image->rgb);
	g_free(image);
}

GBytes *display_image_ppm(const struct display_image *image)
{
	char head[64];
	size_t head_size = (size_t)snprintf(head, sizeof(head), "P6\n%u %u\n255\n", image->width, image->height);
	size_t size = (size_t)image->width * image->height * 3;
	uint8_t *bytes = g_malloc(head_size + size);
	memcpy(bytes, head, head_size);
	memcpy(bytes + head_size, image->rgb, size);
	return g_bytes_new_take(bytes, head_size + size);
}
