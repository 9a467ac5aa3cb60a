/* The embeddings endpoint is away, slow or mad, while load runs: known questions are answered from the
 * cache by their key, new ones by the LLM; nobody waits longer than the embedding deadline. */
#include "tests/support/cmocka.h"

#include <stdio.h>
#include <unistd.h>

#include "src/base/clock.h"
#include "tests/faults/load.h"

enum {
    TIMEOUT_MS = 300,
    /* What a request may take beside its wait for a vector. The promise is about waiting; the rest is
     * for machines with other work. */
    SLACK_MS = 3000
};

static sc_upstream *embeddings;

static int set_up(void **state)
{
    static sc_world     here;
    static char         url[96];
    sc_upstream_options options = {.dim = SC_WORLD_DIM, .seed = 1};
    *state = &here;
    sc_world_open(&here, 0, NULL);
    if (here.redis == NULL)
        return 0;
    embeddings = sc_upstream_start(&options);
    assert_non_null(embeddings);
    snprintf(url, sizeof url, "EMBEDDING_BASE_URL=%s", sc_upstream_url(embeddings));
    sc_world_add(&here, (const char *const[]){url, "EMBEDDING_TIMEOUT_MS=300", "EMBEDDING_BREAKER_OPEN_MS=200",
                                              "EMBEDDING_API_KEY=sk-test", NULL});
    return 0;
}

static int tear_down(void **state)
{
    sc_world_tear_down(state);
    sc_upstream_stop(embeddings);
    return 0;
}

/* A question near a stored one is found again: vectors are made, and the breaker has closed. */
static void expect_meaning_again(sc_world *here)
{
    static unsigned number;
    for (int tries = 0; tries < 200; tries++) {
        char stored[64], near[64];
        /* Already canonical, which is what is embedded. */
        snprintf(stored, sizeof stored, "stored question %u", number);
        snprintf(near, sizeof near, "asked otherwise %u", number++);
        sc_upstream_alias(embeddings, near, stored, 0.05);
        sc_ask_source(here->askers[0], stored);
        Semcache__V1__Source source = sc_ask_source(here->askers[0], near);
        if (source == SEMCACHE__V1__SOURCE__SOURCE_WARM || source == SEMCACHE__V1__SOURCE__SOURCE_REDIS)
            return;
        usleep(50000);
    }
    fail_msg("questions are not compared by meaning again within 10 s");
}

static void begin_fault(const char *script)
{
    char json[160];
    snprintf(json, sizeof json, "{\"embeddings\": {%s}}", script);
    assert_true(sc_upstream_control(embeddings, json));
}

static void expect_answers(const sc_load_figures *seen)
{
    assert_int_equal(seen->failed, 0);
    assert_int_equal(seen->wrong, 0);
    assert_int_equal(seen->sent, seen->answered);
    assert_true(seen->hits > 0 && seen->asked > 0);
    if (seen->slowest_us / 1000 > TIMEOUT_MS + SLACK_MS)
        fail_msg("a request took %lu ms, the embedding deadline is %d ms", seen->slowest_us / 1000, TIMEOUT_MS);
}

static void run(sc_world *here, const char *name, const char *script)
{
    sc_load_teach(here->askers[0]);
    sc_load *load = sc_load_start(here->askers, 1, NULL);
    sc_load_wait_for(load, 50);
    begin_fault(script);
    usleep(500000);
    sc_load_wait_for(load, 100);
    begin_fault("");
    sc_load_wait_for(load, 50);
    sc_load_figures seen = sc_load_stop(load, name);
    expect_answers(&seen);
    expect_meaning_again(here);
}

static void hung(void **state)
{
    run(sc_world_of(state), "embeddings hung", "\"fault\": \"hang\"");
}

static void too_many_requests(void **state)
{
    run(sc_world_of(state), "embeddings 429", "\"status\": 429, \"retry_after_s\": 30");
}

static void internal_error(void **state)
{
    run(sc_world_of(state), "embeddings 500", "\"status\": 500");
}

static void wrong_dimension(void **state)
{
    run(sc_world_of(state), "embeddings of another dimension", "\"dim\": 32");
}

static void garbage(void **state)
{
    run(sc_world_of(state), "embeddings garbage", "\"fault\": \"not_json\"");
}

static void not_a_number(void **state)
{
    run(sc_world_of(state), "embeddings NaN", "\"fault\": \"nan\"");
}

static void cut_off(void **state)
{
    run(sc_world_of(state), "embeddings cut off", "\"fault\": \"cut\"");
}

/* Nobody listens on the port any more, then somebody does again. */
static void dead(void **state)
{
    sc_world           *here = sc_world_of(state);
    sc_upstream_options options = {.dim = SC_WORLD_DIM, .seed = 1, .port = sc_upstream_port(embeddings)};
    sc_load_teach(here->askers[0]);
    sc_load *load = sc_load_start(here->askers, 1, NULL);
    sc_load_wait_for(load, 50);
    sc_upstream_stop(embeddings);
    usleep(500000);
    sc_load_wait_for(load, 100);
    embeddings = sc_upstream_start(&options);
    assert_non_null(embeddings);
    sc_load_wait_for(load, 50);
    sc_load_figures seen = sc_load_stop(load, "embeddings dead");
    expect_answers(&seen);
    expect_meaning_again(here);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hung),
        cmocka_unit_test(too_many_requests),
        cmocka_unit_test(internal_error),
        cmocka_unit_test(wrong_dimension),
        cmocka_unit_test(garbage),
        cmocka_unit_test(not_a_number),
        cmocka_unit_test(cut_off),
        cmocka_unit_test(dead),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
