/* llm.h - the port to the model that answers what the cache cannot. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/base/blob.h"
#include "src/base/clock.h"
#include "src/base/status.h"
#include "src/base/str.h"
#include "src/prompt/scope.h"

/* One question to the LLM, embedded in what waits for it. */
typedef struct sc_llm_call {
    /* The question; borrowed until done. */
    sc_str          model;
    sc_str          system_prompt; /* may be empty */
    const sc_turn  *turns;         /* [turns_count], earlier turns */
    size_t          turns_count;
    sc_str          user_prompt; /* as written, not canonical */
    double          temperature;
    const sc_param *params; /* [params_count], go into the request body as they are */
    size_t          params_count;
    sc_instant      deadline;

    /* The answer; set before done. */
    sc_status status; /* SC_OK: HTTP 200 with one choice and a text */
    sc_error  error;
    sc_blob  *answer; /* a reference for the caller, who unrefs it; NULL unless SC_OK */
    char      finish_reason[32];
    char      answered_by[128]; /* model's name in the reply */
    bool      has_usage;
    uint32_t  prompt_tokens, completion_tokens;

    /* Called exactly once, on a thread of the LLM's, with no lock held; or at once by
     * sc_llm ask itself when it refuses. */
    void (*done)(struct sc_llm_call *call);

    void *_transfer;
} sc_llm_call;

typedef struct sc_llm sc_llm;

struct sc_llm {
    /* Any thread. */
    void (*ask)(sc_llm *llm, sc_llm_call *call);
    /* Nobody waits any more: ends the transfer; done() follows with SC_CANCELLED, or with the
     * outcome if that came first. Harmless after done() as long as the call is still alive. */
    void (*cancel)(sc_llm *llm, sc_llm_call *call);
    void (*close)(sc_llm *llm);
    void (*look)(sc_llm *llm, int *breaker_state, uint64_t *breaker_opened, size_t *in_flight);
};
