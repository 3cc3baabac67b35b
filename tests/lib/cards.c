/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cards.h"

void card_open(struct card *c, const struct device_class *class, uint32_t offloads)
{
	g_autoptr(GError) error = NULL;
	*c = (struct card){0};
	vd_machine_init(&c->m);
	fake_net_init(&c->net, c->m.loop, offloads);
	struct fakes fakes = {.net = &c->net};
	struct device_resolver resolver = fakes_resolver(&fakes);
	c->dev = device_new(class, "card", c->m.vm);
	c->dev->bus = c->m.pci;
	device_set(c->dev, "netdev", "net", &resolver, &error);
	g_assert_no_error(error);
	device_set(c->dev, "mac", "52:54:00:01:02:03", NULL, &error);
	g_assert_no_error(error);
	device_realize(c->dev, &error);
	g_assert_no_error(error);
	struct pci_device *pci = (struct pci_device *)c->dev;
	pci_bus_attach(c->m.pci, pci, &error);
	g_assert_no_error(error);
	c->devfn = pci->devfn;
	/* What firmware does: memory 4 MiB apart, ports. */
	for (unsigned i = 0; i < PCI_BAR_COUNT; i++) {
		if (!pci->bars[i].region)
			continue;
		uint32_t at = pci->bars[i].io ? CARD_PORTS : CARD_MMIO + (i << 22);
		pci_config_write(c->m.pci, c->devfn, PCI_BAR0 + 4 * i, at, 4);
		if (!pci->bars[i].io && !c->mmio)
			c->mmio = at;
	}
	pci_config_write(c->m.pci, c->devfn, PCI_COMMAND, 7, 2);
	device_start(c->dev);
}

void card_close(struct card *c)
{
	device_stop(c->dev);
	pci_bus_detach(c->m.pci, (struct pci_device *)c->dev);
	device_free(c->dev);
	fake_net_free(&c->net);
	vd_machine_free(&c->m);
}

uint32_t card_get(struct card *c, unsigned offset)
{
	return (uint32_t)space_read(c->m.vm->memory, c->mmio + offset, 4);
}

void card_put(struct card *c, unsigned offset, uint32_t value)
{
	space_write(c->m.vm->memory, c->mmio + offset, value, 4);
}

void card_run(struct card *c)
{
	for (unsigned i = 0; i < 4; i++)
		aio_loop_iterate(c->m.loop, 0);
}

bool card_feed(struct card *c, const uint8_t *frame, size_t length)
{
	struct net_receiver *r = &c->net.receiver;
	size_t first = length / 3;
	const struct iovec iov[2] = {{(void *)frame, first}, {(void *)(frame + first), length - first}};
	return r->can_receive(r->opaque, 0) && r->receive(r->opaque, 0, iov, 2);
}

static uint16_t ones_sum(const uint8_t *at, size_t length, uint32_t sum)
{
	for (size_t i = 0; i < length; i++)
		sum += i & 1 ? at[i] : at[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

void card_udp_frame(uint8_t *frame, size_t length)
{
	static const uint8_t head[] = {
		0x52, 0x54, 0, 1, 2, 3, 0x52, 0x55, 10, 0, 2, 2, 8, 0, /* Ethernet */
		0x45, 0, 0, 0, 0, 1, 0x40, 0, 64, 17, 0, 0, 10, 0, 2, 2, 10, 0, 2, 15,
		0, 7, 0, 9, 0, 0, 0, 0, /* from port 7 to port 9 */
	};
	g_assert_cmpuint(length, >, sizeof(head));
	memcpy(frame, head, sizeof(head));
	for (size_t i = sizeof(head); i < length; i++)
		frame[i] = (uint8_t)(i * 7 + 1);
	be16_store(frame + 16, length - 14);
	be16_store(frame + 24, ones_sum(frame + 14, 20, 0));
	be16_store(frame + 38, length - 34);
	uint32_t pseudo = 17 + (uint32_t)(length - 34) + (uint16_t)~ones_sum(frame + 26, 8, 0);
	be16_store(frame + 40, ones_sum(frame + 34, length - 34, pseudo));
}
