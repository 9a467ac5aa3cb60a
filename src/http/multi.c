/* libcurl tells which sockets and which timer it waits for (multi_socket); libuv waits. That
 * costs O(active) per wake-up, where curl_multi_perform with poll costs O(connections). */
#include <assert.h>
#include <stdlib.h>

#include "src/http/internal.h"

typedef struct {
    uv_poll_t     poll;
    curl_socket_t socket;
    sc_http      *http;
} watch;

static void collect(sc_http *http)
{
    int      left = 0;
    CURLMsg *message;
    while ((message = curl_multi_info_read(http->multi, &left)) != NULL) {
        sc_transfer *transfer = NULL;
        CURLcode     result = message->data.result;
        assert(message->msg == CURLMSG_DONE);
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &transfer);
        sc_http_transfer_ended(http, transfer, result);
    }
}

static void act(sc_http *http, curl_socket_t socket, int what)
{
    int running = 0;
    curl_multi_socket_action(http->multi, socket, what, &running);
    collect(http);
}

void sc_multi_kick(sc_http *http)
{
    act(http, CURL_SOCKET_TIMEOUT, 0);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    watch   *w = poll->data;
    sc_http *http = w->http;
    int      what = 0;
    if (status < 0)
        what = CURL_CSELECT_ERR;
    if ((events & UV_READABLE) != 0)
        what |= CURL_CSELECT_IN;
    if ((events & UV_WRITABLE) != 0)
        what |= CURL_CSELECT_OUT;
    act(http, w->socket, what); /* w may be gone after this */
    sc_http_settle(http);
}

static void on_watch_closed(uv_handle_t *handle)
{
    free(handle->data);
}

static watch *watch_open(sc_http *http, curl_socket_t socket)
{
    watch *w = calloc(1, sizeof *w);
    if (w == NULL)
        return NULL;
    w->socket = socket;
    w->http = http;
    w->poll.data = w;
    if (uv_poll_init_socket(&http->loop, &w->poll, socket) != 0) {
        free(w);
        return NULL;
    }
    curl_multi_assign(http->multi, socket, w);
    return w;
}

static int on_socket(CURL *easy, curl_socket_t socket, int what, void *user, void *socket_user)
{
    sc_http *http = user;
    watch   *w = socket_user;
    (void)easy;
    if (what == CURL_POLL_REMOVE) {
        if (w != NULL) {
            uv_poll_stop(&w->poll);
            uv_close((uv_handle_t *)&w->poll, on_watch_closed);
            curl_multi_assign(http->multi, socket, NULL);
        }
        return 0;
    }
    if (w == NULL && (w = watch_open(http, socket)) == NULL)
        return -1;
    int events = (what != CURL_POLL_OUT ? UV_READABLE : 0) | (what != CURL_POLL_IN ? UV_WRITABLE : 0);
    return uv_poll_start(&w->poll, events, on_poll) == 0 ? 0 : -1;
}

static void on_multi_timer(uv_timer_t *timer)
{
    sc_http *http = timer->data;
    sc_multi_kick(http);
    sc_http_settle(http);
}

static int on_timeout(CURLM *multi, long timeout_ms, void *user)
{
    sc_http *http = user;
    (void)multi;
    if (timeout_ms < 0) {
        uv_timer_stop(&http->multi_timer);
        return 0;
    }
    uv_update_time(&http->loop); /* the cached time may be old, and the timer would fire early */
    return uv_timer_start(&http->multi_timer, on_multi_timer, (uint64_t)timeout_ms, 0) == 0 ? 0 : -1;
}

sc_status sc_multi_open(sc_http *http)
{
    http->multi = curl_multi_init();
    if (http->multi == NULL)
        return SC_NO_MEMORY;
    http->multi_timer.data = http;
    curl_multi_setopt(http->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(http->multi, CURLMOPT_SOCKETDATA, http);
    curl_multi_setopt(http->multi, CURLMOPT_TIMERFUNCTION, on_timeout);
    curl_multi_setopt(http->multi, CURLMOPT_TIMERDATA, http);
    curl_multi_setopt(http->multi, CURLMOPT_PIPELINING, CURLPIPE_MULTIPLEX);
    curl_multi_setopt(http->multi, CURLMOPT_MAX_TOTAL_CONNECTIONS,
                      (long)http->options.connections_max);
    curl_multi_setopt(http->multi, CURLMOPT_MAXCONNECTS, (long)http->options.connections_max);
    return SC_OK;
}

void sc_multi_close(sc_http *http)
{
    if (http->multi != NULL)
        curl_multi_cleanup(http->multi);
    http->multi = NULL;
}
