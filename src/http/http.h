/* http.h - requests to upstreams: one thread, one libcurl multi handle, no waiting threads.
 *
 * Any thread hands over a request that is embedded in what waits for it; the I/O thread does
 * the rest and calls done() exactly once. Knows nothing of JSON, models or retries.
 *
 * Certificates are checked, redirects are not followed, only http and https are spoken, and
 * the proxy variables of the environment are ignored: a cache that sends prompts elsewhere
 * because of a variable in somebody's shell is a leak. A proxy is a setting (options.proxy). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/base/buf.h"
#include "src/base/clock.h"
#include "src/base/list.h"
#include "src/base/status.h"
#include "src/base/str.h"

typedef struct sc_http         sc_http;
typedef struct sc_http_headers sc_http_headers;
typedef struct sc_http_lane    sc_http_lane;

typedef struct {
    unsigned    connections_max;     /* in all; idle ones are kept for reuse up to this; 0: 1024 */
    int64_t     connect_timeout_ms;  /* 0: 5000 */
    const char *user_agent;          /* NULL: "semcached" */
    const char *ca_file;             /* PEM; NULL: the system's certificates */
    const char *proxy;               /* URL; NULL: none, whatever the environment says */
} sc_http_options;

typedef enum { SC_HTTP_GET, SC_HTTP_POST } sc_http_method;

typedef struct sc_http_request {
    /* The request; what it points to is borrowed until done(). */
    sc_http_method         method;
    const char            *url;
    const sc_http_headers *headers; /* NULL: none */
    sc_str                 body;
    size_t                 body_bytes_max; /* of the reply's body */
    sc_http_lane          *lane;           /* NULL: starts at once, unbounded */
    sc_instant             start_at;       /* not before; zero: at once */
    sc_instant             deadline;
    sc_error              *error; /* the caller's; says more when status is not SC_OK */

    /* NULL, or: the request's turn has come, and it may now get its body. On the I/O thread; anything
     * but SC_OK ends the request with that status. */
    sc_status (*begin)(struct sc_http_request *request);

    /* NULL: a body is collected in `reply`. Otherwise each piece of a 2xx body comes here, on the
     * I/O thread; anything but SC_OK ends the request with that status. */
    sc_status (*on_data)(struct sc_http_request *request, sc_str bytes);

    /* Called exactly once, on the I/O thread, with no lock held. May send the request again. */
    void (*done)(struct sc_http_request *request);

    /* The outcome, set before done(). SC_OK: a whole reply, whatever its code says. Otherwise
     * SC_INVALID (URL), SC_TIMEOUT, SC_CANCELLED, SC_TOO_LARGE, SC_NO_MEMORY, SC_UNAVAILABLE. */
    sc_status status;
    int       code;           /* 0: no reply */
    bool      maybe_sent;     /* false: the upstream has not seen any of it */
    sc_buf    reply;          /* the caller frees it with sc_buf_fini() */
    int64_t   retry_after_ms; /* what the upstream asked for; -1: nothing */
    int64_t   first_byte_us;  /* from the start of the transfer; 0: none came */
    int64_t   total_us;

    sc_link _link, _parked, _cancel;
    int     _state;
    void   *_transfer;
} sc_http_request;

/* Starts the I/O thread. Errors: SC_NO_MEMORY, SC_UNAVAILABLE (descriptors, threads),
 * SC_INVALID for a CA file that cannot be read. */
SC_MUST_CHECK sc_status sc_http_open(const sc_http_options *options, sc_http **out, sc_error *error);

/* Ends what is under way with SC_CANCELLED and waits for the thread. Nothing may be sent or
 * cancelled any more. NULL is welcome. */
void sc_http_close(sc_http *http);

/* Any thread. Errors: SC_BUSY when the lane is full, and done() will not be called. */
SC_MUST_CHECK sc_status sc_http_send(sc_http *http, sc_http_request *request);

/* Any thread. done() follows, with SC_CANCELLED or the outcome that came first. Harmless after
 * done() as long as the request is still there. */
void sc_http_cancel(sc_http *http, sc_http_request *request);

/* Header lines "Name: value", copied and shared by any number of requests. Never logged.
 * Errors: SC_INVALID for a line with a control character, SC_NO_MEMORY. */
SC_MUST_CHECK sc_status sc_http_headers_make(const char *const *lines, size_t count,
                                             sc_http_headers **out);
void   sc_http_headers_free(sc_http_headers *headers); /* NULL is welcome */
size_t sc_http_headers_count(const sc_http_headers *headers);

/* A lane bounds the requests of one user of the loop, so that hundreds of slow chat completions
 * never stand in the way of an embedding. What waits for its turn holds no connection. */
SC_MUST_CHECK sc_status sc_http_lane_make(unsigned running_max, size_t waiting_max,
                                          sc_http_lane **out);
void   sc_http_lane_free(sc_http_lane *lane); /* NULL is welcome; no request may be in it */
size_t sc_http_lane_used(const sc_http_lane *lane); /* running and waiting */
