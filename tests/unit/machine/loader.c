/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Kernels made by hand, whole and broken, into a VM's memory. */
#include "machine/loader/loader.h"

#include "base/bytes.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/units.h"
#include "cpu/x86/state.h"
#include "vm/space.h"

#include <elf.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <lzma.h>
#include <zlib.h>
#include <zstd.h>

enum { RAM_SIZE = 64 << 20, GDT_CODE = 0x10 };

struct fixture {
	struct space *memory;
	struct ram_block *ram;
	struct loader_range map[2];
	struct loader_target target;
	struct x86_state state;
	char *dir;
};

static void setup(struct fixture *f, gconstpointer data)
{
	f->memory = space_new("memory", UINT64_C(1) << 36);
	f->ram = ram_block_new("ram", RAM_SIZE, NULL, NULL);
	g_assert_nonnull(f->ram);
	space_add_ram(f->memory, 0, f->ram, 0, RAM_SIZE, false, NULL, 0);
	f->map[0] = (struct loader_range){0, 0x9fc00, LOADER_RAM};
	f->map[1] = (struct loader_range){MIB, RAM_SIZE - MIB, LOADER_RAM};
	f->target = (struct loader_target){.memory = f->memory, .map = f->map, .map_count = 2,
					   .low_ram = RAM_SIZE, .rsdp = 0xe0000};
	f->dir = g_dir_make_tmp("berth-loader-XXXXXX", NULL);
}

static void teardown(struct fixture *f, gconstpointer data)
{
	GDir *dir = g_dir_open(f->dir, 0, NULL);
	const char *name;
	while ((name = g_dir_read_name(dir))) {
		g_autofree char *path = g_build_filename(f->dir, name, NULL);
		g_unlink(path);
	}
	g_dir_close(dir);
	g_rmdir(f->dir);
	g_free(f->dir);
	space_free(f->memory);
	ram_block_free(f->ram);
}

static char *write_file(struct fixture *f, const char *name, const void *data, size_t size)
{
	char *path = g_build_filename(f->dir, name, NULL);
	g_assert_true(g_file_set_contents(path, data, (gssize)size, NULL));
	return path;
}

/* --- a bzImage ----------------------------------------------------------------------------------- */

enum { SETUP_SIZE = 0x400, CODE_SIZE = 0x3000, PAYLOAD_AT = 0x300 };

static GByteArray *make_bzimage(const void *payload, size_t payload_size)
{
	GByteArray *b = g_byte_array_new();
	size_t code = MAX(CODE_SIZE, align_up(PAYLOAD_AT + payload_size, 16));
	g_byte_array_set_size(b, (guint)(SETUP_SIZE + code));
	memset(b->data, 0, b->len);
	uint8_t *h = b->data;
	h[0x1f1] = SETUP_SIZE / 512 - 1;
	le32_store(h + 0x1f4, (uint32_t)code / 16);
	le16_store(h + 0x1fe, 0xaa55);
	h[0x200] = 0xeb;
	h[0x201] = 0x6a;
	memcpy(h + 0x202, "HdrS", 4);
	le16_store(h + 0x206, 0x020f);
	h[0x211] = 1;
	le32_store(h + 0x22c, 0x7fffffff);
	le32_store(h + 0x230, 0x200000);
	h[0x234] = 1;
	le16_store(h + 0x236, 1);
	le32_store(h + 0x238, 100);
	le32_store(h + 0x248, PAYLOAD_AT);
	le32_store(h + 0x24c, (uint32_t)payload_size);
	le64_store(h + 0x258, 0x1000000);
	le32_store(h + 0x260, 0x200000);
	memset(h + SETUP_SIZE, 0x90, CODE_SIZE);
	if (payload_size)
		memcpy(h + SETUP_SIZE + PAYLOAD_AT, payload, payload_size);
	return b;
}

static bool load(struct fixture *f, const char *path, const char *initrd, const char *append,
		 bool unpack, GError **error)
{
	struct loader_options options = {.kernel = path, .initrd = initrd, .append = append,
					 .unpack = unpack};
	struct loader *loader = loader_open(&options, error);
	if (!loader)
		return false;
	memset(&f->state, 0, sizeof(f->state));
	bool good = loader_load(loader, &f->target, &f->state, error);
	if (good) /* again, as at a reset */
		good = loader_load(loader, &f->target, &f->state, error);
	loader_free(loader);
	return good;
}

static void assert_loads(struct fixture *f, const char *path, const char *initrd,
			 const char *append, bool unpack)
{
	g_autoptr(GError) error = NULL;
	load(f, path, initrd, append, unpack, &error);
	g_assert_no_error(error);
}

static void check_long_mode(const struct fixture *f)
{
	const struct x86_state *s = &f->state;
	g_assert_true(s->cr0 & X86_CR0_PG && s->cr4 & X86_CR4_PAE && s->efer & X86_EFER_LMA);
	g_assert_true(s->seg[X86_CS].attr & X86_SEG_L);
	/* The tables must map an address to itself: walk for 0xfedcba98. */
	uint64_t linear = 0xfedcba98;
	uint64_t e = space_read(f->memory, s->cr3 + 8 * (linear >> 39 & 511), 8);
	e = space_read(f->memory, (e & ~0xfffu) + 8 * (linear >> 30 & 511), 8);
	e = space_read(f->memory, (e & ~0xfffu) + 8 * (linear >> 21 & 511), 8);
	g_assert_true(e & 0x80);
	g_assert_cmphex((e & ~UINT64_C(0x1fffff)) | (linear & 0x1fffff), ==, linear);
	/* And the descriptor in memory must be what CS says. */
	uint64_t d = space_read(f->memory, s->gdtr.base + GDT_CODE, 8);
	g_assert_cmphex(d, ==, UINT64_C(0x00af9b000000ffff));
}

static void test_bzimage64(struct fixture *f, gconstpointer data)
{
	g_autoptr(GByteArray) b = make_bzimage(NULL, 0);
	g_autofree char *path = write_file(f, "bz", b->data, b->len);
	g_autofree uint8_t *initrd = g_malloc(10000);
	memset(initrd, 0x77, 10000);
	g_autofree char *initrd_path = write_file(f, "initrd", initrd, 10000);
	f->target.append_machine = "virtio=1";
	assert_loads(f, path, initrd_path, "console=ttyS0", false);
	check_long_mode(f);
	g_assert_cmphex(f->state.rip, ==, 0x1000200);
	const uint8_t *p = f->ram->host + f->state.gpr[X86_RSI];
	g_assert_cmpint(p[0x210], ==, 0xff);
	g_assert_cmphex(le64_load(p + 0x070), ==, 0xe0000);
	g_assert_cmpstr((char *)f->ram->host + le32_load(p + 0x228), ==, "virtio=1 console=ttyS0");
	g_assert_cmpint(p[0x1e8], ==, 2);
	g_assert_cmphex(le64_load(p + 0x2d0 + 20), ==, MIB);
	g_assert_cmpint(f->ram->host[0x1000000], ==, 0x90);
	uint32_t at = le32_load(p + 0x218);
	g_assert_cmpuint(le32_load(p + 0x21c), ==, 10000);
	g_assert_cmphex(at, ==, RAM_SIZE - 12288);
	g_assert_cmpmem(f->ram->host + at, 10000, initrd, 10000);
}

static void test_bzimage32(struct fixture *f, gconstpointer data)
{
	g_autoptr(GByteArray) b = make_bzimage(NULL, 0);
	le16_store(b->data + 0x236, 0);
	b->data[0x234] = 0; /* cannot be moved: 1 MiB */
	g_autofree char *path = write_file(f, "bz", b->data, b->len);
	assert_loads(f, path, NULL, NULL, false);
	g_assert_cmphex(f->state.rip, ==, 0x100000);
	g_assert_cmphex(f->state.cr0 & (X86_CR0_PE | X86_CR0_PG), ==, X86_CR0_PE);
	g_assert_true(f->state.seg[X86_CS].attr & X86_SEG_DB);
	g_assert_cmphex(f->state.gpr[X86_RSI], !=, 0);
}

static void assert_refused(struct fixture *f, const void *bytes, size_t size, const char *why)
{
	g_autoptr(GError) error = NULL;
	g_autofree char *path = write_file(f, "broken", bytes, size);
	g_assert_false(load(f, path, NULL, NULL, false, &error));
	g_assert_nonnull(error);
	if (!strstr(error->message, why))
		g_error("'%s' is not in: %s", why, error->message);
	g_assert_nonnull(strstr(error->message, "broken"));
	g_assert_null(strchr(error->message, '\n'));
}

static void test_bzimage_broken(struct fixture *f, gconstpointer data)
{
	g_autoptr(GByteArray) b = make_bzimage(NULL, 0);
	assert_refused(f, b->data, b->len - 64, "truncated");
	assert_refused(f, b->data, 0x208, "truncated");
	assert_refused(f, b->data, 0x380, "truncated");
	assert_refused(f, "MZ, and nothing more", 20, "not a kernel");
	le32_store(b->data + 0x1f4, UINT32_MAX);
	assert_refused(f, b->data, b->len, "truncated");
	le32_store(b->data + 0x1f4, CODE_SIZE / 16);
	b->data[0x211] = 0;
	assert_refused(f, b->data, b->len, "zImage");
	b->data[0x211] = 1;
	le32_store(b->data + 0x260, 0x7fffffff);
	assert_refused(f, b->data, b->len, "-m");
	le32_store(b->data + 0x260, 0x200000);

	g_autofree char *path = write_file(f, "bz", b->data, b->len);
	g_autofree char *longest = g_strnfill(101, 'x');
	g_autoptr(GError) error = NULL;
	g_assert_false(load(f, path, NULL, longest, false, &error));
	g_assert_nonnull(strstr(error->message, "shorten"));
	g_clear_error(&error);
	g_assert_false(load(f, path, "/nonexistent/initrd", NULL, false, &error));
	g_assert_nonnull(strstr(error->message, "/nonexistent/initrd"));
	g_clear_error(&error);
	g_assert_false(load(f, f->dir, NULL, NULL, false, &error));
	g_assert_nonnull(strstr(error->message, "regular"));
	g_clear_error(&error);
	/* An initrd that leaves no room beside the kernel. */
	g_autofree char *big = g_build_filename(f->dir, "big", NULL);
	auto_fd fd = g_creat(big, 0600);
	g_assert_cmpint(ftruncate(fd, 60 << 20), ==, 0);
	g_assert_false(load(f, path, big, NULL, false, &error));
	g_assert_nonnull(strstr(error->message, "at least 128 MiB"));
}

/* A small machine gets a movable kernel where there is room. */
static void test_bzimage_moved(struct fixture *f, gconstpointer data)
{
	g_autoptr(GByteArray) b = make_bzimage(NULL, 0);
	g_autofree char *path = write_file(f, "bz", b->data, b->len);
	f->target.low_ram = 8 << 20;
	assert_loads(f, path, NULL, NULL, false);
	g_assert_cmphex(f->state.rip, ==, 0x200200);
}

static void test_parts(struct fixture *f, gconstpointer data)
{
	g_autoptr(GByteArray) b = make_bzimage(NULL, 0);
	g_autofree char *path = write_file(f, "bz", b->data, b->len);
	struct loader_options options = {.kernel = path, .initrd = path};
	struct loader *loader = loader_open(&options, NULL);
	struct loader_parts parts;
	g_assert_true(loader_read_parts(loader, &parts, NULL));
	g_assert_cmpuint(g_bytes_get_size(parts.setup), ==, SETUP_SIZE);
	g_assert_cmpuint(g_bytes_get_size(parts.kernel), ==, CODE_SIZE);
	g_assert_cmpuint(g_bytes_get_size(parts.initrd), ==, b->len);
	loader_parts_clear(&parts);
	loader_free(loader);
}

/* --- ELF ----------------------------------------------------------------------------------------- */

struct small_elf {
	Elf64_Ehdr header;
	Elf64_Phdr load, note;
	struct {
		uint32_t name_size, size, type;
		char name[4];
		uint64_t value;
	} pvh;
	uint8_t code[64];
};

static struct small_elf make_elf(bool pvh)
{
	struct small_elf e = {0};
	memcpy(e.header.e_ident, ELFMAG, SELFMAG);
	e.header.e_ident[EI_CLASS] = ELFCLASS64;
	e.header.e_ident[EI_DATA] = ELFDATA2LSB;
	e.header.e_type = ET_EXEC;
	e.header.e_machine = EM_X86_64;
	e.header.e_entry = 0x1000010;
	e.header.e_phoff = offsetof(struct small_elf, load);
	e.header.e_phentsize = sizeof(Elf64_Phdr);
	e.header.e_phnum = pvh ? 2 : 1;
	e.load = (Elf64_Phdr){.p_type = PT_LOAD, .p_offset = offsetof(struct small_elf, code),
			      .p_vaddr = 0xffffffff81000000, .p_paddr = 0x1000000,
			      .p_filesz = sizeof(e.code), .p_memsz = 0x3000};
	e.note = (Elf64_Phdr){.p_type = PT_NOTE, .p_offset = offsetof(struct small_elf, pvh),
			      .p_filesz = sizeof(e.pvh)};
	e.pvh.name_size = 4;
	e.pvh.size = 8;
	e.pvh.type = 18;
	memcpy(e.pvh.name, "Xen", 4);
	e.pvh.value = 0x1000020;
	memset(e.code, 0xf4, sizeof(e.code));
	return e;
}

static void test_elf_plain(struct fixture *f, gconstpointer data)
{
	struct small_elf e = make_elf(false);
	g_autofree char *path = write_file(f, "elf", &e, sizeof(e));
	f->ram->host[0x1000100] = 0xaa; /* bss of an earlier life */
	assert_loads(f, path, NULL, "a=b", false);
	check_long_mode(f);
	g_assert_cmphex(f->state.rip, ==, 0x1000010);
	g_assert_cmpint(f->ram->host[0x1000000], ==, 0xf4);
	g_assert_cmpint(f->ram->host[0x1000100], ==, 0);
	const uint8_t *p = f->ram->host + f->state.gpr[X86_RSI];
	g_assert_cmpmem(p + 0x202, 4, "HdrS", 4);
	/* The entry may be given as a virtual address. */
	e.header.e_entry = 0xffffffff81000010;
	g_autofree char *virt = write_file(f, "virtual", &e, sizeof(e));
	assert_loads(f, virt, NULL, NULL, false);
	g_assert_cmphex(f->state.rip, ==, 0x1000010);
}

static void test_elf_pvh(struct fixture *f, gconstpointer data)
{
	struct small_elf e = make_elf(true);
	g_autofree char *path = write_file(f, "elf", &e, sizeof(e));
	g_autofree char *initrd = write_file(f, "initrd", "hello", 5);
	assert_loads(f, path, initrd, "quiet", false);
	g_assert_cmphex(f->state.rip, ==, 0x1000020);
	g_assert_false(f->state.cr0 & X86_CR0_PG);
	const uint8_t *p = f->ram->host + f->state.gpr[X86_RBX];
	g_assert_cmphex(le32_load(p), ==, 0x336ec578);
	g_assert_cmpuint(le32_load(p + 12), ==, 1);
	const uint8_t *module = f->ram->host + le64_load(p + 16);
	g_assert_cmpmem(f->ram->host + le64_load(module), 5, "hello", 5);
	g_assert_cmpuint(le64_load(module + 8), ==, 5);
	g_assert_cmpstr((char *)f->ram->host + le64_load(p + 24), ==, "quiet");
	g_assert_cmphex(le64_load(p + 32), ==, 0xe0000);
	g_assert_cmpuint(le32_load(p + 48), ==, 2);
	g_assert_cmphex(le64_load(f->ram->host + le64_load(p + 40) + 24), ==, MIB);
}

static void test_elf_broken(struct fixture *f, gconstpointer data)
{
	struct small_elf good = make_elf(true), e = good;
	assert_refused(f, &e, offsetof(struct small_elf, code) + 8, "truncated");
	assert_refused(f, &e, sizeof(Elf64_Ehdr) + 8, "truncated");
	assert_refused(f, &e, sizeof(Elf32_Ehdr), "truncated");
	e.header.e_machine = EM_AARCH64;
	assert_refused(f, &e, sizeof(e), "processor");
	e = good;
	e.header.e_type = ET_REL;
	assert_refused(f, &e, sizeof(e), "executable");
	e = good;
	e.header.e_phentsize = 1;
	assert_refused(f, &e, sizeof(e), "program header");
	e = good;
	e.header.e_phoff = UINT64_MAX - 8;
	assert_refused(f, &e, sizeof(e), "truncated");
	e = good;
	e.load.p_paddr = UINT64_MAX - 16;
	assert_refused(f, &e, sizeof(e), "4 GiB");
	e = good;
	e.load.p_paddr = 0x8000;
	assert_refused(f, &e, sizeof(e), "192 KiB");
	e = good;
	e.load.p_filesz = UINT64_MAX;
	assert_refused(f, &e, sizeof(e), "truncated");
	e = good;
	e.load.p_memsz = 0x80000000;
	assert_refused(f, &e, sizeof(e), "-m");
	e = good;
	e.header.e_phnum = 1;
	e.header.e_entry = 0x10;
	assert_refused(f, &e, sizeof(e), "entry");
	e = good;
	e.pvh.value = 0x10;
	assert_refused(f, &e, sizeof(e), "PVH");
	/* A note that lies about its size is no note. */
	e = good;
	e.pvh.size = UINT32_MAX;
	g_autofree char *path = write_file(f, "note", &e, sizeof(e));
	assert_loads(f, path, NULL, NULL, false);
	g_assert_cmphex(f->state.rip, ==, 0x1000010);
}

/* --- unpacking ----------------------------------------------------------------------------------- */

static GByteArray *pack(const struct small_elf *e, const char *how)
{
	GByteArray *b = g_byte_array_new();
	g_byte_array_set_size(b, 4096);
	size_t size = 0;
	if (strcmp(how, "gzip") == 0) {
		z_stream z = {.next_in = (uint8_t *)e, .avail_in = sizeof(*e), .next_out = b->data,
			      .avail_out = 4096};
		g_assert_cmpint(deflateInit2(&z, 6, Z_DEFLATED, 31, 8, 0), ==, Z_OK);
		g_assert_cmpint(deflate(&z, Z_FINISH), ==, Z_STREAM_END);
		size = z.total_out;
		deflateEnd(&z);
		g_byte_array_set_size(b, (guint)size);
		return b;
	}
	if (strcmp(how, "xz") == 0) {
		g_assert_cmpint(lzma_easy_buffer_encode(1, LZMA_CHECK_CRC32, NULL, (uint8_t *)e,
							sizeof(*e), b->data, &size, 4096), ==,
				LZMA_OK);
	} else if (strcmp(how, "zstd") == 0) {
		size = ZSTD_compress(b->data, 4096, e, sizeof(*e), 3);
	} else {
		/* LZ4: one block of literals only, but for a last match of zeros in the middle. */
		uint8_t *p = b->data;
		le32_store(p, 0x184c2102);
		uint8_t *start = p + 8, *q = start;
		unsigned literals = sizeof(*e);
		*q++ = 0xf0;
		for (literals -= 15; literals >= 255; literals -= 255)
			*q++ = 255;
		*q++ = (uint8_t)literals;
		memcpy(q, e, sizeof(*e));
		q += sizeof(*e);
		le32_store(p + 4, (uint32_t)(q - start));
		size = (size_t)(q - p);
	}
	g_byte_array_set_size(b, (guint)size + 4);
	le32_store(b->data + size, sizeof(*e));
	return b;
}

static void test_unpack(struct fixture *f, gconstpointer data)
{
	struct small_elf e = make_elf(false);
	static const char *const ways[] = {"gzip", "xz", "zstd", "lz4"};
	for (unsigned i = 0; i < G_N_ELEMENTS(ways); i++) {
		g_autoptr(GByteArray) payload = pack(&e, ways[i]);
		g_autoptr(GByteArray) b = make_bzimage(payload->data, payload->len);
		g_autofree char *path = write_file(f, ways[i], b->data, b->len);
		memset(f->ram->host + 0x1000000, 0, 4096);
		assert_loads(f, path, NULL, "x", true);
		check_long_mode(f);
		g_assert_cmphex(f->state.rip, ==, 0x1000010);
		g_assert_cmpint(f->ram->host[0x1000000], ==, 0xf4);
		/* Damage it: the guest then gets the packed kernel. */
		memset(b->data + SETUP_SIZE + PAYLOAD_AT + 20, 0xff, 30);
		g_autofree char *damaged = write_file(f, "damaged", b->data, b->len);
		assert_loads(f, damaged, NULL, NULL, true);
		if (strcmp(ways[i], "lz4") != 0) /* which has no checksum, and the ELF survives */
			g_assert_cmphex(f->state.rip, ==, 0x1000200);
	}
}

/* --- multiboot ----------------------------------------------------------------------------------- */

static void test_multiboot1(struct fixture *f, gconstpointer data)
{
	uint8_t file[4096] = {0};
	uint32_t flags = 0x10003;
	le32_store(file + 64, 0x1badb002);
	le32_store(file + 68, flags);
	le32_store(file + 72, -(0x1badb002 + flags));
	le32_store(file + 76, 0x200040); /* the header's address */
	le32_store(file + 80, 0x200000);
	le32_store(file + 84, 0x201000);
	le32_store(file + 88, 0x203000);
	le32_store(file + 92, 0x200080);
	file[0x80] = 0xf4;
	g_autofree char *path = write_file(f, "mb", file, sizeof(file));
	g_autofree char *a = write_file(f, "one", "first", 5), *b = write_file(f, "two", "2nd", 3);
	g_autofree char *modules = g_strdup_printf("%s arg,%s", a, b);
	assert_loads(f, path, modules, "opt", false);
	g_assert_cmphex(f->state.rip, ==, 0x200080);
	g_assert_cmphex(f->state.gpr[X86_RAX], ==, 0x2badb002);
	g_assert_cmpint(f->ram->host[0x200080], ==, 0xf4);
	const uint8_t *p = f->ram->host + f->state.gpr[X86_RBX];
	g_assert_cmphex(le32_load(p) & 0x4d, ==, 0x4d);
	g_autofree char *cmdline = g_strdup_printf("%s opt", path);
	g_assert_cmpstr((char *)f->ram->host + le32_load(p + 16), ==, cmdline);
	g_assert_cmpuint(le32_load(p + 20), ==, 2);
	const uint8_t *module = f->ram->host + le32_load(p + 24);
	g_assert_cmpmem(f->ram->host + le32_load(module), 5, "first", 5);
	g_assert_cmphex(le32_load(module), ==, 0x203000);
	g_assert_cmpuint(le32_load(module + 20) - le32_load(module + 16), ==, 3);
	g_assert_cmpuint(le32_load(p + 44), ==, 2 * 24);

	le32_store(file + 84, 0x300000);
	assert_refused(f, file, sizeof(file), "truncated");
	le32_store(file + 84, 0x201000);
	le32_store(file + 92, 0x100);
	assert_refused(f, file, sizeof(file), "entry");
	le32_store(file + 92, 0x200080);
	le32_store(file + 80, 0x300000);
	assert_refused(f, file, sizeof(file), "contradict");
}

static void test_multiboot2(struct fixture *f, gconstpointer data)
{
	uint8_t file[4096] = {0};
	static const uint32_t tags[] = {2, 24, 0x200000, 0x200000, 0x201000, 0, 3, 12, 0x200100, 0,
					6, 8, 0, 8};
	uint32_t length = 16 + sizeof(tags);
	le32_store(file, 0xe85250d6);
	le32_store(file + 8, length);
	le32_store(file + 12, -(0xe85250d6 + length));
	memcpy(file + 16, tags, sizeof(tags));
	g_autofree char *path = write_file(f, "mb2", file, sizeof(file));
	assert_loads(f, path, NULL, "opt", false);
	g_assert_cmphex(f->state.rip, ==, 0x200100);
	g_assert_cmphex(f->state.gpr[X86_RAX], ==, 0x36d76289);
	const uint8_t *p = f->ram->host + f->state.gpr[X86_RBX];
	uint32_t total = le32_load(p), at = 8, types = 0;
	while (at < total) {
		types |= 1u << le32_load(p + at);
		at = (uint32_t)align_up(at + le32_load(p + at + 4), 8);
	}
	g_assert_cmpuint(at, ==, total);
	g_assert_cmphex(types & 0x57, ==, 0x57 & ~8u);

	file[16 + 4] = 4; /* a tag shorter than its head */
	assert_refused(f, file, sizeof(file), "wrong size");
	file[16 + 4] = 24;
	file[16] = 7; /* boot services required */
	assert_refused(f, file, sizeof(file), "tag 7");
}

/* --- firmware ------------------------------------------------------------------------------------ */

static void test_firmware(struct fixture *f, gconstpointer data)
{
	g_autofree uint8_t *image = g_malloc0(128 << 10);
	image[100] = 42;
	g_autofree char *path = write_file(f, "bios", image, 128 << 10);
	struct ram_block *block = loader_firmware(path, NULL);
	g_assert_cmpuint(block->size, ==, 128 << 10);
	g_assert_cmpint(block->host[100], ==, 42);
	ram_block_free(block);
	g_autofree char *odd = write_file(f, "odd", image, 1000);
	g_autoptr(GError) error = NULL;
	g_assert_null(loader_firmware(odd, &error));
	g_assert_nonnull(strstr(error->message, "64 KiB"));
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
#define ADD(name, fn) g_test_add("/loader/" name, struct fixture, NULL, setup, fn, teardown)
	ADD("bzimage64", test_bzimage64);
	ADD("bzimage32", test_bzimage32);
	ADD("bzimage-broken", test_bzimage_broken);
	ADD("bzimage-moved", test_bzimage_moved);
	ADD("parts", test_parts);
	ADD("elf-plain", test_elf_plain);
	ADD("elf-pvh", test_elf_pvh);
	ADD("elf-broken", test_elf_broken);
	ADD("unpack", test_unpack);
	ADD("multiboot1", test_multiboot1);
	ADD("multiboot2", test_multiboot2);
	ADD("firmware", test_firmware);
	return g_test_run();
}
