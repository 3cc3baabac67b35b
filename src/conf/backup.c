/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "conf/backup.h"

#include "base/error.h"
#include "base/units.h"
#include "conf/grammar.h"

#include <string.h>

static const char *const rows[] = {
	"domainbackup mode",
	"domainbackup/incremental",
	"domainbackup/server transport name port socket tls",
	"domainbackup/disks",
	"domainbackup/disks/disk name backup type backupmode incremental exportname exportbitmap index",
	"domainbackup/disks/disk/driver type",
	"domainbackup/disks/disk/target file dev",
	"domainbackup/disks/disk/scratch file dev",
};

/* And in the daemon's own file. */
static const char *const internal_rows[] = {
	"domainbackup mode reuse",
	"domainbackup/incremental",
	"domainbackup/server transport name port socket tls",
	"domainbackup/disks",
	"domainbackup/disks/disk name alias backup type backupmode incremental exportname exportbitmap state",
	"domainbackup/disks/disk/driver type",
	"domainbackup/disks/disk/target file dev",
	"domainbackup/disks/disk/scratch file dev",
};

static const char *const states[] = {
	[CONF_BACKUP_NONE] = "none", [CONF_BACKUP_RUNNING] = "running", [CONF_BACKUP_COMPLETE] = "complete",
	[CONF_BACKUP_FAILED] = "failed", [CONF_BACKUP_CANCELLED] = "cancelled",
};

/* --- Life ----------------------------------------------------------------------------------- */

static void disk_free(void *opaque)
{
	struct conf_backup_disk *disk = opaque;
	char *const texts[] = {disk->name, disk->alias, disk->file, disk->format, disk->incremental,
			       disk->export_name, disk->export_bitmap};
	for (unsigned i = 0; i < G_N_ELEMENTS(texts); i++)
		g_free(texts[i]);
	g_free(disk);
}

void conf_backup_free(struct conf_backup *backup)
{
	if (!backup)
		return;
	char *const texts[] = {backup->incremental, backup->socket, backup->host, backup->port};
	for (unsigned i = 0; i < G_N_ELEMENTS(texts); i++)
		g_free(texts[i]);
	g_ptr_array_unref(backup->disks);
	g_free(backup);
}

/* --- Reading -------------------------------------------------------------------------------- */

static bool read_server(struct conf_backup *backup, const xmlNode *node, GError **error)
{
	g_autofree char *transport = xml_attribute(node, "transport"), *tls = xml_attribute(node, "tls");
	bool is_unix = g_strcmp0(transport, "unix") == 0;
	uint64_t port;
	if (!backup->pull)
		return conf_domain_error(error, BERTH_ERR_NOT_SUPPORTED, node,
					 "use of <server> requires pull mode backup");
	if (!CONF_DOMAIN_ONE_OF(node, "transport", transport, error, "tcp", "unix") ||
	    !CONF_DOMAIN_ONE_OF(node, "tls", tls, error, "yes", "no"))
		return false;
	backup->tls_said = tls != NULL;
	backup->tls = g_strcmp0(tls, "yes") == 0;
	backup->socket = xml_attribute(node, "socket");
	backup->host = xml_attribute(node, "name");
	backup->port = xml_attribute(node, "port");
	if (is_unix != (backup->socket != NULL) || (is_unix && (backup->host || backup->port)))
		return conf_domain_error(error, BERTH_ERR_INVALID, node,
					 "transport='unix' has a socket, transport='tcp' a name and a port");
	if (is_unix && *backup->socket != '/')
		return conf_domain_error(error, BERTH_ERR_INVALID, node,
					 "backup socket path '%s' must be absolute", backup->socket);
	if (backup->port && !units_parse_number(backup->port, 1, UINT16_MAX, &port, NULL))
		return conf_domain_error(error, BERTH_ERR_INVALID, node, "port='%s' is none", backup->port);
	return true;
}

static bool read_image(const struct conf_backup *backup, struct conf_backup_disk *disk, const xmlNode *node,
		       GError **error)
{
	g_autofree char *type = xml_attribute(node, "type");
	const char *wanted = backup->pull ? "scratch" : "target";
	const char *other = backup->pull ? "target" : "scratch";
	if (xml_child(node, other))
		return conf_domain_error(error, BERTH_ERR_INVALID, xml_child(node, other),
					 "a backup of mode %s has a <%s>", backup->pull ? "pull" : "push", wanted);
	if (type && strcmp(type, "file") != 0 && strcmp(type, "block") != 0)
		return conf_domain_error(error, BERTH_ERR_INVALID, node, "unsupported disk backup type '%s'",
					 type);
	disk->block = g_strcmp0(type, "block") == 0;
	disk->file = conf_domain_child_attribute(node, wanted, disk->block ? "dev" : "file");
	disk->format = conf_domain_child_attribute(node, "driver", "type");
	if (disk->file && *disk->file != '/')
		return conf_domain_error(error, BERTH_ERR_INVALID, node, "'%s' is no absolute path",
					 disk->file);
	return (disk->file || !xml_child(node, wanted)) ||
	       conf_domain_error(error, BERTH_ERR_INVALID, xml_child(node, wanted), "its %s is missing",
				 disk->block ? "dev" : "file");
}

static bool read_state(struct conf_backup_disk *disk, const xmlNode *node, GError **error)
{
	g_autofree char *state = xml_attribute(node, "state");
	for (unsigned i = 0; state && disk->alias && i < G_N_ELEMENTS(states); i++) {
		disk->state = i;
		if (strcmp(states[i], state) == 0)
			return true;
	}
	return !state ||
	       conf_domain_error(error, BERTH_ERR_INVALID, node, "state='%s', or its alias is missing", state);
}

static bool read_disk(struct conf_backup *backup, const xmlNode *node, GError **error)
{
	struct conf_backup_disk *disk = g_new0(struct conf_backup_disk, 1);
	g_ptr_array_add(backup->disks, disk);
	g_autofree char *wanted = xml_attribute(node, "backup"), *mode = xml_attribute(node, "backupmode");
	disk->name = xml_attribute(node, "name");
	disk->alias = xml_attribute(node, "alias");
	if (!disk->name)
		return conf_domain_error(error, BERTH_ERR_INVALID, node,
					 "missing name from disk backup element");
	if (!CONF_DOMAIN_ONE_OF(node, "backup", wanted, error, "yes", "no") ||
	    !CONF_DOMAIN_ONE_OF(node, "backupmode", mode, error, "full", "incremental"))
		return false;
	disk->excluded = g_strcmp0(wanted, "no") == 0;
	if (disk->excluded)
		return true;
	disk->full = g_strcmp0(mode, "full") == 0;
	disk->partial = g_strcmp0(mode, "incremental") == 0;
	disk->incremental = disk->full ? NULL : xml_attribute(node, "incremental");
	disk->export_name = xml_attribute(node, "exportname");
	disk->export_bitmap = xml_attribute(node, "exportbitmap");
	if (!backup->pull && (disk->export_name || disk->export_bitmap))
		return conf_domain_error(error, BERTH_ERR_INVALID, node, "only pull mode has exports");
	return read_image(backup, disk, node, error) && read_state(disk, node, error);
}

static bool read_all(struct conf_backup *backup, const xmlNode *root, bool internal, GError **error)
{
	static const struct conf_grammar grammar = {rows, G_N_ELEMENTS(rows), NULL, 0};
	static const struct conf_grammar own_grammar = {internal_rows, G_N_ELEMENTS(internal_rows), NULL, 0};
	g_autofree char *mode = xml_attribute(root, "mode"), *reuse = xml_attribute(root, "reuse");
	if (!xml_is(root, "domainbackup"))
		return conf_domain_error(error, BERTH_ERR_INVALID, root, "domainbackup is expected");
	if (!conf_grammar_check(internal ? &own_grammar : &grammar, root, error))
		return false;
	if (mode && strcmp(mode, "push") != 0 && strcmp(mode, "pull") != 0)
		return conf_domain_error(error, BERTH_ERR_NOT_SUPPORTED, root, "unknown backup mode '%s'",
					 mode);
	backup->pull = g_strcmp0(mode, "pull") == 0;
	backup->reuse = g_strcmp0(reuse, "yes") == 0;
	backup->incremental = xml_child_text(root, "incremental");
	if (xml_child(root, "server") && !read_server(backup, xml_child(root, "server"), error))
		return false;
	xml_for_each(disk, xml_child(root, "disks"), "disk") {
		if (!read_disk(backup, disk, error))
			return false;
	}
	return true;
}

struct conf_backup *conf_backup_parse(const char *text, bool internal, GError **error)
{
	g_autoptr(xmlDoc) doc = xml_parse(text, "domain_backup", error);
	if (!doc)
		return NULL;
	struct conf_backup *backup = g_new0(struct conf_backup, 1);
	backup->disks = g_ptr_array_new_with_free_func(disk_free);
	if (read_all(backup, xmlDocGetRootElement(doc), internal, error))
		return backup;
	conf_backup_free(backup);
	return NULL;
}

/* --- Writing -------------------------------------------------------------------------------- */

static void format_disk(struct xml_writer *w, const struct conf_backup *backup,
			const struct conf_backup_disk *disk, bool internal)
{
	if (disk->excluded) {
		xml_empty(w, "disk", "name", disk->name, "backup", "no", NULL);
		return;
	}
	const char *mode = disk->full ? "full" : disk->partial ? "incremental" : NULL;
	/* What the daemon knows of a backup that runs: a state is of a device. */
	const char *alias = internal ? disk->alias : NULL;
	xml_open(w, "disk", "name", disk->name, "alias", alias, "backup", "yes", "type",
		 disk->block ? "block" : "file", "backupmode", mode, "incremental", disk->incremental,
		 "exportname", disk->export_name, "exportbitmap", disk->export_bitmap, "state",
		 alias ? states[disk->state] : NULL, NULL);
	if (disk->format)
		xml_empty(w, "driver", "type", disk->format, NULL);
	if (disk->file)
		xml_empty(w, backup->pull ? "scratch" : "target", disk->block ? "dev" : "file", disk->file,
			  NULL);
	xml_close(w, "disk");
}

char *conf_backup_format(const struct conf_backup *backup, bool internal)
{
	struct xml_writer w = xml_writer_new();
	xml_open(&w, "domainbackup", "mode", backup->pull ? "pull" : "push", "reuse",
		 internal && backup->reuse ? "yes" : NULL, NULL);
	if (backup->incremental)
		xml_leaf(&w, "incremental", backup->incremental, NULL);
	if (backup->socket || backup->host || backup->port || backup->tls_said)
		xml_empty(&w, "server", "transport", backup->socket ? "unix" : "tcp", "tls",
			  !backup->tls_said ? NULL : backup->tls ? "yes" : "no", "name", backup->host, "port",
			  backup->port, "socket", backup->socket, NULL);
	if (backup->disks->len)
		xml_open(&w, "disks", NULL);
	for (unsigned i = 0; i < backup->disks->len; i++)
		format_disk(&w, backup, backup->disks->pdata[i], internal);
	if (backup->disks->len)
		xml_close(&w, "disks");
	xml_close(&w, "domainbackup");
	return xml_writer_take(&w);
}

/* --- A domain's disks -------------------------------------------------------------------------- */

static bool align_disk(const struct conf_backup *backup, struct conf_backup_disk *said,
		       const struct conf_domain_disk *disk, const char *suffix, GError **error)
{
	if (said->excluded)
		return true;
	if (!conf_domain_disk_has_medium(disk))
		return error_set(error, BERTH_ERR_NOT_SUPPORTED, "disk '%s' has no media", said->name);
	if (said->partial && !said->incremental && !backup->incremental)
		return error_set(error, BERTH_ERR_NOT_SUPPORTED,
				 "'incremental' backup mode of disk '%s' requires "
				 "setting 'incremental' field for disk or backup", said->name);
	if (!said->file && (disk->source.kind != CONF_SOURCE_FILE || said->block))
		return error_set(error, BERTH_ERR_NOT_SUPPORTED,
				 "refusing to generate file name for disk '%s'",
				 said->name);
	if (!said->file)
		said->file = g_strdup_printf("%s.%s", disk->file, suffix);
	if (!said->full && !said->incremental)
		said->incremental = g_strdup(backup->incremental);
	said->partial = said->incremental != NULL;
	said->full = !said->partial;
	if (!said->format)
		said->format = g_strdup("qcow2");
	return !backup->pull || strcmp(said->format, "qcow2") == 0 ||
	       error_set(error, BERTH_ERR_NOT_SUPPORTED,
			 "pull mode backup for disk '%s' requires qcow2 driver", said->name);
}

static struct conf_backup_disk *find_said(const struct conf_backup *backup, const char *target)
{
	for (unsigned i = 0; i < backup->disks->len; i++) {
		struct conf_backup_disk *disk = backup->disks->pdata[i];
		if (strcmp(disk->name, target) == 0)
			return disk;
	}
	return NULL;
}

static bool check_names(const struct conf_backup *backup, const struct conf_domain *domain, GError **error)
{
	for (unsigned i = 0; i < backup->disks->len; i++) {
		const struct conf_backup_disk *disk = backup->disks->pdata[i];
		const struct conf_domain_disk *its = conf_domain_find_disk(domain, disk->name);
		if (!its || strcmp(its->target, disk->name) != 0)
			return error_set(error, BERTH_ERR_NOT_SUPPORTED, "no disk named '%s'", disk->name);
		if (find_said(backup, disk->name) != disk)
			return error_set(error, BERTH_ERR_NOT_SUPPORTED, "disk '%s' specified twice",
					 disk->name);
	}
	return domain->disks->len || error_set(error, BERTH_ERR_NOT_SUPPORTED,
					       "domain must have at least one disk to perform backup");
}

bool conf_backup_align(struct conf_backup *backup, const struct conf_domain *domain, const char *suffix,
		       GError **error)
{
	bool all = backup->disks->len == 0;
	if (!check_names(backup, domain, error))
		return false;
	for (unsigned i = 0; i < domain->disks->len; i++) {
		const struct conf_domain_disk *disk = domain->disks->pdata[i];
		struct conf_backup_disk *said = find_said(backup, disk->target);
		if (!said) {
			said = g_new0(struct conf_backup_disk, 1);
			said->name = g_strdup(disk->target);
			said->excluded = !all || disk->readonly || !conf_domain_disk_has_medium(disk);
			g_ptr_array_add(backup->disks, said);
		}
		if (!align_disk(backup, said, disk, suffix, error))
			return false;
	}
	return true;
}
