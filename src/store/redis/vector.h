/* vector.h - vectors as Redis keeps them: little-endian float32 or float16. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/base/str.h"

/* IEEE 754 binary16, rounded to nearest even. */
uint16_t sc_half_from_float(float value);
float    sc_half_to_float(uint16_t half);

/* Bytes of a vector[dim]; `half` chooses float16. */
size_t sc_vector_bytes(uint32_t dim, bool half);

/* vector[dim] to out[sc_vector_bytes()]. */
void sc_vector_encode(const float *vector, uint32_t dim, bool half, char *out);

/* Reads a stored vector and makes it unit length again, which float16 had blurred. False, and out
 * undefined: wrong length, a number that is not finite, or no length. */
bool sc_vector_decode(sc_str stored, uint32_t dim, bool half, float *out);

/* Can it be stored? Finite and of unit length, within what float32 arithmetic leaves over. A zero
 * or NaN vector is accepted by the index and then never found. */
bool sc_vector_is_unit(const float *vector, uint32_t dim);
