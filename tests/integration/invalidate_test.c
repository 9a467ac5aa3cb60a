/* Taking answers back: each criterion removes what it names, and nothing else. */
#include "tests/support/cmocka.h"

#include <stdlib.h>
#include <unistd.h>

#include "tests/support/world.h"

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

static sc_invalidate_request nothing(void)
{
    return (sc_invalidate_request)SEMCACHE__V1__INVALIDATE_REQUEST__INIT;
}

static uint64_t removed(sc_world *here, const sc_invalidate_request *request)
{
    sc_invalidate_response *response = sc_ask_invalidate(here->askers[0], request, NULL);
    uint64_t                count = response->removed;
    sc_invalidate_free(response);
    return count;
}

/* Four entries that differ in every respect that a criterion can name. */
typedef struct {
    sc_ask_request request;
    char           id[80];
} stored;

static stored entries[4];

static bool is_cached(sc_world *here, size_t i)
{
    sc_outcome     outcome;
    sc_ask_request request = entries[i].request;
    request.cache_mode = SEMCACHE__V1__CACHE_MODE__CACHE_MODE_ONLY_IF_CACHED;
    sc_ask_response *response = sc_ask(here->askers[0], &request, &outcome);
    if (response == NULL)
        assert_int_equal(outcome.status, SC_NOT_FOUND);
    else
        sc_ask_free(response);
    return response != NULL;
}

static void expect_cached(sc_world *here, const char *pattern)
{
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(is_cached(here, i), pattern[i] == 'x');
}

static sc_world *fill(void **state)
{
    static char *red[] = {(char *)(uintptr_t) "red"};
    static char *both[] = {(char *)(uintptr_t) "red", (char *)(uintptr_t) "blue"};
    sc_world    *here = *state;
    if (here->redis == NULL)
        skip();
    sc_invalidate_request everything = nothing();
    everything.all = true;
    removed(here, &everything);
    entries[0].request = sc_ask_init("What is the first thing?");
    entries[1].request = sc_ask_init("What is the second thing?");
    entries[1].request.model = text("other-model");
    entries[1].request.tags = red;
    entries[1].request.n_tags = 1;
    entries[2].request = sc_ask_init("What is the third thing?");
    entries[2].request.corpus_version = text("v9");
    entries[2].request.tags = both;
    entries[2].request.n_tags = 2;
    entries[3].request = sc_ask_init("What is the fourth thing?");
    entries[3].request.system_prompt = text("Be brief.");
    for (size_t i = 0; i < 4; i++) {
        sc_ask_response *response = sc_ask(here->askers[0], &entries[i].request, NULL);
        assert_true(response->stored);
        strcpy(entries[i].id, response->entry_id);
        sc_ask_free(response);
    }
    /* The writes are on their way; an invalidation counts what Redis has. */
    while (sc_test_redis_integer(here->redis, "DBSIZE") < 4)
        usleep(1000);
    expect_cached(here, "xxxx");
    return here;
}

static void by_id(void **state)
{
    sc_world             *here = fill(state);
    char                 *ids[] = {entries[1].id, entries[3].id};
    sc_invalidate_request request = nothing();
    request.entry_ids = ids;
    request.n_entry_ids = 2;
    assert_int_equal(removed(here, &request), 2);
    expect_cached(here, "x-x-");
}

static void by_exact_prompt(void **state)
{
    sc_world                  *here = fill(state);
    Semcache__V1__ExactPrompt  exact = SEMCACHE__V1__EXACT_PROMPT__INIT;
    sc_invalidate_request      request = nothing();
    sc_ask_request             question = sc_ask_init("what IS the second thing");
    question.model = text("other-model");
    exact.question = &question;
    request.exact = &exact;
    assert_int_equal(removed(here, &request), 1);
    expect_cached(here, "x-xx");
}

static void by_scope_fields(void **state)
{
    sc_world             *here = fill(state);
    sc_invalidate_request request = nothing();
    request.model = text("other-model");
    assert_int_equal(removed(here, &request), 1);
    expect_cached(here, "x-xx");
    request = nothing();
    request.corpus_version = text("v9");
    assert_int_equal(removed(here, &request), 1);
    expect_cached(here, "x--x");
    request = nothing();
    request.optional_system_prompt_case =
        SEMCACHE__V1__INVALIDATE_REQUEST__OPTIONAL_SYSTEM_PROMPT_SYSTEM_PROMPT;
    request.system_prompt = text("Be brief.");
    assert_int_equal(removed(here, &request), 1);
    expect_cached(here, "x---");
}

static void by_tags_which_must_all_be_there(void **state)
{
    static char          *words[] = {(char *)(uintptr_t) "blue", (char *)(uintptr_t) "red"};
    sc_world             *here = fill(state);
    sc_invalidate_request request = nothing();
    request.tags = words;
    request.n_tags = 2;
    assert_int_equal(removed(here, &request), 1);
    expect_cached(here, "xx-x");
    request.tags = words + 1;
    request.n_tags = 1;
    assert_int_equal(removed(here, &request), 1);
    expect_cached(here, "x--x");
}

static void by_age(void **state)
{
    sc_world             *here = fill(state);
    sc_invalidate_request request = nothing();
    request.optional_older_than_seconds_case =
        SEMCACHE__V1__INVALIDATE_REQUEST__OPTIONAL_OLDER_THAN_SECONDS_OLDER_THAN_SECONDS;
    request.older_than_seconds = 60;
    assert_int_equal(removed(here, &request), 0);
    expect_cached(here, "xxxx");
    usleep(2000);
    request.older_than_seconds = 0;
    assert_int_equal(removed(here, &request), 4);
    expect_cached(here, "----");
}

static void by_meaning(void **state)
{
    sc_world             *here = fill(state);
    Semcache__V1__Meaning meaning = SEMCACHE__V1__MEANING__INIT;
    sc_invalidate_request request = nothing();
    sc_upstream_alias(here->upstream, "about the third thing", "what is the third thing", 0.2);
    meaning.prompt = text("About the third thing!");
    meaning.max_distance = 0.1;
    request.meaning = &meaning;
    assert_int_equal(removed(here, &request), 0);
    meaning.max_distance = 0.25;
    assert_int_equal(removed(here, &request), 1);
    expect_cached(here, "xx-x");
}

/* AND, not OR: a narrow request must not remove more than either criterion alone. */
static void criteria_combine_with_and(void **state)
{
    sc_world             *here = fill(state);
    static char          *red[] = {(char *)(uintptr_t) "red"};
    sc_invalidate_request request = nothing();
    request.tags = red;
    request.n_tags = 1;
    request.model = text("other-model");
    assert_int_equal(removed(here, &request), 1);
    expect_cached(here, "x-xx");
    char *ids[] = {entries[0].id};
    request = nothing();
    request.entry_ids = ids;
    request.n_entry_ids = 1;
    request.corpus_version = text("v9");
    assert_int_equal(removed(here, &request), 0);
    expect_cached(here, "x-xx");
}

static void a_dry_run_counts_and_shows_and_removes_nothing(void **state)
{
    sc_world             *here = fill(state);
    static char          *red[] = {(char *)(uintptr_t) "red"};
    sc_invalidate_request request = nothing();
    request.tags = red;
    request.n_tags = 1;
    request.dry_run = true;
    sc_invalidate_response *response = sc_ask_invalidate(here->askers[0], &request, NULL);
    assert_int_equal(response->removed, 2);
    assert_int_equal(response->n_examples, 2);
    for (size_t i = 0; i < 2; i++) {
        const Semcache__V1__EntrySummary *example = response->examples[i];
        size_t                            which = strcmp(example->entry_id, entries[1].id) == 0 ? 1 : 2;
        assert_string_equal(example->entry_id, entries[which].id);
        assert_string_equal(example->prompt, entries[which].request.user_prompt);
        assert_int_equal(example->n_tags, which);
        assert_true(example->expires_at_ms > example->created_at_ms);
        assert_true(example->answer_bytes > 0);
    }
    sc_invalidate_free(response);
    expect_cached(here, "xxxx");
}

static void everything_needs_to_be_said(void **state)
{
    sc_world             *here = fill(state);
    sc_outcome            outcome;
    sc_invalidate_request request = nothing();
    assert_null(sc_ask_invalidate(here->askers[0], &request, &outcome));
    assert_int_equal(outcome.status, SC_INVALID);
    assert_non_null(strstr(outcome.text, "all = true"));
    expect_cached(here, "xxxx");
    request.all = true;
    request.model = text("other-model");
    assert_null(sc_ask_invalidate(here->askers[0], &request, &outcome));
    assert_int_equal(outcome.status, SC_INVALID);
    request = nothing();
    request.all = true;
    assert_int_equal(removed(here, &request), 4);
    expect_cached(here, "----");
}

static void what_cannot_be_a_criterion_is_refused(void **state)
{
    sc_world             *here = fill(state);
    sc_outcome            outcome;
    Semcache__V1__Meaning meaning = SEMCACHE__V1__MEANING__INIT;
    char                 *ids[] = {(char *)(uintptr_t) "xyz"};
    sc_invalidate_request request = nothing();
    request.entry_ids = ids;
    request.n_entry_ids = 1;
    assert_null(sc_ask_invalidate(here->askers[0], &request, &outcome));
    assert_non_null(strstr(outcome.text, "entry_ids: number 1 is not 64 hex digits"));
    request = nothing();
    meaning.prompt = text("a");
    meaning.max_distance = 0;
    request.meaning = &meaning;
    assert_null(sc_ask_invalidate(here->askers[0], &request, &outcome));
    assert_non_null(strstr(outcome.text, "meaning.max_distance: 0 is outside 0 (excluded) to 2"));
    expect_cached(here, "xxxx");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(by_id),
        cmocka_unit_test(by_exact_prompt),
        cmocka_unit_test(by_scope_fields),
        cmocka_unit_test(by_tags_which_must_all_be_there),
        cmocka_unit_test(by_age),
        cmocka_unit_test(by_meaning),
        cmocka_unit_test(criteria_combine_with_and),
        cmocka_unit_test(a_dry_run_counts_and_shows_and_removes_nothing),
        cmocka_unit_test(everything_needs_to_be_said),
        cmocka_unit_test(what_cannot_be_a_criterion_is_refused),
    };
    return cmocka_run_group_tests(tests, set_up, sc_world_tear_down);
}
