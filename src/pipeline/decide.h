/* decide.h - may this stored answer be served to that question? Pure functions, any thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/base/clock.h"
#include "src/entry/entry.h"

typedef enum {
    SC_REASON_NONE,
    SC_REASON_SAME_KEY,
    SC_REASON_WITHIN_DISTANCE,
    SC_REASON_NO_CANDIDATE,
    SC_REASON_TOO_FAR,
    SC_REASON_VOLATILE_DIFFERS,
    SC_REASON_NOT_LOOKED,
    SC_REASON_NOT_EMBEDDABLE,
    SC_REASON_EMBEDDING_UNAVAILABLE,
    SC_REASON_STALE,
    SC_REASON_OPPOSED,
    SC_REASON_COUNT
} sc_reason;

/* The rule of a hit: nearer than, not as near as. */
static inline bool sc_is_hit(float distance, double max_distance)
{
    return (double)distance < max_distance;
}

/* The last gate, on the entry itself: whoever found it, by whatever way, it is served to no other
 * scope and to no question with another guard. */
static inline bool sc_may_serve(const sc_entry *entry, const sc_digest *scope, uint64_t guard)
{
    return sc_digest_equal(&entry->f.scope, scope) && entry->f.guard == guard;
}

/* Why there was no hit. nearest is the nearest candidate that might have been served, refused the
 * nearest that was not served for its guard, which is not the question's, or for its words; either
 * entry may be NULL. */
sc_reason sc_miss_reason(const sc_candidate *nearest, const sc_candidate *refused, uint64_t guard,
                         double max_distance);

/* What a copy in memory is worth right now. */
typedef enum {
    SC_TRUST_SERVE,  /* believed */
    SC_TRUST_VERIFY, /* ask the store first */
} sc_trust;

typedef struct {
    bool    verify_always;
    bool    feed_live;      /* the store tells us of every change */
    int64_t feed_lost_ns;   /* monotonic: since when it does not */
    int64_t unverified_ms;  /* how long after that a copy may be served when nobody can verify it */
} sc_trust_state;

sc_trust sc_trust_copy(const sc_trust_state *state);

/* The store could not be asked: may the copy be served all the same? verified_ns (monotonic, 0: never)
 * is when it was last known to be what the store has, because it was asked for it or made it so. */
bool sc_trust_unverified(const sc_trust_state *state, int64_t verified_ns, sc_instant now);
