/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The human monitor on a stream: prompt, echo and a small line editor (a terminal behind a stream
 * is in raw mode, so nobody else edits), history, completion of command names.
 */
#include "internal.h"

#include <string.h>

#define LINE_MAX_LENGTH 4095
#define HISTORY_MAX     64
/* Programs that drive this monitor look for this prompt. */
#define PROMPT "(qemu) "

struct hmp_session {
	struct session base;
	GString *line;
	size_t cursor;
	GPtrArray *history; /* char *, oldest first */
	unsigned history_at; /* history->len: the line being typed */
	enum { PLAIN, ESCAPE, CSI } input_state;
	unsigned csi_number;
	bool greeted;      /* the banner has been shown */
	bool after_return; /* a newline right after a return belongs to it */
};

static void put(struct hmp_session *hmp, const char *text)
{
	session_write(&hmp->base, text, strlen(text));
}

/* Output with "\n" turned into what a raw terminal needs. */
static void put_text(struct hmp_session *hmp, const char *text)
{
	g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
	g_autofree char *joined = g_strjoinv("\r\n", lines);
	put(hmp, joined);
}

/* Show the line again from the prompt on, with the terminal's cursor where ours is. */
static void redraw(struct hmp_session *hmp)
{
	g_autofree char *text = g_strdup_printf("\r" PROMPT "%s\033[K", hmp->line->str);
	put(hmp, text);
	size_t back = hmp->line->len - hmp->cursor;
	if (back > 0) {
		g_autofree char *move = g_strdup_printf("\033[%zuD", back);
		put(hmp, move);
	}
}

static void set_line(struct hmp_session *hmp, const char *text)
{
	g_string_assign(hmp->line, text);
	hmp->cursor = hmp->line->len;
	redraw(hmp);
}

static void remember(struct hmp_session *hmp)
{
	GPtrArray *history = hmp->history;
	const char *last = history->len ? history->pdata[history->len - 1] : "";
	if (hmp->line->len && strcmp(last, hmp->line->str) != 0)
		g_ptr_array_add(history, g_strdup(hmp->line->str));
	if (history->len > HISTORY_MAX)
		g_ptr_array_remove_index(history, 0);
	hmp->history_at = history->len;
}

static void run_line(struct hmp_session *hmp)
{
	put(hmp, "\r\n");
	remember(hmp);
	g_autofree char *output = monitor_execute_human(hmp->base.server, hmp->line->str);
	g_string_truncate(hmp->line, 0);
	hmp->cursor = 0;
	put_text(hmp, output);
	put(hmp, PROMPT);
}

static void step_history(struct hmp_session *hmp, int step)
{
	unsigned at = hmp->history_at + step;
	if (at > hmp->history->len) /* also below zero */
		return;
	hmp->history_at = at;
	set_line(hmp, at < hmp->history->len ? hmp->history->pdata[at] : "");
}

static void complete(struct hmp_session *hmp)
{
	g_autoptr(GPtrArray) found = g_ptr_array_new();
	const GArray *sets = hmp->base.server->hmp;
	for (unsigned i = 0; i < sets->len; i++) {
		const struct hmp_command *c = g_array_index(sets, struct hmp_set, i).commands;
		for (; c->name; c++) {
			if (strncmp(c->name, hmp->line->str, hmp->line->len) == 0)
				g_ptr_array_add(found, (void *)c->name);
		}
	}
	if (found->len == 1) {
		g_autofree char *text = g_strconcat(found->pdata[0], " ", NULL);
		set_line(hmp, text);
	} else if (found->len > 1) {
		put(hmp, "\r\n");
		for (unsigned i = 0; i < found->len; i++) {
			put(hmp, found->pdata[i]);
			put(hmp, i + 1 < found->len ? "  " : "\r\n");
		}
		redraw(hmp);
	}
}

static void erase(struct hmp_session *hmp, size_t from, size_t to)
{
	g_string_erase(hmp->line, from, to - from);
	hmp->cursor = from;
	redraw(hmp);
}

static void erase_word(struct hmp_session *hmp)
{
	size_t from = hmp->cursor;
	while (from > 0 && hmp->line->str[from - 1] == ' ')
		from--;
	while (from > 0 && hmp->line->str[from - 1] != ' ')
		from--;
	erase(hmp, from, hmp->cursor);
}

static void move_cursor(struct hmp_session *hmp, size_t to)
{
	if (to <= hmp->line->len) { /* also not below zero */
		hmp->cursor = to;
		redraw(hmp);
	}
}

static void take_csi(struct hmp_session *hmp, char c)
{
	if (g_ascii_isdigit(c)) {
		hmp->csi_number = (hmp->csi_number * 10 + (c - '0')) % 1000;
		return;
	}
	hmp->input_state = PLAIN;
	switch (c) {
	case 'A':
		step_history(hmp, -1);
		break;
	case 'B':
		step_history(hmp, 1);
		break;
	case 'C':
		move_cursor(hmp, hmp->cursor + 1);
		break;
	case 'D':
		move_cursor(hmp, hmp->cursor - 1);
		break;
	case 'H':
		move_cursor(hmp, 0);
		break;
	case 'F':
		move_cursor(hmp, hmp->line->len);
		break;
	case '~':
		if (hmp->csi_number == 3 && hmp->cursor < hmp->line->len)
			erase(hmp, hmp->cursor, hmp->cursor + 1);
		break;
	}
}

#define CTRL(c) ((c) & 0x1f)

static void take_control(struct hmp_session *hmp, char c)
{
	switch (c) {
	case '\r':
		run_line(hmp);
		break;
	case '\n':
		if (!hmp->after_return)
			run_line(hmp);
		break;
	case CTRL('a'):
		move_cursor(hmp, 0);
		break;
	case CTRL('e'):
		move_cursor(hmp, hmp->line->len);
		break;
	case CTRL('k'):
		erase(hmp, hmp->cursor, hmp->line->len);
		break;
	case CTRL('u'):
		erase(hmp, 0, hmp->cursor);
		break;
	case CTRL('w'):
		erase_word(hmp);
		break;
	case CTRL('p'):
		step_history(hmp, -1);
		break;
	case CTRL('n'):
		step_history(hmp, 1);
		break;
	case CTRL('l'):
		put(hmp, "\033[2J\033[H");
		redraw(hmp);
		break;
	case '\t':
		complete(hmp);
		break;
	case CTRL('h'):
	case 0x7f:
		if (hmp->cursor > 0)
			erase(hmp, hmp->cursor - 1, hmp->cursor);
		break;
	case 0x1b:
		hmp->input_state = ESCAPE;
		break;
	}
}

static void take_byte(struct hmp_session *hmp, char c)
{
	if (hmp->input_state == ESCAPE) {
		hmp->input_state = c == '[' || c == 'O' ? CSI : PLAIN;
		hmp->csi_number = 0;
	} else if (hmp->input_state == CSI) {
		take_csi(hmp, c);
	} else if ((unsigned char)c < 0x20 || c == 0x7f) {
		take_control(hmp, c);
	} else if (hmp->line->len < LINE_MAX_LENGTH) {
		g_string_insert_c(hmp->line, hmp->cursor++, c);
		if (hmp->cursor == hmp->line->len)
			session_write(&hmp->base, &c, 1);
		else
			redraw(hmp);
	}
	hmp->after_return = c == '\r';
}

static void greet(struct hmp_session *hmp)
{
	hmp->greeted = true;
	g_autofree char *banner =
		g_strdup_printf("%s monitor - type 'help' for more information\r\n" PROMPT,
				hmp->base.server->package);
	put(hmp, banner);
}

static void hmp_input(struct session *session, const char *data, size_t length)
{
	struct hmp_session *hmp = (struct hmp_session *)session;
	if (!hmp->greeted)
		greet(hmp);
	for (size_t i = 0; i < length; i++)
		take_byte(hmp, data[i]);
}

/* On a stream that is shared with a serial port, nothing is shown until Ctrl-a c. */
static void hmp_opened(struct session *session)
{
	if (!chardev_is_mux(session->chr))
		greet((struct hmp_session *)session);
}

static void hmp_focused(struct session *session)
{
	struct hmp_session *hmp = (struct hmp_session *)session;
	put(hmp, "\r\n");
	if (hmp->greeted)
		redraw(hmp);
	else
		greet(hmp);
}

static void hmp_closed(struct session *session)
{
	struct hmp_session *hmp = (struct hmp_session *)session;
	g_string_truncate(hmp->line, 0);
	hmp->cursor = 0;
	hmp->input_state = PLAIN;
	hmp->greeted = false;
}

static void hmp_free(struct session *session)
{
	struct hmp_session *hmp = (struct hmp_session *)session;
	g_string_free(hmp->line, TRUE);
	g_ptr_array_unref(hmp->history);
	g_free(hmp);
}

struct session *hmp_session_new(void)
{
	struct hmp_session *hmp = g_new0(struct hmp_session, 1);
	hmp->base = (struct session){
		.opened = hmp_opened,
		.closed = hmp_closed,
		.focused = hmp_focused,
		.input = hmp_input,
		.free = hmp_free,
	};
	hmp->line = g_string_new(NULL);
	hmp->history = g_ptr_array_new_with_free_func(g_free);
	return &hmp->base;
}
