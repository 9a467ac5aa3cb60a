/* AVX2 and FMA.
 *
 * One query walks the rows one after the other, as they lie in memory: the processor's
 * own prefetching then runs at full speed, and chains of several rows overlap anyway.
 * More queries go in tiles of 4 rows x 2 queries: 6 loads for 8 multiplications, and
 * eight running sums are what two FMA units of latency 4 need. */
#include "src/warm/kernels/kernels.h"

#if defined(__x86_64__)

#include <immintrin.h>

#define AVX2 __attribute__((target("avx2,fma")))
#define AVX2_INLINE static inline __attribute__((always_inline, target("avx2,fma")))

enum { FLOATS = 8, CODES = 32, TILE_ROWS = 4, TILE_QUERIES = 2 };

AVX2_INLINE __m128 sum4_f32(__m256 a, __m256 b, __m256 c, __m256 d)
{
    __m256 sums = _mm256_hadd_ps(_mm256_hadd_ps(a, b), _mm256_hadd_ps(c, d));
    return _mm_add_ps(_mm256_castps256_ps128(sums), _mm256_extractf128_ps(sums, 1));
}

AVX2_INLINE __m128i sum4_i32(__m256i a, __m256i b, __m256i c, __m256i d)
{
    __m256i sums = _mm256_hadd_epi32(_mm256_hadd_epi32(a, b), _mm256_hadd_epi32(c, d));
    return _mm_add_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256(sums, 1));
}

AVX2_INLINE __m256 lanes_f32(const float *query, const float *row, size_t stride)
{
    __m256 sum = _mm256_setzero_ps();
    for (size_t i = 0; i < stride; i += FLOATS)
        sum = _mm256_fmadd_ps(_mm256_load_ps(query + i), _mm256_load_ps(row + i), sum);
    return sum;
}

AVX2 static float dot_f32(const float *query, const float *row, size_t stride)
{
    __m256 zero = _mm256_setzero_ps();
    return _mm_cvtss_f32(sum4_f32(lanes_f32(query, row, stride), zero, zero, zero));
}

AVX2 static void one_f32(const float *query, const float *rows, size_t rows_count, size_t stride,
                         float *dots)
{
    size_t r = 0;
    for (; r + 4 <= rows_count; r += 4) {
        const float *row = rows + r * stride;
        __m256       a = lanes_f32(query, row, stride);
        __m256       b = lanes_f32(query, row + stride, stride);
        __m256       c = lanes_f32(query, row + 2 * stride, stride);
        __m256       d = lanes_f32(query, row + 3 * stride, stride);
        _mm_storeu_ps(dots + r, sum4_f32(a, b, c, d));
    }
    for (; r < rows_count; r++)
        dots[r] = dot_f32(query, rows + r * stride, stride);
}

AVX2 static void tile_f32(const float *queries, const float *rows, size_t stride, float *dots)
{
    __m256 a0 = _mm256_setzero_ps(), b0 = a0, c0 = a0, d0 = a0;
    __m256 a1 = a0, b1 = a0, c1 = a0, d1 = a0;
    for (size_t i = 0; i < stride; i += FLOATS) {
        __m256 q0 = _mm256_load_ps(queries + i), q1 = _mm256_load_ps(queries + stride + i);
        __m256 row = _mm256_load_ps(rows + i);
        a0 = _mm256_fmadd_ps(q0, row, a0);
        a1 = _mm256_fmadd_ps(q1, row, a1);
        row = _mm256_load_ps(rows + stride + i);
        b0 = _mm256_fmadd_ps(q0, row, b0);
        b1 = _mm256_fmadd_ps(q1, row, b1);
        row = _mm256_load_ps(rows + 2 * stride + i);
        c0 = _mm256_fmadd_ps(q0, row, c0);
        c1 = _mm256_fmadd_ps(q1, row, c1);
        row = _mm256_load_ps(rows + 3 * stride + i);
        d0 = _mm256_fmadd_ps(q0, row, d0);
        d1 = _mm256_fmadd_ps(q1, row, d1);
    }
    _mm_storeu_ps(dots, sum4_f32(a0, b0, c0, d0));
    _mm_storeu_ps(dots + SC_BLOCK_ROWS, sum4_f32(a1, b1, c1, d1));
}

AVX2 static void dots_f32(const sc_batch *batch, const float *rows, size_t rows_count, float *dots)
{
    size_t stride = batch->stride, tiled = rows_count - rows_count % TILE_ROWS, q = 0;
    for (; q + TILE_QUERIES <= batch->count; q += TILE_QUERIES) {
        const float *queries = batch->vectors + q * stride;
        float       *out = dots + q * SC_BLOCK_ROWS;
        for (size_t r = 0; r < tiled; r += TILE_ROWS)
            tile_f32(queries, rows + r * stride, stride, out + r);
        for (size_t i = 0; i < TILE_QUERIES; i++)
            one_f32(queries + i * stride, rows + tiled * stride, rows_count - tiled, stride,
                    out + i * SC_BLOCK_ROWS + tiled);
    }
    for (; q < batch->count; q++)
        one_f32(batch->vectors + q * stride, rows, rows_count, stride, dots + q * SC_BLOCK_ROWS);
}

/* maddubs wants one unsigned side and saturates pairs at 32767: |row| x (query with the row's
 * sign) keeps the product, and two of at most 127 * 127 fit. That is why -128 is no code. */
AVX2_INLINE __m256i step_i8(__m256i sum, __m256i query, __m256i row, __m256i row_abs)
{
    __m256i pairs = _mm256_maddubs_epi16(row_abs, _mm256_sign_epi8(query, row));
    return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}

AVX2_INLINE __m256i load_i8(const int8_t *codes)
{
    return _mm256_load_si256((const __m256i *)(const void *)codes);
}

AVX2_INLINE __m256i lanes_i8(const int8_t *query, const int8_t *codes, size_t stride)
{
    __m256i sum = _mm256_setzero_si256();
    for (size_t i = 0; i < stride; i += CODES) {
        __m256i row = load_i8(codes + i);
        sum = step_i8(sum, load_i8(query + i), row, _mm256_abs_epi8(row));
    }
    return sum;
}

AVX2 static void one_i8(const int8_t *query, const int8_t *rows, size_t rows_count, size_t stride,
                        int32_t *dots)
{
    size_t r = 0;
    for (; r + 4 <= rows_count; r += 4) {
        const int8_t *row = rows + r * stride;
        __m256i       a = lanes_i8(query, row, stride);
        __m256i       b = lanes_i8(query, row + stride, stride);
        __m256i       c = lanes_i8(query, row + 2 * stride, stride);
        __m256i       d = lanes_i8(query, row + 3 * stride, stride);
        _mm_storeu_si128((__m128i *)(void *)(dots + r), sum4_i32(a, b, c, d));
    }
    __m256i zero = _mm256_setzero_si256();
    for (; r < rows_count; r++)
        dots[r] = _mm_cvtsi128_si32(
            sum4_i32(lanes_i8(query, rows + r * stride, stride), zero, zero, zero));
}

AVX2 static void tile_i8(const int8_t *queries, const int8_t *rows, size_t stride, int32_t *dots)
{
    __m256i a0 = _mm256_setzero_si256(), b0 = a0, c0 = a0, d0 = a0;
    __m256i a1 = a0, b1 = a0, c1 = a0, d1 = a0;
    for (size_t i = 0; i < stride; i += CODES) {
        __m256i q0 = load_i8(queries + i), q1 = load_i8(queries + stride + i);
        __m256i row = load_i8(rows + i), row_abs = _mm256_abs_epi8(row);
        a0 = step_i8(a0, q0, row, row_abs);
        a1 = step_i8(a1, q1, row, row_abs);
        row = load_i8(rows + stride + i), row_abs = _mm256_abs_epi8(row);
        b0 = step_i8(b0, q0, row, row_abs);
        b1 = step_i8(b1, q1, row, row_abs);
        row = load_i8(rows + 2 * stride + i), row_abs = _mm256_abs_epi8(row);
        c0 = step_i8(c0, q0, row, row_abs);
        c1 = step_i8(c1, q1, row, row_abs);
        row = load_i8(rows + 3 * stride + i), row_abs = _mm256_abs_epi8(row);
        d0 = step_i8(d0, q0, row, row_abs);
        d1 = step_i8(d1, q1, row, row_abs);
    }
    _mm_storeu_si128((__m128i *)(void *)dots, sum4_i32(a0, b0, c0, d0));
    _mm_storeu_si128((__m128i *)(void *)(dots + SC_BLOCK_ROWS), sum4_i32(a1, b1, c1, d1));
}

AVX2 static void dots_i8(const sc_batch *batch, const int8_t *rows, size_t rows_count,
                         int32_t *dots)
{
    size_t stride = batch->code_stride, tiled = rows_count - rows_count % TILE_ROWS, q = 0;
    for (; q + TILE_QUERIES <= batch->count; q += TILE_QUERIES) {
        const int8_t *queries = batch->codes + q * stride;
        int32_t      *out = dots + q * SC_BLOCK_ROWS;
        for (size_t r = 0; r < tiled; r += TILE_ROWS)
            tile_i8(queries, rows + r * stride, stride, out + r);
        for (size_t i = 0; i < TILE_QUERIES; i++)
            one_i8(queries + i * stride, rows + tiled * stride, rows_count - tiled, stride,
                   out + i * SC_BLOCK_ROWS + tiled);
    }
    for (; q < batch->count; q++)
        one_i8(batch->codes + q * stride, rows, rows_count, stride, dots + q * SC_BLOCK_ROWS);
}

AVX2_INLINE uint64_t bits_at(__m256 above, size_t r)
{
    return (uint64_t)(unsigned)_mm256_movemask_ps(above) << r;
}

AVX2 static uint64_t above_f32(const float *dots, size_t count, float limit)
{
    __m256   limits = _mm256_set1_ps(limit);
    uint64_t mask = 0;
    for (size_t r = 0; r < count; r += FLOATS)
        mask |= bits_at(_mm256_cmp_ps(_mm256_loadu_ps(dots + r), limits, _CMP_GE_OQ), r);
    return mask & sc_kernels_first_bits(count);
}

AVX2 static uint64_t above_i8(const int32_t *dots, const float *scales, const float *errors,
                              size_t count, float scale, float norm, float limit)
{
    __m256 limits = _mm256_set1_ps(limit), norms = _mm256_set1_ps(norm);
    __m256   query_scale = _mm256_set1_ps(scale);
    uint64_t mask = 0;
    for (size_t r = 0; r < count; r += FLOATS) {
        __m256i codes = _mm256_loadu_si256((const __m256i *)(const void *)(dots + r));
        __m256  dot = _mm256_mul_ps(_mm256_mul_ps(query_scale, _mm256_loadu_ps(scales + r)),
                                    _mm256_cvtepi32_ps(codes));
        __m256  most = _mm256_fmadd_ps(norms, _mm256_loadu_ps(errors + r), dot);
        mask |= bits_at(_mm256_cmp_ps(most, limits, _CMP_GE_OQ), r);
    }
    return mask & sc_kernels_first_bits(count);
}

const sc_kernels sc_kernels_avx2 = {
    .name = "avx2",
    .dots_f32 = dots_f32,
    .dots_i8 = dots_i8,
    .dot_f32 = dot_f32,
    .above_f32 = above_f32,
    .above_i8 = above_i8,
};

#else
typedef int sc_avx2_has_no_use_here;
#endif
