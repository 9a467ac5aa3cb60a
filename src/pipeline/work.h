/* work.h - the flight of a question: the steps that all its callers share.
 *
 * Private to the pipeline. A work runs on one thread at a time: whichever finished the
 * operation it was parked on. Its waiters are requests. */
#pragma once

#include "src/pipeline/gather.h"
#include "src/pipeline/pipeline.h"

/* What a flight is for; questions that want different things do not share one. */
typedef enum {
    SC_WORK_LOOK_AND_ASK,
    SC_WORK_LOOK_ONLY,
    SC_WORK_REFRESH,
    SC_WORK_BYPASS,
} sc_work_kind;

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
    uint64_t   invalidations; /* seen when the LLM was asked */

    /* Operations under way, and one for the step that starts them. */
    atomic_uint      pending;
    atomic_bool      embedded; /* the embedding call has come back */
    atomic_bool      asked;    /* the LLM call may be cancelled */
    bool             looked;   /* the store was asked for the exact key */
    bool             verifying;
    sc_embed_call    embed;
    sc_gather_call   gather;
    sc_store_get     get;
    sc_store_search  search;
    sc_store_verify  verify;
    sc_store_put     put;
    sc_llm_call      llm;

    sc_request *keeper; /* whose time to live and tags the entry takes; a reference, or NULL */
    sc_entry   *kept;   /* the stored answer; a reference, or NULL */

    /* Changed by the running step under the flight's lock, read by joiners under it. */
    sc_candidate warm_hits[SC_TOP_K_MAX]; /* nearest first, each with a reference */
    size_t       warm_count;              /* of those that may be served; then of all seen */
    size_t       found_count;             /* of search.found that may be served */
    sc_reason    exact_only;              /* why there is no vector; NONE: there is one, or will be */

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

    /* Any thread. */
    atomic_bool      feed_live;
    _Atomic int64_t  feed_lost_ns;
    atomic_uint_fast64_t invalidations; /* begun and ended ones, counted each */
};

/* For sc_flights_options. */
sc_flight *sc_work_make(void *pipeline, sc_waiter *first);
void       sc_work_release(sc_flight *flight);

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
