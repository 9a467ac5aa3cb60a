#include "src/pipeline/gather.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "tests/support/cmocka.h"

enum { DIM = 4, HITS = 2 };

typedef struct {
    sc_gather_call call;
    float          vector[DIM];
    sc_candidate   hits[HITS];
    atomic_int     done;
    pthread_t      by; /* who called done */
    sem_t         *came_back;
    bool           blocks; /* holds its worker until the test says so */
    sem_t         *go_on;
    sem_t         *blocked;
} asked;

static void on_done(sc_gather_call *call)
{
    asked *a = SC_CONTAINER(call, asked, call);
    if (a->blocks) {
        sem_post(a->blocked);
        sem_wait(a->go_on);
    }
    a->by = pthread_self();
    atomic_fetch_add(&a->done, 1);
    sem_post(a->came_back); /* the last touch */
}

static sc_digest scope_of(unsigned number)
{
    return sc_sha256(&number, sizeof number);
}

/* One entry a scope, on the axis of the scope's number. */
static sc_warm *warm_with_scopes(unsigned scopes)
{
    sc_warm        *warm = NULL;
    sc_warm_options options = {.dim = DIM, .bytes_max = 1 << 24};
    assert_int_equal(sc_warm_open(&options, &warm), SC_OK);
    for (unsigned i = 0; i < scopes; i++) {
        float           vector[DIM] = {0};
        sc_entry_fields fields = {.id = scope_of(i + 1000),
                                  .scope = scope_of(i),
                                  .version = 1 + i,
                                  .expires = {INT64_MAX}};
        sc_entry       *entry = sc_entry_make(&fields);
        vector[i % DIM] = 1;
        assert_int_equal(sc_warm_put(warm, entry, vector), SC_OK);
        sc_entry_unref(entry);
    }
    return warm;
}

static void prepare(asked *a, unsigned scope, sem_t *came_back)
{
    *a = (asked){.came_back = came_back};
    a->vector[scope % DIM] = 1;
    a->call = (sc_gather_call){
        .scope = scope_of(scope),
        .query = {.vector = a->vector, .hits = a->hits, .k = HITS},
        .done = on_done,
    };
}

static void found_its_own(const asked *a, unsigned scope)
{
    assert_int_equal(atomic_load(&a->done), 1);
    assert_int_equal(a->call.query.hits_used, 1);
    assert_int_equal(a->hits[0].entry->f.version, 1 + scope);
    sc_entry_unref(a->hits[0].entry);
}

static void questions_of_many_scopes_find_their_own(void **state)
{
    (void)state;
    enum { SCOPES = 7, CALLS = 500 };
    sc_warm   *warm = warm_with_scopes(SCOPES);
    sc_gather *gather = NULL;
    sem_t      came_back;
    sem_init(&came_back, 0, 0);
    assert_int_equal(sc_gather_open(warm, 3, &gather), SC_OK);
    asked *all = calloc(CALLS, sizeof *all);
    assert_non_null(all);
    for (unsigned i = 0; i < CALLS; i++) {
        prepare(&all[i], i % SCOPES, &came_back);
        sc_gather_ask(gather, &all[i].call);
    }
    for (unsigned i = 0; i < CALLS; i++)
        sem_wait(&came_back);
    for (unsigned i = 0; i < CALLS; i++)
        found_its_own(&all[i], i % SCOPES);
    assert_int_equal(sc_gather_waiting(gather), 0);
    sc_gather_close(gather);
    free(all);
    sem_destroy(&came_back);
    sc_warm_close(warm);
}

/* While the only worker is busy, questions wait; then those of the first one's scope go together, and
 * no other scope is left behind. */
static void what_waits_is_gathered_by_scope(void **state)
{
    (void)state;
    sc_warm   *warm = warm_with_scopes(2);
    sc_gather *gather = NULL;
    sem_t      came_back, go_on, blocked;
    asked      first, rest[5];
    sem_init(&came_back, 0, 0);
    sem_init(&go_on, 0, 0);
    sem_init(&blocked, 0, 0);
    assert_int_equal(sc_gather_open(warm, 1, &gather), SC_OK);
    prepare(&first, 0, &came_back);
    first.blocks = true;
    first.go_on = &go_on;
    first.blocked = &blocked;
    sc_gather_ask(gather, &first.call);
    sem_wait(&blocked);
    for (unsigned i = 0; i < 5; i++) {
        prepare(&rest[i], i % 2, &came_back);
        sc_gather_ask(gather, &rest[i].call);
    }
    assert_int_equal(sc_gather_waiting(gather), 5);
    assert_int_equal(atomic_load(&rest[0].done), 0);
    sem_post(&go_on);
    for (unsigned i = 0; i < 6; i++)
        sem_wait(&came_back);
    found_its_own(&first, 0);
    for (unsigned i = 0; i < 5; i++)
        found_its_own(&rest[i], i % 2);
    sc_gather_close(gather);
    sem_destroy(&came_back);
    sem_destroy(&go_on);
    sem_destroy(&blocked);
    sc_warm_close(warm);
}

static void closing_searches_what_waits(void **state)
{
    (void)state;
    enum { CALLS = 100 };
    sc_warm   *warm = warm_with_scopes(1);
    sc_gather *gather = NULL;
    sem_t      came_back;
    asked      all[CALLS];
    sem_init(&came_back, 0, 0);
    assert_int_equal(sc_gather_open(warm, 2, &gather), SC_OK);
    for (unsigned i = 0; i < CALLS; i++) {
        prepare(&all[i], 0, &came_back);
        sc_gather_ask(gather, &all[i].call);
    }
    sc_gather_close(gather);
    for (unsigned i = 0; i < CALLS; i++)
        found_its_own(&all[i], 0);
    sem_destroy(&came_back);
    sc_warm_close(warm);
}

/* ---- trays --------------------------------------------------------------------------------- */

/* A question that has a thread of its own to come back to pays for no hop. */
static void a_tray_is_searched_on_its_own_thread(void **state)
{
    (void)state;
    enum { CALLS = 70 };
    sc_warm       *warm = warm_with_scopes(2);
    sc_gather     *gather = NULL;
    sc_gather_tray tray;
    sem_t          came_back;
    asked          all[CALLS];
    sem_init(&came_back, 0, 0);
    assert_int_equal(sc_gather_open(warm, 1, &gather), SC_OK);
    sc_gather_tray_init(&tray);
    sc_gather_clear(gather, &tray); /* an empty one is welcome */
    for (unsigned i = 0; i < CALLS; i++) {
        prepare(&all[i], i % 2, &came_back);
        sc_gather_put_aside(&tray, &all[i].call, DIM);
    }
    assert_int_equal(atomic_load(&all[0].done), 0);
    sc_gather_clear(gather, &tray);
    for (unsigned i = 0; i < CALLS; i++) {
        assert_true(pthread_equal(all[i].by, pthread_self()));
        found_its_own(&all[i], i % 2);
    }
    assert_true(sc_list_empty(&tray.calls));
    sc_gather_close(gather);
    sem_destroy(&came_back);
    sc_warm_close(warm);
}

/* A large scope, or a flood of questions, would let the thread's other callers wait. */
static void what_takes_long_is_left_to_the_workers(void **state)
{
    (void)state;
    enum { CALLS = 70 };
    sc_warm       *warm = warm_with_scopes(2);
    sc_gather     *gather = NULL;
    sc_gather_tray tray;
    sem_t          came_back;
    asked          all[CALLS];
    sem_init(&came_back, 0, 0);
    assert_int_equal(sc_gather_open(warm, 3, &gather), SC_OK);
    sc_gather_tray_init(&tray);
    for (unsigned i = 0; i < CALLS; i++) {
        prepare(&all[i], i % 2, &came_back);
        sc_gather_put_aside(&tray, &all[i].call, 1 << 24);
    }
    sc_gather_clear(gather, &tray);
    assert_true(sc_list_empty(&tray.calls));
    for (unsigned i = 0; i < CALLS; i++)
        sem_wait(&came_back);
    for (unsigned i = 0; i < CALLS; i++) {
        assert_false(pthread_equal(all[i].by, pthread_self()));
        found_its_own(&all[i], i % 2);
    }
    sc_gather_close(gather);
    sem_destroy(&came_back);
    sc_warm_close(warm);
}

/* Workers that have not come to their searches yet will pass over the same rows anyway. */
static void a_tray_joins_what_waits_for_a_worker(void **state)
{
    (void)state;
    sc_warm       *warm = warm_with_scopes(1);
    sc_gather     *gather = NULL;
    sc_gather_tray tray;
    sem_t          came_back, go_on, blocked;
    asked          first, second, mine;
    sem_init(&came_back, 0, 0);
    sem_init(&go_on, 0, 0);
    sem_init(&blocked, 0, 0);
    assert_int_equal(sc_gather_open(warm, 1, &gather), SC_OK);
    prepare(&first, 0, &came_back);
    first.blocks = true;
    first.go_on = &go_on;
    first.blocked = &blocked;
    sc_gather_ask(gather, &first.call);
    sem_wait(&blocked);
    prepare(&second, 0, &came_back);
    sc_gather_ask(gather, &second.call);
    prepare(&mine, 0, &came_back);
    sc_gather_tray_init(&tray);
    sc_gather_put_aside(&tray, &mine.call, DIM);
    sc_gather_clear(gather, &tray);
    assert_int_equal(sc_gather_waiting(gather), 2);
    sem_post(&go_on);
    for (int i = 0; i < 3; i++)
        sem_wait(&came_back);
    found_its_own(&first, 0);
    found_its_own(&second, 0);
    found_its_own(&mine, 0);
    sc_gather_close(gather);
    sem_destroy(&came_back);
    sem_destroy(&go_on);
    sem_destroy(&blocked);
    sc_warm_close(warm);
}

/* ---- many threads -------------------------------------------------------------------------- */

enum { THREADS = 6, ROUNDS = 400 };

static sc_gather *shared;

static void *ask_often(void *argument)
{
    unsigned  scope = (unsigned)(uintptr_t)argument % 3;
    sem_t     came_back;
    uintptr_t wrong = 0;
    sem_init(&came_back, 0, 0);
    for (int i = 0; i < ROUNDS; i++) {
        asked a;
        prepare(&a, scope, &came_back);
        sc_gather_ask(shared, &a.call);
        sem_wait(&came_back);
        wrong += atomic_load(&a.done) != 1 || a.call.query.hits_used != 1 ||
                 a.hits[0].entry->f.version != 1 + scope;
        sc_candidates_unref(a.hits, a.call.query.hits_used);
    }
    sem_destroy(&came_back);
    return (void *)wrong;
}

/* A worker that goes idle at the very moment at which a question arrives must still find it. */
static void no_question_is_lost_when_workers_go_idle(void **state)
{
    (void)state;
    sc_warm  *warm = warm_with_scopes(3);
    pthread_t threads[THREADS];
    assert_int_equal(sc_gather_open(warm, 2, &shared), SC_OK);
    for (uintptr_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, ask_often, (void *)i), 0);
    for (size_t i = 0; i < THREADS; i++) {
        void *wrong;
        pthread_join(threads[i], &wrong);
        assert_null(wrong);
    }
    sc_gather_close(shared);
    sc_warm_close(warm);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(questions_of_many_scopes_find_their_own),
        cmocka_unit_test(what_waits_is_gathered_by_scope),
        cmocka_unit_test(closing_searches_what_waits),
        cmocka_unit_test(a_tray_is_searched_on_its_own_thread),
        cmocka_unit_test(what_takes_long_is_left_to_the_workers),
        cmocka_unit_test(a_tray_joins_what_waits_for_a_worker),
        cmocka_unit_test(no_question_is_lost_when_workers_go_idle),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
