/* internal.h - what the files of src/http share; nobody else includes it.
 *
 * http.c    the thread: inbox, lanes, parked requests, exactly one done() each
 * multi.c   libcurl's sockets and timer on the libuv loop
 * handles.c the idle easy handles, by URL
 * transfer.c one easy handle: options in, outcome out */
#pragma once

#include <curl/curl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <uv.h>

#include "src/http/http.h"

/* A URL that handles are kept for. */
typedef struct {
    sc_link  link; /* among all */
    char    *url;
    CURLU   *parsed; /* NULL: it cannot be */
    sc_link  idle;   /* of transfers' same_url, the last used first */
    size_t   handles; /* running and idle */
} sc_target;

/* An easy handle with its request; kept for reuse, because making one costs more than using it. */
typedef struct sc_transfer {
    sc_link          link;     /* among the running ones, or the idle ones */
    sc_link          same_url; /* among the idle ones of its target */
    sc_http         *http;
    sc_target       *target;
    CURL            *easy;
    sc_http_request *request; /* NULL while idle */
    size_t           header_bytes;
    int64_t          retry_after_ms;
    sc_status        stopped; /* why one of our callbacks ended the transfer */
    char             error_text[CURL_ERROR_SIZE];
} sc_transfer;

typedef struct sc_watch sc_watch;

/* What is known of a socket, by its number. */
typedef struct {
    sc_watch *watch; /* NULL: none yet */
    bool      ours;  /* opened by us: we shall hear of its end */
} sc_watch_slot;

struct sc_http_headers {
    struct curl_slist *list;
};

struct sc_http_lane {
    /* Fixed by make. */
    size_t running_max;
    size_t used_max;

    atomic_size_t used; /* running and waiting */

    /* The I/O thread only. */
    size_t  running;
    sc_link waiting; /* of requests' _link, in order of arrival */
    sc_link ready;   /* in http->lanes_ready: a place may have become free */
};

struct sc_http {
    /* Fixed by open. */
    sc_http_options options;
    char           *user_agent, *ca_file, *proxy;
    pthread_t       thread;
    bool            thread_started, loop_open, wake_open;

    pthread_mutex_t lock;
    /* Under lock. */
    sc_link inbox;   /* of requests' _link */
    sc_link cancels; /* of requests' _cancel */
    bool    closing;
    bool    wake_sent; /* one wake-up is on its way already */

    /* The I/O thread only. */
    uv_loop_t  loop;
    uv_async_t wake;
    uv_timer_t multi_timer;  /* libcurl's */
    uv_timer_t parked_timer; /* the earliest instant at which a parked request is due, or earlier */
    int64_t    parked_ns;    /* when that is; INT64_MAX: the timer sleeps */
    CURLM     *multi;
    sc_watch_slot *watches; /* [watches_room] */
    size_t         watches_room;
    sc_link    parked; /* of requests' _parked: wait for their start or for a lane */
    sc_link    running;
    sc_link    idle; /* of transfers, the last used first */
    size_t     idle_count;
    sc_link    targets;
    sc_link    lanes_ready;
    bool       started; /* libcurl was given a handle it has not looked at yet */
};

/* multi.c */
sc_status sc_multi_open(sc_http *http);
void      sc_multi_close(sc_http *http);
/* Lets libcurl look at new transfers and passed timeouts at once, then collects what ended. */
void sc_multi_kick(sc_http *http);
/* For a handle's options: sockets of connections. The first argument is the sc_http. */
curl_socket_t sc_multi_open_socket(void *http, curlsocktype purpose, struct curl_sockaddr *address);
int           sc_multi_close_socket(void *http, curl_socket_t socket);

/* handles.c */
/* An idle handle for that URL, or a new one; NULL without memory. */
sc_transfer *sc_handles_take(sc_http *http, const char *url);
void         sc_handles_give(sc_http *http, sc_transfer *transfer);
void         sc_handles_close(sc_http *http); /* the idle ones */

/* transfer.c */
sc_transfer *sc_transfer_open(sc_http *http, sc_target *target);
void         sc_transfer_close(sc_transfer *transfer);
/* Sets the easy handle up for its request, which goes to the target's URL. */
sc_status sc_transfer_prepare(sc_transfer *transfer, sc_instant now);
/* The request is over: the handle forgets what it was lent. */
void sc_transfer_release(sc_transfer *transfer);
/* Writes the outcome into the request, its status included. */
void sc_transfer_outcome(sc_transfer *transfer, CURLcode result, sc_instant now);

/* http.c: the transfer ended by itself. */
void sc_http_transfer_ended(sc_http *http, sc_transfer *transfer, CURLcode result);
/* http.c: to be called at the end of every libuv callback. */
void sc_http_settle(sc_http *http);
