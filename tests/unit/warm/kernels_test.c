#include <math.h>
#include <stdlib.h>

#include "src/warm/kernels/kernels.h"
#include "src/warm/matrix.h"
#include "tests/support/cmocka.h"
#include "tests/unit/warm/warm_support.h"

enum { ROWS = SC_BLOCK_ROWS };

/* Queries and a block of rows, in both forms. */
typedef struct {
    size_t   dim, stride, code_stride;
    float   *rows, *queries;
    int8_t  *row_codes, *query_codes;
    int32_t  sums[SC_BATCH_MAX];
    float    dots_f32[SC_BATCH_MAX * ROWS];
    int32_t  dots_i8[SC_BATCH_MAX * ROWS];
} block;

static void *lines(size_t bytes)
{
    void *memory = aligned_alloc(64, (bytes + 63) / 64 * 64);
    assert_non_null(memory);
    memset(memory, 0, (bytes + 63) / 64 * 64);
    return memory;
}

static int8_t any_code(sc_test_random *random, bool extreme)
{
    uint64_t n = sc_test_next(random);
    if (extreme)
        return n % 2 == 0 ? 127 : -127;
    return (int8_t)((int)(n % 255) - 127);
}

static block *block_make(size_t dim, bool extreme)
{
    sc_test_random random = {dim};
    block         *b = calloc(1, sizeof *b);
    assert_non_null(b);
    b->dim = dim;
    b->stride = (dim + SC_FLOATS_STEP - 1) / SC_FLOATS_STEP * SC_FLOATS_STEP;
    b->code_stride = (dim + SC_CODES_STEP - 1) / SC_CODES_STEP * SC_CODES_STEP;
    b->rows = lines(ROWS * b->stride * sizeof(float));
    b->queries = lines(SC_BATCH_MAX * b->stride * sizeof(float));
    b->row_codes = lines(ROWS * b->code_stride);
    b->query_codes = lines(SC_BATCH_MAX * b->code_stride);
    for (size_t r = 0; r < ROWS; r++) {
        sc_test_direction(&random, b->rows + r * b->stride, dim);
        for (size_t i = 0; i < dim; i++)
            b->row_codes[r * b->code_stride + i] = any_code(&random, extreme);
    }
    for (size_t q = 0; q < SC_BATCH_MAX; q++) {
        sc_test_direction(&random, b->queries + q * b->stride, dim);
        for (size_t i = 0; i < dim; i++) {
            int8_t code = any_code(&random, extreme);
            b->query_codes[q * b->code_stride + i] = code;
            b->sums[q] += code;
        }
    }
    return b;
}

static void block_free(block *b)
{
    free(b->rows);
    free(b->queries);
    free(b->row_codes);
    free(b->query_codes);
    free(b);
}

static sc_batch batch_of(const block *b, size_t count)
{
    return (sc_batch){count, b->stride, b->code_stride, b->queries, b->query_codes, b->sums};
}

/* All kernels of this machine, on blocks that end anywhere within a tile. */
static void for_each_shape(void (*check)(const sc_kernels *set, block *b, size_t queries,
                                         size_t rows))
{
    static const size_t dims[] = {1, 16, 17, 63, 64, 100, 384, 1000, 1536};
    static const size_t counts[] = {1, 2, 3, 4, 5, 7, 8, 16, 17, 31, 32};
    static const size_t rows[] = {1, 3, 4, 5, 15, 16, 17, 33, 63, 64};
    size_t              sets_count;
    const sc_kernels *const *sets = sc_kernels_list(&sets_count);
    for (size_t d = 0; d < sizeof dims / sizeof dims[0]; d++) {
        block *b = block_make(dims[d], d % 2 == 1);
        for (size_t s = 0; s < sets_count; s++)
            for (size_t q = 0; q < sizeof counts / sizeof counts[0]; q++)
                for (size_t r = 0; r < sizeof rows / sizeof rows[0]; r++)
                    if (dims[d] < 1000 || (q + r) % 3 == 0)
                        check(sets[s], b, counts[q], rows[r]);
        block_free(b);
    }
}

static int32_t dot_i8(const block *b, size_t q, size_t r)
{
    int32_t sum = 0;
    for (size_t i = 0; i < b->dim; i++)
        sum += b->query_codes[q * b->code_stride + i] * b->row_codes[r * b->code_stride + i];
    return sum;
}

static void check_i8(const sc_kernels *set, block *b, size_t queries, size_t rows)
{
    sc_batch batch = batch_of(b, queries);
    for (size_t i = 0; i < SC_BATCH_MAX * ROWS; i++)
        b->dots_i8[i] = 12345678;
    set->dots_i8(&batch, b->row_codes, rows, b->dots_i8);
    for (size_t q = 0; q < SC_BATCH_MAX; q++)
        for (size_t r = 0; r < ROWS; r++)
            if (b->dots_i8[q * ROWS + r] !=
                (q < queries && r < rows ? dot_i8(b, q, r) : 12345678))
                fail_msg("%s: dim %zu, query %zu of %zu, row %zu of %zu", set->name, b->dim, q,
                         queries, r, rows);
}

/* A saturated or forgotten product would hide an answer from the int8 pass. */
static void every_set_gives_the_exact_int8_product(void **state)
{
    (void)state;
    for_each_shape(check_i8);
}

static void check_f32(const sc_kernels *set, block *b, size_t queries, size_t rows)
{
    sc_batch batch = batch_of(b, queries);
    for (size_t i = 0; i < SC_BATCH_MAX * ROWS; i++)
        b->dots_f32[i] = 99;
    set->dots_f32(&batch, b->rows, rows, b->dots_f32);
    for (size_t q = 0; q < SC_BATCH_MAX; q++)
        for (size_t r = 0; r < ROWS; r++) {
            const float *query = b->queries + q * b->stride, *row = b->rows + r * b->stride;
            float        dot = b->dots_f32[q * ROWS + r];
            if (q >= queries || r >= rows)
                assert_true(dot == 99);
            else if (fabs(dot - sc_test_dot(query, row, b->dim)) > sc_kernels_slack(b->stride))
                fail_msg("%s: dim %zu query %zu row %zu: %.9g", set->name, b->dim, q, r, dot);
            /* Ranking again must give the figure of the float pass, or equal rows change places. */
            else if (dot != set->dot_f32(query, row, b->stride))
                fail_msg("%s: dim %zu query %zu row %zu: one by one differs", set->name, b->dim, q,
                         r);
        }
}

static void every_set_gives_the_float_product_within_its_slack(void **state)
{
    (void)state;
    for_each_shape(check_f32);
}

/* A row at the limit that is masked out would be a lost answer. */
static void masks_have_the_rows_that_reach_the_limit(void **state)
{
    (void)state;
    size_t                   sets_count;
    const sc_kernels *const *sets = sc_kernels_list(&sets_count);
    sc_test_random           random = {7};
    float                    dots[ROWS], scales[ROWS], errors[ROWS];
    int32_t                  codes[ROWS];
    for (size_t r = 0; r < ROWS; r++) {
        codes[r] = (int32_t)(sc_test_next(&random) % 2000000) - 1000000;
        dots[r] = (float)(r % 5) / 4;
        scales[r] = 0.5f;
        errors[r] = (float)(r % 7);
    }
    for (size_t s = 0; s < sets_count; s++)
        for (size_t count = 1; count <= ROWS; count++) {
            uint64_t f32 = sets[s]->above_f32(dots, count, 0.5f);
            uint64_t i8 = sets[s]->above_i8(codes, scales, errors, count, 0.25f, 1024, 4096);
            for (size_t r = 0; r < 64; r++) {
                bool above = 0.125f * (float)codes[r] + 1024 * errors[r] >= 4096;
                assert_int_equal(f32 >> r & 1, r < count && dots[r] >= 0.5f);
                assert_int_equal(i8 >> r & 1, r < count && above);
            }
            assert_int_equal(sets[s]->above_f32(dots, count, -INFINITY),
                             sc_kernels_first_bits(count));
            assert_int_equal(sets[s]->above_f32(dots, count, NAN), 0);
        }
}

/* The whole proof in prefilter.c rests on these two bounds. */
static void quantising_never_loses_more_than_it_says(void **state)
{
    (void)state;
    enum { DIM = 384 };
    sc_test_random random = {11};
    float          vector[DIM], scale, error, length;
    int8_t         codes[DIM];
    for (size_t n = 0; n < 2000; n++) {
        sc_test_direction(&random, vector, DIM);
        for (size_t i = 0; i < n % 40; i++) /* some with a few large components */
            vector[i] *= 20;
        sc_quantise(vector, DIM, codes, DIM, &scale, &error, &length);
        double lost = 0, kept = 0;
        for (size_t i = 0; i < DIM; i++) {
            double back = (double)scale * codes[i];
            lost += (vector[i] - back) * (vector[i] - back);
            kept += back * back;
            assert_in_range(codes[i] + 127, 0, 254);
        }
        assert_true(sqrt(lost) <= error && sqrt(lost) > 0.99 * error - 1e-6);
        assert_true(sqrt(kept) <= length);
    }
}

static void a_zero_vector_quantises_to_zeros(void **state)
{
    (void)state;
    float  vector[16] = {0}, scale, error, length;
    int8_t codes[64];
    sc_quantise(vector, 16, codes, 64, &scale, &error, &length);
    for (size_t i = 0; i < 64; i++)
        assert_int_equal(codes[i], 0);
    assert_true(scale == 0 && error < 1e-6f && length < 1e-6f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_set_gives_the_exact_int8_product),
        cmocka_unit_test(every_set_gives_the_float_product_within_its_slack),
        cmocka_unit_test(masks_have_the_rows_that_reach_the_limit),
        cmocka_unit_test(quantising_never_loses_more_than_it_says),
        cmocka_unit_test(a_zero_vector_quantises_to_zeros),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
