#include <pthread.h>

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_long_name_is_cut),
        cmocka_unit_test(there_is_a_processor),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
