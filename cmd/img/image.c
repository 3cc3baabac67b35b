/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Images by name, options of -o, sizes: see image.h. */
#include "image.h"

#include "aio/loop.h"
#include "base/error.h"
#include "base/units.h"
#include "block/core/fiber.h"
#include "block/core/object.h"
#include "codec/keyval.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

void image_env_init(struct image_env *env)
{
	*env = (struct image_env){.objects = g_ptr_array_new()};
	env->loop = aio_loop_new(NULL);
	env->graph = block_graph_new(env->loop);
}

void image_env_clear(struct image_env *env)
{
	g_ptr_array_unref(env->objects);
	block_graph_free(env->graph);
	aio_loop_free(env->loop);
}

const char *const *image_format_names(void)
{
	return block_format_names();
}

bool image_format_known(const char *format)
{
	g_autofree const char **names = block_format_names();
	return g_strv_contains(names, format);
}

bool image_cache_valid(const char *cache)
{
	static const char *const modes[] = {"none", "off", "writeback", "writethrough", "directsync",
					    "unsafe", NULL};
	return !cache || g_strv_contains(modes, cache);
}

bool image_parse_size(const char *text, uint64_t *bytes)
{
	/* units.h also takes "10MB" and "10MiB", which qemu-img refuses. */
	size_t n = strlen(text);
	if (n > 1 && (text[n - 1] == 'B' || text[n - 1] == 'b') && !g_ascii_isdigit(text[n - 2]))
		return false;
	return units_parse_size(text, 1, bytes, NULL);
}

static bool add_object(struct image_env *env, const struct keyval *object, GError **error)
{
	const char *id = keyval_get(object, "id");
	json_t *dict = json_object();
	if (!id)
		return error_set(error, BERTH_ERR_INVALID, "Parameter 'id' is missing");
	for (unsigned i = 0; i < keyval_count(object); i++)
		json_object_set_new(dict, object->keys->pdata[i], json_string(object->values->pdata[i]));
	json_object_del(dict, "qom-type");
	json_object_del(dict, "id");
	bool good = block_object_add(env->graph, keyval_get(object, "qom-type"), id, dict, error);
	json_decref(dict);
	return good;
}

bool image_env_objects(struct image_env *env)
{
	for (unsigned i = 0; i < env->objects->len; i++) {
		g_autoptr(GError) error = NULL;
		auto_keyval object = keyval_parse_any(env->objects->pdata[i], "qom-type", &error);
		const char *type = object ? keyval_get(object, "qom-type") : NULL;
		if (!object)
			return !img_fail("%s", error->message);
		if (!type || !block_object_type_known(type))
			return !img_fail("Parameter 'qom-type' does not accept value '%s'",
					 type ? type : "");
		if (!add_object(env, object, &error))
			return !img_fail("%s", error->message);
	}
	return true;
}

/* "cannot open the disk image 'NAME' (...): REASON" in qemu-img's words; NULL: it is something else. */
static char *reword_missing(const char *text)
{
	static const char head[] = "cannot open the disk image '";
	const char *name = g_str_has_prefix(text, head) ? text + strlen(head) : NULL;
	const char *end = name ? strchr(name, '\'') : NULL, *colon = strrchr(text, ':');
	if (!end || !colon || colon < end)
		return NULL;
	return g_strdup_printf("Could not open '%.*s': %s", (int)(end - name), name, colon + 2);
}

/* A backing file of a chain that is not there: the last one's reason, behind QEMU's words for each. */
static char *reword_backing(const char *text)
{
	static const char mark[] = ": its backing file cannot be opened: ";
	const char *at = strstr(text, mark);
	if (!at)
		return reword_missing(text);
	g_autofree char *rest = reword_backing(at + strlen(mark));
	return rest ? g_strconcat("Could not open backing file: ", rest, NULL) : NULL;
}

/*
 * The reasons that scripts look for, in qemu-img's words: a missing or forbidden file, an image in
 * use, an unknown format. What we know more of is said as it is.
 */
static void reword(const char *name, const char *format, GError **error)
{
	if (!error || !*error)
		return;
	const char *text = (*error)->message, *colon = strrchr(text, ':');
	g_autofree char *backing = strstr(text, ": its backing file") ? reword_backing(text) : NULL;
	if (format && !image_format_known(format))
		g_clear_error(error), g_set_error(error, BERTH_ERROR, BERTH_ERR_NOT_SUPPORTED,
						  "Unknown driver '%s'", format);
	else if (g_error_matches(*error, BERTH_ERROR, BERTH_ERR_BUSY) && strstr(text, "is in use by"))
		g_clear_error(error), g_set_error(error, BERTH_ERROR, BERTH_ERR_BUSY,
						  "Failed to get \"write\" lock\nIs another process using the "
						  "image [%s]?", name);
	else if (backing)
		g_clear_error(error), g_set_error(error, BERTH_ERROR, BERTH_ERR_IO, "%s", backing);
	else if (g_str_has_prefix(text, "cannot open the disk image") && colon) {
		g_autofree char *reason = g_strdup(colon + 2);
		g_clear_error(error);
		g_set_error(error, BERTH_ERROR, BERTH_ERR_IO, "Could not open '%s': %s", name, reason);
	}
}

static bool is(const char *cache, const char *a, const char *b)
{
	return cache && (g_str_equal(cache, a) || (b && g_str_equal(cache, b)));
}

struct block_node *image_try_open(struct image_env *env, const char *name, const char *format,
				  const char *cache, unsigned flags, GError **error)
{
	bool opts = flags & IMAGE_OPTS_NAME || (env->image_opts && !(flags & IMAGE_PLAIN_NAME));
	bool shared = env->force_share || flags & IMAGE_SHARED;
	json_t *dict = NULL;
	if (opts && !(dict = block_parse_image_opts(name, error)))
		return NULL;
	struct block_open_options options = {
		.filename = opts ? NULL : name,
		.graph = env->graph,
		.format = opts ? NULL : format,
		.dict = dict,
		.readonly = !(flags & IMAGE_WRITE),
		.force_share = shared && !(flags & IMAGE_WRITE),
		.no_backing = flags & IMAGE_NO_BACKING,
		.check_later = flags & IMAGE_FOR_CHECK,
		.locked = flags & IMAGE_LOCKED,
		.legacy_aes = true,
		.aio = env->threads ? BLOCK_AIO_THREADS : BLOCK_AIO_URING,
		.discard = flags & (IMAGE_UNMAP | IMAGE_WRITE),
		.direct = is(cache, "none", "off") || is(cache, "directsync", NULL),
		.writethrough = is(cache, "writethrough", "directsync"),
		.no_flush = is(cache, "unsafe", NULL),
	};
	g_autoptr(GError) why = NULL;
	struct block_node *node = block_open(&options, env->loop, &why);
	json_decref(dict);
	if (!node) {
		reword(name, opts ? NULL : format, &why);
		g_propagate_error(error, g_steal_pointer(&why));
	}
	return node;
}

struct block_node *image_open(struct image_env *env, const char *name, const char *format,
			      const char *cache, unsigned flags)
{
	g_autoptr(GError) error = NULL;
	bool opts = flags & IMAGE_OPTS_NAME || (env->image_opts && !(flags & IMAGE_PLAIN_NAME));
	if (opts && format) {
		img_fail("--image-opts and --format are mutually exclusive");
		return NULL;
	}
	struct block_node *node = image_try_open(env, name, format, cache, flags, &error);
	if (!node)
		img_fail("Could not open '%s': %s", name, error->message);
	return node;
}

/* --- -l -------------------------------------------------------------------------------------------- */

static bool find_snapshot(struct block_node *node, const char *param, GError **error)
{
	/* An id comes first: names may look like one. */
	return block_snapshot_view(node, param, NULL, NULL) || block_snapshot_view(node, NULL, param, error);
}

static bool parse_snapshot(const char *param, struct keyval **kv)
{
	*kv = keyval_parse(param, NULL, NULL);
	for (unsigned i = 0; *kv && i < keyval_count(*kv); i++) {
		const char *key = (*kv)->keys->pdata[i];
		if (g_str_equal(key, "snapshot.id") || g_str_equal(key, "snapshot.name"))
			continue;
		img_fail("Invalid parameter '%s'", key);
		g_clear_pointer(kv, keyval_free);
	}
	return *kv || !img_fail("Failed in parsing snapshot param '%s'", param);
}

bool image_show_snapshot(struct block_node *node, const char *param)
{
	g_autoptr(GError) error = NULL;
	bool good;
	if (g_str_has_prefix(param, "snapshot.")) {
		struct keyval *kv;
		if (!parse_snapshot(param, &kv))
			return false;
		good = block_snapshot_view(node, keyval_get(kv, "snapshot.id"), keyval_get(kv, "snapshot.name"),
					   &error);
		keyval_free(kv);
	} else {
		good = find_snapshot(node, param, &error);
	}
	return good || !img_fail("Failed to load snapshot: %s", error->message);
}

/* --- -o ------------------------------------------------------------------------------------------- */

bool image_parse_options(const GPtrArray *lists, json_t **options, bool *help)
{
	*options = json_object();
	*help = false;
	for (unsigned i = 0; i < lists->len; i++) {
		g_autoptr(GError) error = NULL;
		auto_keyval kv = keyval_parse(lists->pdata[i], NULL, &error);
		if (!kv) {
			img_fail("%s", error->message);
			return false;
		}
		for (unsigned k = 0; k < keyval_count(kv); k++) {
			const char *key = kv->keys->pdata[k];
			bool bare = kv->bare->data[k];
			if (bare && (g_str_equal(key, "help") || g_str_equal(key, "?")))
				*help = true;
			else
				json_object_set_new(*options, key, json_string(kv->values->pdata[k]));
		}
	}
	return true;
}

const char *image_option(const json_t *options, const char *name)
{
	return json_string_value(json_object_get(options, name));
}

/* --- bytes and extents ----------------------------------------------------------------------------- */

bool image_is_zero(const void *bytes, uint64_t length)
{
	const uint8_t *p = bytes;
	/* Most data differs from zero near its beginning; the rest is memcmp's vector loop. */
	uint64_t head = MIN(length, 16);
	for (uint64_t i = 0; i < head; i++) {
		if (p[i])
			return false;
	}
	return length <= 16 || memcmp(p, p + 16, length - 16) == 0;
}

bool image_same_file(const char *a, const char *b)
{
	struct stat x, y;
	return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

struct waiting {
	struct block_request request;
	struct fiber *fiber;
	bool done;
	int result;
};

static void request_done(struct block_request *request, int result)
{
	struct waiting *waiting = (struct waiting *)request;
	waiting->done = true;
	waiting->result = result;
	if (waiting->fiber)
		fiber_resume(waiting->fiber);
}

int image_request(struct block_node *node, enum block_op op, unsigned flags, uint64_t offset,
		  void *bytes, uint64_t length)
{
	struct iovec iov = {bytes, length};
	struct waiting waiting = {
		.request = {.op = op, .flags = flags, .offset = offset, .length = length, .iov = &iov,
			    .iov_count = bytes ? 1 : 0, .done = request_done},
	};
	block_submit(node, &waiting.request);
	if (!waiting.done && fiber_self()) {
		waiting.fiber = fiber_self();
		fiber_yield();
	} else {
		block_drain(node);
	}
	return waiting.result;
}

bool image_read_padded(struct block_node *node, uint64_t offset, void *bytes, uint64_t length,
		       GError **error)
{
	uint64_t size = block_size(node);
	uint64_t there = offset < size ? MIN(length, size - offset) : 0;
	memset((uint8_t *)bytes + there, 0, length - there);
	return there == 0 || block_read_sync(node, offset, bytes, there, error);
}

static bool same_kind(const struct block_extent *a, unsigned depth_a, const struct block_extent *b,
		      unsigned depth_b)
{
	if (a->flags != b->flags || depth_a != depth_b || a->file != b->file)
		return false;
	return !(a->flags & BLOCK_STATUS_OFFSET) || a->host_offset + a->length == b->host_offset;
}

bool image_chain_status(struct block_node *node, uint64_t offset, uint64_t length,
			struct block_extent *extent, unsigned *depth, GError **error)
{
	int rc = block_status_above(node, NULL, offset, length, extent, depth);
	while (rc == 0 && extent->length < length) {
		struct block_extent next;
		unsigned next_depth;
		uint64_t done = extent->length;
		rc = block_status_above(node, NULL, offset + done, length - done, &next, &next_depth);
		if (rc < 0 || !same_kind(extent, *depth, &next, next_depth))
			break;
		extent->length += next.length;
	}
	if (rc == 0 || extent->length)
		return true;
	return error_set_errno(error, -rc, "Failed to get block status");
}
