/* The LLM is dead, hung, refuses, breaks off or says nothing, while load runs: new questions fail with the
 * cause, known ones are answered, nothing bad is kept; who allows it gets an answer that has expired. */
#include "tests/support/cmocka.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "src/base/clock.h"
#include "tests/faults/load.h"

enum { WHOLE, STREAM }; /* servers; the second one asks for streams */

static sc_upstream *llm;
static const char  *variables[8];

static int set_up(void **state)
{
    static sc_world     here;
    static char         url[96];
    sc_upstream_options options = {.seed = 1};
    *state = &here;
    sc_world_open(&here, 0, NULL);
    if (here.redis == NULL)
        return 0;
    llm = sc_upstream_start(&options);
    assert_non_null(llm);
    snprintf(url, sizeof url, "LLM_BASE_URL=%s", sc_upstream_url(llm));
    const char *all[] = {url, "LLM_API_KEY=sk-test", "LLM_TIMEOUT_MS=400", "LLM_BREAKER_OPEN_MS=100",
                         "STALE_SECONDS=60", "TTL_JITTER_PERCENT=0", NULL, NULL};
    memcpy(variables, all, sizeof all);
    sc_world_add(&here, variables);
    variables[6] = "LLM_STREAM=true";
    sc_world_add(&here, variables);
    variables[6] = NULL;
    return 0;
}

static int tear_down(void **state)
{
    sc_world_tear_down(state);
    sc_upstream_stop(llm);
    return 0;
}

static void behave(const char *script)
{
    char json[160];
    snprintf(json, sizeof json, "{\"chat\": {%s}}", script);
    assert_true(sc_upstream_control(llm, json));
}

/* Waits until the breaker lets calls through again. */
static void expect_answers_again(sc_asker *asker)
{
    static unsigned number;
    sc_outcome      outcome = {.status = SC_OK};
    for (int tries = 0; tries < 200; tries++) {
        char prompt[64];
        snprintf(prompt, sizeof prompt, "Is it well again %u?", number++);
        sc_ask_request   request = sc_ask_init(prompt);
        sc_ask_response *response = sc_ask(asker, &request, &outcome);
        if (response != NULL) {
            sc_ask_free(response);
            return;
        }
        usleep(50000);
    }
    fail_msg("the LLM answers, the cache does not within 10 s: %s", outcome.text);
}

static sc_outcome ask_failing(sc_asker *asker, const char *prompt)
{
    sc_outcome       outcome = {.status = SC_OK};
    sc_ask_request   request = sc_ask_init(prompt);
    sc_ask_response *response = sc_ask(asker, &request, &outcome);
    if (response != NULL)
        fail_msg("answered although the LLM failed: %s", response->answer);
    return outcome;
}

/* What failed was not kept: the question is asked again, and its answer is the right one. */
static void expect_not_kept(sc_asker *asker, const char *prompt)
{
    sc_ask_request   request = sc_ask_init(prompt);
    sc_ask_response *response = sc_ask(asker, &request, NULL);
    assert_int_equal(response->source, SEMCACHE__V1__SOURCE__SOURCE_LLM);
    assert_non_null(strstr(response->answer, prompt));
    sc_ask_free(response);
}

typedef struct {
    const char *name, *script;
    sc_status   status;
    const char *cause; /* part of the error's text */
} fault;

static void expect_only_failures_of(const sc_load_figures *seen)
{
    unsigned long expected = seen->by_status[SC_UNAVAILABLE] + seen->by_status[SC_TIMEOUT];
    assert_int_equal(seen->wrong, 0);
    assert_int_equal(seen->sent, seen->answered + seen->failed);
    assert_int_equal(seen->failed, expected);
    /* The cache's own answers do not depend on the LLM. */
    assert_int_equal(seen->failed, seen->new_failed);
    assert_true(seen->hits > 0 && seen->failed > 0);
}

static void run(sc_asker *asker, const fault *f)
{
    char prompt[64];
    snprintf(prompt, sizeof prompt, "Asked while %s?", f->name);
    sc_load_teach(asker);
    sc_load *load = sc_load_start(&asker, 1, &(sc_load_options){.cause = f->cause});
    sc_load_wait_for(load, 50);
    behave(f->script);
    sc_load_wait_for(load, 100);
    ask_failing(asker, prompt);
    sc_load_wait_for(load, 50);
    behave("");
    expect_answers_again(asker);
    sc_load_wait_for(load, 50);
    sc_load_figures seen = sc_load_stop(load, f->name);
    assert_true(seen.by_status[f->status] > 0);
    if (seen.with_cause == 0)
        fail_msg("%s: no failure told the cause, \"%s\"; the first said: %s", f->name, f->cause,
                 seen.first_error);
    expect_only_failures_of(&seen);
    expect_not_kept(asker, prompt);
}

static void whole_replies(void **state)
{
    static const fault faults[] = {
        {"the LLM hangs", "\"fault\": \"hang\"", SC_TIMEOUT, "timed out"},
        {"the LLM says 429", "\"status\": 429, \"retry_after_s\": 30", SC_UNAVAILABLE, "429"},
        {"the LLM says 500", "\"status\": 500", SC_UNAVAILABLE, "500"},
        {"the LLM breaks off", "\"fault\": \"cut\"", SC_UNAVAILABLE, "transfer closed"},
        {"the LLM closes", "\"fault\": \"close\"", SC_UNAVAILABLE, "chat upstream"},
        {"the LLM sends garbage", "\"fault\": \"not_json\"", SC_UNAVAILABLE, "JSON"},
        {"the LLM says nothing", "\"fault\": \"empty_content\"", SC_UNAVAILABLE, "empty"},
        {"the LLM gives no choice", "\"fault\": \"no_choices\"", SC_UNAVAILABLE, "choice"},
    };
    sc_world *here = sc_world_of(state);
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++)
        run(here->askers[WHOLE], &faults[i]);
}

static void streams(void **state)
{
    static const fault faults[] = {
        {"a stream hangs", "\"fault\": \"hang\"", SC_TIMEOUT, "timed out"},
        {"a stream is cut off", "\"fault\": \"stream_cut\"", SC_UNAVAILABLE, "transfer closed"},
        {"a stream brings an error", "\"fault\": \"stream_error\"", SC_UNAVAILABLE, "mid-stream"},
        {"a stream brings garbage", "\"fault\": \"stream_garbage\"", SC_UNAVAILABLE, "JSON"},
    };
    sc_world *here = sc_world_of(state);
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++)
        run(here->askers[STREAM], &faults[i]);
}

/* Nobody listens on the port any more, then somebody does again. */
static void dead(void **state)
{
    sc_world           *here = sc_world_of(state);
    sc_upstream_options options = {.seed = 1, .port = sc_upstream_port(llm)};
    sc_load_teach(here->askers[WHOLE]);
    sc_load *load = sc_load_start(here->askers, 2, NULL);
    sc_load_wait_for(load, 50);
    sc_upstream_stop(llm);
    sc_load_wait_for(load, 200);
    sc_outcome outcome = ask_failing(here->askers[WHOLE], "Asked while nobody listens?");
    llm = sc_upstream_start(&options);
    assert_non_null(llm);
    expect_answers_again(here->askers[WHOLE]);
    expect_answers_again(here->askers[STREAM]);
    sc_load_wait_for(load, 50);
    sc_load_figures seen = sc_load_stop(load, "the LLM is dead");
    assert_int_equal(outcome.status, SC_UNAVAILABLE);
    assert_int_not_equal(outcome.text[0], '\0');
    expect_only_failures_of(&seen);
    expect_not_kept(here->askers[WHOLE], "Asked while nobody listens?");
}

/* Half an answer is given to who paid for it, says so, and is not kept. */
static void a_cut_answer_is_not_kept(void **state)
{
    sc_world *here = sc_world_of(state);
    for (size_t i = 0; i < 2; i++) {
        behave("\"finish_reason\": \"length\"");
        sc_ask_request   request = sc_ask_init("How long is a long answer?");
        sc_ask_response *cut = sc_ask(here->askers[i], &request, NULL);
        assert_string_equal(cut->finish_reason, "length");
        assert_false(cut->stored);
        sc_ask_free(cut);
        behave("");
        request.cache_mode = SEMCACHE__V1__CACHE_MODE__CACHE_MODE_NO_STORE;
        sc_ask_response *whole = sc_ask(here->askers[i], &request, NULL);
        assert_int_equal(whole->source, SEMCACHE__V1__SOURCE__SOURCE_LLM);
        assert_string_equal(whole->finish_reason, "stop");
        sc_ask_free(whole);
    }
}

/* ---- an expired answer instead of none ------------------------------------------------------------ */

static sc_ask_response *ask_stale(sc_asker *asker, const char *prompt, int64_t seconds, sc_outcome *outcome)
{
    sc_ask_request request = sc_ask_init(prompt);
    request.optional_stale_if_error_seconds_case =
        SEMCACHE__V1__ANSWER_REQUEST__OPTIONAL_STALE_IF_ERROR_SECONDS_STALE_IF_ERROR_SECONDS;
    request.stale_if_error_seconds = seconds;
    return sc_ask(asker, &request, outcome);
}

static void expect_stale(sc_asker *asker, const char *prompt)
{
    sc_outcome       outcome = {.status = SC_OK};
    sc_ask_response *response = ask_stale(asker, prompt, 60, &outcome);
    for (int tries = 0; tries < 200 && response == NULL; tries++) {
        usleep(25000); /* a server that has just started reads what is stored first */
        response = ask_stale(asker, prompt, 60, &outcome);
    }
    if (response == NULL)
        fail_msg("the expired answer is not served: %s", outcome.text);
    assert_true(response->stale);
    assert_int_equal(response->source, SEMCACHE__V1__SOURCE__SOURCE_EXACT);
    assert_non_null(strstr(response->answer, prompt));
    assert_true(response->expires_at_ms < sc_wall_now().ms);
    sc_ask_free(response);
}

static void expect_none(sc_asker *asker, const char *prompt, int64_t seconds)
{
    sc_outcome       outcome = {.status = SC_OK};
    sc_ask_response *response = ask_stale(asker, prompt, seconds, &outcome);
    if (response != NULL)
        fail_msg("served all the same: %s", response->answer);
    assert_int_equal(outcome.status, SC_UNAVAILABLE);
}

static void teach_for_a_second(sc_asker *asker, const char *prompt)
{
    sc_ask_request request = sc_ask_init(prompt);
    request.optional_ttl_seconds_case = SEMCACHE__V1__ANSWER_REQUEST__OPTIONAL_TTL_SECONDS_TTL_SECONDS;
    request.ttl_seconds = 1;
    sc_ask_response *response = sc_ask(asker, &request, NULL);
    assert_int_equal(response->source, SEMCACHE__V1__SOURCE__SOURCE_LLM);
    assert_true(response->stored);
    sc_ask_free(response);
}

static void an_expired_answer_serves_who_allows_it(void **state)
{
    static const char prompt[] = "What was true a second ago?";
    sc_world         *here = sc_world_of(state);
    teach_for_a_second(here->askers[WHOLE], prompt);
    usleep(2500000);
    sc_load *load = sc_load_start(here->askers, 2, &(sc_load_options){.stale_seconds = 60});
    behave("\"status\": 500");
    expect_stale(here->askers[WHOLE], prompt);
    expect_none(here->askers[WHOLE], prompt, 0);
    expect_none(here->askers[WHOLE], prompt, 1);
    /* The other server has it from Redis, and so has one that starts only now. */
    expect_stale(here->askers[STREAM], prompt);
    size_t late = sc_world_add(here, variables);
    expect_stale(here->askers[late], prompt);
    sc_load_wait_for(load, 50);
    sc_load_figures seen = sc_load_stop(load, "expired answers instead of none");
    assert_int_equal(seen.wrong, 0);
    /* An answer that was taken back is served to nobody. */
    sc_invalidate_request request = SEMCACHE__V1__INVALIDATE_REQUEST__INIT;
    request.all = true;
    sc_invalidate_free(sc_ask_invalidate(here->askers[STREAM], &request, NULL));
    usleep(500000);
    expect_none(here->askers[STREAM], prompt, 60);
    expect_none(here->askers[WHOLE], prompt, 60);
    expect_none(here->askers[late], prompt, 60);
    behave("");
    for (size_t i = 0; i < here->servers_count; i++)
        expect_answers_again(here->askers[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_replies),
        cmocka_unit_test(streams),
        cmocka_unit_test(dead),
        cmocka_unit_test(a_cut_answer_is_not_kept),
        cmocka_unit_test(an_expired_answer_serves_who_allows_it),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
