#include "tests/unit/warm/warm_support.h"

#include <math.h>

uint64_t sc_test_next(sc_test_random *random)
{
    uint64_t z = (random->state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

double sc_test_normal(sc_test_random *random)
{
    double u = ((double)(sc_test_next(random) >> 11) + 0.5) * 0x1p-53;
    double v = (double)(sc_test_next(random) >> 11) * 0x1p-53;
    return sqrt(-2 * log(u)) * cos(6.283185307179586 * v);
}

static void to_unit(float *vector, size_t dim)
{
    double length = sqrt(sc_test_dot(vector, vector, dim));
    for (size_t i = 0; i < dim; i++)
        vector[i] = (float)(vector[i] / length);
}

void sc_test_direction(sc_test_random *random, float *vector, size_t dim)
{
    for (size_t i = 0; i < dim; i++)
        vector[i] = (float)sc_test_normal(random);
    to_unit(vector, dim);
}

void sc_test_near(sc_test_random *random, const float *centre, float spread, float *vector,
                  size_t dim)
{
    sc_test_direction(random, vector, dim);
    for (size_t i = 0; i < dim; i++)
        vector[i] = centre[i] + spread * vector[i];
    to_unit(vector, dim);
}

double sc_test_dot(const float *a, const float *b, size_t dim)
{
    double sum = 0;
    for (size_t i = 0; i < dim; i++)
        sum += (double)a[i] * b[i];
    return sum;
}

sc_digest sc_test_digest(const char *kind, uint64_t n)
{
    sc_hasher hasher;
    sc_hasher_init(&hasher);
    sc_hasher_field(&hasher, sc_str_of(kind));
    sc_hasher_u64(&hasher, n);
    return sc_hasher_final(&hasher);
}

sc_entry *sc_test_entry_of(uint64_t n, uint64_t scope, uint64_t guard, uint64_t version,
                           int64_t expires_ms)
{
    sc_entry_fields fields = {
        .id = sc_test_digest("id", n),
        .scope = sc_test_digest("scope", scope),
        .guard = guard,
        .version = version,
        .expires = {expires_ms},
        .answer = SC_STR("an answer"),
        .prompt = SC_STR("a question"),
        .canonical = SC_STR("a question"),
    };
    return sc_entry_make(&fields);
}

sc_entry *sc_test_entry(uint64_t n, uint64_t scope, uint64_t guard)
{
    return sc_test_entry_of(n, scope, guard, 1, 1000000);
}
