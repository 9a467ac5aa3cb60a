#include "src/pipeline/question.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/support/cmocka.h"

static const sc_question_limits limits = {.prompt_bytes_max = 100,
                                          .context_bytes_max = 200,
                                          .ttl_seconds_max = 1000,
                                          .stale_seconds_max = 60};

static sc_question good(void)
{
    return (sc_question){.scope = {.model = SC_STR("m"), .temperature = 0.2},
                         .user_prompt = SC_STR("what is it?"),
                         .max_distance = 0.1,
                         .top_k = 5,
                         .ef_runtime = 100,
                         .ttl_seconds = 10};
}

static char zeros[4096]; /* valid text only by its length */
static char xs[4096];

static sc_str x(size_t len)
{
    memset(xs, 'x', sizeof xs);
    return (sc_str){xs, len};
}

/* Refused, with the field's name at the head of the sentence. */
static void refused(const sc_question *question, const char *field)
{
    sc_error error = {.status = SC_OK};
    assert_int_equal(sc_question_check(question, &limits, &error), SC_INVALID);
    assert_int_equal(error.status, SC_INVALID);
    assert_int_equal(strncmp(error.text, field, strlen(field)), 0);
    assert_int_equal(error.text[strlen(field)], ':');
}

static void accepted(const sc_question *question)
{
    sc_error error = {.status = SC_OK};
    if (sc_question_check(question, &limits, &error) != SC_OK)
        fail_msg("refused: %s", error.text);
}

static void an_ordinary_question_passes(void **state)
{
    (void)state;
    sc_question q = good();
    accepted(&q);
}

static void the_prompt_must_be_there_within_bounds_and_text(void **state)
{
    (void)state;
    sc_question q = good();
    q.user_prompt = SC_STR("");
    refused(&q, "user_prompt");
    q.user_prompt = x(100);
    accepted(&q);
    q.user_prompt = x(101);
    refused(&q, "user_prompt");
    q.user_prompt = SC_STR("a\0b");
    refused(&q, "user_prompt");
    q.user_prompt = SC_STR("a\xff");
    refused(&q, "user_prompt");
    q.user_prompt = (sc_str){zeros, 1};
    refused(&q, "user_prompt");
}

static void scope_fields_have_bounds(void **state)
{
    (void)state;
    sc_question q = good();
    q.scope.model = SC_STR("");
    refused(&q, "model");
    q.scope.model = x(SC_NAME_BYTES_MAX);
    accepted(&q);
    q.scope.model = x(SC_NAME_BYTES_MAX + 1);
    refused(&q, "model");
    q = good();
    q.scope.corpus_version = x(SC_NAME_BYTES_MAX + 1);
    refused(&q, "corpus_version");
    q = good();
    q.scope.system_prompt = x(200);
    accepted(&q);
    q.scope.system_prompt = x(201);
    refused(&q, "system_prompt");
    q.scope.system_prompt = SC_STR("\xc0\xaf");
    refused(&q, "system_prompt");
}

static void numbers_have_bounds_and_nan_is_none(void **state)
{
    (void)state;
    static const double bad[] = {-0.001, 2.001, NAN, INFINITY, -INFINITY};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        sc_question q = good();
        q.max_distance = bad[i];
        refused(&q, "max_distance");
        q = good();
        q.scope.temperature = bad[i];
        refused(&q, "temperature");
    }
    sc_question q = good();
    q.max_distance = 0;
    accepted(&q);
    q.max_distance = 2;
    accepted(&q);

    const struct {
        uint32_t k;
        bool     ok;
    } ks[] = {{0, false}, {1, true}, {SC_TOP_K_MAX, true}, {SC_TOP_K_MAX + 1, false}, {UINT32_MAX, false}};
    for (size_t i = 0; i < sizeof ks / sizeof ks[0]; i++) {
        q = good();
        q.top_k = ks[i].k;
        if (ks[i].ok)
            accepted(&q);
        else
            refused(&q, "top_k");
    }
    q = good();
    q.ef_runtime = 0;
    refused(&q, "ef_runtime");
    q.ef_runtime = SC_EF_RUNTIME_MAX + 1;
    refused(&q, "ef_runtime");
}

static void lives_are_bounded_by_the_setting(void **state)
{
    (void)state;
    static const int64_t bad[] = {0, -1, 1001, INT64_MAX, INT64_MIN};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        sc_question q = good();
        q.ttl_seconds = bad[i];
        refused(&q, "ttl_seconds");
    }
    sc_question q = good();
    q.ttl_seconds = 1000;
    accepted(&q);
    q.stale_seconds = -1;
    refused(&q, "stale_if_error_seconds");
    q.stale_seconds = SC_TTL_SECONDS_MAX + 1;
    refused(&q, "stale_if_error_seconds");
    /* Over the server's bound, not over anybody's: the bound counts, no error. */
    q.stale_seconds = 61;
    accepted(&q);
}

static void modes_outside_the_enum_are_refused(void **state)
{
    (void)state;
    sc_question q = good();
    q.mode = SC_MODE_COUNT;
    refused(&q, "cache_mode");
    q.mode = (sc_cache_mode)-1;
    refused(&q, "cache_mode");
}

static void turns_are_bounded_in_number_and_together(void **state)
{
    (void)state;
    sc_turn     turns[SC_TURNS_MAX + 1];
    sc_question q = good();
    for (size_t i = 0; i <= SC_TURNS_MAX; i++)
        turns[i] = (sc_turn){SC_STR("user"), {xs, 0}};
    q.scope.turns = turns;
    q.scope.turns_count = SC_TURNS_MAX;
    accepted(&q);
    q.scope.turns_count = SC_TURNS_MAX + 1;
    refused(&q, "turns");

    q.scope.turns_count = 2;
    turns[0].content = x(100);
    turns[1].content = x(100);
    accepted(&q);
    q.scope.system_prompt = x(1);
    refused(&q, "turns");
    q.scope.system_prompt = x(0);
    turns[1].content = SC_STR("\xed\xa0\x80"); /* half of a surrogate pair */
    refused(&q, "turns.content");
    turns[1] = (sc_turn){SC_STR(""), SC_STR("x")};
    refused(&q, "turns.role");
    turns[1].role = x(SC_ROLE_BYTES_MAX + 1);
    refused(&q, "turns.role");
}

static void tags_are_bounded_in_number_and_length(void **state)
{
    (void)state;
    sc_str      tags[SC_ENTRY_TAGS_MAX + 1];
    sc_question q = good();
    for (size_t i = 0; i <= SC_ENTRY_TAGS_MAX; i++)
        tags[i] = SC_STR("tag");
    q.tags = tags;
    q.tags_count = SC_ENTRY_TAGS_MAX;
    accepted(&q);
    q.tags_count = SC_ENTRY_TAGS_MAX + 1;
    refused(&q, "tags");
    q.tags_count = 1;
    tags[0] = SC_STR("");
    refused(&q, "tags");
    tags[0] = x(SC_TAG_BYTES_MAX + 1);
    refused(&q, "tags");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_ordinary_question_passes),
        cmocka_unit_test(the_prompt_must_be_there_within_bounds_and_text),
        cmocka_unit_test(scope_fields_have_bounds),
        cmocka_unit_test(numbers_have_bounds_and_nan_is_none),
        cmocka_unit_test(lives_are_bounded_by_the_setting),
        cmocka_unit_test(modes_outside_the_enum_are_refused),
        cmocka_unit_test(turns_are_bounded_in_number_and_together),
        cmocka_unit_test(tags_are_bounded_in_number_and_length),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
