/* table.h - a hash table from a digest to a pointer.
 *
 * Open addressing with linear probing. The table keeps neither keys' memory nor
 * values: a key is copied (32 bytes), a value is the caller's. Not thread-safe: the
 * owner's lock guards it. */
#pragma once

#include <stddef.h>

#include "src/base/hash.h"
#include "src/base/status.h"

typedef struct {
    sc_digest key;
    void     *value; /* NULL: free slot */
} sc_table_slot;

typedef struct {
    sc_table_slot *slots; /* [room], a power of two, at most 3/4 used */
    size_t         room;
    size_t         used;
    uint64_t       multiplier; /* odd and secret, drawn with the first slots */
} sc_table;

/* A zeroed sc_table is an empty one. */
void sc_table_fini(sc_table *table);

/* NULL when absent. */
void *sc_table_get(const sc_table *table, const sc_digest *key);

/* Sets key to value (not NULL); *old, when not NULL, receives what was there before, or NULL.
 * Errors: SC_NO_MEMORY, and the table is as before. */
SC_MUST_CHECK sc_status sc_table_put(sc_table *table, const sc_digest *key, void *value,
                                     void **old);

/* Takes the key out; gives what was there, or NULL. */
void *sc_table_remove(sc_table *table, const sc_digest *key);

/* Walks all values: start with *at = 0; NULL at the end. The table must not change meanwhile. */
void *sc_table_next(const sc_table *table, size_t *at);
