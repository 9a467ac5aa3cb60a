/* A provider that answers when the test says so, on a thread of the test's choice. */
#include "src/embed/batch.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/support/cmocka.h"
#include "tests/support/relay.h"

enum { DIM = 4, BATCH_MAX = 8, JOBS_MAX = 4096 };

typedef struct {
    sc_embed_provider base;
    bool              at_once;     /* answers within submit() */
    sc_status         outcome;     /* of batches answered at once */
    char              poison;      /* SC_INVALID for a batch with a text that starts with this */
    bool              closed;

    pthread_mutex_t lock;
    sc_embed_job   *jobs[JOBS_MAX];
    size_t          count; /* submitted so far */
    size_t          sizes[JOBS_MAX];
} fake;

static void answer(fake *f, sc_embed_job *job, sc_status status)
{
    for (size_t i = 0; i < job->count; i++) {
        float *vector = job->vectors + i * DIM;
        char   text[32];
        snprintf(text, sizeof text, "%.*s", (int)job->texts[i].len, job->texts[i].ptr);
        vector[0] = (float)atoi(text + 1);
        vector[1] = vector[2] = vector[3] = 1;
        job->notes[i] = text[0] == 'T' ? SC_EMBED_TRUNCATED : SC_EMBED_USABLE;
        if (f->poison != '\0' && text[0] == f->poison)
            status = SC_INVALID;
    }
    job->status = status;
    if (status != SC_OK)
        sc_fail(&job->error, status, "the fake said so");
    job->done(job);
}

static void fake_submit(sc_embed_provider *provider, sc_embed_job *job)
{
    fake *f = (fake *)provider;
    pthread_mutex_lock(&f->lock);
    f->sizes[f->count] = job->count;
    f->jobs[f->count++] = job;
    pthread_mutex_unlock(&f->lock);
    if (f->at_once)
        answer(f, job, f->outcome);
}

static void fake_close(sc_embed_provider *provider)
{
    ((fake *)provider)->closed = true;
}

static size_t batches(fake *f)
{
    pthread_mutex_lock(&f->lock);
    size_t count = f->count;
    pthread_mutex_unlock(&f->lock);
    return count;
}

typedef struct {
    sc_embed_call call;
    char          text[32];
    float         vector[DIM];
    atomic_int    done;
    sc_instant    ended;
} wait;

typedef struct {
    fake         provider;
    sc_embedder *embedder;
} fixture;

static void start(fixture *f, unsigned slots, const sc_embedder_options *options)
{
    f->provider = (fake){.base = {.name = "fake",
                                  .model = SC_STR("fake"),
                                  .dim = DIM,
                                  .batch_max = BATCH_MAX,
                                  .slots = slots,
                                  .submit = fake_submit,
                                  .close = fake_close}};
    pthread_mutex_init(&f->provider.lock, NULL);
    assert_int_equal(sc_embedder_open(options, &f->provider.base, &f->embedder), SC_OK);
}

static void end(fixture *f)
{
    sc_embedder_close(f->embedder);
    assert_true(f->provider.closed);
    pthread_mutex_destroy(&f->provider.lock);
}

static const sc_embedder_options usual = {.texts_waiting_max = 1000,
                                          .timeout_ms = 5000,
                                          .map_bytes_max = 1 << 20,
                                          .breaker_failures = 3,
                                          .breaker_open_ms = 10000};

static void on_done(sc_embed_call *call)
{
    wait *w = SC_CONTAINER(call, wait, call);
    w->ended = sc_now();
    atomic_fetch_add(&w->done, 1);
}

static void ask_within(fixture *f, wait *w, const char *text, int64_t deadline_ms)
{
    *w = (wait){.call = {.vector = w->vector, .done = on_done}};
    snprintf(w->text, sizeof w->text, "%s", text);
    w->call.text = sc_str_of(w->text);
    w->call.hash = sc_sha256(w->text, w->call.text.len);
    w->call.deadline = sc_instant_after_ms(sc_now(), deadline_ms);
    sc_embedder_ask(f->embedder, &w->call);
}

static void ask(fixture *f, wait *w, const char *text)
{
    ask_within(f, w, text, 5000);
}

static void ask_number(fixture *f, wait *w, int number)
{
    char text[32];
    snprintf(text, sizeof text, "x%d", number);
    ask(f, w, text);
}

static void assert_done(const wait *w, sc_status status)
{
    assert_int_equal(atomic_load(&w->done), 1);
    assert_int_equal(w->call.status, status);
}

static bool wait_done(wait *w, int ms)
{
    for (int i = 0; i < ms && atomic_load(&w->done) == 0; i++)
        usleep(1000);
    return atomic_load(&w->done) == 1;
}

/* Every caller would pay for a timer although nothing else is going on. */
static void a_batch_leaves_at_once_when_idle(void **state)
{
    fixture f;
    wait    w;
    (void)state;
    start(&f, 1, &usual);
    ask(&f, &w, "x7");
    assert_int_equal(batches(&f.provider), 1);
    assert_int_equal(w.done, 0);
    answer(&f.provider, f.provider.jobs[0], SC_OK);
    assert_done(&w, SC_OK);
    assert_true(w.vector[0] == 7);
    assert_int_equal(w.call.batch_size, 1);
    assert_false(w.call.from_map);
    end(&f);
}

/* 64 callers would make 64 upstream calls. */
static void what_arrives_while_busy_forms_the_next_batch(void **state)
{
    fixture f;
    wait    w[1 + 2 * BATCH_MAX];
    (void)state;
    start(&f, 1, &usual);
    for (int i = 0; i < 1 + 2 * BATCH_MAX; i++)
        ask_number(&f, &w[i], i);
    assert_int_equal(batches(&f.provider), 1);
    for (size_t i = 0; i < 3; i++)
        answer(&f.provider, f.provider.jobs[i], SC_OK);
    assert_int_equal(batches(&f.provider), 3);
    assert_int_equal(f.provider.sizes[0], 1);
    assert_int_equal(f.provider.sizes[1], BATCH_MAX);
    assert_int_equal(f.provider.sizes[2], BATCH_MAX);
    for (int i = 0; i < 1 + 2 * BATCH_MAX; i++) {
        assert_done(&w[i], SC_OK);
        assert_true(w[i].vector[0] == (float)i);
    }
    end(&f);
}

/* The same question from many callers would be embedded many times. */
static void identical_texts_share_one_place(void **state)
{
    fixture           f;
    wait              first, under_way, waiting, same;
    sc_embedder_stats stats;
    (void)state;
    start(&f, 1, &usual);
    ask(&f, &first, "x1");
    ask(&f, &under_way, "x1");
    ask(&f, &waiting, "x2");
    ask(&f, &same, "x2");
    answer(&f.provider, f.provider.jobs[0], SC_OK);
    assert_done(&first, SC_OK);
    assert_done(&under_way, SC_OK);
    assert_int_equal(f.provider.sizes[1], 1);
    answer(&f.provider, f.provider.jobs[1], SC_OK);
    assert_done(&waiting, SC_OK);
    assert_done(&same, SC_OK);
    assert_true(same.vector[0] == 2);
    sc_embedder_look(f.embedder, &stats);
    assert_int_equal(stats.texts, 2);
    assert_int_equal(stats.shared, 2);
    end(&f);
}

/* A prompt seen before would cost a call. */
static void a_known_text_is_answered_at_once(void **state)
{
    fixture f;
    wait    first, again, odd, odd_again;
    (void)state;
    start(&f, 1, &usual);
    f.provider.at_once = true;
    ask(&f, &first, "x5");
    ask(&f, &again, "x5");
    assert_done(&again, SC_OK);
    assert_true(again.call.from_map && again.vector[0] == 5);
    ask(&f, &odd, "T5");
    ask(&f, &odd_again, "T5");
    assert_done(&odd_again, SC_OK);
    assert_true(odd_again.call.from_map);
    assert_int_equal(odd_again.call.note, SC_EMBED_TRUNCATED);
    assert_int_equal(batches(&f.provider), 2);
    end(&f);
}

/* A caller would wait for as long as the upstream hangs. */
static void a_call_ends_at_its_deadline_while_the_batch_hangs(void **state)
{
    fixture f;
    wait    hung, patient, queued;
    (void)state;
    start(&f, 1, &usual);
    ask_within(&f, &patient, "x1", 5000);
    ask_within(&f, &hung, "x1", 60);
    ask_within(&f, &queued, "x2", 60);
    assert_true(wait_done(&hung, 1000));
    assert_true(wait_done(&queued, 1000));
    assert_done(&hung, SC_TIMEOUT);
    assert_done(&queued, SC_TIMEOUT);
    assert_true(sc_on_time(hung.call.deadline, hung.ended, 50));
    assert_int_equal(patient.done, 0);
    answer(&f.provider, f.provider.jobs[0], SC_OK);
    assert_done(&patient, SC_OK);
    /* Nobody wants the queued one any more: it is not paid for. */
    assert_int_equal(batches(&f.provider), 1);
    end(&f);
}

/* A shorter deadline that comes later would be noticed only at the earlier, longer one. */
static void deadlines_need_no_order(void **state)
{
    fixture f;
    wait    w[40];
    (void)state;
    start(&f, 1, &usual);
    for (int i = 0; i < 40; i++) {
        char text[32];
        snprintf(text, sizeof text, "x%d", i);
        ask_within(&f, &w[i], text, 20 + (40 - i) * 5);
    }
    for (int i = 0; i < 40; i++) {
        assert_true(wait_done(&w[i], 1000));
        assert_done(&w[i], SC_TIMEOUT);
        assert_true(sc_on_time(w[i].call.deadline, w[i].ended, 50));
        assert_false(sc_instant_before(w[i].ended, w[i].call.deadline));
    }
    answer(&f.provider, f.provider.jobs[0], SC_OK);
    end(&f);
}

static void a_full_queue_refuses_at_once(void **state)
{
    fixture             f;
    wait                out, in, refused, shares;
    sc_embedder_options narrow = usual;
    sc_embedder_stats   stats;
    (void)state;
    narrow.texts_waiting_max = 1;
    start(&f, 1, &narrow);
    ask(&f, &out, "x1");
    ask(&f, &in, "x2");
    ask(&f, &refused, "x3");
    assert_done(&refused, SC_BUSY);
    assert_string_not_equal(refused.call.error.text, "");
    ask(&f, &shares, "x2"); /* needs no place of its own */
    assert_int_equal(shares.done, 0);
    answer(&f.provider, f.provider.jobs[0], SC_OK);
    answer(&f.provider, f.provider.jobs[1], SC_OK);
    assert_done(&shares, SC_OK);
    sc_embedder_look(f.embedder, &stats);
    assert_int_equal(stats.refused, 1);
    end(&f);
}

/* Each request would wait out the timeout of a dead embedder. */
static void the_breaker_refuses_after_failures_in_a_row(void **state)
{
    fixture           f;
    wait              w;
    sc_embedder_stats stats;
    (void)state;
    start(&f, 1, &usual);
    f.provider.at_once = true;
    f.provider.outcome = SC_UNAVAILABLE;
    for (int i = 0; i < 3; i++) {
        ask_number(&f, &w, i);
        assert_done(&w, SC_UNAVAILABLE);
        assert_string_equal(w.call.error.text, "the fake said so");
    }
    ask_number(&f, &w, 9);
    assert_done(&w, SC_UNAVAILABLE);
    assert_int_equal(batches(&f.provider), 3);
    sc_embedder_look(f.embedder, &stats);
    assert_int_equal(stats.breaker_state, 1);
    assert_int_equal(stats.breaker_opened, 1);
    assert_int_equal(stats.failed, 3);
    end(&f);
}

static void the_breaker_closes_after_a_good_probe(void **state)
{
    fixture             f;
    wait                w;
    sc_embedder_options quick = usual;
    (void)state;
    quick.breaker_failures = 1;
    quick.breaker_open_ms = 20;
    start(&f, 1, &quick);
    f.provider.at_once = true;
    f.provider.outcome = SC_TIMEOUT;
    ask(&f, &w, "x1");
    assert_done(&w, SC_TIMEOUT);
    f.provider.outcome = SC_OK;
    usleep(40000);
    ask(&f, &w, "x2");
    assert_done(&w, SC_OK);
    ask(&f, &w, "x3");
    assert_done(&w, SC_OK);
    end(&f);
}

/* What waits behind the failures that opened the breaker would fail one timeout later. */
static void an_opening_breaker_ends_those_who_wait(void **state)
{
    fixture             f;
    wait                out, queued;
    sc_embedder_options strict = usual;
    (void)state;
    strict.breaker_failures = 1;
    start(&f, 1, &strict);
    ask(&f, &out, "x1");
    ask(&f, &queued, "x2");
    answer(&f.provider, f.provider.jobs[0], SC_TIMEOUT);
    assert_done(&out, SC_TIMEOUT);
    assert_done(&queued, SC_UNAVAILABLE);
    assert_int_equal(batches(&f.provider), 1);
    end(&f);
}

/* One caller's bad text would fail everybody who happened to share its batch. */
static void a_refused_batch_is_split_until_only_the_bad_text_fails(void **state)
{
    fixture           f;
    wait              first, w[BATCH_MAX];
    sc_embedder_stats stats;
    (void)state;
    start(&f, 1, &usual);
    f.provider.poison = '!';
    ask(&f, &first, "x100");
    for (int i = 0; i < BATCH_MAX; i++)
        ask(&f, &w[i], i == 5 ? "!5" : (char[]){'x', (char)('0' + i), '\0'});
    f.provider.at_once = true;
    answer(&f.provider, f.provider.jobs[0], SC_OK);
    for (int i = 0; i < BATCH_MAX; i++)
        assert_done(&w[i], i == 5 ? SC_INVALID : SC_OK);
    sc_embedder_look(f.embedder, &stats);
    assert_int_equal(stats.breaker_state, 0);
    assert_int_equal(batches(&f.provider), 1 + 1 + 2 * 3);
    end(&f);
}

static void lingers_for_company_when_told_to(void **state)
{
    fixture             f;
    wait                a, b;
    sc_embedder_options patient = usual;
    (void)state;
    patient.linger_us = 20000;
    start(&f, 1, &patient);
    sc_instant before = sc_now();
    f.provider.at_once = true;
    ask(&f, &a, "x1");
    ask(&f, &b, "x2");
    assert_int_equal(batches(&f.provider), 0);
    assert_true(wait_done(&a, 1000) && wait_done(&b, 1000));
    assert_true(sc_elapsed_us(before, a.ended) >= 20000);
    assert_int_equal(f.provider.sizes[0], 2);
    end(&f);
}

typedef struct {
    wait     w;
    fixture *f;
    int      left;
    char    *stack_low, *stack_high; /* where done() ran */
} chain;

static void on_chain(sc_embed_call *call)
{
    chain *c = SC_CONTAINER(call, chain, w.call);
    char  *here = __builtin_frame_address(0);
    c->stack_low = c->stack_low == NULL || here < c->stack_low ? here : c->stack_low;
    c->stack_high = here > c->stack_high ? here : c->stack_high;
    assert_int_equal(call->status, SC_OK);
    if (c->left-- == 0) {
        atomic_store(&c->w.done, 1);
        return;
    }
    snprintf(c->w.text, sizeof c->w.text, "x%d", c->left);
    call->text = sc_str_of(c->w.text);
    call->hash = sc_sha256(c->w.text, call->text.len);
    sc_embedder_ask(c->f->embedder, call);
}

/* done() asks for the next text: neither a lock nor the stack may be in the way. */
static void done_may_ask_again(void **state)
{
    fixture f;
    chain   c = {.f = &f, .left = JOBS_MAX - 2};
    (void)state;
    start(&f, 1, &usual);
    f.provider.at_once = true;
    c.w.call.vector = c.w.vector;
    c.w.call.done = on_chain;
    c.w.call.deadline = SC_INSTANT_NEVER;
    c.w.call.text = SC_STR("start");
    c.w.call.hash = sc_sha256("start", 5);
    sc_embedder_ask(f.embedder, &c.w.call);
    assert_int_equal(c.w.done, 1);
    assert_true(c.stack_high - c.stack_low < 16384);
    end(&f);
}

/* ---- many threads ---- */

enum { THREADS = 8, ROUNDS = 200, SLOTS = 3 };

typedef struct {
    fixture    *f;
    unsigned    seed;
    atomic_bool stop;
    int         bad;
} worker;

static void *run_provider(void *arg)
{
    worker *me = arg;
    fake   *f = &me->f->provider;
    for (size_t next = 0;;) {
        if (next < batches(f)) {
            sc_embed_job *job = f->jobs[next++];
            if (next % 16 == 0)
                usleep(3000);
            answer(f, job, next % 11 == 0 ? SC_INVALID : SC_OK);
        } else if (atomic_load(&me->stop)) {
            return NULL;
        } else {
            usleep(50);
        }
    }
}

static void *run_caller(void *arg)
{
    worker *me = arg;
    for (int i = 0; i < ROUNDS; i++) {
        wait w;
        char text[32];
        int  number = rand_r(&me->seed) % 500;
        snprintf(text, sizeof text, "x%d", number);
        ask_within(me->f, &w, text, i % 5 == 0 ? 2 : 5000);
        if (!wait_done(&w, 5000))
            me->bad++;
        if (w.call.status == SC_OK && w.vector[0] != (float)number)
            me->bad++;
        if (w.call.status != SC_OK && w.call.status != SC_TIMEOUT && w.call.status != SC_INVALID)
            me->bad++;
    }
    return NULL;
}

/* A lost call hangs its caller for ever; a mixed-up one serves another's vector. */
static void every_call_ends_once_with_its_own_vector(void **state)
{
    fixture             f;
    pthread_t           provider, threads[THREADS];
    worker              answering = {.f = &f}, callers[THREADS];
    sc_embedder_options small = usual;
    (void)state;
    small.map_bytes_max = 16 * 1024;
    start(&f, SLOTS, &small);
    pthread_create(&provider, NULL, run_provider, &answering);
    for (unsigned i = 0; i < THREADS; i++) {
        callers[i] = (worker){.f = &f, .seed = i};
        pthread_create(&threads[i], NULL, run_caller, &callers[i]);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(callers[i].bad, 0);
    }
    /* What timed out is still under way; close() waits for it while it is answered. */
    sc_embedder_close(f.embedder);
    atomic_store(&answering.stop, true);
    pthread_join(provider, NULL);
    assert_true(f.provider.closed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_batch_leaves_at_once_when_idle),
        cmocka_unit_test(what_arrives_while_busy_forms_the_next_batch),
        cmocka_unit_test(identical_texts_share_one_place),
        cmocka_unit_test(a_known_text_is_answered_at_once),
        cmocka_unit_test(a_call_ends_at_its_deadline_while_the_batch_hangs),
        cmocka_unit_test(deadlines_need_no_order),
        cmocka_unit_test(a_full_queue_refuses_at_once),
        cmocka_unit_test(the_breaker_refuses_after_failures_in_a_row),
        cmocka_unit_test(the_breaker_closes_after_a_good_probe),
        cmocka_unit_test(an_opening_breaker_ends_those_who_wait),
        cmocka_unit_test(a_refused_batch_is_split_until_only_the_bad_text_fails),
        cmocka_unit_test(lingers_for_company_when_told_to),
        cmocka_unit_test(done_may_ask_again),
        cmocka_unit_test(every_call_ends_once_with_its_own_vector),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
