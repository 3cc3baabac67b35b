/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The smallest ISO 9660 image (ECMA-119): 16 sectors of nothing, the volume's descriptor, the end of
 * descriptors, two path tables, the root folder, the files. Linux shows the names in lower case and
 * without their version, which is what cloud-init's NoCloud source looks for.
 */
#include "install.h"

#include "base/bytes.h"
#include "base/error.h"

#include <errno.h>
#include <string.h>

enum { SECTOR = 2048, DESCRIPTOR = 16, END = 17, TABLE_LITTLE = 18, TABLE_BIG = 19, ROOT = 20, FIRST = 21 };

/* Numbers in both byte orders (7.2.3, 7.3.3). */
static void both16(uint8_t *at, uint16_t value)
{
	le16_store(at, value);
	be16_store(at + 2, value);
}

static void both32(uint8_t *at, uint32_t value)
{
	le32_store(at, value);
	be32_store(at + 4, value);
}

/* A directory record (9.1); returns its length. */
static unsigned record(uint8_t *at, uint32_t sector, uint32_t size, bool folder, const char *name,
		       unsigned length)
{
	unsigned total = 33 + length + (length % 2 == 0);
	at[0] = total;
	both32(at + 2, sector);
	both32(at + 10, size);
	/* 2000-01-01: the same input gives the same image. */
	at[18] = 100;
	at[19] = at[20] = 1;
	at[25] = folder ? 2 : 0;
	both16(at + 28, 1);
	at[32] = length;
	memcpy(at + 33, name, length);
	return total;
}

static void describe(uint8_t *image, uint32_t sectors)
{
	uint8_t *d = image + DESCRIPTOR * SECTOR;
	memset(d + 8, ' ', 64);
	memset(d + 190, ' ', 623);
	d[0] = 1;
	memcpy(d + 1, "CD001", 5);
	d[6] = 1;
	memcpy(d + 40, "cidata", 6);
	both32(d + 80, sectors);
	both16(d + 120, 1);
	both16(d + 124, 1);
	both16(d + 128, SECTOR);
	both32(d + 132, 10);
	le32_store(d + 140, TABLE_LITTLE);
	be32_store(d + 148, TABLE_BIG);
	record(d + 156, ROOT, SECTOR, true, "\0", 1);
	memset(d + 813, '0', 68);
	for (unsigned date = 0; date < 4; date++)
		d[813 + date * 17 + 16] = 0;
	d[881] = 1;
	uint8_t *end = image + END * SECTOR;
	end[0] = 255;
	memcpy(end + 1, "CD001", 5);
	end[6] = 1;
	/* Path tables with the root alone (9.4). */
	uint8_t *little = image + TABLE_LITTLE * SECTOR, *big = image + TABLE_BIG * SECTOR;
	little[0] = big[0] = 1;
	le32_store(little + 2, ROOT);
	be32_store(big + 2, ROOT);
	le16_store(little + 6, 1);
	be16_store(big + 6, 1);
}

bool seed_image_write(const char *path, const struct seed_file *files, unsigned count, GError **error)
{
	uint32_t sectors = FIRST;
	for (unsigned i = 0; i < count; i++)
		sectors += (strlen(files[i].text) + SECTOR - 1) / SECTOR;
	g_autofree uint8_t *image = g_malloc0((size_t)sectors * SECTOR);
	describe(image, sectors);
	uint8_t *root = image + ROOT * SECTOR;
	root += record(root, ROOT, SECTOR, true, "\0", 1);
	root += record(root, ROOT, SECTOR, true, "\1", 1);
	uint32_t at = FIRST;
	for (unsigned i = 0; i < count; i++) {
		size_t size = strlen(files[i].text);
		g_autofree char *name = g_strdup_printf("%s.;1", files[i].name);
		root += record(root, at, size, false, name, strlen(name));
		memcpy(image + (size_t)at * SECTOR, files[i].text, size);
		at += (size + SECTOR - 1) / SECTOR;
	}
	g_autofree char *folder = g_path_get_dirname(path);
	if (g_mkdir_with_parents(folder, 0700) < 0)
		return error_set_errno(error, errno, "cannot create the folder '%s'", folder);
	return g_file_set_contents_full(path, (char *)image, (size_t)sectors * SECTOR,
					G_FILE_SET_CONTENTS_CONSISTENT, 0600, error);
}
