#include "src/store/redis/inside.h"

void sc_sweep_tick(sc_redis *redis, sc_instant now)
{
    (void)redis;
    (void)now;
}
