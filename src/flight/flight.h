/* flight.h - the same question, asked by many at a time, is worked on once.
 *
 * A flight is one question under way; every caller that asks it meanwhile is a waiter
 * on it. Nobody is the leader: the work belongs to the flight, so that any caller may
 * leave without a hand-over, and the work is given up only when the last one has left.
 * A waiter is finished by whoever takes it off the flight, which happens once.
 *
 * Any thread. A flight's waiters are guarded by the lock of its shard; the callbacks
 * named below run under it and must be short and call nothing of this module. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "src/base/hash.h"
#include "src/base/list.h"
#include "src/base/status.h"

typedef struct sc_flights sc_flights;

/* Embedded in what does the work. */
typedef struct {
    sc_digest   key;
    atomic_uint refs;
    atomic_bool landed; /* nobody waits and nobody can join any more */
    sc_link     waiters;
    size_t      waiters_count;
} sc_flight;

/* Embedded in what waits; zero-initialised it waits for nothing. */
typedef struct {
    sc_link    link;
    sc_flight *flight; /* under the shard's lock; NULL once taken off */
    sc_digest  key;    /* fixed by join: finds the lock when the flight may be gone */
} sc_waiter;

typedef struct {
    void *context;
    /* Makes what does the work, with the flight inside, or NULL without memory; under the lock. */
    sc_flight *(*make)(void *context, sc_waiter *first);
    /* Frees it, after the last reference; no lock held. */
    void (*release)(sc_flight *flight);
} sc_flights_options;

SC_MUST_CHECK sc_status sc_flights_open(const sc_flights_options *options, sc_flights **out);

/* Every flight must have ended. NULL is welcome. */
void sc_flights_close(sc_flights *flights);

/* Puts waiter on the flight of that key, making one if there is none; then *first is true and the
 * caller starts the work. Gives: *flight, with a reference; the first caller's goes to the work.
 * Errors: SC_NO_MEMORY, and the waiter waits for nothing. */
SC_MUST_CHECK sc_status sc_flights_join(sc_flights *flights, const sc_digest *key,
                                        sc_waiter *waiter, sc_flight **flight, bool *first);

typedef enum {
    SC_LEFT_NOT, /* it was taken off already: somebody else finishes it */
    SC_LEFT,     /* it is off; others wait on */
    SC_LEFT_LAST /* it was the last: the flight has landed, and *abandoned carries a reference */
} sc_leave;

/* Takes waiter off its flight, if it is still on one. The waiter must have been through join. */
sc_leave sc_flights_leave(sc_flights *flights, sc_waiter *waiter, sc_flight **abandoned);

/* Takes every waiter for which `wanted` is true (all of them for NULL) off the flight and appends it
 * to out. When none is left the flight lands. Returns how many still wait. */
size_t sc_flights_take(sc_flights *flights, sc_flight *flight,
                       bool (*wanted)(sc_waiter *waiter, void *context), void *context,
                       sc_link *out);

/* Runs change(context) under the flight's lock: how the work publishes what `wanted` reads. */
void sc_flights_publish(sc_flights *flights, sc_flight *flight, void (*change)(void *context),
                        void *context);

void sc_flight_ref(sc_flight *flight);
void sc_flight_unref(sc_flights *flights, sc_flight *flight);

/* Flights under way. */
size_t sc_flights_count(const sc_flights *flights);
