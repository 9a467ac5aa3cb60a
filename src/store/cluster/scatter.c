/* Calls on all masters. Each gets a copy of the call; the last that comes back gathers. */
#include <stdlib.h>

#include "src/store/cluster/inside.h"

typedef struct part part;

typedef struct gathering {
    sc_cluster    *cluster;
    sc_store_call *outer; /* the caller's */
    void (*finish)(struct gathering *all);
    atomic_size_t waiting; /* parts, and whoever sends them */
    size_t        count;
    bool          whole;  /* every slot had a master */
    bool          second; /* the second look of an invalidation */
    uint64_t      moves;  /* seen before it began */
    part         *parts;  /* [count] */
} gathering;

typedef void finisher(gathering *all);


struct part {
    gathering *of;
    union {
        sc_store_call       call; /* each of the others begins with it */
        sc_store_search     search;
        sc_store_invalidate invalidate;
    } inner;
};

static void come_back(gathering *all)
{
    if (atomic_fetch_sub(&all->waiting, 1) == 1)
        all->finish(all);
}

static void on_done(sc_store_call *call)
{
    come_back(SC_CONTAINER(call, part, inner.call)->of);
}

/* Asks each master with its part; the caller's thread counts as one, so that none is the last
 * before all are asked. NULL: the call was ended. */
static gathering *begin(sc_cluster *cluster, sc_store_call *outer, finisher *finish,
                        sc_master *masters[SC_MASTERS_MAX])
{
    gathering *all = calloc(1, sizeof *all);
    bool       closing = atomic_load(&cluster->closing);

    if (all != NULL) {
        *all = (gathering){.cluster = cluster, .outer = outer};
        all->moves = atomic_load(&cluster->moves);
        all->finish = finish;
        all->count = sc_cluster_enter_all(cluster, masters, &all->whole);
        all->parts = calloc(all->count + 1, sizeof *all->parts);
        atomic_init(&all->waiting, all->count + 1);
    }
    if (all != NULL && all->parts != NULL && all->count != 0 && !closing)
        return all;
    for (size_t i = 0; all != NULL && i < all->count; i++)
        sc_cluster_leave(masters[i]);
    bool none = all != NULL && all->count == 0;
    if (all != NULL)
        free(all->parts);
    free(all);
    if (none)
        atomic_fetch_add(&cluster->refused, 1);
    sc_cluster_end(outer, closing ? SC_CANCELLED : none ? SC_UNAVAILABLE : SC_NO_MEMORY,
                   closing ? "the store is closing" : none ? "no master is known" : "no memory");
    return NULL;
}

static void set_call(gathering *all, part *one)
{
    one->of = all;
    one->inner.call = (sc_store_call){.deadline = all->outer->deadline, .done = on_done};
}

static void end(gathering *all, sc_status status, const char *text)
{
    sc_store_call *outer = all->outer;

    free(all->parts);
    free(all);
    sc_cluster_end(outer, status, text);
}

/* The first failure among the parts; NULL: all went well. */
static const sc_store_call *failure(const gathering *all)
{
    for (size_t i = 0; i < all->count; i++)
        if (all->parts[i].inner.call.status != SC_OK)
            return &all->parts[i].inner.call;
    return NULL;
}

/* A master that left has ended its calls; the caller's was not cancelled. */
static sc_status status_of(const gathering *all, const sc_store_call *failed)
{
    bool left = failed->status == SC_CANCELLED && !atomic_load(&all->cluster->closing);
    return left ? SC_UNAVAILABLE : failed->status;
}

static void end_as(gathering *all, const sc_store_call *failed)
{
    char text[SC_ERROR_TEXT_BYTES] = "";

    if (failed == NULL) {
        end(all, SC_OK, NULL);
        return;
    }
    memcpy(text, failed->error.text, sizeof text);
    end(all, status_of(all, failed), text);
}

/* --- search ---------------------------------------------------------------------------- */

static bool has(const sc_store_search *search, const sc_entry *entry)
{
    for (size_t i = 0; i < search->found_count; i++)
        if (sc_digest_equal(&search->found[i].entry->f.id, &entry->f.id))
            return true;
    return false;
}

/* Takes the reference over. */
static void keep_nearest(sc_store_search *search, sc_candidate one)
{
    size_t at = search->found_count;
    bool   full = at == sc_store_wanted(search);

    /* The same twice: its slot has just moved. */
    if (has(search, one.entry) || (full && search->found[at - 1].distance <= one.distance)) {
        sc_entry_unref(one.entry);
        return;
    }
    if (full)
        sc_entry_unref(search->found[--at].entry);
    else
        search->found_count++;
    for (; at > 0 && search->found[at - 1].distance > one.distance; at--)
        search->found[at] = search->found[at - 1];
    search->found[at] = one;
}

/* What some masters found is worth having when others are away. */
static void finish_search(gathering *all)
{
    sc_store_search *search = SC_CONTAINER(all->outer, sc_store_search, call);
    size_t           answered = 0;

    for (size_t i = 0; i < all->count; i++) {
        const sc_store_search *one = &all->parts[i].inner.search;
        answered += one->call.status == SC_OK;
        for (size_t j = 0; j < one->found_count; j++)
            keep_nearest(search, one->found[j]);
    }
    end_as(all, answered != 0 ? NULL : failure(all));
}

void sc_scatter_search(sc_cluster *cluster, sc_store_search *search)
{
    sc_master *masters[SC_MASTERS_MAX];
    gathering *all = begin(cluster, &search->call, finish_search, masters);

    if (all == NULL)
        return;
    for (size_t i = 0; i < all->count; i++) {
        sc_store_search *one = &all->parts[i].inner.search;
        one->scope = search->scope;
        one->guard = search->guard;
        one->vector = search->vector;
        one->k = search->k;
        one->wanted = search->wanted;
        one->ef_runtime = search->ef_runtime;
        one->moot = search->moot;
        set_call(all, &all->parts[i]);
        masters[i]->store->ops->search(masters[i]->store, one);
        sc_cluster_leave(masters[i]);
    }
    come_back(all);
}

/* --- invalidate ------------------------------------------------------------------------ */

static void look_through(sc_cluster *cluster, sc_store_invalidate *invalidate, bool second);

static void add_found(sc_store_invalidate *sum, sc_store_invalidate *one)
{
    sum->removed += one->removed;
    for (size_t i = 0; i < one->examples_count; i++)
        if (sum->examples_count < SC_STORE_EXAMPLES_MAX)
            sum->examples[sum->examples_count++] = one->examples[i];
        else
            sc_entry_unref(one->examples[i].entry);
}

/* An entry on the move may have left one master before we looked there, and come to another after.
 * It moves once: a second look finds it where it went. */
static void finish_invalidate(gathering *all)
{
    sc_cluster          *cluster = all->cluster;
    sc_store_invalidate *sum = SC_CONTAINER(all->outer, sc_store_invalidate, call);
    const sc_store_call *failed = failure(all);

    for (size_t i = 0; i < all->count; i++)
        add_found(sum, &all->parts[i].inner.invalidate);
    bool moved = all->moves != atomic_load(&cluster->moves);
    if (failed != NULL) {
        end_as(all, failed);
    } else if (!all->whole) {
        end(all, SC_UNAVAILABLE, "some slots have no master");
    } else if (moved && !all->second && !sum->dry_run) {
        free(all->parts);
        free(all);
        look_through(cluster, sum, true);
    } else {
        end(all, SC_OK, NULL);
    }
}

static void look_through(sc_cluster *cluster, sc_store_invalidate *invalidate, bool second)
{
    sc_master *masters[SC_MASTERS_MAX];
    gathering *all = begin(cluster, &invalidate->call, finish_invalidate, masters);

    if (all == NULL)
        return;
    all->second = second;
    for (size_t i = 0; i < all->count; i++) {
        sc_store_invalidate *one = &all->parts[i].inner.invalidate;
        one->filter = invalidate->filter;
        one->dry_run = invalidate->dry_run;
        one->removing = invalidate->removing;
        one->removing_context = invalidate->removing_context;
        set_call(all, &all->parts[i]);
        masters[i]->store->ops->invalidate(masters[i]->store, one);
        sc_cluster_leave(masters[i]);
    }
    come_back(all);
}

void sc_scatter_invalidate(sc_cluster *cluster, sc_store_invalidate *invalidate)
{
    /* What waits to be written later would come back from the dead. */
    sc_parked_forget(cluster, invalidate);
    look_through(cluster, invalidate, false);
}
