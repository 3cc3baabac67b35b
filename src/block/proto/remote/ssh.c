/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Images on SSH servers, by libssh's SFTP. Names: ssh://[USER@]HOST[:PORT]/PATH[?host_key_check=...];
 * options: server.host, server.port (or host, port), path, user, host-key-check.
 *
 * The server's key must be in known_hosts unless host-key-check says otherwise: mode=none, or
 * mode=hash with type=md5|sha1|sha256 and the hash in hexadecimal. Keys of the user come from the
 * agent and from ~/.ssh.
 */
#include "block/proto/remote/remote.h"

#include "base/error.h"
#include "base/log.h"
#include "block/core/drivers.h"

#include <errno.h>
#include <fcntl.h>
#include <libssh/libssh.h>
#include <libssh/sftp.h>
#include <string.h>

#define SSH_FUNCTIONS(F)                                                                           \
	F(ssh_new) F(ssh_free) F(ssh_connect) F(ssh_disconnect) F(ssh_options_set)                 \
	F(ssh_get_error) F(ssh_get_server_publickey) F(ssh_get_publickey_hash) F(ssh_key_free)     \
	F(ssh_clean_pubkey_hash) F(ssh_session_is_known_server) F(ssh_userauth_none)               \
	F(ssh_userauth_publickey_auto) F(ssh_options_parse_config) F(sftp_new) F(sftp_free)        \
	F(sftp_init) F(sftp_open) F(sftp_close) F(sftp_fstat) F(sftp_attributes_free)              \
	F(sftp_seek64) F(sftp_read) F(sftp_write) F(sftp_fsync) F(sftp_setstat)                    \
	F(sftp_get_error) F(sftp_extension_supported) F(sftp_unlink)

LIBRARY(ssh, SSH_FUNCTIONS, .package = "libssh-4", .files = {"libssh.so.4", "libssh-gcrypt.so.4"})

enum key_check { CHECK_KNOWN_HOSTS, CHECK_NONE, CHECK_HASH };

struct ssh_node {
	struct remote_node remote;
	char *host, *path, *user, *hash; /* hash: hexadecimal without colons */
	int port, hash_type;
	int check; /* enum key_check */
};

struct ssh_link {
	ssh_session session;
	sftp_session sftp;
	sftp_file file;
	char *path;
	bool can_fsync;
};

/* --- who the server is ------------------------------------------------------------------------------*/

static bool check_hash(struct ssh_node *node, ssh_key key, GError **error)
{
	unsigned char *bytes = NULL;
	size_t length = 0;
	if (ssh.ssh_get_publickey_hash(key, node->hash_type, &bytes, &length) < 0)
		return error_set(error, BERTH_ERR_IO, "the server's key has no such hash");
	GString *text = g_string_new(NULL);
	for (size_t i = 0; i < length; i++)
		g_string_append_printf(text, "%02x", bytes[i]);
	ssh.ssh_clean_pubkey_hash(&bytes);
	bool same = g_ascii_strcasecmp(text->str, node->hash) == 0;
	if (!same)
		error_set(error, BERTH_ERR_INVALID, "the server's key has the hash %s, not %s",
			  text->str, node->hash);
	g_string_free(text, true);
	return same;
}

static bool check_known(struct ssh_node *node, ssh_session session, GError **error)
{
	switch (ssh.ssh_session_is_known_server(session)) {
	case SSH_KNOWN_HOSTS_OK:
		return true;
	case SSH_KNOWN_HOSTS_CHANGED:
	case SSH_KNOWN_HOSTS_OTHER:
		return error_set(error, BERTH_ERR_INVALID,
				 "the server's key is not the one in known_hosts: somebody may stand "
				 "in between; if the server was set up anew: ssh-keygen -R %s",
				 node->host);
	default:
		return error_set(error, BERTH_ERR_NOT_FOUND,
				 "no key of '%s' is in known_hosts: log in with ssh once, or give "
				 "host-key-check", node->host);
	}
}

static bool check_server(struct ssh_node *node, ssh_session session, GError **error)
{
	if (node->check == CHECK_NONE)
		return true;
	if (node->check == CHECK_KNOWN_HOSTS)
		return check_known(node, session, error);
	ssh_key key = NULL;
	if (ssh.ssh_get_server_publickey(session, &key) != SSH_OK)
		return error_set(error, BERTH_ERR_IO, "the server shows no key");
	bool good = check_hash(node, key, error);
	ssh.ssh_key_free(key);
	return good;
}

/* --- connections ------------------------------------------------------------------------------------*/

static void link_disconnect(void *connection)
{
	struct ssh_link *link = connection;
	if (link->file)
		ssh.sftp_close(link->file);
	if (link->sftp)
		ssh.sftp_free(link->sftp);
	ssh.ssh_disconnect(link->session);
	ssh.ssh_free(link->session);
	g_free(link->path);
	g_free(link);
}

static bool explain(struct ssh_link *link, const char *what, GError **error)
{
	return error_set(error, BERTH_ERR_IO, "%s: %s", what, ssh.ssh_get_error(link->session));
}

static bool log_in(struct ssh_node *node, struct ssh_link *link, GError **error)
{
	long timeout_s = 30;
	ssh_session session = link->session;
	ssh.ssh_options_set(session, SSH_OPTIONS_HOST, node->host);
	ssh.ssh_options_set(session, SSH_OPTIONS_PORT, &node->port);
	ssh.ssh_options_set(session, SSH_OPTIONS_TIMEOUT, &timeout_s);
	if (node->user && ssh.ssh_options_set(session, SSH_OPTIONS_USER, node->user) < 0)
		return explain(link, "the user's name", error);
	if (ssh.ssh_options_parse_config(session, NULL) < 0)
		return explain(link, "~/.ssh/config", error);
	if (ssh.ssh_connect(session) != SSH_OK)
		return explain(link, "cannot connect", error);
	if (!check_server(node, session, error))
		return false;
	if (ssh.ssh_userauth_none(session, NULL) == SSH_AUTH_SUCCESS ||
	    ssh.ssh_userauth_publickey_auto(session, NULL, NULL) == SSH_AUTH_SUCCESS)
		return true;
	return error_set(error, BERTH_ERR_INVALID,
			 "the server takes none of your keys: add one with ssh-add");
}

/* Logged in, with no file open. */
static struct ssh_link *connect_to_server(struct ssh_node *node, GError **error)
{
	struct ssh_link *link = g_new0(struct ssh_link, 1);
	link->session = ssh.ssh_new();
	bool good = log_in(node, link, error);
	if (good) {
		link->sftp = ssh.sftp_new(link->session);
		good = (link->sftp && ssh.sftp_init(link->sftp) == 0) || explain(link, "no SFTP", error);
	}
	if (good)
		return link;
	link_disconnect(link);
	return NULL;
}

/* `flags` as of open(2). */
static bool open_file(struct ssh_node *node, struct ssh_link *link, int flags, GError **error)
{
	link->file = ssh.sftp_open(link->sftp, node->path, flags, 0644);
	link->can_fsync = ssh.sftp_extension_supported(link->sftp, "fsync@openssh.com", "1");
	link->path = g_strdup(node->path);
	return link->file || explain(link, "cannot open the file", error);
}

static struct ssh_link *connect_and_open(struct ssh_node *node, int flags, GError **error)
{
	struct ssh_link *link = connect_to_server(node, error);
	if (!link || open_file(node, link, flags, error))
		return link;
	link_disconnect(link);
	return NULL;
}

static void *link_connect(struct remote_node *remote, GError **error)
{
	return connect_and_open((struct ssh_node *)remote, remote->node.readonly ? O_RDONLY : O_RDWR, error);
}

static bool link_describe(struct remote_node *remote, void *connection, GError **error)
{
	struct ssh_link *link = connection;
	sftp_attributes attributes = ssh.sftp_fstat(link->file);
	if (!attributes)
		return explain(link, "cannot ask for the size", error);
	remote->node.size = attributes->size;
	ssh.sftp_attributes_free(attributes);
	if (!link->can_fsync && !remote->node.readonly)
		log_warning("%s: the server cannot be asked to make writes stable (fsync@openssh.com): "
			    "what it has not written when it crashes is lost", remote->node.filename);
	return true;
}

/* An answer of the server about the file, or the end of the connection. */
static int link_error(struct ssh_link *link)
{
	switch (ssh.sftp_get_error(link->sftp)) {
	case SSH_FX_OK:
	case SSH_FX_NO_CONNECTION:
	case SSH_FX_CONNECTION_LOST:
		return -ENOTCONN;
	case SSH_FX_PERMISSION_DENIED:
		return -EACCES;
	case SSH_FX_WRITE_PROTECT:
		return -EROFS;
	default:
		return -EIO;
	}
}

static int link_read(void *connection, uint64_t offset, void *bytes, size_t length)
{
	struct ssh_link *link = connection;
	if (ssh.sftp_seek64(link->file, offset) < 0)
		return -EIO;
	for (size_t at = 0; at < length;) {
		ssize_t n = ssh.sftp_read(link->file, (char *)bytes + at, length - at);
		if (n < 0)
			return link_error(link);
		if (n == 0) { /* behind the end */
			memset((char *)bytes + at, 0, length - at);
			return 0;
		}
		at += n;
	}
	return 0;
}

static int link_write(void *connection, uint64_t offset, const void *bytes, size_t length)
{
	enum { PIECE = 128 << 10 }; /* libssh sends one packet a call; OpenSSH takes up to 256 KiB */
	struct ssh_link *link = connection;
	if (ssh.sftp_seek64(link->file, offset) < 0)
		return -EIO;
	for (size_t at = 0; at < length;) {
		ssize_t n = ssh.sftp_write(link->file, (const char *)bytes + at, MIN(length - at, PIECE));
		if (n <= 0)
			return link_error(link);
		at += n;
	}
	return 0;
}

static int link_flush(void *connection)
{
	struct ssh_link *link = connection;
	if (!link->can_fsync)
		return 0;
	return ssh.sftp_fsync(link->file) < 0 ? link_error(link) : 0;
}

static int link_resize(void *connection, uint64_t size)
{
	struct ssh_link *link = connection;
	struct sftp_attributes_struct attributes = {.flags = SSH_FILEXFER_ATTR_SIZE, .size = size};
	return ssh.sftp_setstat(link->sftp, link->path, &attributes) < 0 ? link_error(link) : 0;
}

static bool link_create(struct remote_node *remote, const struct block_create *create, GError **error)
{
	struct ssh_link *link =
		connect_and_open((struct ssh_node *)remote, O_RDWR | O_CREAT | O_TRUNC, error);
	bool good = link && (link_resize(link, create->size) == 0 ||
			     explain(link, "cannot give the file its size", error));
	if (link)
		link_disconnect(link);
	return good;
}

static bool link_remove(struct remote_node *remote, GError **error)
{
	struct ssh_node *node = (struct ssh_node *)remote;
	struct ssh_link *link = connect_to_server(node, error);
	bool good = link && (ssh.sftp_unlink(link->sftp, node->path) == 0 ||
			     explain(link, "cannot remove the file", error));
	if (link)
		link_disconnect(link);
	return good;
}

/* --- names and options ------------------------------------------------------------------------------*/

/* "yes", "no", "md5:HASH" and so on, as in names. */
static bool set_key_check(json_t *dict, const char *text, GError **error)
{
	json_t *check = NULL;
	const char *colon = strchr(text, ':');
	if (strcmp(text, "yes") == 0)
		check = json_pack("{s:s}", "mode", "known_hosts");
	else if (strcmp(text, "no") == 0)
		check = json_pack("{s:s}", "mode", "none");
	else if (colon)
		check = json_pack("{s:s, s:s%, s:s}", "mode", "hash", "type", text, (size_t)(colon - text),
				  "hash", colon + 1);
	if (!check)
		return error_set(error, BERTH_ERR_INVALID,
				 "host_key_check is yes, no, md5:HASH, sha1:HASH or sha256:HASH");
	json_object_set_new(dict, "host-key-check", check);
	return true;
}

static bool ssh_parse_filename(const char *filename, json_t *dict, GError **error)
{
	struct remote_url url;
	if (!remote_url_parse(filename, &url, error))
		return false;
	g_autofree char *port = g_strdup_printf("%d", url.port > 0 ? url.port : 22);
	json_object_set_new(dict, "server", json_pack("{s:s, s:s}", "host", url.host, "port", port));
	json_object_set_new(dict, "path", json_string(url.path));
	if (url.user)
		json_object_set_new(dict, "user", json_string(url.user));
	const char *check = g_hash_table_lookup(url.query, "host_key_check");
	bool good = url.password ? error_set(error, BERTH_ERR_INVALID,
					     "passwords do not belong in names: use a key")
		    : check      ? set_key_check(dict, check, error)
				 : true;
	g_hash_table_remove(url.query, "host_key_check");
	good = good && remote_url_refuse_rest(&url, error);
	remote_url_clear(&url);
	return good;
}

static bool take_key_check(struct ssh_node *node, json_t *dict, GError **error)
{
	static const char *const modes[] = {"known_hosts", "none", "hash", NULL};
	static const char *const types[] = {"md5", "sha1", "sha256", NULL};
	static const int hashes[] = {SSH_PUBLICKEY_HASH_MD5, SSH_PUBLICKEY_HASH_SHA1,
				     SSH_PUBLICKEY_HASH_SHA256};
	json_t *check = json_object_get(dict, "host-key-check");
	int type = -1;
	if (!check)
		return true;
	if (!json_is_object(check) || !block_take_enum(check, "mode", modes, &node->check, error) ||
	    !block_take_enum(check, "type", types, &type, error))
		return json_is_object(check) ? false
					     : error_set(error, BERTH_ERR_INVALID,
							 "host-key-check is an object: "
							 "host-key-check.mode=...");
	g_autofree char *hash = block_take_string(check, "hash");
	if ((node->check == CHECK_HASH) != (hash && type >= 0))
		return error_set(error, BERTH_ERR_INVALID,
				 "host-key-check needs type and hash with mode=hash, and only then");
	if (hash) {
		g_auto(GStrv) bytes = g_strsplit(hash, ":", -1);
		node->hash = g_strjoinv("", bytes);
		node->hash_type = hashes[type];
	}
	if (!block_refuse_rest(check, "host-key-check", error))
		return false;
	json_object_del(dict, "host-key-check");
	return true;
}

static bool ssh_take_options(struct remote_node *remote, json_t *dict, GError **error)
{
	struct ssh_node *node = (struct ssh_node *)remote;
	json_t *server = json_object_get(dict, "server");
	json_t *from = json_is_object(server) ? server : dict;
	uint64_t port = 22;
	node->host = block_take_string(from, "host");
	bool good = block_take_size(from, "port", &port, error) &&
		    (from == dict || block_refuse_rest(server, "server", error));
	if (good && from == server)
		json_object_del(dict, "server");
	node->path = block_take_string(dict, "path");
	node->user = block_take_string(dict, "user");
	node->port = port;
	if (!good || !take_key_check(node, dict, error))
		return false;
	return (node->host && node->path && port >= 1 && port <= 65535) ||
	       error_set(error, BERTH_ERR_INVALID, "ssh needs server.host, server.port and path");
}

static char *ssh_name(const struct remote_node *remote)
{
	const struct ssh_node *node = (const struct ssh_node *)remote;
	return g_strdup_printf("ssh://%s%s%s:%d%s", node->user ? node->user : "", node->user ? "@" : "",
			       node->host, node->port, node->path);
}

static void ssh_clear(struct remote_node *remote)
{
	struct ssh_node *node = (struct ssh_node *)remote;
	char *texts[] = {node->host, node->path, node->user, node->hash};
	for (unsigned i = 0; i < G_N_ELEMENTS(texts); i++)
		g_free(texts[i]);
}

static const struct remote_ops ssh_ops = {
	.take_options = ssh_take_options,
	.name = ssh_name,
	.clear = ssh_clear,
	.create = link_create,
	.remove = link_remove,
	.grows = true,
	REMOTE_LINK_OPS,
	.resize = link_resize,
};

const struct block_driver block_ssh_driver = {
	REMOTE_DRIVER("ssh", ssh_node, &ssh_ops),
	.parse_filename = ssh_parse_filename,
	REMOTE_FILES,
};
