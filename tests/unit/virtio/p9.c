/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The 9P file server: the life of files, and every way out of the shared folder. */
#include "dev/virtio/devices.h"

#include "base/bytes.h"
#include "vdriver.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct share {
	struct vd_machine m;
	struct vd vd;
	struct vdq vq;
	char *folder;
	uint64_t out, in;
	uint32_t length; /* of the message being built */
	uint16_t tag;
};

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

static void share_open(struct share *s, const char *security, bool readonly)
{
	vd_machine_init(&s->m);
	s->folder = g_dir_make_tmp("berth-9p-XXXXXX", NULL);
	g_autofree char *inside = g_build_filename(s->folder, "share", NULL);
	g_autofree char *secret = g_build_filename(s->folder, "secret", NULL);
	g_assert_cmpint(mkdir(inside, 0700), ==, 0);
	g_assert_true(g_file_set_contents(secret, "secret", -1, NULL));
	const char *const properties[] = {"mount_tag", "tag", "path", inside, "security_model",
					  security, "readonly", readonly ? "on" : "off", NULL};
	vd_open(&s->vd, &s->m, &virtio_9p_device, NULL, properties);
	g_assert_true(vd_negotiate(&s->vd, 1));
	vdq_open(&s->vq, &s->vd, 0, 64);
	vd_driver_ok(&s->vd);
	s->out = vd_alloc(&s->m, 65536);
	s->in = vd_alloc(&s->m, 65536);
	s->tag = 1;
}

static void share_close(struct share *s)
{
	vd_close(&s->vd);
	nftw(s->folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	g_free(s->folder);
	vd_machine_free(&s->m);
}

static void begin(struct share *s, uint8_t type)
{
	s->m.mem[s->out + 4] = type;
	le16_store(s->m.mem + s->out + 5, s->tag);
	s->length = 7;
}

static void number(struct share *s, uint64_t v, unsigned size)
{
	le_store(s->m.mem + s->out + s->length, v, size);
	s->length += size;
}

static void text(struct share *s, const char *t)
{
	number(s, strlen(t), 2);
	memcpy(s->m.mem + s->out + s->length, t, strlen(t));
	s->length += strlen(t);
}

/* 0, or the errno of Rlerror. */
static unsigned call(struct share *s)
{
	uint8_t *in = s->m.mem + s->in, type = s->m.mem[s->out + 4];
	le32_store(s->m.mem + s->out, s->length);
	struct vd_buffer chain[] = {{s->out, 11}, {s->out + 11, s->length - 11}, {s->in, 20, true},
				    {s->in + 20, 60000, true}};
	struct vd_buffer small[] = {{s->out, s->length}, {s->in, 60000, true}};
	uint32_t length = s->length > 11 ? vdq_request(&s->vq, chain, 4)
					 : vdq_request(&s->vq, small, 2);
	g_assert_cmpuint(length, !=, UINT32_MAX);
	g_assert_cmpuint(le32_load(in), ==, length);
	g_assert_cmpuint(le16_load(in + 5), ==, s->tag);
	if (in[4] == 7)
		return le32_load(in + 7);
	g_assert_cmpuint(in[4], ==, type + 1);
	return 0;
}

static void attach(struct share *s)
{
	begin(s, 100);
	number(s, 32768, 4);
	text(s, "9P2000.L");
	g_assert_cmpuint(call(s), ==, 0);
	begin(s, 104);
	number(s, 0, 4);
	number(s, UINT32_MAX, 4);
	text(s, "user");
	text(s, "");
	number(s, getuid(), 4);
	g_assert_cmpuint(call(s), ==, 0);
}

static unsigned walk(struct share *s, uint32_t from, uint32_t to, const char *path)
{
	g_auto(GStrv) names = g_strsplit(path, "/", -1);
	begin(s, 110);
	number(s, from, 4);
	number(s, to, 4);
	number(s, path[0] ? g_strv_length(names) : 0, 2);
	for (unsigned i = 0; path[0] && names[i]; i++)
		text(s, names[i]);
	unsigned error = call(s);
	/* A walk that stops half-way is no error, but makes no fid. */
	unsigned walked = le16_load(s->m.mem + s->in + 7);
	return !error && path[0] && walked < g_strv_length(names) ? ENOENT : error;
}

static unsigned simple(struct share *s, uint8_t type, uint32_t fid)
{
	begin(s, type);
	number(s, fid, 4);
	return call(s);
}

static unsigned lopen(struct share *s, uint32_t fid, uint32_t flags)
{
	begin(s, 12);
	number(s, fid, 4);
	number(s, flags, 4);
	return call(s);
}

static unsigned create(struct share *s, uint32_t fid, const char *name)
{
	begin(s, 14);
	number(s, fid, 4);
	text(s, name);
	number(s, O_RDWR, 4);
	number(s, 0640, 4);
	number(s, getgid(), 4);
	return call(s);
}

static unsigned symlink_(struct share *s, uint32_t fid, const char *name, const char *target)
{
	begin(s, 16);
	number(s, fid, 4);
	text(s, name);
	text(s, target);
	number(s, getgid(), 4);
	return call(s);
}

static unsigned mkdir_(struct share *s, uint32_t fid, const char *name)
{
	begin(s, 72);
	number(s, fid, 4);
	text(s, name);
	number(s, 0755, 4);
	number(s, getgid(), 4);
	return call(s);
}

static unsigned write_(struct share *s, uint32_t fid, const char *data)
{
	begin(s, 118);
	number(s, fid, 4);
	number(s, 0, 8);
	number(s, strlen(data), 4);
	memcpy(s->m.mem + s->out + s->length, data, strlen(data));
	s->length += strlen(data);
	return call(s);
}

static void test_files(gconstpointer security)
{
	struct share s;
	share_open(&s, security, false);
	uint8_t *in = s.m.mem + s.in;
	g_assert_cmpuint(vd_config(&s.vd, 0, 2), ==, 3);
	attach(&s);
	g_assert_cmpuint(walk(&s, 0, 1, ""), ==, 0);
	g_assert_cmpuint(create(&s, 1, "file"), ==, 0);
	g_assert_cmpuint(write_(&s, 1, "some text that is longer than twenty bytes"), ==, 0);
	begin(&s, 116);
	number(&s, 1, 4);
	number(&s, 5, 8);
	number(&s, 100, 4);
	g_assert_cmpuint(call(&s), ==, 0);
	g_assert_cmpuint(le32_load(in + 7), ==, 37);
	g_assert_cmpmem(in + 11, 37, "text that is longer than twenty bytes", 37);

	/* Attributes by name and through the open file. */
	g_assert_cmpuint(walk(&s, 0, 2, "file"), ==, 0);
	for (unsigned fid = 1; fid <= 2; fid++) {
		begin(&s, 24);
		number(&s, fid, 4);
		number(&s, 0x7ff, 8);
		g_assert_cmpuint(call(&s), ==, 0);
		g_assert_cmphex(le32_load(in + 28), ==, S_IFREG | 0640);
		g_assert_cmpuint(le64_load(in + 56), ==, 42);
	}
	/* chmod and truncate. */
	begin(&s, 26);
	number(&s, 2, 4);
	number(&s, 1 | 8, 4);
	number(&s, 0600, 4);
	number(&s, 0, 8);
	number(&s, 10, 8);
	for (unsigned i = 0; i < 4; i++)
		number(&s, 0, 8);
	g_assert_cmpuint(call(&s), ==, 0);
	begin(&s, 24);
	number(&s, 2, 4);
	number(&s, 0x7ff, 8);
	g_assert_cmpuint(call(&s), ==, 0);
	g_assert_cmphex(le32_load(in + 28), ==, S_IFREG | 0600);
	g_assert_cmpuint(le64_load(in + 56), ==, 10);

	/* A folder that is renamed takes the fids below it along. */
	g_assert_cmpuint(mkdir_(&s, 0, "dir"), ==, 0);
	g_assert_cmpuint(walk(&s, 0, 3, "dir"), ==, 0);
	g_assert_cmpuint(walk(&s, 3, 4, ""), ==, 0);
	g_assert_cmpuint(create(&s, 4, "below"), ==, 0);
	g_assert_cmpuint(walk(&s, 3, 5, "below"), ==, 0);
	begin(&s, 74);
	number(&s, 0, 4);
	text(&s, "dir");
	number(&s, 0, 4);
	text(&s, "moved");
	g_assert_cmpuint(call(&s), ==, 0);
	begin(&s, 24);
	number(&s, 5, 4);
	number(&s, 0x7ff, 8);
	g_assert_cmpuint(call(&s), ==, 0);
	g_assert_cmpuint(walk(&s, 0, 6, "dir"), ==, ENOENT);
	g_assert_cmpuint(walk(&s, 0, 6, "moved/below"), ==, 0);
	g_assert_cmpuint(walk(&s, 6, 7, ".."), ==, 0);

	/* The folder's list, in small pieces. */
	g_assert_cmpuint(lopen(&s, 7, O_RDONLY | O_DIRECTORY), ==, 0);
	uint64_t offset = 0;
	unsigned entries = 0;
	for (;;) {
		begin(&s, 40);
		number(&s, 7, 4);
		number(&s, offset, 8);
		number(&s, 40, 4);
		g_assert_cmpuint(call(&s), ==, 0);
		uint32_t bytes = le32_load(in + 7);
		if (!bytes)
			break;
		g_assert_cmpuint(bytes, <=, 40);
		offset = le64_load(in + 11 + 13);
		entries++;
	}
	g_assert_cmpuint(entries, ==, 3);

	/* Symlinks are the guest's own business. */
	g_assert_cmpuint(symlink_(&s, 0, "link", "../../anything"), ==, 0);
	g_assert_cmpuint(walk(&s, 0, 8, "link"), ==, 0);
	g_assert_cmpuint(in[9], ==, 2);
	g_assert_cmpuint(simple(&s, 22, 8), ==, 0);
	g_assert_cmpmem(in + 9, le16_load(in + 7), "../../anything", 14);

	/* A hard link, removal, what is gone is gone. */
	begin(&s, 70);
	number(&s, 0, 4);
	number(&s, 2, 4);
	text(&s, "hard");
	g_assert_cmpuint(call(&s), ==, 0);
	begin(&s, 76);
	number(&s, 0, 4);
	text(&s, "file");
	number(&s, 0, 4);
	g_assert_cmpuint(call(&s), ==, 0);
	g_assert_cmpuint(walk(&s, 0, 9, "file"), ==, ENOENT);
	g_assert_cmpuint(walk(&s, 0, 9, "hard"), ==, 0);
	g_assert_cmpuint(simple(&s, 122, 9), ==, 0);
	g_assert_cmpuint(simple(&s, 120, 9), ==, EBADF);
	g_assert_cmpuint(simple(&s, 50, 1), ==, 0);
	g_assert_cmpuint(simple(&s, 8, 0), ==, 0);

	/* Flush of what is not there; unknown requests. */
	begin(&s, 108);
	number(&s, 99, 2);
	g_assert_cmpuint(call(&s), ==, 0);
	g_assert_cmpuint(simple(&s, 60, 0), ==, EOPNOTSUPP);
	share_close(&s);
}

static void test_escapes(void)
{
	struct share s;
	share_open(&s, "none", false);
	attach(&s);
	g_autofree char *secret = g_build_filename(s.folder, "secret", NULL);
	g_autofree char *link = g_build_filename(s.folder, "share", "out", NULL);
	g_autofree char *file = g_build_filename(s.folder, "share", "abs", NULL);
	g_autofree char *pipe = g_build_filename(s.folder, "share", "pipe", NULL);
	g_assert_cmpint(symlink("..", link), ==, 0);
	g_assert_cmpint(symlink(secret, file), ==, 0);
	g_assert_cmpint(mkfifo(pipe, 0666), ==, 0);

	/* ".." stops at the top. */
	g_assert_cmpuint(walk(&s, 0, 1, ".."), ==, 0);
	g_assert_cmpuint(walk(&s, 1, 2, "out"), ==, 0);
	g_assert_cmpuint(walk(&s, 0, 3, "../secret"), ==, ENOENT);
	/* Through a symlink nothing goes, whoever made it. */
	g_assert_cmpuint(walk(&s, 2, 3, "secret"), !=, 0);
	g_assert_cmpuint(walk(&s, 0, 3, "out/secret"), !=, 0);
	g_assert_cmpuint(lopen(&s, 2, O_RDONLY), !=, 0);
	g_assert_cmpuint(walk(&s, 0, 4, "abs"), ==, 0);
	g_assert_cmpuint(lopen(&s, 4, O_RDONLY), !=, 0);
	g_assert_cmpuint(lopen(&s, 4, O_RDWR | O_TRUNC), !=, 0);
	g_assert_cmpuint(create(&s, 2, "new"), !=, 0);
	g_assert_cmpuint(mkdir_(&s, 2, "new"), !=, 0);
	g_assert_cmpuint(symlink_(&s, 2, "new", "x"), !=, 0);
	/* Names that are paths. */
	static const char *const names[] = {"", ".", "..", "a/b", "/etc", "../new"};
	for (unsigned i = 0; i < G_N_ELEMENTS(names); i++) {
		g_assert_cmpuint(walk(&s, 0, 20 + i, ""), ==, 0);
		g_assert_cmpuint(create(&s, 20 + i, names[i]), ==, EINVAL);
		g_assert_cmpuint(mkdir_(&s, 20 + i, names[i]), ==, EINVAL);
		g_assert_cmpuint(symlink_(&s, 20 + i, names[i], "x"), ==, EINVAL);
	}
	begin(&s, 74);
	number(&s, 0, 4);
	text(&s, "abs");
	number(&s, 0, 4);
	text(&s, "../abs");
	g_assert_cmpuint(call(&s), ==, EINVAL);
	begin(&s, 110);
	number(&s, 0, 4);
	number(&s, 30, 4);
	number(&s, 1, 2);
	text(&s, "../secret");
	g_assert_cmpuint(call(&s), ==, ENOENT);
	/* A pipe would block a thread, a device would be the host's. */
	g_assert_cmpuint(walk(&s, 0, 5, "pipe"), ==, 0);
	g_assert_cmpuint(lopen(&s, 5, O_RDONLY), ==, ENXIO);
	g_assert_cmpuint(lopen(&s, 5, O_WRONLY), ==, ENXIO);

	g_autofree char *still = NULL;
	g_assert_true(g_file_get_contents(secret, &still, NULL, NULL));
	g_assert_cmpstr(still, ==, "secret");
	g_autofree char *new = g_build_filename(s.folder, "new", NULL);
	g_assert_false(g_file_test(new, G_FILE_TEST_EXISTS));
	share_close(&s);
}

static void test_readonly(void)
{
	struct share s;
	share_open(&s, "none", true);
	attach(&s);
	g_autofree char *path = g_build_filename(s.folder, "share", "file", NULL);
	g_assert_true(g_file_set_contents(path, "text", -1, NULL));
	g_assert_cmpuint(walk(&s, 0, 1, ""), ==, 0);
	g_assert_cmpuint(create(&s, 1, "new"), ==, EROFS);
	g_assert_cmpuint(mkdir_(&s, 0, "new"), ==, EROFS);
	g_assert_cmpuint(symlink_(&s, 0, "new", "x"), ==, EROFS);
	g_assert_cmpuint(walk(&s, 0, 2, "file"), ==, 0);
	g_assert_cmpuint(lopen(&s, 2, O_RDWR), ==, EROFS);
	g_assert_cmpuint(lopen(&s, 2, O_RDONLY | O_TRUNC), ==, EROFS);
	g_assert_cmpuint(lopen(&s, 2, O_RDONLY), ==, 0);
	g_assert_cmpuint(write_(&s, 2, "x"), ==, EROFS);
	g_assert_cmpuint(simple(&s, 122, 2), ==, EROFS);
	share_close(&s);
}

/* Messages cut short, with wrong sizes and counts: an error or a reset, never more. */
static void test_malformed(void)
{
	struct share s;
	share_open(&s, "none", false);
	attach(&s);
	for (unsigned type = 0; type < 256; type++) {
		for (unsigned length = 11; length < 40; length += 7) {
			memset(s.m.mem + s.out + 7, 0xff, 64);
			begin(&s, type);
			s.length = length;
			if (type != 108)
				g_assert_cmpuint(call(&s), !=, 0);
		}
	}
	begin(&s, 100);
	number(&s, 32768, 4);
	text(&s, "9P2000.L");
	le32_store(s.m.mem + s.out, 5);
	struct vd_buffer chain[] = {{s.out, s.length}, {s.in, 64, true}};
	le32_store(s.m.mem + s.out, 5);
	vdq_request(&s.vq, chain, 2);
	g_assert_cmpuint(s.m.mem[s.in + 4], ==, 7);
	struct vd_buffer no_room[] = {{s.out, s.length}, {s.in, 10, true}};
	vdq_add(&s.vq, no_room, 2, 0);
	vdq_kick(&s.vq);
	vd_pump(&s.m, 3, NULL);
	g_assert_true(vd_status(&s.vd) & VIRTIO_STATUS_NEEDS_RESET);
	share_close(&s);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_data_func("/virtio/9p/files/none", "none", test_files);
	g_test_add_data_func("/virtio/9p/files/passthrough", "passthrough", test_files);
	g_test_add_data_func("/virtio/9p/files/mapped", "mapped-xattr", test_files);
	g_test_add_func("/virtio/9p/escapes", test_escapes);
	g_test_add_func("/virtio/9p/readonly", test_readonly);
	g_test_add_func("/virtio/9p/malformed", test_malformed);
	return g_test_run();
}
