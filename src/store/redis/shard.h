/* shard.h - a Redis store as one master's share of a cluster; for src/store/cluster.
 *
 * It reads and writes only what lies in its slots, tells only of that, and forgets what it told
 * when a slot leaves it or it is closed. A call whose key turns out to lie elsewhere ends with
 * SC_UNAVAILABLE and Redis' own words, "MOVED <slot> <host>:<port>". */
#pragma once

#include "src/store/redis/redis.h"
#include "src/store/redis/slots.h"
#include "src/store/redis/url.h"

typedef struct {
    const sc_redis_url *url; /* copied; options->url is not looked at */
    sc_slot_set         owned;
    void               *context;
    /* Both on the store's thread. */
    void (*moved)(void *context); /* something showed that slots are on the move */
    /* Borrowed: an entry that waited to be written and belongs to another master. */
    void (*stray)(void *context, sc_entry *entry, const float *vector);
} sc_redis_shard;

/* As sc_redis_open(). Of entries_max it takes the part that its share of the slots is. */
SC_MUST_CHECK sc_status sc_redis_open_shard(const sc_redis_options *options,
                                            const sc_redis_shard *shard, const sc_store_feed *feed,
                                            sc_store **out, sc_error *error);

/* Errors: SC_INVALID for what both kinds of store refuse before they begin. */
SC_MUST_CHECK sc_status sc_redis_options_check(const sc_redis_options *options, sc_error *error);

/* The slots it owns from now on. Any thread. */
void sc_redis_shard_assign(sc_store *store, const sc_slot_set *owned);

/* Tells the feed everything once more: memory was emptied for another master's sake. Any thread. */
void sc_redis_shard_tell_again(sc_store *store);
