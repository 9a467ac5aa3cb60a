/* metrics.h - what the pipeline counts, for Stats and Prometheus alike. Any thread. */
#pragma once

#include <stdbool.h>

#include "src/base/status.h"
#include "src/metrics/metrics.h"
#include "src/pipeline/steps.h"

/* Where an answer came from. */
typedef enum {
    SC_SOURCE_NONE,
    SC_SOURCE_EXACT,
    SC_SOURCE_WARM,
    SC_SOURCE_REDIS,
    SC_SOURCE_JOINED,
    SC_SOURCE_LLM,
    SC_SOURCE_COUNT
} sc_source;

const char *sc_source_name(sc_source source);

typedef struct {
    /* Every request ends in exactly one of these: answered by a source ... */
    sc_counter answered[SC_SOURCE_COUNT];
    sc_counter not_found; /* ... or ONLY_IF_CACHED without a hit ... */
    sc_counter cancelled; /* ... or the caller left ... */
    sc_counter failed;    /* ... or else. */
    sc_counter errors[SC_STATUS_COUNT]; /* of the failed, by status */

    sc_histogram cache_latency; /* of requests answered by EXACT, WARM or REDIS */
    sc_histogram llm_latency;   /* of the LLM's successful calls alone */
    sc_histogram steps[SC_STEP_COUNT];

    sc_counter tokens_saved;
    sc_counter tokens_spent;
    sc_counter llm_calls;
    sc_counter llm_failures;
    sc_counter stale_served;
    sc_counter quota_evicted; /* entries that made room for others of their tenant */
    sc_counter quota_refused; /* answers not kept: larger than the tenant's whole share */
} sc_pipeline_metrics;

SC_MUST_CHECK sc_status sc_pipeline_metrics_open(sc_pipeline_metrics **out);
void                    sc_pipeline_metrics_close(sc_pipeline_metrics *metrics);

/* How a request ended. */
typedef struct {
    sc_status       status;
    sc_source       source;
    uint32_t        tokens_saved;
    bool            stale;
    const uint64_t *step_us; /* [SC_STEP_COUNT]; 0: not taken */
    uint64_t        total_us;
} sc_answer_figures;

void sc_pipeline_count_answer(sc_pipeline_metrics *metrics, const sc_answer_figures *figures,
                              sc_instant now);

/* One call of the LLM: how it went, how long it took, the tokens it cost. */
void sc_pipeline_count_llm(sc_pipeline_metrics *metrics, sc_status status, uint64_t us,
                           uint64_t tokens);
