/* Threads: one per master, as src/store/redis has it, and one that follows the slots. A caller's
 * thread finds the owner in an array of bytes under a lock that is held for nothing else, and hands
 * the call to that master's store. Several masters on one thread were considered: that thread would
 * read all their replies, and it is the encoding and decoding that costs. */
#include "src/store/cluster/inside.h"

#include <stdlib.h>
#include <unistd.h>

#include "src/base/breaker.h"

static sc_cluster *cluster_of(sc_store *store)
{
    return SC_CONTAINER(store, sc_cluster, base);
}

/* --- masters --------------------------------------------------------------------------- */

sc_master *sc_cluster_enter(sc_cluster *cluster, uint16_t slot)
{
    sc_master *master = NULL;

    pthread_mutex_lock(&cluster->lock);
    if (cluster->owner[slot] != SC_OWNER_NONE)
        master = cluster->masters[cluster->owner[slot]];
    if (master != NULL)
        atomic_fetch_add(&master->users, 1);
    pthread_mutex_unlock(&cluster->lock);
    return master;
}

size_t sc_cluster_enter_all(sc_cluster *cluster, sc_master *out[SC_MASTERS_MAX], bool *whole)
{
    pthread_mutex_lock(&cluster->lock);
    size_t count = cluster->masters_count;
    for (size_t i = 0; i < count; i++) {
        out[i] = cluster->masters[i];
        atomic_fetch_add(&out[i]->users, 1);
    }
    *whole = memchr(cluster->owner, SC_OWNER_NONE, sizeof cluster->owner) == NULL;
    pthread_mutex_unlock(&cluster->lock);
    return count;
}

void sc_cluster_leave(sc_master *master)
{
    atomic_fetch_sub(&master->users, 1);
}

void sc_master_close(sc_master *master, sc_instant deadline)
{
    enum { STEP_US = 200 };
    while (atomic_load(&master->users) != 0)
        usleep(STEP_US);
    master->store->ops->close(master->store, deadline);
    free(master);
}

uint16_t sc_cluster_slot(const sc_cluster *cluster, const sc_digest *id)
{
    char   key[SC_REDIS_KEY_BYTES];
    size_t len = sc_redis_schema_key(&cluster->schema, id, key);
    return sc_slot_of((sc_str){key, len});
}

void sc_cluster_moved(sc_cluster *cluster)
{
    atomic_fetch_add(&cluster->moves, 1);
    sc_watch_refresh(cluster);
}

/* --- doors: any thread ----------------------------------------------------------------- */

void sc_cluster_end(sc_store_call *call, sc_status status, const char *text)
{
    call->status = status;
    call->error = (sc_error){0};
    if (status != SC_OK)
        sc_fail(&call->error, status, "%s", text);
    call->done(call);
}

static void store_get(sc_store *store, sc_store_get *get)
{
    get->found = NULL;
    sc_relay_get(cluster_of(store), get);
}

static void store_search(sc_store *store, sc_store_search *search)
{
    search->found_count = 0;
    sc_scatter_search(cluster_of(store), search);
}

static void store_verify(sc_store *store, sc_store_verify *verify)
{
    verify->fresh = false;
    sc_relay_verify(cluster_of(store), verify);
}

static void store_put(sc_store *store, sc_store_put *put)
{
    sc_relay_put(cluster_of(store), put);
}

static void store_invalidate(sc_store *store, sc_store_invalidate *invalidate)
{
    invalidate->removed = 0;
    invalidate->examples_count = 0;
    sc_scatter_invalidate(cluster_of(store), invalidate);
}

static void store_used(sc_store *store, const sc_digest *id, sc_wall when)
{
    sc_cluster *cluster = cluster_of(store);
    sc_master  *master = sc_cluster_enter(cluster, sc_cluster_slot(cluster, id));

    if (master == NULL)
        return;
    master->store->ops->used(master->store, id, when);
    sc_cluster_leave(master);
}

/* --- looking --------------------------------------------------------------------------- */

/* Of several masters' states the one that needs most attention is shown. */
static const char *worse_state(const char *a, const char *b)
{
    static const char *const states[] = {"none",    "drifted",  "missing",
                                         "unknown", "indexing", "ready"};
    for (size_t i = 0; i < sizeof states / sizeof states[0]; i++)
        if (strcmp(a, states[i]) == 0 || strcmp(b, states[i]) == 0)
            return states[i];
    return a;
}

static void add_info(sc_store_info *sum, const sc_store_info *one)
{
    if (sum->masters == 0) {
        *sum = *one;
        return;
    }
    double documents = (double)sum->documents + (double)one->documents;
    if (documents > 0)
        sum->percent_indexed = (sum->percent_indexed * (double)sum->documents +
                                one->percent_indexed * (double)one->documents) /
                               documents;
    sum->masters += one->masters;
    sum->masters_connected += one->masters_connected;
    sum->index_state = worse_state(sum->index_state, one->index_state);
    sum->documents += one->documents;
    sum->index_failures += one->index_failures;
    sum->foreign_values += one->foreign_values;
    sum->calls += one->calls;
    sum->failures += one->failures;
    sum->reconnects += one->reconnects;
    sum->feed_messages += one->feed_messages;
    sum->resyncs += one->resyncs;
    sum->queue_depth += one->queue_depth;
    sum->searches_waiting += one->searches_waiting;
    sum->searches_refused += one->searches_refused;
    sum->writes_waiting += one->writes_waiting;
    sum->writes_dropped += one->writes_dropped;
    if (one->breaker_state == SC_BREAKER_OPEN || sum->breaker_state == SC_BREAKER_CLOSED)
        sum->breaker_state = one->breaker_state;
    sum->breaker_opened += one->breaker_opened;
}

static void store_look(sc_store *store, sc_store_info *out)
{
    sc_cluster   *cluster = cluster_of(store);
    sc_master    *masters[SC_MASTERS_MAX];
    sc_store_info one;
    bool          whole;
    size_t        count = sc_cluster_enter_all(cluster, masters, &whole);

    *out = (sc_store_info){.index_state = "unknown"};
    for (size_t i = 0; i < count; i++) {
        masters[i]->store->ops->look(masters[i]->store, &one);
        add_info(out, &one);
        sc_cluster_leave(masters[i]);
    }
    out->connected = count != 0 && whole && out->masters_connected == out->masters;
    pthread_mutex_lock(&cluster->feed_lock);
    out->feed_live = cluster->told_live;
    pthread_mutex_unlock(&cluster->feed_lock);
    pthread_mutex_lock(&cluster->parked_lock);
    out->writes_waiting += cluster->parked_count;
    out->writes_dropped += cluster->parked_dropped;
    pthread_mutex_unlock(&cluster->parked_lock);
    uint64_t refused = atomic_load(&cluster->refused);
    out->calls += refused;
    out->failures += refused;
}

/* --- open and close -------------------------------------------------------------------- */

static void free_cluster(sc_cluster *cluster)
{
    for (size_t i = 0; i < sizeof cluster->texts / sizeof cluster->texts[0]; i++)
        free(cluster->texts[i]);
    pthread_mutex_destroy(&cluster->lock);
    pthread_mutex_destroy(&cluster->feed_lock);
    pthread_mutex_destroy(&cluster->parked_lock);
    /* The password does not stay behind in freed memory. */
    explicit_bzero(cluster->seeds, sizeof cluster->seeds);
    explicit_bzero(&cluster->watch.url, sizeof cluster->watch.url);
    free(cluster);
}

/* Each writes what waits for it, until the deadline. */
static void close_masters(sc_cluster *cluster, sc_instant deadline)
{
    pthread_mutex_lock(&cluster->lock);
    size_t count = cluster->masters_count;
    cluster->masters_count = 0;
    memset(cluster->owner, SC_OWNER_NONE, sizeof cluster->owner);
    pthread_mutex_unlock(&cluster->lock);
    for (size_t i = 0; i < count; i++)
        sc_master_close(cluster->masters[i], deadline);
}

static void store_close(sc_store *store, sc_instant deadline)
{
    sc_cluster *cluster = cluster_of(store);

    atomic_store(&cluster->closing, true);
    sc_watch_close(cluster);
    close_masters(cluster, deadline);
    sc_parked_close(cluster);
    free_cluster(cluster);
}

static const sc_store_ops cluster_ops = {
    .get = store_get,
    .search = store_search,
    .verify = store_verify,
    .put = store_put,
    .invalidate = store_invalidate,
    .used = store_used,
    .look = store_look,
    .close = store_close,
};

/* Masters are opened later, when the caller's texts may be gone. */
static bool copy_text(sc_cluster *cluster, size_t at, const char **text)
{
    if (*text == NULL)
        return true;
    *text = cluster->texts[at] = strdup(*text);
    return *text != NULL;
}

static sc_status read_options(sc_cluster *cluster, const sc_redis_options *options, sc_error *error)
{
    cluster->base = (sc_store){&cluster_ops, options->dim};
    cluster->options = *options;
    cluster->options.url = NULL;
    if (!copy_text(cluster, 0, &cluster->options.cache_namespace) ||
        !copy_text(cluster, 1, &cluster->options.ca_file) ||
        !copy_text(cluster, 2, &cluster->options.embedding_model))
        return sc_fail(error, SC_NO_MEMORY, "no memory for a store");
    sc_status status = sc_redis_options_check(options, error);
    if (status == SC_OK)
        status = sc_redis_schema_make(options, &cluster->schema, error);
    if (status == SC_OK)
        status = sc_seeds_read(sc_str_of(options->url), cluster->seeds, &cluster->seeds_count,
                               error);
    return status;
}

sc_status sc_cluster_open(const sc_redis_options *options, const sc_store_feed *feed,
                          sc_store **out, sc_error *error)
{
    sc_cluster *cluster = calloc(1, sizeof *cluster);

    *out = NULL;
    if (cluster == NULL)
        return sc_fail(error, SC_NO_MEMORY, "no memory for a store");
    pthread_mutex_init(&cluster->lock, NULL);
    pthread_mutex_init(&cluster->feed_lock, NULL);
    pthread_mutex_init(&cluster->parked_lock, NULL);
    sc_list_init(&cluster->parked);
    memset(cluster->owner, SC_OWNER_NONE, sizeof cluster->owner);
    if (feed != NULL)
        cluster->feed = *feed;
    sc_status status = read_options(cluster, options, error);
    if (status == SC_OK)
        status = sc_watch_open(cluster, error);
    if (status == SC_OK)
        *out = &cluster->base;
    else
        free_cluster(cluster);
    return status;
}
