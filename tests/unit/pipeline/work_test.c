/* What a flight does: sharing, hits by meaning, modes, and what may be kept. */
#include "src/pipeline/work.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/support/pipeline_rig.h"

static uint64_t answered(rig *r, sc_source source)
{
    return sc_counter_total(&sc_pipeline_metrics_of(r->pipeline)->answered[source]);
}

static void start_at(ask *a, rig *r, const char *prompt, double max_distance)
{
    ask_init(a, r, prompt);
    a->request.question.max_distance = max_distance;
    ask_go(a);
}

static ask_outcome ask_at(rig *r, const char *prompt, double max_distance)
{
    ask a;
    start_at(&a, r, prompt, max_distance);
    return ask_outcome_of(&a);
}

/* ---- sharing ----------------------------------------------------------------------------------- */

typedef struct {
    rig        *r;
    ask         asks[8];
    const char *prompt;
} eight;

static void *ask_eight(void *argument)
{
    eight *e = argument;
    for (size_t i = 0; i < 8; i++) {
        ask_init(&e->asks[i], e->r, e->prompt);
        ask_go(&e->asks[i]);
    }
    return NULL;
}

static void sixty_four_at_once_are_one_embedding_and_one_llm_call(void **state)
{
    (void)state;
    rig r;
    rig_open(&r, NULL);
    atomic_store(&r.embed.delay_us, 20000);
    atomic_store(&r.llm.hold, true);
    eight    *all = calloc(8, sizeof *all);
    pthread_t threads[8];
    for (size_t i = 0; i < 8; i++) {
        all[i].r = &r;
        all[i].prompt = i % 2 ? "The Question?" : "the  question";
        assert_int_equal(pthread_create(&threads[i], NULL, ask_eight, &all[i]), 0);
    }
    for (size_t i = 0; i < 8; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(sc_pipeline_flights(r.pipeline), 1);
    EVENTUALLY(atomic_load(&r.llm.waiting_count) == 1);
    atomic_store(&r.llm.hold, false);
    fake_llm_let_go(&r.llm);
    unsigned joined = 0, led = 0, saved = 0;
    for (size_t i = 0; i < 64; i++) {
        ask *a = &all[i / 8].asks[i % 8];
        ask_wait(a);
        assert_int_equal(a->request.answer.status, SC_OK);
        joined += a->request.answer.source == SC_SOURCE_JOINED;
        led += a->request.answer.source == SC_SOURCE_LLM;
        saved += a->request.answer.tokens_saved;
        assert_true(a->request.answer.stored);
        ask_end(a);
    }
    assert_int_equal(led, 1);
    assert_int_equal(joined, 63);
    assert_int_equal(saved, 63 * (FAKE_LLM_PROMPT_TOKENS + FAKE_LLM_COMPLETION_TOKENS));
    assert_int_equal(atomic_load(&r.embed.texts), 1);
    assert_int_equal(atomic_load(&r.llm.asked), 1);
    assert_int_equal(atomic_load(&r.store.calls[FAKE_PUT]), 1);
    assert_int_equal(answered(&r, SC_SOURCE_JOINED), 63);
    free(all);
    rig_close(&r);
}

/* Who looked in memory just before the answer came, and joined just after it was given, begins a new
 * flight: without another look it would pay for the same answer again. */
static void a_flight_looks_in_memory_once_more(void **state)
{
    (void)state;
    rig                 r;
    sc_pipeline_options options = rig_options();
    options.verify = SC_VERIFY_ALWAYS; /* so that the request does not look by itself */
    rig_open(&r, &options);
    rig_teach(&r, "q");
    unsigned gets = atomic_load(&r.store.calls[FAKE_GET]);
    assert_int_equal(ask_once(&r, "q").source, SC_SOURCE_EXACT);
    assert_int_equal(atomic_load(&r.store.calls[FAKE_GET]), gets); /* memory had it */
    assert_int_equal(atomic_load(&r.llm.asked), 1);
    rig_close(&r);
}

static void a_joiner_with_a_wider_distance_is_served_what_the_flight_knows(void **state)
{
    (void)state;
    rig r;
    ask narrow, wide;
    rig_open(&r, NULL);
    fake_embed_put(&r.embed, "near it", "it", 0.05F);
    rig_teach(&r, "it");
    atomic_store(&r.llm.hold, true);
    start_at(&narrow, &r, "near it", 0.01);
    EVENTUALLY(atomic_load(&r.llm.waiting_count) == 1);
    start_at(&wide, &r, "near it", 0.1);
    assert_true(ask_is_finished(&wide));
    assert_int_equal(wide.request.answer.source, SC_SOURCE_WARM);
    assert_true(fabsf(wide.request.answer.distance - 0.05F) < 1e-4F);
    assert_string_equal(ask_text(&wide).ptr, "answer to [it] by [m] told [s]");
    ask_end(&wide);
    assert_false(ask_is_finished(&narrow));
    fake_llm_let_go(&r.llm);
    ask_outcome outcome = ask_outcome_of(&narrow);
    assert_int_equal(outcome.source, SC_SOURCE_LLM);
    assert_int_equal(outcome.reason, SC_REASON_TOO_FAR);
    assert_string_equal(outcome.text, "answer to [near it] by [m] told [s]");
    rig_close(&r);
}

/* The flight takes all for whom the hit is near enough, and leaves the others. */
static void waiters_of_one_flight_may_want_different_distances(void **state)
{
    (void)state;
    rig r;
    ask narrow, wide;
    rig_open(&r, NULL);
    fake_embed_put(&r.embed, "near it", "it", 0.05F);
    rig_teach(&r, "it");
    atomic_store(&r.embed.hold, true);
    start_at(&narrow, &r, "near it", 0.01);
    start_at(&wide, &r, "near it", 0.1);
    EVENTUALLY(atomic_load(&r.embed.held_count) == 1);
    fake_embed_let_go(&r.embed);
    assert_int_equal(ask_outcome_of(&wide).source, SC_SOURCE_WARM);
    assert_int_equal(ask_outcome_of(&narrow).source, SC_SOURCE_LLM);
    rig_close(&r);
}

/* Found by Redis, which memory does not have. */
static void a_joiner_is_served_what_redis_found_for_the_flight(void **state)
{
    (void)state;
    for (int changed = 0; changed < 2; changed++) {
        rig r;
        ask narrow, wide;
        rig_open(&r, NULL);
        fake_embed_put(&r.embed, "near it", "it", 0.05F);
        rig_teach(&r, "it");
        sc_warm_clear(r.warm);
        atomic_store(&r.llm.hold, true);
        start_at(&narrow, &r, "near it", 0.01);
        EVENTUALLY(atomic_load(&r.llm.waiting_count) == 1);
        if (changed) { /* memory cannot tell what changed: it might be this one */
            sc_digest some = rig_key(&r, "some other");
            r.feed.removed(r.feed.context, &some);
        }
        start_at(&wide, &r, "near it", 0.1);
        assert_int_equal(ask_is_finished(&wide), !changed);
        fake_llm_let_go(&r.llm);
        assert_int_equal(ask_outcome_of(&wide).source, changed ? SC_SOURCE_JOINED : SC_SOURCE_REDIS);
        assert_int_equal(ask_outcome_of(&narrow).source, SC_SOURCE_LLM);
        rig_close(&r);
    }
}

/* The flight found it, and has been waiting for the LLM since: it may be gone by now. */
static void a_joiner_is_not_served_what_is_gone_since(void **state)
{
    (void)state;
    for (int way = 0; way < 4; way++) {
        rig r;
        ask narrow, wide;
        rig_open(&r, NULL);
        fake_embed_put(&r.embed, "near it", "it", 0.05F);
        ask teacher;
        ask_init(&teacher, &r, "it");
        teacher.request.question.ttl_seconds = way == 3 ? 1 : 1000;
        ask_go(&teacher);
        ask_end(&teacher);
        sc_digest id = rig_key(&r, "it");
        atomic_store(&r.llm.hold, true);
        start_at(&narrow, &r, "near it", 0.01);
        EVENTUALLY(atomic_load(&r.llm.waiting_count) == 1);
        if (way == 0)
            r.feed.removed(r.feed.context, &id);
        else if (way == 1)
            r.feed.cleared(r.feed.context);
        else if (way == 2)
            r.feed.live(r.feed.context, false);
        else
            usleep(1050 * 1000);
        start_at(&wide, &r, "near it", 0.1);
        assert_false(ask_is_finished(&wide));
        fake_llm_let_go(&r.llm);
        assert_int_equal(ask_outcome_of(&wide).source, SC_SOURCE_JOINED);
        assert_int_equal(ask_outcome_of(&narrow).source, SC_SOURCE_LLM);
        rig_close(&r);
    }
}

/* ---- hits by meaning ---------------------------------------------------------------------------- */

static void a_paraphrase_within_the_distance_is_a_hit(void **state)
{
    (void)state;
    rig r;
    rig_open(&r, NULL);
    fake_embed_put(&r.embed, "near it", "it", 0.05F);
    fake_embed_put(&r.embed, "far from it", "it", 0.3F);
    rig_teach(&r, "It?");
    ask_outcome near = ask_once(&r, "near it");
    assert_int_equal(near.source, SC_SOURCE_WARM);
    assert_int_equal(near.reason, SC_REASON_WITHIN_DISTANCE);
    assert_string_equal(near.text, "answer to [It?] by [m] told [s]");

    ask far;
    start_at(&far, &r, "far from it", 0.1);
    ask_wait(&far);
    const sc_answer *answer = &far.request.answer;
    assert_int_equal(answer->source, SC_SOURCE_LLM);
    assert_int_equal(answer->reason, SC_REASON_TOO_FAR);
    assert_string_equal(answer->nearest.entry->f.canonical.ptr, "it");
    assert_true(fabsf(answer->nearest.distance - 0.3F) < 1e-4F);
    ask_end(&far);
    assert_int_equal(atomic_load(&r.llm.asked), 2);
    rig_close(&r);
}

static void what_only_the_store_has_is_found_by_key_and_by_meaning(void **state)
{
    (void)state;
    rig r;
    rig_open(&r, NULL);
    fake_embed_put(&r.embed, "near it", "it", 0.05F);
    rig_teach(&r, "it");
    sc_warm_clear(r.warm);
    ask_outcome near = ask_once(&r, "near it");
    assert_int_equal(near.source, SC_SOURCE_REDIS);
    assert_int_equal(near.reason, SC_REASON_WITHIN_DISTANCE);
    assert_string_equal(near.text, "answer to [it] by [m] told [s]");
    assert_int_equal(ask_once(&r, "it").source, SC_SOURCE_EXACT);

    /* Memory has it again, with its vector, and asks the store no more. */
    unsigned gets = atomic_load(&r.store.calls[FAKE_GET]);
    assert_int_equal(ask_once(&r, "it").source, SC_SOURCE_EXACT);
    assert_int_equal(ask_once(&r, "near it").source, SC_SOURCE_WARM);
    assert_int_equal(atomic_load(&r.store.calls[FAKE_GET]), gets);
    assert_int_equal(atomic_load(&r.llm.asked), 1);
    rig_close(&r);
}

/* While a text is embedded its key is looked up; who finds it does not wait for the vector. */
static void a_hit_by_key_does_not_wait_for_the_embedding(void **state)
{
    (void)state;
    rig r;
    ask a;
    rig_open(&r, NULL);
    ask_init(&a, &r, "it");
    sc_digest       id = rig_key(&r, "it");
    sc_entry_fields fields = {.id = id, .scope = sc_scope_digest(&a.request.question.scope),
                              .version = 3, .expires = {INT64_MAX}, .answer = SC_STR("stored")};
    sc_entry       *entry = sc_entry_make(&fields);
    fake_store_add(&r.store, entry, NULL);
    atomic_store(&r.embed.hold, true);
    ask_go(&a);
    ask_wait(&a);
    assert_int_equal(a.request.answer.source, SC_SOURCE_EXACT);
    assert_int_equal(atomic_load(&r.embed.held_count), 1);
    fake_embed_let_go(&r.embed);
    ask_end(&a);
    assert_int_equal(atomic_load(&r.llm.asked), 0);
    sc_entry_unref(entry);
    rig_close(&r);
}

/* "status of order 1234567" is not "status of order 7654321", however alike they look. */
static void another_number_is_another_question(void **state)
{
    (void)state;
    rig r;
    rig_open(&r, NULL);
    fake_embed_put(&r.embed, "how is order", "status of order", 0.05F);
    rig_teach(&r, "Status of order 1234567?");
    assert_int_equal(ask_once(&r, "How is order 1234567?").source, SC_SOURCE_WARM);
    ask a;
    start_at(&a, &r, "Status of order 7654321?", 2);
    ask_wait(&a);
    const sc_answer *answer = &a.request.answer;
    assert_int_equal(answer->source, SC_SOURCE_LLM);
    assert_int_equal(answer->reason, SC_REASON_VOLATILE_DIFFERS);
    assert_string_equal(answer->nearest.entry->f.prompt.ptr, "Status of order 1234567?");
    assert_string_equal(ask_text(&a).ptr, "answer to [Status of order 7654321?] by [m] told [s]");
    ask_end(&a);
    assert_int_equal(ask_once(&r, "status of order 1234567").source, SC_SOURCE_EXACT);
    /* A thousand more, in memory and in the store. */
    for (int i = 0; i < 1000; i++) {
        char prompt[64], expected[128];
        snprintf(prompt, sizeof prompt, "Status of order %d?", 2000000 + i % 500);
        snprintf(expected, sizeof expected, "answer to [%s] by [m] told [s]", prompt);
        if (i % 7 == 0)
            sc_warm_clear(r.warm);
        assert_string_equal(ask_at(&r, prompt, 2).text, expected);
    }
    assert_int_equal(atomic_load(&r.llm.asked), 502);
    rig_close(&r);
}

static void asked_beside(rig *r, const char *near, const char *text, sc_reason reason)
{
    fake_embed_put(&r->embed, text, near, 0.01F);
    ask_outcome outcome = ask_once(r, text);
    assert_int_equal(outcome.source, SC_SOURCE_LLM);
    assert_int_equal(outcome.reason, reason);
}

/* However near, in memory and in the store. */
static void a_question_turned_round_is_another(void **state)
{
    (void)state;
    rig r;
    rig_open(&r, NULL);
    rig_teach(&r, "how do i enable alerts");
    rig_teach(&r, "flights from paris to rome");
    asked_beside(&r, "how do i enable alerts", "how do i disable alerts", SC_REASON_OPPOSED);
    asked_beside(&r, "how do i enable alerts", "how do i not enable alerts",
                 SC_REASON_VOLATILE_DIFFERS);
    asked_beside(&r, "how do i enable alerts", "how do i enable alerts in version 7",
                 SC_REASON_VOLATILE_DIFFERS);
    sc_warm_clear(r.warm);
    asked_beside(&r, "flights from paris to rome", "flights from rome to paris", SC_REASON_OPPOSED);
    fake_embed_put(&r.embed, "how can i activate alerts", "how do i enable alerts", 0.01F);
    assert_int_equal(ask_once(&r, "How can I activate alerts?").source, SC_SOURCE_REDIS);
    rig_close(&r);
}

/* The nearest is its opposite; the one behind it is not. */
static void behind_an_opposite(bool in_memory, sc_source source)
{
    rig r;
    rig_open(&r, NULL);
    rig_teach(&r, "How do I enable alerts?");
    fake_embed_put(&r.embed, "how do i disable alerts", "how do i enable alerts", 0.05F);
    rig_teach(&r, "How do I disable alerts?");
    fake_embed_put(&r.embed, "how can i turn off alerts", "how do i enable alerts", 0.01F);
    if (!in_memory)
        sc_warm_clear(r.warm);
    ask_outcome outcome = ask_once(&r, "How can I turn off alerts?");
    assert_int_equal(outcome.source, source);
    assert_string_equal(outcome.text, "answer to [How do I disable alerts?] by [m] told [s]");
    rig_close(&r);
}

static void behind_an_opposite_the_next_is_looked_at(void **state)
{
    (void)state;
    behind_an_opposite(true, SC_SOURCE_WARM);
    behind_an_opposite(false, SC_SOURCE_REDIS);
}

/* Dates are not guarded: the same question on another day. */
static void another_date_is_the_same_question(void **state)
{
    (void)state;
    rig r;
    rig_open(&r, NULL);
    rig_teach(&r, "What is our refund policy on 2025-01-15?");
    assert_int_equal(ask_once(&r, "what is our refund policy on 2025-01-20?").source, SC_SOURCE_EXACT);
    rig_close(&r);
}

/* ---- modes --------------------------------------------------------------------------------------- */

static void refresh_does_not_look_asks_and_replaces(void **state)
{
    (void)state;
    rig r;
    rig_open(&r, NULL);
    rig_teach(&r, "q");
    sc_digest id = rig_key(&r, "q");
    uint64_t  version = sc_warm_version(r.warm, &id);
    atomic_store(&r.llm.text, "a newer answer");
    ask_outcome outcome = ask_once_as(&r, "q", SC_MODE_REFRESH);
    assert_int_equal(outcome.source, SC_SOURCE_LLM);
    assert_int_equal(outcome.reason, SC_REASON_NOT_LOOKED);
    assert_true(outcome.stored);
    assert_int_not_equal(sc_warm_version(r.warm, &id), version);
    outcome = ask_once(&r, "q");
    assert_int_equal(outcome.source, SC_SOURCE_EXACT);
    assert_string_equal(outcome.text, "a newer answer");
    sc_entry *stored = fake_store_find(&r.store, &id);
    assert_string_equal(stored->f.answer.ptr, "a newer answer");
    sc_entry_unref(stored);
    rig_close(&r);
}

static void no_store_looks_and_keeps_nothing(void **state)
{
    (void)state;
    rig r;
    rig_open(&r, NULL);
    for (int i = 0; i < 2; i++) {
        ask_outcome outcome = ask_once_as(&r, "q", SC_MODE_NO_STORE);
        assert_int_equal(outcome.source, SC_SOURCE_LLM);
        assert_false(outcome.stored);
    }
    assert_int_equal(fake_store_documents(&r.store), 0);
    assert_int_equal(atomic_load(&r.store.calls[FAKE_PUT]), 0);
    rig_teach(&r, "q");
    assert_int_equal(ask_once_as(&r, "q", SC_MODE_NO_STORE).source, SC_SOURCE_EXACT);
    rig_close(&r);
}

static void bypass_neither_looks_nor_keeps_nor_shares(void **state)
{
    (void)state;
    rig r;
    rig_open(&r, NULL);
    rig_teach(&r, "q");
    unsigned texts = atomic_load(&r.embed.texts), calls = atomic_load(&r.store.calls[FAKE_GET]);
    ask      a, b;
    atomic_store(&r.llm.hold, true);
    ask_init(&a, &r, "q");
    ask_init(&b, &r, "q");
    a.request.question.mode = b.request.question.mode = SC_MODE_BYPASS;
    ask_go(&a);
    ask_go(&b);
    assert_int_equal(atomic_load(&r.llm.waiting_count), 2);
    fake_llm_let_go(&r.llm);
    ask_outcome outcome = ask_outcome_of(&a);
    assert_int_equal(outcome.source, SC_SOURCE_LLM);
    assert_int_equal(outcome.reason, SC_REASON_NOT_LOOKED);
    assert_false(outcome.stored);
    assert_int_equal(ask_outcome_of(&b).source, SC_SOURCE_LLM);
    assert_int_equal(atomic_load(&r.embed.texts), texts);
    assert_int_equal(atomic_load(&r.store.calls[FAKE_GET]), calls);
    assert_int_equal(atomic_load(&r.store.calls[FAKE_PUT]), 1);
    rig_close(&r);
}

static void only_if_cached_never_asks(void **state)
{
    (void)state;
    rig r;
    rig_open(&r, NULL);
    fake_embed_put(&r.embed, "near it", "it", 0.05F);
    ask_outcome outcome = ask_once_as(&r, "it", SC_MODE_ONLY_IF_CACHED);
    assert_int_equal(outcome.status, SC_NOT_FOUND);
    assert_int_equal(outcome.reason, SC_REASON_NO_CANDIDATE);
    assert_int_equal(atomic_load(&r.llm.asked), 0);
    rig_teach(&r, "it");
    assert_int_equal(ask_once_as(&r, "it", SC_MODE_ONLY_IF_CACHED).source, SC_SOURCE_EXACT);
    assert_int_equal(ask_once_as(&r, "near it", SC_MODE_ONLY_IF_CACHED).source, SC_SOURCE_WARM);
    assert_int_equal(atomic_load(&r.llm.asked), 1);
    const sc_pipeline_metrics *m = sc_pipeline_metrics_of(r.pipeline);
    assert_int_equal(sc_counter_total(&m->not_found), 1);
    assert_int_equal(sc_counter_total(&m->failed), 0);
    rig_close(&r);
}

/* ONLY_IF_CACHED must not wait for another's LLM call, nor end it with NOT_FOUND. */
static void only_if_cached_does_not_join_who_asks(void **state)
{
    (void)state;
    rig r;
    ask a;
    rig_open(&r, NULL);
    atomic_store(&r.llm.hold, true);
    start_at(&a, &r, "q", 0.1);
    EVENTUALLY(atomic_load(&r.llm.waiting_count) == 1);
    assert_int_equal(ask_once_as(&r, "q", SC_MODE_ONLY_IF_CACHED).status, SC_NOT_FOUND);
    assert_false(ask_is_finished(&a));
    fake_llm_let_go(&r.llm);
    assert_int_equal(ask_outcome_of(&a).source, SC_SOURCE_LLM);
    rig_close(&r);
}

static void who_may_not_store_is_answered_and_leaves_no_trace(void **state)
{
    (void)state;
    rig r;
    rig_open(&r, NULL);
    static const sc_cache_mode modes[] = {SC_MODE_DEFAULT, SC_MODE_REFRESH};
    for (size_t i = 0; i < 2; i++) {
        ask a;
        ask_init(&a, &r, "q");
        a.request.may_store = false;
        a.request.question.mode = modes[i];
        ask_go(&a);
        ask_outcome outcome = ask_outcome_of(&a);
        assert_int_equal(outcome.source, SC_SOURCE_LLM);
        assert_false(outcome.stored);
    }
    assert_int_equal(fake_store_documents(&r.store), 0);
    rig_close(&r);
}

/* NO_STORE shares a flight with DEFAULT; the answer is kept by the wish, for the time and under the
 * tags of the one who wants it kept. */
static void the_answer_takes_life_and_tags_of_who_lets_it_be_kept(void **state)
{
    (void)state;
    rig    r;
    ask    first, second;
    sc_str mine = SC_STR("first's"), yours = SC_STR("second's");
    rig_open(&r, NULL);
    atomic_store(&r.llm.hold, true);
    ask_init(&first, &r, "q");
    first.request.question.mode = SC_MODE_NO_STORE;
    first.request.question.ttl_seconds = 10;
    first.request.question.tags = &mine;
    first.request.question.tags_count = 1;
    ask_init(&second, &r, "q");
    second.request.question.ttl_seconds = 500;
    second.request.question.tags = &yours;
    second.request.question.tags_count = 1;
    ask_go(&first);
    EVENTUALLY(atomic_load(&r.llm.waiting_count) == 1);
    ask_go(&second);
    fake_llm_let_go(&r.llm);
    assert_int_equal(ask_outcome_of(&first).source, SC_SOURCE_LLM);
    assert_int_equal(ask_outcome_of(&second).source, SC_SOURCE_JOINED);
    sc_digest id = rig_key(&r, "q");
    sc_entry *entry = fake_store_find(&r.store, &id);
    assert_non_null(entry);
    assert_int_equal(entry->f.expires.ms - entry->f.created.ms, 500 * 1000);
    assert_int_equal(entry->f.tags_count, 1);
    assert_string_equal(entry->f.tags[0].ptr, "second's");
    sc_entry_unref(entry);
    rig_close(&r);
}

static void jitter_shortens_lives_and_never_lengthens_them(void **state)
{
    (void)state;
    rig                 r;
    sc_pipeline_options options = rig_options();
    options.ttl_jitter_percent = 10;
    rig_open(&r, &options);
    int64_t least = INT64_MAX, most = 0;
    for (int i = 0; i < 100; i++) {
        char prompt[16];
        snprintf(prompt, sizeof prompt, "q%d", i);
        rig_teach(&r, prompt);
        sc_digest id = rig_key(&r, prompt);
        sc_entry *entry = fake_store_find(&r.store, &id);
        int64_t   ms = entry->f.expires.ms - entry->f.created.ms;
        least = ms < least ? ms : least;
        most = ms > most ? ms : most;
        sc_entry_unref(entry);
    }
    assert_true(least >= 86400000 / 10 * 9);
    assert_true(most <= 86400000);
    assert_true(most - least > 86400000 / 100);
    rig_close(&r);
}

/* ---- what is kept --------------------------------------------------------------------------------- */

/* Rule 3. */
static void answers_that_are_not_whole_are_given_and_not_kept(void **state)
{
    (void)state;
    static char large[1002];
    memset(large, 'x', sizeof large - 1);
    static const struct {
        const char *reason, *text;
    } bad[] = {{"length", NULL}, {"content_filter", NULL}, {"tool_calls", NULL}, {"", NULL},
               {"stopped", NULL}, {"stop", ""}, {"stop", large}};
    rig r;
    rig_open(&r, NULL);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        atomic_store(&r.llm.finish_reason, bad[i].reason);
        atomic_store(&r.llm.text, bad[i].text);
        ask a;
        start_at(&a, &r, "q", 0.1);
        ask_wait(&a);
        const sc_answer *answer = &a.request.answer;
        assert_int_equal(answer->status, SC_OK);
        assert_int_equal(answer->source, SC_SOURCE_LLM);
        assert_false(answer->stored);
        assert_string_equal(answer->finish_reason, bad[i].reason);
        if (bad[i].text != NULL)
            assert_int_equal(ask_text(&a).len, strlen(bad[i].text));
        ask_end(&a);
        assert_int_equal(atomic_load(&r.llm.asked), i + 1);
    }
    assert_int_equal(fake_store_documents(&r.store), 0);
    sc_warm_stats stats;
    sc_warm_look(r.warm, &stats);
    assert_int_equal(stats.entries, 0);
    /* Just within the limit. */
    large[1000] = '\0';
    rig_teach(&r, "q");
    rig_close(&r);
}

static void ignore_cancel(sc_llm *llm, sc_llm_call *call)
{
    (void)llm;
    (void)call;
}

/* The keeper is gone, the answer is paid for. */
static void an_answer_that_comes_too_late_for_its_caller_is_kept(void **state)
{
    (void)state;
    rig r;
    ask a;
    rig_open(&r, NULL);
    atomic_store(&r.llm.hold, true);
    /* The LLM has ended the call at the same moment: cancel comes too late. */
    r.llm.base.cancel = ignore_cancel;
    start_at(&a, &r, "q", 0.1);
    EVENTUALLY(atomic_load(&r.llm.waiting_count) == 1);
    sc_request_cancel(&a.request);
    fake_llm_let_go(&r.llm);
    assert_int_equal(ask_outcome_of(&a).status, SC_CANCELLED);
    assert_int_equal(ask_once(&r, "q").source, SC_SOURCE_EXACT);
    rig_close(&r);
}

/* ---- timings and reasons ---------------------------------------------------------------------------- */

static void the_reply_says_where_the_time_went(void **state)
{
    (void)state;
    rig r;
    ask first, second;
    rig_open(&r, NULL);
    atomic_store(&r.llm.hold, true);
    start_at(&first, &r, "q", 0.1);
    EVENTUALLY(atomic_load(&r.llm.waiting_count) == 1);
    start_at(&second, &r, "q", 0.1);
    usleep(30000);
    fake_llm_let_go(&r.llm);
    ask_wait(&first);
    ask_wait(&second);
    const uint64_t *of_first = first.request.answer.step_us, *of_second = second.request.answer.step_us;
    assert_true(of_first[SC_STEP_ASK] >= 30000);
    assert_int_equal(of_first[SC_STEP_WAIT], 0);
    assert_true(of_second[SC_STEP_WAIT] >= 30000);
    assert_int_equal(of_second[SC_STEP_ASK], 0);
    uint64_t sum = 0;
    for (size_t i = 0; i < SC_STEP_COUNT; i++)
        sum += of_first[i];
    assert_true(sum <= first.request.answer.total_us);
    assert_true(first.request.answer.total_us - sum < 500000);
    ask_end(&first);
    ask_end(&second);
    rig_close(&r);
}

/* A hop to a worker and back costs more than a small search. */
static void a_search_on_a_tray_happens_when_its_thread_comes_back(void **state)
{
    (void)state;
    rig            r;
    ask            a, same;
    sc_gather_tray tray;
    rig_open(&r, NULL);
    sc_gather_tray_init(&tray);
    fake_embed_put(&r.embed, "near it", "it", 0.05F);
    rig_teach(&r, "it");
    ask_init(&a, &r, "near it");
    ask_init(&same, &r, "near it");
    a.request.tray = same.request.tray = &tray;
    ask_go(&a);
    ask_go(&same); /* joins: one search for both */
    assert_false(ask_is_finished(&a));
    sc_pipeline_search(r.pipeline, &tray);
    assert_true(ask_is_finished(&a) && ask_is_finished(&same));
    assert_true(sc_list_empty(&tray.calls));
    assert_int_equal(ask_outcome_of(&a).source, SC_SOURCE_WARM);
    assert_int_equal(ask_outcome_of(&same).source, SC_SOURCE_WARM);
    rig_close(&r);
}

/* What is on the tray belongs to the flight, which outlives its callers. */
static void who_leaves_while_the_search_is_on_a_tray_is_finished_at_once(void **state)
{
    (void)state;
    rig            r;
    ask            a;
    sc_gather_tray tray;
    rig_open(&r, NULL);
    sc_gather_tray_init(&tray);
    ask_init(&a, &r, "it");
    a.request.tray = &tray;
    ask_go(&a);
    sc_request_cancel(&a.request);
    assert_true(ask_is_finished(&a));
    sc_pipeline_search(r.pipeline, &tray);
    assert_int_equal(ask_outcome_of(&a).status, SC_CANCELLED);
    assert_int_equal(sc_pipeline_flights(r.pipeline), 0);
    assert_int_equal(atomic_load(&r.llm.asked), 0);
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sixty_four_at_once_are_one_embedding_and_one_llm_call),
        cmocka_unit_test(a_flight_looks_in_memory_once_more),
        cmocka_unit_test(a_joiner_with_a_wider_distance_is_served_what_the_flight_knows),
        cmocka_unit_test(waiters_of_one_flight_may_want_different_distances),
        cmocka_unit_test(a_joiner_is_served_what_redis_found_for_the_flight),
        cmocka_unit_test(a_joiner_is_not_served_what_is_gone_since),
        cmocka_unit_test(a_paraphrase_within_the_distance_is_a_hit),
        cmocka_unit_test(what_only_the_store_has_is_found_by_key_and_by_meaning),
        cmocka_unit_test(a_hit_by_key_does_not_wait_for_the_embedding),
        cmocka_unit_test(another_number_is_another_question),
        cmocka_unit_test(another_date_is_the_same_question),
        cmocka_unit_test(a_question_turned_round_is_another),
        cmocka_unit_test(behind_an_opposite_the_next_is_looked_at),
        cmocka_unit_test(refresh_does_not_look_asks_and_replaces),
        cmocka_unit_test(no_store_looks_and_keeps_nothing),
        cmocka_unit_test(bypass_neither_looks_nor_keeps_nor_shares),
        cmocka_unit_test(only_if_cached_never_asks),
        cmocka_unit_test(only_if_cached_does_not_join_who_asks),
        cmocka_unit_test(who_may_not_store_is_answered_and_leaves_no_trace),
        cmocka_unit_test(the_answer_takes_life_and_tags_of_who_lets_it_be_kept),
        cmocka_unit_test(jitter_shortens_lives_and_never_lengthens_them),
        cmocka_unit_test(answers_that_are_not_whole_are_given_and_not_kept),
        cmocka_unit_test(an_answer_that_comes_too_late_for_its_caller_is_kept),
        cmocka_unit_test(the_reply_says_where_the_time_went),
        cmocka_unit_test(a_search_on_a_tray_happens_when_its_thread_comes_back),
        cmocka_unit_test(who_leaves_while_the_search_is_on_a_tray_is_finished_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
