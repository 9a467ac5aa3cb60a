/* warm.h - the entries most likely to answer the next question, held in memory.
 *
 * Per scope one matrix of unit vectors, so a cosine is one dot product and a batch of
 * questions is one matrix multiply; beside it a table from exact key to entry. A miss
 * here is not a cache miss: the store may know more. Bounded by bytes; the least
 * recently used entry leaves first.
 *
 * Threads: open and close belong to one thread; all else may run on any. A search
 * holds its scope's lock shared; nothing is ever held across I/O. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/config/setting.h"
#include "src/entry/entry.h"

typedef struct sc_warm sc_warm;

/* How a large matrix is looked at first. The answers are the same. */
typedef enum {
    SC_WARM_PASS_AUTO, /* what is fastest here */
    SC_WARM_PASS_FLOAT,
    SC_WARM_PASS_INT8, /* then float32 for the rows that may be among the nearest */
    SC_WARM_PASS_BLAS, /* float32 by OpenBLAS */
} sc_warm_pass;

typedef struct {
    uint32_t     dim;       /* floats in a vector, at most 32768 */
    size_t       bytes_max; /* of entries, vectors and bookkeeping together */
    sc_warm_pass pass;
} sc_warm_options;

extern const sc_setting_table sc_warm_settings; /* all but dim */

/* Errors: SC_INVALID for a dim out of range, SC_NO_MEMORY. */
SC_MUST_CHECK sc_status sc_warm_open(const sc_warm_options *options, sc_warm **out);
void                    sc_warm_close(sc_warm *warm);

/* Adds entry, or replaces the one of the same id. Refs entry, copies vector[dim] (brought to unit
 * length; NULL: an entry that is found by its exact key only). Evicts as needed.
 * Errors: SC_INVALID for a vector without a direction (zero, NaN, infinite), SC_TOO_LARGE for an
 * entry over the whole budget, SC_NO_MEMORY; the set is as before. */
SC_MUST_CHECK sc_status sc_warm_put(sc_warm *warm, sc_entry *entry, const float *vector);

/* Removes the entry of that id; with version != 0 only if it is that version. True: it was
 * there. No search that begins afterwards finds it. */
bool sc_warm_remove(sc_warm *warm, const sc_digest *id, uint64_t version);

/* Removes everything. */
void sc_warm_clear(sc_warm *warm);

/* The entry of that exact key with a reference for the caller, or NULL; also NULL once it has
 * expired at `now`. Counts as a use. O(1), no vector is looked at. */
sc_entry *sc_warm_exact(sc_warm *warm, const sc_digest *id, sc_wall now);

/* Version of the entry of that exact key, 0 for none. Does not count as a use. */
uint64_t sc_warm_version(sc_warm *warm, const sc_digest *id);

/* One question of a batch. */
typedef struct {
    const float  *vector; /* [dim], unit length, borrowed */
    uint64_t      guard;  /* only entries with the same guard are candidates */
    sc_candidate *hits;   /* [k], the caller's; filled nearest first, each with a reference */
    size_t        k;
    float         far;    /* beyond this distance only the nearest is of interest; 0: all are */
    size_t        hits_used;
    sc_candidate  refused; /* nearest of another guard, if nearer than hits[0]; entry NULL: none */
} sc_warm_query;

/* Answers count questions of one scope in one pass over its matrix. Entries expired at `now` are
 * passed over. Does not count as a use: call sc_warm_used for what is served. */
void sc_warm_search(sc_warm *warm, const sc_digest *scope, sc_wall now, sc_warm_query *queries,
                    size_t count);

/* Rows that a search of that scope would pass over. */
size_t sc_warm_rows(sc_warm *warm, const sc_digest *scope);

/* Marks an entry that was served as most recently used. */
void sc_warm_used(sc_warm *warm, const sc_digest *id, sc_wall now);

/* Version of the entry of that id, 0 when there is none. Not a use. */
uint64_t sc_warm_version(sc_warm *warm, const sc_digest *id);

/* Calls visit for every entry (borrowed) until it returns false. Entries put or removed meanwhile
 * may or may not be seen. visit must not call into the set. */
void sc_warm_each(sc_warm *warm, bool (*visit)(void *context, sc_entry *entry), void *context);

typedef struct {
    size_t   entries, scopes, bytes, bytes_max;
    uint64_t evicted;
} sc_warm_stats;
void sc_warm_look(sc_warm *warm, sc_warm_stats *out);
