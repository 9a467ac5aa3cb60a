/* steps.h - the map of the product: what a question goes through, in order.
 *
 * A request takes the first steps on its caller's thread, where most hits end. What is
 * left becomes a flight, which all callers of the same question share; a flight that
 * waits for something is parked and holds no thread. Names appear in logs, metrics and
 * the timings of a reply. */
#pragma once

/*  step       runs as   what happens                                                    may end it
 *  --------------------------------------------------------------------------------------------- */
#define SC_STEPS(X)                                                                                \
    X(CANONICAL, canonical) /* request  canonical text, volatile values, scope, exact key  bad input */ \
    X(EXACT, exact)         /* both     the same key in memory                             hit  */ \
    X(WAIT, wait)           /* request  on a flight that is under way already              shared */ \
    X(EMBED, embed)         /* flight   vector; meanwhile the same key in the store        hit  */ \
    X(PREFILTER, prefilter) /* flight   cosine against the scope's warm entries                 */ \
    X(VERIFY, verify)       /* flight   is the warm candidate still what the store has?    hit  */ \
    X(CONFIRM, confirm)     /* flight   the store's own index, and key, decide again       hit  */ \
    X(ASK, ask)             /* flight   the LLM, once                                      error */ \
    X(KEEP, keep)           /* flight   to memory and store, if the answer is good              */ \
    X(REPLY, reply)         /* flight   to everyone who still waits                        answer */

typedef enum {
#define SC_STEP_ENUM(upper, lower) SC_STEP_##upper,
    SC_STEPS(SC_STEP_ENUM)
#undef SC_STEP_ENUM
        SC_STEP_COUNT
} sc_step;

const char *sc_step_name(sc_step step);
