#include "src/warm/prefilter.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/support/cmocka.h"
#include "tests/unit/warm/warm_support.h"

enum { K = 5, NOW = 1000 };

static const sc_warm_pass passes[] = {SC_WARM_PASS_AUTO, SC_WARM_PASS_FLOAT, SC_WARM_PASS_INT8,
                                      SC_WARM_PASS_BLAS};

/* A matrix with its rows at hand. */
typedef struct {
    sc_matrix   matrix;
    sc_scratch *scratch;
    size_t      rows, dim;
    sc_row     *row;     /* [rows] */
    float      *vectors; /* [rows, dim] */
} fixture;

typedef enum { RANDOM, CLUSTERS, ALIKE, RISING, KINDS } kind;

static const char *const kind_names[KINDS] = {"random", "clusters", "alike", "rising"};

/* CLUSTERS: groups of near paraphrases. ALIKE: all rows within the doubt of int8. RISING: each
 * row nearer to the first direction than the one before, so that every row is ranked again. */
static void make_vector(kind of, sc_test_random *random, const float *centres, size_t i,
                        size_t rows, float *out, size_t dim)
{
    const float *centre = centres + i % 16 * dim;
    switch (of) {
    case RANDOM: sc_test_direction(random, out, dim); break;
    case CLUSTERS: sc_test_near(random, centre, 0.3f, out, dim); break;
    case ALIKE: sc_test_near(random, centres, 0.02f, out, dim); break;
    case RISING:
    case KINDS:
        sc_test_near(random, centres, 3 - 2.9f * (float)i / (float)rows, out, dim);
        break;
    }
}

static fixture *make(kind of, size_t rows, uint32_t dim, uint64_t guards)
{
    sc_test_random random = {rows + dim + of};
    fixture       *f = calloc(1, sizeof *f);
    float         *centres = calloc((size_t)16 * dim, sizeof *centres);
    sc_matrix_init(&f->matrix, dim);
    f->scratch = sc_scratch_make(dim);
    f->rows = rows;
    f->dim = dim;
    f->row = calloc(rows + 1, sizeof *f->row);
    f->vectors = calloc((rows + 1) * dim, sizeof *f->vectors);
    for (size_t i = 0; i < 16; i++)
        sc_test_direction(&random, centres + i * dim, dim);
    for (size_t i = 0; i < rows; i++) {
        float *vector = f->vectors + i * dim;
        make_vector(of, &random, centres, i, rows, vector, dim);
        uint64_t guard = guards == 0 ? 0 : sc_test_next(&random) % guards;
        int64_t  expires = sc_test_next(&random) % 8 == 0 ? NOW : NOW + 1;
        f->row[i].entry = sc_test_entry_of(i, 1, guard, 1, expires);
        assert_int_equal(sc_matrix_add(&f->matrix, &f->row[i], vector, 1), SC_OK);
    }
    free(centres);
    return f;
}

static void unmake(fixture *f)
{
    for (size_t i = 0; i < f->rows; i++)
        sc_entry_unref(f->row[i].entry);
    sc_matrix_fini(&f->matrix);
    sc_scratch_free(f->scratch);
    free(f->row);
    free(f->vectors);
    free(f);
}

static int descending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? 1 : x > y ? -1 : 0;
}

static const float *vector_of(const fixture *f, const sc_entry *entry)
{
    for (size_t i = 0; i < f->rows; i++)
        if (f->row[i].entry == entry)
            return f->vectors + i * f->dim;
    fail_msg("a hit that is no row");
    return NULL;
}

/* What the answer must be, in double: the dot products of the rows that are candidates, nearest
 * first, and the nearest of another guard. */
static size_t brute_force(const fixture *f, const sc_warm_query *query, double *dots,
                          double *refused)
{
    size_t n = 0;
    *refused = -2;
    for (size_t i = 0; i < f->rows; i++) {
        const sc_entry *entry = f->row[i].entry;
        double          dot = sc_test_dot(query->vector, f->vectors + i * f->dim, f->dim);
        if (entry->f.expires.ms <= NOW)
            continue;
        if (entry->f.guard == query->guard)
            dots[n++] = dot;
        else
            *refused = fmax(*refused, dot);
    }
    qsort(dots, n, sizeof *dots, descending);
    return n;
}

static void check_query(const fixture *f, const sc_warm_query *query, const char *what)
{
    const double tolerance = 2e-5;
    double      *dots = calloc(f->rows + 1, sizeof *dots), refused;
    size_t       n = brute_force(f, query, dots, &refused);
    if (query->hits_used != (n < query->k ? n : query->k))
        fail_msg("%s: %zu hits of %zu", what, query->hits_used, n);
    for (size_t i = 0; i < query->hits_used; i++) {
        const sc_entry *entry = query->hits[i].entry;
        double          dot = sc_test_dot(query->vector, vector_of(f, entry), f->dim);
        if (fabs(dot - dots[i]) > tolerance || fabs(1 - dot - query->hits[i].distance) > tolerance)
            fail_msg("%s: hit %zu has %.7f, the %zu-th best is %.7f", what, i, dot, i, dots[i]);
        assert_int_equal(entry->f.guard, query->guard);
        assert_true(entry->f.expires.ms > NOW);
        for (size_t j = 0; j < i; j++)
            assert_ptr_not_equal(entry, query->hits[j].entry);
    }
    double best = n == 0 ? -2 : dots[0];
    if (query->refused.entry == NULL)
        assert_true(refused <= best + tolerance);
    else
        assert_true(refused >= best - tolerance &&
                    fabs(1 - refused - query->refused.distance) < tolerance &&
                    query->refused.entry->f.guard != query->guard);
    free(dots);
}

enum { QUERIES_MAX = 70 };

typedef struct {
    float        *vectors;
    sc_warm_query queries[QUERIES_MAX];
    sc_candidate  hits[QUERIES_MAX][K];
} batch;

/* Half of the questions near a row, half anywhere; some want fewer hits than others. */
static batch *ask(const fixture *f, size_t count, uint64_t guards)
{
    sc_test_random random = {99};
    batch         *b = calloc(1, sizeof *b);
    b->vectors = calloc(count * f->dim, sizeof *b->vectors);
    for (size_t q = 0; q < count; q++) {
        float *vector = b->vectors + q * f->dim;
        size_t near = sc_test_next(&random) % (f->rows + 1);
        if (q % 2 == 0 && near < f->rows)
            sc_test_near(&random, f->vectors + near * f->dim, 0.1f, vector, f->dim);
        else
            sc_test_direction(&random, vector, f->dim);
        b->queries[q] = (sc_warm_query){.vector = vector,
                                        .guard = guards == 0 ? 0 : sc_test_next(&random) % guards,
                                        .hits = b->hits[q],
                                        .k = q % 7 == 6 ? 1 : K};
    }
    return b;
}

static void drop_hits(batch *b, size_t count)
{
    for (size_t q = 0; q < count; q++) {
        sc_candidates_unref(b->queries[q].hits, b->queries[q].hits_used);
        sc_candidates_unref(&b->queries[q].refused, b->queries[q].refused.entry != NULL);
    }
}

static void unask(batch *b)
{
    free(b->vectors);
    free(b);
}

static void check_all_ways(const fixture *f, const char *name, size_t count, uint64_t guards)
{
    size_t                   sets_count;
    const sc_kernels *const *sets = sc_kernels_list(&sets_count);
    batch                   *b = ask(f, count, guards);
    for (size_t s = 0; s < sets_count; s++)
        for (size_t p = 0; p < sizeof passes / sizeof passes[0]; p++) {
            char what[80];
            snprintf(what, sizeof what, "%s %zux%zu, %zu queries, %s, pass %d", name, f->rows,
                     f->dim, count, sets[s]->name, (int)passes[p]);
            sc_prefilter(&f->matrix, sets[s], passes[p], f->scratch, (sc_wall){NOW}, b->queries,
                         count);
            for (size_t q = 0; q < count; q++)
                check_query(f, &b->queries[q], what);
            drop_hits(b, count);
        }
    unask(b);
}

/* A wrong neighbour is another question's answer; a missed one is money. */
static void finds_what_brute_force_finds(void **state)
{
    (void)state;
    static const size_t rows[] = {0, 1, 2, 3, 63, 64, 65, 255, 256, 257, 700, 1500};
    static const uint32_t dims[] = {3, 64, 100, 384};
    for (kind of = RANDOM; of < KINDS; of++)
        for (size_t r = 0; r < sizeof rows / sizeof rows[0]; r++)
            for (size_t d = 0; d < sizeof dims / sizeof dims[0]; d++) {
                uint64_t guards = (r + d) % 3 == 0 ? 0 : (r + d) % 3 == 1 ? 2 : 1000;
                fixture *f = make(of, rows[r], dims[d], guards);
                check_all_ways(f, kind_names[of], 1 + (r + d) % 6, guards);
                unmake(f);
            }
}

static void answers_more_questions_than_one_pass_takes(void **state)
{
    (void)state;
    fixture *f = make(CLUSTERS, 600, 64, 2);
    check_all_ways(f, "many", QUERIES_MAX, 2);
    unmake(f);
}

/* Whatever way is chosen by size or processor, the reply must not change with it. */
static void int8_and_float_passes_agree_to_the_last_bit(void **state)
{
    (void)state;
    size_t                   sets_count;
    const sc_kernels *const *sets = sc_kernels_list(&sets_count);
    for (kind of = RANDOM; of < KINDS; of++) {
        fixture *f = make(of, 6000, 384, 3);
        batch   *fast = ask(f, 24, 3), *slow = ask(f, 24, 3);
        for (size_t s = 0; s < sets_count; s++) {
            sc_prefilter(&f->matrix, sets[s], SC_WARM_PASS_INT8, f->scratch, (sc_wall){NOW},
                         fast->queries, 24);
            sc_prefilter(&f->matrix, sets[s], SC_WARM_PASS_FLOAT, f->scratch, (sc_wall){NOW},
                         slow->queries, 24);
            for (size_t q = 0; q < 24; q++) {
                const sc_warm_query *a = &fast->queries[q], *b = &slow->queries[q];
                assert_int_equal(a->hits_used, b->hits_used);
                for (size_t i = 0; i < a->hits_used; i++) {
                    assert_ptr_equal(a->hits[i].entry, b->hits[i].entry);
                    assert_true(a->hits[i].distance == b->hits[i].distance);
                }
                assert_ptr_equal(a->refused.entry, b->refused.entry);
            }
            drop_hits(fast, 24);
            drop_hits(slow, 24);
        }
        unask(fast);
        unask(slow);
        unmake(f);
    }
}

/* Adversarial for the bound: nearly all of a row in one component leaves codes of 0 elsewhere. */
static void skewed_rows_are_not_lost_by_quantising(void **state)
{
    (void)state;
    enum { ROWS = 2000, DIM = 128 };
    sc_test_random random = {5};
    fixture       *f = make(RANDOM, 0, DIM, 0);
    f->row = realloc(f->row, ROWS * sizeof *f->row);
    f->vectors = realloc(f->vectors, sizeof(float) * ROWS * DIM);
    for (f->rows = 0; f->rows < ROWS; f->rows++) {
        float *vector = f->vectors + f->rows * DIM, axis[DIM] = {1};
        sc_test_near(&random, axis, 0.01f + 0.05f * (float)(f->rows % 7), vector, DIM);
        f->row[f->rows].entry = sc_test_entry_of(f->rows, 1, 0, 1, NOW + 1);
        assert_int_equal(sc_matrix_add(&f->matrix, &f->row[f->rows], vector, 1), SC_OK);
    }
    check_all_ways(f, "skewed", 8, 0);
    unmake(f);
}

static void questions_without_direction_have_no_hits(void **state)
{
    (void)state;
    fixture *f = make(RANDOM, 300, 64, 0);
    batch   *b = ask(f, 4, 0);
    b->vectors[0] = NAN;
    b->vectors[64] = INFINITY;
    memset(b->vectors + 128, 0, 64 * sizeof(float));
    sc_prefilter(&f->matrix, sc_kernels_best(), SC_WARM_PASS_INT8, f->scratch, (sc_wall){NOW},
                 b->queries, 4);
    for (size_t q = 0; q < 3; q++) {
        assert_int_equal(b->queries[q].hits_used, 0);
        assert_null(b->queries[q].refused.entry);
    }
    check_query(f, &b->queries[3], "the sound one beside them");
    drop_hits(b, 4);
    unask(b);
    unmake(f);
}

/* What is far is not put in order, but what is near must all be there, and the nearest always. */
static void check_near(const sc_warm_query *some, const sc_warm_query *all)
{
    size_t near = 0;
    while (near < all->hits_used && all->hits[near].distance < some->far)
        near++;
    size_t wanted = near > 0 ? near : all->hits_used > 0;
    assert_int_equal(some->hits_used, wanted);
    for (size_t i = 0; i < wanted; i++) {
        assert_ptr_equal(some->hits[i].entry, all->hits[i].entry);
        assert_true(some->hits[i].distance == all->hits[i].distance);
    }
    assert_ptr_equal(some->refused.entry, all->refused.entry);
}

static void nothing_near_is_lost_when_what_is_far_does_not_matter(void **state)
{
    (void)state;
    static const float far[] = {1e-6f, 0.01f, 0.1f, 0.5f, 0.9f, 1.0f, 1.1f, 2.0f};
    for (kind of = RANDOM; of < KINDS; of++)
        for (size_t i = 0; i < sizeof far / sizeof far[0]; i++)
            for (size_t p = 0; p < sizeof passes / sizeof passes[0]; p++) {
                uint64_t guards = i % 3;
                fixture *f = make(of, 900, 64, guards);
                batch   *some = ask(f, 9, guards), *all = ask(f, 9, guards);
                for (size_t q = 0; q < 9; q++)
                    some->queries[q].far = far[i];
                sc_prefilter(&f->matrix, sc_kernels_best(), passes[p], f->scratch, (sc_wall){NOW},
                             some->queries, 9);
                sc_prefilter(&f->matrix, sc_kernels_best(), passes[p], f->scratch, (sc_wall){NOW},
                             all->queries, 9);
                for (size_t q = 0; q < 9; q++)
                    check_near(&some->queries[q], &all->queries[q]);
                drop_hits(some, 9);
                drop_hits(all, 9);
                unask(some);
                unask(all);
                unmake(f);
            }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_what_brute_force_finds),
        cmocka_unit_test(answers_more_questions_than_one_pass_takes),
        cmocka_unit_test(int8_and_float_passes_agree_to_the_last_bit),
        cmocka_unit_test(skewed_rows_are_not_lost_by_quantising),
        cmocka_unit_test(questions_without_direction_have_no_hits),
        cmocka_unit_test(nothing_near_is_lost_when_what_is_far_does_not_matter),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
