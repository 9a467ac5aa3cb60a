/* A cluster loses a master, gets a new one, and moves slots, while load runs: no request is lost, no
 * answer wrong. Two servers share nothing but the cluster. */
#include "tests/support/cmocka.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/faults/load.h"
#include "tests/support/cluster.h"

enum { SERVERS = 2 };

/* The README shows the same line. */
#define ACL                                                                                        \
    "on", ">sesame", "~semcache:*", "resetchannels", "&__redis__:invalidate", "-@all", "+auth",    \
        "+ping", "+client|id", "+client|setname", "+client|tracking", "+subscribe", "+scan",       \
        "+get", "+set", "+hset", "+hdel", "+hmget", "+touch", "+pexpireat", "+unlink", "+multi",   \
        "+exec", "+zadd", "+zrem", "+zrange", "+zcard", "+ft.create", "+ft.search", "+ft.info",    \
        "+ft.dropindex", "+ft._list", "+cluster|slots", "+cluster|info", "+asking"

static const char *const redis_args[] = {"--user", "semcache", ACL, NULL};

typedef struct {
    sc_test_cluster cluster;
    sc_upstream    *upstream;
    sc_test_server *servers[SERVERS];
    sc_asker       *askers[SERVERS];
} scene;

static void start_server(scene *on, size_t at)
{
    char        redis[128], upstream[96], dim[32];
    const char *variables[] = {redis, upstream, dim, "REDIS_CLUSTER=yes", "REDIS_TIMEOUT_MS=100",
                               "OPENAI_API_KEY=sk-test", "EMBEDDING_PROVIDER=openai", NULL};

    snprintf(redis, sizeof redis, "REDIS_URL=redis://semcache:sesame@127.0.0.1:%d,127.0.0.1:%d",
             sc_test_redis_port(on->cluster.masters[0]), sc_test_redis_port(on->cluster.masters[1]));
    snprintf(upstream, sizeof upstream, "OPENAI_BASE_URL=%s", sc_upstream_url(on->upstream));
    snprintf(dim, sizeof dim, "EMBEDDING_DIM=%d", SC_WORLD_DIM);
    on->servers[at] = sc_test_server_start(variables);
    on->askers[at] = sc_asker_open(sc_test_server_target(on->servers[at]));
}

/* Both servers see every master, and memory is believed. */
static void await_whole(scene *on)
{
    enum { TRIES = 1500, STEP_US = 20000 };
    bool whole = false;

    for (int tries = 0; tries < TRIES && !whole; tries++) {
        whole = true;
        for (size_t i = 0; i < SERVERS; i++) {
            sc_stats_response *stats = sc_ask_stats(on->askers[i]);
            whole = whole && stats->redis->connected && stats->redis->feed_live &&
                    stats->redis->masters == SC_TEST_MASTERS &&
                    strcmp(stats->redis->index_state, "ready") == 0 &&
                    stats->redis->writes_waiting == 0;
            sc_stats_free(stats);
        }
        if (!whole)
            usleep(STEP_US);
    }
    assert_true(whole);
}

static void set_up(scene *on)
{
    *on = (scene){0};
    if (!sc_test_cluster_start(&on->cluster, redis_args))
        skip();
    sc_upstream_options options = {.dim = SC_WORLD_DIM, .seed = 1};
    on->upstream = sc_upstream_start(&options);
    assert_non_null(on->upstream);
    for (size_t i = 0; i < SERVERS; i++)
        start_server(on, i);
    await_whole(on);
}

static void tear_down(scene *on)
{
    for (size_t i = 0; i < SERVERS; i++) {
        sc_asker_close(on->askers[i]);
        sc_test_server_stop(on->servers[i]);
    }
    sc_upstream_stop(on->upstream);
    sc_test_cluster_stop(&on->cluster);
}

/* An answer is on its way before its entry is written. */
static void await_cached(sc_asker *asker, const char *prompt)
{
    enum { TRIES = 1000, STEP_US = 5000 };
    sc_ask_response *response = NULL;
    sc_ask_request   request = sc_ask_init(prompt);
    sc_outcome       outcome;

    request.cache_mode = SEMCACHE__V1__CACHE_MODE__CACHE_MODE_ONLY_IF_CACHED;
    for (int tries = 0; tries < TRIES && response == NULL; tries++) {
        response = sc_ask(asker, &request, &outcome);
        if (response == NULL)
            usleep(STEP_US);
    }
    assert_non_null(response);
    assert_non_null(strstr(response->answer, prompt));
    sc_ask_free(response);
}

/* Runs the fault under load; no request may notice. Afterwards the cache is whole: what one server
 * learned on, the other has. */
static void run(const char *name, void (*fault)(scene *on))
{
    scene on;

    set_up(&on);
    sc_load_teach(on.askers[0]);
    sc_load *load = sc_load_start(on.askers, SERVERS, NULL);
    sc_load_wait_for(load, 200);
    fault(&on);
    sc_load_wait_for(load, 200);
    sc_load_figures seen = sc_load_stop(load, name);
    assert_int_equal(seen.failed, 0);
    assert_int_equal(seen.wrong, 0);
    assert_int_equal(seen.sent, seen.answered);
    assert_true(seen.hits > 0 && seen.asked > 0);
    await_whole(&on);
    char prompt[64];
    for (unsigned i = 0; i < 12; i++) {
        snprintf(prompt, sizeof prompt, "After it, number %u?", i);
        assert_int_equal(sc_ask_source(on.askers[0], prompt), SEMCACHE__V1__SOURCE__SOURCE_LLM);
        await_cached(on.askers[1], prompt);
    }
    tear_down(&on);
}

static void kill_and_restart_empty(scene *on)
{
    sc_test_redis_kill(on->cluster.masters[1]);
    usleep(1500000);
    sc_test_redis_restart(on->cluster.masters[1], true);
    sc_test_cluster_await(&on->cluster);
}

static void a_master_killed_and_restarted_empty_loses_no_request(void **state)
{
    (void)state;
    run("a master killed, restarted empty", kill_and_restart_empty);
}

static void hang(scene *on)
{
    sc_test_redis_pause(on->cluster.masters[2]);
    usleep(1500000);
    sc_test_redis_resume(on->cluster.masters[2]);
    sc_test_cluster_await(&on->cluster);
}

static void a_master_that_hangs_loses_no_request(void **state)
{
    (void)state;
    run("a master hung", hang);
}

static void fail_over(scene *on)
{
    sc_test_cluster_replicate(&on->cluster, 0, redis_args);
    sc_test_cluster_fail_over(&on->cluster, 0);
}

static void a_failover_loses_no_request(void **state)
{
    (void)state;
    run("a replica took over", fail_over);
}

/* Slots with entries, and those of an index's name, its uses and its lock. */
static void move_slots(scene *on)
{
    enum { MOVES = 40 };
    int slot = sc_test_cluster_slot(&on->cluster, "{0}");

    for (int i = 0; i < MOVES; i++, slot = (slot + 401) % SC_TEST_SLOTS) {
        size_t from = sc_test_cluster_owner(slot), to = (from + 1) % SC_TEST_MASTERS;
        sc_test_cluster_move_begin(&on->cluster, slot, from, to);
        sc_test_cluster_move_keys(&on->cluster, slot, from, to);
        sc_test_cluster_move_end(&on->cluster, slot, from, to);
    }
}

static void slots_that_move_lose_no_request(void **state)
{
    (void)state;
    run("40 slots moved", move_slots);
}

/* A server that cannot tell one from the other would pay for two questions in three. */
static void a_server_that_takes_a_cluster_for_one_redis_says_so(void **state)
{
    scene on;
    char  redis[128], upstream[96], dim[32];
    (void)state;
    set_up(&on);
    snprintf(redis, sizeof redis, "REDIS_URL=redis://semcache:sesame@127.0.0.1:%d",
             sc_test_redis_port(on.cluster.masters[0]));
    snprintf(upstream, sizeof upstream, "OPENAI_BASE_URL=%s", sc_upstream_url(on.upstream));
    snprintf(dim, sizeof dim, "EMBEDDING_DIM=%d", SC_WORLD_DIM);
    sc_test_server *server = sc_test_server_start(
        (const char *const[]){redis, upstream, dim, "OPENAI_API_KEY=sk-test",
                              "EMBEDDING_PROVIDER=openai", "CACHE_NAMESPACE=semcache", NULL});
    sc_asker *asker = sc_asker_open(sc_test_server_target(server));
    char      prompt[64];
    for (unsigned i = 0; i < 20; i++) {
        snprintf(prompt, sizeof prompt, "Is this one Redis, %u?", i);
        assert_int_equal(sc_ask_source(asker, prompt), SEMCACHE__V1__SOURCE__SOURCE_LLM);
    }
    char *log = sc_test_server_log(server);
    assert_non_null(strstr(log, "redis.is_cluster"));
    free(log);
    sc_asker_close(asker);
    sc_test_server_stop(server);
    tear_down(&on);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_master_killed_and_restarted_empty_loses_no_request),
        cmocka_unit_test(a_master_that_hangs_loses_no_request),
        cmocka_unit_test(a_failover_loses_no_request),
        cmocka_unit_test(slots_that_move_lose_no_request),
        cmocka_unit_test(a_server_that_takes_a_cluster_for_one_redis_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
