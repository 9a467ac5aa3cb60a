#include "src/base/clock.h"

#include <time.h>

sc_instant sc_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (sc_instant){(int64_t)t.tv_sec * 1000000000 + t.tv_nsec};
}

sc_wall sc_wall_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (sc_wall){(int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000};
}

sc_instant sc_instant_after_ms(sc_instant from, int64_t ms)
{
    int64_t ns;
    if (from.ns == INT64_MAX)
        return from;
    if (__builtin_mul_overflow(ms, (int64_t)1000000, &ns) ||
        __builtin_add_overflow(from.ns, ns, &ns))
        return ms < 0 ? (sc_instant){INT64_MIN} : SC_INSTANT_NEVER;
    return (sc_instant){ns};
}

int64_t sc_elapsed_us(sc_instant a, sc_instant b)
{
    return b.ns > a.ns ? (b.ns - a.ns) / 1000 : 0;
}

int64_t sc_remaining_ms(sc_instant now, sc_instant deadline)
{
    if (deadline.ns == INT64_MAX)
        return INT64_MAX;
    if (deadline.ns <= now.ns)
        return 0;
    return (deadline.ns - now.ns - 1) / 1000000 + 1;
}
