#include "src/embed/local/half.h"

#include <math.h>
#include <string.h>

static uint32_t bits_of(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static float float_of(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* bits without its lowest `drop` ones, rounded to even. */
static uint32_t round_off(uint32_t bits, unsigned drop)
{
    uint32_t odd = bits >> drop & 1;
    return (bits + (UINT32_C(1) << (drop - 1)) - 1 + odd) >> drop;
}

uint16_t sc_half_of(float value)
{
    uint32_t bits = bits_of(value);
    uint32_t sign = bits >> 16 & 0x8000;
    uint32_t rest = bits & 0x7FFFFFFF;
    if (rest > 0x7F800000)
        return (uint16_t)(sign | 0x7E00); /* not a number */
    if (rest >= 0x477FF000)
        return (uint16_t)(sign | 0x7C00);
    if (rest >= 0x38800000) /* rebias the exponent from 127 to 15, then round */
        return (uint16_t)(sign | round_off(rest - 0x38000000, 13));
    /* Subnormal: adding 0.5 leaves the value's multiple of 2^-24 in the low bits, rounded. */
    return (uint16_t)(sign | (bits_of(float_of(rest) + 0.5f) - bits_of(0.5f)));
}

float sc_half_float(uint16_t half)
{
    uint32_t sign = (uint32_t)(half & 0x8000) << 16;
    uint32_t rest = half & 0x7FFF;
    if (rest >= 0x7C00)
        return float_of(sign | 0x7F800000 | (rest & 0x3FF) << 13);
    if (rest >= 0x400)
        return float_of(sign | ((rest << 13) + 0x38000000));
    float small = (float)rest * 0x1p-24f;
    return sign != 0 ? -small : small;
}
