#include "tests/support/cmocka.h"

#include "src/base/clock.h"

/* A deadline far away would wrap into the past. */
static void sums_saturate(void **state)
{
    (void)state;
    sc_instant one = {1};
    assert_int_equal(sc_instant_after_ms(one, 5).ns, 5000001);
    assert_int_equal(sc_instant_after_ms(one, -5).ns, -4999999);
    assert_int_equal(sc_instant_after_ms(one, INT64_MAX).ns, INT64_MAX);
    assert_int_equal(sc_instant_after_ms((sc_instant){INT64_MAX - 5}, 1).ns, INT64_MAX);
    assert_int_equal(sc_instant_after_ms(SC_INSTANT_NEVER, -5).ns, INT64_MAX);
    assert_true(sc_instant_after_ms(one, INT64_MIN).ns == INT64_MIN);
}

/* A wait of 0 ms for 0.3 ms left would spin. */
static void what_remains_is_rounded_up(void **state)
{
    (void)state;
    sc_instant now = {1000000};
    assert_int_equal(sc_remaining_ms(now, (sc_instant){1000000}), 0);
    assert_int_equal(sc_remaining_ms(now, (sc_instant){5}), 0);
    assert_int_equal(sc_remaining_ms(now, (sc_instant){1000001}), 1);
    assert_int_equal(sc_remaining_ms(now, (sc_instant){2000000}), 1);
    assert_int_equal(sc_remaining_ms(now, (sc_instant){2000001}), 2);
    assert_int_equal(sc_remaining_ms(now, SC_INSTANT_NEVER), INT64_MAX);
    assert_true(sc_remaining_ms((sc_instant){0}, (sc_instant){INT64_MAX - 1}) > 0);
}

static void elapsed_time_is_never_negative(void **state)
{
    (void)state;
    assert_int_equal(sc_elapsed_us((sc_instant){1000}, (sc_instant){5999}), 4);
    assert_int_equal(sc_elapsed_us((sc_instant){5000}, (sc_instant){1000}), 0);
}

static void clocks_run(void **state)
{
    (void)state;
    sc_instant first = sc_now();
    sc_instant second = sc_now();
    assert_false(sc_instant_before(second, first));
    assert_int_equal(sc_instant_earlier(first, SC_INSTANT_NEVER).ns, first.ns);
    assert_true(sc_wall_now().ms > 1600000000000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums_saturate),
        cmocka_unit_test(what_remains_is_rounded_up),
        cmocka_unit_test(elapsed_time_is_never_negative),
        cmocka_unit_test(clocks_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
