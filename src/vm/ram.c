/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * RAM blocks. Memory that nobody else maps is private anonymous: it costs nothing until touched
 * and needs no file. Only `share`, huge pages and a path bring a file into play. The state bytes
 * are an anonymous mapping too, so that a large idle guest does not pay for them.
 *
 * The mapping is aligned to 2 MiB (so that the host can use huge pages in it and in the second
 * translation stage) and guard pages lie at both ends.
 */
#include "vm/ram.h"

#include "base/bytes.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/units.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <linux/memfd.h>
#include <linux/mempolicy.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>

#define HUGE_2M         (2 * MIB)
#define THP_WORTH_BYTES (16 * MIB)
#define PREALLOC_THREADS_MAX 64

/* A name for mkstemp in a hugetlbfs (or other) folder; the file is unlinked at once. */
static int open_in_folder(const char *folder, GError **error)
{
	g_autofree char *path = g_strdup_printf("%s/berth-ram-XXXXXX", folder);
	int fd = mkostemp(path, O_CLOEXEC);
	if (fd < 0)
		error_set_errno(error, errno, "cannot create a file for guest memory in '%s'", folder);
	else
		unlink(path);
	return fd;
}

static int open_path(const char *path, GError **error)
{
	struct stat st;
	if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
		return open_in_folder(path, error);
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		error_set_errno(error, errno, "cannot open '%s' for guest memory", path);
	return fd;
}

static int open_memfd(const char *name, uint64_t page_size, GError **error)
{
	unsigned flags = MFD_CLOEXEC;
	if (page_size)
		flags |= MFD_HUGETLB | (unsigned)__builtin_ctzll(page_size) << MFD_HUGE_SHIFT;
	int fd = memfd_create(name, flags);
	if (fd < 0)
		error_set_errno(error, errno,
				"cannot create guest memory '%s' with pages of %" PRIu64 " KiB", name,
				page_size ? page_size / KIB : 4);
	return fd;
}

/* The descriptor behind the block, sized, or -1 with `error` set, or -1 without: anonymous. */
static bool open_backing(const char *name, uint64_t size, const struct ram_options *o, int *result,
			 GError **error)
{
	*result = -1;
	if (!o->path && !o->share && !o->page_size)
		return true;
	auto_fd fd = o->path ? open_path(o->path, error) : open_memfd(name, o->page_size, error);
	if (fd < 0)
		return false;
	struct stat st;
	if (fstat(fd, &st) < 0)
		return error_set_errno(error, errno, "cannot examine guest memory '%s'", name);
	if ((uint64_t)st.st_size < size && ftruncate(fd, size) < 0)
		return error_set_errno(error, errno, "cannot size guest memory '%s' to %" PRIu64 " MiB",
				       name, size / MIB);
	*result = fd_steal(&fd);
	return true;
}

/* The page size of the file system behind fd if it is hugetlbfs, else the normal one. */
static uint64_t backing_page_size(int fd)
{
	struct statfs fs;
	if (fd >= 0 && fstatfs(fd, &fs) == 0 && fs.f_type == HUGETLBFS_MAGIC)
		return fs.f_bsize;
	return PAGE_SIZE;
}

static uint64_t reserved_size(uint64_t size, uint64_t align)
{
	return size + align + 2 * PAGE_SIZE;
}

/* Reserve address space with room for alignment and guards, then map the memory inside it. */
static uint8_t *map_backing(struct ram_block *block, const struct ram_options *o, GError **error)
{
	uint64_t align = MAX(backing_page_size(block->fd), block->size >= HUGE_2M ? HUGE_2M : PAGE_SIZE);
	uint64_t length = reserved_size(block->size, align);
	uint8_t *area = mmap(NULL, length, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (area == MAP_FAILED) {
		error_set_errno(error, errno, "cannot reserve %" PRIu64 " MiB of address space for '%s'",
				block->size / MIB, block->name);
		return NULL;
	}
	block->area = area;
	block->area_size = length;
	uint8_t *host = (uint8_t *)align_up((uintptr_t)area + PAGE_SIZE, align);
	bool huge = backing_page_size(block->fd) != PAGE_SIZE;
	int flags = MAP_FIXED | (o->share ? MAP_SHARED : MAP_PRIVATE);
	/* Swap can stand in for a normal page that the host has not, but nothing for a huge one. */
	if (!huge || o->unreserved)
		flags |= MAP_NORESERVE;
	if (block->fd < 0)
		flags |= MAP_ANONYMOUS;
	if (mmap(host, block->size, PROT_READ | PROT_WRITE, flags, block->fd, 0) == MAP_FAILED) {
		error_set_errno(error, errno, "cannot map %" PRIu64 " MiB of guest memory '%s'%s",
				block->size / MIB, block->name,
				huge ? " (are so many huge pages free? see /sys/kernel/mm/hugepages)" : "");
		return NULL;
	}
	return host;
}

/* Hints; each is only an optimisation, so their failure means nothing. */
static void advise(struct ram_block *block, const struct ram_options *o)
{
	if (!o->dump)
		madvise(block->host, block->size, MADV_DONTDUMP);
	if (o->merge)
		madvise(block->host, block->size, MADV_MERGEABLE);
	if (block->size >= THP_WORTH_BYTES && block->fd < 0)
		madvise(block->host, block->size, MADV_HUGEPAGE);
}

/* Before the first touch: pages are taken by the policy of then. */
static bool apply_policy(struct ram_block *block, const struct ram_options *o, GError **error)
{
	static const int modes[] = {MPOL_DEFAULT, MPOL_PREFERRED, MPOL_BIND, MPOL_INTERLEAVE};
	unsigned long mask = o->host_nodes;
	if (o->policy == RAM_POLICY_DEFAULT ||
	    syscall(SYS_mbind, block->host, block->size, modes[o->policy], &mask, 64 + 1,
		    MPOL_MF_STRICT | MPOL_MF_MOVE) == 0)
		return true;
	return error_set_errno(error, errno,
			       "guest memory '%s' cannot be bound to the host's memory nodes (host-nodes)",
			       block->name);
}

/* A part of a block for one thread to touch. */
struct populate {
	uint8_t *host;
	uint64_t size;
	pthread_t thread;
	bool started;
	int error; /* of errno.h, or 0 */
};

static void *populate_part(void *opaque)
{
	struct populate *part = opaque;
	if (madvise(part->host, part->size, MADV_POPULATE_WRITE) == 0)
		return NULL;
	part->error = errno == EINVAL ? 0 : errno;
	/* Before Linux 5.14: touch the pages. */
	for (uint64_t at = 0; !part->error && at < part->size; at += PAGE_SIZE)
		*(volatile uint8_t *)(part->host + at) = 0;
	return NULL;
}

/* In parts of whole huge pages, the first one by the caller. */
static bool populate(struct ram_block *block, unsigned threads, GError **error)
{
	struct populate parts[PREALLOC_THREADS_MAX] = {0};
	uint64_t align = MAX(backing_page_size(block->fd), HUGE_2M);
	uint64_t step = align_up(block->size / CLAMP(threads, 1, PREALLOC_THREADS_MAX) + 1, align);
	unsigned count = 0;
	int why = 0;
	for (uint64_t at = 0; at < block->size; at += step) {
		struct populate *part = &parts[count++];
		part->host = block->host + at;
		part->size = MIN(step, block->size - at);
		part->started = at && pthread_create(&part->thread, NULL, populate_part, part) == 0;
	}
	for (unsigned i = 0; i < count; i++) {
		if (!parts[i].started)
			populate_part(&parts[i]);
	}
	for (unsigned i = 0; i < count; i++) {
		if (parts[i].started)
			pthread_join(parts[i].thread, NULL);
		why = why ? why : parts[i].error;
	}
	return !why || error_set_errno(error, why, "the host has not the %" PRIu64 " MiB for '%s'",
				       block->size / MIB, block->name);
}

static bool check_options(const char *name, uint64_t size, const struct ram_options *o, GError **error)
{
	if (size == 0 || size & PAGE_MASK)
		return error_set(error, BERTH_ERR_INVALID,
				 "guest memory '%s': its size %" PRIu64 " is not a multiple of 4 KiB", name,
				 size);
	if (o->page_size && (o->page_size & (o->page_size - 1) || size % o->page_size))
		return error_set(error, BERTH_ERR_INVALID,
				 "guest memory '%s': its size is not a multiple of its page size, %" PRIu64
				 " KiB",
				 name, o->page_size / KIB);
	return true;
}

struct ram_block *ram_block_new(const char *name, uint64_t size, const struct ram_options *options,
				GError **error)
{
	static const struct ram_options plain;
	const struct ram_options *o = options ? options : &plain;
	if (!check_options(name, size, o, error))
		return NULL;
	struct ram_block *block = g_new0(struct ram_block, 1);
	block->name = g_strdup(name);
	block->size = size;
	block->fd = -1;
	block->page_state = MAP_FAILED;
	if (!open_backing(name, size, o, &block->fd, error))
		goto fail;
	block->host = map_backing(block, o, error);
	if (!block->host)
		goto fail;
	advise(block, o);
	block->discard = o->discard;
	block->shared = o->share;
	if (!apply_policy(block, o, error))
		goto fail;
	block->page_state = mmap(NULL, align_up(size >> PAGE_BITS, PAGE_SIZE), PROT_READ | PROT_WRITE,
				 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (block->page_state == MAP_FAILED) {
		error_set_errno(error, errno, "cannot map the page states of '%s'", name);
		goto fail;
	}
	if (o->prealloc && !populate(block, o->prealloc_threads, error))
		goto fail;
	return block;
fail:
	ram_block_free(block);
	return NULL;
}

/* What the file has is of no use any more (`discard`). */
static void drop_contents(struct ram_block *block)
{
	if (block->discard && block->fd >= 0 && block->host)
		madvise(block->host, block->size, MADV_REMOVE);
}

void ram_block_retire(struct ram_block *block)
{
	drop_contents(block);
	/* Over the old mapping: there is no moment without memory. */
	void *host = mmap(block->host, block->size, PROT_READ | PROT_WRITE,
			  MAP_FIXED | MAP_NORESERVE | MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (host == MAP_FAILED)
		return; /* the host is out of mappings: the contents stay until the end */
	fd_clear(&block->fd);
}

int ram_discard(struct ram_block *ram, uint64_t offset, uint64_t length)
{
	uint64_t end = align_down(offset + length, PAGE_SIZE);
	offset = align_up(offset, PAGE_SIZE);
	if (offset >= end)
		return 0;
	if (atomic_load(&ram->pinned))
		return -EBUSY;
	/* Shared memory must go from its file; a private mapping has only its own pages. */
	if (ram->fd >= 0 && fallocate(ram->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset,
				      end - offset) < 0)
		return -errno;
	if (madvise(ram->host + offset, end - offset, MADV_DONTNEED) < 0)
		return -errno;
	ram_note_write(ram, offset, end - offset);
	return 0;
}

void ram_block_free(struct ram_block *block)
{
	if (!block)
		return;
	if (block->code_freed)
		block->code_freed(block->code_opaque);
	drop_contents(block);
	if (block->area)
		munmap(block->area, block->area_size);
	if (block->page_state != MAP_FAILED)
		munmap((void *)block->page_state, align_up(block->size >> PAGE_BITS, PAGE_SIZE));
	fd_clear(&block->fd);
	g_free(block->name);
	g_free(block);
}

void ram_page_written(struct ram_block *block, uint64_t offset, uint64_t length)
{
	uint64_t last = (offset + length - 1) >> PAGE_BITS;
	bool code = false;
	for (uint64_t page = offset >> PAGE_BITS; page <= last; page++) {
		/* Acquire: with RAM_PAGE_CODE comes the hook that was set before it. */
		uint8_t state = atomic_load_explicit(&block->page_state[page], memory_order_acquire);
		if (state & RAM_PAGE_CLEAN)
			state = atomic_fetch_and(&block->page_state[page], (uint8_t)~RAM_PAGE_CLEAN);
		code |= state & RAM_PAGE_CODE;
	}
	/* Who holds the code clears RAM_PAGE_CODE when it has dropped it. */
	if (code && block->code_written)
		block->code_written(block->code_opaque, block, offset, length);
}

void ram_dirty_start(struct ram_block *block)
{
	for (uint64_t page = 0; page < block->size >> PAGE_BITS; page++)
		atomic_fetch_or(&block->page_state[page], RAM_PAGE_CLEAN);
}

bool ram_dirty_take(struct ram_block *block, uint64_t page)
{
	return !(atomic_fetch_or(&block->page_state[page], RAM_PAGE_CLEAN) & RAM_PAGE_CLEAN);
}

void ram_dirty_stop(struct ram_block *block)
{
	for (uint64_t page = 0; page < block->size >> PAGE_BITS; page++)
		atomic_fetch_and(&block->page_state[page], (uint8_t)~RAM_PAGE_CLEAN);
}
