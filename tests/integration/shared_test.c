/* Two servers on one Redis: what one learns the other knows, what one forgets the other forgets. */
#include "tests/support/cmocka.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "src/base/clock.h"
#include "tests/support/relay.h"
#include "tests/support/world.h"

static int set_up(void **state)
{
    static sc_world here;
    sc_world_open(&here, 2, NULL);
    *state = &here;
    return 0;
}

static int set_up_verifying(void **state)
{
    static sc_world here;
    sc_world_open(&here, 2, (const char *const[]){"WARM_VERIFY=always", NULL});
    *state = &here;
    return 0;
}

/* Milliseconds until the server's memory holds that many entries; -1 after ms_max. */
static long await_warm(sc_asker *asker, uint64_t entries, long ms_max)
{
    sc_instant start = sc_now();
    for (;;) {
        sc_stats_response *stats = sc_ask_stats(asker);
        bool               there = stats->warm->entries == entries;
        sc_stats_free(stats);
        long ms = (long)(sc_elapsed_us(start, sc_now()) / 1000);
        if (there || ms > ms_max)
            return there ? ms : -1;
        usleep(500);
    }
}

/* Each server would pay for every question once more. */
static void what_one_answered_the_other_serves_from_memory(void **state)
{
    sc_world *here = sc_world_of(state);
    sc_upstream_alias(here->upstream, "who pays return shipping", "who pays for shipping a return", 0.05);
    assert_int_equal(sc_ask_source(here->askers[0], "Who pays for shipping a return?"),
                     SEMCACHE__V1__SOURCE__SOURCE_LLM);
    long lag_ms = await_warm(here->askers[1], 1, 1000);
    assert_in_range(lag_ms, 0, 1000);
    print_message("a write reached the other server's memory after %ld ms\n", lag_ms);
    sc_ask_request   request = sc_ask_init("Who pays return shipping?");
    sc_ask_response *hit = sc_ask(here->askers[1], &request, NULL);
    assert_int_equal(hit->source, SEMCACHE__V1__SOURCE__SOURCE_WARM);
    assert_string_equal(hit->matched_prompt, "Who pays for shipping a return?");
    sc_ask_free(hit);
    assert_int_equal(sc_ask_source(here->askers[1], "who pays for shipping a return"),
                     SEMCACHE__V1__SOURCE__SOURCE_EXACT);
}

static uint64_t invalidate_model(sc_asker *asker, const char *model)
{
    sc_invalidate_request request = SEMCACHE__V1__INVALIDATE_REQUEST__INIT;
    request.model = (char *)(uintptr_t)model;
    sc_invalidate_response *response = sc_ask_invalidate(asker, &request, NULL);
    uint64_t                removed = response->removed;
    sc_invalidate_free(response);
    return removed;
}

static sc_status ask_cached(sc_asker *asker, const char *prompt)
{
    sc_outcome     outcome;
    sc_ask_request request = sc_ask_init(prompt);
    request.cache_mode = SEMCACHE__V1__CACHE_MODE__CACHE_MODE_ONLY_IF_CACHED;
    sc_ask_response *response = sc_ask(asker, &request, &outcome);
    if (response != NULL)
        sc_ask_free(response);
    return outcome.status;
}

/* Waits until the server has the answer; a test that fails shows what the servers had to say. */
static void await_cached(sc_world *here, size_t server, const char *prompt)
{
    enum { TRIES = 10000 };
    for (int tries = 0; ask_cached(here->askers[server], prompt) != SC_OK; tries++) {
        if (tries == TRIES) {
            for (size_t i = 0; i < here->servers_count; i++) {
                char *log = sc_test_server_log(here->servers[i]);
                print_message("log of server %zu:\n%s\n", i, log);
                free(log);
            }
            fail_msg("'%s' never reached server %zu", prompt, server);
        }
        usleep(500);
    }
}

/* A wrong answer that somebody took back would go on being served by the server next door. */
static void what_one_invalidated_the_other_stops_serving(void **state)
{
    sc_world *here = sc_world_of(state);
    long      worst_ms = 0, late = 0;
    for (int round = 0; round < 20; round++) {
        char prompt[64];
        snprintf(prompt, sizeof prompt, "Is version %d out?", round);
        assert_int_equal(sc_ask_source(here->askers[0], prompt), SEMCACHE__V1__SOURCE__SOURCE_LLM);
        await_cached(here, 1, prompt);
        assert_true(invalidate_model(here->askers[0], "gpt-4o-mini") >= 1);
        assert_int_equal(ask_cached(here->askers[0], prompt), SC_NOT_FOUND);
        sc_instant start = sc_now();
        while (ask_cached(here->askers[1], prompt) == SC_OK)
            usleep(200);
        long ms = (long)(sc_elapsed_us(start, sc_now()) / 1000);
        worst_ms = ms > worst_ms ? ms : worst_ms;
        late += !sc_on_time(start, sc_now(), 100);
    }
    print_message("an invalidation was followed by the other server after at most %ld ms\n", worst_ms);
    assert_int_equal(late, 0);
}

/* The same where even those milliseconds are too many. */
static void with_verification_the_other_stops_at_once(void **state)
{
    sc_world *here = sc_world_of(state);
    for (int round = 0; round < 50; round++) {
        char prompt[64];
        snprintf(prompt, sizeof prompt, "Is edition %d out?", round);
        assert_int_equal(sc_ask_source(here->askers[0], prompt), SEMCACHE__V1__SOURCE__SOURCE_LLM);
        await_cached(here, 1, prompt);
        assert_true(invalidate_model(here->askers[0], "gpt-4o-mini") >= 1);
        assert_int_equal(ask_cached(here->askers[1], prompt), SC_NOT_FOUND);
    }
}

/* A server that starts would be cold, and cost an LLM call for everything that is known. */
static void a_new_server_starts_with_what_redis_has(void **state)
{
    sc_world *here = sc_world_of(state);
    assert_int_equal(sc_ask_source(here->askers[0], "What is known already?"),
                     SEMCACHE__V1__SOURCE__SOURCE_LLM);
    await_cached(here, 1, "What is known already?");
    size_t added = sc_world_add(here, NULL);
    sc_stats_response *first = sc_ask_stats(here->askers[0]);
    assert_in_range(await_warm(here->askers[added], first->warm->entries, 2000), 0, 2000);
    sc_stats_free(first);
    assert_int_equal(sc_ask_source(here->askers[added], "what is known already"),
                     SEMCACHE__V1__SOURCE__SOURCE_EXACT);
}

int main(void)
{
    const struct CMUnitTest sharing[] = {
        cmocka_unit_test(what_one_answered_the_other_serves_from_memory),
        cmocka_unit_test(what_one_invalidated_the_other_stops_serving),
        cmocka_unit_test(a_new_server_starts_with_what_redis_has),
    };
    const struct CMUnitTest verifying[] = {
        cmocka_unit_test(with_verification_the_other_stops_at_once),
    };
    int failed = cmocka_run_group_tests(sharing, set_up, sc_world_tear_down);
    return failed + cmocka_run_group_tests(verifying, set_up_verifying, sc_world_tear_down);
}
