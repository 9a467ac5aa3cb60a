/* What memory is worth when the store's feed is alive, lost or lying, and what is left of the cache
 * when a part of it is away. */
#include "src/pipeline/work.h"

#include <stdio.h>
#include <stdlib.h>

#include "src/base/log.h"
#include "tests/support/pipeline_rig.h"

static void feed_live(rig *r, bool live)
{
    r->feed.live(r->feed.context, live);
}

static sc_pipeline_options always_verified(void)
{
    sc_pipeline_options options = rig_options();
    options.verify = SC_VERIFY_ALWAYS;
    return options;
}

/* ---- rule 10 ------------------------------------------------------------------------------------ */

static void memory_follows_the_feed(void **state)
{
    (void)state;
    rig r;
    rig_open(&r, NULL);
    rig_teach(&r, "q");
    sc_digest id = rig_key(&r, "q");
    sc_entry *mine = fake_store_find(&r.store, &id);

    /* Another server wrote a newer answer. */
    sc_entry_fields fields = mine->f;
    fields.version = 99;
    fields.answer = SC_STR("newer");
    sc_entry *newer = sc_entry_make(&fields);
    fake_store_add(&r.store, newer, NULL);
    assert_int_not_equal(r.feed.known(r.feed.context, &id), 99);
    r.feed.put(r.feed.context, newer, NULL);
    assert_int_equal(r.feed.known(r.feed.context, &id), 99);
    assert_string_equal(ask_once(&r, "q").text, "newer");

    /* Another server removed it. */
    fake_store_forget(&r.store, &id);
    r.feed.removed(r.feed.context, &id);
    assert_int_equal(r.feed.known(r.feed.context, &id), 0);
    assert_int_equal(ask_once(&r, "q").source, SC_SOURCE_LLM);

    /* Somebody emptied the store. */
    fake_store_forget(&r.store, &id);
    r.feed.cleared(r.feed.context);
    assert_int_equal(ask_once(&r, "q").source, SC_SOURCE_LLM);
    sc_entry_unref(newer);
    sc_entry_unref(mine);
    rig_close(&r);
}

static void while_the_feed_is_alive_nothing_is_verified(void **state)
{
    (void)state;
    rig r;
    rig_open(&r, NULL);
    fake_embed_put(&r.embed, "near it", "it", 0.05F);
    rig_teach(&r, "it");
    assert_int_equal(ask_once(&r, "it").source, SC_SOURCE_EXACT);
    assert_int_equal(ask_once(&r, "near it").source, SC_SOURCE_WARM);
    assert_int_equal(atomic_load(&r.store.calls[FAKE_VERIFY]), 0);
    rig_close(&r);
}

static void verified_always_means_each_hit(void **state)
{
    (void)state;
    rig                 r;
    sc_pipeline_options options = always_verified();
    rig_open(&r, &options);
    fake_embed_put(&r.embed, "near it", "it", 0.05F);
    rig_teach(&r, "it");
    for (unsigned i = 1; i <= 3; i++) {
        assert_int_equal(ask_once(&r, "it").source, SC_SOURCE_EXACT);
        assert_int_equal(ask_once(&r, "near it").source, SC_SOURCE_WARM);
        assert_int_equal(atomic_load(&r.store.calls[FAKE_VERIFY]), 2 * i);
    }
    rig_close(&r);
}

/* Removed by another server, and the feed has not said so yet. */
static void a_stale_copy_is_refused_when_verification_says_so(void **state)
{
    (void)state;
    for (int lost = 0; lost < 2; lost++) {
        rig                 r;
        sc_pipeline_options options = lost ? rig_options() : always_verified();
        rig_open(&r, &options);
        fake_embed_put(&r.embed, "near it", "it", 0.05F);
        rig_teach(&r, "it");
        sc_digest id = rig_key(&r, "it");
        if (lost)
            feed_live(&r, false);
        fake_store_forget(&r.store, &id);
        ask a;
        ask_init(&a, &r, "near it");
        ask_go(&a);
        ask_wait(&a);
        assert_int_equal(a.request.answer.source, SC_SOURCE_LLM);
        assert_int_equal(a.request.answer.reason, SC_REASON_STALE);
        assert_string_equal(a.request.answer.nearest.entry->f.canonical.ptr, "it");
        ask_end(&a);
        assert_int_equal(sc_warm_version(r.warm, &id), 0); /* nobody is told of it again */

        rig_teach(&r, "other");
        id = rig_key(&r, "other");
        fake_store_forget(&r.store, &id);
        ask_outcome outcome = ask_once(&r, "other");
        assert_int_equal(outcome.source, SC_SOURCE_LLM);
        assert_int_equal(outcome.reason, SC_REASON_STALE);
        rig_close(&r);
    }
}

static void a_replaced_version_is_stale_too(void **state)
{
    (void)state;
    rig                 r;
    sc_pipeline_options options = always_verified();
    rig_open(&r, &options);
    rig_teach(&r, "q");
    sc_digest       id = rig_key(&r, "q");
    sc_entry       *mine = fake_store_find(&r.store, &id);
    sc_entry_fields fields = mine->f;
    fields.version ^= 6;
    fields.answer = SC_STR("another server's newer answer");
    sc_entry *newer = sc_entry_make(&fields);
    fake_store_add(&r.store, newer, NULL);
    ask_outcome outcome = ask_once(&r, "q");
    assert_int_equal(outcome.source, SC_SOURCE_EXACT);
    assert_string_equal(outcome.text, "another server's newer answer");
    sc_entry_unref(mine);
    sc_entry_unref(newer);
    rig_close(&r);
}

/* All top_k candidates are looked at, not only the nearest. */
static void when_the_nearest_is_stale_the_next_is_served(void **state)
{
    (void)state;
    rig                 r;
    sc_pipeline_options options = always_verified();
    rig_open(&r, &options);
    fake_embed_put(&r.embed, "first", "it", 0.02F);
    fake_embed_put(&r.embed, "second", "it", 0.2F);
    fake_embed_put(&r.embed, "third", "it", 0.4F);
    rig_teach(&r, "first");
    rig_teach(&r, "second");
    rig_teach(&r, "third");
    sc_digest first = rig_key(&r, "first"), second = rig_key(&r, "second");
    fake_store_forget(&r.store, &first);
    fake_store_forget(&r.store, &second);
    ask a;
    ask_init(&a, &r, "it");
    a.request.question.max_distance = 0.5;
    ask_go(&a);
    ask_outcome outcome = ask_outcome_of(&a);
    assert_int_equal(outcome.source, SC_SOURCE_WARM);
    assert_string_equal(outcome.text, "answer to [third] by [m] told [s]");
    rig_close(&r);
}

static void unverified_serving_ends_at_a_stated_age(void **state)
{
    (void)state;
    rig                 r;
    sc_pipeline_options options = rig_options();
    options.unverified_ms = 300;
    rig_open(&r, &options);
    fake_embed_put(&r.embed, "near it", "it", 0.05F);
    rig_teach(&r, "it");
    atomic_store(&r.store.status, SC_UNAVAILABLE);
    feed_live(&r, false);
    sc_instant lost = sc_now();
    assert_int_equal(ask_once(&r, "it").source, SC_SOURCE_EXACT);
    assert_int_equal(ask_once(&r, "near it").source, SC_SOURCE_WARM);
    /* News of the same loss does not begin the time anew. */
    while (sc_elapsed_us(lost, sc_now()) < 320000) {
        feed_live(&r, false);
        usleep(10000);
    }
    ask_outcome outcome = ask_once_as(&r, "it", SC_MODE_NO_STORE);
    assert_int_equal(outcome.source, SC_SOURCE_LLM);
    assert_int_equal(outcome.reason, SC_REASON_STALE);
    assert_int_equal(ask_once_as(&r, "near it", SC_MODE_NO_STORE).source, SC_SOURCE_LLM);

    /* What is written after the loss has its own age: the cache still works, for that long. */
    rig_teach(&r, "new");
    assert_int_equal(ask_once(&r, "new").source, SC_SOURCE_EXACT);
    usleep(320000);
    assert_int_equal(ask_once_as(&r, "new", SC_MODE_NO_STORE).source, SC_SOURCE_LLM);

    /* Back again: what was taught is believed as before. */
    atomic_store(&r.store.status, SC_OK);
    feed_live(&r, true);
    assert_int_equal(ask_once(&r, "it").source, SC_SOURCE_EXACT);
    rig_close(&r);
}

/* A confirmed copy may be served for a while longer than one that was not. */
static void verification_begins_the_age_anew(void **state)
{
    (void)state;
    rig                 r;
    sc_pipeline_options options = rig_options();
    options.unverified_ms = 400;
    rig_open(&r, &options);
    rig_teach(&r, "seen");
    rig_teach(&r, "unseen");
    feed_live(&r, false);
    usleep(300000);
    assert_int_equal(ask_once(&r, "seen").source, SC_SOURCE_EXACT); /* the store says so */
    atomic_store(&r.store.status, SC_UNAVAILABLE);
    usleep(150000);
    assert_int_equal(ask_once(&r, "seen").source, SC_SOURCE_EXACT);
    assert_int_equal(ask_once_as(&r, "unseen", SC_MODE_NO_STORE).source, SC_SOURCE_LLM);
    rig_close(&r);
}

/* Until the feed has come up once, and without a store, memory is not believed for ever either. */
static void a_feed_that_never_came_up_is_a_lost_one(void **state)
{
    (void)state;
    rig                 r;
    sc_pipeline_options options = rig_options();
    options.unverified_ms = 0;
    rig_open(&r, &options);
    feed_live(&r, false);
    atomic_store(&r.store.status, SC_UNAVAILABLE);
    rig_teach(&r, "q");
    assert_int_equal(ask_once(&r, "q").source, SC_SOURCE_LLM);
    rig_close(&r);
}

/* Each would wait for its own timeout before the LLM is asked. */
static void a_store_that_hangs_is_asked_once_for_all_candidates(void **state)
{
    (void)state;
    rig                 r;
    sc_pipeline_options options = rig_options();
    options.unverified_ms = 0;
    rig_open(&r, &options);
    fake_embed_put(&r.embed, "first", "it", 0.02F);
    fake_embed_put(&r.embed, "second", "it", 0.03F);
    fake_embed_put(&r.embed, "third", "it", 0.04F);
    static const char *const texts[] = {"first", "second", "third"};
    for (size_t i = 0; i < 3; i++) { /* each asked for itself, or it would be answered by the one before */
        ask a;
        ask_init(&a, &r, texts[i]);
        a.request.question.max_distance = 0;
        ask_go(&a);
        assert_true(ask_outcome_of(&a).stored);
    }
    feed_live(&r, false);
    atomic_store(&r.store.status, SC_TIMEOUT);
    ask_outcome outcome = ask_once_as(&r, "it", SC_MODE_NO_STORE);
    assert_int_equal(outcome.source, SC_SOURCE_LLM);
    assert_int_equal(outcome.reason, SC_REASON_STALE);
    assert_int_equal(atomic_load(&r.store.calls[FAKE_VERIFY]), 1);
    rig_close(&r);
}

/* ---- rule 2: a cache failure is not a caller's failure --------------------------------------------- */

static void without_the_store_memory_and_llm_go_on(void **state)
{
    (void)state;
    rig r;
    rig_open(&r, NULL);
    fake_embed_put(&r.embed, "near it", "it", 0.05F);
    rig_teach(&r, "it");
    atomic_store(&r.store.status, SC_UNAVAILABLE);
    for (int lost = 0; lost < 2; lost++) {
        if (lost)
            feed_live(&r, false);
        assert_int_equal(ask_once(&r, "it").source, SC_SOURCE_EXACT);
        assert_int_equal(ask_once(&r, "near it").source, SC_SOURCE_WARM);
        const char *miss = lost ? "miss b" : "miss a";
        assert_int_equal(ask_once(&r, miss).source, SC_SOURCE_LLM);
        assert_int_equal(ask_once(&r, miss).source, SC_SOURCE_EXACT);
    }
    assert_int_equal(sc_counter_total(&sc_pipeline_metrics_of(r.pipeline)->failed), 0);
    rig_close(&r);
}

static void without_the_embedder_keys_and_llm_go_on(void **state)
{
    (void)state;
    rig r;
    rig_open(&r, NULL);
    rig_teach(&r, "it");
    atomic_store(&r.embed.status, SC_UNAVAILABLE);
    assert_int_equal(ask_once(&r, "it").source, SC_SOURCE_EXACT);
    ask a;
    ask_init(&a, &r, "unknown");
    ask_go(&a);
    ask_wait(&a);
    assert_int_equal(a.request.answer.source, SC_SOURCE_LLM);
    assert_int_equal(a.request.answer.reason, SC_REASON_EMBEDDING_UNAVAILABLE);
    assert_int_equal(a.request.answer.exact_only, SC_REASON_EMBEDDING_UNAVAILABLE);
    assert_true(a.request.answer.stored);
    ask_end(&a);
    /* Kept without a vector: by key, in memory and in the store. */
    assert_int_equal(ask_once(&r, "unknown").source, SC_SOURCE_EXACT);
    sc_warm_clear(r.warm);
    assert_int_equal(ask_once(&r, "unknown").source, SC_SOURCE_EXACT);
    assert_int_equal(sc_counter_total(&sc_pipeline_metrics_of(r.pipeline)->failed), 0);
    rig_close(&r);
}

static void a_slow_embedder_delays_by_its_deadline_and_no_longer(void **state)
{
    (void)state;
    rig                 r;
    sc_pipeline_options options = rig_options();
    options.embed_timeout_ms = 50;
    rig_open(&r, &options);
    atomic_store(&r.embed.hold, true);
    sc_instant  since = sc_now();
    ask_outcome outcome = ask_once(&r, "q");
    assert_int_equal(outcome.source, SC_SOURCE_LLM);
    assert_int_equal(outcome.reason, SC_REASON_EMBEDDING_UNAVAILABLE);
    assert_true(sc_elapsed_us(since, sc_now()) >= 50000);
    assert_true(sc_elapsed_us(since, sc_now()) < 5000000);
    fake_embed_let_go(&r.embed);
    rig_close(&r);
}

/* Two texts over the model's limit can have the same vector. */
static void a_text_the_model_cannot_read_is_found_by_its_key_only(void **state)
{
    (void)state;
    static const sc_embed_note notes[] = {SC_EMBED_TRUNCATED, SC_EMBED_UNKNOWN};
    for (size_t i = 0; i < 2; i++) {
        rig r;
        rig_open(&r, NULL);
        fake_embed_put_note(&r.embed, "odd", notes[i]);
        fake_embed_put(&r.embed, "near odd", "odd", 0.01F);
        ask_outcome outcome = ask_once(&r, "odd");
        assert_int_equal(outcome.source, SC_SOURCE_LLM);
        assert_int_equal(outcome.reason, SC_REASON_NOT_EMBEDDABLE);
        assert_true(outcome.stored);
        assert_int_equal(ask_once(&r, "odd").source, SC_SOURCE_EXACT);
        assert_int_equal(ask_once(&r, "near odd").source, SC_SOURCE_LLM);
        sc_warm_clear(r.warm);
        assert_int_equal(ask_once(&r, "odd").source, SC_SOURCE_EXACT);
        rig_close(&r);
    }
}

static void without_the_llm_misses_fail_with_the_cause_and_hits_go_on(void **state)
{
    (void)state;
    rig r;
    rig_open(&r, NULL);
    rig_teach(&r, "it");
    static const struct {
        sc_status of_llm, of_caller;
    } failures[] = {{SC_UNAVAILABLE, SC_UNAVAILABLE},
                    {SC_TIMEOUT, SC_TIMEOUT},
                    {SC_BUSY, SC_BUSY},
                    /* Whatever it sent instead of an answer: try again later. */
                    {SC_CORRUPT, SC_UNAVAILABLE},
                    {SC_TOO_LARGE, SC_UNAVAILABLE},
                    /* Not what these mean to a caller who still waits and asked for no cached answer. */
                    {SC_CANCELLED, SC_UNAVAILABLE},
                    {SC_NOT_FOUND, SC_UNAVAILABLE}};
    for (size_t i = 0; i < sizeof failures / sizeof failures[0]; i++) {
        atomic_store(&r.llm.status, failures[i].of_llm);
        atomic_store(&r.llm.hold, true);
        ask a, b;
        ask_init(&a, &r, "miss");
        ask_init(&b, &r, "miss");
        ask_go(&a);
        EVENTUALLY(atomic_load(&r.llm.waiting_count) == 1);
        ask_go(&b);
        fake_llm_let_go(&r.llm);
        atomic_store(&r.llm.hold, false);
        ask_wait(&a);
        assert_non_null(strstr(a.request.answer.error.text, "the fake LLM fails"));
        assert_null(a.request.answer.entry);
        assert_null(a.request.answer.text);
        assert_int_equal(ask_outcome_of(&a).status, failures[i].of_caller);
        assert_int_equal(ask_outcome_of(&b).status, failures[i].of_caller);
        assert_int_equal(ask_once(&r, "it").source, SC_SOURCE_EXACT);
    }
    assert_int_equal(fake_store_documents(&r.store), 1);
    atomic_store(&r.llm.status, SC_OK);
    rig_teach(&r, "miss");
    rig_close(&r);
}

static ask_outcome ask_stale(rig *r, const char *prompt, int64_t stale_seconds, bool *stale)
{
    ask a;
    ask_init(&a, r, prompt);
    a.request.question.stale_seconds = stale_seconds;
    ask_go(&a);
    ask_wait(&a);
    *stale = a.request.answer.stale;
    return ask_outcome_of(&a);
}

static void an_expired_answer_is_better_than_none_if_the_caller_says_so(void **state)
{
    (void)state;
    rig  r;
    ask  a;
    bool stale;
    rig_open(&r, NULL);
    ask_init(&a, &r, "q");
    a.request.question.ttl_seconds = 1;
    ask_go(&a);
    assert_true(ask_outcome_of(&a).stored);
    usleep(1050 * 1000);
    atomic_store(&r.llm.status, SC_UNAVAILABLE);
    assert_int_equal(ask_stale(&r, "q", 0, &stale).status, SC_UNAVAILABLE);
    assert_false(stale);
    ask_outcome outcome = ask_stale(&r, "q", 60, &stale);
    assert_int_equal(outcome.status, SC_OK);
    assert_string_equal(outcome.text, "answer to [q] by [m] told [s]");
    assert_true(stale);
    assert_int_equal(sc_counter_total(&sc_pipeline_metrics_of(r.pipeline)->stale_served), 1);
    /* Never while the LLM answers. */
    atomic_store(&r.llm.status, SC_OK);
    assert_int_equal(ask_stale(&r, "q", 60, &stale).source, SC_SOURCE_LLM);
    assert_false(stale);
    /* What was invalidated is gone for these callers too. */
    sc_digest id = rig_key(&r, "q");
    r.feed.removed(r.feed.context, &id);
    fake_store_forget(&r.store, &id);
    atomic_store(&r.llm.status, SC_UNAVAILABLE);
    assert_int_equal(ask_stale(&r, "q", 60, &stale).status, SC_UNAVAILABLE);
    rig_close(&r);
}

/* Another server invalidated an answer after it had expired: nobody may be told it any more. */
static void an_expired_answer_can_be_invalidated(void **state)
{
    (void)state;
    rig  r;
    ask  a;
    bool stale;
    rig_open(&r, NULL);
    ask_init(&a, &r, "q");
    a.request.question.ttl_seconds = 1;
    ask_go(&a);
    assert_true(ask_outcome_of(&a).stored);
    usleep(1050 * 1000);
    sc_digest id = rig_key(&r, "q");
    r.feed.removed(r.feed.context, &id);
    atomic_store(&r.llm.status, SC_UNAVAILABLE);
    assert_int_equal(ask_stale(&r, "q", 60, &stale).status, SC_UNAVAILABLE);
    rig_close(&r);
}

static void the_server_bounds_how_stale(void **state)
{
    (void)state;
    rig                 r;
    ask                 a;
    bool                stale;
    sc_pipeline_options options = rig_options();
    options.limits.stale_seconds_max = 0;
    rig_open(&r, &options);
    ask_init(&a, &r, "q");
    a.request.question.ttl_seconds = 1;
    ask_go(&a);
    ask_end(&a);
    usleep(1050 * 1000);
    atomic_store(&r.llm.status, SC_UNAVAILABLE);
    assert_int_equal(ask_stale(&r, "q", 3600, &stale).status, SC_UNAVAILABLE);
    rig_close(&r);
}

/* ---- rule 9 ------------------------------------------------------------------------------------------ */

static void prompts_and_answers_are_not_logged(void **state)
{
    (void)state;
    rig   r;
    FILE *log = tmpfile();
    int   saved = dup(STDERR_FILENO);
    assert_non_null(log);
    fflush(stderr);
    dup2(fileno(log), STDERR_FILENO);
    sc_log_set_level(SC_LOG_DEBUG);
    rig_open(&r, NULL);
    atomic_store(&r.llm.text, "answersecret");
    atomic_store(&r.store.status, SC_UNAVAILABLE); /* something to log about */
    ask_once(&r, "promptsecret");
    ask_once(&r, "promptsecret");
    atomic_store(&r.llm.status, SC_UNAVAILABLE);
    ask_once(&r, "promptsecret too");
    rig_close(&r);
    sc_log_set_level(SC_LOG_INFO);
    fflush(stderr);
    dup2(saved, STDERR_FILENO);
    close(saved);

    char text[65536] = "";
    rewind(log);
    size_t len = fread(text, 1, sizeof text - 1, log);
    fclose(log);
    assert_true(len > 0); /* the store's failure */
    assert_non_null(strstr(text, "store.put_failed"));
    assert_null(strstr(text, "secret"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_follows_the_feed),
        cmocka_unit_test(while_the_feed_is_alive_nothing_is_verified),
        cmocka_unit_test(verified_always_means_each_hit),
        cmocka_unit_test(a_stale_copy_is_refused_when_verification_says_so),
        cmocka_unit_test(a_replaced_version_is_stale_too),
        cmocka_unit_test(when_the_nearest_is_stale_the_next_is_served),
        cmocka_unit_test(unverified_serving_ends_at_a_stated_age),
        cmocka_unit_test(verification_begins_the_age_anew),
        cmocka_unit_test(a_feed_that_never_came_up_is_a_lost_one),
        cmocka_unit_test(a_store_that_hangs_is_asked_once_for_all_candidates),
        cmocka_unit_test(without_the_store_memory_and_llm_go_on),
        cmocka_unit_test(without_the_embedder_keys_and_llm_go_on),
        cmocka_unit_test(a_slow_embedder_delays_by_its_deadline_and_no_longer),
        cmocka_unit_test(a_text_the_model_cannot_read_is_found_by_its_key_only),
        cmocka_unit_test(without_the_llm_misses_fail_with_the_cause_and_hits_go_on),
        cmocka_unit_test(an_expired_answer_is_better_than_none_if_the_caller_says_so),
        cmocka_unit_test(an_expired_answer_can_be_invalidated),
        cmocka_unit_test(the_server_bounds_how_stale),
        cmocka_unit_test(prompts_and_answers_are_not_logged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
