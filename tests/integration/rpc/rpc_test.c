/* The gRPC layer with handlers of our own behind it and our own client in front. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "client/lib/client.h"
#include "server/rpc/rpc.h"
#include "src/base/log.h"
#include "tests/support/cmocka.h"
#include "tests/support/raw.h"
#include "tests/support/relay.h"

enum { OK = 0, CANCELLED = 1, INVALID = 3, DEADLINE = 4, EXHAUSTED = 8, UNIMPLEMENTED = 12,
       INTERNAL = 13, UNAVAILABLE = 14 };

/* ---- the server under test: one method per behaviour ---- */

typedef struct {
    sc_rpc    *rpc;
    sc_client *client;
    char       target[64];

    sem_t           arrived; /* a call was detached */
    sem_t           cancelled_came;
    _Atomic(sc_rpc_call *) held;
    _Atomic int     cancelled, finished, released;
    _Atomic int64_t deadline_ns;
    char            seen[256];
    char           *large;

    /* By the queue's thread. */
    sc_rpc_call *aside[64];
    size_t       aside_count;
    _Atomic int  idle; /* times that the queue was */
} fixture;

enum { LARGE_BYTES = 300000 };

static void echo(sc_rpc_call *call, sc_str request, void *context)
{
    (void)context;
    sc_rpc_reply(call, &(sc_rpc_piece){.bytes = request}, 1);
}

static void fail_busy(sc_rpc_call *call, sc_str request, void *context)
{
    (void)request;
    (void)context;
    sc_rpc_fail(call, SC_BUSY, "später: 100%", 250);
}

static void silent(sc_rpc_call *call, sc_str request, void *context)
{
    (void)call;
    (void)request;
    (void)context;
}

static void late_cancelled(sc_rpc_call *call, void *context)
{
    fixture *f = context;
    (void)call;
    atomic_fetch_add(&f->cancelled, 1);
    sem_post(&f->cancelled_came);
}

static void late_finished(void *context)
{
    fixture *f = context;
    atomic_fetch_add(&f->finished, 1);
}

static void hold(sc_rpc_call *call, sc_str request, void *context)
{
    fixture *f = context;
    (void)request;
    atomic_store(&f->deadline_ns, sc_rpc_deadline(call).ns);
    atomic_store(&f->held, call);
    sc_rpc_detach(call, &(sc_rpc_late){late_cancelled, late_finished}, f);
    sem_post(&f->arrived);
}

/* Answered when the queue is idle. */
static void put_aside(sc_rpc_call *call, sc_str request, void *context)
{
    fixture *f = context;
    (void)request;
    sc_rpc_detach(call, &(sc_rpc_late){late_cancelled, late_finished}, f);
    f->aside[f->aside_count++] = call;
}

static void when_idle(void *context, unsigned queue)
{
    fixture *f = context;
    atomic_fetch_add(&f->idle, 1);
    for (size_t i = 0; i < f->aside_count; i++) {
        assert_int_equal(sc_rpc_queue(f->aside[i]), queue);
        sc_rpc_reply(f->aside[i], &(sc_rpc_piece){.bytes = SC_STR("aside")}, 1);
    }
    f->aside_count = 0;
}

static void note_release(void *owner)
{
    fixture *f = owner;
    atomic_fetch_add(&f->released, 1);
}

static void large(sc_rpc_call *call, sc_str request, void *context)
{
    fixture *f = context;
    sc_rpc_piece pieces[] = {
        {.bytes = request},
        {.bytes = {f->large, LARGE_BYTES}, .release = note_release, .owner = f},
        {.bytes = SC_STR("tail")},
    };
    sc_rpc_reply(call, pieces, 3);
}

static void metadata(sc_rpc_call *call, sc_str request, void *context)
{
    fixture *f = context;
    sc_str found = sc_rpc_metadata(call, request);
    snprintf(f->seen, sizeof f->seen, "%.*s", (int)found.len, found.ptr != NULL ? found.ptr : "");
    char peer[128];
    sc_rpc_peer(call, peer, sizeof peer);
    sc_rpc_reply(call, &(sc_rpc_piece){.bytes = sc_str_of(peer)}, 1);
}

static const sc_rpc_options defaults = {
    .listen = "127.0.0.1:0",
    .threads = 1,
    .inflight_max = 100,
    .retry_after_ms = 70,
    .streams_max = 1000,
    .message_bytes_max = 1 << 20,
    .metadata_bytes_max = 16384,
    .grace_ms = 300,
};

static fixture *server_up(const sc_rpc_options *options)
{
    fixture *f = calloc(1, sizeof *f);
    sc_error error = {0};

    sem_init(&f->arrived, 0, 0);
    sem_init(&f->cancelled_came, 0, 0);
    f->large = malloc(LARGE_BYTES);
    memset(f->large, 'x', LARGE_BYTES);
    const sc_rpc_method methods[] = {
        {.path = "/t.T/Echo", .handle = echo, .context = f},
        {.path = "/t.T/Busy", .handle = fail_busy, .context = f},
        {.path = "/t.T/Silent", .handle = silent, .context = f},
        {.path = "/t.T/Hold", .handle = hold, .context = f},
        {.path = "/t.T/Aside", .handle = put_aside, .context = f, .armed = 32},
        {.path = "/t.T/Large", .handle = large, .context = f},
        {.path = "/t.T/Metadata", .handle = metadata, .context = f},
        {.path = "/t.T/Always", .handle = echo, .context = f, .unlimited = true},
    };
    assert_int_equal(sc_rpc_open(options, &f->rpc, &error), SC_OK);
    for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++)
        assert_int_equal(sc_rpc_serve(f->rpc, &methods[i]), SC_OK);
    sc_rpc_on_idle(f->rpc, when_idle, f);
    if (sc_rpc_start(f->rpc, &error) != SC_OK)
        fail_msg("%s", error.text);
    snprintf(f->target, sizeof f->target, "127.0.0.1:%d", sc_rpc_port(f->rpc, 0));
    sc_client_options to = {.target = f->target, .token = "secret"};
    assert_int_equal(sc_client_open(&to, &f->client, &error), SC_OK);
    return f;
}

static void server_down(fixture *f)
{
    sc_client_close(f->client);
    sc_rpc_close(f->rpc);
    free(f->large);
    sem_destroy(&f->arrived);
    sem_destroy(&f->cancelled_came);
    free(f);
}

/* ---- calls ---- */

typedef struct {
    sc_client_call *call;
    sem_t           done;
} pending;

static void pending_done(sc_client_call *call, void *context)
{
    (void)call;
    sem_post(&((pending *)context)->done);
}

static void pending_start(pending *p, sc_client *client, const char *path, sc_str request,
                          int64_t timeout_ms)
{
    sem_init(&p->done, 0, 0);
    assert_int_equal(sc_client_call_open(client, path, pending_done, p, &p->call), SC_OK);
    sc_client_call_start(p->call, request, sc_instant_after_ms(sc_now(), timeout_ms), true);
}

static const sc_client_reply *pending_wait(pending *p)
{
    while (sem_wait(&p->done) != 0)
        ;
    return sc_client_call_reply(p->call);
}

static void pending_end(pending *p)
{
    /* done() has returned when the client takes the next event; the call is ours before. */
    sc_client_call_close(p->call);
    sem_destroy(&p->done);
}

static int ask(fixture *f, const char *path, sc_str request, char *text, size_t room)
{
    pending p;
    pending_start(&p, f->client, path, request, 5000);
    const sc_client_reply *reply = pending_wait(&p);
    int                    code = reply->code;
    snprintf(text, room, "%.*s", (int)(code == 0 ? reply->message.len : strlen(reply->text)),
             code == 0 ? reply->message.ptr : reply->text);
    pending_end(&p);
    return code;
}

static void pause_ms(long ms)
{
    nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL);
}

static bool soon(_Atomic int *value, int wanted)
{
    for (int i = 0; i < 2000 && atomic_load(value) != wanted; i++)
        pause_ms(1);
    return atomic_load(value) == wanted;
}

/* ---- tests ---- */

/* Nothing works without this one. */
static void answer_in_the_handler_reaches_the_caller(void **state)
{
    fixture *f = server_up(&defaults);
    char     text[64];
    (void)state;
    assert_int_equal(ask(f, "/t.T/Echo", SC_STR("hello"), text, sizeof text), OK);
    assert_string_equal(text, "hello");
    server_down(f);
}

/* An empty protobuf message is a message. */
static void empty_message_is_a_message(void **state)
{
    fixture *f = server_up(&defaults);
    char     text[64];
    (void)state;
    assert_int_equal(ask(f, "/t.T/Echo", (sc_str){NULL, 0}, text, sizeof text), OK);
    assert_string_equal(text, "");
    server_down(f);
}

/* A miss is answered by another thread, after the handler returned. */
static void answer_from_another_thread_reaches_the_caller(void **state)
{
    fixture *f = server_up(&defaults);
    pending  p;
    (void)state;
    pending_start(&p, f->client, "/t.T/Hold", SC_STR("q"), 5000);
    sem_wait(&f->arrived);
    sc_rpc_reply(atomic_load(&f->held), &(sc_rpc_piece){.bytes = SC_STR("late")}, 1);
    const sc_client_reply *reply = pending_wait(&p);
    assert_int_equal(reply->code, OK);
    assert_true(sc_str_equal(reply->message, SC_STR("late")));
    assert_true(soon(&f->finished, 1));
    assert_int_equal(atomic_load(&f->cancelled), 0);
    pending_end(&p);
    server_down(f);
}

/* Several questions in one pass, and nobody waits for a gap that never comes. */
static void what_was_put_aside_is_answered_when_nothing_else_is_ready(void **state)
{
    enum { CALLS = 60 };
    fixture       *f = server_up(&defaults);
    static pending all[CALLS];
    (void)state;
    for (int i = 0; i < CALLS; i++)
        pending_start(&all[i], f->client, i % 3 == 0 ? "/t.T/Echo" : "/t.T/Aside", SC_STR("q"), 5000);
    for (int i = 0; i < CALLS; i++) {
        const sc_client_reply *reply = pending_wait(&all[i]);
        assert_int_equal(reply->code, OK);
        assert_true(sc_str_equal(reply->message, i % 3 == 0 ? SC_STR("q") : SC_STR("aside")));
        pending_end(&all[i]);
    }
    assert_true(soon(&f->finished, CALLS / 3 * 2));
    assert_in_range(atomic_load(&f->idle), 1, CALLS / 3 * 2);
    assert_int_equal(atomic_load(&f->cancelled), 0);
    sc_rpc_figures figures;
    sc_rpc_look(f->rpc, &figures);
    assert_int_equal(figures.cancelled, 0);
    assert_int_equal(figures.inflight, 0);
    server_down(f);
}

/* The hook has nothing to do then; a caller that leaves must be heard of all the same. */
static void a_queue_is_idle_after_every_detached_call(void **state)
{
    fixture *f = server_up(&defaults);
    pending  p;
    (void)state;
    for (int i = 1; i <= 3; i++) {
        pending_start(&p, f->client, "/t.T/Hold", SC_STR("q"), 60000);
        sem_wait(&f->arrived);
        assert_true(soon(&f->idle, i));
        sc_client_call_cancel(p.call);
        sem_wait(&f->cancelled_came);
        sc_rpc_fail(atomic_load(&f->held), SC_CANCELLED, "gone", 0);
        assert_int_equal(pending_wait(&p)->code, CANCELLED);
        pending_end(&p);
    }
    server_down(f);
}

/* A caller that gave up would go on costing an LLM call. */
static void cancel_reaches_the_owner_once_and_within_50_ms(void **state)
{
    fixture *f = server_up(&defaults);
    pending  p;
    (void)state;
    pending_start(&p, f->client, "/t.T/Hold", SC_STR("q"), 60000);
    sem_wait(&f->arrived);
    assert_false(sc_rpc_is_over(atomic_load(&f->held)));
    sc_instant from = sc_now();
    sc_client_call_cancel(p.call);
    sem_wait(&f->cancelled_came);
    assert_true(sc_on_time(from, sc_now(), 50));
    assert_int_equal(pending_wait(&p)->code, CANCELLED);
    assert_true(sc_rpc_is_over(atomic_load(&f->held)));
    assert_int_equal(atomic_load(&f->finished), 0);

    /* The owner answers all the same: nothing is sent, everything is released. */
    sc_rpc_piece piece = {{f->large, LARGE_BYTES}, note_release, f};
    sc_rpc_reply(atomic_load(&f->held), &piece, 1);
    assert_true(soon(&f->finished, 1));
    assert_int_equal(atomic_load(&f->released), 1);
    assert_int_equal(atomic_load(&f->cancelled), 1);
    sc_rpc_figures figures;
    sc_rpc_look(f->rpc, &figures);
    assert_int_equal(figures.cancelled, 1);
    assert_int_equal(figures.inflight, 0);
    pending_end(&p);
    server_down(f);
}

/* The deadline is the caller's; nobody here sets a timer. */
static void deadline_arrives_and_is_enforced(void **state)
{
    fixture   *f = server_up(&defaults);
    pending    p;
    sc_instant from = sc_now();
    (void)state;
    pending_start(&p, f->client, "/t.T/Hold", SC_STR("q"), 200);
    sem_wait(&f->arrived);
    sc_instant seen = {atomic_load(&f->deadline_ns)};
    assert_true(sc_elapsed_us(from, seen) >= 150000 && sc_on_time(from, seen, 250));
    sem_wait(&f->cancelled_came);
    assert_true(sc_elapsed_us(from, sc_now()) >= 150000 && sc_on_time(from, sc_now(), 280));
    assert_int_equal(pending_wait(&p)->code, DEADLINE);
    sc_rpc_fail(atomic_load(&f->held), SC_CANCELLED, "gone", 0);
    pending_end(&p);
    server_down(f);
}

static void no_deadline_is_never(void **state)
{
    fixture *f = server_up(&defaults);
    pending  p;
    (void)state;
    sem_init(&p.done, 0, 0);
    assert_int_equal(sc_client_call_open(f->client, "/t.T/Hold", pending_done, &p, &p.call), SC_OK);
    sc_client_call_start(p.call, SC_STR("q"), SC_INSTANT_NEVER, true);
    sem_wait(&f->arrived);
    assert_true(atomic_load(&f->deadline_ns) == SC_INSTANT_NEVER.ns);
    sc_rpc_fail(atomic_load(&f->held), SC_NOT_FOUND, "none", 0);
    assert_int_equal(pending_wait(&p)->code, 5);
    pending_end(&p);
    server_down(f);
}

/* An owner that never answers a caller without a deadline would cost a place for ever. */
static void a_call_that_lasts_too_long_is_ended(void **state)
{
    enum { CALL_MS_MAX = 300 };
    sc_rpc_options options = defaults;
    (void)state;
    options.call_ms_max = CALL_MS_MAX;
    fixture   *f = server_up(&options);
    pending    p;
    sc_instant from = sc_now();
    pending_start(&p, f->client, "/t.T/Hold", SC_STR("q"), INT64_MAX);
    sem_wait(&f->arrived);
    sem_wait(&f->cancelled_came);
    assert_true(sc_elapsed_us(from, sc_now()) >= CALL_MS_MAX * 1000);
    const sc_client_reply *reply = pending_wait(&p);
    assert_int_equal(reply->code, DEADLINE);
    assert_non_null(strstr(reply->text, "RPC_CALL_MS_MAX"));
    sc_rpc_fail(atomic_load(&f->held), SC_CANCELLED, "gone", 0);
    assert_true(soon(&f->finished, 1));
    assert_int_equal(atomic_load(&f->cancelled), 1);
    sc_rpc_figures figures;
    sc_rpc_look(f->rpc, &figures);
    assert_int_equal(figures.overdue, 1);
    assert_int_equal(figures.inflight, 0);
    pending_end(&p);
    server_down(f);
}

static int64_t inflight(const fixture *f)
{
    sc_rpc_figures figures;
    sc_rpc_look(f->rpc, &figures);
    return figures.inflight;
}

/* Callers without a deadline who ask for much and read nothing would lock everybody out. */
static void answers_that_nobody_reads_give_their_places_back(void **state)
{
    enum { PLACES = 4, CALL_MS_MAX = 1500 };
    sc_rpc_options options = defaults;
    raw_call      *calls[PLACES];
    char           text[64];
    (void)state;
    options.call_ms_max = CALL_MS_MAX;
    options.inflight_max = PLACES;
    fixture *f = server_up(&options);
    for (int i = 0; i < PLACES; i++) {
        calls[i] = raw_open(f->target, i % 2 == 0 ? "/t.T/Large" : "/t.T/Hold", 0, false);
        raw_send(calls[i], SC_STR("q"));
        raw_half_close(calls[i]);
        if (i % 2 == 0)
            continue;
        sem_wait(&f->arrived);
        sc_rpc_piece piece = {{f->large, LARGE_BYTES}, note_release, f};
        sc_rpc_reply(atomic_load(&f->held), &piece, 1);
    }
    for (int i = 0; i < 500 && inflight(f) != PLACES; i++)
        pause_ms(1);
    assert_int_equal(ask(f, "/t.T/Echo", SC_STR("q"), text, sizeof text), EXHAUSTED);
    assert_int_equal(atomic_load(&f->released), 0);

    assert_true(soon(&f->released, PLACES));
    for (int i = 0; i < 2000 && inflight(f) != 0; i++)
        pause_ms(1);
    assert_int_equal(ask(f, "/t.T/Echo", SC_STR("q"), text, sizeof text), OK);
    sc_rpc_figures figures;
    sc_rpc_look(f->rpc, &figures);
    assert_int_equal(figures.overdue, PLACES);
    for (int i = 0; i < PLACES; i++)
        raw_close(calls[i]);
    server_down(f);
}

/* Few calls, but large ones: questions that wait, and answers that nobody reads. */
static void bytes_beyond_the_limit_are_refused_until_others_are_done(void **state)
{
    enum { LIMIT = 200000, REQUEST = 120000 };
    sc_rpc_options options = defaults;
    char           text[64];
    pending        first, second;
    sc_rpc_figures figures;
    (void)state;
    options.inflight_bytes_max = LIMIT;
    fixture *f = server_up(&options);
    pending_start(&first, f->client, "/t.T/Hold", (sc_str){f->large, REQUEST}, 20000);
    sem_wait(&f->arrived);
    pending_start(&second, f->client, "/t.T/Hold", (sc_str){f->large, REQUEST}, 20000);
    assert_int_equal(pending_wait(&second)->code, EXHAUSTED);
    pending_end(&second);
    assert_int_equal(ask(f, "/t.T/Echo", SC_STR("small"), text, sizeof text), OK);
    sc_rpc_reply(atomic_load(&f->held), &(sc_rpc_piece){.bytes = SC_STR("late")}, 1);
    assert_int_equal(pending_wait(&first)->code, OK);
    pending_end(&first);

    raw_call *unread = raw_open(f->target, "/t.T/Large", 0, false);
    raw_send(unread, SC_STR("q"));
    raw_half_close(unread);
    do {
        sc_rpc_look(f->rpc, &figures);
        pause_ms(1);
    } while (figures.held_bytes < LARGE_BYTES);
    assert_int_equal(ask(f, "/t.T/Echo", SC_STR("small"), text, sizeof text), EXHAUSTED);
    assert_int_equal(ask(f, "/t.T/Always", SC_STR("small"), text, sizeof text), OK);
    raw_close(unread);
    do {
        sc_rpc_look(f->rpc, &figures);
        pause_ms(1);
    } while (figures.inflight != 0);
    assert_int_equal(figures.held_bytes, 0);
    assert_int_equal(ask(f, "/t.T/Echo", SC_STR("small"), text, sizeof text), OK);
    server_down(f);
}

/* The bound looks at the oldest calls only: those that end in time must have left the list. */
static void calls_within_their_time_are_left_alone(void **state)
{
    enum { CALLS = 2000 };
    sc_rpc_options options = defaults;
    char           text[64];
    pending        p;
    (void)state;
    options.call_ms_max = 60000;
    fixture *f = server_up(&options);
    pending_start(&p, f->client, "/t.T/Hold", SC_STR("q"), INT64_MAX);
    sem_wait(&f->arrived);
    for (int i = 0; i < CALLS; i++)
        assert_int_equal(ask(f, "/t.T/Echo", SC_STR("q"), text, sizeof text), OK);
    sc_rpc_reply(atomic_load(&f->held), &(sc_rpc_piece){.bytes = SC_STR("late")}, 1);
    assert_int_equal(pending_wait(&p)->code, OK);
    sc_rpc_figures figures;
    sc_rpc_look(f->rpc, &figures);
    assert_int_equal(figures.overdue, 0);
    pending_end(&p);
    server_down(f);
}

static void failure_carries_text_and_retry_hint(void **state)
{
    fixture *f = server_up(&defaults);
    pending  p;
    (void)state;
    pending_start(&p, f->client, "/t.T/Busy", SC_STR("q"), 5000);
    const sc_client_reply *reply = pending_wait(&p);
    assert_int_equal(reply->code, EXHAUSTED);
    assert_string_equal(reply->text, "später: 100%");
    assert_int_equal(reply->retry_after_ms, 250);
    pending_end(&p);
    server_down(f);
}

/* A handler that forgets to answer must not leave its caller waiting. */
static void silent_handler_is_an_internal_error(void **state)
{
    fixture *f = server_up(&defaults);
    char     text[64];
    (void)state;
    assert_int_equal(ask(f, "/t.T/Silent", SC_STR("q"), text, sizeof text), INTERNAL);
    server_down(f);
}

/* Without a catch-all the core would let the call hang until its deadline. */
static void unknown_method_is_unimplemented(void **state)
{
    fixture *f = server_up(&defaults);
    char     text[64];
    (void)state;
    for (int i = 0; i < 20; i++)
        assert_int_equal(ask(f, "/t.T/Nobody", SC_STR("q"), text, sizeof text), UNIMPLEMENTED);
    sc_rpc_figures figures;
    sc_rpc_look(f->rpc, &figures);
    assert_int_equal(figures.unknown, 20);
    server_down(f);
}

/* A large answer goes out of the entry itself; the entry may be freed only when it is sent. */
static void large_answer_is_lent_and_released_once(void **state)
{
    fixture *f = server_up(&defaults);
    pending  p;
    (void)state;
    pending_start(&p, f->client, "/t.T/Large", SC_STR("head"), 5000);
    const sc_client_reply *reply = pending_wait(&p);
    assert_int_equal(reply->code, OK);
    assert_int_equal(reply->message.len, 4 + LARGE_BYTES + 4);
    assert_memory_equal(reply->message.ptr, "headx", 5);
    assert_memory_equal(reply->message.ptr + LARGE_BYTES + 3, "xtail", 5);
    assert_true(soon(&f->released, 1));
    pending_end(&p);
    server_down(f);
}

static void metadata_and_peer_are_seen(void **state)
{
    fixture *f = server_up(&defaults);
    char     text[64];
    (void)state;
    assert_int_equal(ask(f, "/t.T/Metadata", SC_STR("authorization"), text, sizeof text), OK);
    assert_string_equal(f->seen, "Bearer secret");
    assert_true(strncmp(text, "ipv", 3) == 0);
    assert_int_equal(ask(f, "/t.T/Metadata", SC_STR("author"), text, sizeof text), OK);
    assert_string_equal(f->seen, "");
    server_down(f);
}

/* More than the limit would grow without bound inside the core. */
static void calls_beyond_the_limit_are_refused_at_once_with_a_hint(void **state)
{
    sc_rpc_options options = defaults;
    options.inflight_max = 2;
    fixture     *f = server_up(&options);
    pending      held[2], extra;
    sc_rpc_call *calls[2];
    char         text[64];
    (void)state;
    for (int i = 0; i < 2; i++) {
        pending_start(&held[i], f->client, "/t.T/Hold", SC_STR("q"), 5000);
        sem_wait(&f->arrived);
        calls[i] = atomic_load(&f->held);
    }
    sc_instant from = sc_now();
    pending_start(&extra, f->client, "/t.T/Echo", SC_STR("q"), 5000);
    const sc_client_reply *reply = pending_wait(&extra);
    assert_int_equal(reply->code, EXHAUSTED);
    assert_int_equal(reply->retry_after_ms, 70);
    assert_in_range(sc_elapsed_us(from, sc_now()), 0, 500000);
    pending_end(&extra);
    assert_int_equal(ask(f, "/t.T/Always", SC_STR("q"), text, sizeof text), OK);

    for (int i = 0; i < 2; i++) {
        sc_rpc_reply(calls[i], &(sc_rpc_piece){.bytes = SC_STR("r")}, 1);
        assert_int_equal(pending_wait(&held[i])->code, OK);
        pending_end(&held[i]);
    }
    assert_true(soon(&f->finished, 2));
    assert_int_equal(ask(f, "/t.T/Echo", SC_STR("q"), text, sizeof text), OK);
    server_down(f);
}

static void message_over_the_limit_never_reaches_the_handler(void **state)
{
    sc_rpc_options options = defaults;
    options.message_bytes_max = 10000;
    fixture *f = server_up(&options);
    char     text[64];
    (void)state;
    assert_int_equal(ask(f, "/t.T/Echo", (sc_str){f->large, 20000}, text, sizeof text), EXHAUSTED);
    assert_int_equal(ask(f, "/t.T/Echo", (sc_str){f->large, 9000}, text, sizeof text), OK);
    server_down(f);
}

/* Objects and their metadata are used again: a second life must not see the first. */
static void thousand_calls_each_get_their_own_answer(void **state)
{
    fixture *f = server_up(&defaults);
    char     sent[32], text[64];
    (void)state;
    for (int i = 0; i < 1000; i++) {
        int len = snprintf(sent, sizeof sent, "question %d", i);
        assert_int_equal(ask(f, "/t.T/Echo", (sc_str){sent, (size_t)len}, text, sizeof text), OK);
        assert_string_equal(text, sent);
    }
    sc_rpc_figures figures;
    sc_rpc_look(f->rpc, &figures);
    assert_int_equal(figures.arrived, 1000);
    server_down(f);
}

static void *stop_server(void *argument)
{
    fixture  *f = argument;
    sc_status status = sc_rpc_stop(f->rpc);
    return (void *)(uintptr_t)status;
}

/* A rolling restart must not lose what is being answered. */
static void stop_lets_calls_end_and_refuses_new_ones(void **state)
{
    sc_rpc_options options = defaults;
    options.grace_ms = 5000;
    fixture  *f = server_up(&options);
    pending   p;
    pthread_t thread;
    void     *result;
    char      text[64];
    (void)state;
    pending_start(&p, f->client, "/t.T/Hold", SC_STR("q"), 20000);
    sem_wait(&f->arrived);
    pthread_create(&thread, NULL, stop_server, f);
    int code = OK;
    for (int i = 0; i < 400 && code == OK; i++) {
        pause_ms(10);
        code = ask(f, "/t.T/Echo", SC_STR("q"), text, sizeof text);
    }
    assert_int_equal(code, UNAVAILABLE);
    sc_rpc_reply(atomic_load(&f->held), &(sc_rpc_piece){.bytes = SC_STR("r")}, 1);
    assert_int_equal(pending_wait(&p)->code, OK);
    pthread_join(thread, &result);
    assert_int_equal((uintptr_t)result, SC_OK);
    assert_int_equal(atomic_load(&f->cancelled), 0);
    pending_end(&p);
    server_down(f);
}

/* An owner that is slow is told, and may answer after the core is gone. */
static void stop_cancels_what_outlives_the_grace(void **state)
{
    fixture  *f = server_up(&defaults);
    pending   p;
    pthread_t thread;
    void     *result;
    (void)state;
    pending_start(&p, f->client, "/t.T/Hold", SC_STR("q"), 20000);
    sem_wait(&f->arrived);
    pthread_create(&thread, NULL, stop_server, f);
    sem_wait(&f->cancelled_came);
    assert_int_equal(pending_wait(&p)->code, UNAVAILABLE);
    pause_ms(100);
    sc_rpc_fail(atomic_load(&f->held), SC_CANCELLED, "too late", 0);
    pthread_join(thread, &result);
    assert_int_equal((uintptr_t)result, SC_OK);
    pending_end(&p);
    server_down(f);
}

/* ---- a stop while callers ask in a loop ---- */

enum { LOOPERS = 32, LOOP_CLIENTS = 4 };

typedef struct {
    sc_client_call *call;
    _Atomic int    *running, *reached; /* callers that go on; that had an answer */
    int             answered, cancelled, last_code;
} looper;

static void looper_counts(looper *l)
{
    l->last_code = sc_client_call_reply(l->call)->code;
    if (l->last_code == OK && l->answered++ == 0)
        atomic_fetch_add(l->reached, 1);
    l->cancelled += l->last_code == CANCELLED;
}

static void looper_done(sc_client_call *call, void *context)
{
    looper *l = context;
    looper_counts(l);
    if (l->last_code == OK) {
        sc_client_call_start(call, SC_STR("q"), sc_instant_after_ms(sc_now(), 20000), false);
        return;
    }
    atomic_fetch_sub(l->running, 1);
}

/* All callers on their connections, in a loop, and each with an answer before this returns: one that
 * waits for its first connection would wait for it until its deadline. */
static void loopers_start(fixture *f, sc_client **clients, looper *loopers, _Atomic int *running,
                          void (*done)(sc_client_call *call, void *context))
{
    static _Atomic int reached;
    atomic_store(&reached, 0);
    for (int i = 0; i < LOOP_CLIENTS; i++) {
        sc_error          error = {0};
        sc_client_options to = {.target = f->target};
        assert_int_equal(sc_client_open(&to, &clients[i], &error), SC_OK);
    }
    for (int i = 0; i < LOOPERS; i++) {
        loopers[i] = (looper){.running = running, .reached = &reached};
        assert_int_equal(sc_client_call_open(clients[i % LOOP_CLIENTS], "/t.T/Echo", done,
                                             &loopers[i], &loopers[i].call),
                         SC_OK);
    }
    for (int i = 0; i < LOOPERS; i++)
        sc_client_call_start(loopers[i].call, SC_STR("q"), sc_instant_after_ms(sc_now(), 20000),
                             true);
    assert_true(soon(&reached, LOOPERS));
}

static void loopers_end(sc_client **clients, looper *loopers)
{
    for (int i = 0; i < LOOP_CLIENTS; i++)
        sc_client_close(clients[i]);
    for (int i = 0; i < LOOPERS; i++)
        sc_client_call_close(loopers[i].call);
}

/* Each caller asks until it is told to go elsewhere. CANCELLED would not tell it that, nor whether
 * its question was worked on; the core says so to calls that reach it in shutdown. */
static void stop_under_load_sends_every_caller_elsewhere(void **state)
{
    fixture    *f = server_up(&defaults);
    sc_client  *clients[LOOP_CLIENTS];
    looper      loopers[LOOPERS];
    _Atomic int running = LOOPERS;
    (void)state;
    loopers_start(f, clients, loopers, &running, looper_done);
    assert_int_equal(sc_rpc_stop(f->rpc), SC_OK);
    assert_true(soon(&running, 0));
    for (int i = 0; i < LOOPERS; i++)
        assert_int_equal(loopers[i].last_code, UNAVAILABLE);
    loopers_end(clients, loopers);
    server_down(f);
}

/* Callers that go on asking although they were told are killed by the core, were their
 * connections not ended first. */
static void looper_insists(sc_client_call *call, void *context)
{
    looper *l = context;
    looper_counts(l);
    if (atomic_load(l->running) > 0) {
        if (l->last_code != OK)
            pause_ms(1);
        sc_client_call_start(call, SC_STR("q"), sc_instant_after_ms(sc_now(), 20000), false);
    }
}

static void stop_cancels_nobody_who_insists(void **state)
{
    (void)state;
    for (int round = 0; round < 5; round++) {
        fixture    *f = server_up(&defaults);
        sc_client  *clients[LOOP_CLIENTS];
        looper      loopers[LOOPERS];
        _Atomic int running = 1;
        int         cancelled = 0;
        loopers_start(f, clients, loopers, &running, looper_insists);
        assert_int_equal(sc_rpc_stop(f->rpc), SC_OK);
        pause_ms(50);
        atomic_store(&running, 0);
        loopers_end(clients, loopers);
        for (int i = 0; i < LOOPERS; i++)
            cancelled += loopers[i].cancelled;
        assert_int_equal(cancelled, 0);
        server_down(f);
    }
}

static sc_status open_and_start(const sc_rpc_options *options, sc_error *error)
{
    sc_rpc   *rpc = NULL;
    sc_status status = sc_rpc_open(options, &rpc, error);
    if (status == SC_OK)
        status = sc_rpc_start(rpc, error);
    sc_rpc_close(rpc);
    return status;
}

/* With SO_REUSEPORT a second server would take half of the connections, silently. */
static void second_server_on_a_port_is_refused(void **state)
{
    fixture       *f = server_up(&defaults);
    sc_rpc_options options = defaults;
    sc_error       error = {0};
    (void)state;
    options.listen = f->target;
    assert_int_equal(open_and_start(&options, &error), SC_UNAVAILABLE);
    assert_non_null(strstr(error.text, f->target));
    server_down(f);
}

static void plain_text_for_others_needs_to_be_asked_for(void **state)
{
    sc_rpc_options options = defaults;
    sc_error       error = {0};
    (void)state;
    options.listen = "127.0.0.1:0, 0.0.0.0:0";
    assert_int_equal(open_and_start(&options, &error), SC_INVALID);
    assert_non_null(strstr(error.text, "INSECURE_LISTEN"));
    options.listen_insecure = true;
    assert_int_equal(open_and_start(&options, &error), SC_OK);
}

static void unix_socket_serves(void **state)
{
    char           path[128], listen[256], text[64];
    const char    *folder = getenv("TEST_TMPDIR");
    sc_rpc_options options = defaults;
    (void)state;
    snprintf(path, sizeof path, "%s/rpc%d.sock", folder != NULL && strlen(folder) < 60 ? folder : "/tmp",
             (int)getpid());
    snprintf(listen, sizeof listen, "127.0.0.1:0,unix:%s", path);
    options.listen = listen;
    fixture  *f = server_up(&options);
    sc_client *tcp = f->client;
    sc_error   error = {0};
    sc_client_options to = {.target = listen + strlen("127.0.0.1:0,")};
    assert_int_equal(sc_client_open(&to, &f->client, &error), SC_OK);
    assert_int_equal(ask(f, "/t.T/Echo", SC_STR("hello"), text, sizeof text), OK);
    sc_client_close(tcp);
    server_down(f);
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answer_in_the_handler_reaches_the_caller),
        cmocka_unit_test(empty_message_is_a_message),
        cmocka_unit_test(answer_from_another_thread_reaches_the_caller),
        cmocka_unit_test(what_was_put_aside_is_answered_when_nothing_else_is_ready),
        cmocka_unit_test(a_queue_is_idle_after_every_detached_call),
        cmocka_unit_test(cancel_reaches_the_owner_once_and_within_50_ms),
        cmocka_unit_test(deadline_arrives_and_is_enforced),
        cmocka_unit_test(no_deadline_is_never),
        cmocka_unit_test(a_call_that_lasts_too_long_is_ended),
        cmocka_unit_test(answers_that_nobody_reads_give_their_places_back),
        cmocka_unit_test(calls_within_their_time_are_left_alone),
        cmocka_unit_test(bytes_beyond_the_limit_are_refused_until_others_are_done),
        cmocka_unit_test(failure_carries_text_and_retry_hint),
        cmocka_unit_test(silent_handler_is_an_internal_error),
        cmocka_unit_test(unknown_method_is_unimplemented),
        cmocka_unit_test(large_answer_is_lent_and_released_once),
        cmocka_unit_test(metadata_and_peer_are_seen),
        cmocka_unit_test(calls_beyond_the_limit_are_refused_at_once_with_a_hint),
        cmocka_unit_test(message_over_the_limit_never_reaches_the_handler),
        cmocka_unit_test(thousand_calls_each_get_their_own_answer),
        cmocka_unit_test(stop_lets_calls_end_and_refuses_new_ones),
        cmocka_unit_test(stop_cancels_what_outlives_the_grace),
        cmocka_unit_test(stop_under_load_sends_every_caller_elsewhere),
        cmocka_unit_test(stop_cancels_nobody_who_insists),
        cmocka_unit_test(second_server_on_a_port_is_refused),
        cmocka_unit_test(plain_text_for_others_needs_to_be_asked_for),
        cmocka_unit_test(unix_socket_serves),
    };
    sc_log_set_level(SC_LOG_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
