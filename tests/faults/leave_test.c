/* Callers who leave: the LLM is not asked on for nobody, at once, also while the machine has more to do than
 * it can. */
#include "tests/support/cmocka.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "client/lib/client.h"
#include "src/base/clock.h"
#include "src/base/thread.h"
#include "tests/support/proxy.h"
#include "tests/support/relay.h"
#include "tests/support/world.h"

enum {
    ENDED_MS_MAX = 50, /* the promise */
    GIVE_UP_MS = 5000,
    /* The threads between a caller that leaves and the upstream that notices: the caller's own, the door's, the
     * one that speaks HTTP, the upstream's, and the one that watches it. */
    HOPS = 5,
};

static int set_up(void **state)
{
    static sc_world here;
    *state = &here;
    sc_world_open(&here, 1, NULL);
    return 0;
}

static sc_upstream_counters upstream_of(sc_world *here)
{
    sc_upstream_counters counters;
    sc_upstream_look(here->upstream, &counters);
    return counters;
}

#define WITHIN(ms, condition, ...)                                                                     \
    for (sc_instant since_ = sc_now(); !(condition);) {                                                \
        if (sc_elapsed_us(since_, sc_now()) > (ms) * 1000LL)                                           \
            fail_msg(__VA_ARGS__);                                                                     \
        usleep(500);                                                                                   \
    }

/* ---- other work ------------------------------------------------------------------------------------------ */

enum { THREADS_MAX = 32 };

typedef struct {
    atomic_bool stop;
    sc_asker   *asker; /* NULL: computes */
    unsigned    count;
    pthread_t   threads[THREADS_MAX];
} work;

static void *labour(void *arg)
{
    work          *w = arg;
    sc_ask_request request = sc_ask_init("Known?");
    for (volatile unsigned long i = 0; !atomic_load(&w->stop); i++)
        if (w->asker != NULL)
            sc_ask_free(sc_ask(w->asker, &request, NULL));
    return NULL;
}

static void begin(work *w, sc_asker *asker, unsigned threads)
{
    *w = (work){.asker = asker, .count = threads};
    for (unsigned i = 0; i < threads; i++)
        assert_int_equal(pthread_create(&w->threads[i], NULL, labour, w), 0);
}

static void end(work *w)
{
    atomic_store(&w->stop, true);
    for (unsigned i = 0; i < w->count; i++)
        pthread_join(w->threads[i], NULL);
}

/* ---- ways to leave ---------------------------------------------------------------------------------------- */

enum { DEADLINE_MS = 300 };

typedef struct {
    sc_client_call *call;
    atomic_int      code; /* -1: under way */
} asked;

static void on_done(sc_client_call *call, void *context)
{
    atomic_store(&((asked *)context)->code, sc_client_call_reply(call)->code);
}

/* Asks something new, and waits until the LLM is asked for it. Gives when the call began. */
static sc_instant ask(sc_world *here, sc_client *client, asked *a, int64_t timeout_ms)
{
    static unsigned number;
    uint8_t         bytes[128];
    char            prompt[64];
    uint64_t        before = upstream_of(here).chat_calls;
    snprintf(prompt, sizeof prompt, "Will anybody wait for number %u?", number++);
    sc_ask_request request = sc_ask_init(prompt);
    size_t         len = protobuf_c_message_pack(&request.base, bytes);
    *a = (asked){.code = -1};
    assert_int_equal(sc_client_call_open(client, "/semcache.v1.SemanticCache/Answer", on_done, a, &a->call), SC_OK);
    sc_instant now = sc_now();
    sc_client_call_start(a->call, (sc_str){(const char *)bytes, len}, sc_instant_after_ms(now, timeout_ms), true);
    WITHIN(GIVE_UP_MS, upstream_of(here).chat_calls > before, "the LLM was not asked");
    return now;
}

typedef struct {
    sc_world  *here;
    sc_client *client, *far; /* directly, and through the proxy */
    sc_proxy  *proxy;
    char       target[64];
} callers;

static sc_client *open_client(const char *target)
{
    sc_client        *client = NULL;
    sc_client_options options = {.target = target};
    sc_error          error;
    assert_int_equal(sc_client_open(&options, &client, &error), SC_OK);
    return client;
}

/* Each asks, leaves, and gives the instant of it and the code that the caller must see. */
typedef sc_instant leave(callers *c, asked *a, int *code);

static sc_instant cancel(callers *c, asked *a, int *code)
{
    *code = 1;
    ask(c->here, c->client, a, 60000);
    sc_instant now = sc_now();
    sc_client_call_cancel(a->call);
    return now;
}

static sc_instant pass_deadline(callers *c, asked *a, int *code)
{
    *code = 4;
    return sc_instant_after_ms(ask(c->here, c->client, a, DEADLINE_MS), DEADLINE_MS);
}

static sc_instant vanish(callers *c, asked *a, int *code)
{
    *code = 14;
    sc_client_close(c->far);
    c->far = open_client(c->target);
    ask(c->here, c->far, a, 60000);
    sc_instant now = sc_now();
    sc_proxy_behave(c->proxy, &(sc_proxy_ways){.away = true});
    return now;
}

/* How long the upstream was kept at work for nobody; and the relay's slowest round meanwhile. */
static int64_t measure(callers *c, leave *how, sc_relay *relay, int64_t *relay_us)
{
    asked      a;
    int        code;
    uint64_t   before = upstream_of(c->here).abandoned;
    sc_instant since = how(c, &a, &code);
    WITHIN(GIVE_UP_MS, upstream_of(c->here).abandoned > before, "the LLM goes on for nobody");
    int64_t us = sc_elapsed_us(since, sc_now());
    *relay_us = sc_relay_slowest_us(relay, since);
    WITHIN(GIVE_UP_MS, atomic_load(&a.code) >= 0, "the caller hears nothing");
    assert_int_equal(atomic_load(&a.code), code);
    sc_client_call_close(a.call);
    sc_proxy_behave(c->proxy, NULL);
    return us;
}

/* ---- the promise ------------------------------------------------------------------------------------------ */

enum { WAYS = 3, ROUNDS = 10, TRIES_MAX = 6 };

typedef struct {
    int64_t slowest_us, slowest_relay_us; /* of all tries */
    int64_t first_us[ROUNDS];           /* of each round's first try */
    int     tries;
} figures;

/* One try is one sample of what the machine does at that moment: it may be late by what threads that do nothing
 * but wake each other were late in that moment, and a round has several tries. A delay of our own would be
 * in every one. */
static void one_round(callers *c, sc_relay *relay, leave *how, int round, figures *seen)
{
    for (int try = 0; try < TRIES_MAX; try++) {
        int64_t relay_us;
        int64_t us = measure(c, how, relay, &relay_us);
        seen->tries++;
        seen->slowest_us = us > seen->slowest_us ? us : seen->slowest_us;
        seen->slowest_relay_us = relay_us > seen->slowest_relay_us ? relay_us : seen->slowest_relay_us;
        if (try == 0)
            seen->first_us[round] = us;
        if (us <= ENDED_MS_MAX * 1000 + relay_us)
            return;
    }
    fail_msg("more than %d ms beyond what bare threads take, %d times in a row", ENDED_MS_MAX, TRIES_MAX);
}

static int by_size(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

static void try_way(callers *c, sc_relay *relay, leave *how, const char *name, const char *when)
{
    figures seen = {.tries = 0};
    for (int round = 0; round < ROUNDS; round++)
        one_round(c, relay, how, round, &seen);
    qsort(seen.first_us, ROUNDS, sizeof seen.first_us[0], by_size);
    print_message("%s, %s: the LLM was given up after %.1f ms (median), %.1f (slowest of %d); bare threads: "
                  "at most %.1f\n",
                  name, when, (double)seen.first_us[ROUNDS / 2] / 1e3, (double)seen.slowest_us / 1e3, seen.tries,
                  (double)seen.slowest_relay_us / 1e3);
}

static void try_all(callers *c, const char *when)
{
    static leave *const      ways[WAYS] = {cancel, pass_deadline, vanish};
    static const char *const names[WAYS] = {"a caller cancels", "a deadline passes", "a caller vanishes"};
    sc_relay                *relay = sc_relay_start(HOPS);
    for (int way = 0; way < WAYS; way++)
        try_way(c, relay, ways[way], names[way], when);
    sc_relay_stop(relay);
}

static callers open_callers(sc_world *here)
{
    const char *port = strrchr(sc_test_server_target(here->servers[0]), ':');
    callers     c = {.here = here, .proxy = sc_proxy_start(atoi(port + 1), 1)};
    snprintf(c.target, sizeof c.target, "127.0.0.1:%d", sc_proxy_port(c.proxy));
    c.client = open_client(sc_test_server_target(here->servers[0]));
    c.far = open_client(c.target);
    sc_ask_request known = sc_ask_init("Known?");
    assert_true(sc_upstream_control(here->upstream, "{\"chat\": {}}"));
    sc_ask_free(sc_ask(here->askers[0], &known, NULL));
    assert_true(sc_upstream_control(here->upstream, "{\"chat\": {\"delay_ms\": 60000}}"));
    return c;
}

/* What was asked for nobody must not stay under way: only the call that asks is. */
static void close_callers(callers *c)
{
    sc_client_close(c->client);
    sc_client_close(c->far);
    sc_proxy_stop(c->proxy);
    sc_stats_response *stats = sc_ask_stats(c->here->askers[0]);
    assert_int_equal(stats->server->in_flight, 1);
    assert_int_equal(stats->server->flights, 0);
    sc_stats_free(stats);
}

static void nobody_is_worked_for_in_vain(void **state)
{
    callers c = open_callers(sc_world_of(state));
    try_all(&c, "idle");
    close_callers(&c);
}

/* More runnable threads than processors, and the server busy with others' questions. */
static void nobody_is_worked_for_in_vain_on_a_busy_machine(void **state)
{
    enum { HITTERS = 8 };
    sc_world *here = sc_world_of(state);
    callers   c = open_callers(here);
    work      hits, sums;
    begin(&hits, here->askers[0], HITTERS);
    begin(&sums, NULL, 2 * sc_cpu_count() < THREADS_MAX ? 2 * sc_cpu_count() : THREADS_MAX);
    try_all(&c, "busy");
    end(&sums);
    end(&hits);
    close_callers(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nobody_is_worked_for_in_vain),
        cmocka_unit_test(nobody_is_worked_for_in_vain_on_a_busy_machine),
    };
    return cmocka_run_group_tests(tests, set_up, sc_world_tear_down);
}
