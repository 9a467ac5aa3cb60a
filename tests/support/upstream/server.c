/* The thread: connections, requests in, replies out in the pieces and at the times of the script. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "src/base/random.h"
#include "src/base/thread.h"
#include "tests/support/upstream/internal.h"

enum { REQUEST_BYTES_MAX = 64 << 20, READ_BYTES = 64 << 10, FILLER_BYTES = 64 << 10, DRIP_MS = 20 };

typedef struct {
    sc_link      link;
    sc_upstream *upstream;
    uv_tcp_t     tcp;
    uv_timer_t   timer;
    uv_write_t   write;
    int          handles_open;
    bool         busy; /* a reply is being made or sent */
    bool         closing;
    bool         writing;

    sc_buf in;
    size_t request_bytes; /* of the request being answered, at the front of `in` */

    sc_buf  out; /* head and body as they go over the wire */
    size_t  sent;
    size_t *ends; /* [ends_count] pieces; NULL: one piece */
    size_t  ends_count, ends_used;
    int64_t piece_ms; /* pause between pieces */
    bool    drip;
    int64_t filler_bytes; /* to send after `out` */
    bool    close_after;

    bool                 counted;
    sc_upstream_endpoint endpoint;
    char                 chunk[READ_BYTES];
} connection;

static char filler[FILLER_BYTES];

/* ---- counting ---- */

static void count_start(sc_upstream *upstream, sc_upstream_endpoint endpoint)
{
    sc_upstream_counters *c = &upstream->counters;
    bool      chat = endpoint == SC_UPSTREAM_CHAT;
    uint64_t *calls = chat ? &c->chat_calls : &c->embeddings_calls;
    uint64_t *now = chat ? &c->chat_in_flight : &c->embeddings_in_flight;
    uint64_t *most = chat ? &c->chat_in_flight_max : &c->embeddings_in_flight_max;
    ++*calls;
    if (++*now > *most)
        *most = *now;
}

static void count_end(connection *c, bool abandoned)
{
    if (!c->counted)
        return;
    c->counted = false;
    pthread_mutex_lock(&c->upstream->lock);
    if (c->endpoint == SC_UPSTREAM_CHAT)
        c->upstream->counters.chat_in_flight--;
    else
        c->upstream->counters.embeddings_in_flight--;
    c->upstream->counters.abandoned += abandoned ? 1 : 0;
    pthread_mutex_unlock(&c->upstream->lock);
}

static void count_refused(sc_upstream *upstream)
{
    pthread_mutex_lock(&upstream->lock);
    upstream->counters.refused++;
    pthread_mutex_unlock(&upstream->lock);
}

/* ---- closing ---- */

static void on_handle_closed(uv_handle_t *handle)
{
    connection *c = handle->data;
    if (--c->handles_open > 0)
        return;
    sc_buf_fini(&c->in);
    sc_buf_fini(&c->out);
    free(c->ends);
    free(c);
}

static void hang_up(connection *c, bool by_client)
{
    if (c->closing)
        return;
    c->closing = true;
    count_end(c, by_client && c->busy);
    pthread_mutex_lock(&c->upstream->lock);
    c->upstream->counters.connections_open--;
    pthread_mutex_unlock(&c->upstream->lock);
    sc_list_remove(&c->link);
    uv_close((uv_handle_t *)&c->timer, on_handle_closed);
    uv_close((uv_handle_t *)&c->tcp, on_handle_closed);
}

/* ---- sending ---- */

static void serve(connection *c);
static void send_next(connection *c);

static void end_reply(connection *c)
{
    count_end(c, false);
    if (c->close_after) {
        hang_up(c, false);
        return;
    }
    sc_buf_consume(&c->in, c->request_bytes);
    c->busy = false;
    serve(c);
}

static void on_written(uv_write_t *write, int status)
{
    connection *c = write->data;
    c->writing = false;
    if (c->closing)
        return;
    if (status < 0)
        hang_up(c, true);
    else
        send_next(c);
}

static void on_pause_over(uv_timer_t *timer)
{
    send_next(timer->data);
}

static void write_bytes(connection *c, const char *bytes, size_t len)
{
    uv_buf_t buf = {.base = (char *)(uintptr_t)bytes, .len = len};
    c->write.data = c;
    c->writing = true;
    if (uv_write(&c->write, (uv_stream_t *)&c->tcp, &buf, 1, on_written) != 0)
        hang_up(c, true);
}

static size_t piece_end(connection *c)
{
    if (c->drip)
        return c->sent + 1;
    return c->ends_used < c->ends_count ? c->ends[c->ends_used++] : c->out.len;
}

/* Whole replies mostly fit the socket: no callback, no second trip round the loop. */
static bool sent_at_once(connection *c, size_t end)
{
    uv_buf_t buf = {.base = c->out.data + c->sent, .len = end - c->sent};
    int      n = uv_try_write((uv_stream_t *)&c->tcp, &buf, 1);
    if (n > 0)
        c->sent += (size_t)n;
    return c->sent == end;
}

static void send_filler(connection *c)
{
    size_t len = c->filler_bytes < FILLER_BYTES ? (size_t)c->filler_bytes : FILLER_BYTES;
    c->filler_bytes -= (int64_t)len;
    write_bytes(c, filler, len);
}

static void send_next(connection *c)
{
    while (c->sent < c->out.len) {
        size_t end = piece_end(c);
        bool   first = c->sent == 0;
        if (!sent_at_once(c, end)) {
            size_t from = c->sent;
            c->sent = end;
            write_bytes(c, c->out.data + from, end - from);
            return;
        }
        int64_t pause = c->drip ? DRIP_MS : first ? 0 : c->piece_ms;
        if (pause > 0 && c->sent < c->out.len) {
            uv_timer_start(&c->timer, on_pause_over, (uint64_t)pause, 0);
            return;
        }
    }
    if (c->filler_bytes > 0)
        send_filler(c);
    else
        end_reply(c);
}

/* ---- replies on the wire ---- */

static const char *reason(int code)
{
    return code == 200 ? "OK" : code == 429 ? "Too Many Requests" : "Scripted";
}

static void put_retry_after(connection *c, const script *how)
{
    if (how->retry_after_s >= 0)
        sc_buf_printf(&c->out, "Retry-After: %lld\r\n", (long long)how->retry_after_s);
    if (how->retry_after_ms >= 0)
        sc_buf_printf(&c->out, "retry-after-ms: %lld\r\n", (long long)how->retry_after_ms);
}

static void put_head(connection *c, const reply *r, int64_t length)
{
    sc_buf_printf(&c->out, "HTTP/1.1 %d %s\r\nContent-Type: %s\r\n", r->code, reason(r->code),
                  r->type == NULL ? "application/json" : r->type);
    if (r->code == 302)
        sc_buf_str(&c->out, SC_STR("Location: /elsewhere\r\n"));
    put_retry_after(c, &r->how);
    if (length >= 0)
        sc_buf_printf(&c->out, "Content-Length: %lld\r\n\r\n", (long long)length);
    else
        sc_buf_str(&c->out, SC_STR("Transfer-Encoding: chunked\r\n\r\n"));
}

static void put_stream(connection *c, reply *r)
{
    size_t from = 0;
    put_head(c, r, -1);
    c->ends = r->pieces; /* rewritten to where each ends on the wire */
    r->pieces = NULL;
    for (size_t i = 0; i < r->pieces_count && from < r->cut_at; i++) {
        size_t end = c->ends[i];
        sc_buf_printf(&c->out, "%zx\r\n", end - from);
        sc_buf_append(&c->out, r->body.data + from, end - from);
        sc_buf_str(&c->out, SC_STR("\r\n"));
        c->ends[i] = c->out.len;
        c->ends_count = i + 1;
        from = end;
    }
    c->close_after = from < r->body.len;
    if (!c->close_after)
        sc_buf_str(&c->out, SC_STR("0\r\n\r\n"));
}

static void put_huge(connection *c, reply *r)
{
    bool    declared = script_is(&r->how, "huge_declared");
    int64_t size = r->how.huge_bytes;
    c->filler_bytes = size;
    c->close_after = true;
    if (declared) {
        put_head(c, r, size);
        return;
    }
    put_head(c, r, -1);
    sc_buf_printf(&c->out, "%llx\r\n", (unsigned long long)size); /* one chunk */
}

static void put_plain(connection *c, const reply *r)
{
    size_t len = r->cut_at < r->body.len ? r->cut_at : r->body.len;
    put_head(c, r, (int64_t)r->body.len);
    sc_buf_append(&c->out, r->body.data, len);
    c->close_after = len < r->body.len;
}

static void start_sending(connection *c, reply *r)
{
    const script *how = &r->how;
    int64_t       pause = how->delay_ms;
    if (how->jitter_ms > 0)
        pause += sc_random_between(0, how->jitter_ms);
    sc_buf_clear(&c->out);
    free(c->ends);
    c->ends = NULL;
    c->sent = c->ends_count = c->ends_used = 0;
    c->piece_ms = how->chunk_ms;
    c->drip = script_is(how, "drip");
    c->filler_bytes = 0;
    c->close_after = false;
    if (script_is(how, "huge") || script_is(how, "huge_declared"))
        put_huge(c, r);
    else if (r->stream)
        put_stream(c, r);
    else
        put_plain(c, r);
    if (pause > 0) {
        uv_update_time(&c->upstream->loop);
        uv_timer_start(&c->timer, on_pause_over, (uint64_t)pause, 0);
    } else {
        send_next(c);
    }
}

/* ---- requests ---- */

static bool ends_with(sc_str text, const char *tail)
{
    size_t len = strlen(tail);
    return text.len >= len && memcmp(text.ptr + text.len - len, tail, len) == 0;
}

static sc_str header_of(sc_str headers, const char *name)
{
    size_t      len = strlen(name);
    const char *at = headers.ptr, *end = headers.ptr + headers.len;
    while (at < end) {
        const char *eol = memchr(at, '\n', (size_t)(end - at));
        if (eol == NULL)
            eol = end;
        if ((size_t)(eol - at) > len && strncasecmp(at, name, len) == 0 && at[len] == ':') {
            const char *value = at + len + 1;
            while (value < eol && *value == ' ')
                value++;
            size_t value_len = (size_t)(eol - value);
            while (value_len > 0 && (value[value_len - 1] == '\r' || value[value_len - 1] == ' '))
                value_len--;
            return (sc_str){value, value_len};
        }
        at = eol + 1;
    }
    return (sc_str){NULL, 0};
}

static void keep(char **slot, sc_str text)
{
    free(*slot);
    *slot = strndup(text.ptr == NULL ? "" : text.ptr, text.len);
}

static bool key_fits(const sc_upstream *upstream, const request *in)
{
    char   want[300];
    sc_str value = header_of(in->headers, "authorization");
    if (upstream->key[0] == '\0')
        return true;
    snprintf(want, sizeof want, "Bearer %s", upstream->key);
    return sc_str_equal(value, sc_str_of(want));
}

/* Takes the script as it is at this moment, and notes the call. */
static bool open_call(connection *c, const request *in, reply *r)
{
    sc_upstream *upstream = c->upstream;
    pthread_mutex_lock(&upstream->lock);
    script    *s = &upstream->scripts[r->endpoint];
    last_call *last = &upstream->last[r->endpoint];
    bool       allowed = key_fits(upstream, in);
    r->how = *s;
    if (s->times == 0) {
        r->how.http_status = 0;
        r->how.fault[0] = '\0';
    } else if (s->times > 0) {
        s->times--;
    }
    keep(&last->path, in->path);
    keep(&last->headers, in->headers);
    keep(&last->body, in->body);
    count_start(upstream, r->endpoint);
    pthread_mutex_unlock(&upstream->lock);
    c->counted = true;
    c->endpoint = r->endpoint;
    return allowed;
}

static void answer_call(connection *c, const request *in, reply *r)
{
    bool chat = r->endpoint == SC_UPSTREAM_CHAT;
    if (!open_call(c, in, r)) {
        count_refused(c->upstream);
        make_error(r, 401, "Incorrect API key provided");
    } else if (script_is(&r->how, "hang")) {
        return;
    } else if (script_is(&r->how, "close")) {
        hang_up(c, false);
        return;
    } else if (r->how.http_status != 0) {
        make_error(r, r->how.http_status, "the script says so");
    } else if (!(chat ? make_chat(c->upstream, in, r) : make_embeddings(c->upstream, in, r))) {
        count_refused(c->upstream);
        make_error(r, 400, "the request is not understood");
    }
    if (r->stream) {
        pthread_mutex_lock(&c->upstream->lock);
        c->upstream->counters.chat_streams++;
        pthread_mutex_unlock(&c->upstream->lock);
    }
    if (script_is(&r->how, "redirect"))
        r->code = 302;
    start_sending(c, r);
}

static void answer_control(connection *c, const request *in, reply *r)
{
    if (sc_str_equal(in->method, SC_STR("POST"))) {
        if (control_apply(c->upstream, in->body.ptr, in->body.len))
            sc_buf_str(&r->body, SC_STR("{\"ok\": true}\n"));
        else
            make_error(r, 400, "not a JSON object");
    } else {
        counters_json(c->upstream, &r->body);
    }
    start_sending(c, r);
}

static void answer(connection *c, const request *in)
{
    reply r = {.code = 200, .cut_at = SIZE_MAX};
    script_init(&r.how);
    sc_buf_init(&r.body, 256 << 20);
    if (ends_with(in->path, "/embeddings") || ends_with(in->path, "/chat/completions")) {
        r.endpoint = ends_with(in->path, "/embeddings") ? SC_UPSTREAM_EMBEDDINGS : SC_UPSTREAM_CHAT;
        answer_call(c, in, &r);
    } else if (sc_str_equal(in->path, SC_STR("/control")) ||
               sc_str_equal(in->path, SC_STR("/control/counters"))) {
        answer_control(c, in, &r);
    } else {
        count_refused(c->upstream);
        make_error(&r, 404, "no such path");
        start_sending(c, &r);
    }
    sc_buf_fini(&r.body);
    free(r.pieces);
}

/* Splits the request at the front of the input. Returns its bytes; 0: more is to come. */
static size_t split_request(sc_str in, request *out)
{
    const char *end = in.len < 4 ? NULL : memmem(in.ptr, in.len, "\r\n\r\n", 4);
    if (end == NULL)
        return 0;
    const char *eol = memchr(in.ptr, '\r', in.len);
    const char *space = memchr(in.ptr, ' ', (size_t)(eol - in.ptr));
    const char *second = space == NULL ? NULL : memchr(space + 1, ' ', (size_t)(eol - space - 1));
    out->method = (sc_str){in.ptr, space == NULL ? 0 : (size_t)(space - in.ptr)};
    out->path = (sc_str){space == NULL ? in.ptr : space + 1,
                         second == NULL ? 0 : (size_t)(second - space - 1)};
    out->headers = (sc_str){eol + 2, eol + 2 > end ? 0 : (size_t)(end - eol - 2)};
    sc_str length = header_of(out->headers, "content-length");
    char   digits[24];
    snprintf(digits, sizeof digits, "%.*s", (int)(length.len > 20 ? 20 : length.len),
             length.ptr == NULL ? "" : length.ptr);
    size_t head = (size_t)(end - in.ptr) + 4;
    out->body = (sc_str){end + 4, (size_t)strtoull(digits, NULL, 10)};
    return in.len - head < out->body.len ? 0 : head + out->body.len;
}

static void serve(connection *c)
{
    request in;
    if (c->busy || c->closing || c->in.len == 0)
        return;
    c->request_bytes = split_request(sc_buf_view(&c->in), &in);
    if (c->request_bytes == 0)
        return;
    c->busy = true;
    answer(c, &in);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *out)
{
    connection *c = handle->data;
    (void)suggested;
    *out = (uv_buf_t){.base = c->chunk, .len = sizeof c->chunk};
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    connection *c = stream->data;
    if (n < 0 || sc_buf_append(&c->in, buf->base, (size_t)n) != SC_OK) {
        hang_up(c, true);
        return;
    }
    serve(c);
}

static void on_connection(uv_stream_t *listener, int status)
{
    sc_upstream *upstream = listener->data;
    connection  *c = status < 0 ? NULL : calloc(1, sizeof *c);
    if (c == NULL)
        return;
    c->upstream = upstream;
    c->handles_open = 2;
    sc_buf_init(&c->in, REQUEST_BYTES_MAX);
    sc_buf_init(&c->out, 512 << 20);
    uv_tcp_init(&upstream->loop, &c->tcp);
    uv_timer_init(&upstream->loop, &c->timer);
    c->tcp.data = c->timer.data = c;
    sc_list_push_back(&upstream->connections, &c->link);
    pthread_mutex_lock(&upstream->lock);
    upstream->counters.connections++;
    upstream->counters.connections_open++;
    pthread_mutex_unlock(&upstream->lock);
    if (uv_accept(listener, (uv_stream_t *)&c->tcp) != 0) {
        hang_up(c, false);
        return;
    }
    uv_tcp_nodelay(&c->tcp, 1);
    uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read);
}

/* ---- start and stop ---- */

static void on_stop(uv_async_t *wake)
{
    sc_upstream *upstream = wake->data;
    SC_LIST_EACH_SAFE(link, after, &upstream->connections)
    hang_up(SC_CONTAINER(link, connection, link), false);
    uv_close((uv_handle_t *)&upstream->listener, NULL);
    uv_close((uv_handle_t *)&upstream->wake, NULL);
}

static void *run(void *arg)
{
    sc_upstream *upstream = arg;
    sigset_t     all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
    sc_thread_name("upstream");
    uv_run(&upstream->loop, UV_RUN_DEFAULT);
    return NULL;
}

static bool listen_on(sc_upstream *upstream)
{
    struct sockaddr_in      address;
    struct sockaddr_storage bound;
    int                     len = sizeof bound;
    uv_tcp_init(&upstream->loop, &upstream->listener);
    upstream->listener.data = upstream;
    if (uv_ip4_addr(upstream->options.host, upstream->options.port, &address) != 0 ||
        uv_tcp_bind(&upstream->listener, (const struct sockaddr *)&address, 0) != 0 ||
        uv_listen((uv_stream_t *)&upstream->listener, 1024, on_connection) != 0 ||
        uv_tcp_getsockname(&upstream->listener, (struct sockaddr *)&bound, &len) != 0)
        return false;
    upstream->port = ntohs(((const struct sockaddr_in *)(const void *)&bound)->sin_port);
    snprintf(upstream->url, sizeof upstream->url, "http://%s:%d", upstream->options.host,
             upstream->port);
    return true;
}

static void dispose(sc_upstream *upstream)
{
    uv_loop_close(&upstream->loop);
    pthread_mutex_destroy(&upstream->lock);
    free(upstream);
}

sc_upstream *sc_upstream_start(const sc_upstream_options *options)
{
    sc_upstream *upstream = calloc(1, sizeof *upstream);
    if (upstream == NULL)
        return NULL;
    upstream->options = options == NULL ? (sc_upstream_options){0} : *options;
    if (upstream->options.host == NULL)
        upstream->options.host = "127.0.0.1";
    if (upstream->options.dim == 0)
        upstream->options.dim = 1536;
    memset(filler, '[', sizeof filler);
    pthread_mutex_init(&upstream->lock, NULL);
    sc_list_init(&upstream->connections);
    control_apply(upstream, "{\"reset\": true}", 15);
    uv_loop_init(&upstream->loop);
    uv_async_init(&upstream->loop, &upstream->wake, on_stop);
    upstream->wake.data = upstream;
    if (!listen_on(upstream) || pthread_create(&upstream->thread, NULL, run, upstream) != 0) {
        on_stop(&upstream->wake);
        uv_run(&upstream->loop, UV_RUN_DEFAULT);
        dispose(upstream);
        return NULL;
    }
    return upstream;
}

void sc_upstream_stop(sc_upstream *upstream)
{
    if (upstream == NULL)
        return;
    uv_async_send(&upstream->wake);
    pthread_join(upstream->thread, NULL);
    control_apply(upstream, "{\"reset\": true}", 15); /* frees what was kept */
    dispose(upstream);
}

int sc_upstream_port(const sc_upstream *upstream)
{
    return upstream->port;
}

const char *sc_upstream_url(const sc_upstream *upstream)
{
    return upstream->url;
}

bool sc_upstream_control(sc_upstream *upstream, const char *json)
{
    return control_apply(upstream, json, strlen(json));
}

void sc_upstream_alias(sc_upstream *upstream, const char *text, const char *to, double distance)
{
    json_t *root = json_pack("{s:[{s:s,s:s,s:f}]}", "alias", "text", text, "to", to, "distance",
                             distance);
    char   *json = json_dumps(root, 0);
    sc_upstream_control(upstream, json);
    free(json);
    json_decref(root);
}

void sc_upstream_vector(sc_upstream *upstream, const char *text, size_t len, float *vector,
                        unsigned dim)
{
    vector_of(upstream, (sc_str){text, len}, vector, dim);
}

void sc_upstream_look(sc_upstream *upstream, sc_upstream_counters *out)
{
    pthread_mutex_lock(&upstream->lock);
    *out = upstream->counters;
    pthread_mutex_unlock(&upstream->lock);
}

bool sc_upstream_last(sc_upstream *upstream, sc_upstream_endpoint endpoint, char *path,
                      char *headers, char *body, size_t room_each)
{
    pthread_mutex_lock(&upstream->lock);
    const last_call *last = &upstream->last[endpoint];
    bool             any = last->path != NULL;
    if (any) {
        snprintf(path, room_each, "%s", last->path);
        snprintf(headers, room_each, "%s", last->headers);
        snprintf(body, room_each, "%s", last->body);
    }
    pthread_mutex_unlock(&upstream->lock);
    return any;
}
