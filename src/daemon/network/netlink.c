/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Netlink messages: made, sent, and their answers read (Linux, netlink(7)). */
#include "daemon/network/netlink.h"

#include "base/fd.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

/* More than the kernel puts into one datagram of a dump. */
enum { ANSWER_SIZE = 32768 };

/* --- Making ----------------------------------------------------------------------------------- */

void netlink_begin(struct netlink_message *message, uint16_t type, uint16_t flags, const void *body,
		   size_t length)
{
	memset(message, 0, sizeof(*message));
	message->header.nlmsg_type = type;
	message->header.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | flags;
	message->header.nlmsg_len = NLMSG_LENGTH(length);
	memcpy(NLMSG_DATA(&message->header), body, length);
}

void netlink_put(struct netlink_message *message, uint16_t type, const void *data, size_t length)
{
	size_t at = NLMSG_ALIGN(message->header.nlmsg_len);
	if (length > UINT16_MAX - NLA_HDRLEN || at + NLA_HDRLEN + length > sizeof(message->bytes)) {
		message->overflow = true;
		return;
	}
	struct nlattr *attribute = (struct nlattr *)(message->bytes + at);
	attribute->nla_type = type;
	attribute->nla_len = NLA_HDRLEN + length;
	if (length)
		memcpy(message->bytes + at + NLA_HDRLEN, data, length);
	message->header.nlmsg_len = at + attribute->nla_len;
}

void netlink_put_u8(struct netlink_message *message, uint16_t type, uint8_t value)
{
	netlink_put(message, type, &value, sizeof(value));
}

void netlink_put_u32(struct netlink_message *message, uint16_t type, uint32_t value)
{
	netlink_put(message, type, &value, sizeof(value));
}

void netlink_put_text(struct netlink_message *message, uint16_t type, const char *text)
{
	netlink_put(message, type, text, strlen(text) + 1);
}

size_t netlink_nest(struct netlink_message *message, uint16_t type)
{
	size_t at = NLMSG_ALIGN(message->header.nlmsg_len);
	netlink_put(message, type | NLA_F_NESTED, NULL, 0);
	return at;
}

void netlink_end(struct netlink_message *message, size_t nest)
{
	if (!message->overflow)
		((struct nlattr *)(message->bytes + nest))->nla_len = message->header.nlmsg_len - nest;
}

/* --- Asking ----------------------------------------------------------------------------------- */

static int open_and_send(struct netlink_message *message, int *fd)
{
	const struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
	if (message->overflow)
		return EMSGSIZE;
	*fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	if (*fd < 0)
		return errno;
	message->header.nlmsg_seq = 1;
	if (sendto(*fd, message->bytes, message->header.nlmsg_len, 0, (const struct sockaddr *)&kernel,
		   sizeof(kernel)) < 0)
		return errno;
	return 0;
}

/* One datagram; *done when nothing follows. */
static int take_answers(const uint8_t *bytes, size_t length, netlink_each_fn *each, void *opaque,
			bool *done)
{
	const struct nlmsghdr *header = (const struct nlmsghdr *)bytes;
	for (; NLMSG_OK(header, length); header = NLMSG_NEXT(header, length)) {
		if (header->nlmsg_type == NLMSG_ERROR || header->nlmsg_type == NLMSG_DONE) {
			*done = true;
			if (header->nlmsg_len < NLMSG_LENGTH(sizeof(int)))
				return EPROTO;
			return -*(const int *)NLMSG_DATA(header);
		}
		if (each)
			each(header, opaque);
	}
	return 0;
}

static int exchange(struct netlink_message *message, netlink_each_fn *each, void *opaque)
{
	auto_fd fd = -1;
	g_autofree uint8_t *answer = g_malloc(ANSWER_SIZE);
	bool done = false;
	int result = open_and_send(message, &fd);
	while (!result && !done) {
		ssize_t length = recv(fd, answer, ANSWER_SIZE, 0);
		if (length < 0 && errno == EINTR)
			continue;
		if (length < 0)
			return errno;
		result = take_answers(answer, length, each, opaque, &done);
	}
	return result;
}

int netlink_send(struct netlink_message *message)
{
	return exchange(message, NULL, NULL);
}

int netlink_ask(struct netlink_message *message, netlink_each_fn *each, void *opaque)
{
	return exchange(message, each, opaque);
}

int netlink_dump(struct netlink_message *message, netlink_each_fn *each, void *opaque)
{
	message->header.nlmsg_flags |= NLM_F_DUMP;
	message->header.nlmsg_flags &= ~NLM_F_ACK;
	return exchange(message, each, opaque);
}

/* --- Reading ---------------------------------------------------------------------------------- */

static void parse(const uint8_t *at, size_t left, const struct nlattr **table, unsigned count)
{
	memset(table, 0, count * sizeof(*table));
	while (left >= NLA_HDRLEN) {
		const struct nlattr *attribute = (const struct nlattr *)at;
		size_t whole = NLA_ALIGN(attribute->nla_len);
		unsigned type = attribute->nla_type & NLA_TYPE_MASK;
		if (attribute->nla_len < NLA_HDRLEN || attribute->nla_len > left)
			return;
		if (type < count)
			table[type] = attribute;
		if (whole >= left)
			return;
		at += whole;
		left -= whole;
	}
}

void netlink_parse(const struct nlmsghdr *header, size_t body, const struct nlattr **table,
		   unsigned count)
{
	size_t before = NLMSG_LENGTH(0) + NLMSG_ALIGN(body);
	size_t left = header->nlmsg_len > before ? header->nlmsg_len - before : 0;
	parse((const uint8_t *)header + before, left, table, count);
}

void netlink_parse_nested(const struct nlattr *nest, const struct nlattr **table, unsigned count)
{
	parse(netlink_data(nest), netlink_length(nest), table, count);
}

const void *netlink_data(const struct nlattr *attribute)
{
	return (const uint8_t *)attribute + NLA_HDRLEN;
}

size_t netlink_length(const struct nlattr *attribute)
{
	return attribute->nla_len - NLA_HDRLEN;
}

uint32_t netlink_u32(const struct nlattr *attribute)
{
	uint32_t value = 0;
	if (attribute && netlink_length(attribute) == sizeof(value))
		memcpy(&value, netlink_data(attribute), sizeof(value));
	return value;
}
