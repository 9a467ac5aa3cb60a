#include "src/base/random.h"

#include <sys/random.h>

#include "src/base/clock.h"

/* splitmix64 (Steele, Lea, Flood 2014): an add, two multiplies, and any seed is a good one. */
uint64_t sc_random_u64(void)
{
    static _Thread_local uint64_t state;
    if (state == 0 && getrandom(&state, sizeof state, GRND_NONBLOCK) != sizeof state)
        state = (uint64_t)sc_now().ns ^ (uint64_t)(uintptr_t)&state;
    uint64_t z = (state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

int64_t sc_random_between(int64_t low, int64_t high)
{
    uint64_t span = (uint64_t)high - (uint64_t)low + 1;
    uint64_t value = sc_random_u64();
    return span == 0 ? (int64_t)value : (int64_t)((uint64_t)low + value % span);
}
