/* kernels.h - dot products of a block of rows with a batch of queries, one set per processor kind.
 *
 * Every set gives the same int8 results to the last bit, and float32 results that differ
 * from the exact sum by less than sc_kernels_slack(). Within one set a pair of row and
 * query has the same float32 result in every function, so that a row that is ranked
 * again gets the figure a full float pass would have given it. Pure; any thread. */
#pragma once

#include <stddef.h>
#include <stdint.h>

enum {
    SC_BLOCK_ROWS = 64,  /* one bit per row in a mask */
    SC_BATCH_MAX = 32,   /* queries that share a pass over the rows */
    SC_FLOATS_STEP = 16, /* a row's floats are zero-padded to a multiple of this */
    SC_CODES_STEP = 64,  /* and its codes to a multiple of this */
};

/* Queries side by side, padded like rows, 64-byte aligned. */
typedef struct {
    size_t         count;       /* 1..SC_BATCH_MAX */
    size_t         stride;      /* floats of a vector */
    size_t         code_stride; /* bytes of a code */
    const float   *vectors;     /* [count, stride] */
    const int8_t  *codes;       /* [count, code_stride], -127..127 */
    const int32_t *code_sums;   /* [count], of all codes of a query */
} sc_batch;

typedef struct {
    const char *name;

    /* dots[q * SC_BLOCK_ROWS + r] = query q . row r, for rows_count 1..SC_BLOCK_ROWS rows. */
    void (*dots_f32)(const sc_batch *batch, const float *rows, size_t rows_count, float *dots);
    void (*dots_i8)(const sc_batch *batch, const int8_t *rows, size_t rows_count, int32_t *dots);

    float (*dot_f32)(const float *query, const float *row, size_t stride);

    /* Bit r says dots[r] >= limit; bits from count on are 0. dots has SC_BLOCK_ROWS places. */
    uint64_t (*above_f32)(const float *dots, size_t count, float limit);

    /* Bit r says scale * scales[r] * dots[r] + norm * errors[r] >= limit. All three arrays have
     * SC_BLOCK_ROWS places. */
    uint64_t (*above_i8)(const int32_t *dots, const float *scales, const float *errors,
                         size_t count, float scale, float norm, float limit);
} sc_kernels;

/* The sets that this processor can run, best first; plain C is the last. */
const sc_kernels *const *sc_kernels_list(size_t *count);

static inline const sc_kernels *sc_kernels_best(void)
{
    size_t count;
    return sc_kernels_list(&count)[0];
}

/* Rounding error of a float32 dot product of two unit vectors: at least four running sums are
 * kept, so no sum has more than stride / 4 terms, plus the last additions across them. */
static inline float sc_kernels_slack(size_t stride)
{
    return (float)(stride / 4 + 32) * 0x1p-24f;
}

static inline uint64_t sc_kernels_first_bits(size_t count)
{
    return count >= 64 ? UINT64_MAX : (UINT64_C(1) << count) - 1;
}

/* Sets that exist in this build; whether they run here is for sc_kernels_list() to say. */
extern const sc_kernels sc_kernels_plain;
extern const sc_kernels sc_kernels_avx2;
extern const sc_kernels sc_kernels_avx512bw;
extern const sc_kernels sc_kernels_avx512vnni;
extern const sc_kernels sc_kernels_neon;
extern const sc_kernels sc_kernels_neon_dotprod;
