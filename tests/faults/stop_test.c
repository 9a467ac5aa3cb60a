/* The server is told to stop, or killed, while load runs: no request is lost on SIGTERM, and nothing that
 * was stored is corrupt after SIGKILL. */
#include "tests/support/cmocka.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "client/lib/client.h"
#include "src/base/clock.h"
#include "tests/faults/load.h"

static sc_world *open_world(const char *const *variables)
{
    static sc_world here;
    sc_world_open(&here, 1, variables);
    if (here.redis == NULL)
        skip();
    return &here;
}

/* ---- SIGTERM ------------------------------------------------------------------------------------ */

enum { CALLERS = 8, GRACE_MS = 10000 };

/* A caller of one server on its way out: it stops asking when it is told UNAVAILABLE without its
 * question having been taken, as a load balancer's client would. */
typedef struct {
    sc_asker     *asker;
    unsigned      number;
    unsigned long answered, refused, lost;
    char          text[SC_ERROR_TEXT_BYTES];
} leaver;

static void *ask_until_refused(void *arg)
{
    leaver *me = arg;
    for (unsigned turn = 0; turn < 100000; turn++) {
        char       prompt[64];
        sc_outcome outcome = {.status = SC_OK};
        snprintf(prompt, sizeof prompt, "Question %u of caller %u?", turn, me->number);
        sc_ask_request   request = sc_ask_init(prompt);
        sc_ask_response *response = sc_ask(me->asker, &request, &outcome);
        if (response == NULL) {
            snprintf(me->text, sizeof me->text, "%s", outcome.text);
            me->refused += outcome.status == SC_UNAVAILABLE;
            me->lost += outcome.status != SC_UNAVAILABLE;
            return NULL;
        }
        assert_non_null(strstr(response->answer, prompt));
        sc_ask_free(response);
        me->answered++;
    }
    return NULL;
}

static int health_of(sc_client *client)
{
    /* HealthCheckResponse.status is its field 1: 1 SERVING, 2 NOT_SERVING. */
    char    *reply = NULL;
    size_t   len = 0;
    sc_error error;
    int      status = -1;
    if (sc_client_ask(client, "/grpc.health.v1.Health/Check", SC_STR(""), 2000, &reply, &len, NULL, &error) == SC_OK)
        status = len >= 2 ? reply[1] : 0;
    free(reply);
    return status;
}

/* What a load balancer sees: NOT_SERVING, while calls are still answered. */
static void expect_lame_duck(const char *target)
{
    sc_client        *client = NULL;
    sc_client_options options = {.target = target};
    sc_error          error;
    int               health = -1;
    assert_int_equal(sc_client_open(&options, &client, &error), SC_OK);
    for (int tries = 0; tries < 100 && health != 2; tries++) {
        health = health_of(client);
        usleep(5000);
    }
    sc_client_close(client);
    assert_int_equal(health, 2);
}

static void a_server_that_is_told_to_stop_loses_no_request(void **state)
{
    (void)state;
    pthread_t     threads[CALLERS];
    leaver        leavers[CALLERS] = {0};
    unsigned long answered = 0, refused = 0, lost = 0;
    sc_world     *here = open_world((const char *const[]){"LAME_DUCK_MS=700", "GRACE_MS=10000", NULL});
    const char   *target = sc_test_server_target(here->servers[0]);
    /* Slow enough that there are always calls under way. */
    sc_upstream_control(here->upstream, "{\"chat\": {\"delay_ms\": 150}}");
    for (unsigned i = 0; i < CALLERS; i++) {
        leavers[i] = (leaver){.asker = here->askers[0], .number = i};
        assert_int_equal(pthread_create(&threads[i], NULL, ask_until_refused, &leavers[i]), 0);
    }
    usleep(600000);
    kill(sc_test_server_pid(here->servers[0]), SIGTERM);
    sc_instant told = sc_now();
    expect_lame_duck(target);
    int64_t ready_off_ms = sc_elapsed_us(told, sc_now()) / 1000;
    int     code = sc_test_server_wait(here->servers[0]);
    int64_t ended_ms = sc_elapsed_us(told, sc_now()) / 1000;
    for (size_t i = 0; i < CALLERS; i++) {
        pthread_join(threads[i], NULL);
        answered += leavers[i].answered;
        refused += leavers[i].refused;
        lost += leavers[i].lost;
    }
    sc_upstream_counters counters;
    sc_upstream_look(here->upstream, &counters);
    print_message("SIGTERM: answered %lu, refused %lu (a new call after the end), lost %lu; abandoned at the "
                  "upstream %lu; not ready after %lld ms, ended after %lld ms, exit code %d\n    %s\n",
                  answered, refused, lost, counters.abandoned, (long long)ready_off_ms, (long long)ended_ms, code,
                  leavers[0].text);
    assert_int_equal(code, 0);
    assert_int_equal(lost, 0);
    /* Everybody asked on until there was nobody to ask. A call that was taken and not answered would
     * have been paid for: then the upstream was asked more often than callers were answered. */
    assert_int_equal(refused, CALLERS);
    assert_int_equal(counters.abandoned, 0);
    assert_int_equal(counters.chat_calls, answered);
    assert_true(ended_ms >= 700);
    assert_true(ended_ms < 700 + GRACE_MS);
    sc_world_close(here);
}

/* ---- SIGKILL -------------------------------------------------------------------------------------- */

/* Every hash under our prefix has all its fields and a time to live: nothing is half written. */
static void expect_whole_entries(sc_test_redis *redis)
{
    redisReply *keys = sc_test_redis_call(redis, "KEYS semcache:v1:*");
    assert_int_equal(keys->type, REDIS_REPLY_ARRAY);
    assert_true(keys->elements > 0);
    for (size_t i = 0; i < keys->elements; i++) {
        assert_true(sc_test_redis_integer(redis, "PTTL %s", keys->element[i]->str) > 0);
        redisReply *fields = sc_test_redis_call(redis, "HMGET %s ver exp meta prompt canonical answer v",
                                                keys->element[i]->str);
        for (size_t f = 0; f < fields->elements; f++)
            assert_int_equal(fields->element[f]->type, REDIS_REPLY_STRING);
        freeReplyObject(fields);
    }
    print_message("    %zu entries in Redis, each whole\n", keys->elements);
    freeReplyObject(keys);
}

static void a_killed_server_leaves_nothing_corrupt(void **state)
{
    enum { KILLS = 4 };
    (void)state;
    unsigned long sent = 0, wrong = 0, answered = 0;
    sc_world     *here = open_world(NULL);
    sc_load_teach(here->askers[0]);
    for (int round = 0; round < KILLS; round++) {
        sc_load *load = sc_load_start(&here->askers[0], 1, &(sc_load_options){.pause_us = 200});
        sc_load_wait_for(load, 200);
        sc_test_server_kill(here->servers[0]);
        sc_load_figures seen = sc_load_stop(load, "SIGKILL");
        sent += seen.sent;
        answered += seen.answered;
        wrong += seen.wrong;
        /* What was cut off may still be on its way through Redis' socket. */
        usleep(200000);
        expect_whole_entries(here->redis);
        sc_asker_close(here->askers[0]);
        sc_test_server_stop(here->servers[0]);
        here->servers_count = 0;
        sc_world_add(here, NULL);
    }
    /* The new one knows what the killed ones knew. */
    sc_load *load = sc_load_start(&here->askers[0], 1, NULL);
    sc_load_wait_for(load, 100);
    sc_load_figures seen = sc_load_stop(load, "after SIGKILL and restart");
    assert_int_equal(seen.failed, 0);
    assert_int_equal(wrong + seen.wrong, 0);
    assert_int_equal(seen.asked, seen.new_sent);
    sc_stats_response *stats = sc_ask_stats(here->askers[0]);
    assert_int_equal(stats->redis->foreign_values, 0);
    assert_int_equal(stats->redis->index_failures, 0);
    sc_stats_free(stats);
    print_message("%d kills: sent %lu, answered %lu, wrong %lu\n", KILLS, sent, answered, wrong);
    sc_world_close(here);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_server_that_is_told_to_stop_loses_no_request),
        cmocka_unit_test(a_killed_server_leaves_nothing_corrupt),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
