/* half.h - IEEE binary16 as bits, for packing; kernels convert with their own instructions. */
#pragma once

#include <stdint.h>

/* Rounds to nearest, ties to even; too large becomes infinity. */
uint16_t sc_half_of(float value);

float sc_half_float(uint16_t half);
