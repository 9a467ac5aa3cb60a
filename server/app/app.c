#include "server/app/app.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "proto/descriptors.h"
#include "server/app/metrics.h"
#include "server/rpc/health.h"
#include "server/rpc/reflection.h"
#include "server/rpc/rpc.h"
#include "src/embed/openai.h"
#include "src/llm/chat.h"
#include "src/store/cluster/cluster.h"

struct sc_app {
    sc_settings *settings; /* borrowed */

    /* In order of dependence; each is NULL until it is open. */
    sc_http           *http;
    sc_canon          *canon;
    sc_embed_provider *provider; /* NULL again once the embedder keeps it */
    sc_embedder       *embedder;
    sc_llm            *llm;
    sc_warm           *warm;
    sc_pipeline       *pipeline;
    sc_store          *store;
    sc_doors          *doors;
    sc_rpc            *rpc;
    sc_health         *health;
    sc_reflection     *reflection;
    sc_admin          *admin;
    sc_service         service;

    atomic_bool stopping; /* any thread */
};

static const char *const services[] = {"semcache.v1.SemanticCache"};

/* ---- upstreams -------------------------------------------------------------------------------- */

static bool is_openai(const sc_settings *settings)
{
    if (settings->embed.provider != SC_EMBED_AUTO)
        return settings->embed.provider == SC_EMBED_OPENAI;
    return sc_endpoint_has_key(&settings->embed.endpoint) ||
           (settings->embed.endpoint.base_url == NULL && sc_endpoint_has_key(&settings->http.openai));
}

static sc_status open_provider(sc_app *app, sc_error *error)
{
    sc_settings *settings = app->settings;
    if (is_openai(settings))
        return sc_openai_open(&settings->embed, &settings->http.openai, app->http, &app->provider,
                              error);
    return sc_local_open(&settings->local, &app->provider, error);
}

static sc_status open_upstreams(sc_app *app, sc_error *error)
{
    sc_settings *settings = app->settings;
    sc_status    status = sc_http_open(&settings->http.loop, &app->http, error);
    if (status == SC_OK)
        status = sc_canon_open(&settings->prompt.canon, &app->canon, error);
    if (status == SC_OK)
        status = open_provider(app, error);
    if (status == SC_OK)
        status = sc_embedder_open(&settings->embed.gather, app->provider, &app->embedder);
    if (status == SC_OK)
        app->provider = NULL;
    if (status == SC_OK)
        status = sc_chat_open(&settings->llm, &settings->http.openai, app->http, &app->llm, error);
    return status;
}

/* ---- the cache ----------------------------------------------------------------------------------- */

static sc_status open_store(sc_app *app, sc_error *error)
{
    const sc_embed_provider *provider = sc_embedder_provider(app->embedder);
    sc_redis_options        *options = &app->settings->redis;
    sc_store_feed            feed = sc_pipeline_feed(app->pipeline);
    sc_buf                   model;
    sc_buf_init(&model, 1024);
    sc_buf_str(&model, provider->model);
    sc_status status = model.failed;
    if (status == SC_OK) {
        options->dim = provider->dim;
        options->embedding_model = model.data;
        status = options->cluster ? sc_cluster_open(options, &feed, &app->store, error)
                                  : sc_redis_open(options, &feed, &app->store, error);
    }
    options->embedding_model = NULL;
    sc_buf_fini(&model);
    return status;
}

/* What the pipeline shares with other modules is set once, there. */
static void share_settings(sc_settings *settings)
{
    settings->pipeline.limits.prompt_bytes_max = settings->prompt.prompt_bytes_max;
    settings->pipeline.embed_timeout_ms = settings->embed.gather.timeout_ms;
    settings->pipeline.store_timeout_ms = settings->redis.timeout_ms;
    settings->pipeline.search_timeout_ms =
        (int64_t)settings->redis.timeout_ms + settings->redis.search_wait_ms;
    settings->pipeline.llm_timeout_ms = settings->llm.timeout_ms;
    settings->redis.stale_seconds = settings->pipeline.limits.stale_seconds_max;
}

static sc_status open_cache(sc_app *app, sc_error *error)
{
    sc_settings *settings = app->settings;
    share_settings(settings);
    settings->warm.dim = sc_embedder_provider(app->embedder)->dim;
    sc_status status = sc_warm_open(&settings->warm, &app->warm);
    if (status != SC_OK)
        return status;
    sc_pipeline_parts parts = {app->canon, app->embedder, app->warm, app->llm};
    status = sc_pipeline_open(&settings->pipeline, &parts, &app->pipeline);
    if (status == SC_OK)
        status = open_store(app, error);
    if (status == SC_OK)
        sc_pipeline_set_store(app->pipeline, app->store);
    return status;
}

/* ---- the door ------------------------------------------------------------------------------------- */

static void describe(sc_app *app)
{
    const sc_settings *settings = app->settings;
    app->service = (sc_service){
        .pipeline = app->pipeline,
        .rpc = app->rpc,
        .doors = app->doors,
        .chat_model = settings->llm.model,
        .ef_runtime = settings->redis.ef_runtime,
        .inflight_max = settings->rpc.inflight_max,
        .version = SC_VERSION,
        .started = sc_wall_now(),
        .started_at = sc_now(),
        .settings = settings->shown,
        .settings_count = settings->shown_count,
    };
}

static sc_status open_door(sc_app *app, sc_error *error)
{
    const sc_rpc_options *options = &app->settings->rpc;
    sc_status             status = sc_doors_open(&app->settings->doors, &app->doors, error);
    if (status == SC_OK)
        status = sc_rpc_open(options, &app->rpc, error);
    if (status != SC_OK)
        return status;
    describe(app);
    status = sc_service_register(&app->service);
    if (status == SC_OK)
        status = sc_health_open(app->rpc, services, sizeof services / sizeof services[0],
                                &app->health);
    if (status == SC_OK && options->reflection)
        status = sc_reflection_open(app->rpc, sc_proto_descriptors, sc_proto_descriptors_len,
                                    &app->reflection);
    if (status == SC_OK)
        status = sc_rpc_start(app->rpc, error);
    return status;
}

/* ---- operators --------------------------------------------------------------------------------------- */

static void admin_metrics(void *context, sc_buf *out)
{
    const sc_app *app = context;
    sc_app_metrics(app->pipeline, app->rpc, out);
}

/* A dependency that is away does not make the server unready: it answers from what it has. */
static bool admin_ready(void *context, sc_buf *why)
{
    const sc_app *app = context;
    if (!atomic_load(&app->stopping))
        return true;
    sc_buf_str(why, SC_STR("stopping"));
    return false;
}

static sc_status open_admin(sc_app *app, sc_error *error)
{
    sc_admin_source source = {admin_metrics, admin_ready, app};
    return sc_admin_open(&app->settings->admin, &source, &app->admin, error);
}

/* A call that the model still works on must not be ended for lasting too long. */
static sc_status check_together(const sc_settings *settings, sc_error *error)
{
    if (settings->rpc.call_ms_max >= settings->llm.timeout_ms)
        return SC_OK;
    return sc_fail(error, SC_INVALID, "RPC_CALL_MS_MAX: shorter than LLM_TIMEOUT_MS");
}

sc_status sc_app_open(sc_settings *settings, sc_app **out, sc_error *error)
{
    sc_app *app = calloc(1, sizeof *app);
    *out = NULL;
    if (app == NULL)
        return sc_fail(error, SC_NO_MEMORY, "no memory for the server");
    app->settings = settings;
    sc_status status = check_together(settings, error);
    if (status == SC_OK)
        status = open_upstreams(app, error);
    if (status == SC_OK)
        status = open_cache(app, error);
    if (status == SC_OK)
        status = open_door(app, error);
    if (status == SC_OK)
        status = open_admin(app, error);
    if (status != SC_OK) {
        if (error->text[0] == '\0')
            sc_fail(error, status, "could not start: %s", sc_status_name(status));
        sc_status closed = sc_app_close(app);
        (void)closed; /* nothing was served yet: the first failure is the one that counts */
        return status;
    }
    sc_health_set(app->health, true);
    const sc_embed_provider *provider = sc_embedder_provider(app->embedder);
    sc_log(SC_LOG_INFO, "server.ready", sc_kv_int("port", sc_rpc_port(app->rpc, 0)),
           sc_kv_int("admin_port", sc_admin_port(app->admin)),
           sc_kv_text("version", SC_VERSION), sc_kv_text("embedding", provider->name),
           sc_kv_str("model", provider->model), sc_kv_int("dim", provider->dim));
    *out = app;
    return SC_OK;
}

/* ---- the end ------------------------------------------------------------------------------------------ */

/* Flights whose callers have left may still be on their way to that insight. */
static void wait_for_flights(const sc_app *app)
{
    enum { WAIT_MS = 2000, STEP_MS = 5 };
    for (int waited = 0; waited < WAIT_MS && sc_pipeline_flights(app->pipeline) != 0;
         waited += STEP_MS)
        usleep(STEP_MS * 1000);
}

static void close_store(sc_app *app)
{
    enum { FLUSH_MS = 2000 };
    if (app->pipeline != NULL)
        wait_for_flights(app);
    if (app->store != NULL)
        app->store->ops->close(app->store, sc_instant_after_ms(sc_now(), FLUSH_MS));
}

static void close_upstreams(sc_app *app)
{
    if (app->llm != NULL)
        app->llm->close(app->llm);
    sc_embedder_close(app->embedder);
    if (app->provider != NULL)
        app->provider->close(app->provider);
    sc_http_close(app->http);
}

sc_status sc_app_close(sc_app *app)
{
    if (app == NULL)
        return SC_OK;
    atomic_store(&app->stopping, true);
    sc_status status = app->rpc == NULL ? SC_OK : sc_rpc_stop(app->rpc);
    sc_admin_close(app->admin);
    close_store(app);
    close_upstreams(app);
    sc_rpc_close(app->rpc);
    sc_health_close(app->health);
    sc_reflection_close(app->reflection);
    sc_doors_close(app->doors);
    sc_pipeline_close(app->pipeline);
    sc_warm_close(app->warm);
    sc_canon_close(app->canon);
    free(app);
    return status;
}
