/* redis.h - the store on Redis with a vector index.
 *
 * One I/O thread owns every connection. Opening does not need Redis to be there: what
 * cannot be asked is refused with SC_UNAVAILABLE, what cannot be written is kept in a
 * bounded queue and written later, and the index is made anew when it vanished. */
#pragma once

#include <stdint.h>

#include "src/config/setting.h"
#include "src/store/store.h"

typedef enum { SC_REDIS_FLOAT16, SC_REDIS_FLOAT32 } sc_redis_vector_type;
typedef enum { SC_REDIS_HNSW, SC_REDIS_FLAT } sc_redis_algorithm;

enum { SC_REDIS_NAMESPACE_BYTES_MAX = 40, SC_REDIS_DIM_MAX = 32768 };

typedef struct {
    /* From settings. */
    const char *url;
    bool        cluster; /* for src/store/cluster */
    const char *cache_namespace;
    const char *ca_file; /* NULL: the system's certificates */
    int         vector_type;
    int         algorithm;
    uint32_t    hnsw_m;
    uint32_t    ef_construction;
    uint32_t    ef_runtime;
    uint32_t    timeout_ms;
    uint32_t    search_wait_ms; /* beside timeout_ms: for its turn */
    uint64_t    entries_max; /* 0: no limit */
    uint32_t    calls_max;
    uint32_t    waiting_entries_max;
    uint64_t    waiting_bytes_max;
    /* From the pipeline's settings: an entry stays in Redis for so long after it expired, for callers
     * who prefer an expired answer to none. Look-ups never give it; the feed does. */
    int64_t     stale_seconds;
    /* From the embedding provider. */
    uint32_t    dim;
    const char *embedding_model; /* entries of different models never meet */
} sc_redis_options;

extern const sc_setting_table sc_store_settings;

/* Starts the I/O thread. Borrows options for the call; feed (may be NULL) is copied, its context
 * must outlive the store.
 * Errors: SC_INVALID (setting, value and bound are in *error; never the URL's password),
 * SC_NO_MEMORY, SC_UNAVAILABLE when no thread or loop is to be had. */
SC_MUST_CHECK sc_status sc_redis_open(const sc_redis_options *options, const sc_store_feed *feed,
                                      sc_store **out, sc_error *error);
