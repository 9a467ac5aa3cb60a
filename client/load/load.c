#include "client/load/load.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "proto/semcache/v1/semantic_cache.pb-c.h"

enum { QUESTION_BYTES_MAX = 65536, BACK_OFF_US = 1000 };

typedef struct run run;

/* One connection and its thread; what it counts, only its thread touches. */
typedef struct {
    sc_client *client;
    histogram  latency;
    uint64_t   codes[LOAD_CODES];
    uint64_t   sources[LOAD_SOURCES];
} lane;

/* A caller. */
typedef struct slot {
    run            *run;
    lane           *lane;
    sc_client_call *call;
    sc_instant      due;
    struct slot    *next; /* among the free */
    uint8_t        *request; /* [request_room] */
    size_t          request_room;
    char           *question; /* [QUESTION_BYTES_MAX] */
} slot;

struct run {
    const load_options *options;
    lane               *lanes; /* [connections] */
    slot               *slots; /* [concurrency] */
    _Atomic bool        measuring, stopping;
    _Atomic uint64_t    next, fresh_next, measured;
    _Atomic unsigned    active; /* slots that go on */

    pthread_mutex_t lock;
    pthread_cond_t  changed;
    /* Under lock. */
    slot *idle;
    bool  enough;
};

/* ---- one question ---- */

/* Which number the nth question carries: every 1/fresh-th gets a new one. */
static uint64_t number_of(run *r)
{
    const load_options *o = r->options;
    uint64_t n = atomic_fetch_add_explicit(&r->next, 1, memory_order_relaxed);
    if (o->fresh > 0 && (uint64_t)((double)(n + 1) * o->fresh) != (uint64_t)((double)n * o->fresh))
        return o->distinct + atomic_fetch_add_explicit(&r->fresh_next, 1, memory_order_relaxed);
    return n % o->distinct;
}

/* The number as figures, or as letters: questions with other figures are never compared, so only
 * letters give a scope of many candidates. */
static void number_write(uint64_t number, bool letters, char *out, size_t room)
{
    snprintf(out, room, "%" PRIu64, number);
    for (; letters && *out != '\0'; out++)
        *out = "bcdfghjklm"[*out - '0'];
}

static void question_write(slot *s, uint64_t number)
{
    char        name[24];
    const char *text = s->run->options->question;
    const char *letters = strstr(text, "{w}");
    const char *at = letters != NULL ? letters : strstr(text, "{n}");
    number_write(number, letters != NULL, name, sizeof name);
    if (at == NULL)
        snprintf(s->question, QUESTION_BYTES_MAX, "%s", text);
    else
        snprintf(s->question, QUESTION_BYTES_MAX, "%.*s%s%s", (int)(at - text), text, name, at + 3);
}

static size_t request_pack(slot *s)
{
    const load_options        *o = s->run->options;
    Semcache__V1__AnswerRequest request = SEMCACHE__V1__ANSWER_REQUEST__INIT;

    question_write(s, number_of(s->run));
    request.user_prompt = s->question;
    request.cache_mode = (Semcache__V1__CacheMode)o->cache_mode;
    if (o->max_distance >= 0) {
        request.optional_max_distance_case =
            SEMCACHE__V1__ANSWER_REQUEST__OPTIONAL_MAX_DISTANCE_MAX_DISTANCE;
        request.max_distance = o->max_distance;
    }
    return semcache__v1__answer_request__pack(&request, s->request);
}

static void slot_ask(slot *s, sc_instant due)
{
    size_t len = request_pack(s);
    s->due = due;
    sc_client_call_start(s->call, (sc_str){(char *)s->request, len},
                         sc_instant_after_ms(sc_now(), s->run->options->timeout_ms), true);
}

static bool varint(const uint8_t **at, const uint8_t *end, uint64_t *value)
{
    *value = 0;
    for (unsigned shift = 0; *at < end && shift < 64; shift += 7) {
        uint8_t byte = *(*at)++;
        *value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80)
            return true;
    }
    return false;
}

/* The source alone: unpacking every answer would cost the client more than asking. It follows the
 * answer, field 1. */
static unsigned source_of(sc_str message)
{
    const uint8_t *at = (const uint8_t *)message.ptr, *end = at + message.len;
    uint64_t       key, value;

    while (at < end && varint(&at, end, &key)) {
        if (key == (1 << 3 | 2)) {
            if (!varint(&at, end, &value) || value > (uint64_t)(end - at))
                return 0;
            at += value;
        } else if (key == 2 << 3) {
            return varint(&at, end, &value) && value < LOAD_SOURCES ? (unsigned)value : 0;
        } else {
            return 0;
        }
    }
    return 0;
}

/* False when there were enough answers already. */
static bool count_answer(slot *s, const sc_client_reply *reply)
{
    run     *r = s->run;
    uint64_t nth = atomic_fetch_add_explicit(&r->measured, 1, memory_order_relaxed);
    if (r->options->count != 0 && nth >= r->options->count)
        return false;
    histogram_record(&s->lane->latency, (uint64_t)(sc_now().ns - s->due.ns));
    s->lane->codes[reply->code >= 0 && reply->code < LOAD_CODES ? reply->code : 2]++;
    if (reply->code == 0)
        s->lane->sources[source_of(reply->message)]++;
    return r->options->count == 0 || nth + 1 < r->options->count;
}

static void tell_enough(run *r)
{
    pthread_mutex_lock(&r->lock);
    r->enough = true;
    pthread_cond_broadcast(&r->changed);
    pthread_mutex_unlock(&r->lock);
}

static void slot_rest(slot *s)
{
    run *r = s->run;
    pthread_mutex_lock(&r->lock);
    s->next = r->idle;
    r->idle = s;
    pthread_cond_broadcast(&r->changed);
    pthread_mutex_unlock(&r->lock);
}

static void slot_done(sc_client_call *call, void *context)
{
    slot                  *s = context;
    run                   *r = s->run;
    const sc_client_reply *reply = sc_client_call_reply(call);

    if (atomic_load_explicit(&r->measuring, memory_order_relaxed) && !count_answer(s, reply))
        tell_enough(r);
    /* A client that spins on refusals would starve its own connection. */
    if (reply->code != 0)
        nanosleep(&(struct timespec){0, BACK_OFF_US * 1000}, NULL);
    if (r->options->rate > 0 || atomic_load_explicit(&r->stopping, memory_order_relaxed))
        slot_rest(s);
    else
        slot_ask(s, sc_now());
}

/* ---- the run ---- */

static void sleep_until(sc_instant at)
{
    struct timespec when = {at.ns / 1000000000, at.ns % 1000000000};
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &when, NULL);
}

static slot *slot_take(run *r)
{
    pthread_mutex_lock(&r->lock);
    while (r->idle == NULL)
        pthread_cond_wait(&r->changed, &r->lock);
    slot *s = r->idle;
    r->idle = s->next;
    pthread_mutex_unlock(&r->lock);
    return s;
}

static bool is_enough(run *r)
{
    pthread_mutex_lock(&r->lock);
    bool enough = r->enough;
    pthread_mutex_unlock(&r->lock);
    return enough;
}

/* Open loop: asks what is due until the end. */
static void drive(run *r, sc_instant from, sc_instant until)
{
    double step_ns = 1e9 / r->options->rate;
    for (uint64_t i = 0; !is_enough(r); i++) {
        sc_instant due = {from.ns + (int64_t)((double)i * step_ns)};
        if (!sc_instant_before(due, until))
            return;
        sleep_until(due);
        slot_ask(slot_take(r), due);
    }
}

/* Closed loop: the slots ask by themselves. */
static void wait_closed(run *r, sc_instant until)
{
    struct timespec when = {until.ns / 1000000000, until.ns % 1000000000};
    pthread_mutex_lock(&r->lock);
    while (!r->enough && sc_instant_before(sc_now(), until)) {
        if (until.ns == SC_INSTANT_NEVER.ns)
            pthread_cond_wait(&r->changed, &r->lock);
        else
            pthread_cond_timedwait(&r->changed, &r->lock, &when);
    }
    pthread_mutex_unlock(&r->lock);
}

static void pass(run *r, double seconds)
{
    sc_instant from = sc_now();
    sc_instant until = seconds > 0 ? (sc_instant){from.ns + (int64_t)(seconds * 1e9)}
                                   : SC_INSTANT_NEVER;
    if (r->options->rate > 0)
        drive(r, from, until);
    else
        wait_closed(r, until);
}

static double cpu_seconds(pid_t server)
{
    clockid_t       clock;
    struct timespec now;
    if (server == 0 || clock_getcpuclockid(server, &clock) != 0 || clock_gettime(clock, &now) != 0)
        return -1;
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void wait_for_all(run *r)
{
    for (unsigned i = 0; i < r->options->concurrency; i++)
        slot_take(r);
}

static sc_status lanes_open(run *r, sc_error *error)
{
    const load_options *o = r->options;
    for (unsigned i = 0; i < o->connections; i++) {
        sc_status status = sc_client_open(&o->client, &r->lanes[i].client, error);
        if (status != SC_OK)
            return status;
    }
    return SC_OK;
}

static sc_status slots_open(run *r)
{
    const load_options *o = r->options;
    for (unsigned i = 0; i < o->concurrency; i++) {
        slot *s = &r->slots[i];
        s->run = r;
        s->lane = &r->lanes[i % o->connections];
        s->request_room = QUESTION_BYTES_MAX + 64;
        s->request = malloc(s->request_room);
        s->question = malloc(QUESTION_BYTES_MAX);
        if (s->request == NULL || s->question == NULL)
            return SC_NO_MEMORY;
        sc_status status = sc_client_call_open(s->lane->client, "/semcache.v1.SemanticCache/Answer",
                                               slot_done, s, &s->call);
        if (status != SC_OK)
            return status;
    }
    return SC_OK;
}

static void measure(run *r, load_result *result)
{
    const load_options *o = r->options;

    for (unsigned i = 0; i < o->concurrency; i++)
        if (o->rate > 0)
            slot_rest(&r->slots[i]);
        else
            slot_ask(&r->slots[i], sc_now());
    if (o->warmup_seconds > 0)
        pass(r, o->warmup_seconds);
    sc_instant from = sc_now();
    double     cpu = cpu_seconds(o->server);
    atomic_store(&r->measuring, true);
    pass(r, o->seconds);
    if (o->rate > 0) { /* what was due must be answered, and counted */
        wait_for_all(r);
        atomic_store(&r->measuring, false);
    }
    double cpu_end = cpu_seconds(o->server);
    atomic_store(&r->measuring, false);
    result->seconds = (double)(sc_now().ns - from.ns) / 1e9;
    result->server_cpu_seconds = cpu >= 0 && cpu_end >= 0 ? cpu_end - cpu : -1;
    atomic_store(&r->stopping, true);
    if (o->rate <= 0)
        wait_for_all(r);
}

static void collect(const run *r, load_result *result)
{
    for (unsigned i = 0; i < r->options->connections; i++) {
        const lane *l = &r->lanes[i];
        histogram_add(&result->latency, &l->latency);
        for (int c = 0; c < LOAD_CODES; c++)
            result->codes[c] += l->codes[c];
        for (int c = 0; c < LOAD_SOURCES; c++)
            result->sources[c] += l->sources[c];
    }
}

static void run_close(run *r)
{
    for (unsigned i = 0; r->lanes != NULL && i < r->options->connections; i++)
        sc_client_close(r->lanes[i].client);
    for (unsigned i = 0; r->slots != NULL && i < r->options->concurrency; i++) {
        sc_client_call_close(r->slots[i].call);
        free(r->slots[i].request);
        free(r->slots[i].question);
    }
    free(r->lanes);
    free(r->slots);
    pthread_mutex_destroy(&r->lock);
    pthread_cond_destroy(&r->changed);
}

sc_status load_run(const load_options *options, load_result *result, sc_error *error)
{
    run                r = {.options = options};
    pthread_condattr_t monotonic;

    memset(result, 0, sizeof *result);
    pthread_mutex_init(&r.lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&r.changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    /* Numbers of two runs must not meet among the fresh ones. */
    atomic_store(&r.fresh_next, (uint64_t)sc_wall_now().ms * 1000);
    r.lanes = calloc(options->connections, sizeof *r.lanes);
    r.slots = calloc(options->concurrency, sizeof *r.slots);
    sc_status status = r.lanes != NULL && r.slots != NULL
                           ? lanes_open(&r, error)
                           : sc_fail(error, SC_NO_MEMORY, "no memory for the callers");
    if (status == SC_OK) {
        status = slots_open(&r);
        if (status == SC_OK)
            measure(&r, result);
        else
            sc_fail(error, status, "no memory for the callers");
    }
    if (status == SC_OK)
        collect(&r, result);
    run_close(&r);
    return status;
}
