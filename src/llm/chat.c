/* A call becomes a transfer, which may have to wait for its turn; only then it gets a desk: its body,
 * and the parser of its reply. Thousands may wait, and a body repeats the question with all that
 * stands before it. Desks are kept and used again. call->_transfer is under the lock, because a cancel
 * may come while the I/O thread ends the call or sends it once more: whoever holds the lock first
 * decides. */
#include "src/llm/chat.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>

#include "src/base/breaker.h"
#include "src/base/log.h"
#include "src/http/retry.h"
#include "src/llm/chat_json.h"
#include "src/llm/sse.h"

/* A JSON escape of a character takes at most six times its bytes. */
enum { ESCAPE_FACTOR = 6, ENVELOPE_BYTES = 64 << 10, BODY_BYTES_MAX = 64 << 20, KEPT_MAX = 256 };

/* An answer's memory is not kept with an idle desk beyond this. */
enum { KEPT_BYTES_MAX = 64 << 10 };

typedef struct chat chat;

typedef struct {
    sc_link       link; /* among the free ones */
    sc_buf        body;
    sc_buf        whole; /* a reply that is no stream */
    sc_chat_reply reply;
    sc_sse        sse;
} desk;

typedef struct {
    chat           *owner;
    sc_http_request request;
    desk           *desk; /* NULL until its turn has come */
    sc_llm_call    *call;
    sc_instant      started;
    unsigned        attempt;
    bool            cancelled; /* under the owner's lock */
} transfer;

struct chat {
    sc_llm base;
    /* Fixed by open. */
    sc_llm_options options;
    sc_http       *http;
    sc_endpoint    endpoint;
    sc_http_lane  *lane;

    sc_breaker breaker;

    pthread_mutex_t lock;
    pthread_cond_t  idle;
    /* Under lock. */
    sc_link free; /* desks */
    size_t  free_count;
    size_t  busy;
};

/* ---- desks ---- */

static size_t reply_bytes_max(const chat *c)
{
    return ESCAPE_FACTOR * (size_t)c->options.answer_bytes_max + ENVELOPE_BYTES;
}

static desk *desk_make(const chat *c)
{
    desk *d = calloc(1, sizeof *d);
    if (d == NULL)
        return NULL;
    sc_buf_init(&d->body, BODY_BYTES_MAX);
    sc_buf_init(&d->whole, reply_bytes_max(c));
    sc_chat_reply_init(&d->reply, c->options.answer_bytes_max);
    sc_sse_init(&d->sse, reply_bytes_max(c));
    return d;
}

static void desk_free(desk *d)
{
    sc_buf_fini(&d->body);
    sc_buf_fini(&d->whole);
    sc_chat_reply_fini(&d->reply);
    sc_sse_fini(&d->sse);
    free(d);
}

static desk *desk_take(chat *c)
{
    pthread_mutex_lock(&c->lock);
    sc_link *link = sc_list_pop_front(&c->free);
    c->free_count -= link != NULL;
    pthread_mutex_unlock(&c->lock);
    return link != NULL ? SC_CONTAINER(link, desk, link) : desk_make(c);
}

static bool is_large(const desk *d)
{
    return d->body.room + d->whole.room + d->reply.answer.room + d->sse.line.room +
               d->sse.data.room >
           KEPT_BYTES_MAX;
}

static void desk_put_back(chat *c, desk *d)
{
    bool keep = !is_large(d);
    pthread_mutex_lock(&c->lock);
    keep = keep && c->free_count < KEPT_MAX;
    if (keep) {
        sc_list_push_front(&c->free, &d->link);
        c->free_count++;
    }
    pthread_mutex_unlock(&c->lock);
    if (!keep)
        desk_free(d);
}

/* ---- transfers ---- */

static sc_status on_turn(sc_http_request *request);
static sc_status on_data(sc_http_request *request, sc_str bytes);
static void      on_done(sc_http_request *request);

static transfer *transfer_make(chat *c, sc_llm_call *call)
{
    transfer *t = calloc(1, sizeof *t);
    if (t == NULL)
        return NULL;
    t->owner = c;
    t->call = call;
    t->request = (sc_http_request){.method = SC_HTTP_POST,
                                   .url = c->endpoint.url,
                                   .headers = c->endpoint.headers,
                                   .lane = c->lane,
                                   .body_bytes_max = reply_bytes_max(c),
                                   .error = &call->error,
                                   .begin = on_turn,
                                   .on_data = c->options.stream ? on_data : NULL,
                                   .done = on_done};
    return t;
}

static void transfer_free(transfer *t)
{
    if (t->desk != NULL) {
        t->desk->whole = t->request.reply;
        desk_put_back(t->owner, t->desk);
    }
    free(t);
}

static void enter(chat *c)
{
    pthread_mutex_lock(&c->lock);
    c->busy++;
    pthread_mutex_unlock(&c->lock);
}

/* The last thing a call does with us; we may then be closed. */
static void leave(chat *c)
{
    pthread_mutex_lock(&c->lock);
    if (--c->busy == 0)
        pthread_cond_broadcast(&c->idle);
    pthread_mutex_unlock(&c->lock);
}

/* ---- the end of a call ---- */

static void take_answer(transfer *t, sc_llm_call *call)
{
    const sc_chat_reply *reply = &t->desk->reply;
    memcpy(call->finish_reason, reply->finish_reason, sizeof call->finish_reason);
    memcpy(call->answered_by, reply->model, sizeof call->answered_by);
    call->has_usage = reply->has_usage;
    call->prompt_tokens = reply->prompt_tokens;
    call->completion_tokens = reply->completion_tokens;
}

static void log_failure(const sc_llm_call *call, unsigned attempts)
{
    static sc_log_limit limit;
    int64_t             left_out = 0;
    if (call->status == SC_OK || call->status == SC_CANCELLED ||
        !sc_log_allow(&limit, 1000, sc_now(), &left_out))
        return;
    sc_log(SC_LOG_WARN, "llm.failed", sc_kv_text("status", sc_status_name(call->status)),
           sc_kv_text("cause", call->error.text), sc_kv_int("attempts", attempts),
           sc_kv_int("left_out", left_out));
}

static void finish(chat *c, transfer *t, sc_llm_call *call, sc_status status)
{
    call->status = status;
    if (status == SC_OK) {
        take_answer(t, call);
        call->answer = sc_blob_make(sc_buf_view(&t->desk->reply.answer));
        if (call->answer == NULL)
            call->status = sc_fail(&call->error, SC_NO_MEMORY, "no memory for the answer");
    }
    log_failure(call, t == NULL ? 0 : t->attempt + 1);
    pthread_mutex_lock(&c->lock);
    call->_transfer = NULL;
    pthread_mutex_unlock(&c->lock);
    if (t != NULL)
        transfer_free(t);
    call->done(call);
    leave(c);
}

/* A caller's own short deadline says nothing about the upstream; our timeout does. */
static void tell_breaker(chat *c, const transfer *t, sc_status status)
{
    sc_instant now = sc_now();
    bool       ours = sc_elapsed_us(t->started, now) / 1000 + 1 >= c->options.timeout_ms;
    if (status == SC_OK || status == SC_INVALID || status == SC_TOO_LARGE)
        sc_breaker_success(&c->breaker);
    else if (status == SC_UNAVAILABLE || status == SC_CORRUPT || (status == SC_TIMEOUT && ours))
        sc_breaker_failure(&c->breaker, now);
}

/* ---- the reply ---- */

static sc_status on_event(void *user, sc_str name, sc_str data)
{
    transfer *t = user;
    (void)name;
    return sc_chat_read_event(data, &t->desk->reply, t->request.error);
}

static sc_status on_data(sc_http_request *request, sc_str bytes)
{
    transfer *t = SC_CONTAINER(request, transfer, request);
    sc_status status = sc_sse_feed(&t->desk->sse, bytes, on_event, t);
    if (status != SC_OK && request->error->status == SC_OK)
        sc_fail(request->error, status, "a line of the stream is too long");
    return status;
}

static sc_status read_reply(transfer *t)
{
    sc_llm_call *call = t->call;
    sc_status    status = sc_endpoint_judge(&t->request, "chat", &call->error);
    if (status != SC_OK)
        return status;
    return t->owner->options.stream
               ? sc_chat_check_end(&t->desk->reply, &call->error)
               : sc_chat_read(sc_buf_view(&t->request.reply), &t->desk->reply, &call->error);
}

/* ---- sending ---- */

static void reset_reply(desk *d)
{
    sc_buf answer = d->reply.answer;
    sc_buf_clear(&answer);
    d->reply = (sc_chat_reply){.answer = answer};
    sc_buf line = d->sse.line, data = d->sse.data;
    sc_buf_clear(&line);
    sc_buf_clear(&data);
    d->sse = (sc_sse){.line = line, .data = data};
}

static sc_status sit_down(transfer *t)
{
    desk *d = t->desk = desk_take(t->owner);
    if (d == NULL)
        return sc_fail(t->request.error, SC_NO_MEMORY, "no memory to ask the model");
    sc_buf_clear(&d->whole);
    t->request.reply = d->whole;
    sc_buf_clear(&d->body);
    return sc_chat_write(t->call, t->owner->options.stream, &d->body, t->request.error);
}

/* Again at each attempt: the body stays. */
static sc_status on_turn(sc_http_request *request)
{
    transfer *t = SC_CONTAINER(request, transfer, request);
    sc_status status = t->desk == NULL ? sit_down(t) : SC_OK;
    if (status != SC_OK)
        return status;
    reset_reply(t->desk);
    request->body = sc_buf_view(&t->desk->body);
    return SC_OK;
}

/* Sends unless the call was cancelled meanwhile, in one step with respect to cancel(). */
static sc_status send(chat *c, transfer *t)
{
    pthread_mutex_lock(&c->lock);
    sc_status status = t->cancelled ? SC_CANCELLED : sc_http_send(c->http, &t->request);
    pthread_mutex_unlock(&c->lock);
    return status;
}

/* Only what the upstream has not begun to work on: an answer costs money. (libcurl itself sends
 * once more when a connection kept from earlier dies without a byte: that one was stale.) */
static bool send_again(transfer *t)
{
    chat                  *c = t->owner;
    const sc_http_request *request = &t->request;
    bool refused = request->status == SC_OK && request->code == 429;
    bool unsent = request->status == SC_UNAVAILABLE && !request->maybe_sent;
    if (t->attempt >= c->options.retries || (!refused && !unsent))
        return false;
    sc_instant start =
        sc_retry_start(t->attempt + 1, request->retry_after_ms, sc_now(), request->deadline);
    if (start.ns == SC_INSTANT_NEVER.ns)
        return false;
    t->attempt++;
    t->request.start_at = start;
    return send(c, t) == SC_OK;
}

static void on_done(sc_http_request *request)
{
    transfer *t = SC_CONTAINER(request, transfer, request);
    chat     *c = t->owner;
    sc_status status = read_reply(t);
    if (status != SC_OK && send_again(t))
        return;
    tell_breaker(c, t, status);
    finish(c, t, t->call, status);
}

static void begin(chat *c, transfer *t, sc_llm_call *call)
{
    sc_instant now = sc_now();
    t->started = now;
    t->request.deadline =
        sc_instant_earlier(call->deadline, sc_instant_after_ms(now, c->options.timeout_ms));
    sc_status status = sc_chat_check(call, &call->error);
    if (status != SC_OK) {
        finish(c, t, call, status);
        return;
    }
    pthread_mutex_lock(&c->lock);
    call->_transfer = t;
    pthread_mutex_unlock(&c->lock);
    status = send(c, t);
    if (status != SC_OK)
        finish(c, t, call,
               sc_fail(&call->error, status,
                       status == SC_BUSY ? "too many calls of the model" : "cancelled"));
}

static void ask(sc_llm *llm, sc_llm_call *call)
{
    chat *c = SC_CONTAINER(llm, chat, base);
    call->status = SC_INTERNAL;
    call->error = (sc_error){0};
    call->answer = NULL;
    call->finish_reason[0] = call->answered_by[0] = '\0';
    call->has_usage = false;
    call->prompt_tokens = call->completion_tokens = 0;
    call->_transfer = NULL;
    enter(c);
    transfer *t = transfer_make(c, call);
    if (t == NULL)
        finish(c, NULL, call, sc_fail(&call->error, SC_NO_MEMORY, "no memory to ask the model"));
    else if (!sc_breaker_allow(&c->breaker, sc_now()))
        finish(c, t, call,
               sc_fail(&call->error, SC_UNAVAILABLE, "chat upstream: it keeps failing"));
    else
        begin(c, t, call);
}

static void cancel(sc_llm *llm, sc_llm_call *call)
{
    chat *c = SC_CONTAINER(llm, chat, base);
    pthread_mutex_lock(&c->lock);
    transfer *t = call->_transfer;
    if (t != NULL) {
        t->cancelled = true;
        sc_http_cancel(c->http, &t->request);
    }
    pthread_mutex_unlock(&c->lock);
}

static void look(sc_llm *llm, int *breaker_state, uint64_t *breaker_opened, size_t *in_flight)
{
    chat *c = SC_CONTAINER(llm, chat, base);
    *breaker_state = (int)sc_breaker_look(&c->breaker, breaker_opened);
    pthread_mutex_lock(&c->lock);
    *in_flight = c->busy;
    pthread_mutex_unlock(&c->lock);
}

/* ---- open and close ---- */

static void close_chat(sc_llm *llm)
{
    chat *c = SC_CONTAINER(llm, chat, base);
    pthread_mutex_lock(&c->lock);
    while (c->busy != 0)
        pthread_cond_wait(&c->idle, &c->lock);
    pthread_mutex_unlock(&c->lock);
    for (sc_link *link; (link = sc_list_pop_front(&c->free)) != NULL;)
        desk_free(SC_CONTAINER(link, desk, link));
    sc_http_lane_free(c->lane);
    sc_endpoint_close(&c->endpoint);
    sc_breaker_fini(&c->breaker);
    pthread_cond_destroy(&c->idle);
    pthread_mutex_destroy(&c->lock);
    free(c);
}

sc_status sc_chat_open(const sc_llm_options *options, const sc_endpoint_options *shared,
                       sc_http *http, sc_llm **out, sc_error *error)
{
    *out = NULL;
    chat *c = calloc(1, sizeof *c);
    if (c == NULL)
        return sc_fail(error, SC_NO_MEMORY, "no memory");
    c->base = (sc_llm){.ask = ask, .cancel = cancel, .close = close_chat, .look = look};
    c->options = *options;
    c->options.model = NULL; /* the caller's memory, and not ours to use */
    c->options.endpoint = (sc_endpoint_options){0};
    c->http = http;
    sc_list_init(&c->free);
    sc_breaker_init(&c->breaker, options->breaker_failures, options->breaker_open_ms);
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->idle, NULL);
    sc_status status = sc_endpoint_open(&options->endpoint, shared, "/chat/completions",
                                        &c->endpoint, error);
    if (status == SC_OK)
        status = sc_http_lane_make(options->connections, options->queue_max, &c->lane);
    if (status == SC_OK)
        *out = &c->base;
    else
        close_chat(&c->base);
    return status;
}
