/* libcurl tells which sockets and which timer it waits for (multi_socket); libuv waits. That
 * costs O(active) per wake-up, where curl_multi_perform with poll costs O(connections).
 *
 * libcurl forgets a connection's socket whenever nothing is under way on it, and asks for it again
 * with the next request. The watch stays all the same, from the socket's first use to its end: two
 * system calls and an allocation less for each request. Only sockets that we opened are kept,
 * because we close them too; libcurl's own, its resolver's, are closed without our being told. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "src/http/internal.h"

struct sc_watch {
    uv_poll_t     poll;
    curl_socket_t socket;
    sc_http      *http;
    int           events; /* libuv looks for; 0: none */
    bool          wanted; /* by libcurl */
};

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

/* ---- watches by their sockets' numbers ---- */

static sc_watch_slot *slot_of(sc_http *http, curl_socket_t socket)
{
    return socket >= 0 && (size_t)socket < http->watches_room ? &http->watches[socket] : NULL;
}

static sc_watch_slot *slot_make(sc_http *http, curl_socket_t socket)
{
    size_t room = http->watches_room == 0 ? 64 : http->watches_room;
    while (room <= (size_t)socket)
        room *= 2;
    if (room != http->watches_room) {
        sc_watch_slot *larger = realloc(http->watches, room * sizeof *larger);
        if (larger == NULL)
            return NULL;
        memset(larger + http->watches_room, 0, (room - http->watches_room) * sizeof *larger);
        http->watches = larger;
        http->watches_room = room;
    }
    return &http->watches[socket];
}

/* ---- a watch ---- */

static bool look_for(sc_watch *w, int events);

static void on_poll(uv_poll_t *poll, int status, int events)
{
    sc_watch *w = poll->data;
    sc_http  *http = w->http;
    int       what = 0;
    if (!w->wanted) {
        look_for(w, 0); /* the upstream hung up while idle; libcurl sees that when it needs it */
        return;
    }
    if (status < 0)
        what = CURL_CSELECT_ERR;
    if ((events & UV_READABLE) != 0)
        what |= CURL_CSELECT_IN;
    if ((events & UV_WRITABLE) != 0)
        what |= CURL_CSELECT_OUT;
    act(http, w->socket, what); /* w may be gone after this */
    sc_http_settle(http);
}

static bool look_for(sc_watch *w, int events)
{
    if (events == w->events)
        return true;
    bool done = (events == 0 ? uv_poll_stop(&w->poll) : uv_poll_start(&w->poll, events, on_poll)) == 0;
    w->events = done ? events : 0;
    return done;
}

static void on_watch_closed(uv_handle_t *handle)
{
    free(handle->data);
}

static sc_watch *watch_open(sc_http *http, curl_socket_t socket)
{
    sc_watch_slot *slot = slot_make(http, socket);
    sc_watch      *w = slot == NULL ? NULL : calloc(1, sizeof *w);
    if (w == NULL)
        return NULL;
    w->socket = socket;
    w->http = http;
    w->poll.data = w;
    if (uv_poll_init_socket(&http->loop, &w->poll, socket) != 0) {
        free(w);
        return NULL;
    }
    slot->watch = w;
    return w;
}

static void watch_close(sc_watch_slot *slot)
{
    if (slot == NULL || slot->watch == NULL)
        return;
    uv_poll_stop(&slot->watch->poll);
    uv_close((uv_handle_t *)&slot->watch->poll, on_watch_closed);
    slot->watch = NULL;
}

/* ---- what libcurl calls ---- */

static void forget(sc_watch_slot *slot)
{
    if (slot == NULL || slot->watch == NULL)
        return;
    slot->watch->wanted = false;
    if (!slot->ours)
        watch_close(slot);
    else if (slot->watch->events != UV_READABLE)
        look_for(slot->watch, 0);
}

static int on_socket(CURL *easy, curl_socket_t socket, int what, void *user, void *socket_user)
{
    sc_http       *http = user;
    sc_watch_slot *slot = slot_of(http, socket);
    sc_watch      *w = slot == NULL ? NULL : slot->watch;
    (void)easy;
    (void)socket_user;
    if (what == CURL_POLL_REMOVE) {
        forget(slot);
        return 0;
    }
    if (w == NULL && (w = watch_open(http, socket)) == NULL)
        return -1;
    w->wanted = true;
    int events = (what != CURL_POLL_OUT ? UV_READABLE : 0) | (what != CURL_POLL_IN ? UV_WRITABLE : 0);
    return look_for(w, events) ? 0 : -1;
}

curl_socket_t sc_multi_open_socket(void *http, curlsocktype purpose, struct curl_sockaddr *address)
{
    (void)purpose;
    int            fd = socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
    sc_watch_slot *slot = fd < 0 ? NULL : slot_make(http, fd);
    /* A watch that is still there is of a socket whose end we did not hear of: libuv would take the
     * new one for it, and never hear of anything. */
    watch_close(slot);
    if (slot != NULL)
        slot->ours = true; /* otherwise it works as well, but is watched anew each time */
    return fd < 0 ? CURL_SOCKET_BAD : fd;
}

int sc_multi_close_socket(void *http, curl_socket_t socket)
{
    sc_watch_slot *slot = slot_of(http, socket);
    watch_close(slot);
    if (slot != NULL)
        slot->ours = false;
    return close(socket);
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
        curl_multi_cleanup(http->multi); /* closes the connections, and so their watches */
    http->multi = NULL;
    for (size_t i = 0; i < http->watches_room; i++)
        watch_close(&http->watches[i]); /* of sockets that were closed without our being told */
    free(http->watches);
    http->watches = NULL;
    http->watches_room = 0;
}
