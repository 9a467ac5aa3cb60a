#include "src/pipeline/pipeline.h"

#include <stdlib.h>

#include "src/base/thread.h"
#include "src/pipeline/work.h"

static const sc_setting rows[] = {
#define FIELD(member) SC_SETTING_FIELD(sc_pipeline_options, member)
    {"SIMILARITY_THRESHOLD", SC_SETTING_REAL, FIELD(max_distance), 0, 2, "0.10", "", NULL,
     "Cosine distance below which a stored answer is served, unless the call says otherwise."},
    {"TOP_K", SC_SETTING_INT, FIELD(top_k), 1, SC_TOP_K_MAX, "5", "candidates", NULL,
     "Nearest candidates that are looked at."},
    {"CACHE_TTL_SECONDS", SC_SETTING_INT, FIELD(ttl_seconds), 1, SC_TTL_SECONDS_MAX, "86400", "s",
     NULL, "Life of an entry from the moment it is written; a hit never prolongs it."},
    {"TTL_JITTER_PERCENT", SC_SETTING_INT, FIELD(ttl_jitter_percent), 0, 50, "5", "%", NULL,
     "Each entry's life is shortened at random by up to this, so that entries do not expire together."},
    {"TTL_SECONDS_MAX", SC_SETTING_INT, FIELD(limits.ttl_seconds_max), 1, SC_TTL_SECONDS_MAX,
     "31536000", "s", NULL, "Longest life that a call may ask for."},
    {"STALE_SECONDS", SC_SETTING_INT, FIELD(limits.stale_seconds_max), 0, SC_TTL_SECONDS_MAX, "0",
     "s", NULL,
     "How long expired entries are kept for calls that prefer an expired answer to none."},
    {"CORPUS_VERSION", SC_SETTING_TEXT, FIELD(corpus_version), 0, SC_NAME_BYTES_MAX, "v1", "", NULL,
     "Version of the documents that answers rest on, for calls that name none."},
    {"TEMPERATURE", SC_SETTING_REAL, FIELD(temperature), 0, 2, "0.2", "", NULL,
     "Temperature of calls that name none."},
    {"CONTEXT_BYTES_MAX", SC_SETTING_INT, FIELD(limits.context_bytes_max), 1, 8 << 20, "1048576",
     "bytes", NULL, "Longest system prompt and earlier turns together."},
    {"ANSWER_BYTES_KEPT_MAX", SC_SETTING_INT, FIELD(answer_bytes_max), 1, 8 << 20, "262144",
     "bytes", NULL, "Longer answers are given, but not kept."},
    {"WARM_VERIFY", SC_SETTING_CHOICE, FIELD(verify), 0, 0, "feed", "", "feed|always",
     "When a hit from memory is verified in Redis first: when the feed is down, or always."},
    {"WARM_UNVERIFIED_MS", SC_SETTING_INT, FIELD(unverified_ms), 0, 86400000, "60000", "ms", NULL,
     "With Redis away, how long hits are served from memory unverified."},
    {"WORKERS", SC_SETTING_INT, FIELD(workers), 0, 256, "0", "threads", NULL,
     "Prefilter threads; 0: one for each processor."},
#undef FIELD
};

const sc_setting_table sc_pipeline_settings = {"Cache", rows, sizeof rows / sizeof rows[0]};

static const char *const step_names[SC_STEP_COUNT] = {
#define STEP_NAME(upper, lower) #lower,
    SC_STEPS(STEP_NAME)
#undef STEP_NAME
};

const char *sc_step_name(sc_step step)
{
    return step_names[step];
}

/* As many as warm hits and Redis hits have under way at a time when nothing stands still. */
static void open_spares(sc_pipeline *pipeline)
{
    enum { KEPT_MAX = 64 };
    sc_spare_init(&pipeline->works, sizeof(sc_work) + pipeline->dim * sizeof(float), KEPT_MAX);
    sc_spare_init(&pipeline->lookings, sizeof(sc_looking), KEPT_MAX);
    sc_spare_init(&pipeline->meanings, sizeof(sc_meaning), KEPT_MAX);
}

sc_status sc_pipeline_open(const sc_pipeline_options *options, const sc_pipeline_parts *parts,
                           sc_pipeline **out)
{
    sc_status    status = SC_NO_MEMORY;
    sc_pipeline *pipeline = calloc(1, sizeof *pipeline);
    *out = NULL;
    if (pipeline == NULL)
        return status;
    pipeline->options = *options;
    pipeline->parts = *parts;
    pipeline->dim = sc_embedder_provider(parts->embedder)->dim;
    pthread_mutex_init(&pipeline->keeping, NULL);
    sc_list_init(&pipeline->parked);
    open_spares(pipeline);
    /* Until the feed has come up nothing in memory can be vouched for. */
    atomic_store(&pipeline->feed_lost_ns, sc_now().ns);

    sc_flights_options flights = {pipeline, sc_work_make, sc_work_release};
    unsigned           workers = options->workers == 0 ? sc_cpu_count() : options->workers;
    status = sc_flights_open(&flights, &pipeline->flights);
    if (status == SC_OK)
        status = sc_gather_open(parts->warm, workers, &pipeline->gather);
    if (status == SC_OK)
        status = sc_pipeline_metrics_open(&pipeline->metrics);
    if (status == SC_OK)
        status = sc_quota_open(&pipeline->quota);
    if (status != SC_OK) {
        sc_pipeline_close(pipeline);
        return status;
    }
    *out = pipeline;
    return SC_OK;
}

void sc_pipeline_close(sc_pipeline *pipeline)
{
    if (pipeline == NULL)
        return;
    sc_gather_close(pipeline->gather);
    sc_flights_close(pipeline->flights);
    sc_quota_close(pipeline->quota);
    sc_pipeline_metrics_close(pipeline->metrics);
    sc_spare_fini(&pipeline->works);
    sc_spare_fini(&pipeline->lookings);
    sc_spare_fini(&pipeline->meanings);
    pthread_mutex_destroy(&pipeline->keeping);
    free(pipeline);
}

void sc_pipeline_set_store(sc_pipeline *pipeline, sc_store *store)
{
    pipeline->store = store;
}

void sc_pipeline_search(sc_pipeline *pipeline, sc_gather_tray *tray)
{
    sc_gather_clear(pipeline->gather, tray);
}

sc_trust_state sc_pipeline_trust(sc_pipeline *pipeline)
{
    return (sc_trust_state){
        .verify_always = pipeline->options.verify == SC_VERIFY_ALWAYS,
        .feed_live = atomic_load_explicit(&pipeline->feed_live, memory_order_acquire),
        .feed_lost_ns = atomic_load_explicit(&pipeline->feed_lost_ns, memory_order_relaxed),
        .unverified_ms = pipeline->options.unverified_ms,
    };
}

/* ---- the store's feed: memory follows what all servers write and remove ------------------- */

static void feed_put(void *context, sc_entry *entry, const float *vector)
{
    sc_room_note(context, entry, vector);
    sc_pipeline_learn(context, entry, vector);
}

/* The store keeps an entry STALE_SECONDS longer than it lives, so what it no longer has is gone for
 * callers who prefer an expired answer to none, too: its time is over, or somebody invalidated it. */
static void feed_removed(void *context, const sc_digest *id)
{
    sc_pipeline *pipeline = context;
    sc_quota_forget(pipeline->quota, id);
    sc_pipeline_forget(pipeline, id);
}

/* Somebody emptied the store: what the LLM is being asked meanwhile is of the time before. */
static void feed_cleared(void *context)
{
    sc_pipeline *pipeline = context;
    sc_quota_forget_all(pipeline->quota);
    sc_pipeline_invalidation_begins(pipeline);
    sc_pipeline_forget_all(pipeline);
    sc_pipeline_invalidation_ends(pipeline);
}

/* Only the first loss counts: news of the same loss must not prolong what is served unverified. */
static void feed_live(void *context, bool live)
{
    sc_pipeline *pipeline = context;
    if (!live && atomic_load(&pipeline->feed_live))
        atomic_store(&pipeline->feed_lost_ns, sc_now().ns);
    atomic_store_explicit(&pipeline->feed_live, live, memory_order_release);
}

static uint64_t feed_known(void *context, const sc_digest *id)
{
    sc_pipeline *pipeline = context;
    return sc_warm_version(pipeline->parts.warm, id);
}

sc_store_feed sc_pipeline_feed(sc_pipeline *pipeline)
{
    return (sc_store_feed){
        .context = pipeline,
        .put = feed_put,
        .removed = feed_removed,
        .cleared = feed_cleared,
        .live = feed_live,
        .known = feed_known,
    };
}

/* ---- looking in ----------------------------------------------------------------------------- */

const sc_pipeline_options *sc_pipeline_options_of(const sc_pipeline *pipeline)
{
    return &pipeline->options;
}

sc_pipeline_metrics *sc_pipeline_metrics_of(sc_pipeline *pipeline)
{
    return pipeline->metrics;
}

const sc_pipeline_parts *sc_pipeline_parts_of(const sc_pipeline *pipeline)
{
    return &pipeline->parts;
}

sc_store *sc_pipeline_store(const sc_pipeline *pipeline)
{
    return pipeline->store;
}

size_t sc_pipeline_flights(const sc_pipeline *pipeline)
{
    return sc_flights_count(pipeline->flights);
}

size_t sc_pipeline_searches_waiting(const sc_pipeline *pipeline)
{
    return sc_gather_waiting(pipeline->gather);
}
