/* Entries that could not be written because no master was known for their slot: before the cluster
 * was reached for the first time, while a slot has no owner, or when the master that kept them left.
 * Each is read before it is written, since a later one may have found its way. */
#include <stdlib.h>

#include "src/base/log.h"
#include "src/store/cluster/inside.h"

enum { FLYING_MAX = 16, TIMEOUTS = 4 };

typedef struct {
    sc_link      link;
    sc_cluster  *cluster;
    sc_entry    *entry;
    float       *vector; /* [dim], NULL: none */
    sc_store_get get;
    sc_store_put put;
} parked;

static void drop(parked *item)
{
    sc_entry_unref(item->entry);
    free(item->vector);
    free(item);
}

static size_t bytes_of(const parked *item)
{
    size_t vector = item->vector == NULL ? 0 : item->cluster->base.dim * sizeof *item->vector;
    return sizeof *item + item->entry->held_bytes + vector;
}

/* --- the line; all under parked_lock --------------------------------------------------- */

static void take_out(parked *item)
{
    sc_list_remove(&item->link);
    item->cluster->parked_count--;
    item->cluster->parked_bytes -= bytes_of(item);
}

static void put_in(parked *item)
{
    sc_cluster *cluster = item->cluster;

    sc_list_push_back(&cluster->parked, &item->link);
    cluster->parked_count++;
    cluster->parked_bytes += bytes_of(item);
    while (cluster->parked_count > cluster->options.waiting_entries_max ||
           cluster->parked_bytes > cluster->options.waiting_bytes_max) {
        parked *oldest = SC_CONTAINER(cluster->parked.next, parked, link);
        take_out(oldest);
        drop(oldest);
        cluster->parked_dropped++;
    }
}

static parked *copy(sc_cluster *cluster, sc_entry *entry, const float *vector)
{
    parked *item = calloc(1, sizeof *item);
    size_t  bytes = cluster->base.dim * sizeof *vector;

    if (item != NULL && vector != NULL)
        item->vector = malloc(bytes);
    if (item == NULL || (vector != NULL && item->vector == NULL)) {
        free(item);
        return NULL;
    }
    if (vector != NULL)
        memcpy(item->vector, vector, bytes);
    item->cluster = cluster;
    item->entry = sc_entry_ref(entry);
    return item;
}

void sc_park(sc_cluster *cluster, sc_entry *entry, const float *vector)
{
    parked *item = copy(cluster, entry, vector);

    pthread_mutex_lock(&cluster->parked_lock);
    if (item != NULL)
        put_in(item);
    else
        cluster->parked_dropped++;
    pthread_mutex_unlock(&cluster->parked_lock);
}

void sc_parked_drop(sc_cluster *cluster, const sc_digest *id)
{
    pthread_mutex_lock(&cluster->parked_lock);
    SC_LIST_EACH_SAFE (link, after, &cluster->parked) {
        parked *item = SC_CONTAINER(link, parked, link);
        if (!sc_digest_equal(&item->entry->f.id, id))
            continue;
        take_out(item);
        drop(item);
    }
    pthread_mutex_unlock(&cluster->parked_lock);
}

/* --- trying again ---------------------------------------------------------------------- */

static void land(parked *item, bool again)
{
    sc_cluster *cluster = item->cluster;

    pthread_mutex_lock(&cluster->parked_lock);
    cluster->parked_flying--;
    if (again)
        put_in(item);
    pthread_mutex_unlock(&cluster->parked_lock);
    if (!again)
        drop(item);
}

/* What failed was kept by the master, or parked anew. */
static void on_put(sc_store_call *call)
{
    land(SC_CONTAINER(SC_CONTAINER(call, sc_store_put, call), parked, put), false);
}

static sc_instant deadline_of(const parked *item)
{
    return sc_instant_after_ms(sc_now(), TIMEOUTS * (int64_t)item->cluster->options.timeout_ms);
}

static void on_get(sc_store_call *call)
{
    parked   *item = SC_CONTAINER(SC_CONTAINER(call, sc_store_get, call), parked, get);
    sc_entry *found = item->get.found;
    bool      later = found != NULL && found->f.created.ms >= item->entry->f.created.ms;

    sc_entry_unref(found);
    if (call->status != SC_OK || later) {
        land(item, call->status != SC_OK);
        return;
    }
    item->put = (sc_store_put){.call = {.deadline = deadline_of(item), .done = on_put},
                               .entry = item->entry,
                               .vector = item->vector};
    sc_relay_put(item->cluster, &item->put);
}

static void try_again(parked *item)
{
    item->get = (sc_store_get){.call = {.deadline = deadline_of(item), .done = on_get},
                               .id = item->entry->f.id};
    sc_relay_get(item->cluster, &item->get);
}

void sc_parked_go(sc_cluster *cluster)
{
    parked *items[FLYING_MAX];
    size_t  count = 0;

    pthread_mutex_lock(&cluster->parked_lock);
    while (cluster->parked_flying < FLYING_MAX && !sc_list_empty(&cluster->parked)) {
        items[count] = SC_CONTAINER(cluster->parked.next, parked, link);
        take_out(items[count++]);
        cluster->parked_flying++;
    }
    pthread_mutex_unlock(&cluster->parked_lock);
    for (size_t i = 0; i < count; i++)
        try_again(items[i]);
}

/* --- forgetting ------------------------------------------------------------------------ */

static void count_match(sc_store_invalidate *call, const parked *item, float distance)
{
    call->removed++;
    if (call->examples_count < SC_STORE_EXAMPLES_MAX)
        call->examples[call->examples_count++] =
            (sc_candidate){sc_entry_ref(item->entry), distance};
}

void sc_parked_forget(sc_cluster *cluster, sc_store_invalidate *call)
{
    pthread_mutex_lock(&cluster->parked_lock);
    SC_LIST_EACH_SAFE (link, after, &cluster->parked) {
        parked *item = SC_CONTAINER(link, parked, link);
        float   distance;
        if (!sc_store_filter_matches(&call->filter, &item->entry->f, item->vector,
                                     cluster->base.dim, &distance))
            continue;
        count_match(call, item, distance);
        if (call->dry_run)
            continue;
        if (call->removing != NULL)
            call->removing(call->removing_context, &item->entry->f.id);
        take_out(item);
        drop(item);
    }
    pthread_mutex_unlock(&cluster->parked_lock);
}

void sc_parked_close(sc_cluster *cluster)
{
    if (cluster->parked_count != 0)
        sc_log(SC_LOG_WARN, "redis.writes_lost", sc_kv_int("entries", cluster->parked_count));
    while (!sc_list_empty(&cluster->parked)) {
        parked *item = SC_CONTAINER(cluster->parked.next, parked, link);
        take_out(item);
        drop(item);
    }
}
