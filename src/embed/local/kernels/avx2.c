/* AVX2, FMA and F16C: 6 x 16 tiles in 12 of 16 registers. */
#include "src/embed/local/kernels/list.h"

#if defined(__x86_64__)

#include <cpuid.h>
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

/* Asked of the processor itself: clang 14's __builtin_cpu_supports does not know the name. */
static bool has_f16c(void)
{
    unsigned a, b, c, d;
    return __get_cpuid(1, &a, &b, &c, &d) != 0 && (c & bit_F16C) != 0;
}

static bool available(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c();
}

const sc_kernel sc_kernel_avx2 = {
    .name = "avx2",
    .panel_columns = WIDTH,
    .reads_halves = true,
    .available = available,
    .multiply = multiply,
    .turn = turn,
    .softmax = softmax,
    .layer_norm = layer_norm,
};
#endif
