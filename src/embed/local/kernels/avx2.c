/* AVX2, FMA and F16C: 6 x 16 tiles in 12 of 16 registers. */
#include "src/embed/local/kernels/list.h"

#if defined(__x86_64__)

#include <immintrin.h>

#define LANES 8
#define ROWS 6
#define VECTORS 2
#define TARGET __attribute__((target("avx2,fma,f16c")))
#include "src/embed/local/kernels/vectors.inc"

SC_INLINE vec widen(const uint16_t *halves)
{
    return (vec)_mm256_cvtph_ps(_mm_loadu_si128((const __m128i_u *)(const void *)halves));
}

#include "src/embed/local/kernels/panels.inc"

static bool available(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
           __builtin_cpu_supports("f16c");
}

const sc_kernel sc_kernel_avx2 = {
    .name = "avx2",
    .panel_columns = WIDTH,
    .reads_halves = true,
    .available = available,
    .multiply = multiply,
    .softmax = softmax,
    .layer_norm = layer_norm,
};
#endif
