#include "tests/support/cmocka.h"

#include "tests/support/world.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { VARIABLES_MAX = 32 };

/* The least that the server needs; the README shows the same line, and a missing right would
 * make these tests fail. */
#define ACL                                                                                        \
    "on", ">sesame", "~semcache:*", "resetchannels", "&__redis__:invalidate", "-@all", "+auth",    \
        "+ping", "+client|id", "+client|setname", "+client|tracking", "+subscribe", "+scan",       \
        "+get", "+set", "+hset", "+hdel", "+hmget", "+touch", "+pexpireat", "+unlink", "+multi",   \
        "+exec", "+zadd", "+zrem", "+zrange", "+zcard", "+ft.create", "+ft.search", "+ft.info",    \
        "+ft.dropindex"

static const char *const redis_args[] = {"--user", "semcache", ACL, NULL};

/* A server serves before it has Redis; most tests want both. Read from its log, since not every
 * test lets this asker in. */
static void await_redis(const sc_test_server *server)
{
    enum { TRIES = 500, STEP_US = 20000 };
    bool there = false;
    for (int tries = 0; tries < TRIES && !there; tries++) {
        char *log = sc_test_server_log(server);
        there = strstr(log, " redis.feed_live ") != NULL &&
                strstr(log, " redis.index state=ready ") != NULL;
        free(log);
        if (!there)
            usleep(STEP_US);
    }
}

size_t sc_world_add(sc_world *world, const char *const *variables)
{
    char        redis[96], upstream[96], dim[32];
    const char *all[VARIABLES_MAX] = {redis, upstream, dim, "OPENAI_API_KEY=sk-test",
                                      "EMBEDDING_PROVIDER=openai"};
    size_t      count = 5;
    snprintf(redis, sizeof redis, "REDIS_URL=redis://semcache:sesame@127.0.0.1:%d",
             sc_test_redis_port(world->redis));
    snprintf(upstream, sizeof upstream, "OPENAI_BASE_URL=%s", sc_upstream_url(world->upstream));
    snprintf(dim, sizeof dim, "EMBEDDING_DIM=%d", SC_WORLD_DIM);
    for (; variables != NULL && *variables != NULL && count + 1 < VARIABLES_MAX; variables++)
        all[count++] = *variables;
    size_t at = world->servers_count++;
    world->servers[at] = sc_test_server_start(all);
    world->askers[at] = sc_asker_open(sc_test_server_target(world->servers[at]));
    await_redis(world->servers[at]);
    return at;
}

void sc_world_open(sc_world *world, size_t servers, const char *const *variables)
{
    *world = (sc_world){.redis = sc_test_redis_start(redis_args)};
    if (world->redis == NULL)
        return;
    sc_upstream_options options = {.dim = SC_WORLD_DIM, .seed = 1};
    world->upstream = sc_upstream_start(&options);
    if (world->upstream == NULL)
        abort();
    while (world->servers_count < servers)
        sc_world_add(world, variables);
}

void sc_world_close(sc_world *world)
{
    for (size_t i = 0; i < world->servers_count; i++) {
        sc_asker_close(world->askers[i]);
        sc_test_server_stop(world->servers[i]);
    }
    sc_upstream_stop(world->upstream);
    sc_test_redis_stop(world->redis);
}

sc_world *sc_world_of(void **state)
{
    sc_world *world = *state;
    if (world->redis == NULL)
        skip();
    return world;
}

int sc_world_tear_down(void **state)
{
    sc_world_close(*state);
    return 0;
}
