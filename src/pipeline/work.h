/* work.h - the flight of a question: the steps that all its callers share.
 *
 * Private to the pipeline. A work runs on one thread at a time: whichever finished the
 * operation it was parked on. Its waiters are requests. */
#pragma once

#include <pthread.h>

#include "src/base/spare.h"
#include "src/pipeline/gather.h"
#include "src/pipeline/pipeline.h"

/* More changes than that during one question make some copies be fetched again. */
enum { SC_CHANGES_SLOTS = 1024 };

/* What a flight is for; questions that want different things do not share one. */
typedef enum {
    SC_WORK_LOOK_AND_ASK,
    SC_WORK_LOOK_ONLY,
    SC_WORK_REFRESH,
    SC_WORK_BYPASS,
} sc_work_kind;

/* The operations of looking by meaning, and what they found. */
typedef struct {
    struct sc_work *work;
    sc_gather_call  gather;
    sc_store_search search;
    sc_candidate    warm_hits[SC_TOP_K_MAX]; /* nearest first, each with a reference */
} sc_meaning;

/* The operations of looking. */
typedef struct {
    struct sc_work *work;
    sc_embed_call   embed;
    sc_store_get    get;
    sc_store_verify verify;
    sc_meaning     *meaning; /* NULL until there is a vector to compare */
} sc_looking;

typedef struct sc_work {
    sc_flight flight;

    /* Fixed by make. */
    sc_pipeline *pipeline;
    sc_request  *origin; /* a reference: its arena and question hold every text used here */
    sc_work_kind kind;

    /* By the running step only. */
    sc_step    step;
    sc_instant step_started;
    uint64_t   step_us[SC_STEP_COUNT];
    uint64_t   epoch;       /* when the LLM was asked */
    uint64_t   read_at;     /* invalidations that had ended when memory or store was last asked */
    unsigned   confirmed;   /* times that the store was searched */
    uint32_t   id_changes;  /* of the exact key, when the store was asked for it */
    uint64_t   all_changes; /* when the store was searched */

    /* Operations under way, and one for the step that starts them. */
    atomic_uint      pending;
    atomic_bool      embedded; /* the embedding call has come back */
    atomic_bool      asked;    /* the LLM call may be cancelled */
    bool             resumed;  /* it may have left its first caller's thread */
    bool             looked;   /* the store was asked for the exact key */
    bool             checking; /* whether the nearest copy in memory may be served */
    bool             wider;    /* the store is asked for more than the nearest */
    sc_entry        *verifying; /* the copy that the store is asked about */
    sc_looking      *looking;   /* NULL once the LLM is asked: there a question waits longest */
    sc_llm_call      llm;

    sc_candidate refused; /* the nearest whose volatile values or words forbid it; a reference */
    sc_candidate stale;   /* the nearest copy in memory that the store did not confirm; a reference */
    sc_request  *keeper;  /* whose time to live and tags the entry takes; a reference, or NULL */
    sc_entry    *kept;    /* the stored answer; a reference, or NULL */

    /* Changed by the running step under the flight's lock, read by joiners under it. What was seen
     * is a reference, or NULL. */
    sc_candidate seen_warm;  /* the nearest in memory */
    sc_candidate seen_found; /* the nearest in the store */
    sc_reason    exact_only; /* why there is no vector; NONE: there is one, or will be */

    float vector[]; /* [dim]; counts when exact_only is NONE and embedded */
} sc_work;

struct sc_pipeline {
    /* Fixed by open and set_store. */
    sc_pipeline_options options;
    sc_pipeline_parts   parts;
    sc_store           *store;
    sc_flights         *flights;
    sc_gather          *gather;
    uint32_t            dim;
    sc_pipeline_metrics *metrics;
    sc_quota            *quota;
    sc_spare             works, lookings, meanings; /* memory for the next */

    /* Any thread. */
    atomic_bool          feed_live;
    _Atomic int64_t      feed_lost_ns;
    atomic_uint_fast64_t invalidations; /* begun */
    atomic_uint          invalidating;  /* under way */
    atomic_uint_fast64_t invalidated;   /* ended */
    atomic_uint_fast64_t changes;       /* of any entry */
    atomic_uint          changes_of[SC_CHANGES_SLOTS]; /* of the ids that fall on the slot */

    pthread_mutex_t keeping;
    /* Under keeping. */
    size_t  puts;  /* into the store, under way */
    sc_link parked; /* invalidations that wait until there are none */
};

/* ---- what may have changed between a read and the use of what was read; in changes.c ---- */

/* Names the time between two invalidations; 0 while one is under way. */
uint64_t sc_pipeline_epoch(const sc_pipeline *pipeline);
/* No invalidation was under way then, and none has begun since. */
bool sc_pipeline_same_epoch(const sc_pipeline *pipeline, uint64_t epoch);
void sc_pipeline_invalidation_begins(sc_pipeline *pipeline);
void sc_pipeline_invalidation_ends(sc_pipeline *pipeline);

/* True: an answer of that epoch may be put into memory and store; say so when the store has it. */
bool sc_pipeline_put_begins(sc_pipeline *pipeline, uint64_t epoch);
void sc_pipeline_put_ends(sc_pipeline *pipeline);

/* True: no put is under way, and none will begin before the invalidation ends. False: it will be
 * handed to sc_invalidation_go_on once that is so. */
bool sc_pipeline_is_quiet(sc_pipeline *pipeline, sc_invalidation *invalidation);
void sc_invalidation_go_on(sc_invalidation *invalidation); /* in invalidate.c */

/* A count that differs once the entry of that id was written, replaced or removed in between (and,
 * seldom, for no reason). */
uint32_t sc_pipeline_changes_of(const sc_pipeline *pipeline, const sc_digest *id);

/* Memory is told of the newest there is: an entry's writing, or its end. */
void sc_pipeline_learn(sc_pipeline *pipeline, sc_entry *entry, const float *vector);
void sc_pipeline_forget(sc_pipeline *pipeline, const sc_digest *id);
void sc_pipeline_forget_all(sc_pipeline *pipeline);

/* Memory is told of what was read from the store some time ago, when changes_of its id were seen. */
void sc_pipeline_recall(sc_pipeline *pipeline, sc_entry *entry, const float *vector, uint32_t seen);

/* ---- a tenant's share of the store; in room.c ---- */

/* The store has this entry, or is about to. */
void sc_room_note(sc_pipeline *pipeline, const sc_entry *entry, const float *vector);

/* False, and counted: the tenant could not hold this one even alone. */
bool sc_room_suffices(sc_pipeline *pipeline, const sc_quota_limits *limits, const sc_entry *entry,
                      const float *vector);

/* Removes the oldest entries of a tenant that is beyond its limits, from memory and store, but not
 * `keep`, which has been noted. Waits for nothing. */
void sc_room_make(sc_pipeline *pipeline, sc_str tenant, const sc_quota_limits *limits,
                  const sc_digest *keep);

/* For sc_flights_options. */
sc_flight *sc_work_make(void *pipeline, sc_waiter *first);
void       sc_work_release(sc_flight *flight);

/* Gives back what only looking needs. */
void sc_work_has_looked(sc_work *work);

/* Takes the first step; the flight's first reference goes to the work. */
void sc_work_start(sc_work *work);

/* The last waiter has left: ends what can be ended. Takes the reference. */
void sc_work_abandon(sc_work *work);

/* Serves a request that has just joined, if what is known already is enough for it. */
void sc_work_serve_joiner(sc_work *work, sc_request *request);

/* Private to the pipeline, in request.c: fills times, counts, calls finished, drops a reference. */
void sc_request_finish(sc_request *request);
void sc_answer_put_entry(sc_answer *answer, sc_entry *entry, float distance);

/* The state that decides how much a copy in memory is worth. */
sc_trust_state sc_pipeline_trust(sc_pipeline *pipeline);

static inline sc_request *sc_request_of(sc_link *waiter_link)
{
    return SC_CONTAINER(SC_CONTAINER(waiter_link, sc_waiter, link), sc_request, _waiter);
}
