/* random.h - jitter and identifiers. Not for secrets. Any thread. */
#pragma once

#include <stdint.h>

/* Uniform over 64 bits; per-thread state seeded from the kernel. */
uint64_t sc_random_u64(void);

/* Uniform in [low, high], high >= low. */
int64_t sc_random_between(int64_t low, int64_t high);
