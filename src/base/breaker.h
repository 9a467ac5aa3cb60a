/* breaker.h - a circuit breaker: stop asking a dependency that keeps failing.
 *
 * CLOSED lets everything through. After failures_max failures in a row it is OPEN and
 * refuses at once; after open_ms (with jitter) it is HALF_OPEN and lets one probe
 * through, whose outcome closes or re-opens it; a probe that is never heard of again
 * (its caller was cancelled) makes way for another after as long. Any thread; never
 * waits. */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "src/base/clock.h"

typedef enum { SC_BREAKER_CLOSED, SC_BREAKER_OPEN, SC_BREAKER_HALF_OPEN } sc_breaker_state;

typedef struct {
    /* Fixed by init. */
    unsigned failures_max;
    int64_t  open_ms;

    pthread_mutex_t lock;
    /* Under lock. */
    sc_breaker_state state;
    unsigned         failures; /* in a row */
    sc_instant       probe_at; /* OPEN: when a probe may go; HALF_OPEN: when another may */
    uint64_t         opened;   /* times it opened */
} sc_breaker;

/* failures_max 0: never opens. */
void sc_breaker_init(sc_breaker *breaker, unsigned failures_max, int64_t open_ms);
void sc_breaker_fini(sc_breaker *breaker);

/* True: go ahead, and report the outcome with _success or _failure. False: refuse. */
bool sc_breaker_allow(sc_breaker *breaker, sc_instant now);

void sc_breaker_success(sc_breaker *breaker);
void sc_breaker_failure(sc_breaker *breaker, sc_instant now);

sc_breaker_state sc_breaker_look(sc_breaker *breaker, uint64_t *opened);
const char      *sc_breaker_state_name(sc_breaker_state state);
