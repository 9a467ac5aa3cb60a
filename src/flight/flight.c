/* A lock a shard, not a lock a flight: a question's life has a handful of short critical
 * sections, and one lock for "is there a flight" and "who waits on it" leaves no moment in
 * which a caller could join a flight that has just been finished or given up. */
#include "src/flight/flight.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>

#include "src/base/table.h"

enum { SHARDS = 64 };

typedef struct {
    _Alignas(64) pthread_mutex_t lock;
    sc_table table; /* under lock: key to sc_flight */
} shard;

struct sc_flights {
    sc_flights_options options; /* fixed by open */
    atomic_size_t      count;
    shard              shards[SHARDS];
};

static shard *shard_of(sc_flights *flights, const sc_digest *key)
{
    /* The table indexes by the first bytes; the last one is independent of them. */
    return &flights->shards[key->bytes[SC_DIGEST_BYTES - 1] % SHARDS];
}

sc_status sc_flights_open(const sc_flights_options *options, sc_flights **out)
{
    sc_flights *flights = aligned_alloc(64, (sizeof *flights + 63) / 64 * 64);
    *out = flights;
    if (flights == NULL)
        return SC_NO_MEMORY;
    flights->options = *options;
    atomic_init(&flights->count, 0);
    for (size_t i = 0; i < SHARDS; i++) {
        flights->shards[i].table = (sc_table){0};
        pthread_mutex_init(&flights->shards[i].lock, NULL);
    }
    return SC_OK;
}

void sc_flights_close(sc_flights *flights)
{
    if (flights == NULL)
        return;
    assert(atomic_load(&flights->count) == 0);
    for (size_t i = 0; i < SHARDS; i++) {
        sc_table_fini(&flights->shards[i].table);
        pthread_mutex_destroy(&flights->shards[i].lock);
    }
    free(flights);
}

static void put_on(sc_flight *flight, sc_waiter *waiter)
{
    waiter->flight = flight;
    waiter->key = flight->key;
    sc_list_push_back(&flight->waiters, &waiter->link);
    flight->waiters_count++;
}

static void take_off(sc_flight *flight, sc_waiter *waiter)
{
    waiter->flight = NULL;
    sc_list_remove(&waiter->link);
    flight->waiters_count--;
}

/* Under the shard's lock. NULL without memory; then *failed, if not NULL, is to be released. */
static sc_flight *begin(sc_flights *flights, shard *s, const sc_digest *key, sc_waiter *first,
                        sc_flight **failed)
{
    sc_flight *flight = flights->options.make(flights->options.context, first);
    if (flight == NULL)
        return NULL;
    flight->key = *key;
    atomic_init(&flight->refs, 1);
    atomic_init(&flight->landed, false);
    sc_list_init(&flight->waiters);
    flight->waiters_count = 0;
    if (sc_table_put(&s->table, key, flight, NULL) != SC_OK) {
        *failed = flight;
        return NULL;
    }
    atomic_fetch_add(&flights->count, 1);
    return flight;
}

sc_status sc_flights_join(sc_flights *flights, const sc_digest *key, sc_waiter *waiter,
                          sc_flight **flight, bool *first)
{
    sc_flight *failed = NULL;
    shard     *s = shard_of(flights, key);
    pthread_mutex_lock(&s->lock);
    sc_flight *at = sc_table_get(&s->table, key);
    *first = at == NULL;
    if (at == NULL)
        at = begin(flights, s, key, waiter, &failed);
    else
        sc_flight_ref(at);
    if (at != NULL)
        put_on(at, waiter);
    pthread_mutex_unlock(&s->lock);
    if (failed != NULL)
        flights->options.release(failed);
    *flight = at;
    return at == NULL ? SC_NO_MEMORY : SC_OK;
}

/* Under the shard's lock. */
static void land(shard *s, sc_flight *flight)
{
    sc_table_remove(&s->table, &flight->key);
    atomic_store(&flight->landed, true);
}

sc_leave sc_flights_leave(sc_flights *flights, sc_waiter *waiter, sc_flight **abandoned)
{
    sc_leave left = SC_LEFT_NOT;
    shard   *s = shard_of(flights, &waiter->key);
    *abandoned = NULL;
    pthread_mutex_lock(&s->lock);
    sc_flight *flight = waiter->flight;
    if (flight != NULL) {
        take_off(flight, waiter);
        left = flight->waiters_count == 0 ? SC_LEFT_LAST : SC_LEFT;
    }
    if (left == SC_LEFT_LAST) {
        /* Before it lands: the work sees that without the lock, and may give up the last reference. */
        sc_flight_ref(flight);
        land(s, flight);
        *abandoned = flight;
    }
    pthread_mutex_unlock(&s->lock);
    return left;
}

size_t sc_flights_take(sc_flights *flights, sc_flight *flight,
                       bool (*wanted)(sc_waiter *waiter, void *context), void *context,
                       sc_link *out)
{
    shard *s = shard_of(flights, &flight->key);
    pthread_mutex_lock(&s->lock);
    SC_LIST_EACH_SAFE (link, after, &flight->waiters) {
        sc_waiter *waiter = SC_CONTAINER(link, sc_waiter, link);
        if (wanted != NULL && !wanted(waiter, context))
            continue;
        take_off(flight, waiter);
        sc_list_push_back(out, link);
    }
    size_t left = flight->waiters_count;
    if (left == 0 && !atomic_load(&flight->landed))
        land(s, flight);
    pthread_mutex_unlock(&s->lock);
    return left;
}

void sc_flights_publish(sc_flights *flights, sc_flight *flight, void (*change)(void *context),
                        void *context)
{
    shard *s = shard_of(flights, &flight->key);
    pthread_mutex_lock(&s->lock);
    change(context);
    pthread_mutex_unlock(&s->lock);
}

void sc_flight_ref(sc_flight *flight)
{
    atomic_fetch_add_explicit(&flight->refs, 1, memory_order_relaxed);
}

void sc_flight_unref(sc_flights *flights, sc_flight *flight)
{
    if (atomic_fetch_sub_explicit(&flight->refs, 1, memory_order_acq_rel) != 1)
        return;
    flights->options.release(flight);
    /* Last: at zero the owner of what release gave back may close it. */
    atomic_fetch_sub(&flights->count, 1);
}

size_t sc_flights_count(const sc_flights *flights)
{
    return atomic_load(&flights->count);
}
