/* A job becomes one request, repeated after failures that may pass within the job's deadline.
 * Replies are read on the I/O thread: a batch of 64 vectors costs it less than handing the bytes
 * to another thread would cost everybody in latency. */
#include "src/embed/openai.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>

#include "src/base/log.h"
#include "src/embed/embeddings_json.h"
#include "src/http/retry.h"
#include "src/text/json.h"

enum { BODY_BYTES_MAX = 512 << 20 };

typedef struct openai openai;

typedef struct {
    sc_link         link; /* among the free ones */
    openai         *owner;
    sc_http_request request;
    sc_buf          body;
    sc_embed_job   *job;
    unsigned        attempt;
} transfer;

struct openai {
    sc_embed_provider base;
    /* Fixed by open. */
    sc_http    *http;
    sc_endpoint endpoint;
    char       *model;
    uint32_t    dimensions_asked; /* 0: the model's own */
    uint32_t    retries;
    size_t      reply_bytes_max;
    transfer   *transfers; /* [slots] */

    pthread_mutex_t lock;
    pthread_cond_t  idle;
    /* Under lock. */
    sc_link  free;
    uint32_t busy;
};

/* ---- the request ---- */

static void put_prefix(sc_buf *body, const char *model)
{
    sc_buf_str(body, SC_STR("{\"model\":"));
    sc_json_put_string(body, sc_str_of(model));
    sc_buf_str(body, SC_STR(",\"encoding_format\":\"base64\""));
}

static sc_status write_body(const openai *p, const sc_embed_job *job, sc_buf *body)
{
    sc_buf_clear(body);
    put_prefix(body, p->model);
    if (p->dimensions_asked != 0)
        sc_buf_printf(body, ",\"dimensions\":%u", p->dimensions_asked);
    sc_buf_str(body, SC_STR(",\"input\":["));
    for (size_t i = 0; i < job->count; i++) {
        if (i != 0)
            sc_buf_byte(body, ',');
        sc_json_put_string(body, job->texts[i]);
    }
    sc_buf_str(body, SC_STR("]}"));
    return body->failed;
}

static transfer *take(openai *p)
{
    pthread_mutex_lock(&p->lock);
    sc_link *link = sc_list_pop_front(&p->free);
    assert(link != NULL); /* the gatherer keeps to base.slots */
    p->busy++;
    pthread_mutex_unlock(&p->lock);
    return SC_CONTAINER(link, transfer, link);
}

static void put_back(openai *p, transfer *t)
{
    pthread_mutex_lock(&p->lock);
    sc_list_push_front(&p->free, &t->link);
    pthread_mutex_unlock(&p->lock);
}

/* The last thing a job does with the provider, which may then be closed. */
static void leave(openai *p)
{
    pthread_mutex_lock(&p->lock);
    if (--p->busy == 0)
        pthread_cond_broadcast(&p->idle);
    pthread_mutex_unlock(&p->lock);
}

static void finish(transfer *t, sc_status status)
{
    openai       *p = t->owner;
    sc_embed_job *job = t->job;
    static sc_log_limit limit;
    int64_t       left_out = 0;
    job->status = status;
    if (status != SC_OK && sc_log_allow(&limit, 1000, sc_now(), &left_out))
        sc_log(SC_LOG_WARN, "embed.failed", sc_kv_text("status", sc_status_name(status)),
               sc_kv_text("cause", job->error.text), sc_kv_int("texts", job->count),
               sc_kv_int("attempts", t->attempt + 1), sc_kv_int("left_out", left_out));
    put_back(p, t); /* before done(), which submits the next job */
    job->done(job);
    leave(p);
}

/* ---- the reply ---- */

static void read_reply(transfer *t)
{
    sc_embed_job *job = t->job;
    job->error = (sc_error){0}; /* of an earlier attempt */
    sc_status     status = sc_embeddings_read(sc_buf_view(&t->request.reply), job->count,
                                              t->owner->base.dim, job->vectors, &job->tokens,
                                              &job->error);
    for (size_t i = 0; i < job->count; i++)
        job->notes[i] = SC_EMBED_USABLE;
    finish(t, status);
}

static bool send_again(transfer *t)
{
    openai *p = t->owner;
    if (t->attempt >= p->retries || !sc_retry_may_help(&t->request))
        return false;
    sc_instant start = sc_retry_start(t->attempt + 1, t->request.retry_after_ms, sc_now(),
                                      t->job->deadline);
    if (start.ns == SC_INSTANT_NEVER.ns)
        return false;
    t->attempt++;
    t->request.start_at = start;
    return sc_http_send(p->http, &t->request) == SC_OK;
}

static void on_done(sc_http_request *request)
{
    transfer *t = SC_CONTAINER(request, transfer, request);
    sc_status status = sc_endpoint_judge(request, "embeddings", &t->job->error);
    if (status == SC_OK)
        read_reply(t);
    else if (!send_again(t))
        finish(t, status);
}

static void submit(sc_embed_provider *provider, sc_embed_job *job)
{
    openai   *p = SC_CONTAINER(provider, openai, base);
    transfer *t = take(p);
    t->job = job;
    t->attempt = 0;
    if (write_body(p, job, &t->body) != SC_OK) {
        finish(t, sc_fail(&job->error, SC_NO_MEMORY, "no memory to ask for embeddings"));
        return;
    }
    t->request.body = sc_buf_view(&t->body);
    t->request.error = &job->error;
    t->request.deadline = job->deadline;
    t->request.start_at = (sc_instant){0};
    if (sc_http_send(p->http, &t->request) != SC_OK)
        finish(t, sc_fail(&job->error, SC_BUSY, "too many requests to upstreams"));
}

/* ---- the dimension ---- */

uint32_t sc_openai_known_dim(const char *model)
{
    static const struct {
        const char *model;
        uint32_t    dim;
    } known[] = {
        {"text-embedding-3-small", 1536},
        {"text-embedding-3-large", 3072},
        {"text-embedding-ada-002", 1536},
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (strcmp(model, known[i].model) == 0)
            return known[i].dim;
    return 0;
}

typedef struct {
    sc_http_request request;
    pthread_mutex_t lock;
    pthread_cond_t  came;
    bool            done;
} probe;

static void on_probe(sc_http_request *request)
{
    probe *p = SC_CONTAINER(request, probe, request);
    pthread_mutex_lock(&p->lock);
    p->done = true;
    pthread_cond_signal(&p->came);
    pthread_mutex_unlock(&p->lock);
}

/* Sends one text and counts what comes back. */
static sc_status ask_dim(openai *o, int64_t timeout_ms, sc_error *error)
{
    sc_buf body;
    probe  p = {.request = {.method = SC_HTTP_POST,
                            .url = o->endpoint.url,
                            .headers = o->endpoint.headers,
                            .body_bytes_max = o->reply_bytes_max,
                            .deadline = sc_instant_after_ms(sc_now(), timeout_ms),
                            .error = error,
                            .done = on_probe}};
    sc_buf_init(&body, 4096);
    put_prefix(&body, o->model);
    sc_buf_str(&body, SC_STR(",\"input\":[\"dimension\"]}"));
    p.request.body = sc_buf_view(&body);
    pthread_mutex_init(&p.lock, NULL);
    pthread_cond_init(&p.came, NULL);
    sc_status status = sc_http_send(o->http, &p.request);
    if (status == SC_OK) {
        pthread_mutex_lock(&p.lock);
        while (!p.done)
            pthread_cond_wait(&p.came, &p.lock);
        pthread_mutex_unlock(&p.lock);
        status = sc_endpoint_judge(&p.request, "embeddings", error);
    }
    if (status == SC_OK)
        status = sc_embeddings_dim(sc_buf_view(&p.request.reply), &o->base.dim, error);
    pthread_mutex_destroy(&p.lock);
    pthread_cond_destroy(&p.came);
    sc_buf_fini(&p.request.reply);
    sc_buf_fini(&body);
    return status;
}

static sc_status find_dim(openai *o, const sc_embed_options *options, sc_error *error)
{
    uint32_t known = sc_openai_known_dim(options->model);
    if (options->dim != 0 || known != 0) {
        o->base.dim = options->dim != 0 ? options->dim : known;
        /* Only models that are known to be larger are asked to be smaller: an upstream that does
         * not know the parameter refuses it. */
        o->dimensions_asked = known != 0 && o->base.dim != known ? o->base.dim : 0;
        return SC_OK;
    }
    return ask_dim(o, options->gather.timeout_ms, error);
}

/* ---- open and close ---- */

static void close_provider(sc_embed_provider *provider)
{
    openai *o = SC_CONTAINER(provider, openai, base);
    pthread_mutex_lock(&o->lock);
    while (o->busy != 0)
        pthread_cond_wait(&o->idle, &o->lock);
    pthread_mutex_unlock(&o->lock);
    for (uint32_t i = 0; o->transfers != NULL && i < o->base.slots; i++) {
        sc_buf_fini(&o->transfers[i].body);
        sc_buf_fini(&o->transfers[i].request.reply);
    }
    free(o->transfers);
    sc_endpoint_close(&o->endpoint);
    free(o->model);
    pthread_cond_destroy(&o->idle);
    pthread_mutex_destroy(&o->lock);
    free(o);
}

static sc_status make_transfers(openai *o)
{
    o->transfers = calloc(o->base.slots, sizeof *o->transfers);
    if (o->transfers == NULL)
        return SC_NO_MEMORY;
    for (uint32_t i = 0; i < o->base.slots; i++) {
        transfer *t = &o->transfers[i];
        t->owner = o;
        sc_buf_init(&t->body, BODY_BYTES_MAX);
        t->request = (sc_http_request){.method = SC_HTTP_POST,
                                       .url = o->endpoint.url,
                                       .headers = o->endpoint.headers,
                                       .body_bytes_max = o->reply_bytes_max,
                                       .done = on_done};
        sc_list_push_back(&o->free, &t->link);
    }
    return SC_OK;
}

static openai *make(const sc_embed_options *options, sc_http *http)
{
    openai *o = calloc(1, sizeof *o);
    if (o == NULL)
        return NULL;
    o->http = http;
    o->retries = options->retries;
    o->reply_bytes_max = options->reply_bytes_max;
    pthread_mutex_init(&o->lock, NULL);
    pthread_cond_init(&o->idle, NULL);
    sc_list_init(&o->free);
    o->model = strdup(options->model);
    o->base = (sc_embed_provider){.name = "openai",
                                  .model = sc_str_of(o->model),
                                  .batch_max = options->batch_max,
                                  .slots = options->connections,
                                  .submit = submit,
                                  .close = close_provider};
    return o;
}

sc_status sc_openai_open(const sc_embed_options *options, const sc_endpoint_options *shared,
                         sc_http *http, sc_embed_provider **out, sc_error *error)
{
    *out = NULL;
    openai *o = make(options, http);
    if (o == NULL)
        return sc_fail(error, SC_NO_MEMORY, "no memory");
    sc_status status = o->model == NULL ? sc_fail(error, SC_NO_MEMORY, "no memory") : SC_OK;
    if (status == SC_OK)
        status = sc_endpoint_open(&options->endpoint, shared, "/embeddings", &o->endpoint, error);
    if (status == SC_OK)
        status = make_transfers(o);
    if (status == SC_OK)
        status = find_dim(o, options, error);
    if (status == SC_OK)
        *out = &o->base;
    else
        close_provider(&o->base);
    return status;
}
