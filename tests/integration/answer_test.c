/* The main road, from outside: a real server, a real Redis, a scripted upstream. */
#include "tests/support/cmocka.h"

#include <pthread.h>
#include <stdio.h>

#include "tests/support/world.h"

static int set_up(void **state)
{
    static sc_world here;
    sc_world_open(&here, 1, NULL);
    *state = &here;
    return 0;
}

/* The same question would be paid for twice. */
static void the_same_question_is_asked_of_the_llm_once(void **state)
{
    sc_world       *here = sc_world_of(state);
    sc_ask_request  request = sc_ask_init("What is our refund policy?");
    sc_ask_response *first = sc_ask(here->askers[0], &request, NULL);
    assert_int_equal(first->source, SEMCACHE__V1__SOURCE__SOURCE_LLM);
    assert_int_equal(first->decision, SEMCACHE__V1__DECISION__DECISION_MISS);
    assert_true(first->stored);
    assert_non_null(strstr(first->answer, "What is our refund policy?"));
    request.user_prompt = (char *)(uintptr_t) "  what is OUR refund\tpolicy ";
    sc_ask_response *again = sc_ask(here->askers[0], &request, NULL);
    assert_int_equal(again->source, SEMCACHE__V1__SOURCE__SOURCE_EXACT);
    assert_int_equal(again->reason, SEMCACHE__V1__REASON__REASON_SAME_KEY);
    assert_string_equal(again->answer, first->answer);
    assert_string_equal(again->entry_id, first->entry_id);
    assert_string_equal(again->matched_prompt, "What is our refund policy?");
    assert_true(again->expires_at_ms > again->created_at_ms);
    assert_int_equal(again->tokens_saved, first->usage->total_tokens);
    sc_ask_free(first);
    sc_ask_free(again);
}

/* The tutorial promises it, and its own regular expressions miss it. */
static void dates_do_not_make_two_questions(void **state)
{
    sc_world *here = sc_world_of(state);
    assert_int_equal(sc_ask_source(here->askers[0], "What was open on 2025-01-15?"),
                     SEMCACHE__V1__SOURCE__SOURCE_LLM);
    assert_int_equal(sc_ask_source(here->askers[0], "what was open on 2025-01-20?"),
                     SEMCACHE__V1__SOURCE__SOURCE_EXACT);
}

/* A paraphrase would be paid for. */
static void a_near_question_is_served_from_memory(void **state)
{
    sc_world *here = sc_world_of(state);
    sc_upstream_alias(here->upstream, "how long may i return it", "how long is the return window", 0.06);
    assert_int_equal(sc_ask_source(here->askers[0], "How long is the return window?"),
                     SEMCACHE__V1__SOURCE__SOURCE_LLM);
    sc_ask_request   request = sc_ask_init("How long may I return it?");
    sc_ask_response *hit = sc_ask(here->askers[0], &request, NULL);
    assert_int_equal(hit->source, SEMCACHE__V1__SOURCE__SOURCE_WARM);
    assert_int_equal(hit->reason, SEMCACHE__V1__REASON__REASON_WITHIN_DISTANCE);
    assert_float_equal(hit->distance, 0.06, 0.001);
    assert_float_equal(hit->similarity, 0.94, 0.001);
    assert_string_equal(hit->matched_prompt, "How long is the return window?");
    assert_non_null(strstr(hit->answer, "How long is the return window?"));
    sc_ask_free(hit);
}

/* Opposite or unrelated questions must not share an answer; and the caller learns how near it was. */
static void a_far_question_goes_to_the_llm_and_says_why(void **state)
{
    sc_world *here = sc_world_of(state);
    sc_upstream_alias(here->upstream, "is it not refundable", "is it refundable", 0.11);
    assert_int_equal(sc_ask_source(here->askers[0], "Is it refundable?"), SEMCACHE__V1__SOURCE__SOURCE_LLM);
    sc_ask_request   request = sc_ask_init("Is it not refundable?");
    sc_ask_response *miss = sc_ask(here->askers[0], &request, NULL);
    assert_int_equal(miss->source, SEMCACHE__V1__SOURCE__SOURCE_LLM);
    assert_int_equal(miss->reason, SEMCACHE__V1__REASON__REASON_TOO_FAR);
    assert_non_null(miss->nearest);
    assert_string_equal(miss->nearest->prompt, "Is it refundable?");
    assert_float_equal(miss->nearest->distance, 0.11, 0.001);
    sc_ask_free(miss);
    /* A wider threshold of the caller's own is its own decision. */
    sc_upstream_alias(here->upstream, "could it be refundable", "is it refundable", 0.11);
    request = sc_ask_init("Could it be refundable?");
    request.optional_max_distance_case = SEMCACHE__V1__ANSWER_REQUEST__OPTIONAL_MAX_DISTANCE_MAX_DISTANCE;
    request.max_distance = 0.12;
    sc_ask_response *hit = sc_ask(here->askers[0], &request, NULL);
    assert_int_equal(hit->source, SEMCACHE__V1__SOURCE__SOURCE_WARM);
    sc_ask_free(hit);
}

/* Whatever the caller allows: the words say that these are different questions. */
static void a_question_turned_round_is_never_a_hit(void **state)
{
    static const char *const asked[] = {"Are gifts not refundable?", "Are gifts nonrefundable?",
                                        "Are 2 gifts refundable?"};
    sc_world *here = sc_world_of(state);
    assert_int_equal(sc_ask_source(here->askers[0], "Are gifts refundable?"),
                     SEMCACHE__V1__SOURCE__SOURCE_LLM);
    for (size_t i = 0; i < sizeof asked / sizeof *asked; i++) {
        sc_ask_request request = sc_ask_init(asked[i]);
        request.optional_max_distance_case =
            SEMCACHE__V1__ANSWER_REQUEST__OPTIONAL_MAX_DISTANCE_MAX_DISTANCE;
        request.max_distance = 2;
        sc_ask_response *miss = sc_ask(here->askers[0], &request, NULL);
        assert_null(strstr(miss->answer, "Are gifts refundable?"));
        sc_ask_free(miss);
    }
}

/* Somebody would read the state of somebody else's order. */
static void another_order_number_is_another_question(void **state)
{
    sc_world *here = sc_world_of(state);
    assert_int_equal(sc_ask_source(here->askers[0], "Status of order 1234567?"),
                     SEMCACHE__V1__SOURCE__SOURCE_LLM);
    sc_ask_request   request = sc_ask_init("Status of order 7654321?");
    sc_ask_response *other = sc_ask(here->askers[0], &request, NULL);
    assert_int_equal(other->source, SEMCACHE__V1__SOURCE__SOURCE_LLM);
    assert_int_equal(other->reason, SEMCACHE__V1__REASON__REASON_VOLATILE_DIFFERS);
    assert_non_null(strstr(other->answer, "7654321"));
    sc_ask_free(other);
    assert_int_equal(sc_ask_source(here->askers[0], "status of order 1234567"),
                     SEMCACHE__V1__SOURCE__SOURCE_EXACT);
    assert_int_equal(sc_ask_source(here->askers[0], "status of order 7654321"),
                     SEMCACHE__V1__SOURCE__SOURCE_EXACT);
}

/* An answer of another model, system prompt, temperature, corpus, conversation or format. */
static void nothing_is_shared_between_scopes(void **state)
{
    sc_world       *here = sc_world_of(state);
    sc_ask_request  base = sc_ask_init("What is in scope?");
    sc_ask_free(sc_ask(here->askers[0], &base, NULL));
    Semcache__V1__Turn      turn = SEMCACHE__V1__TURN__INIT, *turns[] = {&turn};
    Semcache__V1__Parameter parameter = SEMCACHE__V1__PARAMETER__INIT, *parameters[] = {&parameter};
    turn.role = (char *)(uintptr_t) "user";
    turn.content = (char *)(uintptr_t) "hello";
    parameter.name = (char *)(uintptr_t) "logit_bias";
    parameter.json = (char *)(uintptr_t) "{\"1\": 2}";
    sc_ask_request others[8];
    for (size_t i = 0; i < 8; i++)
        others[i] = base;
    others[0].model = (char *)(uintptr_t) "another-model";
    others[1].system_prompt = (char *)(uintptr_t) "Answer in French.";
    others[2].optional_temperature_case = SEMCACHE__V1__ANSWER_REQUEST__OPTIONAL_TEMPERATURE_TEMPERATURE;
    others[2].temperature = 0.7;
    others[3].corpus_version = (char *)(uintptr_t) "v2";
    others[4].turns = turns;
    others[4].n_turns = 1;
    others[5].response_format = (char *)(uintptr_t) "{\"type\":\"json_object\"}";
    others[6].optional_max_tokens_case = SEMCACHE__V1__ANSWER_REQUEST__OPTIONAL_MAX_TOKENS_MAX_TOKENS;
    others[6].max_tokens = 5;
    others[7].parameters = parameters;
    others[7].n_parameters = 1;
    for (size_t i = 0; i < 8; i++) {
        sc_ask_response *response = sc_ask(here->askers[0], &others[i], NULL);
        assert_int_equal(response->source, SEMCACHE__V1__SOURCE__SOURCE_LLM);
        assert_int_equal(response->reason, SEMCACHE__V1__REASON__REASON_NO_CANDIDATE);
        sc_ask_free(response);
    }
    sc_ask_response *same = sc_ask(here->askers[0], &base, NULL);
    assert_int_equal(same->source, SEMCACHE__V1__SOURCE__SOURCE_EXACT);
    sc_ask_free(same);
}

static Semcache__V1__Source ask_in_mode(sc_world *here, const char *prompt,
                                        Semcache__V1__CacheMode mode, sc_outcome *outcome)
{
    sc_ask_request request = sc_ask_init(prompt);
    request.cache_mode = mode;
    sc_ask_response     *response = sc_ask(here->askers[0], &request, outcome);
    Semcache__V1__Source source =
        response == NULL ? SEMCACHE__V1__SOURCE__SOURCE_UNSPECIFIED : response->source;
    if (response != NULL)
        sc_ask_free(response);
    return source;
}

static void the_cache_modes_do_what_they_say(void **state)
{
    sc_world   *here = sc_world_of(state);
    const char *prompt = "Which mode is it?";
    sc_outcome  outcome;
    ask_in_mode(here, prompt, SEMCACHE__V1__CACHE_MODE__CACHE_MODE_ONLY_IF_CACHED, &outcome);
    assert_int_equal(outcome.status, SC_NOT_FOUND);
    assert_int_equal(ask_in_mode(here, prompt, SEMCACHE__V1__CACHE_MODE__CACHE_MODE_NO_STORE, NULL),
                     SEMCACHE__V1__SOURCE__SOURCE_LLM);
    ask_in_mode(here, prompt, SEMCACHE__V1__CACHE_MODE__CACHE_MODE_ONLY_IF_CACHED, &outcome);
    assert_int_equal(outcome.status, SC_NOT_FOUND);
    assert_int_equal(ask_in_mode(here, prompt, SEMCACHE__V1__CACHE_MODE__CACHE_MODE_DEFAULT, NULL),
                     SEMCACHE__V1__SOURCE__SOURCE_LLM);
    assert_int_equal(ask_in_mode(here, prompt, SEMCACHE__V1__CACHE_MODE__CACHE_MODE_ONLY_IF_CACHED, NULL),
                     SEMCACHE__V1__SOURCE__SOURCE_EXACT);
    assert_int_equal(ask_in_mode(here, prompt, SEMCACHE__V1__CACHE_MODE__CACHE_MODE_BYPASS, NULL),
                     SEMCACHE__V1__SOURCE__SOURCE_LLM);
    sc_ask_request   request = sc_ask_init(prompt);
    sc_ask_response *before = sc_ask(here->askers[0], &request, NULL);
    request.cache_mode = SEMCACHE__V1__CACHE_MODE__CACHE_MODE_REFRESH;
    sc_ask_response *refreshed = sc_ask(here->askers[0], &request, NULL);
    assert_int_equal(refreshed->source, SEMCACHE__V1__SOURCE__SOURCE_LLM);
    assert_string_equal(refreshed->entry_id, before->entry_id);
    request.cache_mode = SEMCACHE__V1__CACHE_MODE__CACHE_MODE_DEFAULT;
    sc_ask_response *after = sc_ask(here->askers[0], &request, NULL);
    assert_int_equal(after->source, SEMCACHE__V1__SOURCE__SOURCE_EXACT);
    assert_int_equal(after->created_at_ms, refreshed->created_at_ms);
    sc_ask_free(before);
    sc_ask_free(refreshed);
    sc_ask_free(after);
}

/* ---- many at once ------------------------------------------------------------------------- */

enum { CROWD = 64 };

typedef struct {
    sc_world            *here;
    char                 prompt[64];
    Semcache__V1__Source source;
} member;

static void *ask_once(void *arg)
{
    member *m = arg;
    m->source = sc_ask_source(m->here->askers[0], m->prompt);
    return NULL;
}

static void ask_together(member *crowd)
{
    pthread_t threads[CROWD];
    for (size_t i = 0; i < CROWD; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, ask_once, &crowd[i]), 0);
    for (size_t i = 0; i < CROWD; i++)
        pthread_join(threads[i], NULL);
}

/* A popular question that expires would cost 64 LLM calls at once. */
static void a_stampede_costs_one_embedding_and_one_llm_call(void **state)
{
    sc_world            *here = sc_world_of(state);
    sc_upstream_counters before, after;
    member               crowd[CROWD];
    assert_true(sc_upstream_control(here->upstream, "{\"chat\": {\"delay_ms\": 500}, \"embeddings\": {\"delay_ms\": 200}}"));
    sc_upstream_look(here->upstream, &before);
    for (size_t i = 0; i < CROWD; i++) {
        crowd[i] = (member){.here = here};
        snprintf(crowd[i].prompt, sizeof crowd[i].prompt, "What does everybody ask?");
    }
    ask_together(crowd);
    sc_upstream_look(here->upstream, &after);
    assert_true(sc_upstream_control(here->upstream, "{\"chat\": {}, \"embeddings\": {}}"));
    assert_int_equal(after.chat_calls - before.chat_calls, 1);
    assert_int_equal(after.embeddings_texts - before.embeddings_texts, 1);
    size_t by_llm = 0, joined = 0, late = 0;
    for (size_t i = 0; i < CROWD; i++) {
        by_llm += crowd[i].source == SEMCACHE__V1__SOURCE__SOURCE_LLM;
        joined += crowd[i].source == SEMCACHE__V1__SOURCE__SOURCE_JOINED;
        late += crowd[i].source == SEMCACHE__V1__SOURCE__SOURCE_EXACT;
    }
    assert_int_equal(by_llm, 1);
    /* On a busy machine a caller may come only when the answer is there already. */
    assert_int_equal(joined + late, CROWD - 1);
    assert_in_range(joined, CROWD / 2, CROWD - 1);
}

/* Each text would cost a round trip of its own. */
static void different_questions_share_embedding_calls(void **state)
{
    sc_world            *here = sc_world_of(state);
    sc_upstream_counters before, after;
    member               crowd[CROWD];
    assert_true(sc_upstream_control(here->upstream, "{\"embeddings\": {\"delay_ms\": 50}}"));
    sc_upstream_look(here->upstream, &before);
    for (size_t i = 0; i < CROWD; i++) {
        crowd[i] = (member){.here = here};
        snprintf(crowd[i].prompt, sizeof crowd[i].prompt, "What is topic %zu about?", i);
    }
    ask_together(crowd);
    sc_upstream_look(here->upstream, &after);
    assert_true(sc_upstream_control(here->upstream, "{\"embeddings\": {}}"));
    assert_int_equal(after.embeddings_texts - before.embeddings_texts, CROWD);
    assert_in_range(after.embeddings_calls - before.embeddings_calls, 1, CROWD / 2);
}

/* ---- what is not kept --------------------------------------------------------------------------- */

static void expect_not_kept(sc_world *here, const char *prompt, const char *script, bool answered)
{
    sc_outcome     outcome;
    sc_ask_request request = sc_ask_init(prompt);
    assert_true(sc_upstream_control(here->upstream, script));
    sc_ask_response *response = sc_ask(here->askers[0], &request, &outcome);
    assert_true(sc_upstream_control(here->upstream, "{\"chat\": {}}"));
    assert_int_equal(response != NULL, answered);
    if (response != NULL) {
        assert_false(response->stored);
        assert_string_equal(response->entry_id, "");
        sc_ask_free(response);
    } else {
        assert_true(outcome.status == SC_UNAVAILABLE || outcome.status == SC_TIMEOUT);
        assert_true(strlen(outcome.text) > 0);
    }
    ask_in_mode(here, prompt, SEMCACHE__V1__CACHE_MODE__CACHE_MODE_ONLY_IF_CACHED, &outcome);
    assert_int_equal(outcome.status, SC_NOT_FOUND);
}

/* A cut-off or failed answer would be served for a day. */
static void only_good_answers_are_kept(void **state)
{
    sc_world *here = sc_world_of(state);
    expect_not_kept(here, "Bad one?", "{\"chat\": {\"finish_reason\": \"length\"}}", true);
    expect_not_kept(here, "Bad two?", "{\"chat\": {\"finish_reason\": \"content_filter\"}}", true);
    expect_not_kept(here, "Bad three?", "{\"chat\": {\"fault\": \"no_choices\"}}", false);
    expect_not_kept(here, "Bad four?", "{\"chat\": {\"fault\": \"not_json\"}}", false);
    expect_not_kept(here, "Bad five?", "{\"chat\": {\"status\": 500}}", false);
    expect_not_kept(here, "Bad six?", "{\"chat\": {\"fault\": \"cut\"}}", false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_question_is_asked_of_the_llm_once),
        cmocka_unit_test(dates_do_not_make_two_questions),
        cmocka_unit_test(a_near_question_is_served_from_memory),
        cmocka_unit_test(a_far_question_goes_to_the_llm_and_says_why),
        cmocka_unit_test(another_order_number_is_another_question),
        cmocka_unit_test(a_question_turned_round_is_never_a_hit),
        cmocka_unit_test(nothing_is_shared_between_scopes),
        cmocka_unit_test(the_cache_modes_do_what_they_say),
        cmocka_unit_test(a_stampede_costs_one_embedding_and_one_llm_call),
        cmocka_unit_test(different_questions_share_embedding_calls),
        cmocka_unit_test(only_good_answers_are_kept),
    };
    return cmocka_run_group_tests(tests, set_up, sc_world_tear_down);
}
