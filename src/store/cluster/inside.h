/* inside.h - what the parts of the cluster store share. Included by this folder only.
 *
 *   cluster.c   opening and closing, the doors that callers use
 *   relay.c     calls on one key: to its owner, and once more to where it moved
 *   scatter.c   calls on all masters
 *   parked.c    entries for which there is no master yet
 *   feed.c      one feed of many
 *   watch.c     the thread that follows the cluster's slots
 *   table.c     what CLUSTER SLOTS, MOVED and REDIS_URL say */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <uv.h>

#include "src/base/list.h"
#include "src/store/cluster/cluster.h"
#include "src/store/cluster/table.h"
#include "src/store/redis/conn.h"
#include "src/store/redis/schema.h"
#include "src/store/redis/shard.h"

typedef struct sc_cluster sc_cluster;

typedef struct sc_master {
    sc_cluster *cluster;
    sc_node     node;
    sc_store   *store;
    atomic_uint users; /* threads inside its doors */
    atomic_bool live;  /* its feed */
} sc_master;

/* What the watching thread alone touches. */
typedef struct {
    uv_loop_t     loop;
    uv_timer_t    ticker;
    sc_tls       *tls;
    sc_redis_url  url; /* of the node that is asked */
    sc_conn      *conn;
    sc_command    command;
    sc_instant    dialled, ask_at;
    size_t        next; /* node to ask, among masters and seeds */
    sc_instant    asked, heard;
    bool          asking, read, useless; /* another node is to be asked */
    sc_slot_table table; /* being read */
} sc_watch;

struct sc_cluster {
    sc_store base;

    /* Fixed by open. */
    sc_redis_options options; /* with texts of our own */
    char            *texts[3];
    sc_redis_schema  schema; /* for keys; a master's has its own names for the rest */
    sc_store_feed    feed;
    sc_redis_url     seeds[SC_SEEDS_MAX];
    size_t           seeds_count;
    pthread_t        thread;

    /* Any thread. */
    atomic_bool      closing;
    atomic_bool      refresh; /* the table is out of date */
    _Atomic uint64_t moves;   /* seen so far: something showed that slots are on the move */
    _Atomic uint64_t refused; /* calls that found no master */
    atomic_bool      healthy; /* the cluster says so itself */
    uv_async_t       wake;

    pthread_mutex_t lock;
    /* Under lock. Written by the watching thread, which may read it without. */
    sc_master *masters[SC_MASTERS_MAX];
    size_t     masters_count;
    uint8_t    owner[SC_SLOTS]; /* index of a master; MOVED writes here as well */
    bool       watching;        /* wake may be used */

    pthread_mutex_t feed_lock; /* before lock */
    bool            told_live; /* under feed_lock */

    pthread_mutex_t parked_lock;
    /* Under parked_lock. */
    sc_link  parked; /* oldest first */
    size_t   parked_count, parked_bytes;
    size_t   parked_flying; /* being tried */
    uint64_t parked_dropped;

    sc_watch watch;
};

/* --- cluster.c ------------------------------------------------------------------------- */

/* The master behind its doors, where it stays until sc_cluster_leave(). NULL: none is known. */
sc_master *sc_cluster_enter(sc_cluster *cluster, uint16_t slot);
/* All of them; gives their number. *whole: every slot has one. */
size_t sc_cluster_enter_all(sc_cluster *cluster, sc_master *out[SC_MASTERS_MAX], bool *whole);
void   sc_cluster_leave(sc_master *master);

/* Waits until nobody is inside, and closes it. Not under a lock. */
void sc_master_close(sc_master *master, sc_instant deadline);

/* The slot of an entry's key. */
uint16_t sc_cluster_slot(const sc_cluster *cluster, const sc_digest *id);

/* Something showed that slots are on the move. Any thread. */
void sc_cluster_moved(sc_cluster *cluster);

/* Ends a call that no master has. */
void sc_cluster_end(sc_store_call *call, sc_status status, const char *text);

/* --- one line per part ----------------------------------------------------------------- */

void sc_relay_get(sc_cluster *cluster, sc_store_get *get);
void sc_relay_verify(sc_cluster *cluster, sc_store_verify *verify);
void sc_relay_put(sc_cluster *cluster, sc_store_put *put);

void sc_scatter_search(sc_cluster *cluster, sc_store_search *search);
void sc_scatter_invalidate(sc_cluster *cluster, sc_store_invalidate *invalidate);

void sc_park(sc_cluster *cluster, sc_entry *entry, const float *vector);
void sc_parked_drop(sc_cluster *cluster, const sc_digest *id);
void sc_parked_go(sc_cluster *cluster); /* tries them again */
void sc_parked_forget(sc_cluster *cluster, sc_store_invalidate *call);
void sc_parked_close(sc_cluster *cluster);

sc_store_feed sc_cluster_feed(sc_master *master); /* what it tells goes on to ours */
void          sc_cluster_tell_live(sc_cluster *cluster);

/* Starts the thread. */
SC_MUST_CHECK sc_status sc_watch_open(sc_cluster *cluster, sc_error *error);
void                    sc_watch_close(sc_cluster *cluster);
void sc_watch_refresh(sc_cluster *cluster); /* asks for the slots at once; any thread */
