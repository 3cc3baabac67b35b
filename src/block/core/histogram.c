/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "block/core/histogram.h"

#include "block/core/driver.h"

struct block_histograms {
	struct block_histogram of[BLOCK_HISTOGRAMS];
};

static void clear(struct block_histogram *histogram)
{
	g_free(histogram->boundaries);
	g_free(histogram->bins);
	*histogram = (struct block_histogram){0};
}

bool block_histogram_set(struct block_node *node, enum block_histogram_kind kind,
			 const uint64_t *boundaries, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		if (boundaries[i] <= (i ? boundaries[i - 1] : 0))
			return false;
	if (!node->histograms)
		node->histograms = g_new0(struct block_histograms, 1);
	struct block_histogram *histogram = &node->histograms->of[kind];
	clear(histogram);
	if (count) {
		histogram->count = count;
		histogram->boundaries = g_memdup2(boundaries, count * sizeof(*boundaries));
		histogram->bins = g_new0(uint64_t, count + 1);
	}
	return true;
}

const struct block_histogram *block_histogram_get(const struct block_node *node,
						  enum block_histogram_kind kind)
{
	return node->histograms && node->histograms->of[kind].count ? &node->histograms->of[kind] : NULL;
}

void block_histogram_add(struct block_node *node, enum block_op op, uint64_t ns)
{
	enum block_histogram_kind kind = op == BLOCK_READ    ? BLOCK_HISTOGRAM_READ
					 : op == BLOCK_FLUSH ? BLOCK_HISTOGRAM_FLUSH
							     : BLOCK_HISTOGRAM_WRITE;
	struct block_histogram *histogram = &node->histograms->of[kind];
	if (!histogram->count || op == BLOCK_DISCARD)
		return;
	unsigned low = 0, high = histogram->count; /* the bin is the number of boundaries <= ns */
	while (low < high) {
		unsigned middle = (low + high) / 2;
		if (histogram->boundaries[middle] <= ns)
			low = middle + 1;
		else
			high = middle;
	}
	histogram->bins[low]++;
}

void block_histograms_free(struct block_node *node)
{
	for (unsigned i = 0; node->histograms && i < BLOCK_HISTOGRAMS; i++)
		clear(&node->histograms->of[i]);
	g_clear_pointer(&node->histograms, g_free);
}
