#include <pthread.h>

#include "tests/support/cmocka.h"

#include "src/base/random.h"

/* Retries of many servers would come at the same moment. */
static void a_range_is_used_whole_and_never_left(void **state)
{
    (void)state;
    int seen[11] = {0};
    for (int i = 0; i < 11000; i++) {
        int64_t value = sc_random_between(-5, 5);
        assert_true(value >= -5 && value <= 5);
        seen[value + 5]++;
    }
    for (int i = 0; i < 11; i++)
        assert_in_range(seen[i], 800, 1200);
    assert_int_equal(sc_random_between(7, 7), 7);
    for (int i = 0; i < 100; i++)
        (void)sc_random_between(INT64_MIN, INT64_MAX);
}

static void *draw(void *arg)
{
    *(uint64_t *)arg = sc_random_u64();
    return NULL;
}

/* Two threads would give two entries the same version. */
static void threads_draw_different_numbers(void **state)
{
    (void)state;
    uint64_t  values[8];
    pthread_t threads[8];
    for (int i = 0; i < 8; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, draw, &values[i]), 0);
    for (int i = 0; i < 8; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < 8; i++)
        for (int j = 0; j < i; j++)
            assert_true(values[i] != values[j]);
    assert_true(sc_random_u64() != sc_random_u64());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_range_is_used_whole_and_never_left),
        cmocka_unit_test(threads_draw_different_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
