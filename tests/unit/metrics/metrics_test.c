#include <math.h>
#include <pthread.h>

#include "tests/support/cmocka.h"

#include "src/metrics/expose.h"
#include "src/metrics/metrics.h"

static sc_instant at_seconds(int64_t seconds)
{
    return (sc_instant){seconds * 1000000000};
}

/* An operator reads p95 = 1 s while requests take 2 s. */
static void quantiles_are_within_the_stated_error(void **state)
{
    (void)state;
    static sc_histogram histogram;
    for (uint64_t us = 1; us <= 100000; us++)
        sc_histogram_record(&histogram, us, at_seconds(1));
    sc_summary all = sc_histogram_summary(&histogram, SC_SINCE_START, at_seconds(1));
    assert_int_equal(all.count, 100000);
    assert_float_equal(all.p50_us, 50000, 50000 * 0.032);
    assert_float_equal(all.p95_us, 95000, 95000 * 0.032);
    assert_float_equal(all.p99_us, 99000, 99000 * 0.032);
    assert_float_equal(all.mean_us, 50000.5, 0.001);
    assert_float_equal(all.max_us, 100000, 0.001);
}

/* A value beyond the range would be written outside the table. */
static void extreme_values_stay_in_the_table(void **state)
{
    (void)state;
    static sc_histogram histogram;
    sc_histogram_record(&histogram, 0, at_seconds(1));
    sc_histogram_record(&histogram, UINT64_MAX / 2, at_seconds(1));
    sc_summary all = sc_histogram_summary(&histogram, SC_SINCE_START, at_seconds(1));
    assert_int_equal(all.count, 2);
    assert_float_equal(all.p50_us, 0, 0.001);
}

/* "The last minute" would show yesterday's outage. */
static void the_minute_forgets_and_the_total_does_not(void **state)
{
    (void)state;
    static sc_histogram histogram;
    static sc_counter   counter;
    sc_histogram_record(&histogram, 10, at_seconds(100));
    sc_counter_add(&counter, 3, at_seconds(100));
    assert_int_equal(sc_counter_minute(&counter, at_seconds(155)), 3);
    assert_int_equal(sc_histogram_summary(&histogram, SC_LAST_MINUTE, at_seconds(155)).count, 1);
    assert_int_equal(sc_counter_minute(&counter, at_seconds(166)), 0);
    assert_int_equal(sc_histogram_summary(&histogram, SC_LAST_MINUTE, at_seconds(166)).count, 0);
    /* The ring comes round to the same slice. */
    sc_counter_add(&counter, 1, at_seconds(100 + SC_SLICES * SC_SLICE_SECONDS));
    assert_int_equal(sc_counter_minute(&counter, at_seconds(170)), 1);
    assert_int_equal(sc_counter_total(&counter), 4);
    assert_int_equal(sc_histogram_count(&histogram), 1);
}

static void every_value_lands_within_the_error(void **state)
{
    (void)state;
    for (uint64_t us = 1; us < (uint64_t)1 << 32; us = us + us / 7 + 1) {
        static sc_histogram one;
        memset(&one, 0, sizeof one);
        sc_histogram_record(&one, us, at_seconds(1));
        sc_histogram_record(&one, us * 40, at_seconds(1)); /* so that the maximum hides nothing */
        sc_summary all = sc_histogram_summary(&one, SC_SINCE_START, at_seconds(1));
        assert_true(fabs(all.p50_us - (double)us) <= (double)us * 0.032);
    }
}

enum { THREADS = 4, RECORDS = 50000 };
static sc_histogram shared_histogram;
static sc_counter   shared_counter;

static void *record_many(void *arg)
{
    (void)arg;
    for (int i = 0; i < RECORDS; i++) {
        sc_histogram_record(&shared_histogram, (uint64_t)i % 1000, at_seconds(i / 1000));
        sc_counter_add(&shared_counter, 2, at_seconds(i / 1000));
    }
    return NULL;
}

/* Requests that no tier accounts for: the sum in Stats would not be the requests. */
static void threads_lose_nothing_of_the_total(void **state)
{
    (void)state;
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, record_many, NULL), 0);
    for (int i = 0; i < THREADS; i++) {
        (void)sc_histogram_summary(&shared_histogram, SC_LAST_MINUTE, at_seconds(i));
        pthread_join(threads[i], NULL);
    }
    assert_int_equal(sc_histogram_count(&shared_histogram), THREADS * RECORDS);
    assert_int_equal(sc_counter_total(&shared_counter), 2 * THREADS * RECORDS);
}

/* Prometheus refuses a scrape whose buckets shrink or whose lines are malformed. */
static void exposition_is_cumulative_and_well_formed(void **state)
{
    (void)state;
    static sc_histogram histogram;
    sc_histogram_record(&histogram, 40, at_seconds(1));
    sc_histogram_record(&histogram, 900, at_seconds(1));
    sc_metric rows[] = {
        {.name = "a_total",
         .labels = "k=\"x\"",
         .help = "A.",
         .kind = SC_METRIC_COUNTER,
         .value = 2},
        {.name = "a_total",
         .labels = "k=\"y\"",
         .help = "A.",
         .kind = SC_METRIC_COUNTER,
         .value = 3},
        {.name = "d_seconds",
         .labels = "",
         .help = "D.",
         .kind = SC_METRIC_HISTOGRAM,
         .histogram = &histogram},
    };
    sc_buf out;
    sc_buf_init(&out, 65536);
    sc_expose(&out, rows, 3);
    assert_non_null(strstr(out.data, "# HELP a_total A.\n# TYPE a_total counter\n"
                                     "a_total{k=\"x\"} 2\na_total{k=\"y\"} 3\n"));
    assert_non_null(strstr(out.data, "d_seconds_bucket{le=\"5e-05\"} 1\n"));
    assert_non_null(strstr(out.data, "d_seconds_bucket{le=\"0.001\"} 2\n"));
    assert_non_null(strstr(out.data, "d_seconds_bucket{le=\"+Inf\"} 2\n"));
    assert_non_null(strstr(out.data, "d_seconds_count 2\n"));
    sc_buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quantiles_are_within_the_stated_error),
        cmocka_unit_test(every_value_lands_within_the_error),
        cmocka_unit_test(threads_lose_nothing_of_the_total),
        cmocka_unit_test(extreme_values_stay_in_the_table),
        cmocka_unit_test(the_minute_forgets_and_the_total_does_not),
        cmocka_unit_test(exposition_is_cumulative_and_well_formed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
