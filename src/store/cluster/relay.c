/* A call on one key goes to a copy of it, which the owner's store has, so that it can be asked once
 * more of another: of the one that Redis names when the slot has moved, or of the successor when
 * the master left meanwhile. */
#include <stdlib.h>

#include "src/store/cluster/inside.h"

enum { HOPS_MAX = 3 };

typedef struct relay {
    sc_cluster    *cluster;
    sc_store_call *outer; /* the caller's */
    uint16_t       slot;
    unsigned       hops;
    bool           homeless; /* no master was found */
    char           asked[SC_REDIS_HOST_BYTES];
    void (*ask)(struct relay *relay, sc_store *store);
    void (*bring)(struct relay *relay); /* the outcome to the caller's call */
    union {
        sc_store_call   call; /* each of the others begins with it */
        sc_store_get    get;
        sc_store_verify verify;
        sc_store_put    put;
    } inner;
} relay;

static void go(relay *on);

static void end(relay *on, sc_status status)
{
    sc_store_call *outer = on->outer;

    outer->status = status;
    outer->error = on->inner.call.error;
    if (status != SC_OK)
        outer->error.status = status;
    on->bring(on);
    free(on);
    outer->done(outer);
}

/* --- where it went --------------------------------------------------------------------- */

/* Until the table says so itself. False: nobody that is known. */
static bool note_owner(sc_cluster *cluster, uint16_t slot, const sc_node *node)
{
    bool found = false;

    pthread_mutex_lock(&cluster->lock);
    for (size_t i = 0; i < cluster->masters_count && !found; i++) {
        found = sc_node_equal(&cluster->masters[i]->node, node);
        if (found)
            cluster->owner[slot] = (uint8_t)i;
    }
    pthread_mutex_unlock(&cluster->lock);
    return found;
}

/* Was the wrong master asked? *again: another is known. */
static bool was_wrong(relay *on, bool *again)
{
    const sc_store_call *call = &on->inner.call;
    sc_node              node;
    uint16_t             slot;

    *again = call->status == SC_CANCELLED; /* it left, and the table knows its successor */
    if (call->status == SC_UNAVAILABLE &&
        sc_moved_read(sc_str_of(call->error.text), on->asked, &slot, &node)) {
        sc_cluster_moved(on->cluster);
        *again = note_owner(on->cluster, slot, &node);
        return true;
    }
    return *again;
}

static void on_done(sc_store_call *call)
{
    relay *on = SC_CONTAINER(call, relay, inner.call);
    bool   again;

    if (call->status == SC_OK || atomic_load(&on->cluster->closing) || !was_wrong(on, &again)) {
        end(on, call->status);
    } else if (again && ++on->hops < HOPS_MAX) {
        go(on);
    } else {
        on->homeless = true;
        end(on, SC_UNAVAILABLE);
    }
}

static void go(relay *on)
{
    sc_master *master = sc_cluster_enter(on->cluster, on->slot);

    if (master == NULL) {
        on->homeless = true;
        atomic_fetch_add(&on->cluster->refused, 1);
        sc_fail(&on->inner.call.error, SC_UNAVAILABLE, "no master is known for the key");
        end(on, SC_UNAVAILABLE);
        return;
    }
    memcpy(on->asked, master->node.host, sizeof on->asked);
    on->ask(on, master->store);
    sc_cluster_leave(master);
}

/* NULL: the call was ended. */
static relay *begin(sc_cluster *cluster, sc_store_call *outer, const sc_digest *id)
{
    relay *on = atomic_load(&cluster->closing) ? NULL : calloc(1, sizeof *on);

    if (on == NULL) {
        bool closing = atomic_load(&cluster->closing);
        sc_cluster_end(outer, closing ? SC_CANCELLED : SC_NO_MEMORY,
                       closing ? "the store is closing" : "no memory for a call");
        return NULL;
    }
    on->cluster = cluster;
    on->outer = outer;
    on->slot = sc_cluster_slot(cluster, id);
    return on;
}

static void set_call(relay *on)
{
    on->inner.call = (sc_store_call){.deadline = on->outer->deadline, .done = on_done};
}

/* --- get ------------------------------------------------------------------------------- */

static void ask_get(relay *on, sc_store *store)
{
    store->ops->get(store, &on->inner.get);
}

static void bring_get(relay *on)
{
    SC_CONTAINER(on->outer, sc_store_get, call)->found = on->inner.get.found;
}

void sc_relay_get(sc_cluster *cluster, sc_store_get *get)
{
    relay *on = begin(cluster, &get->call, &get->id);
    if (on == NULL)
        return;
    on->ask = ask_get;
    on->bring = bring_get;
    on->inner.get.id = get->id;
    on->inner.get.with_search = get->with_search; /* which goes to the owner, too */
    set_call(on);
    go(on);
}

/* --- verify ---------------------------------------------------------------------------- */

static void ask_verify(relay *on, sc_store *store)
{
    store->ops->verify(store, &on->inner.verify);
}

static void bring_verify(relay *on)
{
    SC_CONTAINER(on->outer, sc_store_verify, call)->fresh = on->inner.verify.fresh;
}

void sc_relay_verify(sc_cluster *cluster, sc_store_verify *verify)
{
    relay *on = begin(cluster, &verify->call, &verify->id);
    if (on == NULL)
        return;
    on->ask = ask_verify;
    on->bring = bring_verify;
    on->inner.verify.id = verify->id;
    on->inner.verify.version = verify->version;
    set_call(on);
    go(on);
}

/* --- put ------------------------------------------------------------------------------- */

static void ask_put(relay *on, sc_store *store)
{
    store->ops->put(store, &on->inner.put);
}

/* A master that is away keeps the entry itself; without a master it waits for one here. */
static void bring_put(relay *on)
{
    if (on->homeless)
        sc_park(on->cluster, on->inner.put.entry, on->inner.put.vector);
}

void sc_relay_put(sc_cluster *cluster, sc_store_put *put)
{
    relay *on = begin(cluster, &put->call, &put->entry->f.id);
    if (on == NULL)
        return;
    /* An older one must not come later. */
    sc_parked_drop(cluster, &put->entry->f.id);
    on->ask = ask_put;
    on->bring = bring_put;
    on->inner.put.entry = put->entry;
    on->inner.put.vector = put->vector;
    set_call(on);
    go(on);
}
