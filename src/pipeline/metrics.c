#include "src/pipeline/metrics.h"

#include <stdlib.h>

static const char *const source_names[SC_SOURCE_COUNT] = {
    [SC_SOURCE_NONE] = "none",   [SC_SOURCE_EXACT] = "exact",   [SC_SOURCE_WARM] = "warm",
    [SC_SOURCE_REDIS] = "redis", [SC_SOURCE_JOINED] = "joined", [SC_SOURCE_LLM] = "llm",
};

const char *sc_source_name(sc_source source)
{
    return source_names[source];
}

sc_status sc_pipeline_metrics_open(sc_pipeline_metrics **out)
{
    *out = calloc(1, sizeof **out);
    return *out == NULL ? SC_NO_MEMORY : SC_OK;
}

void sc_pipeline_metrics_close(sc_pipeline_metrics *metrics)
{
    free(metrics);
}

static void count_failure(sc_pipeline_metrics *metrics, sc_status status, sc_instant now)
{
    sc_counter *outcome = status == SC_NOT_FOUND   ? &metrics->not_found
                          : status == SC_CANCELLED ? &metrics->cancelled
                                                   : &metrics->failed;
    sc_counter_add(outcome, 1, now);
    if (outcome == &metrics->failed)
        sc_counter_add(&metrics->errors[status], 1, now);
}

void sc_pipeline_count_answer(sc_pipeline_metrics *metrics, const sc_answer_figures *figures,
                              sc_instant now)
{
    for (sc_step step = 0; step < SC_STEP_COUNT; step++)
        if (figures->step_us[step] != 0)
            sc_histogram_record(&metrics->steps[step], figures->step_us[step], now);
    if (figures->status != SC_OK) {
        count_failure(metrics, figures->status, now);
        return;
    }
    sc_counter_add(&metrics->answered[figures->source], 1, now);
    if (figures->tokens_saved != 0)
        sc_counter_add(&metrics->tokens_saved, figures->tokens_saved, now);
    if (figures->stale)
        sc_counter_add(&metrics->stale_served, 1, now);
    if (figures->source >= SC_SOURCE_EXACT && figures->source <= SC_SOURCE_REDIS)
        sc_histogram_record(&metrics->cache_latency, figures->total_us, now);
}

void sc_pipeline_count_llm(sc_pipeline_metrics *metrics, sc_status status, uint64_t us,
                           uint64_t tokens)
{
    sc_instant now = sc_now();
    sc_counter_add(&metrics->llm_calls, 1, now);
    if (status == SC_OK) {
        sc_histogram_record(&metrics->llm_latency, us, now);
        sc_counter_add(&metrics->tokens_spent, tokens, now);
    } else if (status != SC_CANCELLED) { /* by us, since nobody waited any more: no fault of the LLM */
        sc_counter_add(&metrics->llm_failures, 1, now);
    }
}
