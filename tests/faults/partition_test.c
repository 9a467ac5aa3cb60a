/* Two servers, one cut off from Redis while the other takes answers back: the first goes on from memory
 * for WARM_UNVERIFIED_MS, and not a moment longer. */
#include "tests/support/cmocka.h"

#include <stdio.h>
#include <unistd.h>

#include "src/base/clock.h"
#include "tests/faults/load.h"
#include "tests/support/proxy.h"

enum { NEAR, FAR }; /* FAR reaches Redis through the proxy */
enum {
    UNVERIFIED_MS = 1500,
    SILENCE_MS = 6000, /* after which a server takes a silent Redis for one that is away */
    SLACK_MS = 2000
};

static const char question[] = "What was taken back meanwhile?";


static Semcache__V1__Source ask_cached(sc_asker *asker)
{
    sc_outcome     outcome = {.status = SC_OK};
    sc_ask_request request = sc_ask_init(question);
    request.cache_mode = SEMCACHE__V1__CACHE_MODE__CACHE_MODE_ONLY_IF_CACHED;
    sc_ask_response     *response = sc_ask(asker, &request, &outcome);
    Semcache__V1__Source source = SEMCACHE__V1__SOURCE__SOURCE_UNSPECIFIED;
    if (response != NULL)
        source = response->source;
    else
        assert_int_equal(outcome.status, SC_NOT_FOUND);
    if (response != NULL)
        sc_ask_free(response);
    return source;
}

static void take_everything_back(sc_asker *asker)
{
    sc_invalidate_request request = SEMCACHE__V1__INVALIDATE_REQUEST__INIT;
    request.all = true;
    sc_invalidate_response *response = sc_ask_invalidate(asker, &request, NULL);
    assert_true(response->removed > 0);
    sc_invalidate_free(response);
}

/* Until the far server holds the answer in memory. */
static void wait_until_both_know(sc_world *here)
{
    for (int tries = 0; tries < 400; tries++) {
        sc_stats_response *stats = sc_ask_stats(here->askers[FAR]);
        bool               live = stats->redis->feed_live;
        sc_stats_free(stats);
        if (live && ask_cached(here->askers[FAR]) == SEMCACHE__V1__SOURCE__SOURCE_EXACT)
            return;
        usleep(25000);
    }
    fail_msg("the second server did not learn the answer within 10 s");
}

/* Gives the last moment, after the invalidation returned, at which the far server still gave the answer. */
static int64_t last_served_ms(sc_world *here, sc_instant since)
{
    int64_t last = -1;
    for (int64_t at = 0; at < UNVERIFIED_MS + SLACK_MS || at < last + SLACK_MS;
         at = sc_elapsed_us(since, sc_now()) / 1000) {
        if (at > UNVERIFIED_MS + SILENCE_MS + SLACK_MS)
            fail_msg("still served after %lld ms", (long long)at);
        if (ask_cached(here->askers[FAR]) != SEMCACHE__V1__SOURCE__SOURCE_UNSPECIFIED)
            last = at;
        usleep(20000);
    }
    return last;
}

static void partition(void **state, bool silent)
{
    char          redis[64];
    sc_world      here;
    sc_proxy_ways ways = {.away = !silent, .silent = silent};
    (void)state;
    sc_world_open(&here, 0, NULL);
    if (here.redis == NULL)
        skip();
    sc_proxy *proxy = sc_proxy_start(sc_test_redis_port(here.redis), 1);
    snprintf(redis, sizeof redis, "REDIS_URL=redis://127.0.0.1:%d", sc_proxy_port(proxy));
    sc_world_add(&here, (const char *const[]){"REDIS_TIMEOUT_MS=200", NULL});
    sc_world_add(&here, (const char *const[]){redis, "REDIS_TIMEOUT_MS=200", "WARM_UNVERIFIED_MS=1500", NULL});
    sc_load_teach(here.askers[NEAR]);
    assert_int_equal(sc_ask_source(here.askers[NEAR], question), SEMCACHE__V1__SOURCE__SOURCE_LLM);
    wait_until_both_know(&here);

    sc_load *load = sc_load_start(here.askers, 2, NULL);
    sc_load_wait_for(load, 50);
    sc_proxy_behave(proxy, &ways);
    take_everything_back(here.askers[NEAR]);
    sc_instant since = sc_now();
    int64_t    last = last_served_ms(&here, since);
    sc_proxy_behave(proxy, NULL);
    sc_load_figures seen = sc_load_stop(load, silent ? "partition, silent" : "partition, refused");
    print_message("    the taken-back answer was last served after %lld ms; WARM_UNVERIFIED_MS %d\n",
                  (long long)last, UNVERIFIED_MS);
    assert_int_equal(seen.failed, 0);
    assert_int_equal(seen.wrong, 0);
    assert_int_equal(ask_cached(here.askers[NEAR]), SEMCACHE__V1__SOURCE__SOURCE_UNSPECIFIED);
    sc_world_close(&here);
    sc_proxy_stop(proxy);
}

static void a_refused_server_stops_serving_unverified(void **state)
{
    partition(state, false);
}

static void a_server_that_hears_nothing_stops_serving_unverified(void **state)
{
    partition(state, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_refused_server_stops_serving_unverified),
        cmocka_unit_test(a_server_that_hears_nothing_stops_serving_unverified),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
