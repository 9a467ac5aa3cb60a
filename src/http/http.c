/* The thread, and the promise that each request is done exactly once.
 *
 * A request is in one place at a time: the inbox (any thread put it there), parked (waits for
 * its start_at or for its lane), or running (has an easy handle). Only the I/O thread moves it on
 * and only it calls done(). sc_http_cancel() merely leaves a note, so a cancel and a reply that
 * meet are put in order by the loop; the note is withdrawn, under the lock, before done().
 *
 * Parked requests are not sorted by due time. One timer wakes at the earliest known due time and
 * walks them all. That sounds wasteful and is not: timeouts are rare and far away, so a walk
 * happens about once per timeout period however many requests pass, and parking costs O(1). */
#include "src/http/http.h"

#include <assert.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "src/base/thread.h"
#include "src/http/internal.h"

enum { STATE_FREE, STATE_ACCEPTED, STATE_TAKEN };
enum { CONNECTIONS_MAX = 1024, CONNECT_TIMEOUT_MS = 5000 };

/* ---- the end of a request ---- */

static void finish(sc_http *http, sc_http_request *request, sc_status status, const char *text)
{
    if (text != NULL)
        sc_fail(request->error, status, "%s", text);
    request->status = status;
    pthread_mutex_lock(&http->lock);
    sc_list_remove(&request->_cancel);
    request->_state = STATE_FREE;
    pthread_mutex_unlock(&http->lock);
    if (request->lane != NULL)
        atomic_fetch_sub(&request->lane->used, 1);
    request->done(request);
}

static void release_transfer(sc_http *http, sc_transfer *transfer)
{
    transfer->request->_transfer = NULL;
    sc_transfer_release(transfer);
    sc_list_remove(&transfer->link);
    sc_handles_give(http, transfer);
}

static void leave_lane(sc_http *http, sc_http_lane *lane)
{
    if (lane == NULL)
        return;
    lane->running--;
    if (!sc_list_empty(&lane->waiting) && !sc_list_linked(&lane->ready))
        sc_list_push_back(&http->lanes_ready, &lane->ready);
}

void sc_http_transfer_ended(sc_http *http, sc_transfer *transfer, CURLcode result)
{
    sc_http_request *request = transfer->request;
    sc_transfer_outcome(transfer, result, sc_now());
    curl_multi_remove_handle(http->multi, transfer->easy);
    release_transfer(http, transfer);
    leave_lane(http, request->lane);
    finish(http, request, request->status, NULL);
}

static void end_running(sc_http *http, sc_http_request *request, sc_status status, const char *text)
{
    sc_transfer *transfer = request->_transfer;
    sc_transfer_outcome(transfer, CURLE_OK, sc_now()); /* for what is known of its times */
    curl_multi_remove_handle(http->multi, transfer->easy);
    release_transfer(http, transfer);
    leave_lane(http, request->lane);
    finish(http, request, status, text);
}

/* ---- the start of a request ---- */

static sc_status start_transfer(sc_http *http, sc_transfer *transfer, sc_instant now)
{
    sc_http_request *request = transfer->request;
    sc_status        status = request->begin == NULL ? SC_OK : request->begin(request);
    if (status == SC_OK)
        status = sc_transfer_prepare(transfer, now);
    if (status == SC_OK && curl_multi_add_handle(http->multi, transfer->easy) != CURLM_OK)
        status = sc_fail(request->error, SC_NO_MEMORY, "no memory for the request");
    return status;
}

/* The caller has given the request its place in the lane. */
static void begin(sc_http *http, sc_http_request *request, sc_instant now)
{
    sc_transfer *transfer = sc_handles_take(http, request->url);
    if (transfer == NULL) {
        leave_lane(http, request->lane);
        finish(http, request, SC_NO_MEMORY, "no memory for the request");
        return;
    }
    sc_list_push_back(&http->running, &transfer->link);
    request->_transfer = transfer;
    transfer->request = request;
    sc_status status = start_transfer(http, transfer, now);
    if (status == SC_OK) {
        http->started = true;
        return;
    }
    release_transfer(http, transfer);
    leave_lane(http, request->lane);
    finish(http, request, status, NULL);
}

static void on_parked_timer(uv_timer_t *timer);

static void wake_parked_at(sc_http *http, sc_instant due, sc_instant now)
{
    if (due.ns >= http->parked_ns)
        return;
    http->parked_ns = due.ns;
    uv_update_time(&http->loop);
    uv_timer_start(&http->parked_timer, on_parked_timer, (uint64_t)sc_remaining_ms(now, due), 0);
}

static bool is_early(const sc_http_request *request, sc_instant now)
{
    return sc_instant_before(now, request->start_at);
}

static sc_instant due_of(const sc_http_request *request, sc_instant now)
{
    return is_early(request, now) ? sc_instant_earlier(request->start_at, request->deadline)
                                  : request->deadline;
}

static void park(sc_http *http, sc_http_request *request, sc_instant now)
{
    sc_list_push_back(&http->parked, &request->_parked);
    wake_parked_at(http, due_of(request, now), now);
}

static void admit(sc_http *http, sc_http_request *request, sc_instant now)
{
    sc_http_lane *lane = request->lane;
    if (!sc_instant_before(now, request->deadline)) {
        finish(http, request, SC_TIMEOUT, "the deadline passed before the request was sent");
        return;
    }
    if (is_early(request, now)) {
        park(http, request, now);
        return;
    }
    if (lane != NULL && (lane->running >= lane->running_max || !sc_list_empty(&lane->waiting))) {
        sc_list_push_back(&lane->waiting, &request->_link);
        park(http, request, now);
        return;
    }
    if (lane != NULL)
        lane->running++;
    begin(http, request, now);
}

static void on_parked_timer(uv_timer_t *timer)
{
    sc_http   *http = timer->data;
    sc_instant now = sc_now(), earliest = SC_INSTANT_NEVER;
    sc_link    later;
    http->parked_ns = INT64_MAX;
    sc_list_init(&later);
    sc_list_splice_back(&later, &http->parked); /* admit() may park some again */
    for (sc_link *link; (link = sc_list_pop_front(&later)) != NULL;) {
        sc_http_request *request = SC_CONTAINER(link, sc_http_request, _parked);
        if (!sc_instant_before(now, request->deadline)) {
            sc_list_remove(&request->_link);
            finish(http, request, SC_TIMEOUT, "the deadline passed before the request was sent");
        } else if (is_early(request, now) || sc_list_linked(&request->_link)) {
            sc_list_push_back(&http->parked, link);
            earliest = sc_instant_earlier(earliest, due_of(request, now));
        } else {
            admit(http, request, now);
        }
    }
    if (earliest.ns != INT64_MAX)
        wake_parked_at(http, earliest, now);
    sc_http_settle(http);
}

static void fill_lane(sc_http *http, sc_http_lane *lane, sc_instant now)
{
    while (lane->running < lane->running_max && !sc_list_empty(&lane->waiting)) {
        sc_link         *link = sc_list_pop_front(&lane->waiting);
        sc_http_request *request = SC_CONTAINER(link, sc_http_request, _link);
        sc_list_remove(&request->_parked);
        lane->running++;
        begin(http, request, now);
    }
}

void sc_http_settle(sc_http *http)
{
    for (;;) {
        sc_link *link = sc_list_pop_front(&http->lanes_ready);
        if (link != NULL) {
            fill_lane(http, SC_CONTAINER(link, sc_http_lane, ready), sc_now());
        } else if (http->started) {
            http->started = false;
            sc_multi_kick(http);
        } else {
            return;
        }
    }
}

/* ---- what other threads asked for ---- */

static sc_http_request *take_new(sc_http *http)
{
    pthread_mutex_lock(&http->lock);
    sc_link         *link = sc_list_pop_front(&http->inbox);
    sc_http_request *request = NULL;
    if (link != NULL) {
        request = SC_CONTAINER(link, sc_http_request, _link);
        request->_state = STATE_TAKEN;
    }
    pthread_mutex_unlock(&http->lock);
    return request;
}

static sc_http_request *take_cancelled(sc_http *http)
{
    pthread_mutex_lock(&http->lock);
    sc_link *link = sc_list_pop_front(&http->cancels);
    pthread_mutex_unlock(&http->lock);
    return link == NULL ? NULL : SC_CONTAINER(link, sc_http_request, _cancel);
}

static void end_early(sc_http *http, sc_http_request *request)
{
    if (request->_transfer != NULL) {
        end_running(http, request, SC_CANCELLED, "cancelled");
        return;
    }
    sc_list_remove(&request->_parked);
    sc_list_remove(&request->_link);
    finish(http, request, SC_CANCELLED, "cancelled");
}

static void end_all(sc_http *http)
{
    sc_link *link;
    for (sc_http_request *request; (request = take_new(http)) != NULL;)
        end_early(http, request);
    while ((link = sc_list_pop_front(&http->parked)) != NULL)
        end_early(http, SC_CONTAINER(link, sc_http_request, _parked));
    while (!sc_list_empty(&http->running))
        end_early(http, SC_CONTAINER(http->running.next, sc_transfer, link)->request);
}

static void shut_down(sc_http *http)
{
    do
        end_all(http); /* a done() may have sent once more */
    while (!sc_list_empty(&http->inbox));
    sc_handles_close(http);
    sc_multi_close(http);
    uv_close((uv_handle_t *)&http->multi_timer, NULL);
    uv_close((uv_handle_t *)&http->parked_timer, NULL);
    uv_close((uv_handle_t *)&http->wake, NULL);
}

static void on_wake(uv_async_t *wake)
{
    sc_http *http = wake->data;
    pthread_mutex_lock(&http->lock);
    http->wake_sent = false;
    bool closing = http->closing;
    pthread_mutex_unlock(&http->lock);
    if (closing) {
        shut_down(http);
        return;
    }
    sc_instant now = sc_now();
    for (sc_http_request *request; (request = take_new(http)) != NULL;)
        admit(http, request, now);
    for (sc_http_request *request; (request = take_cancelled(http)) != NULL;)
        end_early(http, request);
    sc_http_settle(http);
}

/* Under lock: true when the caller has to wake the loop after unlocking. */
static bool need_wake(sc_http *http)
{
    bool need = !http->wake_sent;
    http->wake_sent = true;
    return need;
}

static bool enter_lane(sc_http_lane *lane)
{
    if (lane == NULL)
        return true;
    if (atomic_fetch_add(&lane->used, 1) < lane->used_max)
        return true;
    atomic_fetch_sub(&lane->used, 1);
    return false;
}

static void reset_outcome(sc_http_request *request)
{
    request->status = SC_INTERNAL;
    *request->error = (sc_error){0};
    request->code = 0;
    request->maybe_sent = false;
    request->retry_after_ms = -1;
    request->first_byte_us = request->total_us = 0;
    request->_transfer = NULL;
    request->reply.bytes_max = request->body_bytes_max;
    sc_buf_clear(&request->reply);
}

sc_status sc_http_send(sc_http *http, sc_http_request *request)
{
    assert(request->done != NULL && request->error != NULL && request->_state == STATE_FREE);
    if (!enter_lane(request->lane))
        return SC_BUSY;
    reset_outcome(request);
    pthread_mutex_lock(&http->lock);
    request->_state = STATE_ACCEPTED;
    sc_list_push_back(&http->inbox, &request->_link);
    bool wake = need_wake(http);
    pthread_mutex_unlock(&http->lock);
    if (wake)
        uv_async_send(&http->wake);
    return SC_OK;
}

void sc_http_cancel(sc_http *http, sc_http_request *request)
{
    bool wake = false;
    pthread_mutex_lock(&http->lock);
    if (request->_state != STATE_FREE && !sc_list_linked(&request->_cancel)) {
        sc_list_push_back(&http->cancels, &request->_cancel);
        wake = need_wake(http);
    }
    pthread_mutex_unlock(&http->lock);
    if (wake)
        uv_async_send(&http->wake);
}

/* ---- lanes ---- */

sc_status sc_http_lane_make(unsigned running_max, size_t waiting_max, sc_http_lane **out)
{
    assert(running_max > 0);
    sc_http_lane *lane = calloc(1, sizeof *lane);
    *out = lane;
    if (lane == NULL)
        return SC_NO_MEMORY;
    lane->running_max = running_max;
    lane->used_max = running_max + waiting_max;
    atomic_init(&lane->used, 0);
    sc_list_init(&lane->waiting);
    return SC_OK;
}

void sc_http_lane_free(sc_http_lane *lane)
{
    assert(lane == NULL || atomic_load(&lane->used) == 0);
    free(lane);
}

size_t sc_http_lane_used(const sc_http_lane *lane)
{
    return atomic_load(&lane->used);
}

/* ---- the thread ---- */

static void *run(void *arg)
{
    sc_http *http = arg;
    sigset_t all;
    /* OpenSSL may raise SIGPIPE; every other signal belongs to the main thread. */
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
    sc_thread_name("sc-http");
    sc_thread_prompt();
    uv_run(&http->loop, UV_RUN_DEFAULT);
    return NULL;
}

static void init_libcurl(void)
{
    curl_global_init(CURL_GLOBAL_DEFAULT);
}

static char *copy(const char *text, const char *fallback)
{
    const char *from = text == NULL ? fallback : text;
    return from == NULL ? NULL : strdup(from);
}

static bool copy_options(sc_http *http, const sc_http_options *options)
{
    http->user_agent = copy(options->user_agent, "semcached");
    http->ca_file = copy(options->ca_file, NULL);
    http->proxy = copy(options->proxy, NULL);
    http->options = *options;
    http->options.user_agent = http->user_agent;
    http->options.ca_file = http->ca_file;
    http->options.proxy = http->proxy;
    if (http->options.connections_max == 0)
        http->options.connections_max = CONNECTIONS_MAX;
    if (http->options.connect_timeout_ms == 0)
        http->options.connect_timeout_ms = CONNECT_TIMEOUT_MS;
    return http->user_agent != NULL && (options->ca_file == NULL || http->ca_file != NULL) &&
           (options->proxy == NULL || http->proxy != NULL);
}

static sc_http *make(void)
{
    sc_http *http = calloc(1, sizeof *http);
    if (http == NULL)
        return NULL;
    pthread_mutex_init(&http->lock, NULL);
    sc_list_init(&http->inbox);
    sc_list_init(&http->cancels);
    sc_list_init(&http->parked);
    sc_list_init(&http->running);
    sc_list_init(&http->idle);
    sc_list_init(&http->targets);
    sc_list_init(&http->lanes_ready);
    http->parked_ns = INT64_MAX;
    http->wake.data = http->parked_timer.data = http;
    return http;
}

static sc_status open_loop(sc_http *http, sc_error *error)
{
    if (uv_loop_init(&http->loop) != 0)
        return sc_fail(error, SC_UNAVAILABLE, "http: no event loop (out of descriptors?)");
    http->loop_open = true;
    if (uv_async_init(&http->loop, &http->wake, on_wake) != 0)
        return sc_fail(error, SC_UNAVAILABLE, "http: no wake-up descriptor");
    http->wake_open = true;
    uv_timer_init(&http->loop, &http->multi_timer);
    uv_timer_init(&http->loop, &http->parked_timer);
    if (sc_multi_open(http) != SC_OK)
        return sc_fail(error, SC_NO_MEMORY, "http: no memory");
    if (pthread_create(&http->thread, NULL, run, http) != 0)
        return sc_fail(error, SC_UNAVAILABLE, "http: no thread");
    http->thread_started = true;
    return SC_OK;
}

sc_status sc_http_open(const sc_http_options *options, sc_http **out, sc_error *error)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, init_libcurl);
    *out = NULL;
    if (options->ca_file != NULL && access(options->ca_file, R_OK) != 0)
        return sc_fail(error, SC_INVALID, "CA file %s cannot be read", options->ca_file);
    sc_http  *http = make();
    sc_status status = http != NULL && copy_options(http, options)
                           ? open_loop(http, error)
                           : sc_fail(error, SC_NO_MEMORY, "http: no memory");
    if (status == SC_OK) {
        *out = http;
        http = NULL;
    }
    sc_http_close(http);
    return status;
}

static void stop_thread(sc_http *http)
{
    pthread_mutex_lock(&http->lock);
    http->closing = true;
    pthread_mutex_unlock(&http->lock);
    uv_async_send(&http->wake);
    pthread_join(http->thread, NULL);
}

/* A loop that never ran: its handles still want their closing callbacks. */
static void close_idle_loop(sc_http *http)
{
    if (!http->wake_open)
        return;
    shut_down(http);
    uv_run(&http->loop, UV_RUN_DEFAULT);
}

void sc_http_close(sc_http *http)
{
    if (http == NULL)
        return;
    if (http->thread_started)
        stop_thread(http);
    else
        close_idle_loop(http);
    if (http->loop_open)
        uv_loop_close(&http->loop);
    pthread_mutex_destroy(&http->lock);
    free(http->user_agent);
    free(http->ca_file);
    free(http->proxy);
    free(http);
}
