/* store.h - the port to where entries live longer than a process and are shared by servers.
 *
 * Every operation is a call: a struct embedded in what waits for it, handed over, and
 * handed back by exactly one done(), on a thread of the store's, with no lock held, or
 * at once by the function itself when the store refuses. Nothing blocks. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/base/clock.h"
#include "src/base/list.h"
#include "src/base/status.h"
#include "src/entry/entry.h"

typedef struct sc_store sc_store;

enum { SC_STORE_CANDIDATES_MAX = 64, SC_STORE_EXAMPLES_MAX = 20 };

/* What all calls have in common. */
typedef struct sc_store_call {
    sc_instant deadline;
    void (*done)(struct sc_store_call *call);
    sc_status status; /* set before done(): SC_UNAVAILABLE when away or its breaker is open, SC_TIMEOUT, ... */
    sc_error  error;
    void     *_op; /* the store's, while it has the call */
} sc_store_call;

/* Look-up by exact key: *found is NULL or an entry with a reference; SC_OK in both cases. An
 * expired entry is not found. */
typedef struct {
    sc_store_call call;
    sc_digest     id;
    bool          with_search; /* the same question's search follows: one way there serves both */
    sc_entry     *found;
} sc_store_get;

/* The nearest entries of a scope and guard. */
typedef struct {
    sc_store_call call;
    sc_digest     scope;
    uint64_t      guard;
    const float  *vector; /* [dim], unit length, borrowed until done */
    uint32_t      k;      /* candidates looked at, 1..SC_STORE_CANDIDATES_MAX */
    uint32_t      wanted; /* so many of them are given at most, the fewer the cheaper; 0: k */
    uint32_t      ef_runtime;
    const atomic_bool *moot; /* true once nobody waits for it: need not be asked any more; or NULL */
    sc_candidate  found[SC_STORE_CANDIDATES_MAX]; /* nearest first, each with a reference */
    size_t        found_count;
} sc_store_search;

static inline uint32_t sc_store_wanted(const sc_store_search *search)
{
    return search->wanted == 0 || search->wanted > search->k ? search->k : search->wanted;
}

/* Is this version of the entry still stored? SC_OK and fresh says. Also counts as a use. */
typedef struct {
    sc_store_call call;
    sc_digest     id;
    uint64_t      version;
    bool          fresh;
} sc_store_verify;

/* Writes an entry and its expiry atomically. vector NULL: found by exact key only. */
typedef struct {
    sc_store_call call;
    sc_entry     *entry;  /* the caller's reference is borrowed until done */
    const float  *vector; /* [dim], borrowed until done */
} sc_store_put;

/* What an invalidation is about. Criteria combine with AND; each absent one matches everything. */
typedef struct {
    sc_str        tenant; /* always compared */
    bool          any_tenant;
    const sc_digest *ids; /* [ids_count] */
    size_t        ids_count;
    sc_str        model, corpus_version;      /* ptr NULL: absent */
    const sc_digest *system_hash;             /* NULL: absent */
    const sc_str *tags;                       /* [tags_count], all must be there */
    size_t        tags_count;
    sc_wall       created_before;             /* ms 0: absent */
    const float  *near;                       /* [dim], NULL: absent */
    float         near_distance_max;
} sc_store_filter;

/* Removes what the filter matches, or only counts it. The examples carry references. */
typedef struct {
    sc_store_call   call;
    sc_store_filter filter; /* what it points to is borrowed until done */
    bool            dry_run;
    uint64_t        removed; /* or would be */
    sc_candidate    examples[SC_STORE_EXAMPLES_MAX]; /* distance is NaN without `near` */
    size_t          examples_count;
    /* Called on the store's thread for each entry just before it is removed (not in a dry run), so
     * that this server stops serving it first. May be NULL. */
    void (*removing)(void *context, const sc_digest *id);
    void *removing_context;
} sc_store_invalidate;

/* Do this entry and its vector match the filter? (vector may be NULL.) The one definition, used by
 * every store and by the warm set; *distance receives the distance to `near`, or NaN. */
bool sc_store_filter_matches(const sc_store_filter *filter, const sc_entry_fields *fields,
                             const float *vector, uint32_t dim, float *distance);

typedef struct {
    bool        connected;
    uint32_t    masters, masters_connected; /* one each, but for a cluster; figures are their sums */
    bool        feed_live; /* what memory holds may be believed */
    const char *index_state; /* "ready", "indexing", "missing", "drifted", "unknown", "none" */
    char        index_name[96];
    uint64_t    documents, index_failures, foreign_values;
    double      percent_indexed; /* 0..1 */
    uint64_t    calls, failures, reconnects, feed_messages, resyncs;
    size_t      queue_depth;   /* commands waiting for a reply */
    size_t      searches_waiting; /* for their turn to be sent */
    uint64_t    searches_refused; /* since they would have waited too long */
    size_t      writes_waiting; /* entries kept for a store that is away */
    uint64_t    writes_dropped;
    int         breaker_state;
    uint64_t    breaker_opened;
} sc_store_info;

/* What the store tells whoever keeps copies in memory. Called on the store's thread, in order. */
typedef struct {
    void *context;
    void (*put)(void *context, sc_entry *entry, const float *vector); /* borrowed */
    void (*removed)(void *context, const sc_digest *id);
    void (*cleared)(void *context);
    void (*live)(void *context, bool live); /* the feed came up (after a resync) or broke */
    /* Version the copy in memory has, 0 for none: spares fetching what is known. */
    uint64_t (*known)(void *context, const sc_digest *id);
} sc_store_feed;

typedef struct {
    void (*get)(sc_store *store, sc_store_get *get);
    void (*search)(sc_store *store, sc_store_search *search);
    void (*verify)(sc_store *store, sc_store_verify *verify);
    void (*put)(sc_store *store, sc_store_put *put);
    void (*invalidate)(sc_store *store, sc_store_invalidate *invalidate);
    /* Tells, some time later and in batches, that an entry was served. Never fails. */
    void (*used)(sc_store *store, const sc_digest *id, sc_wall when);
    /* A snapshot kept by the store; cheap; any thread. */
    void (*look)(sc_store *store, sc_store_info *out);
    /* Ends calls under way with SC_CANCELLED, flushes waiting writes until the deadline, frees. */
    void (*close)(sc_store *store, sc_instant deadline);
} sc_store_ops;

/* Every store begins with this. */
struct sc_store {
    const sc_store_ops *ops;
    uint32_t            dim;
};
