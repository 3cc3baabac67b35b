/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/domain/hostdev.h"

#include "conf/netdev.h"
#include "daemon/nodedev/nodedev.h"

/* --- Taking ------------------------------------------------------------------------------------- */

struct wanted {
	char *host;
	bool managed;
};

struct claiming {
	struct domain *dom;
	GArray *list; /* struct wanted */
	guint at;
	hostdevs_done_fn *done;
	void *opaque;
};

static void clear_wanted(void *opaque)
{
	g_free(((struct wanted *)opaque)->host);
}

static struct claiming *claiming_new(struct domain *dom, hostdevs_done_fn *done, void *opaque)
{
	struct claiming *claiming = g_new(struct claiming, 1);
	*claiming = (struct claiming){domain_pin(dom), g_array_new(FALSE, FALSE, sizeof(struct wanted)), 0, done,
				      opaque};
	g_array_set_clear_func(claiming->list, clear_wanted);
	return claiming;
}

static void finish(struct claiming *claiming, const GError *error)
{
	claiming->done(claiming->opaque, error);
	domain_unpin(claiming->dom);
	g_array_unref(claiming->list);
	g_free(claiming);
}

static void on_claimed(void *opaque, const GError *error);

static void claim_next(struct claiming *claiming)
{
	struct nodedevs *devs = claiming->dom->all->daemon->nodedevs;
	if (claiming->at == claiming->list->len) {
		finish(claiming, NULL);
		return;
	}
	const struct wanted *wanted = &g_array_index(claiming->list, struct wanted, claiming->at++);
	nodedev_claim(devs, wanted->host, claiming->dom->name, wanted->managed, on_claimed, claiming);
}

static void on_claimed(void *opaque, const GError *error)
{
	struct claiming *claiming = opaque;
	if (error)
		finish(claiming, error);
	else
		claim_next(claiming);
}

void hostdevs_claim(struct domain *dom, const struct conf_domain *conf, hostdevs_done_fn *done, void *opaque)
{
	struct claiming *claiming = claiming_new(dom, done, opaque);
	for (unsigned i = 0; i < conf->hostdevs->len; i++) {
		const struct conf_domain_hostdev *hostdev = conf->hostdevs->pdata[i];
		struct wanted wanted = {g_strdup(hostdev->host), hostdev->managed};
		g_array_append_val(claiming->list, wanted);
	}
	claim_next(claiming);
}

void hostdev_claim(struct domain *dom, const struct conf_domain_hostdev *hostdev, hostdevs_done_fn *done,
		   void *opaque)
{
	struct claiming *claiming = claiming_new(dom, done, opaque);
	struct wanted wanted = {g_strdup(hostdev->host), hostdev->managed};
	g_array_append_val(claiming->list, wanted);
	claim_next(claiming);
}

/* --- Documents ---------------------------------------------------------------------------------- */

static char *host_of(const xmlNode *node)
{
	const xmlNode *source = xml_child(node, "source"), *address = source ? xml_child(source, "address") : NULL;
	return address ? conf_pci_address_read(address, NULL) : NULL;
}

bool hostdev_is_one(const xmlNode *node)
{
	return xml_is(node, "hostdev");
}

xmlNode *hostdev_find(const xmlNode *devices, const xmlNode *wanted)
{
	g_autofree char *host = host_of(wanted);
	xml_for_each(node, devices, "hostdev") {
		g_autofree char *its = host_of(node);
		if (host && g_strcmp0(its, host) == 0)
			return node;
	}
	return NULL;
}

/* --- Giving back -------------------------------------------------------------------------------- */

void hostdevs_settle(struct domain *dom)
{
	g_autoptr(GPtrArray) kept = g_ptr_array_new();
	if (dom->live && dom->claiming)
		return;
	for (unsigned i = 0; dom->live && i < dom->live->hostdevs->len; i++)
		g_ptr_array_add(kept, ((const struct conf_domain_hostdev *)dom->live->hostdevs->pdata[i])->host);
	g_ptr_array_add(kept, NULL);
	nodedev_release(dom->all->daemon->nodedevs, dom->name, (const char *const *)kept->pdata);
}

void hostdevs_recall(const struct domain *dom)
{
	for (unsigned i = 0; i < dom->live->hostdevs->len; i++) {
		const struct conf_domain_hostdev *hostdev = dom->live->hostdevs->pdata[i];
		nodedev_remember(dom->all->daemon->nodedevs, hostdev->host, dom->name, hostdev->managed);
	}
}
