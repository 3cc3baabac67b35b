/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which disks a running domain is stopped for, as its VMM says by query-block's io-status. */
#include "daemon/domain/disk_now.h"
#include "daemon/domain/vmm.h"

#include "daemon/rpc/serve.h"

#include <string.h>

enum { QUERY_MS = 5000 };

/* virDomainDiskErrorCode */
enum { DISK_ERROR_NONE, DISK_ERROR_UNSPEC, DISK_ERROR_NO_SPACE };

struct errors_query {
	struct rpc_call *call;
	struct domain *dom;
	uint32_t most;
};

static int error_of(const json_t *blocks, const char *alias)
{
	size_t i;
	json_t *entry;
	json_array_foreach((json_t *)blocks, i, entry)
	{
		const char *status = json_string_value(json_object_get(entry, "io-status"));
		if (g_strcmp0(json_string_value(json_object_get(entry, "qdev")), alias) != 0 || !status)
			continue;
		if (strcmp(status, "ok") != 0)
			return strcmp(status, "nospace") == 0 ? DISK_ERROR_NO_SPACE : DISK_ERROR_UNSPEC;
	}
	return DISK_ERROR_NONE;
}

static void on_blocks(void *opaque, json_t *result, const GError *failure)
{
	struct errors_query *query = opaque;
	const struct domain *dom = query->dom;
	struct remote_domain_get_disk_errors_ret ret = {0};
	GError *error = NULL;
	if (failure)
		virt_error(&error, VIRT_FROM_QEMU, VIRT_OPERATION_FAILED, "%s", failure->message);
	else
		ret.errors.items = arena_alloc(rpc_call_arena(query->call),
					       query->most * sizeof(*ret.errors.items));
	for (unsigned i = 0; !error && dom->live && i < dom->live->disks->len; i++) {
		const struct conf_domain_disk *disk = dom->live->disks->pdata[i];
		int code = error_of(result, disk->dev.alias);
		if (code != DISK_ERROR_NONE && ret.errors.count < query->most)
			ret.errors.items[ret.errors.count++] =
				(struct remote_domain_disk_error){.disk = disk->target, .error = code};
	}
	ret.nerrors = ret.errors.count;
	if (error)
		rpc_call_fail(query->call, error);
	else
		rpc_call_reply(query->call, &ret);
	domain_unpin(query->dom);
	g_free(query);
}

void serve_domain_get_disk_errors(struct rpc_call *call, const struct remote_domain_get_disk_errors_args *args)
{
	enum { ERRORS_MAX = 256 }; /* of the protocol */
	struct domain *dom = domain_find(call, &args->dom);
	GError *error = NULL;
	if (!dom || !rpc_call_check_flags(call, args->flags, 0))
		return;
	if (!dom->vmm)
		virt_error(&error, VIRT_FROM_DOMAIN, VIRT_OPERATION_INVALID, "domain is not running");
	else if (args->maxerrors > ERRORS_MAX)
		virt_error(&error, VIRT_FROM_RPC, VIRT_RPC, "maxerrors too large");
	if (error) {
		rpc_call_fail(call, error);
		return;
	}
	/* Who asks for none wants to know how many there may be. */
	if (!args->maxerrors) {
		struct remote_domain_get_disk_errors_ret ret = {.nerrors = dom->live->disks->len};
		rpc_call_reply(call, &ret);
		return;
	}
	struct errors_query *query = g_new(struct errors_query, 1);
	*query = (struct errors_query){call, domain_pin(dom), args->maxerrors};
	vmm_query(dom, "query-block", NULL, QUERY_MS, on_blocks, query);
}
