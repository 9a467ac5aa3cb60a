/* clock.h - instants and durations, with types that do not mix.
 *
 * Deadlines use the monotonic clock. Created and expires times, which other
 * machines read, use the wall clock. Code with a policy takes `now` as an
 * argument, so that its tests need no sleep. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

typedef struct {
    int64_t ns; /* CLOCK_MONOTONIC */
} sc_instant;

typedef struct {
    int64_t ms; /* since 1970-01-01 UTC */
} sc_wall;

#define SC_INSTANT_NEVER ((sc_instant){INT64_MAX})

sc_instant sc_now(void);
sc_wall    sc_wall_now(void);

/* from + ms; saturates at SC_INSTANT_NEVER. */
sc_instant sc_instant_after_ms(sc_instant from, int64_t ms);

/* Microseconds from a to b; 0 when b is not after a. */
int64_t sc_elapsed_us(sc_instant a, sc_instant b);

/* Milliseconds until deadline, rounded up; 0 when it has passed, INT64_MAX for never. */
int64_t sc_remaining_ms(sc_instant now, sc_instant deadline);

static inline bool sc_instant_before(sc_instant a, sc_instant b)
{
    return a.ns < b.ns;
}

static inline sc_instant sc_instant_earlier(sc_instant a, sc_instant b)
{
    return a.ns < b.ns ? a : b;
}
