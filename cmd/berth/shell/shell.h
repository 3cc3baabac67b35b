/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The shell: a connection, how to print, and what commands share. What is printed follows virsh:
 * results on standard output, "error: ..." on standard error, first what the command could not do,
 * then why, in the daemon's words.
 */
#pragma once

#include "client/calls.h"
#include "command.h"

#include "codec/xml.h"

#include <jansson.h>

struct shell {
	struct client *client; /* NULL until a command needs it */
	char *uri;             /* as given; NULL: the default */
	bool readonly, quiet, timing, interactive, json, quit;
	unsigned debug;
	int keepalive_interval, keepalive_count; /* as in struct client_options */
	const char *escape;    /* of the console: "^]" or one character */
	FILE *log;
	GError *error;         /* of the last call that failed */
	bool was_connected;    /* a lost connection is made anew */
};

/* --- Printing --------------------------------------------------------------------------------- */

void shell_print(const char *format, ...) G_GNUC_PRINTF(1, 2);
/* Left out with --quiet. */
void shell_extra(const struct shell *sh, const char *format, ...) G_GNUC_PRINTF(2, 3);
/* "error: ..."; returns false. */
bool shell_fail(struct shell *sh, const char *format, ...) G_GNUC_PRINTF(2, 3);
/* Forget the last call's error. */
void shell_forget_error(struct shell *sh);
/* Print the last call's error, if any. */
void shell_report(struct shell *sh);
/* Set the last call's error, as a library would. Returns false. */
bool shell_set_error(struct shell *sh, int code, const char *format, ...) G_GNUC_PRINTF(3, 4);
/* Where a call puts its error. */
GError **shell_error(struct shell *sh);
int shell_error_code(const struct shell *sh);

/* --- Running ---------------------------------------------------------------------------------- */

bool shell_connect(struct shell *sh, const char *uri, bool readonly, bool again);
/* Run the struct cmd's in order; the last one's success. */
bool shell_run(struct shell *sh, GPtrArray *cmds);
bool shell_interact(struct shell *sh);
/* help.c */
void help_overview(const char *program);

/* --- Calls ------------------------------------------------------------------------------------ */

/* CALL(sh, domain_create, dom) and GET(sh, domain_get_info, &ret, dom): false sets sh->error. */
#define CALL(sh, name, ...)                                                                        \
	call_##name((sh)->client, &(const struct remote_##name##_args){__VA_ARGS__},               \
		    shell_error(sh))
#define GET(sh, name, ret, ...)                                                                    \
	call_##name((sh)->client, &(const struct remote_##name##_args){__VA_ARGS__}, ret,          \
		    shell_error(sh))

/* --- Objects ---------------------------------------------------------------------------------- */

enum { BY_ID = 1, BY_UUID = 2, BY_NAME = 4, BY_ANY = 7 };
/*
 * The object that an option names; false after an error. *name is what was typed; NULL: not wanted.
 * Strings in the object live as long as results of calls.
 */
bool shell_domain(struct shell *sh, const struct cmd *cmd, const char **name,
		  struct remote_domain *dom);
bool shell_domain_by(struct shell *sh, const char *name, unsigned by, struct remote_domain *dom);
bool shell_network(struct shell *sh, const struct cmd *cmd, const char **name,
		   struct remote_network *network);
bool shell_network_by(struct shell *sh, const char *name, unsigned by, struct remote_network *network);
bool shell_pool(struct shell *sh, const struct cmd *cmd, const char *option, unsigned by,
		struct remote_storage_pool *pool);
bool shell_pool_by(struct shell *sh, const char *name, unsigned by, struct remote_storage_pool *pool);
bool shell_volume(struct shell *sh, const struct cmd *cmd, const char *option, const char *pool_option,
		  unsigned by, const char **name, struct remote_storage_vol *vol);
bool shell_interface(struct shell *sh, const struct cmd *cmd, const char *option, unsigned by,
		     const char **name, struct remote_interface *iface);
bool shell_secret(struct shell *sh, const struct cmd *cmd, const char **name,
		  struct remote_secret *secret);
bool shell_nwfilter(struct shell *sh, const struct cmd *cmd, const char **name,
		    struct remote_nwfilter *filter);
bool shell_nodedev(struct shell *sh, const struct cmd *cmd, const char **name,
		   struct remote_node_device *dev);
/* For virNodeDevice... of a name or of WWNN,WWPN. */
bool shell_nodedev_named(struct shell *sh, const char *name, struct remote_node_device *dev);

bool parse_uuid(const char *text, uint8_t uuid[16]);
#define UUID_TEXT 37
const char *format_uuid(const uint8_t uuid[16], char text[UUID_TEXT]);
/* "running", ...; the state of the domain or -1. `reason` may be NULL. */
int shell_domain_state(struct shell *sh, struct remote_domain dom, int *reason);
const char *domain_state_name(int state);

/* --- Files and XML ---------------------------------------------------------------------------- */

/* The whole file, at most 10 MiB; NULL after an error. Free with g_free(). */
char *shell_read_file(struct shell *sh, const char *path);
/* As shell_read_file() of the path that the option names. */
char *shell_option_file(struct shell *sh, const struct cmd *cmd, const char *option);
/* The XML of the domain, or NULL with the last error set. It lives as long as results of calls. */
char *shell_domain_xml(struct shell *sh, struct remote_domain dom, uint32_t flags);
/* Its document; free with xmlFreeDoc(). NULL with the last error set. */
xmlDoc *shell_domain_doc(struct shell *sh, struct remote_domain dom, uint32_t flags);
/* Print the XML, or what --xpath selects, as --wrap says. */
bool shell_show_xml(struct shell *sh, const struct cmd *cmd, const char *xml);
/* XPath: the text of the first match or NULL (g_free()), the number of matches with *nodes. */
char *xpath_text(xmlDoc *doc, xmlNode *at, const char *path);
GPtrArray *xpath_nodes(xmlDoc *doc, xmlNode *at, const char *path);
/* The node as XML text. Free with g_free(). */
char *xml_node_text(xmlDoc *doc, xmlNode *node);
/*
 * Let a person edit text. `fetch` gives the present XML, `define` takes the new one; both set the
 * last error. *changed is false if nothing was changed.
 */
struct edit {
	const char *(*fetch)(struct shell *sh, void *object);
	bool (*define)(struct shell *sh, void *object, const char *xml);
	void *object;
};
bool shell_edit(struct shell *sh, const struct edit *edit, bool *changed);
/* Let a person edit any text; NULL after an error. Free with g_free(). */
char *shell_edit_text(struct shell *sh, const char *text);

/* --- Tables ----------------------------------------------------------------------------------- */

struct table;
/* Column titles, then rows of as many cells; NULL ends each. */
struct table *table_new(const char *first, ...) G_GNUC_NULL_TERMINATED;
void table_row(struct table *table, ...) G_GNUC_NULL_TERMINATED;
/* Print it, as JSON with --output json, without the title with --quiet; and free it. */
void table_print(const struct shell *sh, struct table *table);
/* As lines of bare words, for scripts; with --output json as JSON too. */
void table_print_words(const struct shell *sh, struct table *table);
void table_free(struct table *table);
/* A tree as virsh draws it: `count` names, parents by index or -1. */
void tree_print(unsigned count, char *const *names, const int *parents);

/* --- Typed parameters ------------------------------------------------------------------------- */

/* The value as text. Free with g_free(). */
char *param_text(const struct xdr_param *param);
const struct xdr_param *param_find(const struct xdr_param *params, uint32_t count, const char *name);
bool param_u64(const struct xdr_param *params, uint32_t count, const char *name, uint64_t *value);
const char *param_string(const struct xdr_param *params, uint32_t count, const char *name);

struct params {
	GArray *array; /* struct xdr_param */
};
struct params params_new(void);
void params_clear(struct params *params);
void params_string(struct params *params, const char *name, const char *value);
void params_ulong(struct params *params, const char *name, uint64_t value);
void params_int(struct params *params, const char *name, int32_t value);
void params_uint(struct params *params, const char *name, uint32_t value);
void params_long(struct params *params, const char *name, int64_t value);
#define PARAMS(p) {(p).array->len, (struct xdr_param *)(p).array->data}

/* A size for people, as libvirt's tools print it: 2.00, "GiB". */
double scaled_size(uint64_t bytes, const char **unit);

/* --- Maps of CPUs ----------------------------------------------------------------------------- */

bool cpumap_has(const uint8_t *map, uint32_t size, unsigned cpu);
/* "0-3,5"; free with g_free(). */
char *cpumap_text(const uint8_t *map, uint32_t size);
/* From "0-3,^2", or "r" for all; NULL if it is malformed or names a CPU beyond `cpus`. g_free() it. */
uint8_t *cpumap_parse(const char *text, unsigned cpus, uint32_t *size);
/* How many CPUs the host has, or -1 with the last error set. */
int host_cpu_count(struct shell *sh);

/* --- Small things that several groups need ---------------------------------------------------- */

/* For qsort(): structs whose first field is a name, in the order of names without regard to case. */
int compare_names(const void *a, const void *b);
/* "yes" or "no". */
const char *yes_no(bool value);

/* Flags of a call that returns parameters: texts are welcome, if the daemon can send them. */
uint32_t typed_flags(struct shell *sh, uint32_t flags);
/*
 * Ask how many parameters there are, then for them. Returns FETCH_COUNT or FETCH_DATA if that step
 * failed, else FETCH_DONE with *list set.
 */
enum fetch_step { FETCH_COUNT, FETCH_DATA, FETCH_DONE };
struct param_list {
	uint32_t count;
	struct xdr_param *items;
};
#define FETCH_PARAMS(sh, name, list, ...)                                                          \
	({                                                                                         \
		struct remote_##name##_ret ret_ = {.nparams = 0};                                  \
		enum fetch_step step_ = FETCH_COUNT;                                               \
		if (GET(sh, name, &ret_, __VA_ARGS__, .nparams = 0)) {                             \
			int32_t count_ = ret_.nparams;                                             \
			bool good_ = !count_ || GET(sh, name, &ret_, __VA_ARGS__, .nparams = count_); \
			step_ = good_ ? FETCH_DONE : FETCH_DATA;                                   \
			*(list) = (struct param_list){count_ ? ret_.params.count : 0, ret_.params.items}; \
		}                                                                                  \
		step_;                                                                             \
	})
/* "name : value" lines. */
void print_params(const struct param_list *list);
/* Is the domain running? False also after an error, which is forgotten. */
bool domain_is_active(struct shell *sh, struct remote_domain dom);
/* The file descriptors of --pass-fds, for the next call. False after an error. */
bool pass_fds(struct shell *sh, const struct cmd *cmd, unsigned *count);
/* Connect the terminal to a console; cmd_console.c. */
bool run_console(struct shell *sh, struct remote_domain dom, const char *device, uint32_t flags);
/* --timeout in milliseconds: 0 if it is not given, -1 after an error. */
int opt_timeout(struct shell *sh, const struct cmd *cmd);
