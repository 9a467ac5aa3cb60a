/* One easy handle. Its unchanging options, URL included, are set once; a request then changes a
 * handful. */
#include <assert.h>
#include <stdlib.h>
#include <strings.h>

#include "src/http/internal.h"

enum { HEADER_BYTES_MAX = 64 * 1024, HEADER_LINE_BYTES_MAX = 16 * 1024 };

/* `retry-after-ms` is finer than the standard's seconds; several upstreams send both. */
static void read_retry_header(sc_transfer *transfer, const char *line, size_t len)
{
    static const char name[] = "retry-after-ms:";
    char              digits[16] = "";
    if (len < sizeof name || strncasecmp(line, name, sizeof name - 1) != 0)
        return;
    size_t at = sizeof name - 1, used = 0;
    while (at < len && line[at] == ' ')
        at++;
    while (at < len && used + 1 < sizeof digits && line[at] >= '0' && line[at] <= '9')
        digits[used++] = line[at++];
    if (used != 0)
        transfer->retry_after_ms = strtoll(digits, NULL, 10);
}

static size_t on_header(char *line, size_t size, size_t count, void *user)
{
    sc_transfer *transfer = user;
    size_t       len = size * count;
    transfer->header_bytes += len;
    if (transfer->header_bytes > HEADER_BYTES_MAX || len > HEADER_LINE_BYTES_MAX) {
        transfer->stopped = sc_fail(transfer->request->error, SC_TOO_LARGE,
                                    "the reply's headers are over %d bytes", HEADER_BYTES_MAX);
        return 0;
    }
    read_retry_header(transfer, line, len);
    return len;
}

static bool code_is_good(CURL *easy)
{
    long code = 0;
    curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &code);
    return code >= 200 && code < 300;
}

static sc_status collect(sc_http_request *request, const char *bytes, size_t len)
{
    sc_status status = sc_buf_append(&request->reply, bytes, len);
    if (status == SC_TOO_LARGE)
        sc_fail(request->error, status, "the reply's body is over %zu bytes",
                request->body_bytes_max);
    else if (status != SC_OK)
        sc_fail(request->error, status, "no memory for the reply");
    return status;
}

static size_t on_body(char *bytes, size_t size, size_t count, void *user)
{
    sc_transfer     *transfer = user;
    sc_http_request *request = transfer->request;
    size_t           len = size * count;
    bool             stream = request->on_data != NULL && code_is_good(transfer->easy);
    sc_status        status = stream ? request->on_data(request, (sc_str){bytes, len})
                                     : collect(request, bytes, len);
    if (status != SC_OK && request->error->status == SC_OK)
        sc_fail(request->error, status, "the reply was refused (%s)", sc_status_name(status));
    transfer->stopped = status;
    return status == SC_OK ? len : CURL_WRITEFUNC_ERROR;
}

static void set_fixed_options(sc_transfer *transfer)
{
    CURL                  *easy = transfer->easy;
    const sc_http_options *options = &transfer->http->options;
    curl_easy_setopt(easy, CURLOPT_PRIVATE, transfer);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, transfer->error_text);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, transfer);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, transfer);
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, sc_multi_open_socket);
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, transfer->http);
    curl_easy_setopt(easy, CURLOPT_CLOSESOCKETFUNCTION, sc_multi_close_socket);
    curl_easy_setopt(easy, CURLOPT_CLOSESOCKETDATA, transfer->http);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_NOPROGRESS, 1L);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(easy, CURLOPT_PROXY, options->proxy == NULL ? "" : options->proxy);
    curl_easy_setopt(easy, CURLOPT_USERAGENT, options->user_agent);
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS);
    curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 1L);
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 2L);
    if (options->ca_file != NULL)
        curl_easy_setopt(easy, CURLOPT_CAINFO, options->ca_file);
    curl_easy_setopt(easy, CURLOPT_TCP_NODELAY, 1L);
    curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(easy, CURLOPT_TCP_KEEPIDLE, 30L);
    curl_easy_setopt(easy, CURLOPT_TCP_KEEPINTVL, 10L);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)options->connect_timeout_ms);
}

static bool set_target(sc_transfer *transfer)
{
    CURL            *easy = transfer->easy;
    const sc_target *target = transfer->target;
    /* With TLS the handshake tells whether one connection serves all, so newcomers wait for it
     * rather than open their own. Without TLS it would take the first reply to tell. */
    bool tls = strncasecmp(target->url, "https:", 6) == 0;
    curl_easy_setopt(easy, CURLOPT_PIPEWAIT, tls ? 1L : 0L);
    return (target->parsed != NULL
                ? curl_easy_setopt(easy, CURLOPT_CURLU, target->parsed)
                : curl_easy_setopt(easy, CURLOPT_URL, target->url)) == CURLE_OK;
}

sc_transfer *sc_transfer_open(sc_http *http, sc_target *target)
{
    sc_transfer *transfer = calloc(1, sizeof *transfer);
    if (transfer == NULL)
        return NULL;
    transfer->http = http;
    transfer->target = target;
    transfer->easy = curl_easy_init();
    if (transfer->easy == NULL || !set_target(transfer)) {
        sc_transfer_close(transfer);
        return NULL;
    }
    set_fixed_options(transfer);
    return transfer;
}

void sc_transfer_close(sc_transfer *transfer)
{
    curl_easy_cleanup(transfer->easy); /* NULL is welcome */
    free(transfer);
}

static CURLcode set_method(CURL *easy, const sc_http_request *request)
{
    if (request->method == SC_HTTP_GET)
        return curl_easy_setopt(easy, CURLOPT_HTTPGET, 1L);
    curl_easy_setopt(easy, CURLOPT_POST, 1L);
    curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body.len);
    /* Never NULL: libcurl would then ask a read callback. */
    return curl_easy_setopt(easy, CURLOPT_POSTFIELDS,
                            request->body.len == 0 ? "" : request->body.ptr);
}

sc_status sc_transfer_prepare(sc_transfer *transfer, sc_instant now)
{
    CURL                  *easy = transfer->easy;
    const sc_http_request *request = transfer->request;
    int64_t                left_ms = sc_remaining_ms(now, request->deadline);
    transfer->header_bytes = 0;
    transfer->retry_after_ms = -1;
    transfer->stopped = SC_OK;
    transfer->error_text[0] = '\0';
    /* Refuses a declared length before the body comes; on_body counts the undeclared ones. */
    curl_easy_setopt(easy, CURLOPT_MAXFILESIZE_LARGE,
                     request->on_data == NULL ? (curl_off_t)request->body_bytes_max
                                              : (curl_off_t)0);
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, left_ms > INT32_MAX ? 0L : (long)left_ms);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER,
                     request->headers == NULL ? NULL : request->headers->list);
    if (set_method(easy, request) != CURLE_OK)
        return sc_fail(request->error, SC_NO_MEMORY, "no memory for the request");
    return SC_OK;
}

/* Another request, with another key, may be the next to use it. */
void sc_transfer_release(sc_transfer *transfer)
{
    curl_easy_setopt(transfer->easy, CURLOPT_HTTPHEADER, NULL);
    curl_easy_setopt(transfer->easy, CURLOPT_POSTFIELDS, "");
    transfer->request = NULL;
}

static sc_status status_of(CURLcode result, bool deadline_passed)
{
    switch ((int)result) {
    case CURLE_OK:
        return SC_OK;
    case CURLE_OPERATION_TIMEDOUT:
        /* Otherwise it was the connection's own, shorter time. */
        return deadline_passed ? SC_TIMEOUT : SC_UNAVAILABLE;
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_URL_MALFORMAT:
        return SC_INVALID;
    case CURLE_FILESIZE_EXCEEDED:
        return SC_TOO_LARGE;
    case CURLE_OUT_OF_MEMORY:
        return SC_NO_MEMORY;
    default:
        return SC_UNAVAILABLE;
    }
}

static void explain(sc_transfer *transfer, CURLcode result, sc_status status)
{
    const char *text =
        transfer->error_text[0] != '\0' ? transfer->error_text : curl_easy_strerror(result);
    if (status == SC_TOO_LARGE)
        sc_fail(transfer->request->error, status, "the reply's body is over %zu bytes",
                transfer->request->body_bytes_max);
    else
        sc_fail(transfer->request->error, status, "%s", text);
}

static int64_t retry_after_ms(const sc_transfer *transfer)
{
    curl_off_t seconds = 0;
    if (transfer->retry_after_ms >= 0)
        return transfer->retry_after_ms;
    if (curl_easy_getinfo(transfer->easy, CURLINFO_RETRY_AFTER, &seconds) != CURLE_OK || seconds <= 0)
        return -1;
    return seconds > INT32_MAX ? (int64_t)INT32_MAX * 1000 : (int64_t)seconds * 1000;
}

void sc_transfer_outcome(sc_transfer *transfer, CURLcode result, sc_instant now)
{
    sc_http_request *request = transfer->request;
    long             code = 0, request_bytes = 0;
    curl_off_t       first_us = 0, total_us = 0;
    curl_easy_getinfo(transfer->easy, CURLINFO_RESPONSE_CODE, &code);
    curl_easy_getinfo(transfer->easy, CURLINFO_REQUEST_SIZE, &request_bytes);
    curl_easy_getinfo(transfer->easy, CURLINFO_STARTTRANSFER_TIME_T, &first_us);
    curl_easy_getinfo(transfer->easy, CURLINFO_TOTAL_TIME_T, &total_us);
    request->code = (int)code;
    request->maybe_sent = request_bytes != 0;
    request->first_byte_us = (int64_t)first_us;
    request->total_us = (int64_t)total_us;
    request->retry_after_ms = retry_after_ms(transfer);
    if (transfer->stopped != SC_OK) {
        request->status = transfer->stopped;
        return;
    }
    request->status =
        status_of(result, sc_remaining_ms(now, request->deadline) <= 1 /* libcurl rounds */);
    if (request->status != SC_OK)
        explain(transfer, result, request->status);
}
