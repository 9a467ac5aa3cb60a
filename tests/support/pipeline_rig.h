/* pipeline_rig.h - a pipeline on fakes, and questions to it.
 *
 * Canonicaliser, embedder and warm set are the real ones; provider, store and LLM are fakes. */
#pragma once

#include <unistd.h>

#include "src/pipeline/pipeline.h"
#include "tests/support/cmocka.h"
#include "tests/support/fake_embed.h"
#include "tests/support/fake_llm.h"
#include "tests/support/fake_store.h"

typedef struct {
    sc_canon     *canon;
    fake_embed    embed;
    sc_embedder  *embedder;
    sc_warm      *warm;
    fake_llm      llm;
    fake_store    store;
    sc_store_feed feed; /* what the pipeline wants to be told */
    sc_pipeline  *pipeline;
} rig;

/* Limits of the product's defaults, unverified_ms 60 s, no jitter. */
sc_pipeline_options rig_options(void);

/* With a live feed. NULL: rig_options(). */
void rig_open(rig *r, const sc_pipeline_options *options);

/* Fails the test when a request, a flight or a call is left. */
void rig_close(rig *r);

/* One question. Zero-initialised by ask_init; the answer may be read until ask_end. */
typedef struct {
    sc_request      request;
    rig            *rig;
    pthread_mutex_t lock;
    pthread_cond_t  changed;
    int             finished, released; /* under lock */
} ask;

/* Model "m", system prompt "s", distance 0.1, top_k 5, a day to live, DEFAULT. The prompt must live
 * as long as the ask. */
void ask_init(ask *a, rig *r, const char *prompt);
void ask_go(ask *a);
bool ask_is_finished(ask *a);
void ask_wait(ask *a);
/* Waits until it is released, checks that both happened once, and lets the answer go. */
void ask_end(ask *a);

sc_str ask_text(const ask *a);

/* The whole life of a question whose answer matters little: its source, or its failure. */
typedef struct {
    sc_status status;
    sc_source source;
    sc_reason reason;
    bool      stored;
    float     distance;
    char      text[256];
} ask_outcome;
ask_outcome ask_once(rig *r, const char *prompt);
ask_outcome ask_once_as(rig *r, const char *prompt, sc_cache_mode mode);
ask_outcome ask_outcome_of(ask *a); /* waits, ends */

/* Answers a question through the LLM and fails the test unless the answer was kept. */
void rig_teach(rig *r, const char *prompt);

/* Exact key of a prompt of ask_init's scope. */
sc_digest rig_key(rig *r, const char *prompt);

/* Waits up to 20 s for a condition that other threads make true. */
#define EVENTUALLY(condition)                                                                      \
    do {                                                                                           \
        for (int tries_ = 0; !(condition) && tries_ < 200000; tries_++)                            \
            usleep(100);                                                                           \
        assert_true(condition);                                                                    \
    } while (0)
