/* Conversions are plain integer arithmetic: 1536 numbers take about 2 us, far below the command
 * they travel in, so neither F16C nor a dispatch is worth having here. All known targets are
 * little-endian; a big-endian one fails to compile. */
#include "src/store/redis/vector.h"

#include <math.h>
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "vectors are stored little-endian");

uint16_t sc_half_from_float(float value)
{
    uint32_t bits;

    memcpy(&bits, &value, sizeof bits);
    uint32_t sign = bits >> 16 & 0x8000u;
    uint32_t magnitude = bits & 0x7fffffffu;

    if (magnitude > 0x7f800000u)
        return (uint16_t)(sign | 0x7e00u); /* NaN */
    if (magnitude >= 0x477ff000u)
        return (uint16_t)(sign | 0x7c00u); /* rounds to infinity */
    if (magnitude < 0x38800000u) {
        /* Subnormal: adding 0.5 lets the FPU round at the right bit. */
        float shifted;
        memcpy(&shifted, &magnitude, sizeof shifted);
        shifted += 0.5f;
        memcpy(&bits, &shifted, sizeof bits);
        return (uint16_t)(sign | (bits - 0x3f000000u));
    }
    uint32_t odd = magnitude >> 13 & 1;
    return (uint16_t)(sign | (magnitude - 0x38000000u + 0xfffu + odd) >> 13);
}

float sc_half_to_float(uint16_t half)
{
    uint32_t sign = (uint32_t)(half & 0x8000u) << 16;
    uint32_t magnitude = (uint32_t)(half & 0x7fffu) << 13;
    float    value;

    if ((half & 0x7c00u) == 0x7c00u) {
        magnitude += 0x70000000u; /* infinity, NaN */
    } else {
        /* 2^112 moves the exponent, and normalises a subnormal on the way. */
        memcpy(&value, &magnitude, sizeof value);
        value *= 0x1p112f;
        memcpy(&magnitude, &value, sizeof magnitude);
    }
    magnitude |= sign;
    memcpy(&value, &magnitude, sizeof value);
    return value;
}

size_t sc_vector_bytes(uint32_t dim, bool half)
{
    return (size_t)dim * (half ? sizeof(uint16_t) : sizeof(float));
}

void sc_vector_encode(const float *vector, uint32_t dim, bool half, char *out)
{
    if (!half) {
        memcpy(out, vector, sc_vector_bytes(dim, false));
        return;
    }
    for (uint32_t i = 0; i < dim; i++) {
        uint16_t value = sc_half_from_float(vector[i]);
        memcpy(out + i * sizeof value, &value, sizeof value);
    }
}

static double squared_length(const float *vector, uint32_t dim)
{
    double sum = 0;
    for (uint32_t i = 0; i < dim; i++)
        sum += (double)vector[i] * (double)vector[i];
    return sum;
}

bool sc_vector_decode(sc_str stored, uint32_t dim, bool half, float *out)
{
    if (stored.len != sc_vector_bytes(dim, half))
        return false;
    if (!half)
        memcpy(out, stored.ptr, stored.len);
    for (uint32_t i = 0; half && i < dim; i++) {
        uint16_t value;
        memcpy(&value, stored.ptr + i * sizeof value, sizeof value);
        out[i] = sc_half_to_float(value);
    }
    double sum = squared_length(out, dim);
    if (!isfinite(sum) || sum <= 0)
        return false;
    float scale = (float)(1 / sqrt(sum));
    for (uint32_t i = 0; i < dim; i++)
        out[i] *= scale;
    return isfinite(scale);
}

bool sc_vector_is_unit(const float *vector, uint32_t dim)
{
    double sum = squared_length(vector, dim);
    return isfinite(sum) && fabs(sum - 1) < 0.01;
}
