/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/network/nft.h"

#include "base/error.h"

#include <nftables/libnftables.h>
#include <string.h>

/* False: what it said is in *said, which may be NULL; else what it printed. g_free(). */
static bool run(const char *commands, char **said)
{
	struct nft_ctx *context = nft_ctx_new(NFT_CTX_DEFAULT);
	if (!context) {
		*said = g_strdup("libnftables has no memory");
		return false;
	}
	nft_ctx_buffer_output(context);
	nft_ctx_buffer_error(context);
	nft_ctx_output_set_flags(context, NFT_CTX_OUTPUT_STATELESS);
	bool good = nft_run_cmd_from_buffer(context, commands) == 0;
	*said = g_strdup(good ? nft_ctx_get_output_buffer(context) : nft_ctx_get_error_buffer(context));
	nft_ctx_free(context);
	return good;
}

/* `said` is taken. */
static bool fail(char *said, const char *what, GError **error)
{
	g_autofree char *text = said;
	/* Its first line says what is wrong, the others where. */
	if (text)
		text[strcspn(text, "\n")] = '\0';
	return error_set(error, BERTH_ERR_IO, "nftables refuses %s: %s", what, text ? text : "no reason");
}

bool nft_run(const char *commands, GError **error)
{
	g_autofree char *said = NULL;
	return run(commands, &said) || fail(g_steal_pointer(&said), "the rules", error);
}

char *nft_list_table(const char *family, const char *name)
{
	g_autofree char *command = g_strdup_printf("list table %s %s", family, name);
	g_autofree char *said = NULL;
	return run(command, &said) ? g_steal_pointer(&said) : NULL;
}

/* Lines "table FAMILY NAME". */
GHashTable *nft_tables(GError **error)
{
	g_autofree char *said = NULL;
	if (!run("list tables", &said)) {
		fail(g_steal_pointer(&said), "to list its tables", error);
		return NULL;
	}
	GHashTable *names = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	g_auto(GStrv) lines = g_strsplit(said ? said : "", "\n", -1);
	for (char **line = lines; *line; line++) {
		g_auto(GStrv) words = g_strsplit(*line, " ", 3);
		if (g_strv_length(words) == 3)
			g_hash_table_add(names, g_strdup(words[2]));
	}
	return names;
}
