/* pipeline.h - the cache: takes questions, gives answers, through ports.
 *
 * It knows nothing of gRPC, Redis or HTTP. A request that waits holds no thread; each
 * finishes exactly once: answered, failed, or cancelled. All calls are for any thread
 * unless they say otherwise. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "src/base/arena.h"
#include "src/base/blob.h"
#include "src/config/setting.h"
#include "src/embed/batch.h"
#include "src/flight/flight.h"
#include "src/pipeline/gather.h"
#include "src/llm/llm.h"
#include "src/pipeline/decide.h"
#include "src/pipeline/metrics.h"
#include "src/pipeline/question.h"
#include "src/pipeline/steps.h"
#include "src/prompt/canonical.h"
#include "src/store/store.h"
#include "src/warm/warm.h"

typedef struct sc_pipeline sc_pipeline;

typedef struct {
    sc_status status;
    sc_error  error; /* of a failure */

    sc_source source;
    sc_reason reason;     /* of the hit, or of the miss */
    sc_reason exact_only; /* the question has no vector, and why; SC_REASON_NONE otherwise */
    sc_entry *entry;      /* what was served or stored, with a reference of the request's; or NULL */
    sc_blob  *text;       /* the answer when there is no entry; a reference of the request's */
    float     distance;   /* of the served entry */

    sc_candidate nearest; /* seen, served or not; a reference of the request's; entry may be NULL */
    char         finish_reason[32];
    char         answered_by[128];
    uint32_t     prompt_tokens, completion_tokens, tokens_saved;
    bool         stored;
    bool         stale;
    uint64_t     step_us[SC_STEP_COUNT];
    uint64_t     total_us;
} sc_answer;

/* One call of a caller. Zero-initialise it, fill the first group, hand it over. */
typedef struct sc_request {
    /* The caller's, before sc_pipeline_answer. */
    sc_question     question;
    sc_arena       *arena; /* for texts made of the question, borrowed until released; NULL: its own */
    bool            may_store; /* false: the caller has no right to; treated as NO_STORE */
    sc_gather_tray *tray;   /* of the calling thread, for sc_pipeline_search(); NULL: none */
    /* Exactly once, no lock held, possibly before sc_pipeline_answer returns: answer is set. */
    void (*finished)(struct sc_request *request);
    /* Exactly once, after finished: nothing refers to the request and what it borrows any more. */
    void (*released)(struct sc_request *request);

    sc_answer answer;

    /* The pipeline's. */
    sc_pipeline *_pipeline;
    sc_arena     _arena; /* unless there is a caller's */
    sc_canonical _canonical;
    sc_digest    _scope, _id;
    sc_waiter    _waiter;
    sc_instant   _started, _joined_at;
    atomic_uint  _refs;
    atomic_bool  _joined, _cancelled;
} sc_request;

/* Filled from the settings table, but for what other modules' settings say already. */
typedef struct {
    /* Defaults of a question; used by whoever builds one. */
    double      max_distance;
    uint32_t    top_k;
    int64_t     ttl_seconds;
    const char *corpus_version;
    double      temperature;

    sc_question_limits limits; /* prompt_bytes_max: of src/prompt */
    int64_t            ttl_jitter_percent; /* an entry's life is shortened by up to this */
    int64_t            answer_bytes_max;   /* longer answers are given, not kept */
    enum { SC_VERIFY_FEED, SC_VERIFY_ALWAYS } verify;
    int64_t            unverified_ms;
    int64_t            embed_timeout_ms; /* of src/embed */
    int64_t            store_timeout_ms; /* of src/store */
    int64_t            search_timeout_ms; /* of src/store; with the wait for its turn */
    int64_t            llm_timeout_ms;   /* of src/llm */
    uint32_t           workers; /* prefilter threads; 0: one a processor */
} sc_pipeline_options;

extern const sc_setting_table sc_pipeline_settings;

/* What the pipeline works with. It borrows all of them; they outlive it, but for the store,
 * which it must be given later because the store's feed speaks to the pipeline. */
typedef struct {
    sc_canon    *canon;
    sc_embedder *embedder;
    sc_warm     *warm;
    sc_llm      *llm;
} sc_pipeline_parts;

SC_MUST_CHECK sc_status sc_pipeline_open(const sc_pipeline_options *options,
                                         const sc_pipeline_parts *parts, sc_pipeline **out);

/* What the store must be opened with, so that memory follows it. */
sc_store_feed sc_pipeline_feed(sc_pipeline *pipeline);

/* Before the first request; borrowed. */
void sc_pipeline_set_store(sc_pipeline *pipeline, sc_store *store);

/* Every request has been released, every invalidation has finished, and the store is closed. NULL is
 * welcome. */
void sc_pipeline_close(sc_pipeline *pipeline);

/* Checks and answers the question. An exact hit in memory ends before this returns. */
void sc_pipeline_answer(sc_pipeline *pipeline, sc_request *request);

/* The tray's thread, before it waits for anything: goes on with the requests whose searches it put
 * there. Some end before this returns. */
void sc_pipeline_search(sc_pipeline *pipeline, sc_gather_tray *tray);

/* The caller is gone, or its deadline passed. finished follows with SC_CANCELLED, unless it has
 * been or is being called. The request must not have been released. */
void sc_request_cancel(sc_request *request);

/* Keeps the request and its answer beyond finished, until the matching unref. Also welcome between
 * zero-initialising the request and handing it over. */
void sc_request_ref(sc_request *request);
void sc_request_unref(sc_request *request);

/* Exact key of a question, as sc_pipeline_answer would name it. Errors as there. */
SC_MUST_CHECK sc_status sc_pipeline_key(sc_pipeline *pipeline, const sc_question *question,
                                        sc_digest *id, sc_error *error);

/* One invalidation, embedded in what waits for it. */
typedef struct sc_invalidation {
    sc_store_invalidate store;     /* filter and dry_run: the caller's; the outcome */
    sc_str              near_text; /* by meaning: the prompt; ptr NULL: not */
    /* Exactly once, no lock held; store.call.status says how it went. */
    void (*finished)(struct sc_invalidation *invalidation);

    sc_pipeline  *_pipeline;
    sc_link       _link;
    sc_arena      _arena;
    sc_embed_call _embed;
    float        *_vector;
} sc_invalidation;

void sc_pipeline_invalidate(sc_pipeline *pipeline, sc_invalidation *invalidation);

/* Frees what finished left: the examples' references. */
void sc_invalidation_fini(sc_invalidation *invalidation);

const sc_pipeline_options *sc_pipeline_options_of(const sc_pipeline *pipeline);
sc_pipeline_metrics       *sc_pipeline_metrics_of(sc_pipeline *pipeline);
const sc_pipeline_parts   *sc_pipeline_parts_of(const sc_pipeline *pipeline);
sc_store                  *sc_pipeline_store(const sc_pipeline *pipeline);
size_t                     sc_pipeline_flights(const sc_pipeline *pipeline);
size_t                     sc_pipeline_searches_waiting(const sc_pipeline *pipeline);
