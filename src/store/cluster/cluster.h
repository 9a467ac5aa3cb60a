/* cluster.h - the store on a Redis Cluster whose masters each have search, and no coordinator.
 *
 * Entries lie where the slot of their key says. Each master has a store of src/store/redis of its
 * own, and this one routes: by key to the owner, searches and invalidations to all at once. It
 * follows the cluster's slots; while they move, or a master is away, entries are missed, and
 * nothing fails that need not. An invalidation needs every master, and fails without. */
#pragma once

#include "src/store/redis/redis.h"

/* As sc_redis_open(). options->url may name several nodes to begin with, host:port with commas
 * between; user, password and TLS are the same for all. */
SC_MUST_CHECK sc_status sc_cluster_open(const sc_redis_options *options, const sc_store_feed *feed,
                                        sc_store **out, sc_error *error);
