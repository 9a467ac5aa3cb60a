/* vectors.h - softmax, layer norm and GELU over vectors of LANES floats.
 *
 * Included once by each kernel's file, after it has defined LANES and TARGET (the function
 * attribute that switches its instructions on). Written with the compilers' vector extension, so
 * the same lines serve SSE, AVX2, AVX-512 and NEON, and one test covers them all. A product and a
 * sum become one fused instruction where there is one (-ffp-contract=fast). */
#include <stddef.h>
#include <stdint.h>

#define SC_INLINE TARGET static inline __attribute__((always_inline))

typedef float   vec __attribute__((vector_size(4 * LANES)));
typedef int32_t vec_int __attribute__((vector_size(4 * LANES)));
/* As it lies in memory: any alignment. */
typedef float vec_memory __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

SC_INLINE vec load(const float *from)
{
    return *(const vec_memory *)from;
}

SC_INLINE void store(float *to, vec value)
{
    *(vec_memory *)to = value;
}

SC_INLINE vec all(float value)
{
    return value - (vec){0};
}

SC_INLINE vec larger(vec a, vec b)
{
    vec_int mask = a > b;
    return (vec)(((vec_int)a & mask) | ((vec_int)b & ~mask));
}

SC_INLINE vec smaller(vec a, vec b)
{
    vec_int mask = a < b;
    return (vec)(((vec_int)a & mask) | ((vec_int)b & ~mask));
}

/* The halves of a vector change places, then the quarters, and so on: folded onto each other in
 * turn they leave the sum of all lanes in each. Lane by lane, or through memory, the softmax of a
 * dozen columns takes 1.4 times as long. */
#if LANES == 16
#define SC_SWAP_1(v) __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7)
#define SC_SWAP_2(v) __builtin_shufflevector(v, v, 4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11)
#define SC_SWAP_3(v) __builtin_shufflevector(v, v, 2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13)
#define SC_SWAP_4(v) __builtin_shufflevector(v, v, 1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14)
#elif LANES == 8
#define SC_SWAP_1(v) __builtin_shufflevector(v, v, 4, 5, 6, 7, 0, 1, 2, 3)
#define SC_SWAP_2(v) __builtin_shufflevector(v, v, 2, 3, 0, 1, 6, 7, 4, 5)
#define SC_SWAP_3(v) __builtin_shufflevector(v, v, 1, 0, 3, 2, 5, 4, 7, 6)
#elif LANES == 4
#define SC_SWAP_1(v) __builtin_shufflevector(v, v, 2, 3, 0, 1)
#define SC_SWAP_2(v) __builtin_shufflevector(v, v, 1, 0, 3, 2)
#endif

SC_INLINE float sum_of(vec v)
{
    v += SC_SWAP_1(v);
    v += SC_SWAP_2(v);
#if LANES >= 8
    v += SC_SWAP_3(v);
#endif
#if LANES >= 16
    v += SC_SWAP_4(v);
#endif
    return v[0];
}

SC_INLINE float largest_of(vec v)
{
    v = larger(v, SC_SWAP_1(v));
    v = larger(v, SC_SWAP_2(v));
#if LANES >= 8
    v = larger(v, SC_SWAP_3(v));
#endif
#if LANES >= 16
    v = larger(v, SC_SWAP_4(v));
#endif
    return v[0];
}

/* x / 2 * (1 + erf(x / sqrt 2)). erf(x / sqrt 2) is x * P(x^2) / Q(x^2) up to 5.3, where it is 1 to
 * the last bit; P and Q are a least-squares fit weighted by the error of the whole, and stay
 * within 2.6e-8 of it. Rounding included, the error is under 1.5e-6 for |x| <= 5 and grows with |x|. */
SC_INLINE vec gelu(vec x)
{
    vec c = larger(smaller(x, all(5.3f)), all(-5.3f));
    vec u = c * c;
    vec p = all(4.69107952e-08f);
    vec q = all(1.22417964e-06f);
    p = p * u + 1.28728016e-05f;
    q = q * u + 7.38915187e-05f;
    p = p * u + 0.000336316822f;
    q = q * u + 0.00188048068f;
    p = p * u + 0.00934969913f;
    q = q * u + 0.0285751075f;
    p = p * u + 0.0673934519f;
    q = q * u + 0.2511307f;
    p = p * u + 0.797884405f;
    q = q * u + 1.0f;
    vec half = x * 0.5f;
    return half + half * (c * p / q);
}

/* 2^x for x <= 0: the whole part goes into the exponent's bits, the rest through a polynomial of
 * relative error 7.5e-8. */
SC_INLINE vec exp2_negative(vec x)
{
    const float shifter = 12582912.0f; /* 1.5 * 2^23: adding it rounds to a whole number */
    x = larger(x, all(-126.0f));
    vec shifted = x + shifter;
    vec f = x - (shifted - shifter);
    vec p = all(0.00132764701f);
    p = p * f + 0.00967554096f;
    p = p * f + 0.0555071346f;
    p = p * f + 0.240221202f;
    p = p * f + 0.693146944f;
    p = p * f + 1.00000012f;
    /* Shifting unsigned: the sign bit may be shifted out. */
    typedef uint32_t vec_bits __attribute__((vector_size(4 * LANES)));
    return (vec)((vec_bits)p + ((vec_bits)shifted << 23));
}

TARGET static void softmax_row(float *row, size_t count)
{
    size_t padded = (count + 15) / 16 * 16;
    vec    top, sum = {0};
    for (size_t i = count; i < padded; i++)
        row[i] = -1e30f;
    top = load(row);
    for (size_t i = LANES; i < padded; i += LANES)
        top = larger(top, load(row + i));
    float most = largest_of(top);
    for (size_t i = 0; i < padded; i += LANES) {
        vec e = exp2_negative(load(row + i) - most);
        sum += e;
        store(row + i, e);
    }
    float scale = 1.0f / sum_of(sum);
    for (size_t i = 0; i < padded; i += LANES)
        store(row + i, load(row + i) * scale);
    for (size_t i = count; i < padded; i++)
        row[i] = 0.0f;
}

TARGET static void softmax(float *rows, size_t stride, size_t row_count, size_t count)
{
    for (size_t i = 0; i < row_count; i++)
        softmax_row(rows + i * stride, count);
}

TARGET static void layer_norm_row(float *row, size_t width, const float *gain, const float *shift)
{
    vec sum = {0}, squares = {0};
    for (size_t i = 0; i < width; i += LANES)
        sum += load(row + i);
    float mean = sum_of(sum) / (float)width;
    for (size_t i = 0; i < width; i += LANES) {
        vec d = load(row + i) - mean;
        squares += d * d;
    }
    float scale = 1.0f / __builtin_sqrtf(sum_of(squares) / (float)width + 1e-12f);
    for (size_t i = 0; i < width; i += LANES)
        store(row + i, (load(row + i) - mean) * scale * load(gain + i) + load(shift + i));
}

TARGET static void layer_norm(float *rows, size_t row_count, size_t width, const float *gain,
                              const float *shift)
{
    for (size_t i = 0; i < row_count; i++)
        layer_norm_row(rows + i * width, width, gain, shift);
}
