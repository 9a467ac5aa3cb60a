#include "src/http/endpoint.h"

#include <stdio.h>
#include <stdlib.h>

#include "src/base/log.h"
#include "src/text/json.h"

enum { URL_BYTES_MAX = 2048, KEY_BYTES_MAX = 4095, ERROR_BODY_BYTES_MAX = 64 * 1024 };

/* ---- the URL ---- */

static bool starts_with(const char *text, const char *head)
{
    return strncmp(text, head, strlen(head)) == 0;
}

static sc_status check_url(const char *url, sc_error *error)
{
    size_t len = strlen(url);
    if (!starts_with(url, "http://") && !starts_with(url, "https://"))
        return sc_fail(error, SC_INVALID, "base URL: must begin with http:// or https://");
    if (len > URL_BYTES_MAX)
        return sc_fail(error, SC_INVALID, "base URL: longer than %d bytes", URL_BYTES_MAX);
    for (const char *at = url; *at != '\0'; at++)
        if ((unsigned char)*at <= ' ' || *at == '?' || *at == '#' || *at == '@' || *at == 0x7f)
            return sc_fail(error, SC_INVALID,
                           "base URL: blanks, '?', '#' and user names ('@') are not allowed");
    return SC_OK;
}

/* Does the path end in "/v" and digits? */
static bool has_version(sc_str url)
{
    size_t at = url.len;
    while (at > 0 && url.ptr[at - 1] >= '0' && url.ptr[at - 1] <= '9')
        at--;
    return at < url.len && at >= 2 && url.ptr[at - 1] == 'v' && url.ptr[at - 2] == '/';
}

static sc_status make_url(const char *base, const char *path, char **out, sc_error *error)
{
    sc_buf    buf;
    sc_str    url = sc_str_of(base);
    sc_status status = check_url(base, error);
    if (status != SC_OK)
        return status;
    while (url.len != 0 && url.ptr[url.len - 1] == '/')
        url.len--;
    sc_buf_init(&buf, 2 * URL_BYTES_MAX);
    sc_buf_str(&buf, url);
    if (!has_version(url))
        sc_buf_str(&buf, SC_STR("/v1"));
    sc_buf_str(&buf, sc_str_of(path));
    *out = sc_buf_take(&buf, NULL);
    sc_buf_fini(&buf);
    return *out == NULL ? sc_fail(error, SC_NO_MEMORY, "no memory") : SC_OK;
}

/* ---- the key ---- */

bool sc_endpoint_has_key(const sc_endpoint_options *options)
{
    return options->api_key != NULL && options->api_key[0] != '\0';
}

static sc_status make_headers(const char *key, sc_http_headers **out, sc_error *error)
{
    char        line[KEY_BYTES_MAX + 32];
    const char *lines[] = {"Content-Type: application/json", line};
    if (key != NULL && strlen(key) > KEY_BYTES_MAX)
        return sc_fail(error, SC_INVALID, "the API key is longer than %d bytes", KEY_BYTES_MAX);
    snprintf(line, sizeof line, "Authorization: Bearer %s", key == NULL ? "" : key);
    sc_status status = sc_http_headers_make(lines, key == NULL ? 1 : 2, out);
    explicit_bzero(line, sizeof line);
    if (status == SC_INVALID)
        return sc_fail(error, status, "the API key contains a control character");
    return status == SC_OK ? SC_OK : sc_fail(error, status, "no memory");
}

static void warn_of_plain_text(const char *url, bool has_key)
{
    if (has_key && starts_with(url, "http://") && !starts_with(url, "http://127.") &&
        !starts_with(url, "http://localhost") && !starts_with(url, "http://[::1]"))
        sc_log(SC_LOG_WARN, "upstream.key_over_plain_http", sc_kv_text("url", url));
}

sc_status sc_endpoint_open(const sc_endpoint_options *own, const sc_endpoint_options *shared,
                           const char *path, sc_endpoint *out, sc_error *error)
{
    sc_endpoint_options from = *shared;
    *out = (sc_endpoint){0};
    if (own != NULL && own->base_url != NULL)
        from = *own;
    else if (own != NULL && sc_endpoint_has_key(own))
        from.api_key = own->api_key;
    if (from.base_url == NULL)
        return sc_fail(error, SC_INVALID, "base URL: not set");
    bool      has_key = sc_endpoint_has_key(&from);
    sc_status status = make_url(from.base_url, path, &out->url, error);
    if (status == SC_OK)
        status = make_headers(has_key ? from.api_key : NULL, &out->headers, error);
    if (status == SC_OK)
        warn_of_plain_text(out->url, has_key);
    else
        sc_endpoint_close(out);
    return status;
}

void sc_endpoint_close(sc_endpoint *endpoint)
{
    free(endpoint->url);
    sc_http_headers_free(endpoint->headers);
    *endpoint = (sc_endpoint){0};
}

/* ---- what codes mean ---- */

static bool is_identifier(const char *text)
{
    size_t len = 0;
    for (; text != NULL && text[len] != '\0'; len++) {
        char c = text[len];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
              c == '_' || c == '-' || c == '.'))
            return false;
    }
    return len > 0 && len <= 64;
}

/* The upstream's own name for its error, or "". */
static void name_error(const sc_http_request *request, char *name, size_t room)
{
    json_t *root = NULL;
    name[0] = '\0';
    if (sc_json_parse(sc_buf_view(&request->reply), ERROR_BODY_BYTES_MAX, &root, NULL) != SC_OK)
        return;
    const json_t *inner = json_object_get(root, "error");
    const char   *code = json_string_value(json_object_get(inner, "code"));
    const char   *type = json_string_value(json_object_get(inner, "type"));
    const char   *found = is_identifier(code) ? code : is_identifier(type) ? type : NULL;
    if (found != NULL)
        snprintf(name, room, ", %s", found);
    json_decref(root);
}

static const char *meaning_of(int code)
{
    switch (code) {
    case 401:
    case 403:
        return "it does not accept the API key";
    case 404:
        return "it does not know the path or the model";
    case 429:
        return "it has too many requests";
    default:
        return code >= 500 ? "it has a fault of its own" : "it refused the request";
    }
}

sc_status sc_endpoint_judge(const sc_http_request *request, const char *who, sc_error *error)
{
    char name[80];
    int  code = request->code;
    if (request->status != SC_OK) {
        sc_error cause = *request->error; /* which may be *error */
        return sc_fail(error, request->status, "%s upstream: %s", who, cause.text);
    }
    if (code >= 200 && code < 300)
        return SC_OK;
    name_error(request, name, sizeof name);
    bool invalid = code == 400 || code == 413 || code == 422;
    return sc_fail(error, invalid ? SC_INVALID : SC_UNAVAILABLE, "%s upstream: %s (HTTP %d%s)", who,
                   meaning_of(code), code, name);
}
