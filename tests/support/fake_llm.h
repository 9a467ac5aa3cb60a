/* fake_llm.h - an LLM whose answer names the question it was asked, and that fails on command. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "src/base/list.h"
#include "src/llm/llm.h"
#include "tests/support/later.h"

typedef struct {
    sc_llm base;
    later *clock;

    /* The script; any thread, any time. */
    atomic_int             status;
    _Atomic(const char *)  finish_reason; /* NULL: "stop" */
    _Atomic(const char *)  text;          /* of the answer; NULL: names the question */
    _Atomic double         failure_rate;  /* of calls that fail with SC_UNAVAILABLE */
    _Atomic double         bad_rate;      /* of answers that are cut off: finish_reason "length" */
    atomic_int             delay_us;      /* up to this, at random; 0: at once, within ask */
    atomic_bool            hold;          /* calls wait for fake_llm_let_go, or to be cancelled */

    /* What was seen. */
    atomic_uint asked, cancelled, done;

    pthread_mutex_t lock;
    sc_link         waiting; /* calls that can still be cancelled */
    atomic_uint     waiting_count;
} fake_llm;

enum { FAKE_LLM_PROMPT_TOKENS = 11, FAKE_LLM_COMPLETION_TOKENS = 7 };

void fake_llm_init(fake_llm *fake);
void fake_llm_fini(fake_llm *fake);

/* Completes every held call, on this thread. */
void fake_llm_let_go(fake_llm *fake);
