/* NEON of every arm64: 5 x 16 tiles in 20 of 32 registers. With 6 rows gcc spills two sums in each
 * step. */
#include "src/embed/local/kernels/list.h"

#if defined(__aarch64__)

#include <arm_neon.h>

#define LANES 4
#define ROWS 5
#define VECTORS 4
#define TARGET
#include "src/embed/local/kernels/vectors.inc"

SC_INLINE vec widen(const uint16_t *halves)
{
    return (vec)vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(halves)));
}

#include "src/embed/local/kernels/panels.inc"

static bool available(void)
{
    return true;
}

const sc_kernel sc_kernel_neon = {
    .name = "neon",
    .panel_columns = WIDTH,
    .reads_halves = true,
    .available = available,
    .multiply = multiply,
    .turn = turn,
    .softmax = softmax,
    .layer_norm = layer_norm,
};
#endif
