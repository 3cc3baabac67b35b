/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One stream shared by several users (serial port and monitor on a terminal). Output of all goes
 * out; input goes to the user in focus. Ctrl-a is the escape key, as in QEMU:
 *   h help   x quit   c next user   b break   t time stamps   Ctrl-a a literal Ctrl-a
 */
#include "base/lock.h"
#include "chardev/internal.h"

#include <stdio.h>
#include <string.h>

#define MUX_USERS 4
#define MUX_ESCAPE 0x01
/* Input that waits for a user: so much is read ahead, so that Ctrl-a x gets through to us. */
#define MUX_READ_AHEAD (64 * 1024)

struct mux {
	struct chardev chr;
	struct chardev *base;
	struct chardev_user users[MUX_USERS];
	GByteArray *waiting[MUX_USERS]; /* input that the user has no room for yet */
	unsigned count, focus;
	bool escaped; /* Ctrl-a was the last byte */
	void (*quit)(void *opaque);
	void *quit_opaque;
	pthread_mutex_t lock; /* time stamps' state */
	bool stamps, line_start;
	int64_t stamps_since;
};

static struct mux *mux_of(struct chardev *chr)
{
	return (struct mux *)chr;
}

static size_t mux_can_read(void *opaque)
{
	struct mux *mux = opaque;
	return mux->count ? MUX_READ_AHEAD - mux->waiting[mux->focus]->len : 0;
}

/* Give a user what waits for it, as far as it has room. Loop's thread. */
static void pass_on(struct mux *mux, unsigned index)
{
	const struct chardev_user *user = &mux->users[index];
	GByteArray *waiting = mux->waiting[index];
	while (waiting->len && user->read && user->can_read) {
		size_t room = MIN(user->can_read(user->opaque), waiting->len);
		if (!room)
			return;
		/* The user may cause more input: it must not see these bytes again. */
		g_autofree uint8_t *data = g_memdup2(waiting->data, room);
		g_byte_array_remove_range(waiting, 0, room);
		user->read(user->opaque, data, room);
		if (index >= mux->count || mux->waiting[index] != waiting)
			return; /* it has left */
	}
}

static void print_help(struct mux *mux)
{
	static const char text[] = "\r\n"
				   "Ctrl-a h    this help\r\n"
				   "Ctrl-a x    end the virtual machine\r\n"
				   "Ctrl-a c    switch between console and monitor\r\n"
				   "Ctrl-a b    send a break (magic SysRq)\r\n"
				   "Ctrl-a t    toggle time stamps\r\n"
				   "Ctrl-a Ctrl-a    send Ctrl-a\r\n";
	chardev_write(mux->base, text, sizeof(text) - 1);
}

static void move_focus(struct mux *mux)
{
	if (mux->count < 2)
		return;
	mux->focus = (mux->focus + 1) % mux->count;
	struct chardev_user *user = &mux->users[mux->focus];
	if (user->event)
		user->event(user->opaque, CHARDEV_FOCUS);
}

static void toggle_stamps(struct mux *mux)
{
	LOCK_SCOPE(&mux->lock);
	mux->stamps = !mux->stamps;
	mux->line_start = true;
	mux->stamps_since = aio_now_ns();
}

/* The byte after Ctrl-a. True if it is to be passed on. */
static bool command(struct mux *mux, uint8_t byte)
{
	struct chardev_user *user = &mux->users[mux->focus];
	switch (byte) {
	case MUX_ESCAPE:
		return true;
	case 'h':
	case '?':
		print_help(mux);
		break;
	case 'x':
		if (mux->quit)
			mux->quit(mux->quit_opaque);
		break;
	case 'c':
		move_focus(mux);
		break;
	case 'b':
		if (mux->count && user->event)
			user->event(user->opaque, CHARDEV_BREAK);
		break;
	case 't':
		toggle_stamps(mux);
		break;
	}
	return false;
}

static void mux_read(void *opaque, const uint8_t *data, size_t length)
{
	struct mux *mux = opaque;
	for (size_t i = 0; i < length; i++) {
		if (mux->escaped) {
			mux->escaped = false;
			if (!command(mux, data[i]))
				continue;
		} else if (data[i] == MUX_ESCAPE) {
			mux->escaped = true;
			continue;
		}
		if (mux->count)
			g_byte_array_append(mux->waiting[mux->focus], &data[i], 1);
	}
	for (unsigned i = 0; i < mux->count; i++)
		pass_on(mux, i);
}

static void mux_event(void *opaque, enum chardev_event event)
{
	struct mux *mux = opaque;
	mux->chr.open = chardev_is_open(mux->base);
	for (unsigned i = 0; i < mux->count; i++) {
		if (mux->users[i].event)
			mux->users[i].event(mux->users[i].opaque, event);
	}
}

static void mux_writable(void *opaque)
{
	struct mux *mux = opaque;
	for (unsigned i = 0; i < mux->count; i++) {
		if (mux->users[i].writable)
			mux->users[i].writable(mux->users[i].opaque);
	}
}

static size_t write_with_stamps(struct mux *mux, const char *data, size_t length)
{
	for (size_t i = 0; i < length; i++) {
		if (mux->line_start) {
			char stamp[32];
			int64_t ms = (aio_now_ns() - mux->stamps_since) / 1000000;
			int n = snprintf(stamp, sizeof(stamp), "[%6lld.%03lld] ", (long long)ms / 1000,
					 (long long)ms % 1000);
			chardev_write(mux->base, stamp, n);
			mux->line_start = false;
		}
		if (chardev_write(mux->base, &data[i], 1) == 0)
			return i;
		mux->line_start = data[i] == '\n';
	}
	return length;
}

static size_t mux_write(struct chardev *chr, const void *data, size_t length)
{
	struct mux *mux = mux_of(chr);
	LOCK_SCOPE(&mux->lock);
	if (mux->stamps)
		return write_with_stamps(mux, data, length);
	return chardev_write(mux->base, data, length);
}

static void mux_update_input(struct chardev *chr)
{
	struct mux *mux = mux_of(chr);
	for (unsigned i = 0; i < mux->count; i++)
		pass_on(mux, i);
	chardev_accept_input(mux->base);
}

static void mux_free(struct chardev *chr)
{
	struct mux *mux = mux_of(chr);
	chardev_free(mux->base);
	for (unsigned i = 0; i < MUX_USERS; i++)
		g_byte_array_unref(mux->waiting[i]);
	pthread_mutex_destroy(&mux->lock);
	g_free(mux);
}

const struct chardev_ops chardev_mux = {
	.type = "mux",
	.write = mux_write,
	.update_input = mux_update_input,
	.free = mux_free,
};

struct chardev *chardev_mux_new(struct chardev *base, const char *id)
{
	struct mux *mux = g_new0(struct mux, 1);
	chardev_init(&mux->chr, &chardev_mux, base->loop, g_strdup(base->description));
	mux->chr.id = g_strdup(id);
	mux->base = base;
	for (unsigned i = 0; i < MUX_USERS; i++)
		mux->waiting[i] = g_byte_array_new();
	pthread_mutex_init(&mux->lock, NULL);
	const struct chardev_user user = {mux_can_read, mux_read, mux_event, mux_writable, mux};
	/* Cannot fail: the base was made for this mux and has no user. */
	chardev_attach(base, &user, NULL);
	mux->chr.open = base->open;
	return &mux->chr;
}

bool chardev_mux_attach(struct chardev *chr, const struct chardev_user *user)
{
	struct mux *mux = mux_of(chr);
	if (mux->count == MUX_USERS)
		return false;
	mux->users[mux->count++] = *user;
	if (chr->open && user->event)
		user->event(user->opaque, CHARDEV_OPENED);
	mux_update_input(chr);
	return true;
}

void chardev_mux_detach(struct chardev *chr, void *opaque)
{
	struct mux *mux = mux_of(chr);
	for (unsigned i = 0; i < mux->count; i++) {
		if (mux->users[i].opaque != opaque)
			continue;
		GByteArray *waiting = mux->waiting[i];
		g_byte_array_set_size(waiting, 0);
		memmove(&mux->users[i], &mux->users[i + 1],
			(mux->count - i - 1) * sizeof(mux->users[0]));
		memmove(&mux->waiting[i], &mux->waiting[i + 1],
			(mux->count - i - 1) * sizeof(mux->waiting[0]));
		mux->count--;
		mux->waiting[mux->count] = waiting;
		if (mux->focus > i || mux->focus == mux->count)
			mux->focus = mux->focus ? mux->focus - 1 : 0;
		return;
	}
}

void chardev_mux_set_quit(struct chardev *chr, void (*quit)(void *opaque), void *opaque)
{
	if (!chardev_is_mux(chr))
		return;
	mux_of(chr)->quit = quit;
	mux_of(chr)->quit_opaque = opaque;
}
