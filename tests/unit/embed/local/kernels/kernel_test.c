/* Every kernel of this machine against plain loops in double precision, at sizes that leave
 * remainders everywhere. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cblas.h>
#include <cmocka.h>

#include "src/embed/local/half.h"
#include "src/embed/local/kernels/kernel.h"

enum { ROWS_MAX = 27, DEPTH_MAX = 70, COLUMNS_MAX = 70, STRIDE = 112, GUARD_ROWS = 1 };

static uint32_t dice = 1;

static float roll(void)
{
    dice = dice * 1664525 + 1013904223;
    return (float)(dice >> 8) / (float)(1 << 23) - 1.0f;
}

static double gelu(double x)
{
    return x / 2 * (1 + erf(x / sqrt(2)));
}

typedef struct {
    float  a[ROWS_MAX * STRIDE];
    float  b[DEPTH_MAX * COLUMNS_MAX]; /* [depth, columns] */
    float  bias[STRIDE];
    float  before[(ROWS_MAX + GUARD_ROWS) * STRIDE];
    float  c[(ROWS_MAX + GUARD_ROWS) * STRIDE];
    void  *panels;
    size_t rows, depth, columns;
    bool   biased, halves;
} sample;

static sample *new_sample(size_t rows, size_t depth, size_t columns)
{
    sample *s = calloc(1, sizeof *s);
    assert_non_null(s);
    s->rows = rows;
    s->depth = depth;
    s->columns = columns;
    for (size_t i = 0; i < ROWS_MAX * STRIDE; i++)
        s->a[i] = roll();
    for (size_t i = 0; i < DEPTH_MAX * COLUMNS_MAX; i++)
        s->b[i] = sc_half_float(sc_half_of(roll())); /* so that halves are the same numbers */
    for (size_t i = 0; i < STRIDE; i++)
        s->bias[i] = i < columns ? roll() : 0.0f;
    for (size_t i = 0; i < (ROWS_MAX + GUARD_ROWS) * STRIDE; i++)
        s->before[i] = roll();
    memcpy(s->c, s->before, sizeof s->c);
    return s;
}

static void pack(const sc_kernel *kernel, sample *s)
{
    size_t count = sc_kernel_packed_count(kernel, s->depth, s->columns);
    float *floats = malloc(count * sizeof *floats);
    assert_non_null(floats);
    sc_kernel_pack(kernel, s->b, s->columns, 1, s->depth, s->columns, floats);
    s->panels = floats;
    if (!s->halves)
        return;
    uint16_t *halves = malloc(count * sizeof *halves);
    assert_non_null(halves);
    for (size_t i = 0; i < count; i++)
        halves[i] = sc_half_of(floats[i]);
    s->panels = halves;
    free(floats);
}

static double expected(const sample *s, size_t i, size_t j, sc_product_mode mode)
{
    double sum = s->biased ? (double)s->bias[j] : 0;
    for (size_t k = 0; k < s->depth; k++)
        sum += (double)s->a[i * STRIDE + k] * (double)s->b[k * s->columns + j];
    if (mode == SC_PRODUCT_ADD)
        sum += (double)s->before[i * STRIDE + j];
    return mode == SC_PRODUCT_GELU ? gelu(sum) : sum;
}

static void check_product(const sc_kernel *kernel, sample *s, sc_product_mode mode)
{
    pack(kernel, s);
    sc_product product = {.a = s->a,
                          .a_stride = STRIDE,
                          .rows = s->rows,
                          .depth = s->depth,
                          .columns = s->columns,
                          .panels = s->panels,
                          .halves = s->halves,
                          .bias = s->biased ? s->bias : NULL,
                          .c = s->c,
                          .c_stride = STRIDE,
                          .mode = mode};
    kernel->multiply(&product);
    for (size_t i = 0; i < s->rows; i++)
        for (size_t j = 0; j < s->columns; j++)
            assert_true(fabs((double)s->c[i * STRIDE + j] - expected(s, i, j, mode)) < 2e-5);
    /* The row after the last belongs to another text. */
    assert_memory_equal(s->c + s->rows * STRIDE, s->before + s->rows * STRIDE,
                        STRIDE * sizeof(float));
    free(s->panels);
    free(s);
}

static void check_size(const sc_kernel *kernel, size_t rows, size_t depth, size_t columns)
{
    for (int mode = SC_PRODUCT_SET; mode <= SC_PRODUCT_GELU; mode++)
        for (int halves = 0; halves <= (kernel->reads_halves ? 1 : 0); halves++) {
            sample *s = new_sample(rows, depth, columns);
            s->halves = halves == 1;
            s->biased = rows % 2 == 1;
            check_product(kernel, s, (sc_product_mode)mode);
        }
}

/* One wrong remainder, and texts of certain lengths would get a wrong vector. */
static void products_of_any_size_match_plain_loops(void **state)
{
    (void)state;
    for (size_t i = 0; i < sc_kernels_count; i++) {
        if (!sc_kernels[i]->available())
            continue;
        for (size_t rows = 1; rows <= ROWS_MAX; rows++)
            check_size(sc_kernels[i], rows, 1 + rows * 2, 32);
        for (size_t columns = 1; columns <= COLUMNS_MAX; columns++)
            check_size(sc_kernels[i], 1 + columns % 13, 5, columns);
    }
}

/* Attention takes its values as they lie, and its keys turned: with a wrong one of them a text's
 * vector would depend on its neighbours'. */
static void check_plain(const sc_kernel *kernel, size_t rows, size_t depth)
{
    enum { COLUMNS = 64 };
    sample *s = new_sample(rows, depth, COLUMNS);
    float   turned[COLUMNS * DEPTH_MAX];
    for (size_t k = 0; k < depth; k++)
        memcpy(turned + k * COLUMNS, s->b + k * COLUMNS, COLUMNS * sizeof *turned);
    sc_product product = {.a = s->a,
                          .a_stride = STRIDE,
                          .rows = rows,
                          .depth = depth,
                          .columns = COLUMNS,
                          .panels = turned,
                          .plain_stride = COLUMNS,
                          .c = s->c,
                          .c_stride = STRIDE};
    kernel->multiply(&product);
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < COLUMNS; j++)
            assert_true(fabs((double)s->c[i * STRIDE + j] - expected(s, i, j, SC_PRODUCT_SET)) <
                        2e-5);
    free(s);
}

static void products_take_the_right_side_as_it_lies_in_memory(void **state)
{
    (void)state;
    for (size_t i = 0; i < sc_kernels_count; i++)
        for (size_t rows = 1; sc_kernels[i]->available() && rows <= ROWS_MAX; rows++)
            check_plain(sc_kernels[i], rows, 1 + rows * 2);
}

/* Against the packing that weights go through. */
static void check_turned(const sc_kernel *kernel, size_t columns)
{
    enum { DEPTH = 32, WIDEST = 32 };
    float  from[COLUMNS_MAX * STRIDE];
    float  turned[DEPTH * (COLUMNS_MAX + WIDEST)] = {0}, packed[DEPTH * (COLUMNS_MAX + WIDEST)];
    size_t count = sc_kernel_packed_count(kernel, DEPTH, columns);
    for (size_t i = 0; i < COLUMNS_MAX * STRIDE; i++)
        from[i] = roll();
    sc_kernel_pack(kernel, from, 1, STRIDE, DEPTH, columns, packed);
    kernel->turn(from, STRIDE, DEPTH, columns, turned);
    assert_memory_equal(turned, packed, count * sizeof *turned);
}

static void turned_rows_are_what_packing_makes_of_them(void **state)
{
    (void)state;
    for (size_t i = 0; i < sc_kernels_count; i++)
        for (size_t columns = 1; sc_kernels[i]->available() && columns <= COLUMNS_MAX; columns++)
            check_turned(sc_kernels[i], columns);
}

/* Attention over a text would leak into, or miss, some of its tokens. */
static void softmax_of_any_length_matches_plain_loops(void **state)
{
    (void)state;
    for (size_t i = 0; i < sc_kernels_count; i++)
        for (size_t count = 1; sc_kernels[i]->available() && count <= 100; count++) {
            float  rows[2 * STRIDE], before[2 * STRIDE];
            double sum = 0, top = -1e9;
            for (size_t j = 0; j < 2 * STRIDE; j++)
                before[j] = rows[j] = 60 * roll();
            sc_kernels[i]->softmax(rows, STRIDE, 2, count);
            for (size_t j = 0; j < count; j++)
                top = fmax(top, (double)before[STRIDE + j]);
            for (size_t j = 0; j < count; j++)
                sum += exp2((double)before[STRIDE + j] - top);
            for (size_t j = 0; j < count; j++)
                assert_true(fabs((double)rows[STRIDE + j] -
                                 exp2((double)before[STRIDE + j] - top) / sum) < 1e-6);
        }
}

static void check_norm(const sc_kernel *kernel, float scale, float offset)
{
    enum { WIDTH = 48 };
    float  rows[2 * WIDTH], before[2 * WIDTH], gain[WIDTH], shift[WIDTH];
    double mean = 0, variance = 0;
    for (size_t j = 0; j < 2 * WIDTH; j++)
        before[j] = rows[j] = scale * roll() + offset;
    for (size_t j = 0; j < WIDTH; j++) {
        gain[j] = roll();
        shift[j] = roll();
        mean += (double)before[WIDTH + j] / WIDTH;
    }
    for (size_t j = 0; j < WIDTH; j++)
        variance += pow((double)before[WIDTH + j] - mean, 2) / WIDTH;
    kernel->layer_norm(rows, 2, WIDTH, gain, shift);
    for (size_t j = 0; j < WIDTH; j++) {
        double value = ((double)before[WIDTH + j] - mean) / sqrt(variance + 1e-12);
        assert_true(fabs((double)rows[WIDTH + j] -
                         (value * (double)gain[j] + (double)shift[j])) < 1e-4);
    }
}

static void layer_norm_matches_plain_loops_also_far_from_zero(void **state)
{
    (void)state;
    for (size_t i = 0; i < sc_kernels_count; i++)
        if (sc_kernels[i]->available()) {
            check_norm(sc_kernels[i], 1, 0);
            check_norm(sc_kernels[i], 5, 40); /* one-pass variance would lose its digits here */
        }
}

/* The stated error of the polynomial, over all that can come, through the product that uses it. */
static void gelu_is_within_its_stated_error(void **state)
{
    (void)state;
    enum { COUNT = 32 };
    static const float one = 1.0f;
    for (size_t i = 0; i < sc_kernels_count; i++)
        for (int from = -1200; sc_kernels[i]->available() && from < 1200; from += COUNT) {
            float b[COUNT], panels[64], c[64];
            for (int j = 0; j < COUNT; j++)
                b[j] = (float)(from + j) / 100.0f;
            sc_kernel_pack(sc_kernels[i], b, COUNT, 1, 1, COUNT, panels);
            sc_product product = {.a = &one,
                                  .a_stride = 1,
                                  .rows = 1,
                                  .depth = 1,
                                  .columns = COUNT,
                                  .panels = panels,
                                  .c = c,
                                  .c_stride = COUNT,
                                  .mode = SC_PRODUCT_GELU};
            sc_kernels[i]->multiply(&product);
            for (int j = 0; j < COUNT; j++)
                assert_true(fabs((double)c[j] - gelu((double)b[j])) <
                            1.5e-6 * fmax(1, fabs((double)b[j]) / 5));
        }
}

static void a_kernel_is_found_by_its_name(void **state)
{
    (void)state;
    assert_ptr_equal(sc_kernel_named(sc_kernel_best()->name), sc_kernel_best());
    assert_non_null(sc_kernel_named("openblas"));
    assert_null(sc_kernel_named("abacus"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products_of_any_size_match_plain_loops),
        cmocka_unit_test(products_take_the_right_side_as_it_lies_in_memory),
        cmocka_unit_test(turned_rows_are_what_packing_makes_of_them),
        cmocka_unit_test(softmax_of_any_length_matches_plain_loops),
        cmocka_unit_test(layer_norm_matches_plain_loops_also_far_from_zero),
        cmocka_unit_test(gelu_is_within_its_stated_error),
        cmocka_unit_test(a_kernel_is_found_by_its_name),
    };
    openblas_set_num_threads(1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
