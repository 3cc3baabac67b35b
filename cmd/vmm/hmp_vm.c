/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Human commands: the machine's life, vCPUs and memory. */
#include "vmm.h"

#include "base/bytes.h"
#include "base/units.h"
#include "cpu/x86/state.h"
#include "cpu/x86/walk.h"
#include "vm/space.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const char *string_of(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));
	return text ? text : "";
}

/* A QMP command without arguments whose answer does not matter. */
static void run_plain(struct hmp_call *call, const char *command)
{
	json_decref(hmp_qmp(call, command, NULL));
}

static void run_stop(void *opaque, struct hmp_call *call)
{
	run_plain(call, "stop");
}

static void run_cont(void *opaque, struct hmp_call *call)
{
	run_plain(call, "cont");
}

static void run_quit(void *opaque, struct hmp_call *call)
{
	run_plain(call, "quit");
}

static void run_system_reset(void *opaque, struct hmp_call *call)
{
	run_plain(call, "system_reset");
}

static void run_system_powerdown(void *opaque, struct hmp_call *call)
{
	run_plain(call, "system_powerdown");
}

static void run_system_wakeup(void *opaque, struct hmp_call *call)
{
	run_plain(call, "system_wakeup");
}

static void run_nmi(void *opaque, struct hmp_call *call)
{
	run_plain(call, "inject-nmi");
}

static void run_balloon(void *opaque, struct hmp_call *call)
{
	g_autoptr(GError) error = NULL;
	uint64_t size;
	if (!units_parse_size(call->words[0], MIB, &size, &error))
		hmp_printf(call, "Error: %s\n", error->message);
	else
		json_decref(hmp_qmp(call, "balloon", json_pack("{s:I}", "value", (json_int_t)size)));
}

static void info_version(void *opaque, struct hmp_call *call)
{
	json_t *version = hmp_qmp(call, "query-version", NULL);
	const json_t *qemu = json_object_get(version, "qemu");
	hmp_printf(call, "%d.%d.%d (%s)\n", (int)json_integer_value(json_object_get(qemu, "major")),
		   (int)json_integer_value(json_object_get(qemu, "minor")),
		   (int)json_integer_value(json_object_get(qemu, "micro")),
		   string_of(version, "package"));
	json_decref(version);
}

static void info_status(void *opaque, struct hmp_call *call)
{
	json_t *status = hmp_qmp(call, "query-status", NULL);
	bool running = json_is_true(json_object_get(status, "running"));
	hmp_printf(call, "VM status: %s", running ? "running" : "paused");
	if (!running && strcmp(string_of(status, "status"), "paused") != 0)
		hmp_printf(call, " (%s)", string_of(status, "status"));
	hmp_printf(call, "\n");
	json_decref(status);
}

static void info_name(void *opaque, struct hmp_call *call)
{
	json_t *name = hmp_qmp(call, "query-name", NULL);
	if (json_object_get(name, "name"))
		hmp_printf(call, "%s\n", string_of(name, "name"));
	json_decref(name);
}

static void info_uuid(void *opaque, struct hmp_call *call)
{
	json_t *uuid = hmp_qmp(call, "query-uuid", NULL);
	hmp_printf(call, "%s\n", string_of(uuid, "UUID"));
	json_decref(uuid);
}

static void info_kvm(void *opaque, struct hmp_call *call)
{
	json_t *kvm = hmp_qmp(call, "query-kvm", NULL);
	hmp_printf(call, "kvm support: %s\n",
		   json_is_true(json_object_get(kvm, "enabled")) ? "enabled" : "disabled");
	json_decref(kvm);
}

static void info_engine(void *opaque, struct hmp_call *call)
{
	struct vmm *vmm = opaque;
	g_autofree char *text =
		vmm->engine->describe ? vmm->engine->describe(vmm->vm) : g_strdup("");
	hmp_printf(call, "engine: %s (%s)\n%s%s", vmm->engine->name, vmm->engine->description, text,
		   text[0] && !g_str_has_suffix(text, "\n") ? "\n" : "");
}

static void info_cpus(void *opaque, struct hmp_call *call)
{
	json_t *cpus = hmp_qmp(call, "query-cpus-fast", NULL);
	size_t i;
	json_t *cpu;
	json_array_foreach(cpus, i, cpu)
		hmp_printf(call, "%c CPU #%d: thread_id=%d\n", i == 0 ? '*' : ' ',
			   (int)json_integer_value(json_object_get(cpu, "cpu-index")),
			   (int)json_integer_value(json_object_get(cpu, "thread-id")));
	json_decref(cpus);
}

static void info_balloon(void *opaque, struct hmp_call *call)
{
	json_t *balloon = hmp_qmp(call, "query-balloon", NULL);
	if (balloon)
		hmp_printf(call, "balloon: actual=%" PRIu64 "\n",
			   (uint64_t)json_integer_value(json_object_get(balloon, "actual")) / MIB);
	json_decref(balloon);
}

/* --- registers ------------------------------------------------------------------------------------- */

/* The state of vCPU `index`, to be freed with free(), or NULL with a message printed. */
static struct x86_state *take_state(struct vmm *vmm, struct hmp_call *call, unsigned index)
{
	g_autoptr(GError) error = NULL;
	struct x86_state *state = memory_take_state(vmm, index, &error);
	if (!state)
		hmp_printf(call, "Error: %s\n", error->message);
	return state;
}

static void print_registers(struct hmp_call *call, const struct x86_state *s)
{
	static const char *const names[] = {"RAX", "RCX", "RDX", "RBX", "RSP", "RBP", "RSI", "RDI",
					    "R8 ", "R9 ", "R10", "R11", "R12", "R13", "R14", "R15"};
	static const uint8_t order[] = {0, 3, 1, 2, 6, 7, 5, 4, 8, 9, 10, 11, 12, 13, 14, 15};
	static const char *const segments[] = {"ES", "CS", "SS", "DS", "FS", "GS", "LDT", "TR"};
	for (unsigned i = 0; i < 16; i++)
		hmp_printf(call, "%s=%016" PRIx64 "%c", names[order[i]], s->gpr[order[i]],
			   i % 4 == 3 ? '\n' : ' ');
	hmp_printf(call, "RIP=%016" PRIx64 " RFL=%08" PRIx64 " CPL=%u HLT=%d\n", s->rip, s->rflags,
		   x86_cpl(s), s->activity == X86_HALTED);
	for (unsigned i = 0; i < X86_SEG_COUNT; i++)
		hmp_printf(call, "%-3s=%04x %016" PRIx64 " %08x %08x\n", segments[i],
			   s->seg[i].selector, s->seg[i].base, s->seg[i].limit, s->seg[i].attr);
	hmp_printf(call, "GDT=     %016" PRIx64 " %08x\nIDT=     %016" PRIx64 " %08x\n",
		   s->gdtr.base, s->gdtr.limit, s->idtr.base, s->idtr.limit);
	hmp_printf(call,
		   "CR0=%08" PRIx64 " CR2=%016" PRIx64 " CR3=%016" PRIx64 " CR4=%08" PRIx64
		   " CR8=%" PRIx64 "\n",
		   s->cr0, s->cr2, s->cr3, s->cr4, s->cr8);
	for (unsigned i = 0; i < 8; i++) {
		if (i != 4 && i != 5)
			hmp_printf(call, "DR%u=%016" PRIx64 "%c", i, s->dr[i], i == 3 || i == 7 ? '\n' : ' ');
	}
	hmp_printf(call, "EFER=%016" PRIx64 "\n", s->efer);
}

static void info_registers(void *opaque, struct hmp_call *call)
{
	struct vmm *vmm = opaque;
	bool all = call->count > 0 && strcmp(call->words[0], "-a") == 0;
	for (unsigned i = 0; i < vmm->vm->vcpu_count; i++) {
		if (i > 0 && !all)
			break;
		if (!vmm->vm->vcpus[i].present)
			continue;
		struct x86_state *state = take_state(vmm, call, i);
		if (!state)
			break;
		hmp_printf(call, "\nCPU#%u\n", i);
		print_registers(call, state);
		free(state);
	}
}

/* --- memory ------------------------------------------------------------------------------------------ */

static bool read_entry(void *opaque, uint64_t address, unsigned size, uint64_t *entry)
{
	*entry = 0;
	return space_dma_read(opaque, address, entry, size);
}

struct dump {
	uint64_t address;
	unsigned count, size;
	char format; /* x d u o c */
};

/* "/16xg ADDRESS" or "ADDRESS" */
static bool parse_dump(struct hmp_call *call, struct dump *dump)
{
	*dump = (struct dump){.count = 1, .size = 4, .format = 'x'};
	const char *word = call->words[0], *address = word;
	if (word[0] == '/') {
		char *p = (char *)word + 1;
		if (isdigit((unsigned char)*p))
			dump->count = strtoul(p, &p, 10);
		for (; *p; p++) {
			const char *sizes = "bhwg", *at = strchr(sizes, *p);
			if (at)
				dump->size = 1u << (at - sizes);
			else if (strchr("xduoc", *p))
				dump->format = *p;
			else
				return false;
		}
		address = call->words[1];
	}
	if (!address || dump->count == 0 || dump->count > 65536)
		return false;
	char *end;
	dump->address = strtoull(address, &end, 0);
	return end != address && !*end;
}

static void print_item(struct hmp_call *call, const struct dump *dump, uint64_t value)
{
	unsigned digits = dump->size * 2;
	switch (dump->format) {
	case 'x':
		hmp_printf(call, " 0x%0*" PRIx64, digits, value);
		break;
	case 'o':
		hmp_printf(call, " 0%" PRIo64, value);
		break;
	case 'u':
		hmp_printf(call, " %" PRIu64, value);
		break;
	case 'd':
		hmp_printf(call, " %" PRId64,
			   (int64_t)(value << (64 - dump->size * 8)) >> (64 - dump->size * 8));
		break;
	case 'c':
		hmp_printf(call, " '%c'", isprint((int)(value & 0xff)) ? (int)(value & 0xff) : '.');
		break;
	}
}

static void dump_memory(struct vmm *vmm, struct hmp_call *call, const struct x86_state *state)
{
	struct dump dump;
	if (!parse_dump(call, &dump)) {
		hmp_printf(call, "usage: /COUNT FORMAT SIZE ADDRESS, as in x /16xg 0x1000: format x d u "
				 "o c, size b h w g\n");
		return;
	}
	unsigned per_line = 16 / dump.size;
	for (unsigned i = 0; i < dump.count; i++, dump.address += dump.size) {
		struct x86_walk walk = {.phys = dump.address};
		uint64_t value = 0;
		if (i % per_line == 0)
			hmp_printf(call, "%s%016" PRIx64 ":", i ? "\n" : "", dump.address);
		bool mapped = !state || x86_walk_page(state, 52, dump.address, read_entry,
						      vmm->vm->memory, &walk);
		if (!mapped || !space_dma_read(vmm->vm->memory, walk.phys, &value, dump.size)) {
			hmp_printf(call, " Cannot access memory\n");
			return;
		}
		print_item(call, &dump, value);
	}
	hmp_printf(call, "\n");
}

static void run_xp(void *opaque, struct hmp_call *call)
{
	dump_memory(opaque, call, NULL);
}

static void run_x(void *opaque, struct hmp_call *call)
{
	struct x86_state *state = take_state(opaque, call, 0);
	if (state)
		dump_memory(opaque, call, state);
	free(state);
}

/* memsave and pmemsave: ADDRESS SIZE FILE. */
static void save_memory(struct hmp_call *call, const char *command)
{
	char *end1, *end2;
	uint64_t address = strtoull(call->words[0], &end1, 0);
	uint64_t size = strtoull(call->words[1], &end2, 0);
	if (*end1 || *end2 || size > INT64_MAX) {
		hmp_printf(call, "usage: %s address size file: numbers, as in 0x1000 4096\n", command);
		return;
	}
	json_decref(hmp_qmp(call, command,
			    json_pack("{s:I, s:I, s:s}", "val", (json_int_t)address, "size",
				      (json_int_t)size, "filename", call->words[2])));
}

static void run_memsave(void *opaque, struct hmp_call *call)
{
	save_memory(call, "memsave");
}

static void run_pmemsave(void *opaque, struct hmp_call *call)
{
	save_memory(call, "pmemsave");
}

static void print_range(void *opaque, const struct space_range *range)
{
	const char *name = range->ram ? range->ram->name : range->region->name;
	hmp_printf(opaque, "  %016" PRIx64 "-%016" PRIx64 " (%s): %s", range->base,
		   range->base + range->size - 1,
		   range->ram ? (range->readonly ? "rom" : "ram") : "i/o", name ? name : "?");
	if (range->ram && range->ram_offset)
		hmp_printf(opaque, " @%016" PRIx64, range->ram_offset);
	hmp_printf(opaque, "\n");
}

static void info_mtree(void *opaque, struct hmp_call *call)
{
	struct vmm *vmm = opaque;
	hmp_printf(call, "memory\n");
	space_for_each(vmm->vm->memory, print_range, call);
	hmp_printf(call, "I/O\n");
	space_for_each(vmm->vm->ports, print_range, call);
}

const struct hmp_command hmp_vm_commands[] = {
	{"quit", "q", NULL, "end the program", 0, 0, run_quit},
	{"stop", "s", NULL, "pause the guest", 0, 0, run_stop},
	{"cont", "c", NULL, "let the guest run on", 0, 0, run_cont},
	{"system_reset", NULL, NULL, "reset the machine, as by its reset button", 0, 0,
	 run_system_reset},
	{"system_powerdown", NULL, NULL, "press the machine's power button", 0, 0,
	 run_system_powerdown},
	{"system_wakeup", NULL, NULL, "wake a guest that sleeps (ACPI S3)", 0, 0, run_system_wakeup},
	{"nmi", NULL, NULL, "inject a non-maskable interrupt", 0, 0, run_nmi},
	{"balloon", NULL, "size", "leave the guest so much memory (MiB)", 1, 1, run_balloon},
	{"x", NULL, "/fmt addr", "dump memory at a virtual address of CPU 0", 1, 2, run_x},
	{"xp", NULL, "/fmt addr", "dump memory at a physical address", 1, 2, run_xp},
	{"memsave", NULL, "addr size file", "write memory at a virtual address of CPU 0 to a file", 3, 3,
	 run_memsave},
	{"pmemsave", NULL, "addr size file", "write memory at a physical address to a file", 3, 3,
	 run_pmemsave},
	{"info version", NULL, NULL, "show the version", 0, 0, info_version},
	{"info status", NULL, NULL, "show whether the guest runs", 0, 0, info_status},
	{"info name", NULL, NULL, "show the guest's name", 0, 0, info_name},
	{"info uuid", NULL, NULL, "show the machine's UUID", 0, 0, info_uuid},
	{"info kvm", NULL, NULL, "show whether KVM is used", 0, 0, info_kvm},
	{"info engine", NULL, NULL, "show what executes the guest, and its counters", 0, 0,
	 info_engine},
	{"info cpus", NULL, NULL, "show the vCPUs and their threads", 0, 0, info_cpus},
	{"info registers", NULL, "[-a]", "show registers of CPU 0 (-a: of all)", 0, 1,
	 info_registers},
	{"info balloon", NULL, NULL, "show how much memory the guest has", 0, 0, info_balloon},
	{"info mtree", NULL, NULL, "show what is at which address", 0, 0, info_mtree},
	{NULL},
};
