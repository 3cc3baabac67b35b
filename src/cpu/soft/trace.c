/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cpu/soft/trace.h"

#include "base/log.h"
#include "cpu/soft/system/system.h"

enum { BYTES_PER_LINE = 32 };

/* One log line of several, so that those of two vCPUs do not mix. */
static void add_code(GString *text, uint64_t address, const uint8_t *bytes, size_t size)
{
	for (size_t at = 0; at < size; at++) {
		if (at % BYTES_PER_LINE == 0)
			g_string_append_printf(text, "\n0x%016" G_GINT64_MODIFIER "x:  OBJD-T: ",
					       (guint64)(address + at));
		g_string_append_printf(text, "%02x", bytes[at]);
	}
}

void soft_trace_in(const struct soft_vcpu *c, uint64_t linear, const uint8_t *bytes, size_t size)
{
	static const unsigned bits[] = { 16, 32, 64 };
	g_autoptr(GString) text = g_string_new(NULL);
	add_code(text, linear, bytes, size);
	log_info("IN: vCPU %u, %u-bit code%s", c->vcpu->index, bits[c->mode], text->str);
}

void soft_trace_out(const struct soft_vcpu *c, const uint8_t *at, const uint8_t *bytes, size_t size)
{
	g_autoptr(GString) text = g_string_new(NULL);
	add_code(text, (uintptr_t)at, bytes, size);
	log_info("OUT: [size=%zu] vCPU %u%s", size, c->vcpu->index, text->str);
}

void soft_trace_exec(const struct soft_vcpu *c)
{
	log_info("Trace %u: pc=%016" G_GINT64_MODIFIER "x cs=%04x cpl=%u", c->vcpu->index,
		 (guint64)c->s.rip, c->s.seg[X86_CS].selector, c->cpl);
}

void soft_trace_event(const struct soft_vcpu *c, const struct soft_event *event)
{
	log_info("%6u: v=%02x e=%04x i=%d cpl=%u IP=%04x:%016" G_GINT64_MODIFIER "x SP=%04x:%016"
		 G_GINT64_MODIFIER "x CR2=%016" G_GINT64_MODIFIER "x", c->vcpu->index, event->vector,
		 event->has_error ? event->error : 0, event->kind == EVENT_SOFTWARE, c->cpl,
		 c->s.seg[X86_CS].selector, (guint64)event->rip, c->s.seg[X86_SS].selector,
		 (guint64)c->s.gpr[X86_RSP], (guint64)c->s.cr2);
}
