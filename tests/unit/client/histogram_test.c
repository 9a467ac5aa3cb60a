#include <math.h>
#include <stdlib.h>

#include "client/load/histogram.h"
#include "tests/support/cmocka.h"

static void quantiles_are_within_their_promise(void **state)
{
    histogram *h = calloc(1, sizeof *h);
    (void)state;
    for (uint64_t i = 1; i <= 100000; i++)
        histogram_record(h, i * 1000);
    static const double parts[] = {0.01, 0.5, 0.9, 0.99, 0.999};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        double exact = parts[i] * 1e8;
        assert_true(fabs(histogram_quantile(h, parts[i]) - exact) <= 0.001 * exact);
    }
    assert_true(histogram_quantile(h, 1.0) <= 1e8);
    assert_int_equal(h->count, 100000);
    free(h);
}

static void extremes_have_a_bucket(void **state)
{
    histogram *h = calloc(1, sizeof *h);
    (void)state;
    histogram_record(h, 0);
    histogram_record(h, UINT64_MAX);
    assert_true(histogram_quantile(h, 0.5) < 1);
    assert_true(histogram_quantile(h, 1.0) > 1e18);
    free(h);
}

static void adding_up_loses_nothing(void **state)
{
    histogram *a = calloc(1, sizeof *a), *b = calloc(1, sizeof *b);
    (void)state;
    histogram_record(a, 100);
    histogram_record(b, 5000);
    histogram_record(b, 7000);
    histogram_add(a, b);
    assert_int_equal(a->count, 3);
    assert_int_equal(a->max_ns, 7000);
    assert_true(a->sum_ns == 12100);
    free(a);
    free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quantiles_are_within_their_promise),
        cmocka_unit_test(extremes_have_a_bucket),
        cmocka_unit_test(adding_up_loses_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
