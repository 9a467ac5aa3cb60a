/* warm_support.h - entries and vectors for the tests of the warm set. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "src/entry/entry.h"

/* Numbers from a seed, the same on every machine. */
typedef struct {
    uint64_t state;
} sc_test_random;

uint64_t sc_test_next(sc_test_random *random);
double   sc_test_normal(sc_test_random *random); /* mean 0, deviation 1 */

/* A random direction of unit length. */
void sc_test_direction(sc_test_random *random, float *vector, size_t dim);

/* A unit vector near centre: spread 0 gives centre itself, 1 an angle of 45 degrees. */
void sc_test_near(sc_test_random *random, const float *centre, float spread, float *vector,
                  size_t dim);

double sc_test_dot(const float *a, const float *b, size_t dim);

sc_digest sc_test_digest(const char *kind, uint64_t n);

/* An entry of key n in scope number scope, version 1, that expires at 1 000 000 ms. */
sc_entry *sc_test_entry(uint64_t n, uint64_t scope, uint64_t guard);
sc_entry *sc_test_entry_of(uint64_t n, uint64_t scope, uint64_t guard, uint64_t version,
                           int64_t expires_ms);
