/* The reference for the others, and the set of processors nobody wrote one for. */
#include "src/warm/kernels/kernels.h"

enum { LANES = 16 };

static float sum_lanes(const float lanes[LANES])
{
    float sums[4] = {0};
    for (size_t i = 0; i < LANES; i++)
        sums[i % 4] += lanes[i];
    return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

static float dot_f32(const float *query, const float *row, size_t stride)
{
    float lanes[LANES] = {0};
    for (size_t i = 0; i < stride; i += LANES)
        for (size_t j = 0; j < LANES; j++)
            lanes[j] += query[i + j] * row[i + j];
    return sum_lanes(lanes);
}

static void dots_f32(const sc_batch *batch, const float *rows, size_t rows_count, float *dots)
{
    for (size_t q = 0; q < batch->count; q++)
        for (size_t r = 0; r < rows_count; r++)
            dots[q * SC_BLOCK_ROWS + r] = dot_f32(batch->vectors + q * batch->stride,
                                                  rows + r * batch->stride, batch->stride);
}

static int32_t dot_i8(const int8_t *query, const int8_t *row, size_t stride)
{
    int32_t sum = 0;
    for (size_t i = 0; i < stride; i++)
        sum += query[i] * row[i];
    return sum;
}

static void dots_i8(const sc_batch *batch, const int8_t *rows, size_t rows_count, int32_t *dots)
{
    for (size_t q = 0; q < batch->count; q++)
        for (size_t r = 0; r < rows_count; r++)
            dots[q * SC_BLOCK_ROWS + r] =
                dot_i8(batch->codes + q * batch->code_stride, rows + r * batch->code_stride,
                       batch->code_stride);
}

static uint64_t above_f32(const float *dots, size_t count, float limit)
{
    uint64_t mask = 0;
    for (size_t r = 0; r < count; r++)
        mask |= (uint64_t)(dots[r] >= limit) << r;
    return mask;
}

static uint64_t above_i8(const int32_t *dots, const float *scales, const float *errors,
                         size_t count, float scale, float norm, float limit)
{
    uint64_t mask = 0;
    for (size_t r = 0; r < count; r++)
        mask |= (uint64_t)(scale * scales[r] * (float)dots[r] + norm * errors[r] >= limit) << r;
    return mask;
}

const sc_kernels sc_kernels_plain = {
    .name = "plain",
    .dots_f32 = dots_f32,
    .dots_i8 = dots_i8,
    .dot_f32 = dot_f32,
    .above_f32 = above_f32,
    .above_i8 = above_i8,
};
