#include <stdio.h>
#include <stdlib.h>

#include "proto/semcache/v1/semantic_cache.pb-c.h"
#include "server/rpc/service.h"
#include "src/base/arena.h"
#include "src/base/breaker.h"

enum { ARENA_BYTES_MAX = 1 << 20 };

/* What a response is made of; it all lies in the arena. */
typedef struct {
    sc_service *service;
    sc_arena    arena;
    sc_instant  now;
    bool        failed;
} maker;

static void *make(maker *m, size_t count, size_t bytes)
{
    static max_align_t nothing[64];
    void              *memory = sc_arena_calloc(&m->arena, count, bytes);
    if (memory == NULL)
        m->failed = true;
    return memory == NULL ? (void *)nothing : memory;
}

static char *borrow(const char *text)
{
    return (char *)(uintptr_t)(text == NULL ? "" : text);
}

/* ---- one period ---------------------------------------------------------------------------------- */

static uint64_t counted(const sc_counter *counter, sc_period period, sc_instant now)
{
    return period == SC_SINCE_START ? sc_counter_total(counter) : sc_counter_minute(counter, now);
}

static Semcache__V1__Latency *latency(maker *m, const sc_histogram *histogram, sc_period period)
{
    sc_summary             summary = sc_histogram_summary(histogram, period, m->now);
    Semcache__V1__Latency *out = make(m, 1, sizeof *out);
    semcache__v1__latency__init(out);
    out->count = summary.count;
    out->p50_ms = summary.p50_us / 1e3;
    out->p95_ms = summary.p95_us / 1e3;
    out->p99_ms = summary.p99_us / 1e3;
    out->max_ms = summary.max_us / 1e3;
    out->mean_ms = summary.mean_us / 1e3;
    return out;
}

static void put_steps(maker *m, Semcache__V1__PeriodStats *stats,
                      const sc_pipeline_metrics *metrics, sc_period period)
{
    stats->steps = make(m, SC_STEP_COUNT, sizeof *stats->steps);
    for (sc_step step = 0; step < SC_STEP_COUNT && !m->failed; step++) {
        Semcache__V1__NamedLatency *row = make(m, 1, sizeof *row);
        semcache__v1__named_latency__init(row);
        row->name = borrow(sc_step_name(step));
        row->latency = latency(m, &metrics->steps[step], period);
        stats->steps[stats->n_steps++] = row;
    }
}

static Semcache__V1__NamedCount *named(maker *m, const char *name, uint64_t count)
{
    Semcache__V1__NamedCount *row = make(m, 1, sizeof *row);
    semcache__v1__named_count__init(row);
    row->name = borrow(name);
    row->count = count;
    return row;
}

static void put_errors(maker *m, Semcache__V1__PeriodStats *stats,
                       const sc_pipeline_metrics *metrics, sc_period period)
{
    stats->errors = make(m, SC_STATUS_COUNT, sizeof *stats->errors);
    for (sc_status status = 0; status < SC_STATUS_COUNT && !m->failed; status++) {
        uint64_t count = counted(&metrics->errors[status], period, m->now);
        if (count != 0)
            stats->errors[stats->n_errors++] = named(m, sc_status_name(status), count);
    }
}

static Semcache__V1__PeriodStats *period_stats(maker *m, sc_period period)
{
    enum { MINUTE_SECONDS = 60 };
    const sc_pipeline_metrics *metrics = sc_pipeline_metrics_of(m->service->pipeline);
    Semcache__V1__PeriodStats *stats = make(m, 1, sizeof *stats);
    semcache__v1__period_stats__init(stats);
    double up = (double)sc_elapsed_us(m->service->started_at, m->now) / 1e6;
    stats->seconds = period == SC_LAST_MINUTE && up > MINUTE_SECONDS ? MINUTE_SECONDS : up;
    stats->exact = counted(&metrics->answered[SC_SOURCE_EXACT], period, m->now);
    stats->warm = counted(&metrics->answered[SC_SOURCE_WARM], period, m->now);
    stats->redis = counted(&metrics->answered[SC_SOURCE_REDIS], period, m->now);
    stats->joined = counted(&metrics->answered[SC_SOURCE_JOINED], period, m->now);
    stats->llm = counted(&metrics->answered[SC_SOURCE_LLM], period, m->now);
    stats->not_found = counted(&metrics->not_found, period, m->now);
    stats->failed = counted(&metrics->failed, period, m->now);
    stats->cancelled = counted(&metrics->cancelled, period, m->now);
    uint64_t hits = stats->exact + stats->warm + stats->redis + stats->joined;
    stats->requests = hits + stats->llm + stats->not_found + stats->failed + stats->cancelled;
    stats->hit_rate = hits + stats->llm == 0 ? 0 : (double)hits / (double)(hits + stats->llm);
    stats->cache_latency = latency(m, &metrics->cache_latency, period);
    stats->llm_latency = latency(m, &metrics->llm_latency, period);
    stats->tokens_saved = counted(&metrics->tokens_saved, period, m->now);
    stats->tokens_spent = counted(&metrics->tokens_spent, period, m->now);
    put_steps(m, stats, metrics, period);
    put_errors(m, stats, metrics, period);
    return stats;
}

/* ---- the parts --------------------------------------------------------------------------------------- */

static Semcache__V1__WarmStats *warm_stats(maker *m)
{
    sc_warm_stats            seen;
    Semcache__V1__WarmStats *out = make(m, 1, sizeof *out);
    sc_warm_look(sc_pipeline_parts_of(m->service->pipeline)->warm, &seen);
    semcache__v1__warm_stats__init(out);
    out->entries = seen.entries;
    out->scopes = seen.scopes;
    out->bytes = seen.bytes;
    out->bytes_max = seen.bytes_max;
    out->evicted = seen.evicted;
    return out;
}

static Semcache__V1__Breaker *breaker(maker *m, const char *name, int state, uint64_t opened)
{
    Semcache__V1__Breaker *out = make(m, 1, sizeof *out);
    semcache__v1__breaker__init(out);
    out->name = borrow(name);
    out->state = borrow(sc_breaker_state_name((sc_breaker_state)state));
    out->opened = opened;
    return out;
}

static Semcache__V1__RedisStats *redis_stats(maker *m, sc_store_info *info)
{
    Semcache__V1__RedisStats *out = make(m, 1, sizeof *out);
    char                     *name = make(m, 1, sizeof info->index_name);
    semcache__v1__redis_stats__init(out);
    memcpy(name, info->index_name, sizeof info->index_name);
    out->connected = info->connected;
    out->feed_live = info->feed_live;
    out->index_name = name;
    out->index_state = borrow(info->index_state);
    out->documents = info->documents;
    out->percent_indexed = info->percent_indexed * 100;
    out->index_failures = info->index_failures;
    out->foreign_values = info->foreign_values;
    out->calls = info->calls;
    out->failures = info->failures;
    out->reconnects = info->reconnects;
    out->feed_messages = info->feed_messages;
    out->resyncs = info->resyncs;
    out->queue_depth = info->queue_depth;
    out->writes_waiting = info->writes_waiting;
    out->writes_dropped = info->writes_dropped;
    out->searches_waiting = info->searches_waiting;
    out->searches_refused = info->searches_refused;
    out->masters = info->masters;
    out->masters_connected = info->masters_connected;
    return out;
}

static Semcache__V1__EmbeddingStats *embedding_stats(maker *m, const sc_embedder_stats *seen)
{
    const sc_pipeline_parts      *parts = sc_pipeline_parts_of(m->service->pipeline);
    const sc_embed_provider      *provider = sc_embedder_provider(parts->embedder);
    Semcache__V1__EmbeddingStats *out = make(m, 1, sizeof *out);
    sc_str                        model = sc_arena_copy(&m->arena, provider->model);
    semcache__v1__embedding_stats__init(out);
    out->provider = borrow(provider->name);
    out->model = borrow(model.ptr);
    out->dimension = provider->dim;
    out->batches = seen->batches;
    out->texts = seen->texts;
    out->known = seen->known;
    out->shared = seen->shared;
    out->refused = seen->refused;
    out->failed = seen->failed;
    out->batch_size_mean =
        seen->batches == 0 ? 0 : (double)seen->texts / (double)seen->batches;
    out->batch_size_max = seen->batch_size_max;
    out->waiting = seen->waiting;
    return out;
}

static Semcache__V1__ServerStats *server_stats(maker *m, const sc_store_info *store,
                                               const sc_embedder_stats *embedder, size_t llm_calls)
{
    enum { QUEUES = 5 };
    sc_rpc_figures             rpc;
    Semcache__V1__ServerStats *out = make(m, 1, sizeof *out);
    sc_rpc_look(m->service->rpc, &rpc);
    semcache__v1__server_stats__init(out);
    out->version = borrow(m->service->version);
    out->started_at_ms = m->service->started.ms;
    out->uptime_seconds = (double)sc_elapsed_us(m->service->started_at, m->now) / 1e6;
    out->in_flight = (uint64_t)rpc.inflight;
    out->in_flight_max = m->service->inflight_max;
    out->calls_overdue = rpc.overdue;
    out->flights = sc_pipeline_flights(m->service->pipeline);
    out->queues = make(m, QUEUES, sizeof *out->queues);
    out->queues[out->n_queues++] = named(m, "embedding_texts_waiting", embedder->waiting);
    out->queues[out->n_queues++] =
        named(m, "searches_waiting", sc_pipeline_searches_waiting(m->service->pipeline));
    out->queues[out->n_queues++] = named(m, "redis_commands_waiting", store->queue_depth);
    out->queues[out->n_queues++] = named(m, "redis_writes_waiting", store->writes_waiting);
    out->queues[out->n_queues++] = named(m, "llm_calls_in_flight", llm_calls);
    return out;
}

static void put_settings(maker *m, Semcache__V1__StatsResponse *response)
{
    const sc_service *service = m->service;
    response->settings = make(m, service->settings_count + 1, sizeof *response->settings);
    for (size_t i = 0; i < service->settings_count && !m->failed; i++) {
        Semcache__V1__Setting *row = make(m, 1, sizeof *row);
        semcache__v1__setting__init(row);
        row->name = borrow(service->settings[i].name);
        row->value = borrow(service->settings[i].value);
        response->settings[response->n_settings++] = row;
    }
}

static void put_parts(maker *m, Semcache__V1__StatsResponse *response)
{
    enum { BREAKERS = 3 };
    sc_pipeline             *pipeline = m->service->pipeline;
    const sc_pipeline_parts *parts = sc_pipeline_parts_of(pipeline);
    sc_store                *store = sc_pipeline_store(pipeline);
    sc_store_info            info;
    sc_embedder_stats        embedder;
    int                      llm_state;
    uint64_t                 llm_opened;
    size_t                   llm_calls;
    store->ops->look(store, &info);
    sc_embedder_look(parts->embedder, &embedder);
    parts->llm->look(parts->llm, &llm_state, &llm_opened, &llm_calls);

    response->warm = warm_stats(m);
    response->redis = redis_stats(m, &info);
    response->embedding = embedding_stats(m, &embedder);
    response->server = server_stats(m, &info, &embedder, llm_calls);
    response->breakers = make(m, BREAKERS, sizeof *response->breakers);
    response->breakers[response->n_breakers++] =
        breaker(m, "redis", info.breaker_state, info.breaker_opened);
    response->breakers[response->n_breakers++] =
        breaker(m, "embedding", embedder.breaker_state, embedder.breaker_opened);
    response->breakers[response->n_breakers++] = breaker(m, "llm", llm_state, llm_opened);
}

void sc_service_stats(sc_rpc_call *call, sc_str request, void *context)
{
    (void)request;
    sc_pass pass;
    maker   m = {.service = context, .now = sc_now()};
    if (sc_service_admit(m.service, call, SC_RIGHT_STATS, &pass) != SC_OK)
        return;
    sc_arena_init(&m.arena, ARENA_BYTES_MAX);
    Semcache__V1__StatsResponse response = SEMCACHE__V1__STATS_RESPONSE__INIT;
    response.since_start = period_stats(&m, SC_SINCE_START);
    response.last_minute = period_stats(&m, SC_LAST_MINUTE);
    put_parts(&m, &response);
    if ((pass.rights & SC_RIGHT_ADMIN) != 0)
        put_settings(&m, &response);
    if (m.failed)
        sc_rpc_fail(call, SC_NO_MEMORY, "no memory for the statistics", 0);
    else
        sc_rpc_reply_message(call, &response.base);
    sc_arena_fini(&m.arena);
    sc_doors_leave(m.service->doors, &pass);
}
