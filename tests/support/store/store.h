/* store.h - a store's calls as plain functions that wait, entries to put into it, and a feed that
 * remembers what it was told. */
#pragma once

#include <pthread.h>
#include <stdbool.h>

#include "src/base/table.h"
#include "src/store/store.h"

/* Fields with everything set, made from a number; the texts live as long as the program. Scope,
 * tenant and guard are the same for all, so are the expiry (in an hour) and the tags "red" and
 * "round". */
sc_entry_fields sc_test_fields(unsigned number);
sc_entry       *sc_test_entry(unsigned number);

/* A unit vector; those of neighbouring numbers lie `angle` apart, all in one plane. */
void sc_test_vector(float *out, uint32_t dim, unsigned number, double angle);

/* Each gives the call's status; deadline: two seconds, unless a name says otherwise. */
sc_status sc_test_put(sc_store *store, sc_entry *entry, const float *vector);
sc_status sc_test_get(sc_store *store, const sc_digest *id, sc_entry **found);
sc_status sc_test_verify(sc_store *store, const sc_digest *id, uint64_t version, bool *fresh);
/* The caller sets scope, guard, vector and k. */
sc_status sc_test_search(sc_store *store, sc_store_search *search);
/* The caller sets filter and dry_run. Examples are let go of. */
sc_status sc_test_invalidate(sc_store *store, sc_store_invalidate *invalidate);

void sc_test_close(sc_store *store);

/* A feed that keeps version by id. */
typedef struct {
    pthread_mutex_t lock;
    sc_table        versions; /* id to version; 64-bit */
    bool            live;
    unsigned        puts, with_vector, removals, clears, lives;
} sc_test_memory;

void          sc_test_memory_init(sc_test_memory *memory);
void          sc_test_memory_fini(sc_test_memory *memory);
sc_store_feed sc_test_memory_feed(sc_test_memory *memory);
uint64_t      sc_test_memory_version(sc_test_memory *memory, const sc_digest *id);
bool          sc_test_memory_live(sc_test_memory *memory);
size_t        sc_test_memory_count(sc_test_memory *memory);
unsigned      sc_test_memory_lives(sc_test_memory *memory);
unsigned      sc_test_memory_clears(sc_test_memory *memory);

/* Waits until the condition holds, looking every millisecond; the test fails after ten seconds. */
#define SC_TEST_UNTIL(condition)                                                                   \
    do {                                                                                           \
        sc_instant until_ = sc_instant_after_ms(sc_now(), 10000);                                  \
        bool       holds_ = (condition);                                                           \
        for (; !holds_ && sc_instant_before(sc_now(), until_); holds_ = (condition))               \
            usleep(1000);                                                                          \
        assert_true(holds_);                                                                       \
    } while (0)
