/* inside.h - what the parts of the Redis store share. Included by this folder only.
 *
 *   store.c       the thread, its inbox, the doors that callers use
 *   lookup.c      get, verify, used
 *   search.c      nearest entries
 *   turn.c        which search is next
 *   fetch.c       the same in a cluster: their texts
 *   write.c       put, and what waits for a Redis that is away
 *   invalidate.c  removing what a filter matches
 *   index.c       makes and watches the index
 *   feed.c        keeps copies in memory true
 *   sweep.c       removes the least recently used beyond a limit
 *
 * A caller's call becomes an op, posted to the I/O thread; from there on everything in sc_redis
 * but the inbox and the atomics belongs to that thread. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <uv.h>

#include "src/base/breaker.h"
#include "src/base/buf.h"
#include "src/base/list.h"
#include "src/base/table.h"
#include "src/store/redis/conn.h"
#include "src/store/redis/redis.h"
#include "src/store/redis/reply.h"
#include "src/store/redis/schema.h"
#include "src/store/redis/shard.h"

typedef struct sc_redis sc_redis;

/* Searches run for milliseconds on Redis' main thread and page-wise reads move megabytes: neither
 * shall stand in front of a look-up's reply; but one that has to wait for its own search anyway. */
typedef enum {
    SC_CONN_SEARCH,
    SC_CONN_DATA,
    SC_CONN_BULK,
    SC_CONN_FEED,
    SC_CONN_COUNT
} sc_conn_role;

typedef struct sc_op {
    sc_link        link; /* in the inbox; of a search, then among those that wait or fly */
    sc_redis      *redis;
    sc_store_call *call;
    sc_command     command;
    sc_instant     begun;
    sc_instant     since;  /* its time limit counts from then; a search's from Redis' last answer */
    bool           unsent; /* its outcome says nothing about Redis */
    sc_redis_fault fault;  /* the first in a command of several replies */
    char           why[SC_ERROR_TEXT_BYTES]; /* its words, when the caller needs them */
    void (*start)(struct sc_op *op);         /* on the I/O thread: sends or finishes */
} sc_op;

/* Searches that wait for their turn, and those that Redis has. */
typedef struct {
    sc_link    waiting, flying; /* of ops, oldest first */
    size_t     waiting_count, flying_count;
    sc_instant answered; /* when Redis last answered one */
    int64_t    each_ns;  /* from one answer to the next, smoothed */
    uint64_t   refused;
    bool       moving; /* the queue is being looked at */
} sc_turns;

enum { SC_USED_SHARDS = 16, SC_USED_PER_SHARD_MAX = 4096 };

/* Uses not yet told to Redis. Sharded by id, since every hit on every thread passes here. */
typedef struct {
    pthread_mutex_t lock;
    /* Under lock. */
    sc_table when; /* id to wall ms, in the pointer */
} sc_used_shard;

typedef enum {
    SC_INDEX_UNKNOWN,
    SC_INDEX_MISSING,
    SC_INDEX_BUILDING,
    SC_INDEX_READY,
    SC_INDEX_DRIFTED,
    SC_INDEX_NONE, /* the server has no search */
} sc_index_state;

typedef enum {
    SC_FEED_DOWN,
    SC_FEED_JOINING,
    SC_FEED_SYNCING,
    SC_FEED_LIVE,
    SC_FEED_POLLING
} sc_feed_state;

/* Keys that the feed reads in one go: a page of all, or those that changed. */
typedef struct {
    sc_digest id;
    bool      whole; /* entry and vector; else its version, to see whether it is a new one */
} sc_feed_key;

typedef struct {
    sc_redis    *redis;
    sc_command   command;
    bool         busy;
    sc_feed_key *keys; /* [room] */
    size_t       room, used, at;
} sc_feed_batch;

struct sc_redis {
    sc_store base;

    /* Fixed by open. */
    sc_redis_options options; /* its texts are not kept */
    sc_redis_url     url;
    sc_redis_schema  schema;
    sc_store_feed    feed;
    sc_tls          *tls;
    pthread_t        thread;
    bool             is_shard;
    sc_redis_shard   shard; /* without url; owned is the I/O thread's */

    /* Any thread. */
    sc_breaker       breaker;
    sc_used_shard    used[SC_USED_SHARDS];
    _Atomic bool     reachable; /* search and data connections are up */
    _Atomic bool     closing;
    _Atomic uint32_t calls_under_way;
    _Atomic uint64_t calls, failures;
    uv_async_t       wake;
    pthread_mutex_t  inbox_lock;
    sc_link          inbox;          /* under inbox_lock */
    sc_instant       close_deadline; /* under inbox_lock */
    sc_slot_set      assigned;       /* under inbox_lock */
    bool             assigned_anew;  /* under inbox_lock */
    bool             tell_again;     /* under inbox_lock */
    pthread_mutex_t  info_lock;
    sc_store_info    info; /* under info_lock */

    /* The I/O thread's. */
    uv_loop_t  loop;
    uv_timer_t ticker;
    uint64_t   ticks;
    bool       winding_down;
    sc_conn   *conns[SC_CONN_COUNT];
    sc_buf     scratch;      /* a command being written */
    sc_buf     search_words; /* that stand in every search alike */
    uint64_t   reconnects, foreign_values;
    sc_turns   turns;

    struct {
        sc_index_state state;
        sc_redis_index seen;
        sc_command     command;
        bool           asking;
        int            step; /* what was asked */
        sc_slot_set    usable;  /* a cluster's master: of its slots, those that index names may use */
        sc_instant     forgive; /* when slots that were refused may be tried again */
        int            surplus; /* tag of an index that nobody needs; -1: none */
    } index;

    struct {
        sc_link  waiting; /* of kept entries, oldest first */
        size_t   entries, bytes;
        size_t   flying; /* being written late */
        uint64_t dropped;
    } writes;

    struct {
        sc_feed_state state;
        sc_command    command; /* on the feed's own connection */
        sc_instant    pinged, resync_at, join_at;
        sc_table      held;   /* id to version and generation of what was told */
        sc_table      groups; /* scope and guard to their number of entries */
        sc_table      dirty;  /* ids that changed and are not fetched yet */
        uint32_t      generation;
        sc_feed_batch page, changes;
        char          cursor[24];
        bool          syncing, sync_again;
        uint64_t      messages, resyncs;
    } feeding;

    struct {
        sc_command command;
        bool       busy;
        sc_instant next;
        char       me[33];
        int64_t    excess; /* entries to remove */
        unsigned   batches;
        uint64_t   removed;
    } sweep;
};

/* --- store.c --------------------------------------------------------------------------- */

/* Ends the op: sets the call's outcome, calls done() and frees the op. text NULL: none. */
void sc_op_finish(sc_op *op, sc_status status, const char *text);

/* Deadline of a single command: the call's own, or the store's time limit from op->since, whichever is
 * first. */
sc_instant sc_op_deadline(const sc_op *op);

/* An empty buffer to write a command into. */
sc_buf *sc_redis_scratch(sc_redis *redis);

/* Sends what is in the scratch buffer. replies and deadline are set in the command already. */
SC_MUST_CHECK sc_status sc_redis_send(sc_redis *redis, sc_conn_role role, sc_command *command);

/* The same for an op: sends with its deadline, or finishes it. */
void sc_op_send(sc_op *op, sc_conn_role role, size_t replies);

bool sc_redis_is_up(const sc_redis *redis, sc_conn_role role);

/* Counts a value that another program wrote under our namespace, and says so now and then. */
void sc_redis_foreign(sc_redis *redis);

/* Is it this server's to read and write? Always, but for a cluster's master. */
bool sc_redis_owns(const sc_redis *redis, sc_str key);
bool sc_redis_owns_id(const sc_redis *redis, const sc_digest *id);

/* Something showed that slots are on the move. */
void sc_redis_moved(sc_redis *redis);

/* Writes HMGET key and the first `fields` names. */
void sc_redis_hmget(sc_buf *out, sc_str key, size_t fields);

/* --- one line per part ----------------------------------------------------------------- */

void sc_get_start(sc_op *op);
void sc_verify_start(sc_op *op);
void sc_search_start(sc_op *op);
void sc_search_fetch(sc_op *op, const redisReply *rows);
/* Gives NULL for what may not be served: expired, another scope, not written by us. */
sc_entry *sc_search_read_row(sc_redis *redis, const sc_store_search *search,
                             const sc_redis_row *row, sc_wall now);
void sc_put_start(sc_op *op);
void sc_invalidate_start(sc_op *op);

void sc_turns_init(sc_turns *turns);
void sc_turns_close(sc_turns *turns); /* ends those that wait */
/* Has the search sent, at once or when it is its turn, or ends it. */
void sc_turn_take(sc_op *op);
void sc_search_send(sc_op *op);
/* Would a search be sent at once? */
bool sc_turn_is_free(const sc_redis *redis);
/* Redis has answered it, or a part of it. Before its end. */
void sc_turn_answered(sc_op *op);
/* As sc_op_finish, of one that was sent; then it is the next one's turn. */
void sc_turn_end(sc_op *op, sc_status status, const char *text);

void sc_used_note(sc_redis *redis, const sc_digest *id, sc_wall when); /* any thread */
void sc_used_flush(sc_redis *redis);

void sc_writes_drain(sc_redis *redis);
/* Forgets waiting writes that the call's filter matches, and counts them as removed. */
void sc_writes_forget(sc_redis *redis, sc_store_invalidate *call);
void sc_writes_close(sc_redis *redis);

void        sc_index_ask(sc_redis *redis); /* looks, and creates what is missing */
void        sc_index_assigned(sc_redis *redis);
const char *sc_index_state_name(sc_index_state state);

void sc_feed_up(sc_redis *redis);   /* the feed's connection is up */
void sc_feed_down(sc_redis *redis); /* ... or the one it reads through is down */
void sc_feed_push(sc_redis *redis, const redisReply *reply);
void sc_feed_tick(sc_redis *redis, sc_instant now);
void sc_feed_close(sc_redis *redis);

/* An entry was stored by this server. */
void sc_feed_stored(sc_redis *redis, const sc_entry *entry, bool with_vector);
/* An entry was read, and may from now on be in memory. */
void sc_feed_lent(sc_redis *redis, const sc_digest *id);
/* The slots changed. */
void sc_feed_assigned(sc_redis *redis, bool gained, bool lost);
/* Memory has nothing any more. */
void sc_feed_again(sc_redis *redis);
/* Entries with a vector in a scope and guard, as far as the feed has told; 0 also when it does not
 * know. */
uint64_t sc_feed_count(const sc_redis *redis, const sc_digest *scope, uint64_t guard);

void sc_sweep_tick(sc_redis *redis, sc_instant now);
