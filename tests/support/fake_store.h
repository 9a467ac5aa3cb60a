/* fake_store.h - the store in memory, behind a switchboard: away, held, slow, failing at random, or
 * lying; and whose feed speaks only when the test says so. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "src/store/store.h"
#include "tests/support/later.h"

typedef enum {
    FAKE_GET,
    FAKE_SEARCH,
    FAKE_VERIFY,
    FAKE_PUT,
    FAKE_INVALIDATE,
    FAKE_OPS
} fake_store_op;

typedef struct {
    sc_store      base;
    sc_store     *inner;
    sc_store_feed feed;
    later        *clock;

    /* The script; any thread, any time. */
    atomic_int     status;        /* of every call; SC_OK: what the inner store says */
    _Atomic double failure_rate;  /* of calls that fail with SC_UNAVAILABLE */
    atomic_int     delay_us;      /* up to this, at random; 0: at once */
    atomic_bool    hold[FAKE_OPS];  /* calls wait for fake_store_let_go */
    atomic_bool    late[FAKE_OPS];  /* the same, but the store is asked first: only the reply waits */
    atomic_bool    echo;          /* the feed tells of puts */

    /* Given out instead of what is there, and as the nearest of all; a reference of the fake's. */
    _Atomic(sc_entry *) lie;

    /* What was seen. */
    atomic_uint calls[FAKE_OPS];
    atomic_uint used;

    pthread_mutex_t lock;
    sc_link         held;
    atomic_uint     held_count;
} fake_store;

void fake_store_init(fake_store *fake, uint32_t dim);

/* Before anything is stored. */
void fake_store_set_feed(fake_store *fake, const sc_store_feed *feed);

/* Completes every held call, on this thread. */
void fake_store_let_go(fake_store *fake);

/* Behind the back of our server: neither memory nor feed hears of it. */
void fake_store_forget(fake_store *fake, const sc_digest *id);
void fake_store_add(fake_store *fake, sc_entry *entry, const float *vector);

/* What the store has, with a reference, or NULL. */
sc_entry *fake_store_find(fake_store *fake, const sc_digest *id);
size_t    fake_store_documents(fake_store *fake);
