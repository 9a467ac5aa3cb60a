#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "src/embed/local/half.h"

/* A weight would change its value by being stored and read. */
static void every_half_survives_the_way_to_float_and_back(void **state)
{
    (void)state;
    for (uint32_t half = 0; half <= UINT16_MAX; half++) {
        float value = sc_half_float((uint16_t)half);
        if (isnan(value))
            assert_true(isnan(sc_half_float(sc_half_of(value))));
        else
            assert_int_equal(sc_half_of(value), half);
    }
}

/* Between two halves the nearer one is right, and the even one when both are as near. */
static void floats_round_to_the_nearest_half_and_ties_to_even(void **state)
{
    (void)state;
    for (uint16_t half = 0; half < 0x7BFF; half++) {
        float low = sc_half_float(half), high = sc_half_float((uint16_t)(half + 1));
        float middle = low + (high - low) / 2;
        assert_int_equal(sc_half_of(middle), half % 2 == 0 ? half : half + 1);
        assert_int_equal(sc_half_of(nextafterf(middle, 0)), half);
        assert_int_equal(sc_half_of(nextafterf(middle, INFINITY)), half + 1);
        assert_int_equal(sc_half_of(-nextafterf(middle, 0)), half | 0x8000);
    }
}

static void what_is_too_large_becomes_infinity_and_what_is_too_small_zero(void **state)
{
    (void)state;
    assert_int_equal(sc_half_of(65519.0f), 0x7BFF);
    assert_int_equal(sc_half_of(65520.0f), 0x7C00);
    assert_int_equal(sc_half_of(-INFINITY), 0xFC00);
    assert_int_equal(sc_half_of(1e-9f), 0);
    assert_int_equal(sc_half_of(-1e-30f), 0x8000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_half_survives_the_way_to_float_and_back),
        cmocka_unit_test(floats_round_to_the_nearest_half_and_ties_to_even),
        cmocka_unit_test(what_is_too_large_becomes_infinity_and_what_is_too_small_zero),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
