/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "block/nbd/tls.h"

#include "base/error.h"
#include "block/core/options.h"

#include <string.h>
#include <unistd.h>

#define PSK_PRIORITY ":+ECDHE-PSK:+DHE-PSK:+PSK"

struct nbd_tls_creds {
	unsigned references;
	bool server, psk, verify;
	char *priority;
	gnutls_certificate_credentials_t x509;
	gnutls_psk_server_credentials_t psk_server;
	gnutls_psk_client_credentials_t psk_client;
};

static bool failed(int rc, const char *what, GError **error)
{
	return rc >= 0 || error_set(error, BERTH_ERR_IO, "%s: %s", what, gnutls_strerror(rc));
}

static bool load_x509(struct nbd_tls_creds *creds, const char *dir, GError **error)
{
	const char *side = creds->server ? "server" : "client";
	g_autofree char *ca = g_build_filename(dir, "ca-cert.pem", NULL);
	g_autofree char *crl = g_build_filename(dir, "ca-crl.pem", NULL);
	g_autofree char *cert = g_strdup_printf("%s/%s-cert.pem", dir, side);
	g_autofree char *key = g_strdup_printf("%s/%s-key.pem", dir, side);
	if (!failed(gnutls_certificate_allocate_credentials(&creds->x509), "GnuTLS", error) ||
	    !failed(gnutls_certificate_set_x509_trust_file(creds->x509, ca, GNUTLS_X509_FMT_PEM), ca,
		    error))
		return false;
	/* A client may have no certificate of its own. */
	bool wanted = creds->server || access(cert, F_OK) == 0;
	if (wanted && !failed(gnutls_certificate_set_x509_key_file(creds->x509, cert, key,
								   GNUTLS_X509_FMT_PEM), cert, error))
		return false;
	return access(crl, F_OK) != 0 ||
	       failed(gnutls_certificate_set_x509_crl_file(creds->x509, crl, GNUTLS_X509_FMT_PEM), crl,
		      error);
}

/* The key of `user` in a file of lines USER:HEX. g_free(). */
static char *find_key(const char *path, const char *user, GError **error)
{
	g_autofree char *text = NULL;
	if (!g_file_get_contents(path, &text, NULL, error))
		return NULL;
	g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
	for (unsigned i = 0; lines[i]; i++) {
		const char *colon = strchr(lines[i], ':');
		if (colon && (size_t)(colon - lines[i]) == strlen(user) &&
		    strncmp(lines[i], user, strlen(user)) == 0)
			return g_strstrip(g_strdup(colon + 1));
	}
	error_set(error, BERTH_ERR_NOT_FOUND, "%s has no key of '%s'", path, user);
	return NULL;
}

static bool load_psk(struct nbd_tls_creds *creds, const char *dir, const char *user, GError **error)
{
	g_autofree char *path = g_build_filename(dir, "keys.psk", NULL);
	if (creds->server)
		return failed(gnutls_psk_allocate_server_credentials(&creds->psk_server), "GnuTLS", error) &&
		       failed(gnutls_psk_set_server_credentials_file(creds->psk_server, path), path, error);
	g_autofree char *key = find_key(path, user, error);
	if (!key)
		return false;
	gnutls_datum_t datum = {(unsigned char *)key, strlen(key)};
	return failed(gnutls_psk_allocate_client_credentials(&creds->psk_client), "GnuTLS", error) &&
	       failed(gnutls_psk_set_client_credentials(creds->psk_client, user, &datum,
							GNUTLS_PSK_KEY_HEX), path, error);
}

struct nbd_tls_creds *nbd_tls_creds_new(bool psk, json_t *dict, GError **error)
{
	static const char *const endpoints[] = {"client", "server", NULL};
	struct nbd_tls_creds *creds = g_new0(struct nbd_tls_creds, 1);
	g_autofree char *dir = block_take_string(dict, "dir");
	g_autofree char *user = psk ? block_take_string(dict, "username") : NULL;
	int endpoint = 0;
	creds->references = 1;
	creds->psk = psk;
	creds->verify = true;
	creds->priority = block_take_string(dict, "priority");
	bool good = block_take_enum(dict, "endpoint", endpoints, &endpoint, error) &&
		    block_take_bool(dict, "verify-peer", &creds->verify, error) &&
		    block_refuse_rest(dict, "TLS credentials", error);
	creds->server = endpoint == 1;
	if (good && !dir)
		good = error_set(error, BERTH_ERR_INVALID, "TLS credentials need dir=FOLDER");
	good = good && (psk ? load_psk(creds, dir, user ? user : "qemu", error)
			    : load_x509(creds, dir, error));
	if (good)
		return creds;
	nbd_tls_creds_unref(creds);
	return NULL;
}

struct nbd_tls_creds *nbd_tls_creds_ref(struct nbd_tls_creds *creds)
{
	creds->references++;
	return creds;
}

void nbd_tls_creds_unref(struct nbd_tls_creds *creds)
{
	if (!creds || --creds->references)
		return;
	if (creds->x509)
		gnutls_certificate_free_credentials(creds->x509);
	if (creds->psk_server)
		gnutls_psk_free_server_credentials(creds->psk_server);
	if (creds->psk_client)
		gnutls_psk_free_client_credentials(creds->psk_client);
	g_free(creds->priority);
	g_free(creds);
}

bool nbd_tls_creds_is_server(const struct nbd_tls_creds *creds)
{
	return creds->server;
}

static int set_credentials(gnutls_session_t session, struct nbd_tls_creds *creds)
{
	return !creds->psk	? gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, creds->x509)
	       : creds->server ? gnutls_credentials_set(session, GNUTLS_CRD_PSK, creds->psk_server)
			       : gnutls_credentials_set(session, GNUTLS_CRD_PSK, creds->psk_client);
}

gnutls_session_t nbd_tls_session(struct nbd_tls_creds *creds, const char *hostname, GError **error)
{
	gnutls_session_t session;
	g_autofree char *priority = g_strconcat(creds->priority ? creds->priority : "NORMAL",
						creds->psk ? PSK_PRIORITY : "", NULL);
	unsigned flags = (creds->server ? GNUTLS_SERVER : GNUTLS_CLIENT) | GNUTLS_NONBLOCK |
			 GNUTLS_NO_SIGNAL;
	if (!failed(gnutls_init(&session, flags), "GnuTLS", error))
		return NULL;
	if (!failed(gnutls_priority_set_direct(session, priority, NULL), priority, error) ||
	    !failed(set_credentials(session, creds), "GnuTLS", error)) {
		gnutls_deinit(session);
		return NULL;
	}
	if (!creds->psk && creds->verify) {
		if (creds->server)
			gnutls_certificate_server_set_request(session, GNUTLS_CERT_REQUIRE);
		else if (hostname)
			gnutls_server_name_set(session, GNUTLS_NAME_DNS, hostname, strlen(hostname));
		gnutls_session_set_verify_cert(session, creds->server ? NULL : hostname, 0);
	}
	return session;
}
