/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Opening images as the command line names them, and what all subcommands share of the block layer. */
#pragma once

#include "img.h"

#include "block/core/image.h"
#include "block/core/options.h"

struct aio_loop;

/* What the options common to all subcommands say. Zero-initialise; image_setup() before use. */
struct image_env {
	struct aio_loop *loop;
	GPtrArray *objects; /* --object, as given */
	struct block_graph *graph; /* of all nodes and objects */
	bool image_opts, force_share, quiet, progress;
	bool threads; /* requests go through threads, not io_uring */
};

/* Rows for an option table. */
#define IMAGE_OBJECT_ROW(env)                                                                      \
	{0, "object", OPTION_LIST, &(env).objects, "OBJECT",                                       \
	 "secret,id=ID,data=PASSWORD (or file=PATH), or tls-creds-x509,id=ID,dir=FOLDER"}
#define IMAGE_OPTS_ROW(env)                                                                        \
	{0, "image-opts", OPTION_FLAG, &(env).image_opts, NULL,                                    \
	 "the name is options, as driver=qcow2,file.filename=PATH"}
#define IMAGE_SHARE_ROW(env)                                                                       \
	{'U', "force-share", OPTION_FLAG, &(env).force_share, NULL,                                \
	 "open although another process uses it; what is read may be out of date"}
#define IMAGE_QUIET_ROW(env) {'q', NULL, OPTION_FLAG, &(env).quiet, NULL, "print errors only"}
#define IMAGE_PROGRESS_ROW(env) {'p', NULL, OPTION_FLAG, &(env).progress, NULL, "show progress"}
#define IMAGE_END_ROW {0, NULL, OPTION_FLAG, NULL, NULL, NULL}

void image_env_init(struct image_env *env);
void image_env_clear(struct image_env *env);
/* Make the objects known. Prints a complaint. */
bool image_env_objects(struct image_env *env);

static inline void image_env_cleanup(struct image_env *env)
{
	image_env_clear(env);
}
#define auto_image_env __attribute__((cleanup(image_env_cleanup))) struct image_env

static inline void image_close_cleanup(struct block_node **node)
{
	block_close(*node);
}
/* `auto_node node = ...`: closed at the end of the scope. */
#define auto_node __attribute__((cleanup(image_close_cleanup))) struct block_node *

enum image_open_flags {
	IMAGE_WRITE = 1 << 0,
	IMAGE_NO_BACKING = 1 << 1,
	IMAGE_FOR_CHECK = 1 << 2,
	IMAGE_PLAIN_NAME = 1 << 3, /* --image-opts is not about this name */
	IMAGE_OPTS_NAME = 1 << 4,  /* --target-image-opts */
	IMAGE_UNMAP = 1 << 5,
	IMAGE_SHARED = 1 << 6,     /* as -U, for a name that it is not given for */
	IMAGE_LOCKED = 1 << 7,     /* without the key of an encrypted image: nothing of it is read */
};
/* cache: NULL or a mode that image_cache_valid() took. Prints a complaint and returns NULL. */
struct block_node *image_open(struct image_env *env, const char *name, const char *format,
			      const char *cache, unsigned flags);
/* As image_open(), with the reason in *error instead of on the terminal. */
struct block_node *image_try_open(struct image_env *env, const char *name, const char *format,
				  const char *cache, unsigned flags, GError **error);
bool image_cache_valid(const char *cache);
const char *const *image_format_names(void);
bool image_format_known(const char *format);
/* Digits with an optional fraction and suffix; no more than 63 bits. */
bool image_parse_size(const char *text, uint64_t *bytes);

/* -o lists to one object of strings; false after a complaint. *help: "help" or "?" was in it. */
bool image_parse_options(const GPtrArray *lists, json_t **options, bool *help);
const char *image_option(const json_t *options, const char *name); /* NULL: not given */
/* "ID_OR_NAME" or "snapshot.id=ID,snapshot.name=NAME": show it. Prints a complaint. */
bool image_show_snapshot(struct block_node *node, const char *param);
/* True if all bytes are zero. Fast. */
bool image_is_zero(const void *bytes, uint64_t length);
/* Do two names mean the same file? */
bool image_same_file(const char *a, const char *b);
/* Any request, and wait for it: on a fiber as fibers do. 0 or -errno. */
int image_request(struct block_node *node, enum block_op op, unsigned flags, uint64_t offset,
		  void *bytes, uint64_t length);
/* Read [offset, length) with zeroes behind the end of the image. 0 or -errno. */
bool image_read_padded(struct block_node *node, uint64_t offset, void *bytes, uint64_t length,
		       GError **error);
/* As block_status_above() over the whole chain, neighbours of the same kind merged. */
bool image_chain_status(struct block_node *node, uint64_t offset, uint64_t length,
			struct block_extent *extent, unsigned *depth, GError **error);
