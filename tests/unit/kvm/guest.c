/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The KVM engine with guests of a few real-mode instructions. Also runs where /dev/kvm has no
 * hardware under it; without a /dev/kvm everything is skipped.
 */
#include "cpu/kvm/engine.h"

#include "aio/loop.h"
#include "base/bytes.h"
#include "base/units.h"
#include "cpu/x86/cpuid.h"
#include "cpu/x86/state.h"
#include "vm/vm.h"

#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { CODE = 0x1000, DEVICE = 0x20000, RAM_SIZE = 0x20000 };

struct fixture {
	struct aio_loop *loop;
	struct vm *vm;
	struct cpu_model *model;
	struct ram_block *ram;
	struct io_region ports, device;
	GString *log; /* under `lock` */
	pthread_mutex_t lock;
	uint64_t answer;
	_Atomic unsigned last_port_value;
	unsigned requested[VM_REQUEST_COUNT];
	int eoi_vector;
	bool intr;
};

static uint64_t fixture_read(void *opaque, uint64_t offset, unsigned size)
{
	struct fixture *f = opaque;
	g_string_append_printf(f->log, "r%u@%x ", size, (unsigned)offset);
	return f->answer;
}

static void fixture_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
	struct fixture *f = opaque;
	g_string_append_printf(f->log, "w%u@%x=%x ", size, (unsigned)offset, (unsigned)value);
	f->last_port_value = value;
}

static const struct io_ops ops = {.read = fixture_read, .write = fixture_write};

static void requested(void *opaque, enum vm_request request, int code)
{
	struct fixture *f = opaque;
	f->requested[request]++;
}

static int acknowledge(void *opaque)
{
	struct fixture *f = opaque;
	f->intr = false;
	f->vm->engine->extint_set(f->vm, false);
	return 0x21;
}

static void eoi(void *opaque, uint8_t vector)
{
	struct fixture *f = opaque;
	f->eoi_vector = vector;
}

static void set_entry(struct vcpu *vcpu, uint16_t ip)
{
	g_autoptr(GError) error = NULL;
	struct x86_state s;
	g_assert_true(vcpu->vm->engine->vcpu_get_state(vcpu, &s, &error));
	s.seg[X86_CS].base = 0;
	s.seg[X86_CS].selector = 0;
	s.rip = ip;
	s.gpr[X86_RSP] = 0x800;
	/* FS reaches the device, GS the local APIC: bases beyond real mode's. */
	s.seg[X86_FS].base = DEVICE;
	s.seg[X86_GS].base = 0xfee00000;
	s.activity = X86_RUNNING;
	g_assert_true(vcpu->vm->engine->vcpu_set_state(vcpu, &s, &error));
}

static void setup_model(struct fixture *f, const char *model, unsigned vcpus, bool split,
			const uint8_t *code, size_t size)
{
	g_autoptr(GError) error = NULL;
	*f = (struct fixture){.log = g_string_new(NULL), .eoi_vector = -1};
	struct cpu_features allowed;
	g_assert_true(kvm_engine.features(&allowed, &error));
	f->model = cpu_model_parse(model, &allowed, &error);
	g_assert_no_error(error);
	struct vm_config config = {.engine = &kvm_engine, .vcpus = vcpus, .sockets = vcpus,
				   .kernel_irqchip_split = split, .cpu_model = f->model};
	pthread_mutex_init(&f->lock, NULL);
	f->loop = aio_loop_new(&error);
	f->vm = vm_new(&config, f->loop, &error);
	g_assert_no_error(error);
	f->vm->events = (struct vm_events){.requested = requested, .opaque = f};
	f->vm->irq_hooks = (struct vm_irq_hooks){acknowledge, eoi, f};
	f->ram = ram_block_new("ram", RAM_SIZE, NULL, &error);
	f->ports = (struct io_region){.name = "ports", .ops = &ops, .opaque = f, .size = 0x10000,
				      .lock = &f->lock};
	f->device = (struct io_region){.name = "device", .ops = &ops, .opaque = f, .size = 0x1000,
				       .lock = &f->lock};
	space_add_ram(f->vm->memory, 0, f->ram, 0, RAM_SIZE, false, NULL, 0);
	space_add_io(f->vm->memory, DEVICE, &f->device, 0);
	space_add_io(f->vm->ports, 0, &f->ports, SPACE_PRIORITY_LOW);
	memcpy(f->ram->host + CODE, code, size);
	/* Interrupt vector n at n * 4: handlers at 0x2000 + 16 * (n - 0x20). */
	for (unsigned n = 0x20; n < 0x50; n++)
		le32_store(f->ram->host + 4 * n, 0x2000 + 16 * (n - 0x20));
	vm_create_vcpus(f->vm, &error);
	g_assert_no_error(error);
	set_entry(&f->vm->vcpus[0], CODE);
}

static void setup(struct fixture *f, unsigned vcpus, bool split, const uint8_t *code, size_t size)
{
	setup_model(f, "max", vcpus, split, code, size);
}

static void teardown(struct fixture *f)
{
	vm_stop_vcpus(f->vm);
	vm_free(f->vm);
	ram_block_free(f->ram);
	cpu_model_free(f->model);
	aio_loop_free(f->loop);
	g_string_free(f->log, TRUE);
}

/* Until the guest has written `value` to a port. */
static void wait_value(struct fixture *f, unsigned value)
{
	int64_t end = aio_now_ns() + 10 * INT64_C(1000000000);
	while (f->last_port_value != value && aio_now_ns() < end)
		usleep(100);
	g_assert_cmpuint(f->last_port_value, ==, value);
}

static void expect_log(struct fixture *f, const char *expected)
{
	vm_pause(f->vm, VM_STATE_PAUSED);
	g_assert_cmpstr(f->log->str, ==, expected);
	g_string_truncate(f->log, 0);
	vm_resume(f->vm);
}

static void test_io(void)
{
	static const uint8_t code[] = {
		0xb0, 0x42, 0xe6, 0x10,             /* mov al,42; out 10,al */
		0xe5, 0x20,                         /* in ax,20 */
		0xa3, 0x00, 0x05,                   /* mov [500],ax */
		0x64, 0xa3, 0x04, 0x00,             /* mov fs:[4],ax */
		0x64, 0x66, 0xa1, 0x08, 0x00,       /* mov eax,fs:[8] */
		0x66, 0xe7, 0x30,                   /* out 30,eax */
		0xfc, 0xbe, 0x00, 0x11,             /* cld; mov si,1100 */
		0xba, 0x40, 0x00, 0xb9, 0x03, 0x00, /* mov dx,40; mov cx,3 */
		0xf3, 0x6e,                         /* rep outsb */
		0xb0, 0x99, 0xe6, 0x80, 0xf4,       /* mov al,99; out 80,al; hlt */
	};
	struct fixture f;
	setup(&f, 1, true, code, sizeof(code));
	memcpy(f.ram->host + 0x1100, "\1\2\3", 3);
	f.answer = 0x11223344;
	vm_resume(f.vm);
	wait_value(&f, 0x99);
	expect_log(&f, "w1@10=42 r2@20 w2@4=3344 r4@8 w4@30=11223344 w1@40=1 w1@40=2 w1@40=3 "
		       "w1@80=99 ");
	g_assert_cmphex(le16_load(f.ram->host + 0x500), ==, 0x3344);
	teardown(&f);
}

/* The local APIC is enabled by a write to SVR through GS. */
#define ENABLE_APIC 0x65, 0x66, 0xc7, 0x06, 0xf0, 0x00, 0xff, 0x01, 0x00, 0x00
/* mov word gs:[b0],0: EOI */
#define APIC_EOI    0x65, 0x66, 0xc7, 0x06, 0xb0, 0x00, 0, 0, 0, 0

static const uint8_t halt_loop[] = {
	ENABLE_APIC,
	0xb0, 0x01, 0xe6, 0x80, /* mov al,1; out 80,al */
	0xfb, 0xf4, 0xeb, 0xfd, /* sti; 1: hlt; jmp 1b */
};

static void put_handler(struct fixture *f, unsigned vector, uint8_t value)
{
	/* mov al,value; out 80,al; EOI; iret: 15 bytes fit before the next handler. */
	const uint8_t handler[] = {0xb0, value, 0xe6, 0x80, APIC_EOI, 0xcf};
	memcpy(f->ram->host + 0x2000 + 16 * (vector - 0x20), handler, sizeof(handler));
}

static void test_interrupts(bool split)
{
	struct fixture f;
	setup(&f, 1, split, halt_loop, sizeof(halt_loop));
	put_handler(&f, 0x40, 0x40);
	put_handler(&f, 0x41, 0x41);
	put_handler(&f, 0x42, 0x42);
	put_handler(&f, 0x21, 0x21);
	vm_resume(f.vm);
	wait_value(&f, 1);
	vm_msi_send(f.vm, 0xfee00000, 0x40);
	wait_value(&f, 0x40);

	g_autoptr(GError) error = NULL;
	int fd = eventfd(0, EFD_NONBLOCK);
	uint64_t one = 1;
	g_assert_true(kvm_engine.irqfd_attach(f.vm, fd, 0xfee00000, 0x42, &error));
	g_assert_cmpint(write(fd, &one, 8), ==, 8);
	wait_value(&f, 0x42);
	kvm_engine.irqfd_detach(f.vm, fd);
	close(fd);
	if (split) {
		/* Level-triggered: the EOI is reported. */
		vm_msi_send(f.vm, 0xfee00000, 0x41 | 1 << 15 | 1 << 14);
		wait_value(&f, 0x41);
		vm_msi_send(f.vm, 0xfee00000, 0x40);
		wait_value(&f, 0x40);
		vm_pause(f.vm, VM_STATE_PAUSED);
		g_assert_cmphex(f.eoi_vector, ==, 0x41);
		vm_resume(f.vm);
		/* The PIC, through the local APIC's LINT0. */
		kvm_engine.extint_set(f.vm, true);
		wait_value(&f, 0x21);
	}
	teardown(&f);
}

static void test_interrupts_split(void)
{
	test_interrupts(true);
}

static void test_interrupts_full(void)
{
	test_interrupts(false);
}

static void flat_protected_mode(struct vcpu *vcpu)
{
	g_autoptr(GError) error = NULL;
	struct x86_state s;
	g_assert_true(kvm_engine.vcpu_get_state(vcpu, &s, &error));
	s.cr0 |= X86_CR0_PE;
	for (unsigned i = X86_ES; i <= X86_GS; i++) {
		s.seg[i].base = 0;
		s.seg[i].limit = UINT32_MAX;
		s.seg[i].selector = i == X86_CS ? 8 : 16;
		s.seg[i].attr |= X86_SEG_DB | X86_SEG_G;
	}
	s.idtr.limit = 0;
	g_assert_true(kvm_engine.vcpu_set_state(vcpu, &s, &error));
}

static void test_shutdown(void)
{
	static const uint8_t code[] = {0x0f, 0x0b}; /* ud2, with an empty IDT */
	struct fixture f;
	setup(&f, 1, true, code, sizeof(code));
	flat_protected_mode(&f.vm->vcpus[0]);
	f.vm->config.pause_on_reset_request = true;
	vm_resume(f.vm);
	while (!f.requested[VM_REQUEST_RESET])
		aio_loop_iterate(f.loop, -1);
	g_assert_cmpint(f.vm->state, ==, VM_STATE_SHUTDOWN);
	teardown(&f);
}

/* Two counters at 0x3000 and 0x5000 count while the memory map changes and the VM pauses. */
static const uint8_t counting[] = {
	0x66, 0xff, 0x06, 0x00, 0x30, /* 1: inc dword [3000] */
	0x66, 0xff, 0x06, 0x00, 0x50, /* inc dword [5000] */
	0xeb, 0xf4,                   /* jmp 1b */
};

static void test_remap(void)
{
	struct fixture f;
	setup(&f, 1, true, counting, sizeof(counting));
	struct io_region hole = f.device;
	for (int i = 0; i < 60; i++) {
		vm_resume(f.vm);
		/* Splits the slot in three and joins it, under the running guest. */
		space_add_io(f.vm->memory, 0x8000, &hole, SPACE_PRIORITY_HIGH);
		if (i % 4 == 0)
			usleep(500);
		space_remove_io(f.vm->memory, &hole);
		if (i % 3 == 0)
			vm_pause(f.vm, VM_STATE_PAUSED);
	}
	vm_pause(f.vm, VM_STATE_PAUSED);
	uint32_t a = le32_load(f.ram->host + 0x3000), b = le32_load(f.ram->host + 0x5000);
	g_assert_cmpuint(a, >, 0);
	g_assert_cmpuint(a - b, <=, 1);
	g_assert_cmpstr(f.log->str, ==, "");
	teardown(&f);
}

static void test_dirty_log(void)
{
	struct fixture f;
	g_autoptr(GError) error = NULL;
	setup(&f, 1, true, counting, sizeof(counting));
	g_assert_true(kvm_engine.dirty_log_start(f.vm, &error));
	/* On a loaded host the guest may not get the CPU for a long while. */
	uint64_t before = space_read(f.vm->memory, 0x5000, 4);
	vm_resume(f.vm);
	for (int i = 0; i < 300000 && space_read(f.vm->memory, 0x5000, 4) == before; i++)
		usleep(100);
	vm_pause(f.vm, VM_STATE_PAUSED);
	space_write(f.vm->memory, 0x7000, 1, 1);
	g_assert_true(kvm_engine.dirty_log_sync(f.vm, &error));
	unsigned dirty = 0;
	for (unsigned i = 0; i < 16; i++)
		dirty |= ram_dirty_take(f.ram, i) << i;
	g_assert_cmphex(dirty & 0xe8, ==, 0xa8);
	kvm_engine.dirty_log_stop(f.vm);
	teardown(&f);
}

static void test_state(void)
{
	struct fixture f;
	g_autoptr(GError) error = NULL;
	struct x86_state a, b;
	setup(&f, 2, true, halt_loop, sizeof(halt_loop));
	struct vcpu *vcpu = &f.vm->vcpus[0];
	g_assert_true(kvm_engine.vcpu_get_state(&f.vm->vcpus[1], &a, &error));
	g_assert_cmpint(a.activity, ==, X86_WAIT_INIT);
	g_assert_cmphex(le32_load(a.lapic + 0x20), ==, 1 << 24);

	g_assert_true(kvm_engine.vcpu_get_state(vcpu, &a, &error));
	for (unsigned i = 0; i < 16; i++)
		a.gpr[i] = 0x0101010101010101 * (i + 1);
	a.msr.lstar = 0xffffffff81000000;
	a.msr.pat = 0x0007040600070400;
	a.dr[1] = 0x1234;
	a.fpu.legacy[160] = 0x77; /* XMM0 */
	le32_store(a.lapic + 0xf0, 0x1ff);
	g_assert_true(kvm_engine.vcpu_set_state(vcpu, &a, &error));
	g_assert_true(kvm_engine.vcpu_get_state(vcpu, &b, &error));
	g_assert_cmpmem(a.gpr, sizeof(a.gpr), b.gpr, sizeof(b.gpr));
	g_assert_cmpmem(a.seg, sizeof(a.seg), b.seg, sizeof(b.seg));
	g_assert_cmphex(b.msr.lstar, ==, a.msr.lstar);
	g_assert_cmphex(b.msr.pat, ==, a.msr.pat);
	g_assert_cmphex(b.dr[1], ==, 0x1234);
	g_assert_cmphex(b.fpu.legacy[160], ==, 0x77);
	g_assert_cmphex(le32_load(b.lapic + 0xf0), ==, 0x1ff);
	g_assert_cmpuint(b.tsc, >=, a.tsc);
	vm_reset(f.vm, false);
	g_assert_true(kvm_engine.vcpu_get_state(vcpu, &b, &error));
	g_assert_cmphex(b.rip, ==, 0xfff0);
	g_assert_cmphex(b.seg[X86_CS].base, ==, 0xffff0000);
	g_assert_cmphex(b.msr.lstar, ==, 0);
	teardown(&f);
}

static void test_doorbell(void)
{
	static const uint8_t code[] = {
		0x64, 0xc7, 0x06, 0x10, 0x00, 0x05, 0x00, /* mov word fs:[10],5 */
		0x64, 0xc7, 0x06, 0x12, 0x00, 0x06, 0x00, /* mov word fs:[12],6 */
		0xb0, 0x99, 0xe6, 0x80, 0xf4,             /* mov al,99; out 80,al; hlt */
	};
	struct fixture f;
	setup(&f, 1, true, code, sizeof(code));
	int fd = eventfd(0, EFD_NONBLOCK);
	struct space_doorbell bell = {.addr = DEVICE + 0x10, .fd = fd};
	space_add_doorbell(f.vm->memory, &bell);
	vm_resume(f.vm);
	wait_value(&f, 0x99);
	expect_log(&f, "w2@12=6 w1@80=99 ");
	uint64_t count = 0;
	g_assert_cmpint(read(fd, &count, 8), ==, 8);
	g_assert_cmpuint(count, ==, 1);
	space_remove_doorbell(f.vm->memory, &bell);
	close(fd);
	teardown(&f);
}

static bool is_hardware(void)
{
	g_autoptr(GError) error = NULL;
	if (kvm_engine.probe(&error))
		return true;
	g_test_skip(error->message);
	return false;
}

/* What a guest reads by CPUID is what its model says, but for the bits that show other state. */
static void test_models(void)
{
	static const uint8_t code[] = {
		0xbe, 0x00, 0x06,             /* mov si,600 */
		0x66, 0x8b, 0x04,             /* 1: mov eax,[si] */
		0x66, 0x8b, 0x4c, 0x04,       /* mov ecx,[si+4] */
		0x0f, 0xa2,                   /* cpuid */
		0x66, 0x89, 0x04,             /* mov [si],eax */
		0x66, 0x89, 0x5c, 0x04,       /* mov [si+4],ebx */
		0x66, 0x89, 0x4c, 0x08,       /* mov [si+8],ecx */
		0x66, 0x89, 0x54, 0x0c,       /* mov [si+c],edx */
		0x83, 0xc6, 0x10,             /* add si,10 */
		0x81, 0xfe, 0x50, 0x06,       /* cmp si,650 */
		0x72, 0xdf,                   /* jb 1b */
		0xb0, 0x99, 0xe6, 0x80, 0xf4, /* mov al,99; out 80,al; hlt */
	};
	static const uint32_t leaves[5] = {0, 1, 7, 0x80000000, 0x80000001};
	/* Leaf 1: MONITOR follows IA32_MISC_ENABLE, OSXSAVE follows CR4. Leaf 7: OSPKE, too. */
	static const uint32_t dynamic_ecx[5] = {0, 1u << 3 | 1u << 27, 1u << 4};
	static const char *const models[] = {"host", "max", "qemu64", "x86-64-v2", "x86-64-v3"};
	struct cpu_topology topology = {.sockets = 1, .dies = 1, .cores = 1, .threads = 1};
	if (!is_hardware())
		return;
	for (unsigned m = 0; m < G_N_ELEMENTS(models); m++) {
		struct fixture f;
		setup_model(&f, models[m], 1, true, code, sizeof(code));
		for (unsigned i = 0; i < 5; i++)
			le32_store(f.ram->host + 0x600 + 16 * i, leaves[i]);
		g_autoptr(GArray) table = cpuid_build(f.model, &topology, 0);
		vm_resume(f.vm);
		wait_value(&f, 0x99);
		for (unsigned i = 0; i < 5; i++) {
			uint32_t want[4];
			cpuid_lookup(table, leaves[i], 0, want);
			for (unsigned r = 0; r < 4; r++) {
				uint32_t mask = r == 2 ? ~dynamic_ecx[i] : UINT32_MAX;
				uint32_t got = le32_load(f.ram->host + 0x600 + 16 * i + 4 * r);
				g_test_message("%s: leaf %#x register %u", models[m], leaves[i], r);
				g_assert_cmphex(got & mask, ==, want[r] & mask);
			}
		}
		teardown(&f);
	}
}

enum { XMM_AREA = 160 /* of the legacy area: XMM0, then 16 bytes each */ };

static void expect_ymm(const struct x86_state *s, unsigned n, const uint8_t value[32])
{
	g_assert_cmpmem(s->fpu.legacy + XMM_AREA + 16 * n, 16, value, 16);
	g_assert_cmpmem(s->fpu.ymm_high + 16 * n, 16, value + 16, 16);
}

/* The guest's AVX registers and XCR0, from and to struct x86_state, across exits. */
static void test_avx(void)
{
	static const uint8_t code[] = {
		0xc5, 0xfe, 0x7f, 0x05, 0x00, 0x30, 0, 0, /* vmovdqu [3000],ymm0 */
		0xc5, 0xfe, 0x6f, 0x0d, 0x20, 0x30, 0, 0, /* vmovdqu ymm1,[3020] */
		0xc5, 0xfc, 0x56, 0xd1,                   /* vorps ymm2,ymm0,ymm1 */
		0xb0, 0x11, 0xe6, 0x80,                   /* mov al,11; out 80,al */
		0x80, 0x3d, 0xf0, 0x2f, 0, 0, 0x01,       /* 1: cmp byte [2ff0],1 */
		0x75, 0xf7,                               /* jne 1b */
		0xc5, 0xfe, 0x7f, 0x15, 0x60, 0x30, 0, 0, /* vmovdqu [3060],ymm2 */
		0x31, 0xc9, 0x0f, 0x01, 0xd0,             /* xor ecx,ecx; xgetbv */
		0xa3, 0x80, 0x30, 0, 0,                   /* mov [3080],eax */
		0xb0, 0x99, 0xe6, 0x80, 0xf4,             /* mov al,99; out 80,al; hlt */
	};
	struct fixture f;
	g_autoptr(GError) error = NULL;
	struct x86_state s, cleared;
	uint8_t a[32], b[32], both[32];
	if (!is_hardware())
		return;
	setup(&f, 1, true, code, sizeof(code));
	if (~f.model->features.word[CPU_WORD_1_ECX] & (1u << 26 | 1u << 28)) {
		g_test_skip("this CPU has no XSAVE or no AVX");
		teardown(&f);
		return;
	}
	for (unsigned i = 0; i < 32; i++) {
		a[i] = i + 1;
		b[i] = 0x80 | i << 1;
		both[i] = a[i] | b[i];
	}
	memcpy(f.ram->host + 0x3020, b, 32);
	struct vcpu *vcpu = &f.vm->vcpus[0];
	flat_protected_mode(vcpu);
	g_assert_true(kvm_engine.vcpu_get_state(vcpu, &s, &error));
	s.cr4 |= X86_CR4_OSFXSR | X86_CR4_OSXSAVE;
	s.xcr0 = 7;
	memcpy(s.fpu.legacy + XMM_AREA, a, 16);
	memcpy(s.fpu.ymm_high, a + 16, 16);
	s.fpu.header[0] |= 7; /* XSTATE_BV: x87, SSE, AVX */
	g_assert_true(kvm_engine.vcpu_set_state(vcpu, &s, &error));
	vm_resume(f.vm);
	wait_value(&f, 0x11);
	vm_pause(f.vm, VM_STATE_PAUSED);
	g_assert_cmpmem(f.ram->host + 0x3000, 32, a, 32);
	g_assert_true(kvm_engine.vcpu_get_state(vcpu, &s, &error));
	g_assert_cmphex(s.xcr0, ==, 7);
	expect_ymm(&s, 0, a);
	expect_ymm(&s, 1, b);
	expect_ymm(&s, 2, both);
	/* Lost and brought back, as by a migration. */
	cleared = s;
	cleared.fpu = (struct x86_fpu){0};
	g_assert_true(kvm_engine.vcpu_set_state(vcpu, &cleared, &error));
	g_assert_true(kvm_engine.vcpu_set_state(vcpu, &s, &error));
	f.ram->host[0x2ff0] = 1;
	vm_resume(f.vm);
	wait_value(&f, 0x99);
	g_assert_cmpmem(f.ram->host + 0x3060, 32, both, 32);
	g_assert_cmphex(le32_load(f.ram->host + 0x3080), ==, 7);
	teardown(&f);
}

/* An instruction where there is a device and no memory: KVM gives up, the VM stops, we live. */
static void test_internal_error(void)
{
	struct fixture f;
	g_autoptr(GError) error = NULL;
	struct x86_state s;
	if (!is_hardware())
		return;
	setup(&f, 1, true, halt_loop, sizeof(halt_loop));
	g_assert_true(kvm_engine.vcpu_get_state(&f.vm->vcpus[0], &s, &error));
	s.seg[X86_CS].base = DEVICE;
	s.rip = 0;
	g_assert_true(kvm_engine.vcpu_set_state(&f.vm->vcpus[0], &s, &error));
	vm_resume(f.vm);
	while (!f.requested[VM_REQUEST_INTERNAL_ERROR])
		aio_loop_iterate(f.loop, -1);
	g_assert_cmpint(f.vm->state, ==, VM_STATE_INTERNAL_ERROR);
	teardown(&f);
}

static void test_probe(void)
{
	g_autoptr(GError) error = NULL;
	int64_t start = aio_now_ns();
	bool ok = kvm_engine.probe(&error);
	g_test_message("%.1f ms: %s", (aio_now_ns() - start) / 1e6, ok ? "usable" : error->message);
	g_assert_true(ok || strlen(error->message) > 10);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/kvm/probe", test_probe);
	struct cpu_features allowed;
	g_autoptr(GError) error = NULL;
	if (!kvm_engine.features(&allowed, &error)) {
		g_test_message("skipped: %s", error->message);
		return g_test_run();
	}
	g_test_add_func("/kvm/io", test_io);
	g_test_add_func("/kvm/doorbell", test_doorbell);
	g_test_add_func("/kvm/interrupts-split", test_interrupts_split);
	g_test_add_func("/kvm/interrupts-full", test_interrupts_full);
	g_test_add_func("/kvm/shutdown", test_shutdown);
	g_test_add_func("/kvm/remap", test_remap);
	g_test_add_func("/kvm/dirty-log", test_dirty_log);
	g_test_add_func("/kvm/state", test_state);
	g_test_add_func("/kvm/models", test_models);
	g_test_add_func("/kvm/avx", test_avx);
	g_test_add_func("/kvm/internal-error", test_internal_error);
	return g_test_run();
}
