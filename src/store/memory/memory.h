/* memory.h - a store within the process: for tests, and for running without Redis.
 *
 * Searches compare with every entry of a scope and are exact. Calls are finished by the
 * function they were made with, in the caller's thread. Nothing is shared with other servers. */
#pragma once

#include "src/store/store.h"

typedef struct {
    uint32_t dim;
    size_t   entries_max; /* beyond, the least recently used leaves */
} sc_memory_store_options;

/* feed (may be NULL) is told what put and invalidate do, and at once that it is live.
 * Errors: SC_INVALID for dim or entries_max 0, SC_NO_MEMORY. */
SC_MUST_CHECK sc_status sc_memory_store_open(const sc_memory_store_options *options,
                                             const sc_store_feed *feed, sc_store **out);
