/* SPDX-License-Identifier: GPL-2.0-or-later */
/* QMP: the guest's memory into a file, by physical or by virtual addresses. */
#include "vmm.h"

#include "base/bytes.h"
#include "base/error.h"
#include "cpu/x86/state.h"
#include "cpu/x86/walk.h"
#include "vm/space.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAGE 4096

static bool read_entry(void *opaque, uint64_t address, unsigned size, uint64_t *entry)
{
	*entry = 0;
	return space_dma_read(opaque, address, entry, size);
}

/* A piece that lies in one page; virtual with a vCPU's `state`, else physical. */
static bool read_piece(struct vmm *vmm, const struct x86_state *state, uint64_t address,
		       uint8_t *buffer, uint64_t length, GError **error)
{
	struct x86_walk walk = {.phys = address};
	if (state && !x86_walk_page(state, 52, address, read_entry, vmm->vm->memory, &walk))
		return error_set(error, BERTH_ERR_INVALID,
				 "Invalid addr 0x%016" G_GINT64_MODIFIER "x: nothing is mapped there",
				 address);
	return space_dma_read(vmm->vm->memory, walk.phys, buffer, length) ||
	       error_set(error, BERTH_ERR_INVALID,
			 "there is no memory at 0x%" G_GINT64_MODIFIER "x", address);
}

static void save(struct vmm *vmm, const struct x86_state *state, const json_t *args, GError **error)
{
	uint64_t address = json_integer_value(json_object_get(args, "val"));
	uint64_t left = json_integer_value(json_object_get(args, "size"));
	const char *path = json_string_value(json_object_get(args, "filename"));
	FILE *file = fopen(path, "wbe");
	if (!file) {
		error_set_errno(error, errno, "cannot create '%s'", path);
		return;
	}
	bool good = true;
	while (good && left > 0) {
		uint8_t buffer[PAGE];
		uint64_t length = MIN(left, PAGE - address % PAGE);
		good = read_piece(vmm, state, address, buffer, length, error);
		if (good && fwrite(buffer, 1, length, file) != length)
			good = error_set_errno(error, errno, "cannot write '%s'", path);
		address += length;
		left -= length;
	}
	if (fclose(file) != 0 && good)
		error_set_errno(error, errno, "cannot write '%s'", path);
}

static json_t *run_pmemsave(void *opaque, const json_t *args, GError **error)
{
	save(opaque, NULL, args, error);
	return NULL;
}

struct state_request {
	struct x86_state *state;
	bool good;
};

static void get_state(struct vcpu *vcpu, void *opaque)
{
	struct state_request *request = opaque;
	request->good = vcpu->vm->engine->vcpu_get_state(vcpu, request->state, NULL);
}

struct x86_state *memory_take_state(struct vmm *vmm, unsigned index, GError **error)
{
	struct state_request request = {aligned_alloc(64, align_up(sizeof(struct x86_state), 64))};
	memset(request.state, 0, sizeof(struct x86_state));
	vcpu_call(&vmm->vm->vcpus[index], get_state, &request);
	if (request.good)
		return request.state;
	error_set(error, BERTH_ERR_NOT_SUPPORTED, "the engine does not give the state of CPU %u", index);
	free(request.state);
	return NULL;
}

static json_t *run_memsave(void *opaque, const json_t *args, GError **error)
{
	struct vmm *vmm = opaque;
	json_int_t index = json_integer_value(json_object_get(args, "cpu-index"));
	if (index < 0 || index >= vmm->vm->vcpu_count)
		return qmp_error(error, QMP_ERROR_GENERIC,
				 "Parameter 'cpu-index' expects a CPU number: there are %u CPUs",
				 vmm->vm->vcpu_count);
	struct x86_state *state = memory_take_state(vmm, index, error);
	if (state)
		save(vmm, state, args, error);
	free(state);
	return NULL;
}

static const struct qmp_command commands[] = {
	{"memsave", "val:int size:size filename:str cpu-index?:int", NULL, run_memsave},
	{"pmemsave", "val:size size:size filename:str", NULL, run_pmemsave},
	{NULL},
};

const struct qmp_table qmp_memory_table = {commands, NULL, NULL, NULL};
