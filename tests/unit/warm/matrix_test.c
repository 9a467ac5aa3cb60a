#include "src/warm/matrix.h"

#include <stdlib.h>

#include "tests/support/cmocka.h"
#include "tests/unit/warm/warm_support.h"

/* Wide enough that chunks reach their largest size. */
enum { DIM = 1000, ROWS = 3000 };

typedef struct {
    sc_row row;
    float  vector[DIM];
    bool   in;
} known;

/* The codes that came along must be those of the vector, or int8 would look for another row. */
static void check_codes(const sc_matrix *m, const sc_chunk *chunk, size_t i)
{
    int8_t codes[DIM + 64];
    float  scale, error, length;
    sc_quantise(chunk->vectors + i * m->stride, m->stride, codes, m->code_stride, &scale, &error,
                &length);
    assert_memory_equal(chunk->codes + i * m->code_stride, codes, m->code_stride);
    assert_true(chunk->scales[i] == scale && chunk->errors[i] == error);
    assert_true(m->length_max >= length);
}

static const float *stored(const sc_matrix *m, const sc_row *row)
{
    size_t first = 0;
    for (size_t c = 0; c < m->chunks_used; first += m->chunks[c++].room)
        if (row->at < first + m->chunks[c].room) {
            const sc_chunk *chunk = &m->chunks[c];
            assert_ptr_equal(chunk->rows[row->at - first], row);
            assert_int_equal(chunk->guards[row->at - first], row->entry->f.guard);
            assert_int_equal(chunk->expires_ms[row->at - first], row->entry->f.expires.ms);
            if (chunk->codes != NULL)
                check_codes(m, chunk, row->at - first);
            return chunk->vectors + (row->at - first) * m->stride;
        }
    fail_msg("row %zu is in no chunk", row->at);
    return NULL;
}

static void check(const sc_matrix *m, const known *rows, size_t in_use)
{
    assert_int_equal(m->rows_used, in_use);
    for (size_t i = 0; i < ROWS; i++)
        if (rows[i].in)
            assert_memory_equal(stored(m, &rows[i].row), rows[i].vector, sizeof rows[i].vector);
}

static known *known_rows(void)
{
    sc_test_random random = {3};
    known         *rows = calloc(ROWS, sizeof *rows);
    for (size_t i = 0; i < ROWS; i++) {
        sc_test_direction(&random, rows[i].vector, DIM);
        rows[i].row.entry = sc_test_entry_of(i, 0, i, 1, (int64_t)i);
    }
    return rows;
}

static void forget(known *rows)
{
    for (size_t i = 0; i < ROWS; i++)
        sc_entry_unref(rows[i].row.entry);
    free(rows);
}

/* Every row keeps its vector, guard and expiry through thousands of additions and removals. */
static void rows_stay_whole_while_others_come_and_go(void **state)
{
    (void)state;
    sc_test_random random = {4};
    known         *rows = known_rows();
    sc_matrix      m;
    size_t         in_use = 0;
    sc_matrix_init(&m, DIM);
    for (size_t n = 0; n < 40000; n++) {
        known *k = &rows[sc_test_next(&random) % ROWS];
        /* Phases of growth and of decline. */
        bool add = sc_test_next(&random) % 10 < (n / 5000 % 2 == 0 ? 9u : 1u);
        if (add == k->in)
            continue;
        if (add)
            assert_int_equal(sc_matrix_add(&m, &k->row, k->vector, 1), SC_OK);
        else
            sc_matrix_remove(&m, &k->row);
        k->in = add;
        in_use += add ? 1u : (size_t)-1;
        if (n % 1000 == 0)
            check(&m, rows, in_use);
    }
    check(&m, rows, in_use);
    sc_matrix_fini(&m);
    forget(rows);
}

/* Removal of the last row gives back everything: ten thousand idle scopes must cost nothing. */
static void an_empty_matrix_holds_no_memory(void **state)
{
    (void)state;
    known    *rows = known_rows();
    sc_matrix m;
    sc_matrix_init(&m, DIM);
    for (size_t i = 0; i < ROWS; i++)
        assert_int_equal(sc_matrix_add(&m, &rows[i].row, rows[i].vector, 1), SC_OK);
    size_t full = m.bytes;
    assert_true(full > ROWS * DIM * sizeof(float));
    for (size_t i = 0; i < ROWS; i++) {
        sc_matrix_remove(&m, &rows[i].row);
        assert_true(m.bytes <= full);
    }
    assert_int_equal(m.bytes, 0);
    assert_int_equal(m.chunks_used, 0);
    assert_null(m.chunks);
    forget(rows);
}

static void growth_is_told_before_it_happens(void **state)
{
    (void)state;
    known    *rows = known_rows();
    sc_matrix m;
    sc_matrix_init(&m, DIM);
    for (size_t i = 0; i < ROWS; i++) {
        size_t told = m.bytes + sc_matrix_growth(&m);
        assert_int_equal(sc_matrix_add(&m, &rows[i].row, rows[i].vector, 1), SC_OK);
        assert_int_equal(m.bytes, told);
    }
    sc_matrix_fini(&m);
    forget(rows);
}

/* Searches hold pointers into chunks only under the lock, but a copy of all rows would hold it. */
static void rows_do_not_move_when_the_matrix_grows(void **state)
{
    (void)state;
    known    *rows = known_rows();
    sc_matrix m;
    sc_matrix_init(&m, DIM);
    assert_int_equal(sc_matrix_add(&m, &rows[0].row, rows[0].vector, 1), SC_OK);
    const float *first = stored(&m, &rows[0].row);
    for (size_t i = 1; i < ROWS; i++)
        assert_int_equal(sc_matrix_add(&m, &rows[i].row, rows[i].vector, 1), SC_OK);
    assert_ptr_equal(stored(&m, &rows[0].row), first);
    for (size_t c = 0; c < m.chunks_used; c++) {
        assert_int_equal((uintptr_t)m.chunks[c].vectors % 64, 0);
        assert_int_equal((uintptr_t)m.chunks[c].codes % 64, 0);
    }
    sc_matrix_fini(&m);
    forget(rows);
}

static void one_row_costs_about_one_row(void **state)
{
    (void)state;
    sc_matrix m;
    sc_matrix_init(&m, 384);
    assert_true(sc_matrix_growth(&m) < 384 * sizeof(float) + 512);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_stay_whole_while_others_come_and_go),
        cmocka_unit_test(an_empty_matrix_holds_no_memory),
        cmocka_unit_test(growth_is_told_before_it_happens),
        cmocka_unit_test(rows_do_not_move_when_the_matrix_grows),
        cmocka_unit_test(one_row_costs_about_one_row),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
