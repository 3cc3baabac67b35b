/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * TLS as libvirt's daemons speak it: x509 certificates from the places that libvirt documents, and
 * after the handshake one byte from the server that says whether it accepts the client's.
 */
#include "client/client.h"
#include "client/transport.h"

#include <errno.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <string.h>
#include <unistd.h>

struct tls {
	gnutls_session_t session;
	gnutls_certificate_credentials_t credentials;
};

/* The user's own files come before the host's, as libvirt documents it. */
static char *find_file(const struct client_uri *uri, const char *name, const char *system)
{
	if (uri->pkipath)
		return g_build_filename(uri->pkipath, name, NULL);
	g_autofree char *own = g_build_filename(g_get_home_dir(), ".pki", "libvirt", name, NULL);
	return access(own, R_OK) == 0 ? g_steal_pointer(&own) : g_strdup(system);
}

static bool fail(GError **error, const char *what, int code)
{
	g_set_error(error, CLIENT_ERROR, CLIENT_SYSTEM, "%s: %s", what, gnutls_strerror(code));
	return false;
}

static bool load_files(struct tls *tls, const struct client_uri *uri, GError **error)
{
	g_autofree char *ca = find_file(uri, "cacert.pem", "/etc/pki/CA/cacert.pem");
	g_autofree char *cert = find_file(uri, "clientcert.pem", "/etc/pki/libvirt/clientcert.pem");
	g_autofree char *key = find_file(uri, "clientkey.pem",
					 "/etc/pki/libvirt/private/clientkey.pem");
	int rc = gnutls_certificate_set_x509_trust_file(tls->credentials, ca, GNUTLS_X509_FMT_PEM);
	if (rc < 0 && !uri->no_verify)
		return fail(error, ca, rc);
	if (access(cert, R_OK) != 0)
		return true; /* the server says if it wants one */
	rc = gnutls_certificate_set_x509_key_file(tls->credentials, cert, key, GNUTLS_X509_FMT_PEM);
	return rc >= 0 || fail(error, key, rc);
}

static bool shake_hands(struct tls *tls, const struct client_uri *uri, GError **error)
{
	int rc;
	do {
		rc = gnutls_handshake(tls->session);
	} while (rc < 0 && !gnutls_error_is_fatal(rc));
	if (rc < 0) {
		unsigned status = gnutls_session_get_verify_cert_status(tls->session);
		gnutls_datum_t text = {0};
		if (rc == GNUTLS_E_CERTIFICATE_VERIFICATION_ERROR &&
		    gnutls_certificate_verification_status_print(status, GNUTLS_CRT_X509, &text,
								 0) == 0) {
			g_set_error(error, CLIENT_ERROR, CLIENT_SYSTEM, "authentication failed: %s",
				    text.data);
			gnutls_free(text.data);
			return false;
		}
		return fail(error, "TLS handshake failed", rc);
	}
	char accepted = 0;
	ssize_t got;
	/* A session ticket may come first, which is no data. */
	do {
		got = tls_read(tls, &accepted, 1);
	} while (got < 0 && (errno == EAGAIN || errno == EINTR));
	if (got == 1 && accepted == '\1')
		return true;
	g_set_error(error, CLIENT_ERROR, CLIENT_RPC,
		    "server verification (of our certificate or IP address) failed");
	return false;
}

struct tls *tls_open(int fd, const struct client_uri *uri, GError **error)
{
	struct tls *tls = g_new0(struct tls, 1);
	int rc = gnutls_certificate_allocate_credentials(&tls->credentials);
	if (rc >= 0)
		rc = gnutls_init(&tls->session, GNUTLS_CLIENT);
	if (rc < 0) {
		fail(error, "cannot set up TLS", rc);
	} else if (load_files(tls, uri, error)) {
		gnutls_set_default_priority(tls->session);
		gnutls_credentials_set(tls->session, GNUTLS_CRD_CERTIFICATE, tls->credentials);
		gnutls_transport_set_int(tls->session, fd);
		if (uri->host && !g_hostname_is_ip_address(uri->host))
			gnutls_server_name_set(tls->session, GNUTLS_NAME_DNS, uri->host,
					       strlen(uri->host));
		if (!uri->no_verify)
			gnutls_session_set_verify_cert(tls->session, uri->host, 0);
		if (shake_hands(tls, uri, error))
			return tls;
	}
	tls_free(tls);
	return NULL;
}

void tls_free(struct tls *tls)
{
	if (!tls)
		return;
	if (tls->session)
		gnutls_deinit(tls->session);
	if (tls->credentials)
		gnutls_certificate_free_credentials(tls->credentials);
	g_free(tls);
}

static ssize_t to_errno(ssize_t rc)
{
	if (rc >= 0)
		return rc;
	errno = rc == GNUTLS_E_INTERRUPTED ? EINTR : rc == GNUTLS_E_AGAIN ? EAGAIN : EIO;
	return -1;
}

ssize_t tls_read(struct tls *tls, void *bytes, size_t size)
{
	return to_errno(gnutls_record_recv(tls->session, bytes, size));
}

ssize_t tls_write(struct tls *tls, const void *bytes, size_t size)
{
	return to_errno(gnutls_record_send(tls->session, bytes, size));
}

bool tls_pending(const struct tls *tls)
{
	return gnutls_record_check_pending(tls->session) > 0;
}
