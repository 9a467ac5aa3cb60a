#include "src/embed/local/local.h"

#include <assert.h>
#include <cblas.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "src/base/list.h"
#include "src/base/log.h"
#include "src/base/pool.h"
#include "src/base/thread.h"
#include "src/embed/local/encoder.h"
#include "src/embed/local/file.h"
#include "src/embed/local/tokenizer.h"
#include "src/embed/local/weights.h"

enum {
    /* A question of a dozen tokens costs 4 ms alone and as much in company, since packed weights
     * need no large batch to be read well. So a job stays small: more texts would only wait for
     * each other on one core while another is free. */
    BATCH_MAX = 8,
    THREADS_MAX = 256,
    JOBS_PER_THREAD = 16, /* under way or waiting; the gatherer keeps to `slots` */
};

static const char vocabulary_name[] = "vocab.txt";
static const char vocabulary_sha256[] =
    "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3";

/* What one worker needs; as many as there are workers, so a running job always finds one. */
typedef struct {
    sc_link           link;
    sc_encoder_space *encoder;
    sc_tokens         tokens[BATCH_MAX];
} space;

/* A job's place in the pool. */
typedef struct {
    sc_task          task;
    sc_link          link; /* while free */
    struct provider *provider;
    sc_embed_job    *job;
} errand;

typedef struct provider {
    sc_embed_provider port; /* first: it is what callers hold */

    /* Fixed by open. */
    sc_weights   *weights;
    sc_tokenizer *tokenizer;
    sc_pool      *pool;
    space        *spaces;  /* [threads] */
    errand       *errands; /* [threads * JOBS_PER_THREAD] */
    unsigned      threads;

    pthread_mutex_t lock;
    /* Under lock. */
    sc_link free_spaces;
    sc_link free_errands;
} provider;

/* ---- A job ---- */

static sc_link *take(provider *p, sc_link *from)
{
    pthread_mutex_lock(&p->lock);
    sc_link *link = sc_list_pop_front(from);
    pthread_mutex_unlock(&p->lock);
    return link;
}

static void put(provider *p, sc_link *to, sc_link *link)
{
    pthread_mutex_lock(&p->lock);
    sc_list_push_front(to, link); /* the one still in the cache is taken next */
    pthread_mutex_unlock(&p->lock);
}

static void finish(sc_embed_job *job, sc_status status, const char *text)
{
    job->status = status;
    if (status != SC_OK)
        sc_fail(&job->error, status, "local embedding: %s", text);
    job->done(job);
}

/* One pass: as many of the usable texts from *next on as fit; *next is moved behind them. */
static void encode_some(const provider *p, space *s, sc_embed_job *job, size_t *next)
{
    const sc_tokens *texts[BATCH_MAX];
    float           *vectors[BATCH_MAX];
    size_t           count = 0, tokens = 0;
    for (; *next < job->count; ++*next) {
        const sc_tokens *text = &s->tokens[*next];
        if (job->notes[*next] != SC_EMBED_USABLE)
            continue;
        if (tokens + text->count > SC_ENCODER_TOKENS_MAX)
            break;
        tokens += text->count;
        texts[count] = text;
        vectors[count++] = job->vectors + *next * SC_MODEL_DIM;
    }
    if (count > 0)
        sc_encoder_run(p->weights, s->encoder, texts, vectors, count);
}

static void tokenize(const provider *p, space *s, sc_embed_job *job)
{
    job->tokens = 0;
    for (size_t i = 0; i < job->count; i++) {
        job->notes[i] = sc_tokenizer_run(p->tokenizer, job->texts[i], &s->tokens[i]);
        if (job->notes[i] == SC_EMBED_USABLE)
            job->tokens += s->tokens[i].count;
    }
}

/* False when the deadline came before the end. */
static bool encode(const provider *p, space *s, sc_embed_job *job)
{
    if (!sc_instant_before(sc_now(), job->deadline))
        return false;
    tokenize(p, s, job);
    for (size_t next = 0; next < job->count;) {
        if (!sc_instant_before(sc_now(), job->deadline))
            return false;
        encode_some(p, s, job, &next);
    }
    return true;
}

static void run_errand(sc_task *task)
{
    errand       *e = SC_CONTAINER(task, errand, task);
    provider     *p = e->provider;
    sc_embed_job *job = e->job;
    sc_link      *link = take(p, &p->free_spaces);
    assert(link != NULL);
    bool done = encode(p, SC_CONTAINER(link, space, link), job);
    put(p, &p->free_spaces, link);
    put(p, &p->free_errands, &e->link);
    /* Last: after it nothing of this job may be touched, and close() may be waiting. */
    finish(job, done ? SC_OK : SC_TIMEOUT, "the deadline passed");
}

static void submit(sc_embed_provider *port, sc_embed_job *job)
{
    provider *p = SC_CONTAINER(port, provider, port);
    if (job->count > BATCH_MAX) {
        finish(job, SC_INVALID, "more texts in a job than batch_max");
        return;
    }
    sc_link *link = take(p, &p->free_errands);
    if (link == NULL) {
        finish(job, SC_BUSY, "too many jobs wait");
        return;
    }
    errand *e = SC_CONTAINER(link, errand, link);
    e->job = job;
    if (sc_pool_post(p->pool, &e->task) != SC_OK) {
        put(p, &p->free_errands, link);
        finish(job, SC_BUSY, "too many jobs wait");
    }
}

/* ---- Opening ---- */

static const sc_kernel *choose_kernel(sc_local_kernel kernel)
{
    static const char *const names[] = {"", "openblas", "avx2", "avx512", "neon"};
    return kernel == SC_LOCAL_KERNEL_AUTO ? sc_kernel_best() : sc_kernel_named(names[kernel]);
}

static sc_status open_tokenizer(provider *p, const char *folder, sc_error *error)
{
    void     *bytes;
    size_t    len;
    sc_status status =
        sc_file_map_pinned(folder, vocabulary_name, vocabulary_sha256, &bytes, &len, error);
    if (status != SC_OK)
        return status;
    status = sc_tokenizer_open((sc_str){bytes, len}, &p->tokenizer, error);
    sc_file_unmap(bytes, len);
    if (status == SC_OK && sc_tokenizer_pieces(p->tokenizer) != SC_MODEL_WORDS)
        status = sc_fail(error, SC_MISMATCH, "vocabulary: not %d pieces", SC_MODEL_WORDS);
    return status;
}

static sc_status open_model(provider *p, const sc_local_options *options, sc_error *error)
{
    char             found[4096];
    const char      *folder = options->model_dir;
    const sc_kernel *kernel = choose_kernel(options->kernel);
    if (kernel == NULL)
        return sc_fail(error, SC_UNSUPPORTED,
                       "EMBEDDING_LOCAL_KERNEL: this processor or build lacks it; auto finds one");
    if (folder == NULL && sc_local_model_dir(found, sizeof found))
        folder = found;
    if (folder == NULL)
        return sc_fail(error, SC_NOT_FOUND, "EMBEDDING_MODEL_DIR: not set, and no HOME to look in");
    sc_status status = open_tokenizer(p, folder, error);
    if (status == SC_OK)
        status = sc_weights_open(folder, kernel, options->weights == SC_LOCAL_FLOAT16, &p->weights,
                                 error);
    return status;
}

static sc_status open_spaces(provider *p)
{
    size_t errands = (size_t)p->threads * JOBS_PER_THREAD;
    p->spaces = calloc(p->threads, sizeof *p->spaces);
    p->errands = calloc(errands, sizeof *p->errands);
    if (p->spaces == NULL || p->errands == NULL)
        return SC_NO_MEMORY;
    for (unsigned i = 0; i < p->threads; i++) {
        if (sc_encoder_space_open(&p->spaces[i].encoder) != SC_OK)
            return SC_NO_MEMORY;
        sc_list_push_back(&p->free_spaces, &p->spaces[i].link);
    }
    for (size_t i = 0; i < errands; i++) {
        p->errands[i].provider = p;
        p->errands[i].task.run = run_errand;
        sc_list_push_back(&p->free_errands, &p->errands[i].link);
    }
    return SC_OK;
}

static sc_status open_workers(provider *p, sc_error *error)
{
    sc_pool_options options = {
        .name = "encode",
        .threads = p->threads,
        .queue_max = (size_t)p->threads * JOBS_PER_THREAD,
    };
    sc_status status = open_spaces(p);
    if (status == SC_OK)
        status = sc_pool_open(&options, &p->pool);
    return status == SC_OK ? SC_OK : sc_fail(error, status, "local embedding: no workers");
}

static void close_provider(sc_embed_provider *port)
{
    provider *p = SC_CONTAINER(port, provider, port);
    sc_pool_close(p->pool);
    for (unsigned i = 0; p->spaces != NULL && i < p->threads; i++)
        sc_encoder_space_close(p->spaces[i].encoder);
    free(p->spaces);
    free(p->errands);
    sc_tokenizer_close(p->tokenizer);
    sc_weights_close(p->weights);
    pthread_mutex_destroy(&p->lock);
    free(p);
}

static unsigned choose_threads(unsigned asked)
{
    unsigned threads = asked == 0 ? sc_cpu_count() : asked;
    return threads < THREADS_MAX ? threads : THREADS_MAX;
}

static provider *new_provider(unsigned threads)
{
    provider *p = calloc(1, sizeof *p);
    if (p == NULL)
        return NULL;
    p->threads = threads;
    p->port = (sc_embed_provider){
        .name = "local",
        .model = SC_STR("all-MiniLM-L6-v2"),
        .dim = SC_MODEL_DIM,
        .batch_max = BATCH_MAX,
        .slots = threads,
        .submit = submit,
        .close = close_provider,
    };
    pthread_mutex_init(&p->lock, NULL);
    sc_list_init(&p->free_spaces);
    sc_list_init(&p->free_errands);
    return p;
}

sc_status sc_local_open(const sc_local_options *options, sc_embed_provider **out, sc_error *error)
{
    provider *p = new_provider(choose_threads(options->threads));
    *out = NULL;
    if (p == NULL)
        return sc_fail(error, SC_NO_MEMORY, "local embedding: out of memory");
    /* Its helper threads spin after each call and make two cores slower than one; we have a worker
     * for each core instead. */
    openblas_set_num_threads(1);
    sc_status status = open_model(p, options, error);
    if (status == SC_OK)
        status = open_workers(p, error);
    if (status != SC_OK) {
        close_provider(&p->port);
        return status;
    }
    sc_log(SC_LOG_INFO, "embed.local.ready", sc_kv_text("kernel", p->weights->kernel->name),
           sc_kv_text("weights", options->weights == SC_LOCAL_FLOAT16 ? "float16" : "float32"),
           sc_kv_int("threads", p->threads));
    *out = &p->port;
    return SC_OK;
}
