/* One feed of many: what a master tells goes on as it is, from that master's thread. Memory may be
 * believed when every slot's master is heard, and when the cluster holds itself for whole. A master of a minority, cut off from the others,
 * answers PING like any other: only the cluster's own word tells that it must not be believed. */
#include "src/store/cluster/inside.h"

static const sc_store_feed *feed_of(void *context)
{
    const sc_master *master = context;
    return &master->cluster->feed;
}

static void on_put(void *context, sc_entry *entry, const float *vector)
{
    const sc_store_feed *feed = feed_of(context);
    feed->put(feed->context, entry, vector);
}

static void on_removed(void *context, const sc_digest *id)
{
    const sc_store_feed *feed = feed_of(context);
    feed->removed(feed->context, id);
}

/* Of one master only, but memory does not know whose is what: it is emptied, and filled again by the
 * others. */
static void on_cleared(void *context)
{
    const sc_master     *master = context;
    const sc_store_feed *feed = feed_of(context);
    sc_master           *all[SC_MASTERS_MAX];
    bool                 whole;

    feed->cleared(feed->context);
    size_t count = sc_cluster_enter_all(master->cluster, all, &whole);
    for (size_t i = 0; i < count; i++) {
        if (all[i] != master)
            sc_redis_shard_tell_again(all[i]->store);
        sc_cluster_leave(all[i]);
    }
}

static uint64_t on_known(void *context, const sc_digest *id)
{
    const sc_store_feed *feed = feed_of(context);
    return feed->known == NULL ? 0 : feed->known(feed->context, id);
}

static void on_live(void *context, bool live)
{
    sc_master *master = context;
    atomic_store(&master->live, live);
    sc_cluster_tell_live(master->cluster);
}

sc_store_feed sc_cluster_feed(sc_master *master)
{
    if (master->cluster->feed.put == NULL)
        return (sc_store_feed){0};
    return (sc_store_feed){.context = master,
                           .put = on_put,
                           .removed = on_removed,
                           .cleared = on_cleared,
                           .live = on_live,
                           .known = on_known};
}

static bool all_live(sc_cluster *cluster)
{
    pthread_mutex_lock(&cluster->lock);
    bool live = cluster->masters_count != 0 &&
                memchr(cluster->owner, SC_OWNER_NONE, sizeof cluster->owner) == NULL;
    for (size_t i = 0; i < cluster->masters_count && live; i++)
        live = atomic_load(&cluster->masters[i]->live);
    pthread_mutex_unlock(&cluster->lock);
    return live && atomic_load(&cluster->healthy);
}

/* Told under the lock: the last word must be the truth. */
void sc_cluster_tell_live(sc_cluster *cluster)
{
    const sc_store_feed *feed = &cluster->feed;

    pthread_mutex_lock(&cluster->feed_lock);
    bool live = all_live(cluster);
    if (live != cluster->told_live && feed->live != NULL)
        feed->live(feed->context, live);
    cluster->told_live = live;
    pthread_mutex_unlock(&cluster->feed_lock);
}
