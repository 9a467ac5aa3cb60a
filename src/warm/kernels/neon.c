/* arm64: NEON, and the dot product instruction where the processor has it. */
#include "src/warm/kernels/kernels.h"

#if defined(__aarch64__)

#include <arm_neon.h>

#define DOTPROD __attribute__((target("arch=armv8.2-a+dotprod")))

enum { FLOATS = 4, CODES = 16 };

static float32x4_t lanes_f32(const float *query, const float *row, size_t stride)
{
    float32x4_t sum = vdupq_n_f32(0);
    for (size_t i = 0; i < stride; i += FLOATS)
        sum = vfmaq_f32(sum, vld1q_f32(query + i), vld1q_f32(row + i));
    return sum;
}

static float dot_f32(const float *query, const float *row, size_t stride)
{
    return vaddvq_f32(lanes_f32(query, row, stride));
}

/* Two queries on four rows: eight running sums, 6 loads for 8 multiplications. */
static void tile_f32(const float *queries, const float *rows, size_t stride, float *dots)
{
    float32x4_t sums[8];
    for (size_t i = 0; i < 8; i++)
        sums[i] = vdupq_n_f32(0);
    for (size_t i = 0; i < stride; i += FLOATS) {
        float32x4_t q0 = vld1q_f32(queries + i), q1 = vld1q_f32(queries + stride + i);
        for (size_t r = 0; r < 4; r++) {
            float32x4_t row = vld1q_f32(rows + r * stride + i);
            sums[r] = vfmaq_f32(sums[r], q0, row);
            sums[4 + r] = vfmaq_f32(sums[4 + r], q1, row);
        }
    }
    for (size_t r = 0; r < 4; r++) {
        dots[r] = vaddvq_f32(sums[r]);
        dots[SC_BLOCK_ROWS + r] = vaddvq_f32(sums[4 + r]);
    }
}

static void dots_f32(const sc_batch *batch, const float *rows, size_t rows_count, float *dots)
{
    size_t stride = batch->stride, q = 0;
    for (; q + 2 <= batch->count && rows_count >= 4; q += 2) {
        const float *queries = batch->vectors + q * stride;
        float       *out = dots + q * SC_BLOCK_ROWS;
        size_t       r = 0;
        for (; r + 4 <= rows_count; r += 4)
            tile_f32(queries, rows + r * stride, stride, out + r);
        for (; r < rows_count; r++) {
            out[r] = dot_f32(queries, rows + r * stride, stride);
            out[SC_BLOCK_ROWS + r] = dot_f32(queries + stride, rows + r * stride, stride);
        }
    }
    for (; q < batch->count; q++)
        for (size_t r = 0; r < rows_count; r++)
            dots[q * SC_BLOCK_ROWS + r] =
                dot_f32(batch->vectors + q * stride, rows + r * stride, stride);
}

/* Two products of at most 127 * 127 fit 16 bits; then they are folded into 32. */
static int32_t dot_i8(const int8_t *query, const int8_t *row, size_t stride)
{
    int32x4_t sum = vdupq_n_s32(0);
    for (size_t i = 0; i < stride; i += CODES) {
        int8x16_t q = vld1q_s8(query + i), x = vld1q_s8(row + i);
        int16x8_t pairs = vmull_s8(vget_low_s8(q), vget_low_s8(x));
        sum = vpadalq_s16(sum, vmlal_s8(pairs, vget_high_s8(q), vget_high_s8(x)));
    }
    return vaddvq_s32(sum);
}

static void dots_i8(const sc_batch *batch, const int8_t *rows, size_t rows_count, int32_t *dots)
{
    size_t stride = batch->code_stride;
    for (size_t q = 0; q < batch->count; q++)
        for (size_t r = 0; r < rows_count; r++)
            dots[q * SC_BLOCK_ROWS + r] =
                dot_i8(batch->codes + q * stride, rows + r * stride, stride);
}

DOTPROD static int32_t dotprod_i8(const int8_t *query, const int8_t *row, size_t stride)
{
    int32x4_t sum = vdupq_n_s32(0);
    for (size_t i = 0; i < stride; i += CODES)
        sum = vdotq_s32(sum, vld1q_s8(query + i), vld1q_s8(row + i));
    return vaddvq_s32(sum);
}

DOTPROD static void dotprod_dots_i8(const sc_batch *batch, const int8_t *rows, size_t rows_count,
                                    int32_t *dots)
{
    size_t stride = batch->code_stride;
    for (size_t q = 0; q < batch->count; q++)
        for (size_t r = 0; r < rows_count; r++)
            dots[q * SC_BLOCK_ROWS + r] =
                dotprod_i8(batch->codes + q * stride, rows + r * stride, stride);
}

static uint64_t bits_at(uint32x4_t above, size_t r)
{
    static const uint32_t places[4] = {1, 2, 4, 8};
    return (uint64_t)vaddvq_u32(vandq_u32(above, vld1q_u32(places))) << r;
}

static uint64_t above_f32(const float *dots, size_t count, float limit)
{
    uint64_t mask = 0;
    for (size_t r = 0; r < count; r += FLOATS)
        mask |= bits_at(vcgeq_f32(vld1q_f32(dots + r), vdupq_n_f32(limit)), r);
    return mask & sc_kernels_first_bits(count);
}

static uint64_t above_i8(const int32_t *dots, const float *scales, const float *errors,
                         size_t count, float scale, float norm, float limit)
{
    uint64_t mask = 0;
    for (size_t r = 0; r < count; r += FLOATS) {
        float32x4_t dot = vmulq_f32(vcvtq_f32_s32(vld1q_s32(dots + r)),
                                    vmulq_n_f32(vld1q_f32(scales + r), scale));
        float32x4_t most = vfmaq_n_f32(dot, vld1q_f32(errors + r), norm);
        mask |= bits_at(vcgeq_f32(most, vdupq_n_f32(limit)), r);
    }
    return mask & sc_kernels_first_bits(count);
}

const sc_kernels sc_kernels_neon = {
    .name = "neon",
    .dots_f32 = dots_f32,
    .dots_i8 = dots_i8,
    .dot_f32 = dot_f32,
    .above_f32 = above_f32,
    .above_i8 = above_i8,
};

const sc_kernels sc_kernels_neon_dotprod = {
    .name = "neon-dotprod",
    .dots_f32 = dots_f32,
    .dots_i8 = dotprod_dots_i8,
    .dot_f32 = dot_f32,
    .above_f32 = above_f32,
    .above_i8 = above_i8,
};

#else
typedef int sc_neon_has_no_use_here;
#endif
