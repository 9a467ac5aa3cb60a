/* load.h - callers that ask without pause while a test breaks something, and what they saw.
 *
 * Three of four questions are known to the cache, the fourth is new. The scripted upstream repeats
 * the question in its answer, so an answer that does not contain the question is wrong. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/support/world.h"

enum { SC_LOAD_CALLERS_MAX = 16, SC_LOAD_ASKERS_MAX = 4, SC_LOAD_KNOWN = 16 };

typedef struct {
    unsigned callers;     /* 0: 8 */
    unsigned pause_us;    /* of each caller between two questions; 0: 1000 */
    bool     retry;       /* a call that failed for the connection's sake is sent once more, up to 50 times */
    const char *cause; /* part of a failure's text that is counted; NULL: none */
    int64_t  stale_seconds; /* stale_if_error_seconds of every question */
} sc_load_options;

typedef struct {
    unsigned long sent, answered, failed, wrong, hits, asked, stale, retries;
    unsigned long by_status[SC_STATUS_COUNT]; /* of the failed */
    unsigned long slowest_us;                 /* of the answered and the failed */
    unsigned long new_sent, new_failed;       /* of those, questions never asked before */
    unsigned long with_cause;
    char          first_error[SC_ERROR_TEXT_BYTES];
} sc_load_figures;

typedef struct sc_load sc_load;

/* Starts the callers, who use the askers in turn (borrowed). options NULL: all zero. */
sc_load *sc_load_start(sc_asker *const *askers, size_t askers_count, const sc_load_options *options);

/* What they saw so far. */
sc_load_figures sc_load_look(sc_load *load);

/* Waits, at most 20 s, until they have sent at least that many more. */
void sc_load_wait_for(sc_load *load, unsigned long more);

/* Ends the callers, prints the line of figures under that name, frees. */
sc_load_figures sc_load_stop(sc_load *load, const char *name);

/* Asks every known question once, so that the cache knows them; each must be answered. */
void sc_load_teach(sc_asker *asker);
