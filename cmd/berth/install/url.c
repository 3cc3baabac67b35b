/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "location.h"

#include "base/error.h"
#include "base/library.h"

#include <curl/curl.h>

#undef curl_easy_setopt /* macros that check types, and know nothing of pointers to functions */
#undef curl_easy_getinfo
#define CURL_FUNCTIONS(F)                                                                          \
	F(curl_easy_init) F(curl_easy_cleanup) F(curl_easy_setopt) F(curl_easy_perform)            \
	F(curl_easy_getinfo) F(curl_easy_strerror)
LIBRARY(curl, CURL_FUNCTIONS, .package = "libcurl3-gnutls",
	.files = {"libcurl-gnutls.so.4", "libcurl.so.4"})

#define SCHEMES "http,https,ftp"

enum { STATUS_NOT_FOUND = 404, CONNECT_LIMIT_S = 30, SILENCE_LIMIT_S = 60, REDIRECTIONS_MAX = 20 };
/* No kernel or initrd is as large: the server has lost its way, or wants to fill the disk. */
#define SIZE_MAX_MIB 2048

struct fetching {
	const char *url;
	bool progress, too_large;
};

static int on_progress(void *opaque, curl_off_t total, curl_off_t now, curl_off_t up_total, curl_off_t up)
{
	struct fetching *fetching = opaque;
	if (fetching->progress && total > 0)
		fprintf(stderr, "\rRetrieving '%s': %3d%%", fetching->url, (int)(now * 100 / total));
	fetching->too_large = MAX(now, total) >> 20 >= SIZE_MAX_MIB;
	return fetching->too_large;
}

static void set_up(CURL *easy, struct fetching *fetching, FILE *out)
{
	curl.curl_easy_setopt(easy, CURLOPT_URL, fetching->url);
	curl.curl_easy_setopt(easy, CURLOPT_WRITEDATA, out);
	curl.curl_easy_setopt(easy, CURLOPT_FAILONERROR, 1L);
	curl.curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 1L);
	curl.curl_easy_setopt(easy, CURLOPT_MAXREDIRS, (long)REDIRECTIONS_MAX);
	curl.curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	curl.curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_LIMIT_S);
	curl.curl_easy_setopt(easy, CURLOPT_LOW_SPEED_LIMIT, 1L);
	curl.curl_easy_setopt(easy, CURLOPT_LOW_SPEED_TIME, (long)SILENCE_LIMIT_S);
	curl.curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, SCHEMES);
	curl.curl_easy_setopt(easy, CURLOPT_REDIR_PROTOCOLS_STR, SCHEMES);
	curl.curl_easy_setopt(easy, CURLOPT_NOPROGRESS, 0L);
	curl.curl_easy_setopt(easy, CURLOPT_XFERINFOFUNCTION, on_progress);
	curl.curl_easy_setopt(easy, CURLOPT_XFERINFODATA, fetching);
}

bool url_fetch(const char *url, FILE *out, bool progress, GError **error)
{
	struct fetching fetching = {.url = url, .progress = progress};
	char message[CURL_ERROR_SIZE] = "";
	long status = 0;
	if (!library_load(&library, error))
		return false;
	CURL *easy = curl.curl_easy_init();
	if (!easy)
		return error_set(error, BERTH_ERR_INTERNAL, "libcurl does not start");
	set_up(easy, &fetching, out);
	curl.curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, message);
	CURLcode code = curl.curl_easy_perform(easy);
	curl.curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
	curl.curl_easy_cleanup(easy);
	if (progress && code == CURLE_OK)
		fputc('\n', stderr);
	bool absent = code == CURLE_REMOTE_FILE_NOT_FOUND ||
		      (code == CURLE_HTTP_RETURNED_ERROR && status == STATUS_NOT_FOUND);
	if (fetching.too_large)
		return error_set(error, BERTH_ERR_IO, "cannot fetch '%s': it is larger than %d MiB", url,
				 SIZE_MAX_MIB);
	return code == CURLE_OK ||
	       error_set(error, absent ? BERTH_ERR_NOT_FOUND : BERTH_ERR_IO, "cannot fetch '%s': %s", url,
			 *message ? message : curl.curl_easy_strerror(code));
}
