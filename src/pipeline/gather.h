/* gather.h - one pass over a scope's vectors for all who ask in it at the same moment.
 *
 * Group commit, as for embeddings: a worker takes everything that waits, sorts it by
 * scope, and searches each scope once. What arrives meanwhile is the next batch.
 *
 * A thread that will come back before it waits may put its searches on a tray instead, and do them
 * together then. */
#pragma once

#include "src/base/pool.h"
#include "src/warm/warm.h"

typedef struct sc_gather sc_gather;

/* One search, embedded in what waits for it. */
typedef struct sc_gather_call {
    sc_digest     scope;
    sc_warm_query query; /* filled as for sc_warm_search; the vector stays the caller's */
    /* Exactly once, on a worker or the tray's thread, no lock held. */
    void (*done)(struct sc_gather_call *call);
    sc_link _link;
} sc_gather_call;

/* Borrows warm. Errors: SC_NO_MEMORY, SC_UNAVAILABLE without threads. */
SC_MUST_CHECK sc_status sc_gather_open(sc_warm *warm, unsigned workers, sc_gather **out);

/* Searches what waits, then ends the workers. NULL is welcome. */
void sc_gather_close(sc_gather *gather);

/* Any thread; done follows on a worker. */
void sc_gather_ask(sc_gather *gather, sc_gather_call *call);

/* Searches that a thread has put aside; by that thread only. */
typedef struct {
    sc_link calls;
    size_t  floats;
} sc_gather_tray;

void sc_gather_tray_init(sc_gather_tray *tray);

/* done follows, in sc_gather_clear() or on a worker. floats: what the search will pass over. */
void sc_gather_put_aside(sc_gather_tray *tray, sc_gather_call *call, size_t floats);

/* Empties the tray: searches here, for some 0.07 ms at most, or leaves all to the workers. */
void sc_gather_clear(sc_gather *gather, sc_gather_tray *tray);

size_t sc_gather_waiting(sc_gather *gather);
