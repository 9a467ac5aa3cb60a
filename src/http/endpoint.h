/* endpoint.h - where an OpenAI-compatible upstream is, the key it wants, and what its codes mean. */
#pragma once

#include "src/http/http.h"

/* As configured; NULL: not set. */
typedef struct {
    const char *base_url;
    const char *api_key;
} sc_endpoint_options;

typedef struct {
    char            *url;
    sc_http_headers *headers; /* Content-Type, and Authorization when there is a key */
} sc_endpoint;

/* base_url + "/v1" + path, where base_url may end in a version ("/v1") already. own's parts count
 * as a whole: when it names a base_url, shared's key is not sent there. own may be NULL.
 * Gives: *out, to be closed with sc_endpoint_close(); zeroed on error.
 * Errors: SC_INVALID with the cause, never with the key; SC_NO_MEMORY. */
SC_MUST_CHECK sc_status sc_endpoint_open(const sc_endpoint_options *own,
                                         const sc_endpoint_options *shared, const char *path,
                                         sc_endpoint *out, sc_error *error);
void sc_endpoint_close(sc_endpoint *endpoint);

bool sc_endpoint_has_key(const sc_endpoint_options *options);

/* What a finished request says about the upstream: SC_OK for a 2xx reply, SC_INVALID when it
 * refuses what was asked (400, 413, 422), otherwise the request's own status or SC_UNAVAILABLE.
 * who ("embeddings", "chat") begins the error's text. Only identifiers are taken from the
 * upstream's error: its messages may quote prompts and keys. */
sc_status sc_endpoint_judge(const sc_http_request *request, const char *who, sc_error *error);
