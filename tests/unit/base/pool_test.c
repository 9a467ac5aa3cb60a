#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include "tests/support/cmocka.h"
#include "tests/support/fail_malloc.h"

#include "src/base/pool.h"

typedef struct {
    sc_task         task;
    pthread_mutex_t gate;
    atomic_int      runs;
    sc_pool        *pool;
    sc_task        *next; /* posted by run */
} job;

static void job_run(sc_task *task)
{
    job *j = SC_CONTAINER(task, job, task);
    pthread_mutex_lock(&j->gate);
    pthread_mutex_unlock(&j->gate);
    atomic_fetch_add(&j->runs, 1);
    if (j->next != NULL)
        assert_int_equal(sc_pool_post(j->pool, j->next), SC_OK);
}

static void job_init(job *j)
{
    *j = (job){.task = {.run = job_run}};
    pthread_mutex_init(&j->gate, NULL);
}

/* A request would be answered twice, or never. */
static void each_task_runs_exactly_once(void **state)
{
    (void)state;
    enum { JOBS = 2000 };
    static job jobs[JOBS];
    sc_pool   *pool;
    assert_int_equal(
        sc_pool_open(&(sc_pool_options){.name = "workers", .threads = 4, .queue_max = JOBS}, &pool),
        SC_OK);
    for (int i = 0; i < JOBS; i++) {
        job_init(&jobs[i]);
        assert_int_equal(sc_pool_post(pool, &jobs[i].task), SC_OK);
    }
    sc_pool_close(pool);
    for (int i = 0; i < JOBS; i++)
        assert_int_equal(atomic_load(&jobs[i].runs), 1);
}

/* A burst would grow the queue until memory ends. */
static void a_full_queue_refuses_at_once(void **state)
{
    (void)state;
    static job held, waiting[2], refused;
    sc_pool   *pool;
    job_init(&held);
    job_init(&waiting[0]);
    job_init(&waiting[1]);
    job_init(&refused);
    assert_int_equal(
        sc_pool_open(&(sc_pool_options){.name = "one", .threads = 1, .queue_max = 2}, &pool),
        SC_OK);
    pthread_mutex_lock(&held.gate);
    assert_int_equal(sc_pool_post(pool, &held.task), SC_OK);
    while (sc_pool_waiting(pool) != 0)
        sched_yield();
    assert_int_equal(sc_pool_post(pool, &waiting[0].task), SC_OK);
    assert_int_equal(sc_pool_post(pool, &waiting[1].task), SC_OK);
    assert_int_equal(sc_pool_post(pool, &refused.task), SC_BUSY);
    assert_int_equal(sc_pool_waiting(pool), 2);
    pthread_mutex_unlock(&held.gate);
    sc_pool_close(pool);
    assert_int_equal(atomic_load(&waiting[1].runs), 1);
    assert_int_equal(atomic_load(&refused.runs), 0);
}

/* Work in several stages would be lost at shutdown. */
static void a_task_posted_by_a_task_runs_before_close_returns(void **state)
{
    (void)state;
    static job first, second;
    sc_pool   *pool;
    job_init(&first);
    job_init(&second);
    assert_int_equal(
        sc_pool_open(&(sc_pool_options){.name = "two", .threads = 2, .queue_max = 4}, &pool),
        SC_OK);
    first.pool = pool;
    first.next = &second.task;
    assert_int_equal(sc_pool_post(pool, &first.task), SC_OK);
    sc_pool_close(pool);
    assert_int_equal(atomic_load(&second.runs), 1);
}

static bool open_and_close(void *context)
{
    (void)context;
    sc_pool  *pool;
    sc_status status =
        sc_pool_open(&(sc_pool_options){.name = "p", .threads = 2, .queue_max = 1}, &pool);
    assert_true((status == SC_OK) == (pool != NULL));
    sc_pool_close(pool);
    return status == SC_OK;
}

static void without_memory_there_is_no_pool(void **state)
{
    (void)state;
    assert_int_equal(sc_fail_malloc_each(open_and_close, NULL), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_task_runs_exactly_once),
        cmocka_unit_test(a_full_queue_refuses_at_once),
        cmocka_unit_test(a_task_posted_by_a_task_runs_before_close_returns),
        cmocka_unit_test(without_memory_there_is_no_pool),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
