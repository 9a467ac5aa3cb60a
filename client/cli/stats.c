#include <inttypes.h>
#include <stdio.h>

#include "client/cli/cli.h"

static void put_latency(sc_buf *out, const char *name, const Semcache__V1__Latency *l)
{
    if (l == NULL || l->count == 0)
        return;
    sc_buf_printf(out, "  %-12s %9" PRIu64 "   p50 %9.2f   p95 %9.2f   p99 %9.2f   max %9.2f ms\n",
                  name, l->count, l->p50_ms, l->p95_ms, l->p99_ms, l->max_ms);
}

static void put_tiers(sc_buf *out, const Semcache__V1__PeriodStats *p)
{
    sc_buf_printf(out,
                  "  requests %" PRIu64 "   exact %" PRIu64 "   warm %" PRIu64 "   redis %" PRIu64
                  "   joined %" PRIu64 "   llm %" PRIu64 "   not found %" PRIu64
                  "   failed %" PRIu64 "   cancelled %" PRIu64 "\n",
                  p->requests, p->exact, p->warm, p->redis, p->joined, p->llm, p->not_found,
                  p->failed, p->cancelled);
    sc_buf_printf(out, "  hit rate %.1f %%   tokens saved %" PRIu64 "   spent %" PRIu64 "\n",
                  100 * p->hit_rate, p->tokens_saved, p->tokens_spent);
    put_latency(out, "cache", p->cache_latency);
    put_latency(out, "LLM", p->llm_latency);
}

static void put_period(sc_buf *out, const char *title, const Semcache__V1__PeriodStats *p)
{
    if (p == NULL)
        return;
    sc_buf_printf(out, "%s (%.0f s)\n", title, p->seconds);
    put_tiers(out, p);
    for (size_t i = 0; i < p->n_steps; i++)
        put_latency(out, p->steps[i]->name, p->steps[i]->latency);
    for (size_t i = 0; i < p->n_errors; i++)
        if (p->errors[i]->count != 0)
            sc_buf_printf(out, "  error %s: %" PRIu64 "\n", p->errors[i]->name, p->errors[i]->count);
}

static void put_warm(sc_buf *out, const Semcache__V1__WarmStats *w)
{
    if (w != NULL)
        sc_buf_printf(out,
                      "Warm set: %" PRIu64 " entries in %" PRIu64 " scopes, %.1f of %.1f MiB, %" PRIu64
                      " evicted\n",
                      w->entries, w->scopes, (double)w->bytes / 1048576,
                      (double)w->bytes_max / 1048576, w->evicted);
}

static void put_redis(sc_buf *out, const Semcache__V1__RedisStats *r)
{
    if (r == NULL)
        return;
    sc_buf_printf(out,
                  "Redis: %s, feed %s, index %s %s, %" PRIu64 " documents, %.0f %% indexed, %" PRIu64
                  " index failures\n",
                  r->connected ? "connected" : "away", r->feed_live ? "live" : "down",
                  r->index_name, r->index_state, r->documents, r->percent_indexed, r->index_failures);
    if (r->masters > 1)
        sc_buf_printf(out, "  masters %u, %u connected\n", r->masters, r->masters_connected);
    sc_buf_printf(out,
                  "  calls %" PRIu64 "   failures %" PRIu64 "   reconnects %" PRIu64
                  "   feed messages %" PRIu64 "   resyncs %" PRIu64 "   waiting %" PRIu64
                  "   writes waiting %" PRIu64 "   dropped %" PRIu64 "   searches waiting %" PRIu64
                  "   refused %" PRIu64 "   foreign %" PRIu64 "\n",
                  r->calls, r->failures, r->reconnects, r->feed_messages, r->resyncs, r->queue_depth,
                  r->writes_waiting, r->writes_dropped, r->searches_waiting, r->searches_refused,
                  r->foreign_values);
}

static void put_embedding(sc_buf *out, const Semcache__V1__EmbeddingStats *e)
{
    if (e == NULL)
        return;
    sc_buf_printf(out,
                  "Embedding: %s %s, %u dimensions, %" PRIu64 " texts in %" PRIu64
                  " batches (mean %.1f, largest %" PRIu64 ")\n",
                  e->provider, e->model, e->dimension, e->texts, e->batches, e->batch_size_mean,
                  e->batch_size_max);
    sc_buf_printf(out,
                  "  known %" PRIu64 "   shared %" PRIu64 "   refused %" PRIu64 "   failed %" PRIu64
                  "   waiting %" PRIu64 "\n",
                  e->known, e->shared, e->refused, e->failed, e->waiting);
}

static void put_server(sc_buf *out, const stats_response *s)
{
    if (s->server != NULL)
        sc_buf_printf(out,
                      "Server: version %s, up %.0f s, %" PRIu64 " of %" PRIu64
                      " calls in flight, %" PRIu64 " questions being worked on\n",
                      s->server->version, s->server->uptime_seconds, s->server->in_flight,
                      s->server->in_flight_max, s->server->flights);
    for (size_t i = 0; s->server != NULL && i < s->server->n_queues; i++)
        sc_buf_printf(out, "  queue %s: %" PRIu64 "\n", s->server->queues[i]->name,
                      s->server->queues[i]->count);
    for (size_t i = 0; i < s->n_breakers; i++)
        sc_buf_printf(out, "  breaker %s: %s, opened %" PRIu64 " times\n", s->breakers[i]->name,
                      s->breakers[i]->state, s->breakers[i]->opened);
}

void cli_stats_short(sc_buf *out, const stats_response *s)
{
    if (s->since_start != NULL)
        put_tiers(out, s->since_start);
    put_warm(out, s->warm);
    put_redis(out, s->redis);
    put_embedding(out, s->embedding);
}

static void put_all(sc_buf *out, const stats_response *s)
{
    put_period(out, "Since start", s->since_start);
    put_period(out, "Last minute", s->last_minute);
    put_warm(out, s->warm);
    put_redis(out, s->redis);
    put_embedding(out, s->embedding);
    put_server(out, s);
    if (s->n_settings != 0)
        sc_buf_printf(out, "Settings\n");
    for (size_t i = 0; i < s->n_settings; i++)
        sc_buf_printf(out, "  %s=%s\n", s->settings[i]->name, s->settings[i]->value);
}

int cli_run_stats(cli *c)
{
    sc_error        error = {0};
    sc_buf          out;
    stats_response *s = cli_stats(c, &error);

    if (s == NULL)
        return cli_fail(&error);
    sc_buf_init(&out, 1 << 20);
    if (c->options.json) {
        cli_json(&out, &s->base);
        sc_buf_byte(&out, '\n');
    } else {
        put_all(&out, s);
    }
    cli_print(&out);
    sc_buf_fini(&out);
    semcache__v1__stats_response__free_unpacked(s, NULL);
    return 0;
}
