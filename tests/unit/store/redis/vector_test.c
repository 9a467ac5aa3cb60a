/* Vectors on their way to Redis and back. An error here moves every distance. */
#include <math.h>

#include "src/base/random.h"
#include "src/store/redis/vector.h"
#include "tests/support/cmocka.h"

enum { DIM = 384 };

static void every_half_survives_the_way_to_float_and_back(void **state)
{
    (void)state;
    for (uint32_t half = 0; half < 0x10000; half++) {
        float value = sc_half_to_float((uint16_t)half);
        if (isnan(value))
            assert_true((half & 0x7c00) == 0x7c00 && (half & 0x3ff) != 0);
        else
            assert_int_equal(sc_half_from_float(value), half);
    }
}

static void known_values_convert(void **state)
{
    static const struct {
        float    value;
        uint16_t half;
    } known[] = {{0.0f, 0x0000},
                 {-0.0f, 0x8000},
                 {1.0f, 0x3c00},
                 {-2.0f, 0xc000},
                 {65504.0f, 0x7bff},
                 {65520.0f, 0x7c00},
                 {1e30f, 0x7c00},
                 {0x1p-24f, 0x0001},
                 {0x1p-25f, 0x0000},
                 {0x1.8p-25f, 0x0001},
                 {0x1p-14f, 0x0400},
                 {1.0009765625f, 0x3c01},
                 {1.00048828125f, 0x3c00} /* a tie goes to even */,
                 {1.00146484375f, 0x3c02}};
    (void)state;
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        assert_int_equal(sc_half_from_float(known[i].value), known[i].half);
    assert_true(isinf(sc_half_to_float(0x7c00)));
    assert_true(sc_half_to_float(0x0001) == 0x1p-24f);
}

static void make_unit(float *out)
{
    double sum = 0;
    for (int i = 0; i < DIM; i++) {
        out[i] = (float)sc_random_between(-1000, 1000) / 1000;
        sum += (double)out[i] * (double)out[i];
    }
    for (int i = 0; i < DIM; i++)
        out[i] = (float)(out[i] / sqrt(sum));
}

/* The promise that the settings table makes for float16. */
static void float16_moves_a_distance_by_less_than_5e_5(void **state)
{
    float vector[DIM], other[DIM], back[DIM];
    char  stored[DIM * 4];
    (void)state;

    for (int round = 0; round < 200; round++) {
        double dot = 0, dot_back = 0, length = 0;
        make_unit(vector);
        make_unit(other);
        sc_vector_encode(vector, DIM, true, stored);
        assert_true(
            sc_vector_decode((sc_str){stored, sc_vector_bytes(DIM, true)}, DIM, true, back));
        for (int i = 0; i < DIM; i++) {
            dot += (double)vector[i] * (double)other[i];
            dot_back += (double)back[i] * (double)other[i];
            length += (double)back[i] * (double)back[i];
        }
        assert_true(fabs(dot - dot_back) < 5e-5);
        assert_true(fabs(length - 1) < 1e-6);
    }
}

static void float32_comes_back_as_it_was(void **state)
{
    float vector[DIM], back[DIM];
    char  stored[DIM * 4];
    (void)state;

    make_unit(vector);
    sc_vector_encode(vector, DIM, false, stored);
    assert_true(sc_vector_decode((sc_str){stored, sizeof stored}, DIM, false, back));
    for (int i = 0; i < DIM; i++)
        assert_true(fabsf(vector[i] - back[i]) < 1e-6f);
}

static void what_is_no_vector_is_refused(void **state)
{
    float vector[DIM] = {0}, back[DIM];
    char  stored[DIM * 4] = {0};
    (void)state;

    assert_false(sc_vector_decode((sc_str){stored, DIM * 4}, DIM, false, back));
    assert_false(sc_vector_decode((sc_str){stored, DIM * 2}, DIM, false, back));
    assert_false(sc_vector_decode((sc_str){stored, DIM * 4 - 1}, DIM, false, back));
    assert_false(sc_vector_decode((sc_str){NULL, 0}, DIM, true, back));
    vector[3] = NAN;
    sc_vector_encode(vector, DIM, false, stored);
    assert_false(sc_vector_decode((sc_str){stored, DIM * 4}, DIM, false, back));
    vector[3] = INFINITY;
    sc_vector_encode(vector, DIM, true, stored);
    assert_false(sc_vector_decode((sc_str){stored, DIM * 2}, DIM, true, back));
    assert_false(sc_vector_is_unit(vector, DIM));
    make_unit(vector);
    assert_true(sc_vector_is_unit(vector, DIM));
    vector[0] += 1;
    assert_false(sc_vector_is_unit(vector, DIM));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_half_survives_the_way_to_float_and_back),
        cmocka_unit_test(known_values_convert),
        cmocka_unit_test(float16_moves_a_distance_by_less_than_5e_5),
        cmocka_unit_test(float32_comes_back_as_it_was),
        cmocka_unit_test(what_is_no_vector_is_refused),
    };
    return cmocka_run_group_tests_name("store_redis_vector", tests, NULL, NULL);
}
