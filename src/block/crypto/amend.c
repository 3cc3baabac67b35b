/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Adding and erasing passwords of LUKS 1 volumes, with the checks and words of qemu-img amend. A
 * slot's stripes are on disk before the header calls it active, and it is inactive on disk before
 * they are destroyed: a crash leaves every other password as it was.
 */
#include "block/crypto/volume.h"

#include "aio/pool.h"
#include "base/error.h"
#include "block/core/object.h"
#include "block/core/options.h"

#include <errno.h>
#include <string.h>

#define NO_SLOT UINT64_MAX

struct change {
	struct crypto_volume *volume;
	struct block_graph *graph;
	int active; /* -1: not said */
	char *secret; /* proves that who asks knows a password; NULL: that the volume is open is enough */
	char *new_secret, *old_secret;
	uint64_t slot, iter_ms;
	bool has_iter, force;
};

static bool refuse(GError **error, const char *why)
{
	return error_set(error, BERTH_ERR_INVALID, "%s", why);
}

static struct luks_slot *slot_of(const struct change *c, uint64_t number)
{
	return &c->volume->header.slots[number];
}

static uint64_t place_of(const struct change *c, uint64_t number)
{
	return c->volume->offset + (uint64_t)slot_of(c, number)->offset * CRYPTO_SECTOR;
}

static unsigned count_active(const struct change *c)
{
	unsigned count = 0;
	for (unsigned i = 0; i < LUKS_SLOTS; i++)
		count += slot_of(c, i)->active;
	return count;
}

static bool write_header(const struct change *c, GError **error)
{
	uint8_t b[LUKS_HEADER_SIZE];
	luks_encode(&c->volume->header, b);
	return block_write_sync(c->volume->file, c->volume->offset, b, sizeof(b), error) &&
	       block_flush_sync(c->volume->file, error);
}

static bool check_number(const struct change *c, GError **error)
{
	return c->slot < LUKS_SLOTS ||
	       error_set(error, BERTH_ERR_INVALID,
			 "Invalid keyslot %" G_GUINT64_FORMAT " specified, must be between 0 and %d", c->slot,
			 LUKS_SLOTS - 1);
}

/* --- erasing --------------------------------------------------------------------------------------------*/

static bool erase(struct change *c, uint64_t number, GError **error)
{
	struct luks_slot *slot = slot_of(c, number);
	uint64_t length = luks_material_bytes(&c->volume->header);
	g_autofree uint8_t *noise = g_malloc(length);
	uint64_t place = place_of(c, number);
	*slot = (struct luks_slot){.offset = slot->offset, .stripes = slot->stripes};
	return write_header(c, error) && luks_random(noise, length, error) &&
	       block_write_sync(c->volume->file, place, noise, length, error) &&
	       block_flush_sync(c->volume->file, error);
}

static bool erase_one(struct change *c, GBytes *old, GError **error)
{
	uint8_t key[LUKS_KEY_MAX];
	if (!check_number(c, error))
		return false;
	int found = old ? crypto_volume_try(c->volume, c->slot, old, key, error) : 1;
	gnutls_memset(key, 0, sizeof(key));
	if (found < 0)
		return false;
	if (!found)
		return error_set(error, BERTH_ERR_INVALID,
				 "Given keyslot %" G_GUINT64_FORMAT " doesn't contain the given old password for "
				 "erase operation", c->slot);
	if (!c->force && !slot_of(c, c->slot)->active)
		return error_set(error, BERTH_ERR_INVALID,
				 "Given keyslot %" G_GUINT64_FORMAT " is already erased (inactive) ", c->slot);
	if (!c->force && count_active(c) == 1)
		return error_set(error, BERTH_ERR_INVALID,
				 "Attempt to erase the only active keyslot %" G_GUINT64_FORMAT " which will erase "
				 "all the data in the image irreversibly - refusing operation", c->slot);
	return erase(c, c->slot, error);
}

/* Every slot that the password opens. */
static bool erase_matching(struct change *c, GBytes *old, GError **error)
{
	bool matches[LUKS_SLOTS];
	unsigned count = 0;
	uint8_t key[LUKS_KEY_MAX];
	for (unsigned i = 0; i < LUKS_SLOTS; i++) {
		int found = crypto_volume_try(c->volume, i, old, key, error);
		gnutls_memset(key, 0, sizeof(key));
		if (found < 0)
			return false;
		matches[i] = found;
		count += found;
	}
	if (!count)
		return refuse(error, "No keyslots match given (old) password for erase operation");
	if (!c->force && count == count_active(c))
		return refuse(error, "All the active keyslots match the (old) password that was given and "
				     "erasing them will erase all the data in the image irreversibly - refusing "
				     "operation");
	for (unsigned i = 0; i < LUKS_SLOTS; i++)
		if (matches[i] && !erase(c, i, error))
			return false;
	return true;
}

static bool deactivate(struct change *c, GError **error)
{
	if (c->new_secret)
		return refuse(error, "'new-secret' must not be given when erasing keyslots");
	if (c->has_iter)
		return refuse(error, "'iter-time' must not be given when erasing keyslots");
	if (c->slot == NO_SLOT && !c->old_secret)
		return refuse(error, "To erase keyslot(s), either explicit keyslot index or the password "
				     "currently contained in them must be given");
	GBytes *old = c->old_secret
			      ? block_object_take(c->graph, c->old_secret, BLOCK_OBJECT_SECRET, error) : NULL;
	if (c->old_secret && !old)
		return false;
	bool good = (c->slot != NO_SLOT ? erase_one : erase_matching)(c, old, error);
	if (old)
		g_bytes_unref(old);
	return good;
}

/* --- adding -----------------------------------------------------------------------------------------------*/

struct fill {
	const struct change *change;
	struct luks_slot slot;
	GBytes *password;
	uint8_t *material;
	bool good;
	GError **error;
};

static void fill_work(void *opaque)
{
	struct fill *f = opaque;
	const struct crypto_volume *v = f->change->volume;
	gsize length;
	const void *password = g_bytes_get_data(f->password, &length);
	f->good = luks_fill_slot(&v->header, &f->slot, crypto_cipher_key(v->cipher), password, length,
				 f->change->iter_ms, f->material, f->error);
}

static bool fill(struct change *c, GBytes *password, GError **error)
{
	struct crypto_volume *v = c->volume;
	uint64_t length = luks_material_bytes(&v->header);
	g_autofree uint8_t *material = g_malloc0(length);
	struct fill f = {.change = c, .slot = *slot_of(c, c->slot), .password = password,
			 .material = material, .error = error};
	fiber_on_pool(v->pool, v->file->loop, fill_work, &f);
	/* A slot in use must not hold another password's stripes for a moment. */
	bool good = f.good && (!slot_of(c, c->slot)->active || erase(c, c->slot, error)) &&
		    block_write_sync(v->file, place_of(c, c->slot), material, length, error) &&
		    block_flush_sync(v->file, error);
	if (!good)
		return false;
	*slot_of(c, c->slot) = f.slot;
	return write_header(c, error);
}

static bool choose_slot(struct change *c, GError **error)
{
	if (c->slot != NO_SLOT) {
		if (!check_number(c, error))
			return false;
		if (slot_of(c, c->slot)->active && !c->force)
			return error_set(error, BERTH_ERR_INVALID,
					 "Refusing to overwrite active keyslot %" G_GUINT64_FORMAT " - please "
					 "erase it first", c->slot);
		return true;
	}
	for (c->slot = 0; c->slot < LUKS_SLOTS && slot_of(c, c->slot)->active;)
		c->slot++;
	return c->slot < LUKS_SLOTS || refuse(error, "Can't add a keyslot - all keyslots are in use");
}

/* QEMU has to take the volume's key out of a slot; here it is in memory. */
static bool check_secret(const struct change *c, GError **error)
{
	if (!c->secret)
		return true;
	uint8_t key[LUKS_KEY_MAX];
	int slot = crypto_volume_find_slot(c->volume, c->graph, c->secret, key, error);
	gnutls_memset(key, 0, sizeof(key));
	return slot >= 0;
}

static bool activate(struct change *c, GError **error)
{
	if (!c->new_secret)
		return refuse(error, "'new-secret' is required to activate a keyslot");
	if (c->old_secret)
		return refuse(error, "'old-secret' must not be given when activating keyslots");
	if (!choose_slot(c, error) || !check_secret(c, error))
		return false;
	/* An unused slot of a foreign header may lie anywhere. */
	if (place_of(c, c->slot) + luks_material_bytes(&c->volume->header) >
	    c->volume->offset + c->volume->payload || slot_of(c, c->slot)->offset < 2)
		return refuse(error, "the keyslot's place is not between the header and the data");
	GBytes *password = block_object_take(c->graph, c->new_secret, BLOCK_OBJECT_SECRET, error);
	bool good = password && fill(c, password, error);
	if (password)
		g_bytes_unref(password);
	return good;
}

/* --- options ----------------------------------------------------------------------------------------------*/

static bool take_change(json_t *options, const char *prefix, struct change *c, GError **error)
{
	static const char *const states[] = {"inactive", "active", NULL};
	static const char *const names[] = {"state", "new-secret", "old-secret", "keyslot", "iter-time", "secret"};
	char *keys[G_N_ELEMENTS(names)];
	for (unsigned i = 0; i < G_N_ELEMENTS(names); i++)
		keys[i] = g_strconcat(prefix, names[i], NULL);
	c->has_iter = json_object_get(options, keys[4]);
	g_autofree char *state = block_take_string(options, keys[0]);
	c->new_secret = block_take_string(options, keys[1]);
	c->old_secret = block_take_string(options, keys[2]);
	c->secret = block_take_string(options, keys[5]);
	bool good = block_take_size(options, keys[3], &c->slot, error) &&
		    block_take_size(options, keys[4], &c->iter_ms, error);
	for (unsigned i = 0; i < G_N_ELEMENTS(names); i++)
		g_free(keys[i]);
	if (!good)
		return false;
	if (!state)
		return error_set(error, BERTH_ERR_INVALID, "Parameter 'state' is missing");
	for (int i = 0; states[i]; i++)
		if (strcmp(state, states[i]) == 0)
			c->active = i;
	if (c->active < 0)
		return error_set(error, BERTH_ERR_INVALID, "Parameter 'state' does not accept value '%s'",
				 state);
	return (c->iter_ms >= 1 && c->iter_ms <= 60000) ||
	       error_set(error, BERTH_ERR_INVALID, "%siter-time is 1 to 60000 ms", prefix);
}

bool crypto_volume_amend(struct crypto_volume *v, struct block_graph *graph, json_t *options,
			 const char *prefix, bool force, GError **error)
{
	struct change c = {.volume = v, .graph = graph, .slot = NO_SLOT, .iter_ms = 2000, .active = -1,
			   .force = force};
	bool good = take_change(options, prefix, &c, error);
	if (good && v->header2)
		good = error_set(error, BERTH_ERR_NOT_SUPPORTED,
				 "the key slots of LUKS 2 volumes are not changed here: use cryptsetup "
				 "luksAddKey or luksKillSlot");
	good = good && (c.active ? activate : deactivate)(&c, error);
	g_free(c.secret);
	g_free(c.new_secret);
	g_free(c.old_secret);
	return good;
}
