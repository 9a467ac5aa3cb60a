/* Memory runs out at each place where it can: the request still finishes once, and either it has its
 * answer or it says why not. */
#include "src/pipeline/pipeline.h"

#include <stdio.h>

#include "tests/support/fail_malloc.h"
#include "tests/support/pipeline_rig.h"

typedef struct {
    rig      *r;
    unsigned  runs;
    ask_outcome last;
    bool      fresh;
} asker;

static bool ask_one(void *context)
{
    asker *of = context;
    char   prompt[32];
    ask    a;
    snprintf(prompt, sizeof prompt, "question %c%c", (char)('a' + of->runs / 26),
             (char)('a' + of->runs % 26));
    of->runs += of->fresh;
    ask_init(&a, of->r, prompt);
    ask_go(&a);
    of->last = ask_outcome_of(&a);
    assert_true(of->last.status == SC_OK || of->last.status == SC_NO_MEMORY);
    return of->last.status == SC_OK;
}

/* Without a vector all happens on this thread, on which allocations fail. */
static void a_miss_without_memory_ends_once(void **state)
{
    (void)state;
    rig r;
    rig_open(&r, NULL);
    atomic_store(&r.embed.status, SC_UNAVAILABLE);
    asker of = {.r = &r, .fresh = true};
    assert_true(sc_fail_malloc_each(ask_one, &of) > 5);
    assert_true(of.last.stored);
    EVENTUALLY(sc_pipeline_flights(r.pipeline) == 0);
    rig_close(&r);
}

static void a_hit_without_memory_ends_once(void **state)
{
    (void)state;
    rig r;
    rig_open(&r, NULL);
    asker of = {.r = &r};
    assert_true(ask_one(&of));
    assert_true(sc_fail_malloc_each(ask_one, &of) > 0); /* the canonical text needs some */
    assert_int_equal(of.last.source, SC_SOURCE_EXACT);
    assert_int_equal(atomic_load(&r.llm.asked), 1);
    rig_close(&r);
}

static rig *to_open;

static bool open_one(void *context)
{
    (void)context;
    sc_pipeline        *pipeline = (sc_pipeline *)to_open;
    sc_pipeline_options options = rig_options();
    sc_status           status =
        sc_pipeline_open(&options, sc_pipeline_parts_of(to_open->pipeline), &pipeline);
    if (status != SC_OK)
        assert_null(pipeline);
    sc_pipeline_close(pipeline);
    return status == SC_OK;
}

static void opening_without_memory_leaves_nothing(void **state)
{
    (void)state;
    rig r;
    rig_open(&r, NULL);
    to_open = &r;
    assert_true(sc_fail_malloc_each(open_one, NULL) >= 4);
    rig_close(&r);
}

static void ignore(sc_invalidation *invalidation)
{
    (void)invalidation;
}

static rig *to_forget;

static bool forget_everything(void *context)
{
    (void)context;
    sc_invalidation all = {.store = {.filter = {.any_tenant = true}}, .finished = ignore};
    sc_pipeline_invalidate(to_forget->pipeline, &all);
    bool ok = all.store.call.status == SC_OK;
    sc_invalidation_fini(&all);
    /* The list of what is to go did not fit: then all goes, rather than too little. */
    sc_warm_stats stats;
    sc_warm_look(to_forget->warm, &stats);
    assert_int_equal(stats.entries, 0);
    return ok;
}

static void an_invalidation_without_memory_removes_too_much_rather_than_too_little(void **state)
{
    (void)state;
    rig r;
    rig_open(&r, NULL);
    atomic_store(&r.embed.status, SC_UNAVAILABLE);
    to_forget = &r;
    rig_teach(&r, "a");
    sc_fail_malloc_arm(1);
    forget_everything(NULL);
    assert_true(sc_fail_malloc_disarm());
    rig_close(&r);
}

typedef struct {
    rig     *r;
    sc_arena arena; /* warmed up */
} quiet;

static bool hit_once(void *context)
{
    quiet *q = context;
    ask    a;
    ask_init(&a, q->r, "What is asked all day?");
    a.request.arena = &q->arena;
    ask_go(&a);
    bool hit = a.request.answer.status == SC_OK && a.request.answer.source == SC_SOURCE_EXACT;
    ask_end(&a);
    sc_arena_reset(&q->arena);
    return hit;
}

/* Each hit would wait for the heap's lock, and leave its memory in pieces. */
static void an_exact_hit_takes_nothing_from_the_heap(void **state)
{
    (void)state;
    rig r;
    rig_open(&r, NULL);
    rig_teach(&r, "What is asked all day?");
    quiet q = {.r = &r};
    sc_arena_init(&q.arena, 1 << 20);
    assert_true(hit_once(&q));
    assert_int_equal(sc_fail_malloc_each(hit_once, &q), 0);
    sc_arena_fini(&q.arena);
    rig_close(&r);
}

static bool near_hit_once(void *context)
{
    quiet         *q = context;
    ask            a;
    sc_gather_tray tray;
    sc_gather_tray_init(&tray);
    ask_init(&a, q->r, "What is asked otherwise?");
    a.request.arena = &q->arena;
    a.request.tray = &tray;
    ask_go(&a);
    sc_pipeline_search(q->r->pipeline, &tray);
    bool hit = a.request.answer.status == SC_OK && a.request.answer.source == SC_SOURCE_WARM;
    ask_end(&a);
    sc_arena_reset(&q->arena);
    return hit;
}

/* As for an exact hit: a question that is near one in memory, and whose vector is known. */
static void a_warm_hit_takes_nothing_from_the_heap(void **state)
{
    (void)state;
    rig r;
    rig_open(&r, NULL);
    fake_embed_put(&r.embed, "what is asked otherwise", "what is asked all day", 0.05F);
    rig_teach(&r, "What is asked all day?");
    quiet q = {.r = &r};
    sc_arena_init(&q.arena, 1 << 20);
    assert_true(near_hit_once(&q));
    assert_int_equal(sc_fail_malloc_each(near_hit_once, &q), 0);
    sc_arena_fini(&q.arena);
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_exact_hit_takes_nothing_from_the_heap),
        cmocka_unit_test(a_warm_hit_takes_nothing_from_the_heap),
        cmocka_unit_test(a_miss_without_memory_ends_once),
        cmocka_unit_test(a_hit_without_memory_ends_once),
        cmocka_unit_test(opening_without_memory_leaves_nothing),
        cmocka_unit_test(an_invalidation_without_memory_removes_too_much_rather_than_too_little),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
