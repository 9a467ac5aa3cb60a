/* Every kernel of this machine, with weights of both precisions, against the reference's vectors. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cblas.h>
#include <cmocka.h>

#include "src/embed/local/encoder.h"
#include "tests/support/fail_malloc.h"
#include "tests/unit/embed/local/golden.h"

/* Under a sanitizer, which slows the arithmetic down, the BUILD file asks for fewer texts. */
#ifndef EVERY
#define EVERY 1
#endif

static golden_file golds;

typedef struct {
    size_t       count;
    sc_tokens    tokens[256];
    const float *expected[256];
    float        vectors[256][SC_MODEL_DIM];
} batch;

static batch *usable_texts(void)
{
    batch *b = calloc(1, sizeof *b);
    assert_non_null(b);
    for (size_t i = 0; i < golds.count; i += EVERY) {
        const golden_text *text = &golds.texts[i];
        if (text->note != SC_EMBED_USABLE)
            continue;
        assert_in_range(b->count, 0, 255);
        memcpy(b->tokens[b->count].ids, text->ids, sizeof text->ids);
        b->tokens[b->count].count = (uint32_t)text->ids_count;
        b->expected[b->count++] = text->vector;
    }
    assert_in_range(b->count, 200 / EVERY, 256);
    return b;
}

static void encode_together(const sc_weights *weights, sc_encoder_space *space, batch *b,
                            size_t from, size_t to)
{
    const sc_tokens *texts[256];
    float           *vectors[256];
    for (size_t i = from; i < to; i++) {
        texts[i - from] = &b->tokens[i];
        vectors[i - from] = b->vectors[i];
    }
    sc_encoder_run(weights, space, texts, vectors, to - from);
}

/* In passes as full as they can be. */
static void encode_all(const sc_weights *weights, sc_encoder_space *space, batch *b)
{
    for (size_t from = 0, to = 0; from < b->count; from = to) {
        size_t tokens = 0;
        while (to < b->count && tokens + b->tokens[to].count <= SC_ENCODER_TOKENS_MAX)
            tokens += b->tokens[to++].count;
        encode_together(weights, space, b, from, to);
    }
}

static double worst_cosine(const batch *b)
{
    double worst = 2;
    for (size_t i = 0; i < b->count; i++)
        worst = fmin(worst, golden_cosine(b->vectors[i], b->expected[i]));
    return worst;
}

/* How far the cosine of any two texts is from that of the reference. */
static double worst_drift(const batch *b)
{
    double worst = 0;
    for (size_t i = 0; i < b->count; i++)
        for (size_t j = 0; j < i; j++)
            worst = fmax(worst, fabs(golden_cosine(b->vectors[i], b->vectors[j]) -
                                     golden_cosine(b->expected[i], b->expected[j])));
    return worst;
}

static void assert_unit(const float *vector)
{
    double length = 0;
    for (size_t i = 0; i < SC_MODEL_DIM; i++)
        length += (double)vector[i] * (double)vector[i];
    assert_true(fabs(length - 1) < 1e-5);
}

static void check(const sc_kernel *kernel, bool float16, double cosine_min, double drift_max)
{
    sc_error          error = {0};
    sc_weights       *weights;
    sc_encoder_space *space;
    batch            *b = usable_texts();
    assert_int_equal(sc_weights_open(golden_model_dir(), kernel, float16, &weights, &error), SC_OK);
    assert_int_equal(sc_encoder_space_open(&space), SC_OK);
    encode_all(weights, space, b);
    double cosine = worst_cosine(b), drift = worst_drift(b);
    printf("%s %s: cosine >= %.7f, drift <= %.6f\n", kernel->name, float16 ? "float16" : "float32",
           cosine, drift);
    for (size_t i = 0; i < b->count; i++)
        assert_unit(b->vectors[i]);
    assert_true(cosine >= cosine_min);
    assert_true(drift <= drift_max);
    sc_encoder_space_close(space);
    sc_weights_close(weights);
    free(b);
}

/* A user would get answers to other questions, or none, on one kind of processor only. */
static void every_kernel_gives_the_references_vectors(void **state)
{
    (void)state;
    for (size_t i = 0; i < sc_kernels_count; i++)
        if (sc_kernels[i]->available())
            check(sc_kernels[i], false, 0.999999, 0.00005);
}

/* Halving the weights' memory must not move a distance across a threshold. */
static void float16_weights_drift_by_less_than_the_stated_bound(void **state)
{
    (void)state;
    for (size_t i = 0; i < sc_kernels_count; i++)
        if (sc_kernels[i]->available())
            check(sc_kernels[i], true, 0.9999, 0.0005);
}

/* A question would have another distance in company than alone. */
static void a_text_has_the_same_vector_in_any_company(void **state)
{
    (void)state;
    enum { TEXTS = 12 };
    sc_error          error = {0};
    sc_weights       *weights;
    sc_encoder_space *space;
    batch            *b = usable_texts();
    float             together[TEXTS][SC_MODEL_DIM];
    assert_int_equal(sc_weights_open(golden_model_dir(), sc_kernel_best(), false, &weights, &error),
                     SC_OK);
    assert_int_equal(sc_encoder_space_open(&space), SC_OK);
    encode_together(weights, space, b, 0, TEXTS);
    memcpy(together, b->vectors, sizeof together);
    for (size_t i = 0; i < TEXTS; i++) {
        encode_together(weights, space, b, i, i + 1);
        assert_true(golden_cosine(together[i], b->vectors[i]) > 0.9999999);
    }
    sc_encoder_space_close(space);
    sc_weights_close(weights);
    free(b);
}

/* The allocator's locks would make workers wait for each other. */
static void a_pass_allocates_nothing(void **state)
{
    (void)state;
    sc_error          error = {0};
    sc_weights       *weights;
    sc_encoder_space *space;
    batch            *b = usable_texts();
    assert_int_equal(sc_weights_open(golden_model_dir(), sc_kernel_best(), false, &weights, &error),
                     SC_OK);
    assert_int_equal(sc_encoder_space_open(&space), SC_OK);
    sc_fail_malloc_arm(1);
    encode_together(weights, space, b, 0, 8);
    assert_false(sc_fail_malloc_disarm());
    sc_encoder_space_close(space);
    sc_weights_close(weights);
    free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kernel_gives_the_references_vectors),
        cmocka_unit_test(float16_weights_drift_by_less_than_the_stated_bound),
        cmocka_unit_test(a_text_has_the_same_vector_in_any_company),
        cmocka_unit_test(a_pass_allocates_nothing),
    };
    golden_model_dir();
    golds = golden_open();
    openblas_set_num_threads(1);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    golden_close(&golds);
    return failed;
}
