/* Redis goes, hangs, fills up and comes back, while load runs: no request is lost, no answer wrong. */
#include "tests/support/cmocka.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "src/base/clock.h"
#include "tests/support/world.h"

enum { CALLERS = 8, KNOWN = 16 };

/* What the callers saw. */
typedef struct {
    sc_world    *here;
    atomic_bool  stop;
    atomic_ulong sent, answered, failed, wrong, hits, asked;
    atomic_ulong next; /* number of the next new question */
    atomic_ulong slowest_us;
} load;

static void note_time(load *l, sc_instant start)
{
    unsigned long us = (unsigned long)sc_elapsed_us(start, sc_now());
    unsigned long slowest = atomic_load(&l->slowest_us);
    while (us > slowest && !atomic_compare_exchange_weak(&l->slowest_us, &slowest, us))
        continue;
}

static void ask_one(load *l, const char *prompt)
{
    sc_outcome     outcome;
    sc_ask_request request = sc_ask_init(prompt);
    sc_instant     start = sc_now();
    atomic_fetch_add(&l->sent, 1);
    sc_ask_response *response = sc_ask(l->here->askers[0], &request, &outcome);
    note_time(l, start);
    if (response == NULL) {
        atomic_fetch_add(&l->failed, 1);
        fprintf(stderr, "failed: %s %s\n", sc_status_name(outcome.status), outcome.text);
        return;
    }
    atomic_fetch_add(&l->answered, 1);
    if (strstr(response->answer, prompt) == NULL)
        atomic_fetch_add(&l->wrong, 1);
    bool asked = response->source == SEMCACHE__V1__SOURCE__SOURCE_LLM;
    atomic_fetch_add(asked ? &l->asked : &l->hits, 1);
    sc_ask_free(response);
}

/* Three of four questions are known; the fourth is new. */
static void *call(void *arg)
{
    load *l = arg;
    for (unsigned turn = 0; !atomic_load(&l->stop); turn++) {
        char prompt[64];
        if (turn % 4 == 3)
            snprintf(prompt, sizeof prompt, "New question number %lu?", atomic_fetch_add(&l->next, 1) % 99999);
        else
            snprintf(prompt, sizeof prompt, "Known question %u?", turn % KNOWN);
        ask_one(l, prompt);
        usleep(1000);
    }
    return NULL;
}

static int set_up(void **state)
{
    static sc_world here;
    sc_world_open(&here, 1, (const char *const[]){"REDIS_TIMEOUT_MS=100", NULL});
    *state = &here;
    return 0;
}

/* Runs load around a fault; gives what the callers saw during it and after. */
static void run(sc_world *here, const char *name, void (*fault)(sc_world *here), load *l)
{
    pthread_t callers[CALLERS];
    *l = (load){.here = here};
    atomic_store(&l->next, (unsigned long)sc_now().ns % 90000);
    for (int i = 0; i < KNOWN; i++) {
        char prompt[64];
        snprintf(prompt, sizeof prompt, "Known question %d?", i);
        ask_one(l, prompt);
    }
    for (size_t i = 0; i < CALLERS; i++)
        pthread_create(&callers[i], NULL, call, l);
    usleep(300000);
    fault(here);
    usleep(300000);
    atomic_store(&l->stop, true);
    for (size_t i = 0; i < CALLERS; i++)
        pthread_join(callers[i], NULL);
    print_message("%s: sent %lu, answered %lu, failed %lu, wrong %lu, lost %lu; hits %lu, LLM %lu; slowest %lu ms\n",
                  name, l->sent, l->answered, l->failed, l->wrong, l->sent - l->answered - l->failed,
                  l->hits, l->asked, l->slowest_us / 1000);
    assert_int_equal(l->failed, 0);
    assert_int_equal(l->wrong, 0);
    assert_int_equal(l->sent, l->answered);
    assert_true(l->hits > 0 && l->asked > 0);
}

/* The cache is whole again: a write reaches Redis, and its index finds it. */
static void expect_works_again(sc_world *here)
{
    for (int tries = 0; tries < 400; tries++) {
        sc_stats_response *stats = sc_ask_stats(here->askers[0]);
        bool               whole = stats->redis->connected && stats->redis->feed_live &&
                     strcmp(stats->redis->index_state, "ready") == 0 &&
                     stats->redis->writes_waiting == 0;
        sc_stats_free(stats);
        if (whole)
            break;
        usleep(25000);
    }
    char prompt[64];
    snprintf(prompt, sizeof prompt, "After it, %ld?", (long)(sc_now().ns % 1000000));
    long long before = sc_test_redis_integer(here->redis, "DBSIZE");
    ask_one(&(load){.here = here}, prompt);
    for (int tries = 0; tries < 200 && sc_test_redis_integer(here->redis, "DBSIZE") <= before; tries++)
        usleep(10000);
    assert_true(sc_test_redis_integer(here->redis, "DBSIZE") > before);
    sc_stats_response *stats = sc_ask_stats(here->askers[0]);
    assert_true(stats->redis->connected);
    assert_true(stats->redis->feed_live);
    assert_string_equal(stats->redis->index_state, "ready");
    sc_stats_free(stats);
}

static void kill_and_restart_empty(sc_world *here)
{
    sc_test_redis_kill(here->redis);
    usleep(1500000);
    sc_test_redis_restart(here->redis, true);
}

static void redis_killed_and_restarted_empty_loses_no_request(void **state)
{
    sc_world *here = sc_world_of(state);
    load      l;
    run(here, "killed, restarted empty", kill_and_restart_empty, &l);
    expect_works_again(here);
}

static void hang(sc_world *here)
{
    sc_test_redis_pause(here->redis);
    usleep(1500000);
    sc_test_redis_resume(here->redis);
}

static void redis_hung_loses_no_request(void **state)
{
    sc_world *here = sc_world_of(state);
    load      l;
    run(here, "hung", hang, &l);
    expect_works_again(here);
}

static void flush(sc_world *here)
{
    freeReplyObject(sc_test_redis_call(here->redis, "FLUSHALL"));
    usleep(500000);
}

static void redis_flushed_gets_its_index_again(void **state)
{
    sc_world *here = sc_world_of(state);
    load      l;
    run(here, "flushed", flush, &l);
    expect_works_again(here);
}

static void fill_up(sc_world *here)
{
    freeReplyObject(sc_test_redis_call(here->redis, "CONFIG SET maxmemory 1"));
    usleep(700000);
    freeReplyObject(sc_test_redis_call(here->redis, "CONFIG SET maxmemory 0"));
}

static void redis_out_of_memory_loses_no_request(void **state)
{
    sc_world *here = sc_world_of(state);
    load      l;
    run(here, "out of memory", fill_up, &l);
    expect_works_again(here);
}

static void read_only(sc_world *here)
{
    freeReplyObject(sc_test_redis_call(here->redis, "REPLICAOF 127.0.0.1 1"));
    usleep(700000);
    freeReplyObject(sc_test_redis_call(here->redis, "REPLICAOF NO ONE"));
}

static void redis_read_only_loses_no_request(void **state)
{
    sc_world *here = sc_world_of(state);
    load      l;
    run(here, "read-only", read_only, &l);
    expect_works_again(here);
}

/* Redis reads a file for about a second, and answers everything with -LOADING meanwhile. */
static void load_for_a_while(sc_world *here)
{
    long long keys = sc_test_redis_integer(here->redis, "DBSIZE");
    freeReplyObject(sc_test_redis_call(here->redis, "CONFIG SET loading-process-events-interval-bytes 1024"));
    freeReplyObject(sc_test_redis_call(here->redis, "CONFIG SET key-load-delay %lld", 1000000 / (keys + 1)));
    freeReplyObject(sc_test_redis_call(here->redis, "DEBUG RELOAD"));
    freeReplyObject(sc_test_redis_call(here->redis, "CONFIG SET key-load-delay 0"));
    redisReply *errors = sc_test_redis_call(here->redis, "INFO errorstats");
    assert_non_null(strstr(errors->str, "errorstat_LOADING"));
    freeReplyObject(errors);
}

static void redis_loading_loses_no_request(void **state)
{
    sc_world *here = sc_world_of(state);
    load      l;
    run(here, "loading", load_for_a_while, &l);
    expect_works_again(here);
}

/* What was paid for while Redis was away is not paid for again by other servers. */
static void what_was_answered_meanwhile_is_written_later(void **state)
{
    enum { NEW = 20 };
    sc_world *here = sc_world_of(state);
    load      l = {.here = here};
    long      run_number = (long)(sc_now().ns % 1000000);
    char      prompt[64];
    sc_test_redis_kill(here->redis);
    for (int i = 0; i < NEW; i++) {
        snprintf(prompt, sizeof prompt, "Asked without Redis %ld, %d?", run_number, i);
        ask_one(&l, prompt);
    }
    sc_test_redis_restart(here->redis, true);
    expect_works_again(here);
    size_t late = here->servers_count == 1 ? sc_world_add(here, NULL) : 1;
    for (int i = 0; i < NEW; i++) {
        snprintf(prompt, sizeof prompt, "Asked without Redis %ld, %d?", run_number, i);
        assert_int_equal(sc_ask_source(here->askers[late], prompt), SEMCACHE__V1__SOURCE__SOURCE_EXACT);
    }
    print_message("written later: %d of %d answers of the time without Redis, and the index made anew\n", NEW, NEW);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(redis_killed_and_restarted_empty_loses_no_request),
        cmocka_unit_test(redis_hung_loses_no_request),
        cmocka_unit_test(redis_flushed_gets_its_index_again),
        cmocka_unit_test(redis_out_of_memory_loses_no_request),
        cmocka_unit_test(redis_read_only_loses_no_request),
        cmocka_unit_test(redis_loading_loses_no_request),
        cmocka_unit_test(what_was_answered_meanwhile_is_written_later),
    };
    return cmocka_run_group_tests(tests, set_up, sc_world_tear_down);
}
