/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/rpc/sasl.h"

#include "base/error.h"

#include <sasl/sasl.h>

/* The name under which libvirt's clients ask for tickets, and of the file in /etc/sasl2. */
#define SERVICE "libvirt"

enum { MAX_SSF = 100000, MAX_BUFFER = 65536 };

struct sasl_session {
	sasl_conn_t *conn;
	unsigned min_ssf;
	unsigned max_plain;
};

static bool check(int rc, const char *what, GError **error)
{
	return rc == SASL_OK || error_set(error, BERTH_ERR_IO, "SASL cannot %s: %s", what,
					  sasl_errstring(rc, NULL, NULL));
}

bool sasl_library_init(GError **error)
{
	return check(sasl_server_init(NULL, SERVICE), "start", error);
}

/* What a mechanism must do, by what lies below it. */
static bool set_properties(sasl_conn_t *conn, const struct sasl_settings *settings, GError **error)
{
	sasl_ssf_t external = settings->external_ssf;
	/* Passwords in the clear, and no name at all, only where nobody can listen. */
	sasl_security_properties_t properties = {
		.min_ssf = settings->min_ssf, .max_ssf = settings->min_ssf ? MAX_SSF : 0,
		.maxbufsize = MAX_BUFFER,
		.security_flags = SASL_SEC_NOANONYMOUS | (settings->min_ssf ? SASL_SEC_NOPLAINTEXT : 0),
	};
	return (!external || check(sasl_setprop(conn, SASL_SSF_EXTERNAL, &external),
				   "note TLS's strength", error)) &&
	       check(sasl_setprop(conn, SASL_SEC_PROPS, &properties), "set what is required", error);
}

struct sasl_session *sasl_session_new(const struct sasl_settings *settings, GError **error)
{
	struct sasl_session *session = g_new0(struct sasl_session, 1);
	session->min_ssf = settings->min_ssf;
	if (check(sasl_server_new(SERVICE, NULL, NULL, settings->local, settings->remote, NULL,
				  SASL_SUCCESS_DATA, &session->conn), "begin", error) &&
	    set_properties(session->conn, settings, error))
		return session;
	sasl_session_free(session);
	return NULL;
}

void sasl_session_free(struct sasl_session *session)
{
	if (!session)
		return;
	sasl_dispose(&session->conn);
	g_free(session);
}

const char *sasl_session_mechanisms(struct sasl_session *session, GError **error)
{
	const char *list = NULL;
	int count = 0;
	if (!check(sasl_listmech(session->conn, NULL, "", ",", "", &list, NULL, &count),
		   "list mechanisms", error))
		return NULL;
	if (count > 0)
		return list;
	error_set(error, BERTH_ERR_NOT_FOUND,
		  "no SASL mechanism serves this connection: see mech_list in /etc/sasl2/" SERVICE
		  ".conf (over TCP without TLS, only one that encrypts)");
	return NULL;
}

bool sasl_session_step(struct sasl_session *session, const char *mechanism, const uint8_t *data,
		       size_t size, const char **reply, unsigned *reply_size, bool *complete,
		       GError **error)
{
	int rc = mechanism ? sasl_server_start(session->conn, mechanism, (const char *)data, size, reply,
					       reply_size)
			   : sasl_server_step(session->conn, (const char *)data, size, reply, reply_size);
	*complete = rc == SASL_OK;
	return rc == SASL_OK || rc == SASL_CONTINUE ||
	       error_set(error, BERTH_ERR_INVALID, "SASL: %s", sasl_errdetail(session->conn));
}

const char *sasl_session_user(struct sasl_session *session, GError **error)
{
	const void *user = NULL;
	int rc = sasl_getprop(session->conn, SASL_USERNAME, &user);
	if (rc == SASL_OK && !user)
		error_set(error, BERTH_ERR_INVALID, "SASL gave the client no name");
	return check(rc, "say who the client is", error) ? user : NULL;
}

bool sasl_session_layer(struct sasl_session *session, bool *layer, GError **error)
{
	const void *value = NULL;
	if (!check(sasl_getprop(session->conn, SASL_SSF, &value), "say how strong its layer is", error))
		return false;
	unsigned ssf = *(const sasl_ssf_t *)value;
	if (ssf < session->min_ssf)
		return error_set(error, BERTH_ERR_INVALID,
				 "the SASL mechanism encrypts with %u bits, %u are required", ssf,
				 session->min_ssf);
	*layer = session->min_ssf > 0;
	if (!*layer)
		return true;
	if (!check(sasl_getprop(session->conn, SASL_MAXOUTBUF, &value), "say how much it takes", error))
		return false;
	session->max_plain = *(const unsigned *)value;
	return session->max_plain > 0 ||
	       error_set(error, BERTH_ERR_INVALID, "the client's SASL layer takes no data");
}

size_t sasl_session_max_plain(const struct sasl_session *session)
{
	return session->max_plain;
}

bool sasl_session_encode(struct sasl_session *session, const uint8_t *bytes, size_t size,
			 GByteArray *out, GError **error)
{
	const char *sealed = NULL;
	unsigned length = 0;
	if (!check(sasl_encode(session->conn, (const char *)bytes, size, &sealed, &length), "encrypt",
		   error))
		return false;
	g_byte_array_append(out, (const uint8_t *)sealed, length);
	return true;
}

bool sasl_session_decode(struct sasl_session *session, const uint8_t *bytes, size_t size,
			 GByteArray *out, GError **error)
{
	const char *plain = NULL;
	unsigned length = 0;
	if (!check(sasl_decode(session->conn, (const char *)bytes, size, &plain, &length), "decrypt",
		   error))
		return false;
	if (length)
		g_byte_array_append(out, (const uint8_t *)plain, length);
	return true;
}
