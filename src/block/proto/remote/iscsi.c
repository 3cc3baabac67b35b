/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * LUNs of iSCSI targets, by libiscsi. Names: iscsi://[USER[%PASSWORD]@]HOST[:PORT]/TARGET/LUN;
 * options: transport=tcp, portal, target, lun, user, password-secret, initiator-name, header-digest,
 * timeout. Specifications: RFC 7143 (iSCSI), SBC-3 (commands of disks).
 *
 * Formats write bytes and a LUN has blocks: a write of part of a block reads the block first.
 */
#include "block/proto/remote/remote.h"

#include "base/bytes.h"
#include "base/error.h"
#include "block/core/drivers.h"

#include <errno.h>
#include <iscsi/iscsi.h>
#include <iscsi/scsi-lowlevel.h>
#include <string.h>

#define TRANSFER_MAX      (1 << 20) /* of one command */
#define RECONNECTS        3
#define TIMEOUT_DEFAULT_S 60
#define INITIATOR_NAME    "iqn.2008-11.org.linux-kvm" /* as QEMU: what access lists name */

#define ISCSI_FUNCTIONS(F)                                                                         \
	F(iscsi_create_context) F(iscsi_destroy_context) F(iscsi_set_targetname)                   \
	F(iscsi_set_session_type) F(iscsi_set_header_digest) F(iscsi_set_initiator_username_pwd)   \
	F(iscsi_set_timeout) F(iscsi_set_reconnect_max_retries) F(iscsi_full_connect_sync)         \
	F(iscsi_logout_sync) F(iscsi_get_error) F(iscsi_is_logged_in) F(iscsi_inquiry_sync)        \
	F(iscsi_readcapacity16_sync) F(iscsi_read16_sync)             \
	F(iscsi_write16_sync) F(iscsi_synchronizecache10_sync) F(iscsi_unmap_sync)                 \
	F(iscsi_writesame16_sync) F(scsi_datain_unmarshall) F(scsi_free_scsi_task)

LIBRARY(isc, ISCSI_FUNCTIONS, .package = "libiscsi7", .files = {"libiscsi.so.7"})

struct iscsi_node {
	struct remote_node remote;
	char *portal, *target, *user, *password, *initiator;
	uint64_t lun, timeout_s;
	int digest; /* enum iscsi_header_digest */
	/* Of the LUN, set by describe. */
	uint32_t block;
	bool thin, unmaps, writes_same, unmapped_is_zero;
	uint32_t unmap_max;     /* blocks in one command; 0: no limit is told */
	uint64_t same_max;
	GMutex partial;         /* held while part of a block is changed */
};

struct iscsi_link {
	struct iscsi_node *node;
	struct iscsi_context *context;
};

/* --- commands ---------------------------------------------------------------------------------------*/

/* Takes `task`. What a command has come to: 0 or -errno. */
static int finish(struct iscsi_link *link, struct scsi_task *task)
{
	if (!task)
		return isc.iscsi_is_logged_in(link->context) ? -EIO : -ENOTCONN;
	int status = task->status, key = task->sense.key;
	isc.scsi_free_scsi_task(task);
	if (status == SCSI_STATUS_GOOD)
		return 0;
	if (status == SCSI_STATUS_CHECK_CONDITION && key == SCSI_SENSE_ILLEGAL_REQUEST)
		return -ENOTSUP;
	if (status == SCSI_STATUS_CHECK_CONDITION && key == SCSI_SENSE_DATA_PROTECTION)
		return -EROFS;
	if (status == SCSI_STATUS_RESERVATION_CONFLICT)
		return -EBUSY;
	return isc.iscsi_is_logged_in(link->context) ? -EIO : -ENOTCONN;
}

/* A unit attention tells of something that has happened before; the command is to be sent again
 * (SAM-5, 5.14). A few may be queued. */
static bool is_attention(const struct scsi_task *task)
{
	return task && task->status == SCSI_STATUS_CHECK_CONDITION &&
	       task->sense.key == SCSI_SENSE_UNIT_ATTENTION;
}

#define COMMAND(task, call)                                                                        \
	struct scsi_task *task = call;                                                             \
	for (unsigned tries = 0; is_attention(task) && tries < 8; tries++) {                       \
		isc.scsi_free_scsi_task(task);                                                     \
		task = call;                                                                       \
	}

/* Whole blocks. */
static int read_blocks(struct iscsi_link *link, uint64_t offset, uint8_t *bytes, size_t length)
{
	struct iscsi_node *n = link->node;
	for (size_t at = 0; at < length;) {
		uint32_t part = MIN(length - at, TRANSFER_MAX);
		COMMAND(task, isc.iscsi_read16_sync(link->context, n->lun, (offset + at) / n->block, part,
						    n->block, 0, 0, 0, 0, 0));
		bool whole = task && task->status == SCSI_STATUS_GOOD && task->datain.size == (int)part;
		if (whole)
			memcpy(bytes + at, task->datain.data, part);
		int rc = finish(link, task);
		if (rc < 0 || !whole)
			return rc < 0 ? rc : -EIO;
		at += part;
	}
	return 0;
}

static int write_blocks(struct iscsi_link *link, uint64_t offset, const uint8_t *bytes, size_t length)
{
	struct iscsi_node *n = link->node;
	for (size_t at = 0; at < length;) {
		uint32_t part = MIN(length - at, TRANSFER_MAX);
		COMMAND(task, isc.iscsi_write16_sync(link->context, n->lun, (offset + at) / n->block,
						     (unsigned char *)bytes + at, part, n->block, 0, 0, 0,
						     0, 0));
		int rc = finish(link, task);
		if (rc < 0)
			return rc;
		at += part;
	}
	return 0;
}

static int link_read(void *connection, uint64_t offset, void *bytes, size_t length)
{
	struct iscsi_link *link = connection;
	uint32_t block = link->node->block;
	uint64_t start = align_down(offset, block), end = align_up(offset + length, block);
	if (start == offset && end == offset + length)
		return read_blocks(link, offset, bytes, length);
	g_autofree uint8_t *bounce = g_malloc(end - start);
	int rc = read_blocks(link, start, bounce, end - start);
	if (rc == 0)
		memcpy(bytes, bounce + (offset - start), length);
	return rc;
}

static int write_partial(struct iscsi_link *link, uint64_t offset, const void *bytes, size_t length)
{
	uint32_t block = link->node->block;
	uint64_t start = align_down(offset, block), end = align_up(offset + length, block);
	g_autofree uint8_t *bounce = g_malloc(end - start);
	g_mutex_lock(&link->node->partial);
	int rc = read_blocks(link, start, bounce, block);
	if (rc == 0 && end - start > block)
		rc = read_blocks(link, end - block, bounce + (end - start - block), block);
	memcpy(bounce + (offset - start), bytes, length);
	if (rc == 0)
		rc = write_blocks(link, start, bounce, end - start);
	g_mutex_unlock(&link->node->partial);
	return rc;
}

static int link_write(void *connection, uint64_t offset, const void *bytes, size_t length)
{
	struct iscsi_link *link = connection;
	bool whole = (offset | length) % link->node->block == 0;
	return whole ? write_blocks(link, offset, bytes, length) : write_partial(link, offset, bytes, length);
}

/* The whole LUN: a count of zero blocks (SBC-3, 5.22). */
static int link_flush(void *connection)
{
	struct iscsi_link *link = connection;
	COMMAND(task, isc.iscsi_synchronizecache10_sync(link->context, link->node->lun, 0, 0, 0, 0));
	return finish(link, task);
}

static int link_zero(void *connection, uint64_t offset, uint64_t length, bool unmap)
{
	struct iscsi_link *link = connection;
	struct iscsi_node *n = link->node;
	if (!n->writes_same || (offset | length) % n->block)
		return -ENOTSUP;
	g_autofree uint8_t *zeroes = g_malloc0(n->block);
	bool give_back = unmap && n->thin && n->unmapped_is_zero;
	uint64_t most = n->same_max ? n->same_max : UINT32_MAX;
	for (uint64_t at = 0; at < length / n->block;) {
		uint32_t part = MIN(length / n->block - at, MIN(most, 1 << 20));
		COMMAND(task, isc.iscsi_writesame16_sync(link->context, n->lun, offset / n->block + at,
							 zeroes, n->block, part, 0, give_back, 0, 0));
		int rc = finish(link, task);
		if (rc == -ENOTSUP)
			n->writes_same = false;
		if (rc < 0)
			return rc;
		at += part;
	}
	return 0;
}

/* A hint: blocks that are wholly in the range. */
static int link_discard(void *connection, uint64_t offset, uint64_t length)
{
	struct iscsi_link *link = connection;
	struct iscsi_node *n = link->node;
	uint64_t first = align_up(offset, n->block) / n->block, end = (offset + length) / n->block;
	while (n->unmaps && first < end) {
		uint64_t most = n->unmap_max ? n->unmap_max : UINT32_MAX;
		struct unmap_list list = {first, MIN(end - first, most)};
		COMMAND(task, isc.iscsi_unmap_sync(link->context, n->lun, 0, 0, &list, 1));
		int rc = finish(link, task);
		if (rc < 0)
			return rc == -ENOTSUP ? 0 : rc;
		first += list.num;
	}
	return 0;
}

/* --- connections ------------------------------------------------------------------------------------*/

static void link_disconnect(void *connection)
{
	struct iscsi_link *link = connection;
	if (isc.iscsi_is_logged_in(link->context))
		isc.iscsi_logout_sync(link->context);
	isc.iscsi_destroy_context(link->context);
	g_free(link);
}

static void *link_connect(struct remote_node *remote, GError **error)
{
	struct iscsi_node *n = (struct iscsi_node *)remote;
	struct iscsi_context *context = isc.iscsi_create_context(n->initiator);
	if (!context) {
		error_set(error, BERTH_ERR_INVALID, "libiscsi takes no initiator-name '%s'", n->initiator);
		return NULL;
	}
	isc.iscsi_set_targetname(context, n->target);
	isc.iscsi_set_session_type(context, ISCSI_SESSION_NORMAL);
	isc.iscsi_set_header_digest(context, n->digest);
	isc.iscsi_set_timeout(context, n->timeout_s);
	isc.iscsi_set_reconnect_max_retries(context, RECONNECTS);
	if (n->user)
		isc.iscsi_set_initiator_username_pwd(context, n->user, n->password);
	if (isc.iscsi_full_connect_sync(context, n->portal, n->lun) < 0) {
		error_set(error, BERTH_ERR_IO, "%s", isc.iscsi_get_error(context));
		isc.iscsi_destroy_context(context);
		return NULL;
	}
	struct iscsi_link *link = g_new0(struct iscsi_link, 1);
	link->node = n;
	link->context = context;
	return link;
}

static bool read_capacity(struct iscsi_link *link, GError **error)
{
	struct iscsi_node *n = link->node;
	COMMAND(task, isc.iscsi_readcapacity16_sync(link->context, n->lun));
	struct scsi_readcapacity16 *capacity =
		task && task->status == SCSI_STATUS_GOOD ? isc.scsi_datain_unmarshall(task) : NULL;
	if (capacity) {
		n->block = capacity->block_length;
		n->thin = capacity->lbpme;
		n->unmapped_is_zero = capacity->lbprz;
		n->remote.node.size = (capacity->returned_lba + 1) * n->block;
	}
	if (task)
		isc.scsi_free_scsi_task(task);
	if (!capacity)
		return error_set(error, BERTH_ERR_IO, "the LUN tells no capacity: %s",
				 isc.iscsi_get_error(link->context));
	return (n->block >= 512 && n->block <= 65536 && (n->block & (n->block - 1)) == 0) ||
	       error_set(error, BERTH_ERR_NOT_SUPPORTED, "the LUN has blocks of %u bytes", n->block);
}

/* Which limits there are (SBC-3, 6.6). A target without the pages takes the plain commands. */
static void read_limits(struct iscsi_link *link)
{
	struct iscsi_node *n = link->node;
	COMMAND(limits_task, isc.iscsi_inquiry_sync(link->context, n->lun, 1,
						    SCSI_INQUIRY_PAGECODE_BLOCK_LIMITS, 255));
	struct scsi_inquiry_block_limits *limits =
		limits_task && limits_task->status == SCSI_STATUS_GOOD
			? isc.scsi_datain_unmarshall(limits_task) : NULL;
	if (limits) {
		n->unmap_max = limits->max_unmap;
		n->same_max = limits->max_ws_len;
	}
	if (limits_task)
		isc.scsi_free_scsi_task(limits_task);
	COMMAND(thin_task, isc.iscsi_inquiry_sync(link->context, n->lun, 1,
						  SCSI_INQUIRY_PAGECODE_LOGICAL_BLOCK_PROVISIONING, 255));
	struct scsi_inquiry_logical_block_provisioning *thin =
		thin_task && thin_task->status == SCSI_STATUS_GOOD ? isc.scsi_datain_unmarshall(thin_task)
								   : NULL;
	n->unmaps = thin && thin->lbpu;
	n->thin &= thin && thin->lbpws;
	n->writes_same = true; /* until the LUN refuses */
	if (thin_task)
		isc.scsi_free_scsi_task(thin_task);
}

static bool link_describe(struct remote_node *remote, void *connection, GError **error)
{
	struct iscsi_link *link = connection;
	if (!read_capacity(link, error))
		return false;
	read_limits(link);
	remote->node.limits.logical_block = remote->node.limits.physical_block = link->node->block;
	return true;
}

/* --- names and options ------------------------------------------------------------------------------*/

/* USER%PASSWORD: as libiscsi has it; '%' is no escape there, so this is not a URL of RFC 3986. */
static bool iscsi_parse_filename(const char *filename, json_t *dict, GError **error)
{
	g_autoptr(GRegex) form = g_regex_new("^iscsi://(?:([^%@/]+)(?:%([^@]+))?@)?([^/@]+)/([^/]+)/([0-9]+)$",
					     0, 0, NULL);
	g_autoptr(GMatchInfo) match = NULL;
	if (!g_regex_match(form, filename, 0, &match))
		return error_set(error, BERTH_ERR_INVALID,
				 "'%s': write iscsi://[USER%%PASSWORD@]HOST[:PORT]/TARGET/LUN", filename);
	static const char *const keys[] = {"user", "password", "portal", "target", "lun"};
	json_object_set_new(dict, "transport", json_string("tcp"));
	for (unsigned i = 0; i < G_N_ELEMENTS(keys); i++) {
		g_autofree char *text = g_match_info_fetch(match, i + 1);
		if (text && *text)
			json_object_set_new(dict, keys[i], json_string(text));
	}
	return true;
}

static bool iscsi_take_options(struct remote_node *remote, json_t *dict, GError **error)
{
	struct iscsi_node *n = (struct iscsi_node *)remote;
	static const char *const transports[] = {"tcp", NULL};
	static const char *const digests[] = {"none", "none-crc32c", "crc32c-none", "crc32c", NULL};
	int transport = 0;
	g_mutex_init(&n->partial);
	n->timeout_s = TIMEOUT_DEFAULT_S;
	n->digest = ISCSI_HEADER_DIGEST_NONE_CRC32C;
	n->portal = block_take_string(dict, "portal");
	n->target = block_take_string(dict, "target");
	n->user = block_take_string(dict, "user");
	n->password = block_take_string(dict, "password");
	n->initiator = block_take_string(dict, "initiator-name");
	if (!block_take_enum(dict, "transport", transports, &transport, error) ||
	    !block_take_enum(dict, "header-digest", digests, &n->digest, error) ||
	    !block_take_size(dict, "lun", &n->lun, error) ||
	    !block_take_size(dict, "timeout", &n->timeout_s, error) ||
	    !remote_take_secret(&n->remote.node, dict, "password-secret", &n->password, error))
		return false;
	if (!n->initiator)
		n->initiator = g_strdup(INITIATOR_NAME);
	if (!n->portal || !n->target || n->lun > 255 || n->timeout_s > 86400)
		return error_set(error, BERTH_ERR_INVALID,
				 "iscsi needs portal=HOST[:PORT], target=NAME and lun=0 to 255; timeout is "
				 "at most a day");
	return !n->user == !n->password || error_set(error, BERTH_ERR_INVALID,
						     "user and password-secret go together");
}

static char *iscsi_name(const struct remote_node *remote)
{
	const struct iscsi_node *n = (const struct iscsi_node *)remote;
	return g_strdup_printf("iscsi://%s/%s/%u", n->portal, n->target, (unsigned)n->lun);
}

static void iscsi_clear(struct remote_node *remote)
{
	struct iscsi_node *n = (struct iscsi_node *)remote;
	char *texts[] = {n->portal, n->target, n->user, n->password, n->initiator};
	for (unsigned i = 0; i < G_N_ELEMENTS(texts); i++)
		g_free(texts[i]);
	g_mutex_clear(&n->partial);
}

static const struct remote_ops iscsi_ops = {
	.take_options = iscsi_take_options,
	.name = iscsi_name,
	.clear = iscsi_clear,
	REMOTE_LINK_OPS,
	.zero = link_zero,
	.discard = link_discard,
};

const struct block_driver block_iscsi_driver = {
	REMOTE_DRIVER("iscsi", iscsi_node, &iscsi_ops),
	.parse_filename = iscsi_parse_filename,
	.fresh_is_noise = true,
};
