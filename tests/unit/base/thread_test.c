#include <pthread.h>
#include <sched.h>
#include <sys/resource.h>
#include <unistd.h>

#include "tests/support/cmocka.h"

#include "src/base/thread.h"

static void a_long_name_is_cut(void **state)
{
    (void)state;
    char name[16];
    sc_thread_name("a-name-that-is-too-long");
    assert_int_equal(pthread_getname_np(pthread_self(), name, sizeof name), 0);
    assert_string_equal(name, "a-name-that-is-");
}

static void there_is_a_processor(void **state)
{
    (void)state;
    assert_in_range(sc_cpu_count(), 1, 1 << 20);
}

/* An operator who gives the server a nice value, or another policy, means it. */
static void promptness_changes_nothing_else(void **state)
{
    (void)state;
    int nicer = getpriority(PRIO_PROCESS, (id_t)gettid()) + 1; /* what anybody may ask for */
    assert_int_equal(setpriority(PRIO_PROCESS, (id_t)gettid(), nicer), 0);
    sc_thread_prompt();
    assert_int_equal(getpriority(PRIO_PROCESS, (id_t)gettid()), nicer > 19 ? 19 : nicer);
    assert_int_equal(sched_setscheduler(0, SCHED_BATCH, &(struct sched_param){0}), 0);
    sc_thread_prompt();
    assert_int_equal(sched_getscheduler(0), SCHED_BATCH);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_long_name_is_cut),
        cmocka_unit_test(there_is_a_processor),
        cmocka_unit_test(promptness_changes_nothing_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
