/* A tenant's share of the store, from its questions' side. */
#include "src/pipeline/work.h"

#include <stdio.h>

#include "tests/support/pipeline_rig.h"

static ask_outcome ask_as(rig *r, const char *tenant, const char *prompt, sc_quota_limits quota)
{
    ask a;
    ask_init(&a, r, prompt);
    a.request.question.scope.tenant = sc_str_of(tenant);
    a.request.question.quota = quota;
    a.request.question.max_distance = 0; /* the exact key, or none */
    ask_go(&a);
    return ask_outcome_of(&a);
}

static void assert_source(rig *r, const char *tenant, const char *prompt, sc_source source)
{
    ask_outcome outcome = ask_as(r, tenant, prompt, (sc_quota_limits){0, 0});
    assert_int_equal(outcome.status, SC_OK);
    assert_int_equal(outcome.source, source);
}

static uint64_t evicted(rig *r)
{
    return sc_counter_total(&sc_pipeline_metrics_of(r->pipeline)->quota_evicted);
}

/* A tenant's flood would fill the store, or push out another's answers. */
static void the_oldest_of_the_tenant_makes_room(void **state)
{
    static const char *const prompts[] = {"alpha", "beta", "gamma", "delta"};
    rig                      r;
    sc_quota_limits          two = {.entries_max = 2};
    (void)state;
    rig_open(&r, NULL);
    assert_true(ask_as(&r, "other", "alpha", (sc_quota_limits){0, 0}).stored);
    for (size_t i = 0; i < 4; i++) {
        assert_true(ask_as(&r, "acme", prompts[i], two).stored);
        usleep(2000); /* a later millisecond */
    }
    EVENTUALLY(fake_store_documents(&r.store) == 3);
    assert_int_equal(evicted(&r), 2);
    assert_int_equal(sc_quota_look(r.pipeline->quota, SC_STR("acme")).entries, 2);
    assert_source(&r, "acme", "delta", SC_SOURCE_EXACT);
    assert_source(&r, "acme", "gamma", SC_SOURCE_EXACT);
    assert_source(&r, "other", "alpha", SC_SOURCE_EXACT);
    assert_source(&r, "acme", "alpha", SC_SOURCE_LLM);
    rig_close(&r);
}

static void an_answer_larger_than_the_whole_share_is_given_but_not_kept(void **state)
{
    rig r;
    (void)state;
    rig_open(&r, NULL);
    ask_outcome outcome = ask_as(&r, "acme", "alpha", (sc_quota_limits){.bytes_max = 10});
    assert_int_equal(outcome.status, SC_OK);
    assert_int_equal(outcome.source, SC_SOURCE_LLM);
    assert_false(outcome.stored);
    assert_int_equal(sc_counter_total(&sc_pipeline_metrics_of(r.pipeline)->quota_refused), 1);
    assert_int_equal(fake_store_documents(&r.store), 0);
    /* What it holds already stays. */
    uint64_t bytes = 0;
    assert_true(ask_as(&r, "acme", "alpha", (sc_quota_limits){.bytes_max = 1 << 20}).stored);
    bytes = sc_quota_look(r.pipeline->quota, SC_STR("acme")).bytes;
    assert_true(bytes > FAKE_EMBED_DIM * sizeof(float));
    assert_false(ask_as(&r, "acme", "beta", (sc_quota_limits){.bytes_max = 10}).stored);
    assert_source(&r, "acme", "alpha", SC_SOURCE_EXACT);
    /* A share for one and a half holds one. */
    assert_true(ask_as(&r, "acme", "gamma", (sc_quota_limits){.bytes_max = bytes * 3 / 2}).stored);
    assert_int_equal(sc_quota_look(r.pipeline->quota, SC_STR("acme")).entries, 1);
    assert_int_equal(evicted(&r), 1);
    rig_close(&r);
}

/* Otherwise a store that was away once would hold more than is counted, for ever. */
static void what_could_not_be_removed_is_removed_by_the_next(void **state)
{
    rig             r;
    sc_quota_limits one = {.entries_max = 1};
    (void)state;
    rig_open(&r, NULL);
    assert_true(ask_as(&r, "acme", "alpha", one).stored);
    usleep(2000);
    atomic_store(&r.store.status, SC_UNAVAILABLE);
    assert_true(ask_as(&r, "acme", "beta", one).stored);
    assert_int_equal(fake_store_documents(&r.store), 1);
    assert_int_equal(sc_quota_look(r.pipeline->quota, SC_STR("acme")).entries, 2);
    atomic_store(&r.store.status, SC_OK);
    usleep(2000);
    assert_true(ask_as(&r, "acme", "gamma", one).stored);
    EVENTUALLY(fake_store_documents(&r.store) == 1);
    assert_int_equal(sc_quota_look(r.pipeline->quota, SC_STR("acme")).entries, 1);
    assert_source(&r, "acme", "gamma", SC_SOURCE_EXACT);
    rig_close(&r);
}

/* What other servers write and remove counts as well. */
static void the_feed_keeps_the_account(void **state)
{
    rig       r;
    float     vector[FAKE_EMBED_DIM] = {1};
    sc_digest first = {{1}}, second = {{2}};
    (void)state;
    rig_open(&r, NULL);
    sc_entry_fields fields = {.id = first,
                              .version = 1,
                              .tenant = SC_STR("acme"),
                              .created = {1},
                              .expires = {sc_wall_now().ms + 100000},
                              .answer = SC_STR("yes")};
    sc_entry       *one = sc_entry_make(&fields);
    fields.id = second;
    sc_entry *two = sc_entry_make(&fields);
    r.feed.put(r.feed.context, one, vector);
    r.feed.put(r.feed.context, one, vector);
    r.feed.put(r.feed.context, two, NULL);
    sc_quota_held held = sc_quota_look(r.pipeline->quota, SC_STR("acme"));
    assert_int_equal(held.entries, 2);
    assert_int_equal(held.bytes, one->held_bytes + two->held_bytes + sizeof vector);
    assert_true(ask_as(&r, "acme", "alpha", (sc_quota_limits){.entries_max = 2}).stored);
    assert_int_equal(evicted(&r), 1);
    r.feed.removed(r.feed.context, &second);
    assert_int_equal(sc_quota_look(r.pipeline->quota, SC_STR("acme")).entries, 1);
    r.feed.cleared(r.feed.context);
    assert_int_equal(sc_quota_look(r.pipeline->quota, SC_STR("acme")).entries, 0);
    sc_entry_unref(one);
    sc_entry_unref(two);
    rig_close(&r);
}

static void removed_too(sc_invalidation *invalidation)
{
    (void)invalidation;
}

static void an_invalidation_gives_the_room_back(void **state)
{
    rig             r;
    sc_invalidation invalidation = {.store = {.filter = {.tenant = SC_STR("acme")}},
                                    .finished = removed_too};
    (void)state;
    rig_open(&r, NULL);
    assert_true(ask_as(&r, "acme", "alpha", (sc_quota_limits){0, 0}).stored);
    assert_true(ask_as(&r, "other", "alpha", (sc_quota_limits){0, 0}).stored);
    sc_pipeline_invalidate(r.pipeline, &invalidation);
    assert_int_equal(invalidation.store.removed, 1);
    assert_int_equal(sc_quota_look(r.pipeline->quota, SC_STR("acme")).entries, 0);
    assert_int_equal(sc_quota_look(r.pipeline->quota, SC_STR("other")).entries, 1);
    sc_invalidation_fini(&invalidation);
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_oldest_of_the_tenant_makes_room),
        cmocka_unit_test(an_answer_larger_than_the_whole_share_is_given_but_not_kept),
        cmocka_unit_test(what_could_not_be_removed_is_removed_by_the_next),
        cmocka_unit_test(the_feed_keeps_the_account),
        cmocka_unit_test(an_invalidation_gives_the_room_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
