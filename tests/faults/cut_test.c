/* Every connection is cut, delayed and garbled at random while load runs: nothing crashes, and no question
 * gets the answer of another. */
#include "tests/support/cmocka.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "src/base/clock.h"
#include "tests/faults/load.h"
#include "tests/support/proxy.h"

/* One server; a proxy on each way to and from it. */
typedef struct {
    sc_world  world;
    sc_proxy *to_server, *to_redis, *to_upstream;
    sc_asker *far; /* through to_server */
} place;

static uint64_t seed(void)
{
    const char *named = getenv("SEED");
    return named == NULL ? (uint64_t)sc_wall_now().ms : strtoull(named, NULL, 10);
}

static int set_up(void **state)
{
    static place here;
    static char  redis[64], upstream[64];
    char         target[64];
    *state = &here;
    sc_world_open(&here.world, 0, NULL);
    if (here.world.redis == NULL)
        return 0;
    uint64_t chance = seed();
    print_message("SEED=%llu\n", (unsigned long long)chance);
    here.to_redis = sc_proxy_start(sc_test_redis_port(here.world.redis), chance);
    here.to_upstream = sc_proxy_start(sc_upstream_port(here.world.upstream), chance + 2);
    snprintf(redis, sizeof redis, "REDIS_URL=redis://127.0.0.1:%d", sc_proxy_port(here.to_redis));
    snprintf(upstream, sizeof upstream, "OPENAI_BASE_URL=http://127.0.0.1:%d", sc_proxy_port(here.to_upstream));
    sc_world_add(&here.world, (const char *const[]){redis, upstream, "REDIS_TIMEOUT_MS=200", "LLM_RETRIES=3",
                                                    "LLM_BREAKER_FAILURES=0", "LLM_TIMEOUT_MS=10000", "LOG_LEVEL=debug",
                                                    "EMBEDDING_TIMEOUT_MS=500", "EMBEDDING_BREAKER_OPEN_MS=100",
                                                    NULL});
    const char *port = strrchr(sc_test_server_target(here.world.servers[0]), ':');
    here.to_server = sc_proxy_start(atoi(port + 1), chance + 4);
    snprintf(target, sizeof target, "127.0.0.1:%d", sc_proxy_port(here.to_server));
    here.far = sc_asker_open(target);
    return 0;
}

static int tear_down(void **state)
{
    place *here = *state;
    if (here->world.redis == NULL)
        return 0;
    sc_asker_close(here->far);
    sc_world_close(&here->world);
    sc_proxy_stop(here->to_server);
    sc_proxy_stop(here->to_redis);
    sc_proxy_stop(here->to_upstream);
    return 0;
}

static place *need(void **state)
{
    place *here = *state;
    if (here->world.redis == NULL)
        skip();
    return here;
}

static void expect_whole(place *here)
{
    enum { TRIES_MAX = 800, LOG_BYTES = 6000 };
    int tries = 0;
    for (bool whole = false; !whole; tries++) {
        sc_stats_response *stats = sc_ask_stats(here->world.askers[0]);
        whole = stats->redis->connected && stats->redis->feed_live &&
                strcmp(stats->redis->index_state, "ready") == 0 && stats->redis->writes_waiting == 0;
        if (tries == TRIES_MAX) {
            char  *log = sc_test_server_log(here->world.servers[0]);
            size_t len = strlen(log);
            fputs(log + (len > LOG_BYTES ? len - LOG_BYTES : 0), stdout); /* cmocka cuts at 1 KB */
            fail_msg("20 s after the last cut: connected %d, feed %d, index %s", stats->redis->connected,
                     stats->redis->feed_live, stats->redis->index_state);
        }
        sc_stats_free(stats);
        usleep(25000);
    }
}

/* Load over `through` while the proxy is unfriendly. */
static sc_load_figures run(place *here, const char *name, sc_proxy *proxy, const sc_proxy_ways *ways,
                           sc_asker *through, bool retry)
{
    sc_proxy_counters before, after;
    sc_load_teach(here->world.askers[0]);
    sc_proxy_look(proxy, &before);
    sc_load *load = sc_load_start(&through, 1, &(sc_load_options){.retry = retry});
    sc_load_wait_for(load, 50);
    sc_proxy_behave(proxy, ways);
    usleep(800000);
    sc_load_wait_for(load, 100);
    sc_proxy_behave(proxy, NULL);
    sc_load_wait_for(load, 50);
    sc_load_figures seen = sc_load_stop(load, name);
    sc_proxy_look(proxy, &after);
    print_message("    %lu cuts, %lu garbled pieces, %lu connections\n", after.cut - before.cut,
                  after.garbled - before.garbled, after.connections - before.connections);
    assert_true(after.cut > before.cut || after.garbled > before.garbled || ways->delay_ms != 0);
    assert_int_equal(seen.sent, seen.answered + seen.failed);
    expect_whole(here);
    return seen;
}

static void callers_cut_off_ask_again(void **state)
{
    place          *here = need(state);
    sc_proxy_ways   ways = {.cut_percent = 5, .delay_ms = 1};
    sc_load_figures seen = run(here, "caller - server cut", here->to_server, &ways, here->far, true);
    assert_int_equal(seen.wrong, 0);
    assert_int_equal(seen.failed, 0);
}

static void redis_cut_off_is_not_noticed(void **state)
{
    place          *here = need(state);
    sc_proxy_ways   ways = {.cut_percent = 5, .delay_ms = 1};
    sc_load_figures seen = run(here, "server - Redis cut", here->to_redis, &ways, here->world.askers[0], false);
    assert_int_equal(seen.wrong, 0);
    assert_int_equal(seen.failed, 0);
}

/* 100 ms for each reply: hits do not wait for them, new questions wait until the LLM has answered. */
static void a_slow_redis_fails_nothing(void **state)
{
    place          *here = need(state);
    sc_proxy_ways   ways = {.delay_ms = 50};
    sc_load_figures seen = run(here, "Redis slow, 100 ms", here->to_redis, &ways, here->world.askers[0], false);
    assert_int_equal(seen.wrong, 0);
    assert_int_equal(seen.failed, 0);
}

static void an_upstream_cut_off_fails_only_its_questions(void **state)
{
    place          *here = need(state);
    sc_proxy_ways   ways = {.cut_percent = 10, .delay_ms = 1};
    sc_load_figures seen =
        run(here, "server - upstream cut", here->to_upstream, &ways, here->world.askers[0], false);
    assert_int_equal(seen.wrong, 0);
    assert_int_equal(seen.failed, seen.by_status[SC_UNAVAILABLE] + seen.by_status[SC_TIMEOUT]);
    assert_int_equal(seen.failed, seen.new_failed);
}

typedef struct {
    sc_asker    *through;
    atomic_bool  stop;
    atomic_ulong sent, answered;
} babble;

static void *babble_on(void *arg)
{
    static const char question[] = "\x12\x1bWhat is our refund policy??"; /* user_prompt, 27 bytes */
    babble           *b = arg;
    while (!atomic_load(&b->stop)) {
        sc_outcome outcome = sc_ask_raw(b->through, "/semcache.v1.SemanticCache/Answer",
                                        (sc_str){question, sizeof question - 1});
        atomic_fetch_add(&b->sent, 1);
        atomic_fetch_add(&b->answered, outcome.status == SC_OK);
    }
    return NULL;
}

/* Half of what arrives is no message any more: whatever becomes of the calls, the server lives on. A
 * connection on which both sides wait for each other is ended every 200 ms. */
static void garble_calls(place *here, const sc_proxy_ways *ways)
{
    enum { THREADS = 4, ROUNDS = 10 };
    babble            b = {.through = here->far};
    pthread_t         threads[THREADS];
    sc_proxy_counters counters;
    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, babble_on, &b), 0);
    for (int round = 0; round < ROUNDS; round++) {
        sc_proxy_behave(here->to_server, ways);
        usleep(180000);
        sc_proxy_behave(here->to_server, &(sc_proxy_ways){.away = true});
        usleep(20000);
    }
    atomic_store(&b.stop, true);
    for (size_t i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    sc_proxy_behave(here->to_server, NULL);
    sc_proxy_look(here->to_server, &counters);
    print_message("caller - server garbled: sent %lu, answered %lu; %lu garbled pieces\n", b.sent, b.answered,
                  counters.garbled);
    assert_true(counters.garbled > 0);
    expect_whole(here);
}

/* Bits turned over are the business of TLS: in plain text a letter of an answer may be another one.
 * Nothing may crash or get stuck, and afterwards all is well. */
static void garbled_bytes_crash_nothing(void **state)
{
    place        *here = need(state);
    sc_proxy_ways ways = {.garble_percent = 5};
    run(here, "server - Redis garbled", here->to_redis, &ways, here->world.askers[0], false);
    run(here, "server - upstream garbled", here->to_upstream, &ways, here->world.askers[0], false);
    garble_calls(here, &ways);
    sc_invalidate_request everything = SEMCACHE__V1__INVALIDATE_REQUEST__INIT;
    everything.all = true;
    sc_outcome outcome = {.status = SC_UNAVAILABLE};
    for (int tries = 0; tries < 20 && outcome.status == SC_UNAVAILABLE; tries++)
        sc_invalidate_free(sc_ask_invalidate(here->world.askers[0], &everything, &outcome));
    assert_int_equal(outcome.status, SC_OK);
    sc_load *load = sc_load_start(here->world.askers, 1, NULL);
    sc_load_wait_for(load, 200);
    sc_load_figures seen = sc_load_stop(load, "afterwards");
    assert_int_equal(seen.wrong, 0);
    assert_int_equal(seen.failed, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(callers_cut_off_ask_again),
        cmocka_unit_test(redis_cut_off_is_not_noticed),
        cmocka_unit_test(a_slow_redis_fails_nothing),
        cmocka_unit_test(an_upstream_cut_off_fails_only_its_questions),
        cmocka_unit_test(garbled_bytes_crash_nothing),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
