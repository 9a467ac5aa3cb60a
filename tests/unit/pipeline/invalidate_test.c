/* When an invalidation returns, this server serves none of what it was about; not even what was
 * being read or thought of meanwhile. */
#include "src/pipeline/work.h"

#include <stdio.h>
#include <stdlib.h>

#include "tests/support/pipeline_rig.h"

typedef struct {
    sc_invalidation invalidation;
    atomic_int      finished;
} removal;

static void on_finished(sc_invalidation *invalidation)
{
    atomic_fetch_add(&SC_CONTAINER(invalidation, removal, invalidation)->finished, 1);
}

static void begin(removal *rm, rig *r, const sc_store_filter *filter, bool dry_run)
{
    *rm = (removal){.invalidation = {.store = {.filter = *filter, .dry_run = dry_run},
                                     .finished = on_finished}};
    sc_pipeline_invalidate(r->pipeline, &rm->invalidation);
}

static uint64_t end(removal *rm)
{
    EVENTUALLY(atomic_load(&rm->finished) == 1);
    assert_int_equal(rm->invalidation.store.call.status, SC_OK);
    uint64_t removed = rm->invalidation.store.removed;
    sc_invalidation_fini(&rm->invalidation);
    return removed;
}

static const sc_store_filter everything = {.any_tenant = true};

static uint64_t invalidate_all(rig *r)
{
    removal rm;
    begin(&rm, r, &everything, false);
    return end(&rm);
}

static void what_is_invalidated_is_served_by_no_tier(void **state)
{
    (void)state;
    rig r;
    rig_open(&r, NULL);
    fake_embed_put(&r.embed, "near it", "it", 0.05F);
    rig_teach(&r, "it");
    assert_int_equal(invalidate_all(&r), 1);
    assert_int_equal(ask_once_as(&r, "it", SC_MODE_ONLY_IF_CACHED).status, SC_NOT_FOUND);
    assert_int_equal(ask_once_as(&r, "near it", SC_MODE_ONLY_IF_CACHED).status, SC_NOT_FOUND);
    assert_int_equal(fake_store_documents(&r.store), 0);
    rig_teach(&r, "it"); /* and may be learnt again */
    rig_close(&r);
}

static void a_dry_run_changes_nothing(void **state)
{
    (void)state;
    rig     r;
    removal rm;
    rig_open(&r, NULL);
    rig_teach(&r, "a");
    rig_teach(&r, "b");
    begin(&rm, &r, &everything, true);
    assert_int_equal(rm.invalidation.store.examples_count, 2);
    assert_int_equal(end(&rm), 2);
    assert_int_equal(ask_once(&r, "a").source, SC_SOURCE_EXACT);
    assert_int_equal(fake_store_documents(&r.store), 2);
    rig_close(&r);
}

static void only_what_matches_goes(void **state)
{
    (void)state;
    rig     r;
    removal rm;
    rig_open(&r, NULL);
    rig_teach(&r, "a");
    rig_teach(&r, "b");
    sc_digest       id = rig_key(&r, "a");
    sc_store_filter filter = {.tenant = SC_STR("t"), .ids = &id, .ids_count = 1};
    begin(&rm, &r, &filter, false);
    assert_int_equal(end(&rm), 1);
    assert_int_equal(ask_once(&r, "b").source, SC_SOURCE_EXACT);
    assert_int_equal(ask_once(&r, "a").source, SC_SOURCE_LLM);
    /* Another tenant has no say. */
    filter.tenant = SC_STR("u");
    begin(&rm, &r, &filter, false);
    assert_int_equal(end(&rm), 0);
    assert_int_equal(ask_once(&r, "a").source, SC_SOURCE_EXACT);
    rig_close(&r);
}

/* The store is away: it says so, and memory forgets all the same. */
static void what_only_memory_has_is_forgotten_too(void **state)
{
    (void)state;
    rig     r;
    removal rm;
    rig_open(&r, NULL);
    atomic_store(&r.store.status, SC_UNAVAILABLE);
    rig_teach(&r, "q");
    assert_int_equal(ask_once(&r, "q").source, SC_SOURCE_EXACT);
    begin(&rm, &r, &everything, false);
    EVENTUALLY(atomic_load(&rm.finished) == 1);
    assert_int_equal(rm.invalidation.store.call.status, SC_UNAVAILABLE);
    sc_invalidation_fini(&rm.invalidation);
    assert_int_equal(ask_once(&r, "q").source, SC_SOURCE_LLM);
    rig_close(&r);
}

static void by_meaning_the_prompt_is_embedded_first(void **state)
{
    (void)state;
    rig     r;
    removal rm;
    rig_open(&r, NULL);
    fake_embed_put(&r.embed, "near it", "it", 0.05F);
    rig_teach(&r, "near it");
    rig_teach(&r, "elsewhere");
    sc_store_filter filter = {.any_tenant = true, .near_distance_max = 0.1F};
    rm = (removal){.invalidation = {.store = {.filter = filter},
                                    .near_text = SC_STR("It?"),
                                    .finished = on_finished}};
    sc_pipeline_invalidate(r.pipeline, &rm.invalidation);
    assert_int_equal(end(&rm), 1);
    assert_int_equal(ask_once(&r, "elsewhere").source, SC_SOURCE_EXACT);
    assert_int_equal(ask_once_as(&r, "near it", SC_MODE_ONLY_IF_CACHED).status, SC_NOT_FOUND);

    /* Without a vector nothing is removed, rather than something else. */
    atomic_store(&r.embed.status, SC_UNAVAILABLE);
    rm = (removal){.invalidation = {.store = {.filter = filter},
                                    .near_text = SC_STR("somewhere"),
                                    .finished = on_finished}};
    sc_pipeline_invalidate(r.pipeline, &rm.invalidation);
    EVENTUALLY(atomic_load(&rm.finished) == 1);
    assert_int_equal(rm.invalidation.store.call.status, SC_UNAVAILABLE);
    sc_invalidation_fini(&rm.invalidation);
    assert_int_equal(ask_once(&r, "elsewhere").source, SC_SOURCE_EXACT);
    rig_close(&r);
}

/* ---- meanwhile ---------------------------------------------------------------------------------- */

static void start_and_wait_for_llm(ask *a, rig *r, const char *prompt)
{
    atomic_store(&r->llm.hold, true);
    ask_init(a, r, prompt);
    ask_go(a);
    EVENTUALLY(atomic_load(&r->llm.waiting_count) == 1);
}

static void let_it_answer(ask *a, rig *r, bool expect_stored)
{
    atomic_store(&r->llm.hold, false);
    fake_llm_let_go(&r->llm);
    ask_outcome outcome = ask_outcome_of(a);
    assert_int_equal(outcome.source, SC_SOURCE_LLM);
    assert_int_equal(outcome.stored, expect_stored);
    assert_int_equal(fake_store_documents(&r->store), expect_stored ? 1 : 0);
    sc_warm_stats stats;
    sc_warm_look(r->warm, &stats);
    assert_int_equal(stats.entries, expect_stored ? 1 : 0);
}

static void an_answer_that_was_thought_of_before_an_invalidation_is_not_kept(void **state)
{
    (void)state;
    enum { WHOLE, BEGINS, ENDS, SPANS, CLEARED, DRY, BEFORE, WAYS };
    for (int way = 0; way < WAYS; way++) {
        rig     r;
        ask     a;
        removal rm;
        rig_open(&r, NULL);
        atomic_store(&r.store.hold[FAKE_INVALIDATE], true);
        if (way == ENDS || way == SPANS || way == BEFORE)
            begin(&rm, &r, &everything, false);
        if (way == BEFORE) {
            fake_store_let_go(&r.store);
            end(&rm);
        }
        start_and_wait_for_llm(&a, &r, "q");
        if (way == WHOLE || way == BEGINS || way == DRY)
            begin(&rm, &r, &everything, way == DRY);
        if (way == WHOLE || way == ENDS || way == DRY) {
            fake_store_let_go(&r.store);
            end(&rm);
        }
        if (way == CLEARED)
            r.feed.cleared(r.feed.context);
        let_it_answer(&a, &r, way == DRY || way == BEFORE);
        if (way == BEGINS || way == SPANS) {
            fake_store_let_go(&r.store);
            end(&rm);
        }
        rig_close(&r);
    }
}

/* The store answered with the entry; then it was invalidated; then came the embedding, for
 * which the flight had been waiting before it put the entry into memory. */
static void an_entry_read_before_its_invalidation_does_not_come_back(void **state)
{
    (void)state;
    enum { INVALIDATED, REMOVED, CLEARED, REPLACED, UNTOUCHED, WAYS };
    for (int way = 0; way < WAYS; way++) {
        rig r;
        ask a;
        rig_open(&r, NULL);
        ask_init(&a, &r, "q");
        sc_digest       id = rig_key(&r, "q");
        sc_entry_fields fields = {.id = id, .scope = sc_scope_digest(&a.request.question.scope),
                                  .version = 3, .expires = {INT64_MAX}, .answer = SC_STR("old")};
        sc_entry       *old = sc_entry_make(&fields);
        fields.version = 4;
        fields.answer = SC_STR("new");
        sc_entry *replacement = sc_entry_make(&fields);
        fake_store_add(&r.store, old, NULL);
        atomic_store(&r.embed.hold, true);
        ask_go(&a);
        ask_wait(&a);
        assert_string_equal(ask_text(&a).ptr, "old");
        assert_int_equal(atomic_load(&r.embed.held_count), 1);

        if (way == INVALIDATED)
            assert_int_equal(invalidate_all(&r), 1);
        if (way == REMOVED) /* by another server */
            r.feed.removed(r.feed.context, &id);
        if (way == CLEARED)
            r.feed.cleared(r.feed.context);
        if (way == REPLACED)
            r.feed.put(r.feed.context, replacement, NULL);
        fake_embed_let_go(&r.embed);
        ask_end(&a);
        uint64_t expected = way == REPLACED ? 4 : way == UNTOUCHED ? 3 : 0;
        assert_int_equal(sc_warm_version(r.warm, &id), expected);
        atomic_store(&r.embed.hold, false);
        sc_entry_unref(old);
        sc_entry_unref(replacement);
        rig_close(&r);
    }
}

static void add_odd(rig *r)
{
    ask a;
    ask_init(&a, r, "odd");
    sc_entry_fields fields = {.id = rig_key(r, "odd"),
                              .scope = sc_scope_digest(&a.request.question.scope),
                              .tenant = SC_STR("t"),
                              .version = 3,
                              .expires = {INT64_MAX},
                              .answer = SC_STR("odd answer")};
    sc_entry       *entry = sc_entry_make(&fields);
    fake_store_add(&r->store, entry, NULL);
    sc_entry_unref(entry);
}

/* The flight has read, the reply is on its way; the invalidation returns; then somebody asks, and
 * joins the flight. What was about something else costs another look, and no LLM call. */
static void who_asks_after_an_invalidation_is_not_served_what_was_read_before(void **state)
{
    (void)state;
    enum { BY_KEY, BY_MEANING, VERIFIED_KEY, VERIFIED, WAYS };
    static const fake_store_op ops[WAYS] = {FAKE_GET, FAKE_SEARCH, FAKE_VERIFY, FAKE_VERIFY};
    static const char *const   prompts[WAYS] = {"odd", "near it", "it", "near it"};
    for (int way = 0; way < WAYS * 2; way++) {
        rig                 r;
        ask                 before, after;
        removal             rm;
        bool                concerned = way < WAYS;
        int                 kind = way % WAYS;
        sc_pipeline_options options = rig_options();
        options.verify = kind >= VERIFIED_KEY ? SC_VERIFY_ALWAYS : SC_VERIFY_FEED;
        rig_open(&r, &options);
        fake_embed_put(&r.embed, "near it", "it", 0.05F);
        fake_embed_put_note(&r.embed, "odd", SC_EMBED_TRUNCATED);
        rig_teach(&r, "it");
        if (kind <= BY_MEANING)
            sc_warm_clear(r.warm);
        if (kind == BY_KEY) /* by nothing else, and while the text is embedded */
            add_odd(&r);
        atomic_store(&r.embed.hold, kind == BY_KEY);
        atomic_store(&r.store.late[ops[kind]], true);
        ask_init(&before, &r, prompts[kind]);
        ask_init(&after, &r, prompts[kind]);
        ask_go(&before);
        EVENTUALLY(atomic_load(&r.store.held_count) == 1);
        sc_store_filter filter = {.tenant = concerned ? SC_STR("t") : SC_STR("u")};
        begin(&rm, &r, &filter, false);
        assert_int_equal(end(&rm), !concerned ? 0 : kind == BY_KEY ? 2 : 1);
        ask_go(&after);
        atomic_store(&r.store.late[ops[kind]], false);
        fake_store_let_go(&r.store);
        fake_embed_let_go(&r.embed);
        ask_wait(&before);
        ask_outcome outcome = ask_outcome_of(&after);
        if (concerned) {
            assert_int_equal(atomic_load(&r.llm.asked), 2);
            assert_int_equal(outcome.source, SC_SOURCE_JOINED);
        } else {
            assert_int_equal(atomic_load(&r.llm.asked), 1);
            assert_string_equal(outcome.text,
                                kind == BY_KEY ? "odd answer" : "answer to [it] by [m] told [s]");
        }
        ask_end(&before);
        rig_close(&r);
    }
}

/* The put travels on another road than the search for what to remove. */
static void an_invalidation_waits_for_what_is_being_written(void **state)
{
    (void)state;
    rig     r;
    removal rm;
    rig_open(&r, NULL);
    atomic_store(&r.store.hold[FAKE_PUT], true);
    ask a;
    ask_init(&a, &r, "q");
    ask_go(&a);
    ask_wait(&a);
    assert_true(a.request.answer.stored);
    EVENTUALLY(atomic_load(&r.store.held_count) == 1);
    begin(&rm, &r, &everything, false);
    assert_int_equal(atomic_load(&rm.finished), 0);
    assert_int_equal(atomic_load(&r.store.calls[FAKE_INVALIDATE]), 0);
    fake_store_let_go(&r.store);
    assert_int_equal(end(&rm), 1);
    assert_int_equal(fake_store_documents(&r.store), 0);
    ask_end(&a);
    assert_int_equal(ask_once_as(&r, "q", SC_MODE_ONLY_IF_CACHED).status, SC_NOT_FOUND);
    rig_close(&r);
}

/* ---- many threads --------------------------------------------------------------------------------- */

enum { KEYS = 4, TEACHERS = 4, ROUNDS = 1500 };

static rig         storm;
static atomic_uint era; /* the LLM's answers are of the era in which they were asked for */
static atomic_bool over;

static char era_text[256][8];

static void *ask_for_ever(void *argument)
{
    static const char *const prompts[KEYS] = {"qa", "qb", "qc", "qd"};
    uintptr_t                wrong = 0;
    size_t                   i = (size_t)(uintptr_t)argument;
    while (!atomic_load(&over)) {
        unsigned    before = atomic_load(&era);
        ask_outcome outcome = ask_once(&storm, prompts[i++ % KEYS]);
        unsigned    of = (unsigned)atoi(outcome.text);
        /* An invalidation that had returned before the question was asked holds. JOINED may follow
         * a call that was made before it. */
        if (outcome.status != SC_OK || (of < before && outcome.source != SC_SOURCE_JOINED))
            wrong++;
    }
    return (void *)wrong;
}

/* The LLM is told the era; then everything of the eras before is invalidated; then nobody may be
 * served an answer of an era before. */
static void under_many_threads_nothing_invalidated_is_served(void **state)
{
    (void)state;
    pthread_t threads[TEACHERS];
    rig_open(&storm, NULL);
    atomic_store(&storm.store.echo, true);
    atomic_store(&storm.store.delay_us, 100);
    atomic_store(&storm.llm.delay_us, 100);
    for (unsigned i = 0; i < 256; i++)
        snprintf(era_text[i], sizeof era_text[i], "%u", i);
    atomic_store(&storm.llm.text, era_text[0]);
    for (uintptr_t i = 0; i < TEACHERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, ask_for_ever, (void *)i), 0);
    for (unsigned now = 1; now < 256; now++) {
        atomic_store(&storm.llm.text, era_text[now]);
        invalidate_all(&storm);
        atomic_store(&era, now);
        usleep(1000);
    }
    atomic_store(&over, true);
    for (size_t i = 0; i < TEACHERS; i++) {
        void *wrong;
        pthread_join(threads[i], &wrong);
        assert_null(wrong);
    }
    rig_close(&storm);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_invalidated_is_served_by_no_tier),
        cmocka_unit_test(a_dry_run_changes_nothing),
        cmocka_unit_test(only_what_matches_goes),
        cmocka_unit_test(what_only_memory_has_is_forgotten_too),
        cmocka_unit_test(by_meaning_the_prompt_is_embedded_first),
        cmocka_unit_test(an_answer_that_was_thought_of_before_an_invalidation_is_not_kept),
        cmocka_unit_test(an_entry_read_before_its_invalidation_does_not_come_back),
        cmocka_unit_test(who_asks_after_an_invalidation_is_not_served_what_was_read_before),
        cmocka_unit_test(an_invalidation_waits_for_what_is_being_written),
        cmocka_unit_test(under_many_threads_nothing_invalidated_is_served),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
