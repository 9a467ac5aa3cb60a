#include "src/pipeline/metrics.h"

#include "tests/support/cmocka.h"

static sc_pipeline_metrics *open_metrics(void)
{
    sc_pipeline_metrics *metrics = NULL;
    assert_int_equal(sc_pipeline_metrics_open(&metrics), SC_OK);
    return metrics;
}

static uint64_t outcomes(const sc_pipeline_metrics *m)
{
    uint64_t sum = sc_counter_total(&m->not_found) + sc_counter_total(&m->cancelled) +
                   sc_counter_total(&m->failed);
    for (size_t i = 0; i < SC_SOURCE_COUNT; i++)
        sum += sc_counter_total(&m->answered[i]);
    return sum;
}

static void every_ending_is_counted_in_exactly_one_place(void **state)
{
    (void)state;
    sc_pipeline_metrics *m = open_metrics();
    uint64_t             steps[SC_STEP_COUNT] = {0};
    uint64_t             requests = 0;
    for (sc_status status = SC_OK; status < SC_STATUS_COUNT; status++)
        for (sc_source source = SC_SOURCE_NONE; source < SC_SOURCE_COUNT; source++) {
            sc_answer_figures figures = {.status = status, .source = source, .step_us = steps};
            sc_pipeline_count_answer(m, &figures, sc_now());
            assert_int_equal(outcomes(m), ++requests);
        }
    uint64_t errors = 0;
    for (size_t i = 0; i < SC_STATUS_COUNT; i++)
        errors += sc_counter_total(&m->errors[i]);
    assert_int_equal(errors, sc_counter_total(&m->failed));
    assert_int_equal(sc_counter_total(&m->errors[SC_OK]), 0);
    assert_int_equal(sc_counter_total(&m->cancelled), SC_SOURCE_COUNT);
    assert_int_equal(sc_counter_total(&m->not_found), SC_SOURCE_COUNT);
    sc_pipeline_metrics_close(m);
}

static void a_hit_is_measured_as_the_caches_time(void **state)
{
    (void)state;
    sc_pipeline_metrics *m = open_metrics();
    uint64_t             steps[SC_STEP_COUNT] = {[SC_STEP_EMBED] = 5};
    for (sc_source source = SC_SOURCE_EXACT; source <= SC_SOURCE_LLM; source++) {
        sc_answer_figures figures = {.source = source,
                                     .step_us = steps,
                                     .total_us = 100,
                                     .tokens_saved = source == SC_SOURCE_LLM ? 0 : 10,
                                     .stale = source == SC_SOURCE_EXACT};
        sc_pipeline_count_answer(m, &figures, sc_now());
    }
    assert_int_equal(sc_histogram_count(&m->cache_latency), 3); /* EXACT, WARM, REDIS */
    assert_int_equal(sc_histogram_count(&m->steps[SC_STEP_EMBED]), 5);
    assert_int_equal(sc_histogram_count(&m->steps[SC_STEP_ASK]), 0);
    assert_int_equal(sc_counter_total(&m->tokens_saved), 40);
    assert_int_equal(sc_counter_total(&m->stale_served), 1);
    sc_pipeline_metrics_close(m);
}

static void a_call_that_we_ended_is_no_failure_of_the_llm(void **state)
{
    (void)state;
    sc_pipeline_metrics *m = open_metrics();
    sc_pipeline_count_llm(m, SC_OK, 1000, 18);
    sc_pipeline_count_llm(m, SC_UNAVAILABLE, 50, 0);
    sc_pipeline_count_llm(m, SC_CANCELLED, 50, 0);
    assert_int_equal(sc_counter_total(&m->llm_calls), 3);
    assert_int_equal(sc_counter_total(&m->llm_failures), 1);
    assert_int_equal(sc_counter_total(&m->tokens_spent), 18);
    assert_int_equal(sc_histogram_count(&m->llm_latency), 1);
    sc_pipeline_metrics_close(m);
}

static void sources_and_steps_have_names(void **state)
{
    (void)state;
    for (sc_source source = SC_SOURCE_NONE; source < SC_SOURCE_COUNT; source++)
        assert_true(sc_source_name(source)[0] != '\0');
    for (sc_step step = 0; step < SC_STEP_COUNT; step++)
        assert_true(sc_step_name(step)[0] != '\0');
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_ending_is_counted_in_exactly_one_place),
        cmocka_unit_test(a_hit_is_measured_as_the_caches_time),
        cmocka_unit_test(a_call_that_we_ended_is_no_failure_of_the_llm),
        cmocka_unit_test(sources_and_steps_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
