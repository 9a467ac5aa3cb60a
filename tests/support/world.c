#include "tests/support/world.h"

#include <stdio.h>
#include <stdlib.h>

enum { VARIABLES_MAX = 32 };

size_t sc_world_add(sc_world *world, const char *const *variables)
{
    char        redis[96], upstream[96], dim[32];
    const char *all[VARIABLES_MAX] = {redis, upstream, dim, "OPENAI_API_KEY=sk-test",
                                      "EMBEDDING_PROVIDER=openai"};
    size_t      count = 5;
    snprintf(redis, sizeof redis, "REDIS_URL=%s", sc_test_redis_url(world->redis));
    snprintf(upstream, sizeof upstream, "OPENAI_BASE_URL=%s", sc_upstream_url(world->upstream));
    snprintf(dim, sizeof dim, "EMBEDDING_DIM=%d", SC_WORLD_DIM);
    for (; variables != NULL && *variables != NULL && count + 1 < VARIABLES_MAX; variables++)
        all[count++] = *variables;
    size_t at = world->servers_count++;
    world->servers[at] = sc_test_server_start(all);
    world->askers[at] = sc_asker_open(sc_test_server_target(world->servers[at]));
    return at;
}

void sc_world_open(sc_world *world, size_t servers, const char *const *variables)
{
    *world = (sc_world){.redis = sc_test_redis_start(NULL)};
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
