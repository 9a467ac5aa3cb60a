/* AVX-512: one file for processors with VNNI (a byte product and sum in one instruction)
 * and for those with BW only. Thirty-two registers hold a tile of 4 rows x 4 queries:
 * 8 loads for 16 multiplications. A single query walks the rows one after the other, as they
 * lie in memory, and one tree of 15 additions then reduces sixteen sums at once. (Four rows
 * side by side share the query's loads: a fifth faster in the cache, but half as fast from
 * memory, 44 instead of 19 ns per row at 100 000 x 384.) */
#include "src/warm/kernels/kernels.h"

#if defined(__x86_64__)

#include <immintrin.h>

#define BW __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq")))
#define BW_INLINE                                                                                  \
    static inline __attribute__((always_inline, target("avx512f,avx512bw,avx512vl,avx512dq")))

enum { FLOATS = 16, CODES = 64, TILE_ROWS = 4, TILE_QUERIES = 4, LINE_ROWS = 16 };

/* The sum of each of sixteen vectors, in their order. */
BW_INLINE __m512i sum16_i32(const __m512i v[16])
{
    __m512i pairs[8], fours[4];
    for (size_t i = 0; i < 8; i++)
        pairs[i] = _mm512_add_epi32(_mm512_unpacklo_epi32(v[2 * i], v[2 * i + 1]),
                                    _mm512_unpackhi_epi32(v[2 * i], v[2 * i + 1]));
    for (size_t i = 0; i < 4; i++)
        fours[i] = _mm512_add_epi32(_mm512_unpacklo_epi64(pairs[2 * i], pairs[2 * i + 1]),
                                    _mm512_unpackhi_epi64(pairs[2 * i], pairs[2 * i + 1]));
    __m512i low = _mm512_add_epi32(_mm512_shuffle_i32x4(fours[0], fours[1], 0x88),
                                   _mm512_shuffle_i32x4(fours[0], fours[1], 0xdd));
    __m512i high = _mm512_add_epi32(_mm512_shuffle_i32x4(fours[2], fours[3], 0x88),
                                    _mm512_shuffle_i32x4(fours[2], fours[3], 0xdd));
    return _mm512_add_epi32(_mm512_shuffle_i32x4(low, high, 0x88),
                            _mm512_shuffle_i32x4(low, high, 0xdd));
}

BW_INLINE __m512 unpack_pd(__m512 a, __m512 b)
{
    __m512d x = _mm512_castps_pd(a), y = _mm512_castps_pd(b);
    return _mm512_add_ps(_mm512_castpd_ps(_mm512_unpacklo_pd(x, y)),
                         _mm512_castpd_ps(_mm512_unpackhi_pd(x, y)));
}

BW_INLINE __m512 sum16_f32(const __m512 v[16])
{
    __m512 pairs[8], fours[4];
    for (size_t i = 0; i < 8; i++)
        pairs[i] = _mm512_add_ps(_mm512_unpacklo_ps(v[2 * i], v[2 * i + 1]),
                                 _mm512_unpackhi_ps(v[2 * i], v[2 * i + 1]));
    for (size_t i = 0; i < 4; i++)
        fours[i] = unpack_pd(pairs[2 * i], pairs[2 * i + 1]);
    __m512 low = _mm512_add_ps(_mm512_shuffle_f32x4(fours[0], fours[1], 0x88),
                               _mm512_shuffle_f32x4(fours[0], fours[1], 0xdd));
    __m512 high = _mm512_add_ps(_mm512_shuffle_f32x4(fours[2], fours[3], 0x88),
                                _mm512_shuffle_f32x4(fours[2], fours[3], 0xdd));
    return _mm512_add_ps(_mm512_shuffle_f32x4(low, high, 0x88),
                         _mm512_shuffle_f32x4(low, high, 0xdd));
}

BW_INLINE __m512 lanes_f32(const float *query, const float *row, size_t stride)
{
    __m512 sum = _mm512_setzero_ps();
    for (size_t i = 0; i < stride; i += FLOATS)
        sum = _mm512_fmadd_ps(_mm512_load_ps(query + i), _mm512_load_ps(row + i), sum);
    return sum;
}

/* Reduced by the same tree as sixteen at once: the same result to the last bit. */
BW static float dot_f32(const float *query, const float *row, size_t stride)
{
    __m512 lanes[16] = {lanes_f32(query, row, stride)};
    return _mm512_cvtss_f32(sum16_f32(lanes));
}

BW static void one_f32(const float *query, const float *rows, size_t rows_count, size_t stride,
                       float *dots)
{
    size_t r = 0;
    for (; r + LINE_ROWS <= rows_count; r += LINE_ROWS) {
        __m512 lanes[LINE_ROWS];
        for (size_t i = 0; i < LINE_ROWS; i++)
            lanes[i] = lanes_f32(query, rows + (r + i) * stride, stride);
        _mm512_storeu_ps(dots + r, sum16_f32(lanes));
    }
    for (; r < rows_count; r++)
        dots[r] = dot_f32(query, rows + r * stride, stride);
}

BW_INLINE __m512i load_i8(const int8_t *codes)
{
    return _mm512_load_si512(codes);
}

/* Names one variable per pair of row r and query q; arrays would live in memory. */
#define EACH_ROW(X, q) X(0, q) X(1, q) X(2, q) X(3, q)
#define EACH_PAIR(X) EACH_ROW(X, 0) EACH_ROW(X, 1) EACH_ROW(X, 2) EACH_ROW(X, 3)
#define NAME_OF(r, q) sum##q##r,

BW static void tile_f32(const float *queries, const float *rows, size_t stride, float *dots)
{
#define ZERO(r, q) __m512 sum##q##r = _mm512_setzero_ps();
#define STEP(r, q) sum##q##r = _mm512_fmadd_ps(query##q, row##r, sum##q##r);
    EACH_PAIR(ZERO)
    for (size_t i = 0; i < stride; i += FLOATS) {
        __m512 row0 = _mm512_load_ps(rows + i), row1 = _mm512_load_ps(rows + stride + i);
        __m512 row2 = _mm512_load_ps(rows + 2 * stride + i);
        __m512 row3 = _mm512_load_ps(rows + 3 * stride + i);
        __m512 query0 = _mm512_load_ps(queries + i);
        __m512 query1 = _mm512_load_ps(queries + stride + i);
        __m512 query2 = _mm512_load_ps(queries + 2 * stride + i);
        __m512 query3 = _mm512_load_ps(queries + 3 * stride + i);
        EACH_PAIR(STEP)
    }
    const __m512 lanes[16] = {EACH_PAIR(NAME_OF)};
    __m512       sums = sum16_f32(lanes);
    _mm_storeu_ps(dots, _mm512_extractf32x4_ps(sums, 0));
    _mm_storeu_ps(dots + SC_BLOCK_ROWS, _mm512_extractf32x4_ps(sums, 1));
    _mm_storeu_ps(dots + 2 * SC_BLOCK_ROWS, _mm512_extractf32x4_ps(sums, 2));
    _mm_storeu_ps(dots + 3 * SC_BLOCK_ROWS, _mm512_extractf32x4_ps(sums, 3));
#undef ZERO
#undef STEP
}

BW static void dots_f32(const sc_batch *batch, const float *rows, size_t rows_count, float *dots)
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

BW static uint64_t above_f32(const float *dots, size_t count, float limit)
{
    __m512   limits = _mm512_set1_ps(limit);
    uint64_t mask = 0;
    for (size_t r = 0; r < count; r += FLOATS)
        mask |= (uint64_t)_mm512_cmp_ps_mask(_mm512_loadu_ps(dots + r), limits, _CMP_GE_OQ) << r;
    return mask & sc_kernels_first_bits(count);
}

BW static uint64_t above_i8(const int32_t *dots, const float *scales, const float *errors,
                            size_t count, float scale, float norm, float limit)
{
    __m512   limits = _mm512_set1_ps(limit), norms = _mm512_set1_ps(norm);
    __m512   query_scale = _mm512_set1_ps(scale);
    uint64_t mask = 0;
    for (size_t r = 0; r < count; r += FLOATS) {
        __m512 dot = _mm512_cvtepi32_ps(_mm512_loadu_si512(dots + r));
        dot = _mm512_mul_ps(dot, _mm512_mul_ps(query_scale, _mm512_loadu_ps(scales + r)));
        __m512 most = _mm512_fmadd_ps(norms, _mm512_loadu_ps(errors + r), dot);
        mask |= (uint64_t)_mm512_cmp_ps_mask(most, limits, _CMP_GE_OQ) << r;
    }
    return mask & sc_kernels_first_bits(count);
}

/* The int8 half, once for each kind of processor. dpbusd wants one unsigned side: rows get
 * 128 added on their way (one xor for all queries of a tile), and 128 times the query's sum
 * is taken off at the end. Without VNNI the signs move to the query, as in avx2.c. */
#define I8_NAME(name) vnni_##name
#define I8_TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")))
#define I8_BIAS 128
#define I8_LOAD_ROW(codes) _mm512_xor_si512(load_i8(codes), _mm512_set1_epi8((char)0x80))
#define I8_STEP(sum, query, row) _mm512_dpbusd_epi32(sum, row, query)
#include "src/warm/kernels/avx512_i8.inc"
#undef I8_NAME
#undef I8_TARGET
#undef I8_BIAS
#undef I8_LOAD_ROW
#undef I8_STEP

BW_INLINE __m512i step_i8(__m512i sum, __m512i query, __m512i row)
{
    __m512i turned = _mm512_mask_sub_epi8(query, _mm512_movepi8_mask(row), _mm512_setzero_si512(),
                                          query);
    __m512i pairs = _mm512_maddubs_epi16(_mm512_abs_epi8(row), turned);
    return _mm512_add_epi32(sum, _mm512_madd_epi16(pairs, _mm512_set1_epi16(1)));
}

#define I8_NAME(name) bw_##name
#define I8_TARGET BW
#define I8_BIAS 0
#define I8_LOAD_ROW(codes) load_i8(codes)
#define I8_STEP(sum, query, row) step_i8(sum, query, row)
#include "src/warm/kernels/avx512_i8.inc"

const sc_kernels sc_kernels_avx512vnni = {
    .name = "avx512vnni",
    .dots_f32 = dots_f32,
    .dots_i8 = vnni_dots_i8,
    .dot_f32 = dot_f32,
    .above_f32 = above_f32,
    .above_i8 = above_i8,
};

const sc_kernels sc_kernels_avx512bw = {
    .name = "avx512bw",
    .dots_f32 = dots_f32,
    .dots_i8 = bw_dots_i8,
    .dot_f32 = dot_f32,
    .above_f32 = above_f32,
    .above_i8 = above_i8,
};

#else
typedef int sc_avx512_has_no_use_here;
#endif
