/* What no caller should send: an error that names the field, the problem and the bound. */
#include "tests/support/cmocka.h"

#include <math.h>
#include <stdlib.h>

#include "tests/support/world.h"

#define ANSWER "/semcache.v1.SemanticCache/Answer"

static int set_up(void **state)
{
    static sc_world here;
    sc_world_open(&here, 1, NULL);
    *state = &here;
    return 0;
}

static char *text(const char *literal)
{
    return (char *)(uintptr_t)literal;
}

static void expect_refused(sc_world *here, const sc_ask_request *request, const char *words)
{
    sc_outcome outcome;
    assert_null(sc_ask(here->askers[0], request, &outcome));
    if (outcome.status != SC_INVALID || strstr(outcome.text, words) == NULL)
        fail_msg("wanted invalid with '%s', got %s: %s", words, sc_status_name(outcome.status),
                 outcome.text);
}

/* NaN passes every comparison that is written the wrong way round. */
static void numbers_out_of_range_are_refused(void **state)
{
    sc_world      *here = sc_world_of(state);
    sc_ask_request request;
#define REFUSED(field, upper, value, words)                                                        \
    do {                                                                                           \
        request = sc_ask_init("a question");                                                       \
        request.optional_##field##_case =                                                          \
            SEMCACHE__V1__ANSWER_REQUEST__OPTIONAL_##upper##_##upper;                              \
        request.field = (value);                                                                   \
        expect_refused(here, &request, words);                                                     \
    } while (0)
    REFUSED(max_distance, MAX_DISTANCE, -0.1, "max_distance: -0.1 is outside 0 to 2");
    REFUSED(max_distance, MAX_DISTANCE, 2.1, "max_distance: 2.1 is outside 0 to 2");
    REFUSED(max_distance, MAX_DISTANCE, (double)NAN, "max_distance: ");
    REFUSED(temperature, TEMPERATURE, -1, "temperature: -1 is outside 0 to 2");
    REFUSED(temperature, TEMPERATURE, (double)INFINITY, "temperature: inf is outside 0 to 2");
    REFUSED(top_k, TOP_K, 0, "top_k: 0 is outside 1 to 32");
    REFUSED(top_k, TOP_K, 33, "top_k: 33 is outside 1 to 32");
    REFUSED(ef_runtime, EF_RUNTIME, 5000, "ef_runtime: 5000 is outside 1 to 4096");
    REFUSED(ttl_seconds, TTL_SECONDS, 0, "ttl_seconds: 0 is outside 1 to 31536000");
    REFUSED(ttl_seconds, TTL_SECONDS, 31536001, "ttl_seconds: 31536001 is outside 1 to 31536000");
    REFUSED(max_tokens, MAX_TOKENS, 0, "max_tokens: 0 is outside 1 to 1000000");
    REFUSED(top_p, TOP_P, 1.5, "top_p: 1.5 is outside 0 to 1");
    REFUSED(presence_penalty, PRESENCE_PENALTY, -3, "presence_penalty: -3 is outside -2 to 2");
    REFUSED(frequency_penalty, FREQUENCY_PENALTY, (double)NAN, "frequency_penalty: ");
#undef REFUSED
    request = sc_ask_init("a question");
    request.cache_mode = (Semcache__V1__CacheMode)9;
    expect_refused(here, &request, "cache_mode: 9 is outside 0 to 4");
}

static void texts_that_are_none_are_refused(void **state)
{
    sc_world      *here = sc_world_of(state);
    sc_ask_request request = sc_ask_init("");
    expect_refused(here, &request, "user_prompt: empty, 1 to 65536 bytes are wanted");
    request = sc_ask_init("ab\xff");
    expect_refused(here, &request, "user_prompt: not valid UTF-8 at byte 2");
    char *large = malloc(65538);
    memset(large, 'a', 65537);
    large[65537] = '\0';
    request = sc_ask_init(large);
    expect_refused(here, &request, "user_prompt: 65537 bytes, at most 65536");
    large[65536] = '\0';
    assert_int_equal(sc_ask_source(here->askers[0], large), SEMCACHE__V1__SOURCE__SOURCE_LLM);
    large[257] = '\0';
    request = sc_ask_init("a question");
    request.model = large;
    expect_refused(here, &request, "model: 257 bytes, at most 256");
    free(large);
    request = sc_ask_init("a question");
    request.system_prompt = text("\xc3");
    expect_refused(here, &request, "system_prompt: not valid UTF-8 at byte 0");
}

static void lists_that_are_too_long_are_refused(void **state)
{
    sc_world              *here = sc_world_of(state);
    Semcache__V1__Turn     turn = SEMCACHE__V1__TURN__INIT, *turns[257];
    Semcache__V1__Parameter parameter = SEMCACHE__V1__PARAMETER__INIT, *parameters[2];
    char                  *words[33];
    sc_ask_request         request = sc_ask_init("a question");
    for (size_t i = 0; i < 33; i++)
        words[i] = text("tag");
    for (size_t i = 0; i < 257; i++)
        turns[i] = &turn;
    request.tags = words;
    request.n_tags = 33;
    expect_refused(here, &request, "tags: 33 of them, at most 32");
    words[0] = text("");
    request.n_tags = 1;
    expect_refused(here, &request, "tags: empty, 1 to 128 bytes are wanted");
    request = sc_ask_init("a question");
    request.stop = words + 1;
    request.n_stop = 5;
    expect_refused(here, &request, "stop: 5 texts, at most 4");
    request = sc_ask_init("a question");
    request.turns = turns;
    request.n_turns = 257;
    expect_refused(here, &request, "turns: 257 of them, at most 256");
    request.n_turns = 1;
    expect_refused(here, &request, "turns.role: empty");
    request = sc_ask_init("a question");
    parameters[0] = parameters[1] = &parameter;
    request.parameters = parameters;
    request.n_parameters = 1;
    parameter.name = text("messages");
    parameter.json = text("[]");
    expect_refused(here, &request, "parameters.name: messages has a field of its own");
    parameter.name = text("Bad-Name");
    expect_refused(here, &request, "parameters.name: 1 to 64 characters");
    parameter.name = text("logit_bias");
    parameter.json = text("{]");
    expect_refused(here, &request, "logit_bias: not JSON");
    parameter.json = text("{}");
    request.n_parameters = 2;
    expect_refused(here, &request, "parameters.name: logit_bias stands there twice");
    request = sc_ask_init("a question");
    request.response_format = text("json");
    expect_refused(here, &request, "response_format: not JSON");
}

/* protobuf-c would hand over "refund" and the cache answer that. */
static void a_nul_byte_is_found_before_it_cuts_the_question(void **state)
{
    sc_world  *here = sc_world_of(state);
    sc_outcome outcome = sc_ask_raw(here->askers[0], ANSWER, (sc_str){"\x12\x0drefund\0policy", 15});
    assert_int_equal(outcome.status, SC_INVALID);
    assert_non_null(strstr(outcome.text, "user_prompt: contains a NUL byte"));
}

static void bytes_that_are_no_request_are_refused(void **state)
{
    sc_world *here = sc_world_of(state);
    static const struct {
        const char *path;
        sc_str      bytes;
        sc_status   status;
    } rows[] = {
        {ANSWER, {"\xff\xff\xff", 3}, SC_INVALID},
        {ANSWER, {"\x12\x7f" "ab", 4}, SC_INVALID}, /* longer than it is */
        {ANSWER, {"", 0}, SC_INVALID},              /* a message without a prompt */
        {"/semcache.v1.SemanticCache/Answers", {"", 0}, SC_UNSUPPORTED},
        {"/no.such.Service/Answer", {"", 0}, SC_UNSUPPORTED},
        {"/semcache.v1.SemanticCache/Invalidate", {"", 0}, SC_INVALID},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_int_equal(sc_ask_raw(here->askers[0], rows[i].path, rows[i].bytes).status,
                         rows[i].status);
}

/* Refused calls must not look like served ones to an operator. */
static void what_was_refused_is_counted_as_failed(void **state)
{
    sc_world          *here = sc_world_of(state);
    sc_ask_request     request = sc_ask_init("");
    sc_stats_response *before = sc_ask_stats(here->askers[0]);
    expect_refused(here, &request, "user_prompt");
    sc_stats_response *after = sc_ask_stats(here->askers[0]);
    assert_int_equal(after->since_start->failed, before->since_start->failed + 1);
    assert_int_equal(after->since_start->requests, before->since_start->requests + 1);
    sc_stats_free(before);
    sc_stats_free(after);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_out_of_range_are_refused),
        cmocka_unit_test(texts_that_are_none_are_refused),
        cmocka_unit_test(lists_that_are_too_long_are_refused),
        cmocka_unit_test(a_nul_byte_is_found_before_it_cuts_the_question),
        cmocka_unit_test(bytes_that_are_no_request_are_refused),
        cmocka_unit_test(what_was_refused_is_counted_as_failed),
    };
    return cmocka_run_group_tests(tests, set_up, sc_world_tear_down);
}
