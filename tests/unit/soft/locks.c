/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Locked instructions without LOCK, and the devices' fences that stand in for it: a guest's store of X
 * and load of Y against a thread's store of Y and load of X. Both count upward and write down what they
 * have loaded; never may each have missed what the other had stored.
 */
#include "soft_guest.h"

#include "aio/loop.h"

#include <string.h>

enum { CODE = 0x10000, X = 0x20000, Y = 0x21000, LOG = 0x400000, FAR = 0x2000000,
       TURNS = 2000000, RAM = 64 << 20,
       SEEN = 32 << 20 };
_Static_assert(LOG + 4 * TURNS < FAR && FAR + (16 << 20) < RAM, "the log has room");

#define WORD(v) (v) & 0xff, (v) >> 8 & 0xff, (v) >> 16 & 0xff, (v) >> 24
/* A store that takes long, so that the next one waits behind it while loads pass both. */
#define FAR_STORE                                              \
	0x81, 0xc3, WORD(4160),      /* add ebx,4160 */        \
	0x81, 0xe3, WORD(0xffffc0),  /* and ebx,0xffffc0 */    \
	0x89, 0x83, WORD(FAR)        /* mov [rbx+FAR],eax */

static const uint8_t locked_add[] = {
	0x31, 0xc0,                         /* xor eax,eax */
	0xff, 0xc0,                         /* 1: inc eax */
	FAR_STORE,
	0x89, 0x04, 0x25, WORD(X),          /* mov [X],eax */
	0xf0, 0x83, 0x44, 0x24, 0xfc, 0x00, /* lock add dword [rsp-4],0 */
	0x8b, 0x14, 0x25, WORD(Y),          /* mov edx,[Y] */
	0x89, 0x14, 0x85, WORD(LOG),        /* mov [LOG+rax*4],edx */
	0x3d, WORD(TURNS),                  /* cmp eax,TURNS */
	0x75, 0xca,                         /* jne 1b */
	0x66, 0xba, 0xf4, 0x00,             /* mov dx,0xf4 */
	0xb0, 0x07, 0xee,                   /* mov al,7; out dx,al */
	0xf4, 0xeb, 0xfd,                   /* hlt for ever */
};
static const uint8_t exchange[] = {
	0x31, 0xc0,                  /* xor eax,eax */
	0xff, 0xc0,                  /* 1: inc eax */
	FAR_STORE,
	0x89, 0xc1,                  /* mov ecx,eax */
	0x87, 0x0c, 0x25, WORD(X),   /* xchg [X],ecx */
	0x8b, 0x14, 0x25, WORD(Y),   /* mov edx,[Y] */
	0x89, 0x14, 0x85, WORD(LOG), /* mov [LOG+rax*4],edx */
	0x3d, WORD(TURNS),           /* cmp eax,TURNS */
	0x75, 0xce,                  /* jne 1b */
	0x66, 0xba, 0xf4, 0x00,      /* mov dx,0xf4 */
	0xb0, 0x07, 0xee,            /* mov al,7; out dx,al */
	0xf4, 0xeb, 0xfd,            /* hlt for ever */
};

static uint32_t *word_at(struct soft_guest *g, uint64_t addr)
{
	return (uint32_t *)(g->ram->host + addr);
}

/* Stores and loads until the guest is done. seen[y]: what X was after the store of y. How many. */
static uint32_t handshake(struct soft_guest *g, uint32_t *seen)
{
	int64_t end = aio_now_ns() + 100 * G_GINT64_CONSTANT(1000000000);
	uint32_t y = 0;
	while (g->exit_code < 0 && y < SEEN - 1) {
		__atomic_store_n(word_at(g, Y), ++y, __ATOMIC_RELAXED);
		vm_fence(g->vm);
		seen[y] = __atomic_load_n(word_at(g, X), __ATOMIC_RELAXED);
	}
	while (g->exit_code < 0 && aio_now_ns() < end)
		aio_loop_iterate(g->loop, 1000000);
	g_assert_cmpint(g->exit_code, ==, 7);
	return y;
}

static void check_code(struct soft_guest *g, const void *code, size_t length)
{
	uint32_t *seen = g_new(uint32_t, SEEN);
	memset(g->ram->host + X, 0, 4);
	memset(g->ram->host + Y, 0, 4);
	soft_guest_write(g, CODE, code, length);
	soft_guest_enter64(g, CODE, false);
	vm_resume(g->vm);
	uint32_t count = handshake(g, seen);
	vm_pause(g->vm, VM_STATE_PAUSED);
	const uint32_t *log = word_at(g, LOG);
	for (uint32_t y = 1; y <= count; y++) {
		/* The guest's first store that was missed: did its load behind that miss ours too? */
		uint32_t x = seen[y] + 1;
		if (x <= TURNS)
			g_assert_cmpuint(log[x], >=, y);
	}
	g_free(seen);
}

static void assert_locks(struct soft_guest *g, const char *what)
{
	g_autofree char *text = g->vm->engine->describe(g->vm);
	g_autofree char *line = g_strdup_printf("LOCK prefixes: %s\n", what);
	g_assert_nonnull(strstr(text, line));
}

static void test_left_out(void)
{
	struct soft_guest *g = soft_guest_new(RAM, 1);
	assert_locks(g, "left out");
	check_code(g, locked_add, sizeof(locked_add));
	check_code(g, exchange, sizeof(exchange));
	soft_guest_free(g);
}

static void test_several_vcpus(void)
{
	struct soft_guest *g = soft_guest_new(8 << 20, 2);
	assert_locks(g, "kept");
	g_assert_false(g->vm->takes_fences);
	soft_guest_free(g);
}

static void test_exposed(void)
{
	struct soft_guest *g = soft_guest_new(8 << 20, 1);
	vm_expose_memory(g->vm);
	assert_locks(g, "kept");
	soft_guest_free(g);
}

/* Memory that others may map comes later: the same code is translated again. */
static void test_shared(void)
{
	g_autoptr(GError) error = NULL;
	struct soft_guest *g = soft_guest_new(RAM, 1);
	check_code(g, locked_add, sizeof(locked_add));
	const struct ram_options options = { .share = true };
	struct ram_block *more = ram_block_new("more", 1 << 20, &options, &error);
	g_assert_no_error(error);
	space_add_ram(g->vm->memory, RAM, more, 0, more->size, false, NULL, SPACE_PRIORITY_NORMAL);
	assert_locks(g, "kept");
	/* As another process, which can only fence for itself. */
	g->vm->takes_fences = false;
	check_code(g, locked_add, sizeof(locked_add));
	check_code(g, exchange, sizeof(exchange));
	soft_guest_free(g);
	ram_block_free(more);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/soft/locks/left-out", test_left_out);
	g_test_add_func("/soft/locks/several-vcpus", test_several_vcpus);
	g_test_add_func("/soft/locks/exposed", test_exposed);
	g_test_add_func("/soft/locks/shared", test_shared);
	return g_test_run();
}
