/* A text's vector is drawn from a generator seeded with the text, so that equal texts are equal,
 * others are about orthogonal, and nothing has to be kept. */
#include <math.h>
#include <stdlib.h>

#include "src/base/hash.h"
#include "tests/support/upstream/internal.h"

static uint64_t next(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static void normalise(float *vector, unsigned dim)
{
    double sum = 0;
    for (unsigned i = 0; i < dim; i++)
        sum += (double)vector[i] * (double)vector[i];
    float scale = (float)(1 / sqrt(sum));
    for (unsigned i = 0; i < dim; i++)
        vector[i] *= scale;
}

static void draw(uint64_t seed, sc_str text, float *vector, unsigned dim)
{
    sc_digest digest = sc_sha256(text.ptr, text.len);
    uint64_t  state = sc_digest_u64(&digest) ^ seed;
    for (unsigned i = 0; i < dim; i++) {
        /* Four 16-bit uniforms: near enough to a Gauss curve that directions are even. */
        uint64_t z = next(&state);
        int64_t  sum = (int64_t)((z & 0xffff) + (z >> 16 & 0xffff) + (z >> 32 & 0xffff) + (z >> 48));
        vector[i] = (float)(sum - 2 * 0xffff);
    }
    normalise(vector, dim);
}

/* Turns vector, away from base, until the cosine between them is 1 - distance. */
static void turn(float *vector, const float *base, double distance, unsigned dim)
{
    double dot = 0, cosine = 1 - distance;
    for (unsigned i = 0; i < dim; i++)
        dot += (double)vector[i] * (double)base[i];
    for (unsigned i = 0; i < dim; i++)
        vector[i] -= (float)(dot * (double)base[i]);
    normalise(vector, dim);
    double rest = cosine * cosine < 1 ? sqrt(1 - cosine * cosine) : 0;
    for (unsigned i = 0; i < dim; i++)
        vector[i] = (float)(cosine * (double)base[i] + rest * (double)vector[i]);
}

static bool find_alias(sc_upstream *upstream, sc_str text, char **to, double *distance)
{
    pthread_mutex_lock(&upstream->lock);
    *to = NULL;
    for (size_t i = upstream->aliases_count; i-- > 0 && *to == NULL;)
        if (sc_str_equal(text, sc_str_of(upstream->aliases[i].text))) {
            *to = strdup(upstream->aliases[i].to);
            *distance = upstream->aliases[i].distance;
        }
    pthread_mutex_unlock(&upstream->lock);
    return *to != NULL;
}

void vector_of(sc_upstream *upstream, sc_str text, float *vector, unsigned dim)
{
    char  *to = NULL;
    double distance = 0;
    draw(upstream->options.seed, text, vector, dim);
    if (!find_alias(upstream, text, &to, &distance))
        return;
    float *base = malloc(dim * sizeof *base);
    if (base != NULL) {
        draw(upstream->options.seed, sc_str_of(to), base, dim);
        turn(vector, base, distance, dim);
    }
    free(base);
    free(to);
}
