/* world.h - all that an integration test needs: Redis, an upstream that follows a script, servers. */
#pragma once

#include "tests/support/ask.h"
#include "tests/support/redis.h"
#include "tests/support/server.h"
#include "tests/support/upstream/upstream.h"

enum { SC_WORLD_SERVERS_MAX = 3, SC_WORLD_DIM = 64 };

typedef struct {
    sc_test_redis  *redis; /* NULL: not installed; skip() */
    sc_upstream    *upstream;
    sc_test_server *servers[SC_WORLD_SERVERS_MAX];
    sc_asker       *askers[SC_WORLD_SERVERS_MAX];
    size_t          servers_count;
} sc_world;

/* Opens one with that many servers on one Redis and one upstream, whose embeddings have
 * SC_WORLD_DIM dimensions. More variables for the servers may follow, ended by NULL; or NULL. */
void sc_world_open(sc_world *world, size_t servers, const char *const *variables);

/* Adds a server with variables of its own. Gives its number. */
size_t sc_world_add(sc_world *world, const char *const *variables);

/* Ends everything; every server must end by itself with exit code 0. */
void sc_world_close(sc_world *world);

/* For cmocka: the world that *state points to. Skips the test when there is no Redis. */
sc_world *sc_world_of(void **state);
int       sc_world_tear_down(void **state);
