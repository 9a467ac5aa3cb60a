#include "src/pipeline/work.h"

#include <pthread.h>
#include <sched.h>

#include "tests/support/pipeline_rig.h"

static sc_entry *entry_of(const char *name, uint64_t version)
{
    sc_entry_fields fields = {.id = sc_sha256(name, strlen(name)),
                              .version = version,
                              .expires = {INT64_MAX}};
    sc_entry       *entry = sc_entry_make(&fields);
    assert_non_null(entry);
    return entry;
}

static void what_changed_since_it_was_read_is_not_recalled(void **state)
{
    (void)state;
    rig r;
    rig_open(&r, NULL);
    sc_entry        *old = entry_of("a", 1), *newer = entry_of("a", 2), *other = entry_of("b", 3);
    const sc_digest *id = &old->f.id;

    uint32_t seen = sc_pipeline_changes_of(r.pipeline, id);
    sc_pipeline_recall(r.pipeline, old, NULL, seen);
    assert_int_equal(sc_warm_version(r.warm, id), 1);
    sc_pipeline_forget(r.pipeline, id);
    assert_int_equal(sc_warm_version(r.warm, id), 0);
    sc_pipeline_recall(r.pipeline, old, NULL, seen);
    assert_int_equal(sc_warm_version(r.warm, id), 0);

    seen = sc_pipeline_changes_of(r.pipeline, id);
    sc_pipeline_learn(r.pipeline, newer, NULL);
    sc_pipeline_recall(r.pipeline, old, NULL, seen);
    assert_int_equal(sc_warm_version(r.warm, id), 2);

    seen = sc_pipeline_changes_of(r.pipeline, id);
    sc_pipeline_forget_all(r.pipeline);
    sc_pipeline_recall(r.pipeline, old, NULL, seen);
    assert_int_equal(sc_warm_version(r.warm, id), 0);

    /* Another's change is none. */
    seen = sc_pipeline_changes_of(r.pipeline, id);
    sc_pipeline_learn(r.pipeline, other, NULL);
    sc_pipeline_recall(r.pipeline, old, NULL, seen);
    assert_int_equal(sc_warm_version(r.warm, id), 1);
    sc_entry_unref(old);
    sc_entry_unref(newer);
    sc_entry_unref(other);
    rig_close(&r);
}

static void an_epoch_ends_when_an_invalidation_begins(void **state)
{
    (void)state;
    rig r;
    rig_open(&r, NULL);
    uint64_t first = sc_pipeline_epoch(r.pipeline);
    assert_true(sc_pipeline_same_epoch(r.pipeline, first));
    sc_pipeline_invalidation_begins(r.pipeline);
    assert_false(sc_pipeline_same_epoch(r.pipeline, first));
    uint64_t during = sc_pipeline_epoch(r.pipeline);
    assert_false(sc_pipeline_same_epoch(r.pipeline, during));
    assert_false(sc_pipeline_put_begins(r.pipeline, during));
    sc_pipeline_invalidation_begins(r.pipeline); /* two at a time */
    sc_pipeline_invalidation_ends(r.pipeline);
    assert_false(sc_pipeline_same_epoch(r.pipeline, sc_pipeline_epoch(r.pipeline)));
    sc_pipeline_invalidation_ends(r.pipeline);
    assert_false(sc_pipeline_same_epoch(r.pipeline, first));
    assert_false(sc_pipeline_same_epoch(r.pipeline, during));
    uint64_t after = sc_pipeline_epoch(r.pipeline);
    assert_true(sc_pipeline_put_begins(r.pipeline, after));
    sc_pipeline_put_ends(r.pipeline);
    rig_close(&r);
}

/* ---- a removal and a recall at the same moment ------------------------------------------------ */

enum { ROUNDS = 20000 };

typedef struct {
    rig        *r;
    sc_entry   *entry;
    atomic_uint started, ended; /* rounds */
} race;

/* Spins, since both must run at the same time; but not on a busy machine's last processor. */
static void wait_for_round(const atomic_uint *count, unsigned round)
{
    for (unsigned spins = 0; atomic_load(count) < round; spins++)
        if (spins > 2000)
            sched_yield();
}

/* A little time, another one each round: one of them is the moment that matters. */
static void wander(unsigned steps)
{
    for (volatile unsigned i = 0; i < steps; i = i + 1) {
    }
}

static void *forget_each_round(void *argument)
{
    race *of = argument;
    for (unsigned round = 1; round <= ROUNDS; round++) {
        wait_for_round(&of->started, round);
        wander(round * 7 % 128);
        sc_pipeline_forget(of->r->pipeline, &of->entry->f.id);
        atomic_store(&of->ended, round);
    }
    return NULL;
}

/* Whatever the order, what was read before the removal is not in memory after both. */
static void a_removal_wins_over_a_recall_of_what_was_read_before(void **state)
{
    (void)state;
    rig       r;
    pthread_t thread;
    rig_open(&r, NULL);
    race     of = {.r = &r, .entry = entry_of("a", 1)};
    unsigned lived_on = 0;
    assert_int_equal(pthread_create(&thread, NULL, forget_each_round, &of), 0);
    for (unsigned round = 1; round <= ROUNDS; round++) {
        uint32_t seen = sc_pipeline_changes_of(r.pipeline, &of.entry->f.id);
        atomic_store(&of.started, round);
        wander(round * 13 % 64);
        sc_pipeline_recall(r.pipeline, of.entry, NULL, seen);
        wait_for_round(&of.ended, round);
        lived_on += sc_warm_version(r.warm, &of.entry->f.id) != 0;
        sc_warm_remove(r.warm, &of.entry->f.id, 0);
    }
    pthread_join(thread, NULL);
    assert_int_equal(lived_on, 0);
    sc_entry_unref(of.entry);
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_changed_since_it_was_read_is_not_recalled),
        cmocka_unit_test(an_epoch_ends_when_an_invalidation_begins),
        cmocka_unit_test(a_removal_wins_over_a_recall_of_what_was_read_before),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
