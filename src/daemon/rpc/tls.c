/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/rpc/tls.h"

#include "base/error.h"

#include <gnutls/x509.h>
#include <unistd.h>

struct tls_server {
	gnutls_certificate_credentials_t credentials;
	char *priority;
	bool no_verify;
	char **allowed;
};

static bool check(int rc, const char *what, GError **error)
{
	return rc >= 0 || error_set(error, BERTH_ERR_IO, "%s: %s", what, gnutls_strerror(rc));
}

/* GnuTLS says of a missing file only that it failed. */
static bool is_readable(const char *path, const char *what, GError **error)
{
	return access(path, R_OK) == 0 ||
	       error_set(error, BERTH_ERR_NOT_FOUND,
			 "TLS needs the %s in '%s', which cannot be read: make it (certtool) or name "
			 "another file in berthd.conf", what, path);
}

static bool load_files(struct tls_server *server, const struct tls_settings *settings, GError **error)
{
	gnutls_certificate_credentials_t credentials = server->credentials;
	bool has_crl = settings->crl && *settings->crl;
	return is_readable(settings->ca, "certificate of the authority", error) &&
	       is_readable(settings->certificate, "server's certificate", error) &&
	       is_readable(settings->key, "server's key", error) &&
	       check(gnutls_certificate_set_x509_trust_file(credentials, settings->ca,
							    GNUTLS_X509_FMT_PEM),
		     settings->ca, error) &&
	       check(gnutls_certificate_set_x509_key_file(credentials, settings->certificate,
							  settings->key, GNUTLS_X509_FMT_PEM),
		     settings->certificate, error) &&
	       (!has_crl || (is_readable(settings->crl, "list of revoked certificates", error) &&
			     check(gnutls_certificate_set_x509_crl_file(credentials, settings->crl,
									GNUTLS_X509_FMT_PEM),
				   settings->crl, error)));
}

struct tls_server *tls_server_new(const struct tls_settings *settings, GError **error)
{
	struct tls_server *server = g_new0(struct tls_server, 1);
	server->priority = g_strdup(settings->priority);
	server->no_verify = settings->no_verify;
	server->allowed = g_strdupv((char **)settings->allowed);
	gnutls_priority_t parsed = NULL;
	bool good = check(gnutls_certificate_allocate_credentials(&server->credentials), "GnuTLS",
			  error) &&
		    load_files(server, settings, error) &&
		    check(gnutls_priority_init(&parsed, server->priority, NULL), "tls_priority", error);
	if (parsed)
		gnutls_priority_deinit(parsed);
	if (good)
		return server;
	tls_server_free(server);
	return NULL;
}

void tls_server_free(struct tls_server *server)
{
	if (!server)
		return;
	if (server->credentials)
		gnutls_certificate_free_credentials(server->credentials);
	g_free(server->priority);
	g_strfreev(server->allowed);
	g_free(server);
}

gnutls_session_t tls_server_session(struct tls_server *server, GError **error)
{
	gnutls_session_t session = NULL;
	if (!check(gnutls_init(&session, GNUTLS_SERVER | GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL), "GnuTLS",
		   error))
		return NULL;
	int rc = server->priority ? gnutls_priority_set_direct(session, server->priority, NULL)
				  : gnutls_set_default_priority(session);
	if (rc >= 0)
		rc = gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, server->credentials);
	if (!check(rc, "GnuTLS", error)) {
		gnutls_deinit(session);
		return NULL;
	}
	/* Asked for, not required: tls_server_check() then says who it was that may not come in. */
	if (!server->no_verify)
		gnutls_certificate_server_set_request(session, GNUTLS_CERT_REQUEST);
	return session;
}

/* The name of the client's certificate, as `certtool -i` prints it. */
static char *name_of(gnutls_session_t session, GError **error)
{
	unsigned count = 0;
	const gnutls_datum_t *chain = gnutls_certificate_get_peers(session, &count);
	gnutls_x509_crt_t certificate = NULL;
	gnutls_datum_t name = {0};
	char *result = NULL;
	if (!chain || !count) {
		error_set(error, BERTH_ERR_INVALID, "the client shows no certificate");
		return NULL;
	}
	if (check(gnutls_x509_crt_init(&certificate), "GnuTLS", error) &&
	    check(gnutls_x509_crt_import(certificate, &chain[0], GNUTLS_X509_FMT_DER),
		  "the client's certificate", error) &&
	    check(gnutls_x509_crt_get_dn3(certificate, &name, GNUTLS_X509_DN_FLAG_COMPAT),
		  "the client's certificate", error)) {
		result = g_strndup((const char *)name.data, name.size);
		gnutls_free(name.data);
	}
	if (certificate)
		gnutls_x509_crt_deinit(certificate);
	return result;
}

static bool is_trusted(gnutls_session_t session, const char *name, GError **error)
{
	unsigned status = 0;
	if (!check(gnutls_certificate_verify_peers3(session, NULL, &status), name, error))
		return false;
	if (!status)
		return true;
	gnutls_datum_t text = {0};
	int rc = gnutls_certificate_verification_status_print(status, GNUTLS_CRT_X509, &text, 0);
	error_set(error, BERTH_ERR_INVALID, "the certificate of %s: %s", name,
		  rc == 0 ? (const char *)text.data : gnutls_strerror(rc));
	gnutls_free(text.data);
	return false;
}

bool tls_server_check(const struct tls_server *server, gnutls_session_t session, char **name,
		      GError **error)
{
	*name = NULL;
	if (server->no_verify)
		return true;
	g_autofree char *found = name_of(session, error);
	if (!found || !is_trusted(session, found, error))
		return false;
	bool allowed = !server->allowed;
	for (char **pattern = server->allowed; pattern && *pattern && !allowed; pattern++)
		allowed = g_pattern_match_simple(*pattern, found);
	if (!allowed)
		return error_set(error, BERTH_ERR_INVALID, "tls_allowed_dn_list has not %s", found);
	*name = g_steal_pointer(&found);
	return true;
}
