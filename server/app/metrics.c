#include "server/app/metrics.h"

#include <stdio.h>

#include "src/base/breaker.h"
#include "src/metrics/expose.h"

enum { ROWS_MAX = 128, LABEL_BYTES = 48 };

/* Rows under construction, with the memory of their labels. */
typedef struct {
    sc_metric rows[ROWS_MAX];
    char      labels[ROWS_MAX][LABEL_BYTES];
    size_t    count;
} table;

static sc_metric *add(table *t, const char *name, sc_metric_kind kind, const char *help)
{
    sc_metric *row = &t->rows[t->count];
    t->labels[t->count][0] = '\0';
    *row = (sc_metric){.name = name, .labels = t->labels[t->count], .help = help, .kind = kind};
    t->count++;
    return row;
}

static void label(table *t, const char *key, const char *value)
{
    snprintf(t->labels[t->count - 1], LABEL_BYTES, "%s=\"%s\"", key, value);
}

static void count(table *t, const char *name, double value, const char *help)
{
    add(t, name, SC_METRIC_COUNTER, help)->value = value;
}

static void gauge(table *t, const char *name, double value, const char *help)
{
    add(t, name, SC_METRIC_GAUGE, help)->value = value;
}

static double total(const sc_counter *counter)
{
    return (double)sc_counter_total(counter);
}

static void put_outcome(table *t, const char *outcome, const sc_counter *counter)
{
    count(t, "semcache_requests_total", total(counter), "Answer requests, by how they ended.");
    label(t, "outcome", outcome);
}

static void put_requests(table *t, const sc_pipeline_metrics *metrics)
{
    for (sc_source source = SC_SOURCE_EXACT; source < SC_SOURCE_COUNT; source++)
        put_outcome(t, sc_source_name(source), &metrics->answered[source]);
    put_outcome(t, "not_found", &metrics->not_found);
    put_outcome(t, "cancelled", &metrics->cancelled);
    put_outcome(t, "failed", &metrics->failed);
    for (sc_status status = SC_OK + 1; status < SC_STATUS_COUNT; status++) {
        count(t, "semcache_errors_total", total(&metrics->errors[status]),
              "Failed requests, by kind.");
        label(t, "kind", sc_status_name(status));
    }
    count(t, "semcache_stale_answers_total", total(&metrics->stale_served),
          "Expired answers served because the LLM failed.");
    count(t, "semcache_quota_evicted_total", total(&metrics->quota_evicted),
          "Entries that made room for others of their tenant.");
    count(t, "semcache_quota_refused_total", total(&metrics->quota_refused),
          "Answers not kept because they exceed their tenant's bytes alone.");
    count(t, "semcache_tokens_saved_total", total(&metrics->tokens_saved),
          "Tokens not spent, because the answer came from the cache.");
    count(t, "semcache_tokens_spent_total", total(&metrics->tokens_spent),
          "Tokens the LLM counted.");
    count(t, "semcache_llm_calls_total", total(&metrics->llm_calls), "Calls of the LLM.");
    count(t, "semcache_llm_failures_total", total(&metrics->llm_failures),
          "Calls of the LLM that gave no answer.");
}

static void put_latencies(table *t, const sc_pipeline_metrics *metrics)
{
    add(t, "semcache_cache_latency_seconds", SC_METRIC_HISTOGRAM,
        "Time of requests answered from the cache.")
        ->histogram = &metrics->cache_latency;
    add(t, "semcache_llm_latency_seconds", SC_METRIC_HISTOGRAM,
        "Time of the LLM's successful calls.")
        ->histogram = &metrics->llm_latency;
    for (sc_step step = 0; step < SC_STEP_COUNT; step++) {
        add(t, "semcache_step_latency_seconds", SC_METRIC_HISTOGRAM, "Time spent in each step.")
            ->histogram = &metrics->steps[step];
        label(t, "step", sc_step_name(step));
    }
}

static void put_warm(table *t, sc_warm *warm)
{
    sc_warm_stats seen;
    sc_warm_look(warm, &seen);
    gauge(t, "semcache_warm_entries", (double)seen.entries, "Entries in memory.");
    gauge(t, "semcache_warm_scopes", (double)seen.scopes, "Scopes in memory.");
    gauge(t, "semcache_warm_bytes", (double)seen.bytes, "Memory of the warm set.");
    gauge(t, "semcache_warm_bytes_max", (double)seen.bytes_max, "Its bound.");
    count(t, "semcache_warm_evicted_total", (double)seen.evicted, "Entries that made room.");
}

static void put_store(table *t, const sc_store_info *info)
{
    gauge(t, "semcache_redis_connected", info->connected, "1: Redis answers.");
    gauge(t, "semcache_redis_masters", info->masters, "Masters of the cluster; 1: a single Redis.");
    gauge(t, "semcache_redis_masters_connected", info->masters_connected, "Those that answer.");
    gauge(t, "semcache_redis_feed_live", info->feed_live, "1: memory follows Redis.");
    gauge(t, "semcache_redis_documents", (double)info->documents, "Entries in Redis' index.");
    gauge(t, "semcache_redis_indexed_ratio", info->percent_indexed, "1: the index is complete.");
    gauge(t, "semcache_redis_queue", (double)info->queue_depth, "Commands without a reply yet.");
    gauge(t, "semcache_redis_searches_waiting", (double)info->searches_waiting,
          "Searches that wait for their turn.");
    count(t, "semcache_redis_searches_refused_total", (double)info->searches_refused,
          "Searches that would have waited too long.");
    gauge(t, "semcache_redis_writes_waiting", (double)info->writes_waiting,
          "Entries kept until Redis is back.");
    count(t, "semcache_redis_calls_total", (double)info->calls, "Calls to Redis.");
    count(t, "semcache_redis_failures_total", (double)info->failures, "Calls that failed.");
    count(t, "semcache_redis_reconnects_total", (double)info->reconnects, "Connections made anew.");
    count(t, "semcache_redis_resyncs_total", (double)info->resyncs, "Warm sets compared anew.");
    count(t, "semcache_redis_feed_messages_total", (double)info->feed_messages,
          "Changes that the feed told of.");
    count(t, "semcache_redis_writes_dropped_total", (double)info->writes_dropped,
          "Entries that did not fit the queue.");
    count(t, "semcache_redis_foreign_values_total", (double)info->foreign_values,
          "Values under our keys that we did not write.");
    count(t, "semcache_redis_index_failures_total", (double)info->index_failures,
          "Entries that Redis' index refused.");
}

static void put_embedder(table *t, const sc_embedder_stats *seen)
{
    count(t, "semcache_embedding_batches_total", (double)seen->batches, "Batches embedded.");
    count(t, "semcache_embedding_texts_total", (double)seen->texts, "Texts embedded.");
    count(t, "semcache_embedding_known_total", (double)seen->known, "Texts seen before.");
    count(t, "semcache_embedding_shared_total", (double)seen->shared,
          "Texts that joined the same one under way.");
    count(t, "semcache_embedding_refused_total", (double)seen->refused, "Texts turned away.");
    count(t, "semcache_embedding_failed_total", (double)seen->failed, "Texts without a vector.");
    gauge(t, "semcache_embedding_waiting", (double)seen->waiting, "Texts that wait for a batch.");
}

static void put_breaker(table *t, const char *name, int state)
{
    gauge(t, "semcache_breaker_state", state, "0 closed, 1 open, 2 half open.");
    label(t, "dependency", name);
}

static void put_opened(table *t, const char *name, uint64_t opened)
{
    count(t, "semcache_breaker_opened_total", (double)opened, "Times a breaker opened.");
    label(t, "dependency", name);
}

static void put_rpc(table *t, const sc_rpc *rpc, size_t flights)
{
    sc_rpc_figures seen;
    sc_rpc_look(rpc, &seen);
    gauge(t, "semcache_calls_in_flight", (double)seen.inflight, "Calls under way.");
    gauge(t, "semcache_calls_bytes", (double)seen.held_bytes, "Held by calls under way.");
    gauge(t, "semcache_flights", (double)flights, "Distinct questions being worked on.");
    count(t, "semcache_calls_total", (double)seen.arrived, "Calls of every method.");
    count(t, "semcache_calls_refused_total", (double)seen.refused, "Calls beyond the limit.");
    count(t, "semcache_calls_cancelled_total", (double)seen.cancelled,
          "Calls that were over before they were answered.");
    count(t, "semcache_calls_overdue_total", (double)seen.overdue,
          "Calls ended because they lasted longer than RPC_CALL_MS_MAX.");
    count(t, "semcache_connections_refused_total", (double)seen.connections_refused,
          "Connections closed for want of descriptors.");
}

void sc_app_metrics(sc_pipeline *pipeline, const sc_rpc *rpc, sc_buf *out)
{
    const sc_pipeline_parts   *parts = sc_pipeline_parts_of(pipeline);
    const sc_pipeline_metrics *metrics = sc_pipeline_metrics_of(pipeline);
    sc_store                  *store = sc_pipeline_store(pipeline);
    sc_store_info              info;
    sc_embedder_stats          embedder;
    int                        llm_state;
    uint64_t                   llm_opened;
    size_t                     llm_calls;
    table                      t;
    t.count = 0;
    store->ops->look(store, &info);
    sc_embedder_look(parts->embedder, &embedder);
    parts->llm->look(parts->llm, &llm_state, &llm_opened, &llm_calls);

    put_requests(&t, metrics);
    put_latencies(&t, metrics);
    put_warm(&t, parts->warm);
    put_store(&t, &info);
    put_embedder(&t, &embedder);
    gauge(&t, "semcache_llm_in_flight", (double)llm_calls, "Calls of the LLM under way.");
    put_breaker(&t, "redis", info.breaker_state);
    put_breaker(&t, "embedding", embedder.breaker_state);
    put_breaker(&t, "llm", llm_state);
    put_opened(&t, "redis", info.breaker_opened);
    put_opened(&t, "embedding", embedder.breaker_opened);
    put_opened(&t, "llm", llm_opened);
    put_rpc(&t, rpc, sc_pipeline_flights(pipeline));
    sc_expose(out, t.rows, t.count);
}
