/* Places, batches, and who ends a wait.
 *
 * A place is one text on its way: first in the queue, then in a batch. It owns a copy of the
 * text, because the call that brought it may give up long before the batch comes back; calls for
 * the same text hang on the same place. There are twice as many batches as the provider has
 * slots: while one that came back is handed out to its callers, the next is under way already.
 *
 * A call ends in one of three ways, and the lock decides which: it is taken off its place by the
 * batch's completion, by the timer thread, or by a refusal. Whoever took it off calls its done(),
 * after unlocking; so each is done exactly once, and done() may ask again.
 *
 * The timer thread keeps no sorted structure. It sleeps until the earliest deadline it knows and
 * then walks all calls. Deadlines are seconds away and batches come back in milliseconds, so a
 * walk happens about once per timeout; a heap would cost every call for the sake of the few that
 * hang. WALK_MS bounds the walks when deadlines are short. */
#include "src/embed/batch.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include "src/base/breaker.h"
#include "src/base/table.h"
#include "src/base/thread.h"
#include "src/embed/known.h"

enum { WALK_MS = 2 };

typedef struct {
    sc_link    all;      /* among all places */
    sc_link    waiting;  /* in the queue; not linked once in a batch */
    sc_link    calls;    /* of sc_embed_call._link */
    sc_digest  hash;
    sc_instant arrived;
    size_t     group_max; /* of the batch it may go in: halved when a batch is refused as a whole */
    size_t     len;
    char       text[]; /* [len] */
} place;

typedef struct {
    sc_embed_job  job;
    sc_embedder  *embedder;
    sc_link       link;    /* among the free batches */
    place       **places;  /* [batch_max] */
    sc_str       *texts;   /* [batch_max] */
} batch;

struct sc_embedder {
    /* Fixed by open. */
    sc_embedder_options options;
    sc_embed_provider  *provider;
    sc_known           *known;
    batch              *batches; /* [batches_count] */
    uint32_t            batches_count;
    pthread_t           timer;
    bool                timer_started;

    sc_breaker           breaker;
    atomic_uint_fast64_t known_hits;

    pthread_mutex_t lock;
    pthread_cond_t  tick; /* the timer's plan changed */
    pthread_cond_t  idle; /* a batch came back */
    /* Under lock. */
    sc_table          table;      /* hash to place */
    sc_link           all;        /* every place */
    sc_link           queue;      /* places that wait for a slot */
    size_t            waiting;    /* in the queue */
    sc_link           free_batches;
    uint32_t          out;        /* batches the provider has */
    uint32_t          busy;       /* batches not free, and threads in pump() */
    bool              closing;
    sc_instant        walk_at;    /* the timer walks the calls then */
    sc_instant        walked;     /* when it last did */
    sc_instant        linger_at;  /* the queue's front has waited long enough for company */
    sc_embedder_stats stats;
};

/* The embedder whose batches this thread is handing to a provider that may complete them at once:
 * the outermost pump() goes on, inner ones return, so the stack does not grow with the queue. */
static _Thread_local sc_embedder *pumping;

/* ---- the end of calls ---- */

static void finish(sc_embed_call *call, sc_status status)
{
    call->status = status;
    call->done(call);
}

static void refuse(sc_embed_call *call, sc_status status, const char *text)
{
    finish(call, sc_fail(&call->error, status, "%s", text));
}

static void refuse_all(sc_link *calls, sc_status status, const char *text)
{
    for (sc_link *link; (link = sc_list_pop_front(calls)) != NULL;)
        refuse(SC_CONTAINER(link, sc_embed_call, _link), status, text);
}

/* ---- places; under lock ---- */

static place *place_make(const sc_embed_call *call, sc_instant now, size_t group_max)
{
    place *p = malloc(sizeof *p + call->text.len);
    if (p == NULL)
        return NULL;
    *p = (place){.hash = call->hash,
                 .arrived = now,
                 .group_max = group_max,
                 .len = call->text.len};
    sc_list_init(&p->calls);
    memcpy(p->text, call->text.ptr, call->text.len);
    return p;
}

static void enqueue(sc_embedder *e, place *p)
{
    sc_list_push_back(&e->queue, &p->waiting);
    e->waiting++;
}

static void dequeue(sc_embedder *e, place *p)
{
    sc_list_remove(&p->waiting);
    e->waiting--;
}

static void forget(sc_embedder *e, place *p)
{
    sc_table_remove(&e->table, &p->hash);
    sc_list_remove(&p->all);
}

static void drop_waiting(sc_embedder *e, place *p)
{
    dequeue(e, p);
    forget(e, p);
    free(p);
}

static void empty_queue(sc_embedder *e, sc_link *calls)
{
    SC_LIST_EACH_SAFE(link, after, &e->queue)
    {
        place *p = SC_CONTAINER(link, place, waiting);
        sc_list_splice_back(calls, &p->calls);
        drop_waiting(e, p);
    }
}

/* ---- the timer ---- */

static void plan_walk(sc_embedder *e, sc_instant deadline)
{
    sc_instant soonest = sc_instant_after_ms(e->walked, WALK_MS);
    sc_instant at = sc_instant_before(deadline, soonest) ? soonest : deadline;
    if (!sc_instant_before(at, e->walk_at))
        return;
    e->walk_at = at;
    pthread_cond_signal(&e->tick);
}

static void plan_linger(sc_embedder *e, sc_instant at)
{
    if (at.ns == e->linger_at.ns)
        return;
    e->linger_at = at;
    pthread_cond_signal(&e->tick);
}

/* Takes the calls of one place whose time is over. */
static void expire(place *p, sc_instant now, sc_link *expired, sc_instant *earliest)
{
    SC_LIST_EACH_SAFE(link, after, &p->calls)
    {
        sc_embed_call *call = SC_CONTAINER(link, sc_embed_call, _link);
        if (sc_instant_before(now, call->deadline)) {
            *earliest = sc_instant_earlier(*earliest, call->deadline);
        } else {
            sc_list_remove(link);
            sc_list_push_back(expired, link);
        }
    }
}

static void walk(sc_embedder *e, sc_instant now, sc_link *expired)
{
    sc_instant earliest = SC_INSTANT_NEVER;
    SC_LIST_EACH_SAFE(link, after, &e->all)
    {
        place *p = SC_CONTAINER(link, place, all);
        expire(p, now, expired, &earliest);
        if (sc_list_empty(&p->calls) && sc_list_linked(&p->waiting))
            drop_waiting(e, p); /* nobody wants it any more, and it cost nothing yet */
    }
    e->walked = now;
    e->walk_at = SC_INSTANT_NEVER;
    if (earliest.ns != INT64_MAX)
        plan_walk(e, earliest);
}

static void sleep_until(sc_embedder *e, sc_instant at)
{
    if (at.ns == INT64_MAX) {
        pthread_cond_wait(&e->tick, &e->lock);
        return;
    }
    struct timespec until = {.tv_sec = (time_t)(at.ns / 1000000000), .tv_nsec = (long)(at.ns % 1000000000)};
    pthread_cond_timedwait(&e->tick, &e->lock, &until);
}

static void pump(sc_embedder *e);

static void *run_timer(void *arg)
{
    sc_embedder *e = arg;
    sc_thread_name("sc-embed-timer");
    pthread_mutex_lock(&e->lock);
    while (!e->closing) {
        sc_link    expired;
        sc_instant now = sc_now();
        bool       linger_over = !sc_instant_before(now, e->linger_at);
        sc_list_init(&expired);
        if (!sc_instant_before(now, e->walk_at))
            walk(e, now, &expired);
        if (!linger_over && sc_list_empty(&expired)) {
            sleep_until(e, sc_instant_earlier(e->walk_at, e->linger_at));
            continue;
        }
        e->linger_at = SC_INSTANT_NEVER;
        pthread_mutex_unlock(&e->lock);
        refuse_all(&expired, SC_TIMEOUT, "the embedding took longer than the request may wait");
        pump(e);
        pthread_mutex_lock(&e->lock);
    }
    pthread_mutex_unlock(&e->lock);
    return NULL;
}

/* ---- batches ---- */

/* True while it is better to wait for company; under lock. */
static bool linger(sc_embedder *e, sc_instant now)
{
    place *front = SC_CONTAINER(e->queue.next, place, waiting);
    if (e->options.linger_us == 0 || e->waiting >= e->provider->batch_max)
        return false;
    sc_instant over = {front->arrived.ns + (int64_t)e->options.linger_us * 1000};
    if (!sc_instant_before(now, over))
        return false;
    plan_linger(e, over);
    return true;
}

static void fill(sc_embedder *e, batch *b)
{
    size_t room = e->provider->batch_max;
    b->job.count = 0;
    while (!sc_list_empty(&e->queue)) {
        place *p = SC_CONTAINER(e->queue.next, place, waiting);
        room = p->group_max < room ? p->group_max : room;
        if (b->job.count >= room)
            break;
        dequeue(e, p);
        b->places[b->job.count] = p;
        b->texts[b->job.count] = (sc_str){p->text, p->len};
        b->job.count++;
    }
}

static void count_batch(sc_embedder *e, const batch *b)
{
    e->out++;
    e->busy++;
    e->stats.batches++;
    e->stats.texts += b->job.count;
    if (b->job.count > e->stats.batch_size_max)
        e->stats.batch_size_max = b->job.count;
}

/* Under lock. */
static bool has_slot(const sc_embedder *e)
{
    return e->out < e->provider->slots && !sc_list_empty(&e->free_batches);
}

static void count_pump(sc_embedder *e, bool goes_on, bool *counted)
{
    if (goes_on && !*counted)
        e->busy++;
    else if (!goes_on && *counted && --e->busy == 0)
        pthread_cond_broadcast(&e->idle);
    *counted = goes_on;
}

/* The next batch, ready for the provider; NULL when there is nothing to do or no slot. From its
 * first batch on the pumping thread counts as busy too: the last batch it submits may come back,
 * and the embedder be closed, before submit() returns. */
static batch *next_batch(sc_embedder *e, bool *counted)
{
    batch     *b = NULL;
    sc_link    refused;
    sc_instant now = sc_now();
    sc_list_init(&refused);
    pthread_mutex_lock(&e->lock);
    /* The breaker opened while they waited: they would only meet the same failure, later. */
    if (sc_breaker_look(&e->breaker, NULL) == SC_BREAKER_OPEN)
        empty_queue(e, &refused);
    if (!sc_list_empty(&e->queue) && has_slot(e) && !linger(e, now)) {
        b = SC_CONTAINER(sc_list_pop_front(&e->free_batches), batch, link);
        fill(e, b);
        count_batch(e, b);
    }
    count_pump(e, b != NULL, counted);
    pthread_mutex_unlock(&e->lock);
    refuse_all(&refused, SC_UNAVAILABLE, "the embedder keeps failing");
    if (b != NULL) {
        b->job.deadline = sc_instant_after_ms(now, e->options.timeout_ms);
        b->job.status = SC_INTERNAL;
        b->job.error = (sc_error){0};
        b->job.tokens = 0;
    }
    return b;
}

static void pump(sc_embedder *e)
{
    sc_embedder *outer = pumping;
    if (outer == e)
        return;
    pumping = e;
    bool counted = false;
    for (batch *b; (b = next_batch(e, &counted)) != NULL;)
        e->provider->submit(e->provider, &b->job);
    pumping = outer;
}

static void remember(sc_embedder *e, const batch *b)
{
    const sc_embed_job *job = &b->job;
    for (size_t i = 0; i < job->count; i++)
        sc_known_put(e->known, &b->places[i]->hash, job->vectors + i * e->provider->dim,
                     job->notes[i]);
}

/* A provider that refuses a batch as invalid may mean only one of its texts: the halves are asked
 * again, so that one caller's text never fails the others'. Under lock. */
static bool split(sc_embedder *e, batch *b)
{
    size_t count = b->job.count;
    if (b->job.status != SC_INVALID || count < 2)
        return false;
    for (size_t i = count; i-- > 0;) {
        place *p = b->places[i];
        p->group_max = (count + 1) / 2;
        sc_list_push_front(&e->queue, &p->waiting);
        e->waiting++;
    }
    return true;
}

static void tell_breaker(sc_embedder *e, sc_status status)
{
    if (status == SC_OK || status == SC_INVALID)
        sc_breaker_success(&e->breaker);
    else if (status != SC_CANCELLED && status != SC_NO_MEMORY)
        sc_breaker_failure(&e->breaker, sc_now());
}

static void answer(sc_embedder *e, const batch *b, size_t at, sc_embed_call *call)
{
    const sc_embed_job *job = &b->job;
    call->batch_size = (uint32_t)job->count;
    call->error = job->error;
    if (job->status == SC_OK) {
        call->note = job->notes[at];
        if (call->note == SC_EMBED_USABLE)
            memcpy(call->vector, job->vectors + at * e->provider->dim,
                   sizeof(float) * e->provider->dim);
    }
    finish(call, job->status);
}

/* Ends the calls of a batch whose places are in no list any more. */
static void answer_all(sc_embedder *e, batch *b)
{
    for (size_t i = 0; i < b->job.count; i++) {
        place *p = b->places[i];
        for (sc_link *link; (link = sc_list_pop_front(&p->calls)) != NULL;)
            answer(e, b, i, SC_CONTAINER(link, sc_embed_call, _link));
        free(p);
    }
}

/* From here on the places are the batch's alone: nobody joins them, and the timer does not see
 * them. Under lock. */
static void retire(sc_embedder *e, batch *b)
{
    for (size_t i = 0; i < b->job.count; i++) {
        forget(e, b->places[i]);
        if (b->job.status != SC_OK)
            SC_LIST_EACH(link, &b->places[i]->calls) e->stats.failed++;
    }
}

/* True when the queue was held up for want of a batch. */
static bool put_back(sc_embedder *e, batch *b)
{
    pthread_mutex_lock(&e->lock);
    bool held_up = sc_list_empty(&e->free_batches) && !sc_list_empty(&e->queue);
    sc_list_push_back(&e->free_batches, &b->link);
    pthread_mutex_unlock(&e->lock);
    return held_up;
}

/* The last thing a batch does with the embedder, which may then be closed. */
static void leave(sc_embedder *e)
{
    pthread_mutex_lock(&e->lock);
    if (--e->busy == 0)
        pthread_cond_broadcast(&e->idle);
    pthread_mutex_unlock(&e->lock);
}

/* On the provider's thread, perhaps within submit(). */
static void on_batch(sc_embed_job *job)
{
    batch       *b = SC_CONTAINER(job, batch, job);
    sc_embedder *e = b->embedder;
    tell_breaker(e, job->status);
    /* Before the places go: whoever asks in between finds one or the other. */
    if (job->status == SC_OK)
        remember(e, b);
    pthread_mutex_lock(&e->lock);
    e->out--;
    bool again = split(e, b);
    if (!again)
        retire(e, b);
    pthread_mutex_unlock(&e->lock);
    pump(e);
    if (!again)
        answer_all(e, b);
    if (put_back(e, b))
        pump(e);
    leave(e);
}

/* ---- asking ---- */

/* Under lock. NULL: refused, with *status and *why. */
static place *place_for(sc_embedder *e, const sc_embed_call *call, sc_instant now,
                        sc_status *status, const char **why)
{
    *status = SC_BUSY;
    *why = "too many texts wait for the embedder";
    if (e->waiting >= e->options.texts_waiting_max)
        return NULL;
    *status = SC_UNAVAILABLE;
    *why = "the embedder keeps failing";
    if (!sc_breaker_allow(&e->breaker, now))
        return NULL;
    *status = SC_NO_MEMORY;
    *why = "no memory to embed a text";
    place *p = place_make(call, now, e->provider->batch_max);
    if (p != NULL && sc_table_put(&e->table, &call->hash, p, NULL) != SC_OK) {
        free(p);
        p = NULL;
    }
    if (p == NULL)
        return NULL;
    sc_list_push_back(&e->all, &p->all);
    enqueue(e, p);
    return p;
}

static bool answer_known(sc_embedder *e, sc_embed_call *call)
{
    call->from_map = sc_known_get(e->known, &call->hash, call->vector, &call->note);
    if (call->from_map)
        atomic_fetch_add_explicit(&e->known_hits, 1, memory_order_relaxed);
    return call->from_map;
}

/* Hangs the call on a place, or tells why not. True: pump() has something to do. */
static bool join(sc_embedder *e, sc_embed_call *call, sc_status *status, const char **why)
{
    sc_instant now = sc_now();
    *status = SC_TIMEOUT;
    *why = "the deadline passed before the text was embedded";
    if (!sc_instant_before(now, call->deadline))
        return false;
    place *p = sc_table_get(&e->table, &call->hash);
    bool   fresh = p == NULL;
    if (fresh && answer_known(e, call)) { /* it came back between our look and the lock */
        *status = SC_EXISTS;
        return false;
    }
    if (fresh)
        p = place_for(e, call, now, status, why);
    if (p == NULL) {
        e->stats.refused++;
        return false;
    }
    *status = SC_OK;
    e->stats.shared += fresh ? 0 : 1;
    sc_list_push_back(&p->calls, &call->_link);
    plan_walk(e, call->deadline);
    return fresh && has_slot(e);
}

void sc_embedder_ask(sc_embedder *e, sc_embed_call *call)
{
    sc_status   status = SC_OK;
    const char *why = NULL;
    assert(call->text.len != 0 && call->done != NULL);
    call->_link = (sc_link){0};
    call->error = (sc_error){0};
    call->note = SC_EMBED_USABLE;
    call->batch_size = 0;
    if (answer_known(e, call)) {
        finish(call, SC_OK);
        return;
    }
    pthread_mutex_lock(&e->lock);
    bool ready = join(e, call, &status, &why);
    pthread_mutex_unlock(&e->lock);
    if (status == SC_EXISTS)
        finish(call, SC_OK);
    else if (status != SC_OK)
        refuse(call, status, why);
    else if (ready)
        pump(e);
}

/* ---- open and close ---- */

static sc_status open_batch(sc_embedder *e, batch *b)
{
    size_t batch_max = e->provider->batch_max;
    b->embedder = e;
    b->places = calloc(batch_max, sizeof *b->places);
    b->texts = calloc(batch_max, sizeof *b->texts);
    b->job.vectors = malloc(batch_max * e->provider->dim * sizeof(float));
    b->job.notes = calloc(batch_max, sizeof *b->job.notes);
    b->job.texts = b->texts;
    b->job.done = on_batch;
    sc_list_push_back(&e->free_batches, &b->link);
    bool whole = b->places != NULL && b->texts != NULL && b->job.vectors != NULL &&
                 b->job.notes != NULL;
    return whole ? SC_OK : SC_NO_MEMORY;
}

static void close_batch(batch *b)
{
    free(b->places);
    free(b->texts);
    free(b->job.vectors);
    free(b->job.notes);
}

static sc_embedder *make(const sc_embedder_options *options, sc_embed_provider *provider)
{
    pthread_condattr_t monotonic;
    sc_embedder       *e = calloc(1, sizeof *e);
    if (e == NULL)
        return NULL;
    e->options = *options;
    e->provider = provider;
    e->walk_at = e->linger_at = SC_INSTANT_NEVER;
    sc_list_init(&e->all);
    sc_list_init(&e->queue);
    sc_list_init(&e->free_batches);
    sc_breaker_init(&e->breaker, options->breaker_failures, options->breaker_open_ms);
    pthread_mutex_init(&e->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&e->tick, &monotonic);
    pthread_condattr_destroy(&monotonic);
    pthread_cond_init(&e->idle, NULL);
    return e;
}

static sc_status open_parts(sc_embedder *e)
{
    sc_status status = sc_known_open(e->provider->dim, e->options.map_bytes_max, &e->known);
    e->batches = calloc(e->provider->slots, 2 * sizeof *e->batches);
    if (e->batches == NULL)
        return SC_NO_MEMORY;
    for (; status == SC_OK && e->batches_count < 2 * e->provider->slots; e->batches_count++)
        status = open_batch(e, &e->batches[e->batches_count]);
    if (status != SC_OK)
        return status;
    if (pthread_create(&e->timer, NULL, run_timer, e) != 0)
        return SC_NO_MEMORY;
    e->timer_started = true;
    return SC_OK;
}

sc_status sc_embedder_open(const sc_embedder_options *options, sc_embed_provider *provider,
                           sc_embedder **out)
{
    assert(provider->dim > 0 && provider->batch_max > 0 && provider->slots > 0);
    *out = NULL;
    sc_embedder *e = make(options, provider);
    if (e == NULL)
        return SC_NO_MEMORY;
    sc_status status = open_parts(e);
    if (status == SC_OK) {
        *out = e;
        return SC_OK;
    }
    e->provider = NULL; /* still the caller's */
    sc_embedder_close(e);
    return status;
}

static void stop(sc_embedder *e)
{
    sc_link left;
    sc_list_init(&left);
    pthread_mutex_lock(&e->lock);
    e->closing = true;
    empty_queue(e, &left);
    pthread_cond_signal(&e->tick);
    pthread_mutex_unlock(&e->lock);
    refuse_all(&left, SC_CANCELLED, "the server is closing");
    if (e->timer_started)
        pthread_join(e->timer, NULL);
    pthread_mutex_lock(&e->lock);
    while (e->busy != 0)
        pthread_cond_wait(&e->idle, &e->lock);
    assert(sc_list_empty(&e->all));
    pthread_mutex_unlock(&e->lock);
}

void sc_embedder_close(sc_embedder *e)
{
    if (e == NULL)
        return;
    stop(e);
    if (e->provider != NULL)
        e->provider->close(e->provider);
    for (uint32_t i = 0; i < e->batches_count; i++)
        close_batch(&e->batches[i]);
    free(e->batches);
    sc_known_close(e->known);
    sc_table_fini(&e->table);
    sc_breaker_fini(&e->breaker);
    pthread_cond_destroy(&e->tick);
    pthread_cond_destroy(&e->idle);
    pthread_mutex_destroy(&e->lock);
    free(e);
}

const sc_embed_provider *sc_embedder_provider(const sc_embedder *e)
{
    return e->provider;
}

void sc_embedder_look(sc_embedder *e, sc_embedder_stats *out)
{
    pthread_mutex_lock(&e->lock);
    *out = e->stats;
    out->waiting = e->waiting;
    pthread_mutex_unlock(&e->lock);
    out->known = atomic_load_explicit(&e->known_hits, memory_order_relaxed);
    sc_known_look(e->known, &out->map_entries, &out->map_bytes);
    out->breaker_state = (int)sc_breaker_look(&e->breaker, &out->breaker_opened);
}
